"""Source `yfinance`: candles of Yahoo Finance through the yfinance client, which keeps the cookies Yahoo asks for.

The chart's JSON is read by yahoo_chart.py, not by Ticker.history, which turns errors into empty frames and missing
volumes into 0.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

import pandas as pd
from pydantic import Field

from quantum_training.market.corporate_events import CorporateEvent
from quantum_training.market.notes import Notes, with_notes
from quantum_training.market.schema import empty_candles
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
from quantum_training.sources.yahoo_chart import INTERVALS, NO_CHART, Chart, UnfitError, read_chart

DAY, HOUR = pd.Timedelta(days=1), pd.Timedelta(hours=1)


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
        parts: list[pd.DataFrame] = []
        actions: dict[CorporateEvent, None] = {}
        # Yahoo gives at most eight days of 1m bars a request.
        span = 7 * DAY if step == to_timedelta("1m") else max(last - start, step)
        while start < last:
            stop = min(start + span, last)
            charts = (self._chart(symbol, step, start, stop) for _ in range(self.retries.attempts))
            chart = next((chart for chart in charts if len(chart.bars)), NO_CHART)  # an empty chart may be false
            parts.append(closed_between(chart.bars, timeframe, start, stop, now))
            actions |= dict.fromkeys(chart.actions)  # a request's margin may repeat one
            start = stop
        bars = pd.concat(parts) if parts else empty_candles()
        return with_notes(bars, Notes(actions=tuple(actions)))

    def available_until(self, symbol: str, timeframe: str, now: pd.Timestamp) -> pd.Timestamp:
        """`now`: the market is live."""
        return now

    def _chart(self, symbol: str, step: pd.Timedelta, start: pd.Timestamp, end: pd.Timestamp) -> Chart:
        """Yahoo's bars around [start, end), and the dividends and splits among them."""
        from yfinance.exceptions import YFException

        # A session's date is that of its place: its hours may lie on the day before or after in UTC.
        margin = DAY if step == DAY else pd.Timedelta(0)
        params = {
            "period1": int((start - margin).timestamp()),
            "period2": int((end + margin).timestamp()),
            "interval": INTERVALS[step],
            "includePrePost": "false",
            "events": "div,splits,capitalGains",
        }
        try:
            return self.retries.call(
                lambda: _request(self.ticker, params, self.timeout, step, self.adjust), _is_transient
            )
        except GaveUpError as error:
            raise self._error(symbol, f"no answer: {error}", LATER) from error
        except UnfitError as error:
            raise self._error(symbol, *error.args) from error
        except (OSError, YFException) as error:
            if _reason(error).startswith(BEFORE_LISTING):
                return NO_CHART
            if kept := KEPT.search(_reason(error)):
                raise _TooOldError(int(kept[1]) * DAY) from error
            raise self._error(symbol, f"refused: {_reason(error)}", "Check source.ticker") from error

    def _error(self, symbol: str, problem: str, remedy: str) -> SourceError:
        return SourceError(symbol, self._name, problem, remedy)

    @property
    def _name(self) -> str:
        return f"yfinance {self.ticker}"


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


def _request(ticker: str, params: dict[str, Any], timeout: float, step: pd.Timedelta, adjust: bool) -> Chart:
    """The chart as candles: one request, with the cookies and crumb that yfinance adds."""
    from yfinance.const import _BASE_URL_
    from yfinance.data import YfData

    url = f"{_BASE_URL_}/v8/finance/chart/{ticker}"
    try:
        answer = YfData(session=_session(timeout)).get_raw_json(url, params=params, timeout=timeout)
        return read_chart(answer["chart"]["result"][0], step, adjust)
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
