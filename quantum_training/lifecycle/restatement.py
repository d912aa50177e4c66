"""The records of restatements: which stored bars follow a source that has changed them, and what rests on the former.

How a history is restated is restated_history.py. In the store they lie by the day on which they were made.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from quantum_training.lifecycle.records import CANDLES, FEATURES, SHADOW_SCORES, model_asset
from quantum_training.market.periods import month_of
from quantum_training.resources.store.store import Store, StoreError
from quantum_training.settings.schema import Symbol

RESTATEMENTS = "restatements"
"""Name in the store of the records."""

RESTATED = "restated"
"""Attribute of a month of features: when a restatement last altered candles of the month or of an earlier one."""


def is_interrupted(store: Store, symbol: str) -> bool:
    """Was the newest restatement of the symbol killed before its end?"""
    record = _newest(store, symbol)
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


def restated_at(store: Store, symbol: str, month: str) -> dict[str, str]:
    """The attribute of a month of features that is computed now; none if no restatement concerns it."""
    at = [
        record["at"]
        for record in store.read_records(RESTATEMENTS, symbol).values()
        if record.get("altered") and month_of(pd.Timestamp(record["altered"][0])) <= month
    ]
    return {RESTATED: max(at)} if at else {}


def outdated_features(store: Store, symbol: str, asset: str = FEATURES) -> list[str]:
    """The months of the features, or of a feature set's asset, whose candles were restated after they were computed."""
    if not store.periods(RESTATEMENTS, symbol, "json"):
        return []
    return [
        month
        for month in store.periods(asset, symbol)
        if (at := restated_at(store, symbol, month))
        and store.attributes(asset, symbol, month).get(RESTATED, "") < at[RESTATED]
    ]


def versions_trained_on(store: Store, market: Symbol, symbol: str, bar: pd.Timestamp) -> dict[str, str]:
    """How many versions each recipe has that saw a bar, and the newest one's as_of."""
    versions = {}
    for recipe in market.recipes:
        records = store.read_records(model_asset(recipe), symbol).values()
        every = [version["as_of"] for record in records for version in record.get("versions", ())]
        if as_of := [time for time in every if pd.Timestamp(time) > bar]:
            versions[recipe] = f"{len(as_of)} up to {max(as_of)[:10]}"
    return versions


def versions_in_words(versions: dict[str, str]) -> str:
    """Which versions saw the former prices."""
    return "trained on the former prices: " + (", ".join(f"{r} {n}" for r, n in versions.items()) or "no version")


def record_renewal(store: Store, market: Symbol, symbol: str, renewed: pd.DatetimeIndex, now: pd.Timestamp) -> None:
    """Record that single bars were renewed, if a version, a score or a later month rests on their former values."""
    first, last = renewed[0], renewed[-1]
    versions = versions_trained_on(store, market, symbol, first)
    is_scored = any(pd.Timestamp(week, tz="UTC") > first for week in store.periods(SHADOW_SCORES, symbol))
    if versions or is_scored or any(month > month_of(first) for month in store.periods(CANDLES, symbol)):
        message = f"{len(renewed)} bar(s) renewed, the first {first:%Y-%m-%d %H:%M}; {versions_in_words(versions)}"
        span = [first.isoformat(), last.isoformat()]
        record = {"at": now.isoformat(), "first": span[0], "last": span[1], "altered": span}
        write_restatement(store, symbol, now, {**record, "versions": versions, "message": message}, done=True)


def write_restatement(store: Store, symbol: str, now: pd.Timestamp, record: dict[str, Any], *, done: bool) -> None:
    """Store a record. What the day's record says, or one that was interrupted, stays in it."""
    period, newest = f"{now:%Y-%m-%d}", _newest(store, symbol)
    same = store.read_record(RESTATEMENTS, symbol, period) or (newest if newest and not newest["done"] else None)
    if same and same["at"] != record["at"]:
        record = _joined(same, record)
    store.write_record(RESTATEMENTS, symbol, period, {**record, "done": done})


def _joined(earlier: dict[str, Any], later: dict[str, Any]) -> dict[str, Any]:
    spans = [*earlier.get("altered", ()), *later.get("altered", ())]
    message = f"{earlier['message']}; then {later['message']}" if earlier["done"] else earlier["message"]
    return {
        **later,
        "first": min(earlier["first"], later["first"]),
        "last": max(earlier["last"], later["last"]),
        **{name: {**earlier.get(name, {}), **later.get(name, {})} for name in ("factors", "volume_factors")},
        "former": {**later.get("former", {}), **earlier.get("former", {})},
        **({"altered": [min(spans), max(spans)]} if spans else {}),
        "message": message,
    }


def _newest(store: Store, symbol: str) -> dict[str, Any] | None:
    periods: Sequence[str] = store.periods(RESTATEMENTS, symbol, "json")
    return store.read_record(RESTATEMENTS, symbol, periods[-1]) if periods else None
