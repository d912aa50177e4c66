"""What Binance and Yahoo answer to their public API's requests for candles, made from real candles."""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote

import pandas as pd

from quantum_training_tests.support.venue import Answer, Venue

HOUR_MS = 3_600_000
SPOT_MARKET = {
    "symbol": "BTCUSDT",
    "status": "TRADING",
    "baseAsset": "BTC",
    "quoteAsset": "USDT",
    "baseAssetPrecision": 8,
    "quotePrecision": 8,
    "isSpotTradingAllowed": True,
    "permissions": ["SPOT"],
    "orderTypes": ["LIMIT", "MARKET"],
    "filters": [],
}


class Binance(Venue):
    """Binance's spot API: exchangeInfo, and the klines of BTCUSDT, 1h, from `bars`; the newest may be unclosed."""

    def __init__(self, bars: pd.DataFrame) -> None:
        super().__init__()
        self.bars = bars

    def answer(self, path: str, query: dict[str, str]) -> Any:
        if path == "/api/v3/exchangeInfo":
            return {"timezone": "UTC", "serverTime": 0, "rateLimits": [], "symbols": [SPOT_MARKET]}
        if path != "/api/v3/klines" or query["symbol"] != "BTCUSDT" or query["interval"] != "1h":
            return None
        since = pd.Timestamp(int(query.get("startTime", 0)), unit="ms", tz="UTC")
        until = pd.Timestamp(int(query.get("endTime", 4e12)), unit="ms", tz="UTC")
        page = self.bars.loc[since:until].iloc[: min(int(query.get("limit", 500)), 1000)]
        stamps = page.index.as_unit("ms").asi8
        prices = [[f"{value:.8f}" for value in row] for row in page.to_numpy()]
        return [
            [int(at), *row, int(at) + HOUR_MS - 1, "0", 1, "0", "0", "0"]
            for at, row in zip(stamps, prices, strict=True)
        ]


class Yahoo(Venue):
    """Yahoo's hosts: cookie, crumb and the v8 chart. `charts`: time zone and bars (columns as Yahoo's) per ticker.

    oldest: the first time from which it keeps intraday bars, and how many days ago that is. events: by ticker, as Yahoo
    has them: {"dividends": [{"amount": 0.2, "date": Unix time}], "splits": [{"numerator": 4, ...}]}.
    """

    def __init__(self, charts: dict[str, tuple[str, pd.DataFrame]]) -> None:
        super().__init__()
        self.charts = charts
        self.oldest: tuple[pd.Timestamp, int] | None = None
        self.events: dict[str, dict[str, list[dict[str, Any]]]] = {}

    def answer(self, path: str, query: dict[str, str]) -> Any:
        if path.endswith("/v1/test/getcrumb"):
            return "crumb"
        if "/v8/finance/chart/" not in path:
            return None
        ticker = unquote(path.rpartition("/")[2])
        zone, bars = self.charts[ticker]
        first = pd.Timestamp(int(query.get("period1", 0)), unit="s", tz="UTC")
        last = pd.Timestamp(int(query.get("period2", 4e9)), unit="s", tz="UTC")
        if self.oldest and query["interval"] != "1d" and first < self.oldest[0]:
            return self._too_old(query, self.oldest[1])
        page = bars[(bars.index >= first) & (bars.index < last)]
        page = page.astype(object).where(page.notna(), None)
        meta = {"symbol": ticker, "exchangeTimezoneName": zone, "dataGranularity": query["interval"]}
        meta |= {"currency": "USD", "instrumentType": "EQUITY", "validRanges": ["max"]}
        chart: dict[str, Any] = {"meta": meta, "indicators": {"quote": [{}]}}
        if len(page):
            chart["timestamp"] = page.index.as_unit("s").asi8.tolist()
            columns = ("Open", "High", "Low", "Close", "Volume")
            chart["indicators"]["quote"] = [{name.lower(): page[name].tolist() for name in columns}]
        if "Adj Close" in page:
            chart["indicators"]["adjclose"] = [{"adjclose": page["Adj Close"].tolist()} if len(page) else {}]
        events = {
            kind: {str(of["date"]): of for of in found if first.timestamp() <= of["date"] < last.timestamp()}
            for kind, found in self.events.get(ticker, {}).items()
        }
        if any(events.values()):
            chart["events"] = {kind: found for kind, found in events.items() if found}
        return {"chart": {"result": [chart], "error": None}}

    @staticmethod
    def _too_old(query: dict[str, str], days: int) -> Answer:
        text = "{interval} data not available for startTime={period1} and endTime={period2}. ".format(**query)
        description = f"{text}The requested range must be within the last {days} days."
        error = {"code": "Unprocessable Entity", "description": description}
        return Answer(422, {"chart": {"result": None, "error": error}})
