"""Series source `ccxt_funding`: the funding rates of a perpetual contract, from an exchange of ccxt."""

from __future__ import annotations

import json
from typing import Any

import pandas as pd
from pydantic import Field

from quantum_training.sources.base import SourceError
from quantum_training.sources.ccxt_client import answer, connect, is_test_network
from quantum_training.sources.retry import LATER, GaveUpError, Retries, describe
from quantum_training.sources.series import SeriesSource, series_frame

PAGE_ROWS = 100
"""Rows that every exchange gives in one answer."""
SHORTEST_INTERVAL = pd.Timedelta("1h")
"""Between two fundings; a window of time then holds no more than a page."""
PUBLISHED_AFTER = pd.Timedelta("1min")
"""Some exchanges stamp a funding milliseconds after its time: it is taken as known a minute after it, on all."""
MILLISECOND = pd.Timedelta("1ms")


class Source(SeriesSource):
    """Rates as fractions of the position, at the times at which they were paid."""

    revises = False

    market: str = Field(pattern=r"^\S+/\S+:\S+$", description="ccxt's symbol of the contract, as BTC/USDT:USDT.")
    exchange: str = Field(pattern=r"^[a-z0-9]+$", description="ccxt's id of the exchange, as binanceusdm.")
    options: dict[str, Any] = Field({}, description="Passed to ccxt's constructor: urls, options, httpsProxy, ...")
    timeout: float = Field(10.0, gt=0, le=300, description="Seconds to wait for the exchange's answer.")
    retries: Retries = Field(Retries(), description="What to do about 429, 5xx, time-outs and broken answers.")

    @property
    def identity(self) -> dict[str, Any]:
        """See SeriesSource. An exchange's test network is another market; other options of ccxt change no rate."""
        named = {"kind": self.kind, "exchange": self.exchange, "market": self.market}
        return {**named, **({"sandbox": True} if is_test_network(self.options) else {})}

    def fetch(self, name: str, since: pd.Timestamp | None, until: pd.Timestamp) -> pd.DataFrame:
        """See SeriesSource. since None: the month before `until`; an exchange does not say how far back it goes."""
        import ccxt

        since = since or until - pd.Timedelta(days=31)
        try:
            client = self._client(name)
            rates = self._rates(name, client, since - PUBLISHED_AFTER, until - PUBLISHED_AFTER)
        except GaveUpError as error:
            raise self._error(name, f"no answer: {error}", LATER) from error
        except ccxt.BaseError as error:
            remedy = "Check source.market, source.exchange and source.options"
            raise self._error(name, f"refused: {describe(error)}", remedy) from error
        times = pd.DatetimeIndex(pd.to_datetime([*rates], unit="ms", utc=True)).floor("min")
        return series_frame(times, times + PUBLISHED_AFTER, [*rates.values()])

    def _rates(self, name: str, client: Any, since: pd.Timestamp, until: pd.Timestamp) -> dict[int, float]:
        """The rates of [since, until) by their stamp in Unix ms, window by window.

        Not every exchange is told where a window begins and ends: see docs/markets/venues.md.
        """
        cursor, end = (int((time - pd.Timestamp(0, tz="UTC")) / MILLISECOND) for time in (since, until))
        window, rates = (PAGE_ROWS - 4) * int(SHORTEST_INTERVAL / MILLISECOND), dict[int, float]()
        while cursor < end:
            last = min(cursor + window, end) - 1
            page = self._page(client, cursor, last)
            inside = {stamp: rate for stamp, rate in page.items() if cursor <= stamp < end}
            is_cut = len(page) >= PAGE_ROWS or min(page, default=last) > last
            if is_cut and cursor < min(page) and max(page) > last:  # later rates than asked for, not from the start on
                first, asked = (f"{pd.Timestamp(at, unit='ms'):%Y-%m-%d %H:%M}" for at in (min(page), cursor))
                raise self._error(
                    name,
                    f"it cannot be paged: asked for rates from {asked} on it begins with {first}",
                    "Start the series later, or take it from a file",
                )
            rates |= inside
            cursor = max([last, *inside]) + 1
        return dict(sorted(rates.items()))

    def _page(self, client: Any, first: int, last: int) -> dict[int, float]:
        def rows() -> dict[int, float]:
            listed = client.fetch_funding_rate_history(self.market, first, PAGE_ROWS, {"until": last})
            if not listed:
                json.loads(str(client.last_http_response))  # ccxt makes no rates of a text that is no JSON
            return {int(row["timestamp"]): float(row["fundingRate"]) for row in listed}

        return answer(rows, self.retries)

    def _client(self, name: str) -> Any:
        import ccxt

        if self.exchange not in ccxt.exchanges:
            raise self._error(name, "ccxt knows no such exchange", "Set source.exchange to one of ccxt.exchanges")
        client = connect(self.exchange, json.dumps(self.options, sort_keys=True), self.timeout)
        if not client.has.get("fetchFundingRateHistory"):
            raise self._error(name, "ccxt gets no funding rates from it", "Take another exchange, or a file")
        answer(lambda: client.load_markets(reload=not client.markets), self.retries)
        return client

    def _error(self, name: str, problem: str, remedy: str) -> SourceError:
        return SourceError(name, f"ccxt {self.exchange} {self.market}", problem, remedy)
