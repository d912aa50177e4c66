"""Restating a stored history: if its source has rescaled it, for a dividend or a split, all stored months follow.

The stored bars are multiplied, not replaced: their returns, features, scores and the versions trained on them stay
valid. When this happens is in ingestion.py; what a rescaled history is, in market/revision.py.
"""

from __future__ import annotations

import pandas as pd

from quantum_training.lifecycle.fetching import fetch_bars
from quantum_training.lifecycle.records import CANDLES, model_asset
from quantum_training.market.quality import Defect
from quantum_training.market.revision import REVISED, Rescaling, rescaling
from quantum_training.market.schema import PRICES
from quantum_training.resources.store.store import Store, StoreError
from quantum_training.settings import Settings
from quantum_training.settings.schema import Symbol

RESTATEMENTS = "restatements"
"""Name in the store of the records of restatements, by the day on which they were made."""


def restate(store: Store, settings: Settings, symbol: str, now: pd.Timestamp) -> Defect:
    """Multiply all stored months of a symbol to the prices that its source gives now.

    Returns a warning that says what was restated, or the error for which nothing was. A kill in between leaves a record
    that is not `done`: nobody reads such candles, and the next run restates the months that are left.
    Raises SourceError if the source cannot be read.
    """
    market, months = settings.symbols[symbol], store.periods(CANDLES, symbol)
    stored = {month: store.read_frame(CANDLES, symbol, month) for month in months}
    history = pd.concat(stored.values())
    until = pd.Timestamp(store.attributes(CANDLES, symbol, months[-1])["covered_until"])
    fetched, _ = fetch_bars(market, symbol, history.index[0], until, now)
    rescalings = {month: rescaling(frame, fetched) for month, frame in stored.items()}
    steps = {month: step for month, step in rescalings.items() if step is not None}
    corrected = sum(step.corrected_bars for step in steps.values())
    if len(steps) < len(months) or corrected > max(2, len(history) // 20):
        return _refusal(symbol, history, [month for month in months if month not in steps], corrected)
    if all(step.is_none for step in steps.values()) and not is_interrupted(store, symbol):
        message = f"{symbol}: corrected_bar: the source has corrected {corrected} bars; they stay as they are stored"
        return Defect("corrected_bar", "warning", (history.index[-1],), message)
    record = _record(history, steps, _versions(store, market, symbol), now)
    period = f"{now:%Y-%m-%d}"
    store.write_record(RESTATEMENTS, symbol, period, {**record, "done": False})
    for month, step in steps.items():
        if not step.is_none:
            _rescale(store, symbol, month, stored[month], step)
    store.write_record(RESTATEMENTS, symbol, period, {**record, "done": True})
    bars = (history.index[0], history.index[-1])
    return Defect("restated_history", "warning", bars, f"{symbol}: restated_history: {record['message']}")


def is_interrupted(store: Store, symbol: str) -> bool:
    """Was the newest restatement of the symbol killed before its end?"""
    periods = store.periods(RESTATEMENTS, symbol, "json")
    record = store.read_record(RESTATEMENTS, symbol, periods[-1]) if periods else None
    return record is not None and not record["done"]


def require_whole_restatement(store: Store, symbol: str) -> None:
    """StoreError if a restatement was interrupted: some months have the former prices, others the present ones."""
    if is_interrupted(store, symbol):
        raise StoreError(
            f"{symbol}: a restatement of its candles was interrupted, so that months do not fit together; run the job "
            "market_data for its newest month, which completes it"
        )


def restatements_since(store: Store, symbol: str, time: pd.Timestamp) -> tuple[str, ...]:
    """What the restatements say that changed bars which open at or after `time`, oldest first."""
    records = store.read_records(RESTATEMENTS, symbol).values()
    return tuple(record["message"] for record in records if pd.Timestamp(record["last"]) >= time)


def _rescale(store: Store, symbol: str, month: str, bars: pd.DataFrame, step: Rescaling) -> None:
    attributes = store.attributes(CANDLES, symbol, month)
    kept = {name: value for name, value in attributes.items() if name not in ("content_hash", "layout_version")}
    bars = bars.copy()
    bars[list(PRICES)] *= step.price
    bars["volume"] *= step.volume
    store.write_frame(CANDLES, symbol, month, bars, kept)


def _versions(store: Store, market: Symbol, symbol: str) -> dict[str, str]:
    """How many versions each recipe has, and the newest one's as_of."""
    versions = {}
    for recipe in market.recipes:
        records = store.read_records(model_asset(recipe), symbol).values()
        if as_of := [version["as_of"] for record in records for version in record.get("versions", ())]:
            versions[recipe] = f"{len(as_of)} up to {max(as_of)[:10]}"
    return versions


def _record(
    history: pd.DataFrame, steps: dict[str, Rescaling], versions: dict[str, str], now: pd.Timestamp
) -> dict[str, object]:
    """What was restated: from which bar to which, by which factors, and which versions saw the former prices."""
    changed = {month: step.price for month, step in steps.items() if not step.is_none}
    corrected = sum(step.corrected_bars for step in steps.values())
    factors = ", ".join(f"{factor:.5g}" for factor in sorted({round(factor, 5) for factor in changed.values()}))
    parts = [
        f"prices of {min(changed)[:7]} to {max(changed)[:7]} multiplied by {factors}" if changed else "completed",
        "their source has adjusted them for a dividend or split; returns, features, scores and versions stay valid",
        "trained on the former prices: " + (", ".join(f"{r} {n}" for r, n in versions.items()) or "no version"),
    ]
    if corrected:
        parts.append(f"{corrected} bars that the source has also corrected stay as they were stored")
    return {
        "at": now.isoformat(),
        "first": history.index[0].isoformat(),
        "last": history.index[-1].isoformat(),
        "factors": changed,
        "volume_factors": {month: step.volume for month, step in steps.items() if step.volume != 1},
        "versions": versions,
        "message": "; ".join(parts),
    }


def _refusal(symbol: str, history: pd.DataFrame, months: list[str], corrected: int) -> Defect:
    what = f"months {', '.join(month[:7] for month in months)}" if months else f"{corrected} of {len(history)} bars"
    message = (
        f"{symbol}: {REVISED}: the source no longer has {what}, or has changed them otherwise than by a dividend or "
        "split, so nothing was restated; compare them with another source, and if the new ones are right, materialise "
        "candles and features of all months, oldest first, with `revisions: refuse` and config refetch: true"
    )
    return Defect(REVISED, "error", (history.index[-1],), message)
