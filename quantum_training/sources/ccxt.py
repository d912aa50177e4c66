"""Source `ccxt`: candles of any crypto exchange that the ccxt library supports, in pages of the public API.

What is written here holds for all exchanges. What is known of a single one is in venue_facts.py, how it pages is found
out in paging.py.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from difflib import get_close_matches
from typing import Any, Literal, TypeVar

import pandas as pd
from pydantic import Field

from quantum_training.market.notes import CONTRACT_SIZE, VOLUME_UNIT, Notes, with_notes
from quantum_training.market.schema import COLUMNS, as_candles, empty_candles
from quantum_training.market.timeframe import DAY, ceil, floor, length_of, to_timedelta
from quantum_training.sources.base import CandleSource, OutOfReachError, SourceError, closed_between
from quantum_training.sources.ccxt_client import answer, is_test_network, rows
from quantum_training.sources.ccxt_client import connect as _connect
from quantum_training.sources.paging import History, Pager, PagingError, Rows
from quantum_training.sources.retry import LATER, GarbageError, GaveUpError, Retries, describe
from quantum_training.sources.venue_facts import (
    FILLS_UNTRADED_BARS,
    KEPT_BARS,
    LEAVES_OUT_UNTRADED_BARS,
    SUCCESSORS,
    USUAL_TIMEFRAMES,
    WEEKS_FROM_THURSDAY,
    volume_unit,
)

T = TypeVar("T")
MILLISECOND = pd.Timedelta(milliseconds=1)


class Source(CandleSource):
    """A live market. Closed bars only; public data needs no key."""

    not_identifying = frozenset({"options", "volume", "page_bars", "timeout", "retries"})

    market: str = Field(pattern=r"^\S+/\S+$", description="ccxt's unified market symbol, as BTC/USDT (spot).")
    exchange: str = Field("binance", pattern=r"^[a-z0-9]+$", description="ccxt's id of the exchange.")
    options: dict[str, Any] = Field(
        {},
        description="Passed to ccxt's constructor: urls (another host), options, httpsProxy, rateLimit, ... "
        "On binance, {options: {fetchMarkets: {types: [spot]}}} loads the list of spot markets only.",
    )
    volume: Literal["base", "venue"] = Field(
        "base",
        description="base: volume in contracts is converted to the base currency (of an inverse contract: to the quote "
        "currency) if ccxt tells the contract's size. venue: as the exchange gives it.",
    )
    page_bars: int = Field(1000, ge=2, le=5000, description="Bars a request asks for; an exchange's own limit wins.")
    timeout: float = Field(10.0, gt=0, le=300, description="Seconds to wait for the exchange's answer.")
    retries: Retries = Field(Retries(), description="What to do about 429, 5xx, time-outs and broken answers.")

    @property
    def identity(self) -> dict[str, Any]:
        """See CandleSource. An exchange's test network is another market; other options of ccxt change no bar."""
        return {**super().identity, **({"sandbox": True} if is_test_network(self.options) else {})}

    @property
    def venue(self) -> str:
        """The exchange."""
        return self.exchange

    @property
    def leaves_out_untraded_bars(self) -> bool:
        """See CandleSource; as far as it is known of the exchange."""
        return self.exchange in LEAVES_OUT_UNTRADED_BARS

    @property
    def fills_untraded_bars(self) -> bool:
        """See CandleSource; as far as it is known of the exchange."""
        return self.exchange in FILLS_UNTRADED_BARS

    def with_begin(self, timeframe: str) -> str:
        """See CandleSource; as far as it is known of the exchange."""
        return "1w from Thursday" if timeframe == "1w" and self.exchange in WEEKS_FROM_THURSDAY else timeframe

    def fetch(
        self, symbol: str, timeframe: str, start: pd.Timestamp, end: pd.Timestamp, now: pd.Timestamp
    ) -> pd.DataFrame:
        """See CandleSource. SourceError after the last attempt, or if the exchange's pages leave bars out.

        OutOfReachError if the exchange keeps its newest bars only, and none of the period is among them.
        """
        step = to_timedelta(timeframe) // MILLISECOND
        last = min(_milliseconds(end), _milliseconds(now) - step + 1)
        if _milliseconds(start) >= last:
            return empty_candles()
        earliest = self._earliest(timeframe, now)
        begin = ceil(start, timeframe) if to_timedelta(timeframe) > DAY else start
        first = max(_milliseconds(begin), earliest)
        history = self._history(symbol, timeframe, range(first, last), earliest, now) if first < last else History([])
        frame = pd.DataFrame([row[1:6] for row in history.rows], columns=list(COLUMNS), dtype="float64")
        frame.index = pd.to_datetime([row[0] for row in history.rows], unit="ms", utc=True)
        self._require_spacing(symbol, timeframe, frame.index.to_series())
        bars = closed_between(as_candles(frame), timeframe, start, end, now)
        oldest = history.oldest or earliest
        if oldest >= last:
            raise OutOfReachError(symbol, self._name, pd.Timestamp(oldest, unit="ms", tz="UTC"))
        return self._in_base(bars)

    def _in_base(self, bars: pd.DataFrame) -> pd.DataFrame:
        """The bars with their volume converted if it is in contracts, and a note of its unit."""
        unit = volume_unit(self.exchange, self._connected.market(self.market))
        facts: dict[str, str | float] = {VOLUME_UNIT: unit.name}
        if unit.factor != 1:
            facts = {**facts, CONTRACT_SIZE: unit.factor}
            if self.volume == "venue":
                return with_notes(bars, Notes({**facts, VOLUME_UNIT: "contracts"}))
            bars["volume"] *= unit.factor
        return with_notes(bars, Notes(facts))

    def _earliest(self, timeframe: str, now: pd.Timestamp) -> int:
        """Open time of the oldest bar that the exchange is known to keep, in Unix ms; 0 if it is not known."""
        kept = KEPT_BARS.get(self.exchange)
        return _milliseconds(floor(now, timeframe) - (kept - 1) * to_timedelta(timeframe)) if kept else 0

    def _history(self, symbol: str, timeframe: str, span: range, earliest: int, now: pd.Timestamp) -> History:
        """The rows of the exchange that open in this span of Unix ms; later ones may follow."""
        import ccxt

        try:
            client, length = self._client(symbol, timeframe), length_of(timeframe)
            limit = min(self.page_bars, client.feature_value(self.market, "fetchOHLCV", "limit") or self.page_bars)

            def request(since: int, bars: int | None, until: int | None = None) -> Rows:
                params = {} if until is None else {"until": until}
                return self._answer(lambda: rows(client, client.fetch_ohlcv(self.market, length, since, bars, params)))

            step = to_timedelta(timeframe) // MILLISECOND
            pager = Pager(request, step, limit, _milliseconds(now), self.retries.attempts, earliest)
            return pager.fetch(span.start, span.stop)
        except GaveUpError as error:
            raise self._error(symbol, f"no answer: {error}", LATER) from error
        except PagingError as error:
            remedy = "Take these bars from another exchange, or from files"
            raise self._error(symbol, f"it cannot be paged: {error}", remedy) from error
        except ccxt.BaseError as error:
            if not (self._declares(timeframe) or isinstance(error, ccxt.BadSymbol)):
                raise self._no_such_candles(symbol, timeframe) from error
            remedy = "Check source.market, source.exchange and source.options"
            raise self._error(symbol, f"refused: {describe(error)}", remedy) from error

    def available_until(self, symbol: str, timeframe: str, now: pd.Timestamp) -> pd.Timestamp:
        """`now`: the market is live."""
        return now

    def _client(self, symbol: str, timeframe: str) -> Any:
        """The exchange's client with its markets loaded; it keeps the exchange's rate limit over all requests."""
        import ccxt

        if self.exchange not in ccxt.exchanges:
            raise self._error(symbol, *self._other_exchange())
        client = self._connected
        may_have = self._declares(timeframe) or timeframe in USUAL_TIMEFRAMES
        if client.has.get("fetchOHLCV") is not True or not may_have:
            raise self._no_such_candles(symbol, timeframe)

        def load() -> None:
            if not client.load_markets(reload=not client.markets):
                raise GarbageError("an empty list of markets")

        self._answer(load)
        return client

    def _other_exchange(self) -> tuple[str, str]:
        """Problem and remedy if ccxt does not have the exchange."""
        import ccxt

        if self.exchange in SUCCESSORS:
            successor = SUCCESSORS[self.exchange]
            remedy = f"Set source.exchange: {successor}" if successor else "Take the market from another exchange"
            return f"ccxt {ccxt.__version__} no longer has this exchange", remedy
        near = get_close_matches(self.exchange, ccxt.exchanges) or ccxt.exchanges
        return "ccxt knows no such exchange", f"Set source.exchange to one as {', '.join(near[:8])}"

    def _declares(self, timeframe: str) -> bool:
        """Whether ccxt says that the exchange has the timeframe."""
        return length_of(timeframe) in (self._connected.timeframes or {})

    def _require_spacing(self, symbol: str, timeframe: str, opens: pd.Series) -> None:
        """SourceError if bars are of a shorter timeframe, or of any other if it was only tried."""
        gaps = opens.diff().iloc[1:]
        gaps = gaps[gaps > pd.Timedelta(0)]
        if gaps.empty:
            return
        usual = pd.Timedelta(gaps.median())
        if usual < to_timedelta(timeframe) or (not self._declares(timeframe) and usual != to_timedelta(timeframe)):
            problem = f"asked for {length_of(timeframe)} candles it gives bars that are {usual} apart"
            raise self._no_such_candles(symbol, timeframe, problem)

    def _no_such_candles(self, symbol: str, timeframe: str, problem: str = "") -> SourceError:
        offered = ", ".join(self._connected.timeframes or {}) or "none"
        remedy = f"Set timeframe to one that it has: {offered}"
        return self._error(symbol, problem or f"it has no {length_of(timeframe)} candles", remedy)

    def _answer(self, request: Callable[[], T]) -> T:
        """The result of the request, repeated as source.retries says."""
        return answer(request, self.retries)

    def _error(self, symbol: str, problem: str, remedy: str) -> SourceError:
        return SourceError(symbol, self._name, problem, remedy)

    @property
    def _connected(self) -> Any:
        """The exchange's client, perhaps without its markets yet."""
        return _connect(self.exchange, json.dumps(self.options, sort_keys=True), self.timeout)

    @property
    def _name(self) -> str:
        return f"ccxt {self.exchange} {self.market}"


def _milliseconds(time: pd.Timestamp) -> int:
    return (time - pd.Timestamp(0, tz="UTC")) // MILLISECOND
