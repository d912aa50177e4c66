"""Fetching and judging the candles of a month."""

from typing import NamedTuple

import pandas as pd

from quantum_training.market.periods import MONTH, Key, month_of
from quantum_training.market.quality import Defect, assess
from quantum_training.market.revision import complete, revised
from quantum_training.market.schema import empty_candles
from quantum_training.resources.store.store import Store
from quantum_training.settings.settings import Settings
from quantum_training.sources import SourceError

CONTEXT_BARS = 200


class Fetched(NamedTuple):
    """A month's bars, the time up to which they are complete, and what is wrong with them."""

    frame: pd.DataFrame
    until: pd.Timestamp
    defects: list[Defect]


def fetch_month(key: Key, settings: Settings, store: Store, now: pd.Timestamp, refetch: bool) -> Fetched:
    """Complete the stored bars of a month from the source and judge them. SourceError where it has none of it yet."""
    symbol = settings.symbols[key.symbol]
    source = symbol.source
    until = min(key.start + MONTH, source.available_until(key.symbol, symbol.timeframe, now))
    if until <= key.start:
        remedy = f"Ask for months up to {month_of(until)}"
        raise SourceError(key.symbol, type(source).__module__.rpartition(".")[2], f"its data end at {until}", remedy)
    previous = bars_before(store, key)
    attributes = {} if refetch else store.attributes("candles", key.symbol, key.period)
    stored = store.read_frame("candles", key.symbol, key.period) if attributes else empty_candles()
    if attributes and pd.Timestamp(attributes["covered_until"]) >= until:
        until = pd.Timestamp(attributes["covered_until"])
        return Fetched(stored, until, judge(key, settings, stored, until, previous))
    known = stored if len(stored) else previous if source.revises_history and not refetch else stored
    since = known.index[-1] if len(known) else key.start
    fetched = source.fetch(key.symbol, symbol.timeframe, since, until, now)
    defects = revised(key.symbol, known, fetched)
    frame = complete(stored, fetched[fetched.index >= key.start])
    return Fetched(frame, until, defects + judge(key, settings, frame, until, previous))


def judge(
    key: Key, settings: Settings, frame: pd.DataFrame, until: pd.Timestamp, previous: pd.DataFrame
) -> list[Defect]:
    """The defects of a month's bars up to `until`, given the bars before it."""
    symbol = settings.symbols[key.symbol]
    return assess(
        frame,
        symbol=key.symbol,
        timeframe=symbol.timeframe,
        calendar=symbol.calendar,
        start=key.start,
        end=until,
        previous=previous if len(previous) else None,
        limits=settings.quality,
    )


def bars_before(store: Store, key: Key) -> pd.DataFrame:
    """The newest stored bars of the month before, or none."""
    before = (key.start - MONTH).strftime("%Y-%m-%d")
    if not store.attributes("candles", key.symbol, before):
        return empty_candles()
    return store.read_frame("candles", key.symbol, before).tail(CONTEXT_BARS)
