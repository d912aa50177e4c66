"""Files of splits and dividends, and LEAN's factor files, as adjustments of a symbol's bars."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

import fsspec
import pandas as pd

from quantum_training.market.calendar_settings import ALWAYS_OPEN
from quantum_training.market.corporate_actions import Adjustment, of_action
from quantum_training.market.daily_bars import is_midnight
from quantum_training.market.sessions import sessions_covering
from quantum_training.market.timeframe import to_timedelta
from quantum_training.sources.base import CandleSource, SourceError
from quantum_training.sources.tables.history import Market

_DAY = pd.Timedelta(days=1)
_DATES = ("date", "exdate", "timestamp", "datetime")
_SPLITS = ("split", "splits", "stocksplits", "splitratio", "splitcoefficient", "splitfactor")
_DIVIDENDS = ("dividend", "dividends", "dividendamount", "cashamount")
_FACTORS = re.compile(r"\d{8},[\d.eE-]+,[\d.eE-]+(,[\d.]*)?\s*(\n|\Z)")
_WEEKS = pd.Timedelta(days=30)
_LONG_AGO = pd.Timestamp("1980-01-01", tz="UTC")


class Actions(NamedTuple):
    """A file's content. rows: by ex-date, float columns `split` (new shares for an old one) and `dividend`; of a factor
    file `price` and `split`, the factors of days up to and with that date."""

    rows: pd.DataFrame
    are_factors: bool


def read_actions(text: str) -> Actions:
    """ValueError if the text is neither a factor file nor a table with a date and a split or dividend column."""
    if _FACTORS.match(text):
        rows = pd.read_csv(io.StringIO(text), header=None, dtype=str).iloc[:, :3]
        rows.columns = pd.Index(["date", "price", "split"])
        rows.index = pd.DatetimeIndex(pd.to_datetime(rows.pop("date"), format="%Y%m%d"))
        return Actions(rows.astype(float).sort_index(), True)
    table = pd.read_csv(io.StringIO(text), dtype=str)
    names = {re.sub(r"[\W_]+", "", str(name)).casefold(): name for name in table.columns}
    date, split, dividend = (
        next((names[n] for n in known if n in names), None) for known in (_DATES, _SPLITS, _DIVIDENDS)
    )
    if date is None or (split is None and dividend is None):
        raise ValueError(
            f"it has no column of dates, or none of splits or dividends; it has {', '.join(table.columns)}"
        )
    dates = pd.DatetimeIndex(pd.to_datetime(table[date].str[:10], format="ISO8601"))
    splits = [_ratio(value) for value in table[split]] if split else 1.0
    dividends = pd.to_numeric(table[dividend]).fillna(0.0).to_numpy() if dividend else 0.0
    rows = pd.DataFrame({"split": splits, "dividend": dividends}, index=dates)
    return Actions(rows[(rows["split"] != 1) | (rows["dividend"] != 0)].sort_index(), False)


def _ratio(value: object) -> float:
    """4 for 4, 4:1, 4-for-1 or 4/1; 1 for an empty value or 0, which say that there was none."""
    if value is None or value != value:
        return 1.0
    parts = [float(part) for part in re.split(r"\s*(?::|/|-?for-?)\s*", str(value).strip())]
    ratio = parts[0] / parts[1] if len(parts) == 2 else parts[0]
    return ratio or 1.0


def adjustments_of(source: CandleSource, market: Market, path: str) -> tuple[Adjustment, ...]:
    """The adjustments that a file says for the bars of an unadjusted source. SourceError if it cannot be used."""
    newest = source.available_until(market.symbol, market.timeframe, pd.Timestamp.now("UTC"))
    try:
        with fsspec.open(path, "rt") as file:
            text = file.read()
        return _adjustments(type(source), source.model_dump_json(exclude_unset=True), market, text, newest)
    except (OSError, ValueError) as error:
        problem = f"corporate_actions {path} cannot be used: {error}"
        remedy = "Give a CSV with columns date, split and dividend, or a factor file of LEAN"
        raise SourceError(market.symbol, source.kind, problem, remedy) from error


@lru_cache(maxsize=32)
def _adjustments(
    kind: type[CandleSource], options: str, market: Market, text: str, newest: pd.Timestamp
) -> tuple[Adjustment, ...]:
    """Cached, as they are asked for month by month. newest: the end of the source's bars, which changes with them."""
    source = kind.model_validate_json(options)
    source.traded_by(market.calendar)
    actions = read_actions(text)
    made = _of_factors(actions.rows, source, market, newest) if actions.are_factors else None
    return tuple(_of_actions(actions.rows, source, market, newest) if made is None else made)


def _of_actions(rows: pd.DataFrame, source: CandleSource, market: Market, newest: pd.Timestamp) -> Iterator[Adjustment]:
    for date, split, dividend in rows[["split", "dividend"]].itertuples():
        bars = _bars_near(source, market, date, newest)
        until = _begin(date, market, bars)
        before = bars[bars.index < until]
        if until < newest and len(before):
            yield of_action(until, split, dividend, float(before["close"].iloc[-1]))


def _of_factors(rows: pd.DataFrame, source: CandleSource, market: Market, newest: pd.Timestamp) -> Iterator[Adjustment]:
    """Factors of a row are of all its days; an adjustment is the step from them to those of the next row."""
    steps = rows / rows.shift(-1).fillna(1.0)
    for date, price, split in steps[["price", "split"]].itertuples():
        day = date + _DAY
        if (price, split) != (1, 1) and day.tz_localize("UTC") < newest:
            until = _begin(day, market, _bars_near(source, market, day, newest))
            yield Adjustment(until, price * split, 1 / split)


def _bars_near(source: CandleSource, market: Market, date: pd.Timestamp, newest: pd.Timestamp) -> pd.DataFrame:
    """Bars of the weeks before a date, or of all time if these have none, and of the date itself."""
    end = date.tz_localize("UTC") + 2 * _DAY
    for start in (end - _WEEKS, _LONG_AGO):
        bars = source.fetch(market.symbol, market.timeframe, start, end, newest)
        if (bars.index < end - 2 * _DAY).any():
            break
    return bars


def _begin(date: pd.Timestamp, market: Market, bars: pd.DataFrame) -> pd.Timestamp:
    """The instant at which a date begins for bars: in UTC if they are daily and stamped so, else where they trade."""
    day = date.tz_localize("UTC")
    daily = to_timedelta(market.timeframe) == _DAY
    if market.calendar == ALWAYS_OPEN or (daily and len(bars) and is_midnight(pd.DatetimeIndex(bars.index))):
        return day
    return date.tz_localize(sessions_covering(market.calendar, day, day + _DAY).zone).tz_convert("UTC")
