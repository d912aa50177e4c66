"""Source `yfinance`: candles of Yahoo Finance through the yfinance client, which keeps the cookies Yahoo asks for.

The chart's JSON is read here, not by Ticker.history: that turns errors into empty frames and missing volumes into 0.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd
from pydantic import Field

from quantum_training.market.schema import COLUMNS, PRICES, as_candles, empty_candles
from quantum_training.market.timeframe import to_timedelta
from quantum_training.sources.base import CandleSource, OutOfReachError, SourceError, closed_between
from quantum_training.sources.retry import (
    LATER,
    TRANSIENT_STATUS,
    GarbageError,
    GaveUpError,
    Retries,
    describe,
    is_transient_answer,
)

DAY, HOUR = pd.Timedelta(days=1), pd.Timedelta(hours=1)
INTERVALS = {to_timedelta(name): name for name in ("1m", "2m", "5m", "15m", "30m", "1h", "90m", "4h", "1d")}


class Source(CandleSource):
    """A live market. A daily bar opens at 00:00 UTC of its session's date; closed bars only."""

    not_identifying = frozenset({"timeout", "retries"})

    ticker: str = Field(pattern=r"^[A-Za-z0-9^=.&_-]+$", description="Yahoo's symbol, as AAPL, ^GSPC, M&M.NS.")
    adjust: bool = Field(
        True,
        description="True: all four prices adjusted for splits and dividends (daily bars only). "
        "False: all four for splits only, as Yahoo has no others.",
    )
    timeout: float = Field(10.0, gt=0, le=300, description="Seconds to wait for Yahoo's answer.")
    retries: Retries = Field(Retries(), description="What to do about 429, 5xx, time-outs and broken answers.")

    @property
    def venue(self) -> str:
        """Yahoo, whatever the ticker."""
        return "yahoo"

    @property
    def revises_history(self) -> bool:
        """Always: a split changes Yahoo's older prices also where dividends do not."""
        return True

    def fetch(
        self, symbol: str, timeframe: str, start: pd.Timestamp, end: pd.Timestamp, now: pd.Timestamp
    ) -> pd.DataFrame:
        """See CandleSource. Rows in which Yahoo has no number at all stand for no bar and are left out.

        SourceError after the last attempt, for a timeframe that Yahoo does not have, and if adjusted prices are
        requested that Yahoo does not have. OutOfReachError for intraday bars that are older than Yahoo keeps them.
        """
        step = to_timedelta(timeframe)
        if step not in INTERVALS:
            remedy = f"Set timeframe to one of {', '.join(INTERVALS.values())}"
            raise self._error(symbol, f"Yahoo has no {timeframe} bars", remedy)
        last = min(end, now - step + pd.Timedelta(seconds=1))
        try:
            return self._bars(symbol, timeframe, start, last, now)
        except _TooOldError as error:
            oldest = (now - error.kept + HOUR).ceil("D")
            try:
                if oldest < last:
                    return self._bars(symbol, timeframe, oldest, last, now)
            except _TooOldError:
                pass  # Yahoo's clock is more than an hour ahead
            raise OutOfReachError(symbol, self._name, oldest) from error

    def _bars(
        self, symbol: str, timeframe: str, start: pd.Timestamp, last: pd.Timestamp, now: pd.Timestamp
    ) -> pd.DataFrame:
        """The bars that open in [start, last), in as many requests as Yahoo wants."""
        step = to_timedelta(timeframe)
        parts = []
        # Yahoo gives at most eight days of 1m bars a request.
        span = 7 * DAY if step == to_timedelta("1m") else max(last - start, step)
        while start < last:
            stop = min(start + span, last)
            charts = (self._chart(symbol, step, start, stop) for _ in range(self.retries.attempts))
            chart = next((bars for bars in charts if len(bars)), empty_candles())  # an empty chart may be false
            parts.append(closed_between(chart, timeframe, start, stop, now))
            start = stop
        return pd.concat(parts) if parts else empty_candles()

    def available_until(self, symbol: str, timeframe: str, now: pd.Timestamp) -> pd.Timestamp:
        """`now`: the market is live."""
        return now

    def _chart(self, symbol: str, step: pd.Timedelta, start: pd.Timestamp, end: pd.Timestamp) -> pd.DataFrame:
        """Yahoo's bars around [start, end)."""
        from yfinance.exceptions import YFException

        # A session's date is that of its place: its hours may lie on the day before or after in UTC.
        margin = DAY if step == DAY else pd.Timedelta(0)
        params = {
            "period1": int((start - margin).timestamp()),
            "period2": int((end + margin).timestamp()),
            "interval": INTERVALS[step],
            "includePrePost": "false",
            "events": "div,splits",
        }
        try:
            return self.retries.call(
                lambda: _request(self.ticker, params, self.timeout, step, self.adjust), _is_transient
            )
        except GaveUpError as error:
            raise self._error(symbol, f"no answer: {error}", LATER) from error
        except _UnfitError as error:
            raise self._error(symbol, *error.args) from error
        except (OSError, YFException) as error:
            if _reason(error).startswith(BEFORE_LISTING):
                return empty_candles()
            if kept := KEPT.search(_reason(error)):
                raise _TooOldError(int(kept[1]) * DAY) from error
            raise self._error(symbol, f"refused: {_reason(error)}", "Check source.ticker") from error

    def _error(self, symbol: str, problem: str, remedy: str) -> SourceError:
        return SourceError(symbol, self._name, problem, remedy)

    @property
    def _name(self) -> str:
        return f"yfinance {self.ticker}"


class _UnfitError(Exception):
    """Problem and remedy if Yahoo has the chart in another form than requested: another attempt does not help."""


class _TooOldError(Exception):
    """The range begins before what Yahoo keeps of this interval. kept: how far back that reaches."""

    def __init__(self, kept: pd.Timedelta):
        super().__init__(f"Yahoo keeps {kept.days} days")
        self.kept = kept


@lru_cache(maxsize=4)
def _session(timeout: float) -> Any:
    """yfinance's own kind of session, with our time-out. It raises 429 and 5xx with the answer and its Retry-After.

    yfinance itself would send a second request at once and drop that header.
    """
    from curl_cffi.requests import Session

    class StrictSession(Session):
        def request(self, *request: Any, **options: Any) -> Any:
            answer = super().request(*request, **{**options, "timeout": timeout})
            if answer.status_code in TRANSIENT_STATUS:
                answer.raise_for_status()
            return answer

    return StrictSession(impersonate="chrome")


def _request(ticker: str, params: dict[str, Any], timeout: float, step: pd.Timedelta, adjust: bool) -> pd.DataFrame:
    """The chart as candles: one request, with the cookies and crumb that yfinance adds."""
    from yfinance.const import _BASE_URL_
    from yfinance.data import YfData

    url = f"{_BASE_URL_}/v8/finance/chart/{ticker}"
    try:
        answer = YfData(session=_session(timeout)).get_raw_json(url, params=params, timeout=timeout)
        return _candles(answer["chart"]["result"][0], step, adjust)
    except (TypeError, KeyError, IndexError, AttributeError, ValueError) as error:
        raise GarbageError(f"an answer that is no chart ({describe(error)})") from error


def _is_transient(error: BaseException) -> bool:
    """Whether another attempt may succeed: a transient status, no complete answer (curl's OSErrors), or garbage."""
    from yfinance.exceptions import YFRateLimitError

    return is_transient_answer(error, (OSError, YFRateLimitError))


BEFORE_LISTING = "Data doesn't exist for startDate"
"""How Yahoo refuses a range before a ticker's first bar, with HTTP 400."""

KEPT = re.compile(r"must be within the last (\d+) days")
"""How Yahoo refuses a range that begins before the intraday bars that it keeps, with HTTP 422."""


def _reason(error: Exception) -> str:
    """Yahoo's own words about a refused request, or else the error's."""
    try:
        return error.response.json()["chart"]["error"]["description"]  # type: ignore[attr-defined]
    except (AttributeError, KeyError, TypeError, ValueError):
        return describe(error)


def _candles(chart: dict[str, Any], step: pd.Timedelta, adjust: bool) -> pd.DataFrame:
    """Candles of one chart, whatever its range. KeyError and its like if it is malformed."""
    meta, indicators = chart["meta"], chart["indicators"]
    interval, zone = meta["dataGranularity"], meta["exchangeTimezoneName"]
    if interval not in (INTERVALS[step], "60m" if INTERVALS[step] == "1h" else None):
        raise _UnfitError(f"asked for {INTERVALS[step]} bars Yahoo gives {interval} ones", "Set another timeframe")
    stamps = pd.to_datetime(chart.get("timestamp") or [], unit="s", utc=True)
    if stamps.empty:
        return empty_candles()

    quote = indicators["quote"][0]
    bars = pd.DataFrame({name: quote[name] for name in COLUMNS}, index=stamps, dtype="float64")
    if adjust:
        if "adjclose" not in indicators:
            raise _UnfitError(f"Yahoo has no {interval} prices adjusted for dividends", "Set source.adjust: false")
        ratio = np.array(indicators["adjclose"][0]["adjclose"], dtype="float64") / bars["close"]
        bars[list(PRICES)] = bars[list(PRICES)].mul(ratio, axis=0)
    is_empty = bars[list(PRICES)].isna().all(axis=1) & ~(bars["volume"] > 0)
    bars = bars[~is_empty].sort_index(kind="stable")
    local = pd.DatetimeIndex(bars.index).tz_convert(zone)
    if step == DAY:
        # Two hours, because Yahoo stamps some sessions 22:00 or 23:00 of the evening before (a wrong summer time).
        bars.index = (local + pd.Timedelta(hours=2)).normalize().tz_localize(None)
        # The newest session may come twice, the second time with its last price: that row is the fuller one.
        bars = bars[~(bars.index.duplicated(keep="last") & (bars.index == bars.index.max()))]
    else:
        # After the close the last price may come as a row of its own, stamped with the session's end.
        periods = [period for day in meta.get("tradingPeriods") or [] for period in day]
        ends = {pd.Timestamp(period["start"], unit="s", tz=zone).date(): period["end"] for period in periods}
        closes = pd.to_datetime(local.to_series().dt.date.map(ends).to_numpy("float64"), unit="s", utc=True)
        bars = bars[~(local >= closes)]
    return as_candles(bars)
