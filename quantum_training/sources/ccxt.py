"""Source `ccxt`: candles of any crypto exchange that the ccxt library supports, in pages of the public API.

What is written here holds for all exchanges. The quirks of one belong in its options.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from difflib import get_close_matches
from functools import lru_cache, partial
from typing import Any, TypeVar

import pandas as pd
from pydantic import Field

from quantum_training.market.schema import COLUMNS, as_candles, empty_candles
from quantum_training.market.timeframe import to_timedelta
from quantum_training.sources.base import CandleSource, SourceError, closed_between
from quantum_training.sources.paging import Pager, PagingError, Rows
from quantum_training.sources.retry import (
    LATER,
    GarbageError,
    GaveUpError,
    Retries,
    describe,
    is_transient_answer,
)

T = TypeVar("T")
MILLISECOND = pd.Timedelta(milliseconds=1)


class Source(CandleSource):
    """A live market. Closed bars only; public data needs no key."""

    not_identifying = frozenset({"options", "page_bars", "timeout", "retries"})

    market: str = Field(pattern=r"^\S+/\S+$", description="ccxt's unified market symbol, as BTC/USDT (spot).")
    exchange: str = Field("binance", pattern=r"^[a-z0-9]+$", description="ccxt's id of the exchange.")
    options: dict[str, Any] = Field(
        {},
        description="Passed to ccxt's constructor: urls (another host), options, httpsProxy, rateLimit, ... "
        "On binance, {options: {fetchMarkets: {types: [spot]}}} loads the list of spot markets only.",
    )
    page_bars: int = Field(1000, ge=2, le=5000, description="Bars a request asks for; an exchange's own limit wins.")
    timeout: float = Field(10.0, gt=0, le=300, description="Seconds to wait for the exchange's answer.")
    retries: Retries = Field(Retries(), description="What to do about 429, 5xx, time-outs and broken answers.")

    @property
    def identity(self) -> dict[str, Any]:
        """See CandleSource. An exchange's test network is another market; other options of ccxt change no bar."""
        options = (self.options, self.options.get("options") or {})
        is_test = any(of.get(name) for of in options for name in ("sandbox", "testnet"))
        return {**super().identity, **({"sandbox": True} if is_test else {})}

    @property
    def venue(self) -> str:
        """The exchange."""
        return self.exchange

    def fetch(
        self, symbol: str, timeframe: str, start: pd.Timestamp, end: pd.Timestamp, now: pd.Timestamp
    ) -> pd.DataFrame:
        """See CandleSource. SourceError after the last attempt, or if the exchange's pages leave bars out."""
        import ccxt

        step = to_timedelta(timeframe) // MILLISECOND
        first = _milliseconds(start)
        last = min(_milliseconds(end), _milliseconds(now) - step + 1)
        if first >= last:
            return empty_candles()

        try:
            client = self._client(symbol, timeframe)
            limit = min(self.page_bars, client.feature_value(self.market, "fetchOHLCV", "limit") or self.page_bars)

            def request(since: int, bars: int, until: int | None = None) -> Rows:
                params = {} if until is None else {"until": until}
                return self._answer(
                    lambda: _rows(client, client.fetch_ohlcv(self.market, timeframe, since, bars, params))
                )

            pager = Pager(request, step, limit, _milliseconds(now), self.retries.attempts)
            rows = pager.fetch(first, last)
        except GaveUpError as error:
            raise self._error(symbol, f"no answer: {error}", LATER) from error
        except PagingError as error:
            remedy = "Set source.page_bars to what it gives per request, or take the candles from another exchange"
            raise self._error(symbol, f"it cannot be paged: {error}", remedy) from error
        except ccxt.BaseError as error:
            remedy = "Check source.market, source.exchange and source.options"
            raise self._error(symbol, f"refused: {describe(error)}", remedy) from error
        if not rows:
            return empty_candles()
        frame = pd.DataFrame([row[1:6] for row in rows], columns=list(COLUMNS), dtype="float64")
        frame.index = pd.to_datetime([row[0] for row in rows], unit="ms", utc=True)
        return closed_between(as_candles(frame), timeframe, start, end, now)

    def available_until(self, symbol: str, timeframe: str, now: pd.Timestamp) -> pd.Timestamp:
        """`now`: the market is live."""
        return now

    def _client(self, symbol: str, timeframe: str) -> Any:
        """The exchange's client with its markets loaded; it keeps the exchange's rate limit over all requests."""
        import ccxt

        if self.exchange not in ccxt.exchanges:
            near = get_close_matches(self.exchange, ccxt.exchanges) or ccxt.exchanges
            raise self._error(
                symbol, "ccxt knows no such exchange", f"Set source.exchange to one as {', '.join(near[:8])}"
            )
        client = _connect(self.exchange, json.dumps(self.options, sort_keys=True), self.timeout)
        if client.has.get("fetchOHLCV") is not True or timeframe not in (client.timeframes or {}):
            offered = ", ".join(client.timeframes or {}) or "none"
            raise self._error(symbol, f"it has no {timeframe} candles", f"Set timeframe to one that it has: {offered}")

        def load() -> None:
            if not client.load_markets(reload=not client.markets):
                raise GarbageError("an empty list of markets")

        self._answer(load)
        return client

    def _answer(self, request: Callable[[], T]) -> T:
        """The result of the request, repeated as source.retries says."""
        import ccxt

        def guarded() -> T:
            try:
                return request()
            except (TypeError, KeyError, IndexError, AttributeError, ValueError) as error:
                # ccxt passes on what is no JSON, or has another shape, until something in it breaks.
                raise GarbageError(f"an answer that cannot be read ({describe(error)})") from error

        return self.retries.call(guarded, partial(is_transient_answer, transient=(ccxt.OperationFailed,)))

    def _error(self, symbol: str, problem: str, remedy: str) -> SourceError:
        return SourceError(symbol, f"ccxt {self.exchange} {self.market}", problem, remedy)


@lru_cache(maxsize=8)
def _connect(exchange: str, options: str, timeout: float) -> Any:
    """One client per exchange and process, as months are fetched one by one and its list of markets is large."""
    import ccxt

    exchange_class: Any = getattr(ccxt, exchange)

    class Unfiltered(exchange_class):
        """ccxt drops rows that it cannot place in time, so that a broken answer would look like an empty one."""

        def filter_by_since_limit(self, array: Any, *limits: Any, **options: Any) -> Any:
            return array

    return Unfiltered({**json.loads(options), "enableRateLimit": True, "timeout": int(timeout * 1000)})


def _rows(client: Any, answer: Any) -> Rows:
    """The answer as rows [Unix ms, o, h, l, c, v]; values may be None. GarbageError or ValueError if it has none."""
    text = str(client.last_http_response)
    for row in answer:
        if not isinstance(row[0], int) or all(value is None for value in row[1:6]):
            raise GarbageError(f"an answer that is no list of candles: {' '.join(text.split())[:80]}")
    if not answer:
        json.loads(text)  # an empty list is an answer, a text that is no JSON is none
    return answer


def _milliseconds(time: pd.Timestamp) -> int:
    return (time - pd.Timestamp(0, tz="UTC")) // MILLISECOND
