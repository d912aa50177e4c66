"""The quality gate: judges the candles of one partition by the schema and by the rules.

It repairs nothing and reads nothing. Rules for a single bar live in schema.py, the others are listed in rules.py.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from quantum_training.market.acceptance import accept_missing, settle
from quantum_training.market.accepted_bars import AcceptedBars
from quantum_training.market.defects import Defect, QualityLimits, describe
from quantum_training.market.expected_bars import expected_bars
from quantum_training.market.periods import MarketPeriod
from quantum_training.market.rules import RULES
from quantum_training.market.schema import COLUMNS, PRICES, candle_schema, empty_candles, passes
from quantum_training.market.timeframe import close_times
from quantum_training.market.window import BARS_LISTED, Window, stamp

__all__ = ["Defect", "QualityLimits", "assess", "describe"]

_CONTEXT_BARS = 200  # of the bars before the period: more than any rule looks back
_REMEDIES = {
    "missing_value": "A value is missing. Reload the window; gaps are never filled",
    "finite": "A value is infinite. Reload the window",
    "positive_price": "A price is zero or negative. If it is wrong, reload the window or take another source. If it is "
    "true (oil futures on 2020-04-20), the platform still cannot hold it: returns, features and position sizes divide "
    "by prices. Take a series without such prices, as one adjusted by ratios, or start the symbol after it",
    "volume_not_negative": "Volume is negative. Check the source's volume column",
    "strictly_increasing": "A bar is not later than the one before it. Give bars oldest first, each once",
    "open_in_range": "The open is outside of low to high. Check the source's column mapping and its adjustment",
    "close_in_range": "The close is outside of low to high, as when only the close is adjusted for splits or "
    "dividends. Adjust all four prices or none",
}


def assess(
    candles: pd.DataFrame,
    period: MarketPeriod,
    previous: pd.DataFrame | None,
    limits: QualityLimits,
    accepted: Sequence[AcceptedBars] = (),
) -> list[Defect]:
    """Judge the bars of one period; every bar that closes by its `end` should be there.

    `previous` holds bars just before the period that were accepted already (200 are enough; None: there are none). The
    rules for prices, volume and repeated bars look over the border with them. A period in which no bar of the calendar
    closes may be empty. accepted: what a person has accepted is a Defect of the severity `accepted`. Never raises for
    what is in `candles`: whatever is wrong there is a Defect.
    """
    return settle(_judge(candles, period, previous, limits, accepted), accepted, period)


def _judge(
    candles: pd.DataFrame,
    period: MarketPeriod,
    previous: pd.DataFrame | None,
    limits: QualityLimits,
    accepted: Sequence[AcceptedBars],
) -> list[Defect]:
    """The defects; of what is accepted, only the missing bars are left out of the judgement."""
    symbol, timeframe, _, start, end = period[:5]
    try:
        expected, doubts = expected_bars(period, _stamps(candles))
    except ValueError as error:
        return [Defect("calendar", "error", (), f"{symbol} {timeframe} calendar: {error}.")]
    due = expected[close_times(expected, timeframe) <= end]
    closed, defects = accept_missing(accepted, due[~due.isin(candles.index)], period)
    due, defects = due.difference(closed), [*doubts, *defects]
    if not len(candles.index):
        return defects + ([_empty(period, len(due))] if len(due) else [])
    defects += _schema_defects(candles, f"{symbol} {timeframe}")
    if any(d.rule == "schema" for d in defects):
        return defects
    before = empty_candles() if previous is None else previous[previous.index < start].tail(_CONTEXT_BARS)
    bars = _computable(candles)
    window = Window(
        period=period,
        limits=limits,
        expected=expected,
        due=due,
        stamps=_stamps(candles),
        history=pd.concat([before, bars[bars.index >= start]]),
        first=len(before),
    )
    return defects + [defect for rule in RULES for defect in rule(window)]


def _stamps(candles: pd.DataFrame) -> pd.DatetimeIndex:
    """Bar starts as the source gives them; none if they are no UTC times, which the schema refuses."""
    if candles.index.nlevels > 1 or candles.index.dtype != pd.DatetimeTZDtype("ns", "UTC"):
        return pd.DatetimeIndex([], tz="UTC")
    return pd.DatetimeIndex(candles.index).dropna()


def _empty(period: MarketPeriod, expected: int) -> Defect:
    message = (
        f"{period.symbol} {period.timeframe} empty: no bar from {stamp(period.start)} to {stamp(period.end)}, where "
        f"the calendar has {expected}. "
        "Check that the source has this symbol and period, and the symbol's calendar."
    )
    return Defect("empty", "error", (), message)


def _computable(candles: pd.DataFrame) -> pd.DataFrame:
    """The rows with usable numbers, oldest first, each once: one broken bar does not hide the defect of another."""
    values = candles.to_numpy()
    sound = np.isfinite(values).all(axis=1) & (values[:, : len(PRICES)] > 0).all(axis=1) & candles.index.notna()
    if sound.all() and candles.index.is_monotonic_increasing and candles.index.is_unique:
        return candles
    rows = candles[sound].sort_index(kind="stable")
    first_of_each: pd.DataFrame = rows[~rows.index.duplicated()]
    return first_of_each


def _schema_defects(candles: pd.DataFrame, place: str) -> list[Defect]:
    """One defect for each named check of the schema that failed; one of rule `schema` for columns and dtypes."""
    if passes(candles):
        return []
    from pandera.errors import SchemaErrors

    try:
        candle_schema().validate(candles, lazy=True)
    except SchemaErrors as error:
        failed = error.failure_cases
    else:
        return []
    failed["check"] = failed["check"].replace({"not_nullable": "missing_value"})
    if not failed["check"].isin(_REMEDIES).all():
        return [_wrong_structure(candles, place)]
    defects = []
    for check, cases in failed.groupby("check", sort=False):
        bars = pd.DatetimeIndex(cases["index"].dropna().unique())
        first = cases[cases["index"] == bars[0]] if len(bars) else cases[:1]
        values = ", ".join(f"{c} {v}" for c, v in zip(first["column"], first["failure_case"], strict=True))
        listed = ", ".join(map(stamp, bars[:3])) or "none with a stamp"
        message = f"{place} {check}: {len(bars)} bar(s), first {listed}: {values}. {_REMEDIES[check]}."
        defects.append(Defect(check, "error", tuple(bars[:BARS_LISTED]), message, tuple(bars[BARS_LISTED:])))
    return defects


def _wrong_structure(candles: pd.DataFrame, place: str) -> Defect:
    index = candles.index
    columns = ", ".join(f"{name} {dtype}" for name, dtype in list(candles.dtypes.items())[:10])
    message = (
        f"{place} schema: the index is {index.name} of {index.dtype}, the columns are {columns or 'none'}; must be "
        f"index open_time of datetime64[ns, UTC] and float64 {', '.join(COLUMNS)} in this order. "
        "Check the source's columns, dates and number format, and pass its frame through market.schema.as_candles."
    )
    return Defect("schema", "error", (), message)
