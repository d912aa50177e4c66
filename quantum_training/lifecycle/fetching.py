"""Fetching a symbol's bars from its source, daily ones by the date that they are of.

What is judged and stored is ingestion.py; which date that is, market/daily_bars.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import NamedTuple

import pandas as pd

from quantum_training.market.calendars import ALWAYS_OPEN
from quantum_training.market.clamping import clamp
from quantum_training.market.daily_bars import MAX_SHIFT, is_midnight, with_dates
from quantum_training.market.defects import Defect
from quantum_training.market.notes import CONTRACT_SIZE, VOLUME_UNIT, Notes, take_notes
from quantum_training.market.periods import month_of
from quantum_training.market.timeframe import length_of, to_timedelta
from quantum_training.settings import Settings
from quantum_training.settings.schema import Symbol

DAY_BEGINS = "day_begins"
"""Fact of a month of daily candles: how much later than 00:00 UTC of their date the source stamps them, as +08:00 for
days from 08:00 UTC on; no fact if it stamps them so."""

WEEK_BEGINS = "week_begins"
"""Fact of a month of weekly candles: on which day, and when if not at 00:00 UTC, they begin."""

_DAY = pd.Timedelta(days=1)
ON_TIME = pd.Timedelta(0)


class Fetched(NamedTuple):
    """Closed bars, how much later than their date the source stamps daily ones, and what it says of them."""

    bars: pd.DataFrame
    late: pd.Timedelta
    notes: Notes


def fetch_bars(
    settings: Settings,
    symbol: str,
    start: pd.Timestamp,
    end: pd.Timestamp,
    now: pd.Timestamp,
    recorded: pd.Timedelta = ON_TIME,
) -> Fetched:
    """The source's closed bars of [start, end), clamped as the limits of the quality gate say.

    The notes count the clamped bars of the month of `end`, and warn of dividends that the prices do not know of yet.
    recorded: how late the bars that are stored were; the answer if there are none. Raises as CandleSource.fetch.
    """
    market = settings.symbols[symbol]
    bars, late = _dated_bars(market, symbol, start, end, now, recorded)
    notes = take_notes(bars)
    bars, clamped = clamp(bars, market.quality.over(settings.quality).max_outside_range)
    if count := int((clamped >= pd.Timestamp(month_of(end - pd.Timedelta("1ns")), tz="UTC")).sum()):
        notes = notes.with_facts({"clamped_bars": count})
    missing = [action for action in notes.actions if action.is_applied is False]
    if missing:
        message = (
            f"{symbol}: unapplied_dividend: {', '.join(map(str, missing))}: the source names it, but has not adjusted "
            "the earlier prices for it, so that they fall by it; once it has, they are restated"
        )
        warning = Defect("unapplied_dividend", "warning", tuple(action.ex_date for action in missing), message)
        notes = replace(notes, defects=(*notes.defects, warning))
    return Fetched(bars, late, notes)


def _dated_bars(
    market: Symbol,
    symbol: str,
    start: pd.Timestamp,
    end: pd.Timestamp,
    now: pd.Timestamp,
    recorded: pd.Timedelta,
) -> tuple[pd.DataFrame, pd.Timedelta]:
    """The bars by their dates; those that are not stamped 00:00 UTC are fetched with a day more on either side."""
    bars = market.source.fetch(symbol, market.timeframe, start, end, now)
    if to_timedelta(market.timeframe) != _DAY or (bars.empty and recorded == ON_TIME):
        return bars, recorded
    if len(bars) and is_midnight(pd.DatetimeIndex(bars.index)):
        return bars, ON_TIME
    wider = market.source.fetch(symbol, market.timeframe, start - _DAY, end + _DAY, now)
    try:
        dated, late = with_dates(wider, market.calendar)
    except ValueError:  # the gate says that the calendar does not have these years
        return bars, ON_TIME
    if wider.empty:
        return bars, recorded
    dated = dated[(dated.index >= start) & (dated.index < end)]
    dated.attrs = bars.attrs  # what the source says of the period that was asked for
    return dated, late


def day_begins(late: pd.Timedelta) -> dict[str, str]:
    """The fact of a month."""
    if late == ON_TIME:
        return {}
    minutes = abs(late) // pd.Timedelta(minutes=1)
    return {DAY_BEGINS: f"{'-' if late < ON_TIME else '+'}{minutes // 60:02}:{minutes % 60:02}"}


def begins(market: Symbol, late: pd.Timedelta, bars: pd.DataFrame) -> dict[str, str]:
    """The facts of a month about when its bars begin: that of days, and of weeks if it has bars."""
    if length_of(market.timeframe) != "1w" or bars.empty:
        return day_begins(late)
    begin = bars.index[0]
    return {WEEK_BEGINS: f"{begin:%A}" if begin == begin.normalize() else f"{begin:%A %H:%M}"}


def recorded_begin(attributes: Mapping[str, str]) -> pd.Timedelta:
    """The time that is recorded in the attributes of a month; 0 if none is."""
    text = str(Notes.stored(attributes).facts.get(DAY_BEGINS, "+00:00"))
    size = pd.Timedelta(hours=int(text[1:3]), minutes=int(text[4:6]))
    return -size if text[0] == "-" else size


def moved_day(
    market: Symbol, symbol: str, recorded: pd.Timedelta, late: pd.Timedelta, bars: pd.DataFrame
) -> list[Defect]:
    """An error if days of a market that never closes begin elsewhere than those that are stored."""
    if market.calendar != ALWAYS_OPEN or not len(bars) or abs(late - recorded) <= MAX_SHIFT:
        return []
    before, now = (day_begins(begin).get(DAY_BEGINS, "+00:00") for begin in (recorded, late))
    message = (
        f"{symbol} {market.timeframe} moved_day: 1 bar(s), first {bars.index[0]:%Y-%m-%d %H:%M}: days begin at {now} "
        f"of 00:00 UTC, those that are stored at {before}. Make the source give the same days as before, or give the "
        "market another symbol name."
    )
    return [Defect("moved_day", "error", (bars.index[0],), message)]


def changed_unit(symbol: str, stored: Mapping[str, str], notes: Notes) -> list[Defect]:
    """An error if the volume is in another unit than that of the stored bars, as contracts and base currency.

    stored: attributes of a month; one of a build that did not record the unit holds the exchange's own number.
    """
    unit, contracts = notes.facts.get(VOLUME_UNIT), "contracts"
    own = contracts if CONTRACT_SIZE in notes.facts else unit
    before = Notes.stored(stored).facts.get(VOLUME_UNIT, own)
    if unit == before or contracts not in (unit, before):
        return []
    message = (
        f"{symbol} changed_unit: stored volumes are in {before}, new ones in {unit}. Set source.volume to "
        f"{'venue' if before == contracts else 'base'}, or run candles and features of all stored months, oldest "
        "first, with config refetch: true."
    )
    return [Defect("changed_unit", "error", (), message)]
