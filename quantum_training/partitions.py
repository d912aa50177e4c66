"""Dagster's partitions: symbol x month, symbol x week, symbol x day, and the validated partition keys of a run.

Time dimensions sort after `symbol`, so a key always reads `SYMBOL|YYYY-MM-DD`. Weeks start on Monday 00:00 UTC.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import dagster as dg
import pandas as pd

from quantum_training.market.periods import Key

PARTITION_TAG = "dagster/partition"
RANGE_TAGS = ("dagster/asset_partition_range_start", "dagster/asset_partition_range_end")
_FORMS = {"utc_month": "the first day of a month", "week": "a Monday", "utc_day": "a day"}


class Partitions(NamedTuple):
    """The three grids. All include the period in progress. month: all symbols; week, day: those with recipes."""

    month: dg.MultiPartitionsDefinition
    week: dg.MultiPartitionsDefinition
    day: dg.MultiPartitionsDefinition

    @property
    def symbol(self) -> dg.PartitionsDefinition:
        """The symbols with recipes alone."""
        return next(d.partitions_def for d in self.week.partitions_defs if d.name == "symbol")

    @property
    def weeks(self) -> dg.PartitionsDefinition:
        """The weeks alone."""
        return next(d.partitions_def for d in self.week.partitions_defs if d.name == "week")


def partition_tags(key: Key, dimension: str) -> dict[str, str]:
    """The run tags that name a partition. Dagster does not check a run request again that has them all."""
    parts = {"symbol": key.symbol, dimension: key.period}
    return {PARTITION_TAG: str(key), **{f"{PARTITION_TAG}/{name}": part for name, part in parts.items()}}


def build_partitions(
    symbols: Sequence[str], start: str, end: str | None = None, trained: Sequence[str] = ()
) -> Partitions:
    """The grids of these symbols from the day `start` to the periods that hold the day `end` (YYYY-MM-DD), or now.

    trained: those with recipes; all if none are given.
    """
    all_symbols, with_recipes = (dg.StaticPartitionsDefinition([*s]) for s in (symbols, trained or symbols))
    last = pd.Timestamp(end) if end else None

    def grid(
        of: dg.PartitionsDefinition, name: str, period: Any, closes: Any, **options: int
    ) -> dg.MultiPartitionsDefinition:
        end_date = (last + closes).strftime("%Y-%m-%d") if last is not None else None
        times = period(start_date=start, end_date=end_date, end_offset=1 if end is None else 0, **options)
        return dg.MultiPartitionsDefinition({"symbol": of, name: times})

    return Partitions(
        grid(all_symbols, "utc_month", dg.MonthlyPartitionsDefinition, pd.offsets.MonthBegin(1)),
        grid(with_recipes, "week", dg.WeeklyPartitionsDefinition, pd.offsets.Week(weekday=0), day_offset=1),
        grid(with_recipes, "utc_day", dg.DailyPartitionsDefinition, pd.DateOffset(days=1)),
    )


def overlap(
    upstream: str, downstream: str, start: int = 0, end: int = 0, symbols: Sequence[str] = ()
) -> dg.MultiPartitionMapping:
    """Overlapping time windows of the same symbol, or of these; `start`/`end` shift the window in units of the
    downstream dimension."""
    of_symbol = dg.SpecificPartitionsPartitionMapping([*symbols]) if symbols else dg.IdentityPartitionMapping()
    window = dg.TimeWindowPartitionMapping(start, end, allow_nonexistent_upstream_partitions=True)
    return dg.MultiPartitionMapping(
        {
            "symbol": dg.DimensionPartitionMapping("symbol", of_symbol),
            upstream: dg.DimensionPartitionMapping(downstream, window),
        }
    )


def parse_key(grid: dg.MultiPartitionsDefinition, key: str) -> Key:
    """The `Key` that a partition key string names. ValueError says what is wrong and how the key should look."""
    time_dimension = next(d for d in grid.partitions_defs if d.name != "symbol")
    symbol, _, period = key.partition("|")
    symbols = next(d for d in grid.partitions_defs if d.name == "symbol").partitions_def.get_partition_keys()
    form = f"a {time_dimension.name} key reads SYMBOL|YYYY-MM-DD"
    if symbol not in symbols:
        raise ValueError(f"partition {key!r}: unknown symbol {symbol!r}; {form}, symbols are {', '.join(symbols)}")
    try:
        return Key(symbol, _start(time_dimension.partitions_def, period))
    except KeyError:
        first, last = (
            time_dimension.partitions_def.get_first_partition_key(),
            time_dimension.partitions_def.get_last_partition_key(),
        )
        raise ValueError(
            f"partition {key!r}: {period!r} is no {time_dimension.name}; {form}, "
            f"where the date is {_FORMS[time_dimension.name]} from {first} to {last}"
        ) from None


@lru_cache(maxsize=4096)  # Dagster takes milliseconds; a period that has begun stays one, an error is not kept
def _start(times: dg.PartitionsDefinition, period: str) -> pd.Timestamp:
    """The UTC start of a period of the grid. KeyError where it has none of that name yet."""
    if not times.has_partition_key(period):
        raise KeyError(period)
    return pd.Timestamp(period, tz="UTC")


def run_keys(grid: dg.MultiPartitionsDefinition, tags: Mapping[str, str]) -> list[Key]:
    """The validated partitions that a run with these tags is for, symbols in order, oldest first.

    The tags are read themselves because Dagster resolves an invalid key to a neighbouring partition and an invalid
    range to none. ValueError where a key, a dimension tag or a range is wrong, or where there is none.
    """
    if any(tag in tags for tag in RANGE_TAGS):
        first, last = (parse_key(grid, tags.get(tag, "")) for tag in RANGE_TAGS)
        keys = grid.get_partition_keys_in_range(dg.PartitionKeyRange(str(first), str(last)))
        if not keys or last.start < first.start:
            raise ValueError(f"partition range {first}...{last} is empty: it must go from the older to the newer key")
        return sorted(parse_key(grid, str(key)) for key in keys)
    if PARTITION_TAG not in tags:
        name = next(d.name for d in grid.partitions_defs if d.name != "symbol")
        raise ValueError(
            f'the run names no partition; give it the tag {{"{PARTITION_TAG}": "SYMBOL|YYYY-MM-DD"}} ({name})'
        )
    key = parse_key(grid, tags[PARTITION_TAG])
    for dimension in grid.partitions_defs:
        part = key.symbol if dimension.name == "symbol" else key.period
        tag = tags.get(f"{PARTITION_TAG}/{dimension.name}", part)
        if tag != part:
            raise ValueError(
                f"the run's tags disagree: {PARTITION_TAG}={key} but {PARTITION_TAG}/{dimension.name}={tag}"
            )
    return [key]


def newest_key_per_symbol(keys: Iterable[Key]) -> list[Key]:
    """The newest period of each symbol, symbols in order."""
    return list({key.symbol: key for key in sorted(keys)}.values())
