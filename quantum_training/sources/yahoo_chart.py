"""Yahoo's chart, the JSON of one answer, read as candles and corporate actions. Requests are in yfinance.py."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from quantum_training.market.corporate_events import CorporateEvent
from quantum_training.market.schema import COLUMNS, PRICES, as_candles, empty_candles
from quantum_training.market.timeframe import to_timedelta

DAY = pd.Timedelta(days=1)
INTERVALS = {to_timedelta(name): name for name in ("1m", "2m", "5m", "15m", "30m", "1h", "90m", "4h", "1d")}
_VISIBLE = 2e-4  # a smaller dividend, as a share of the price, leaves no step that could be told from rounding


class Chart(NamedTuple):
    """Candles, and the corporate actions that Yahoo names among them."""

    bars: pd.DataFrame
    actions: tuple[CorporateEvent, ...]


NO_CHART = Chart(empty_candles(), ())


class UnfitError(Exception):
    """Problem and remedy if Yahoo has the chart in another form than requested: another attempt does not help."""


def read_chart(chart: dict[str, Any], step: pd.Timedelta, adjust: bool) -> Chart:
    """The chart, whatever its range. KeyError and its like if it is malformed, UnfitError if it is another chart."""
    meta, indicators = chart["meta"], chart["indicators"]
    interval, zone = meta["dataGranularity"], meta["exchangeTimezoneName"]
    if interval not in (INTERVALS[step], "60m" if INTERVALS[step] == "1h" else None):
        raise UnfitError(f"asked for {INTERVALS[step]} bars Yahoo gives {interval} ones", "Set another timeframe")
    stamps = pd.to_datetime(chart.get("timestamp") or [], unit="s", utc=True)
    if stamps.empty:
        return NO_CHART

    quote = indicators["quote"][0]
    bars = pd.DataFrame({name: quote[name] for name in COLUMNS}, index=stamps, dtype="float64")
    bars["unadjusted"] = bars["close"]
    if adjust:
        if "adjclose" not in indicators:
            raise UnfitError(f"Yahoo has no {interval} prices adjusted for dividends", "Set source.adjust: false")
        ratio = np.array(indicators["adjclose"][0]["adjclose"], dtype="float64") / bars["close"]
        bars[list(PRICES)] = bars[list(PRICES)].mul(ratio, axis=0)
    is_empty = bars[list(PRICES)].isna().all(axis=1) & ~(bars["volume"] > 0)
    bars = bars[~is_empty].sort_index(kind="stable")
    if step == DAY:
        bars.index = _sessions(bars.index, zone)
        # The newest session may come twice, the second time with its last price: that row is the fuller one.
        bars = bars[~(bars.index.duplicated(keep="last") & (bars.index == bars.index.max()))]
    else:
        bars = bars[~_after_close(bars.index, zone, meta)]
    candles = as_candles(bars)
    actions = [_seen(action, candles, bars["unadjusted"], adjust) for action in _actions(chart, step, zone)]
    return Chart(candles, tuple(sorted(actions, key=lambda action: action.ex_date)))


def _sessions(stamps: pd.Index, zone: str) -> pd.DatetimeIndex:
    """The dates of the sessions at their place. Yahoo stamps some of them 22:00 or 23:00 of the evening before."""
    return (pd.DatetimeIndex(stamps).tz_convert(zone) + pd.Timedelta(hours=2)).normalize().tz_localize(None)


def _after_close(stamps: pd.Index, zone: str, meta: dict[str, Any]) -> np.ndarray:
    """Rows stamped with the session's end or later: after the close the last price may come as a row of its own."""
    local = pd.DatetimeIndex(stamps).tz_convert(zone)
    periods = [period for day in meta.get("tradingPeriods") or [] for period in day]
    ends = {pd.Timestamp(period["start"], unit="s", tz=zone).date(): period["end"] for period in periods}
    closes = pd.to_datetime(local.to_series().dt.date.map(ends).to_numpy("float64"), unit="s", utc=True)
    return np.asarray(local >= closes)


def _actions(chart: dict[str, Any], step: pd.Timedelta, zone: str) -> list[CorporateEvent]:
    """The dividends, distributions of gains and splits of the chart. Daily ones have the date of their session."""
    events = chart.get("events") or {}
    actions = [
        CorporateEvent("dividend" if kind == "dividends" else "capital gain", _time(event), float(event["amount"]))
        for kind in ("dividends", "capitalGains")
        for event in (events.get(kind) or {}).values()
    ]
    for event in (events.get("splits") or {}).values():
        ratio = float(event["numerator"]) / float(event["denominator"])
        actions.append(CorporateEvent("split", _time(event), ratio))
    if step != DAY:
        return actions
    dates = _sessions(pd.DatetimeIndex([action.ex_date for action in actions], tz="UTC"), zone).tz_localize("UTC")
    return [action._replace(ex_date=date) for action, date in zip(actions, dates, strict=True)]


def _time(event: dict[str, Any]) -> pd.Timestamp:
    return pd.Timestamp(int(event["date"]), unit="s", tz="UTC")


def _seen(action: CorporateEvent, bars: pd.DataFrame, unadjusted: pd.Series, adjust: bool) -> CorporateEvent:
    """The action, with whether the adjusted prices before its date step by it."""
    at = int(bars.index.searchsorted(action.ex_date))
    if action.kind == "split" or not adjust or not 0 < at < len(bars) or not bars.index.is_unique:
        return action
    before, on = (float(bars["close"].iloc[i] / unadjusted.iloc[i]) for i in (at - 1, at))
    is_visible = action.value / float(unadjusted.iloc[at - 1]) >= _VISIBLE and np.isfinite(before / on)
    return action._replace(is_applied=abs(before / on - 1) > _VISIBLE / 10 if is_visible else None)
