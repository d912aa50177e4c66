"""A server on loopback that answers as Binance and Yahoo do, from real candles, and lies where a test tells it to."""

from __future__ import annotations

import json
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import numpy as np
import pandas as pd
import pytest

from quantum_training.market.schema import PRICES, as_candles
from quantum_training.sources import CandleSource, source_from

HOUR_MS = 3_600_000


@dataclass
class Request:
    """What the server was asked."""

    path: str
    query: dict[str, str]
    at: float


@dataclass
class Venue:
    """The server. `lies` maps a part of a path to an iterator: each request there takes the next lie, None is none.

    A lie is a function of the true answer, or {"status": ..., "headers": ..., "body" or "text": ...}, or one of "hang"
    (longer than the client waits), "reset" (the connection breaks before the answer), "cut" (it ends before the answer
    does), "half" (half of the JSON), "html".
    """

    answer: Callable[[str, dict[str, str]], Any] = lambda path, query: {}
    lies: dict[str, Iterator[Any]] = field(default_factory=dict)
    requests: list[Request] = field(default_factory=list)
    url: str = ""
    hang: threading.Event = field(default_factory=threading.Event)

    def asked(self, part: str) -> list[Request]:
        """The requests to paths with this part."""
        return [request for request in self.requests if part in request.path]

    def lie_to(self, path: str) -> Any:
        return next((lie for part, lies in self.lies.items() if part in path for lie in [next(lies, None)]), None)


def handler_of(venue: Venue) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            url = urlsplit(self.path)
            query = dict(parse_qsl(url.query))
            venue.requests.append(Request(url.path, query, time.monotonic()))
            truth, lie = venue.answer(url.path, query), venue.lie_to(url.path)
            if lie == "hang":
                venue.hang.wait(5)
                return
            if lie == "reset":
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                self.connection.close()
                return
            if isinstance(lie, dict):
                self.reply(
                    lie["status"], lie.get("text", json.dumps(lie.get("body", {}))).encode(), lie.get("headers", {})
                )
                return
            body = json.dumps(lie(truth) if callable(lie) else truth).encode()
            if lie == "cut":
                self.reply(200, body[: len(body) // 2], {"Content-Length": str(len(body))})
            elif lie == "half":
                self.reply(200, body[: len(body) // 2])
            elif lie == "html":
                self.reply(200, b"<html><body>Please wait</body></html>", {"Content-Type": "text/html"})
            else:
                self.reply(404 if truth is None else 200, body)

        def reply(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
            self.send_response(status)
            defaults = {"Content-Type": "application/json", "Content-Length": str(len(body)), "Connection": "close"}
            for name, value in {**defaults, **(headers or {})}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)
            self.close_connection = True

        def log_message(self, *args: Any) -> None:
            pass

    return Handler


@pytest.fixture
def venue() -> Iterator[Venue]:
    """The server, running; give it its `answer`."""
    venue = Venue()
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler_of(venue))
    server.daemon_threads = True
    venue.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield venue
    venue.hang.set()
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="session")
def btc(candles_dir: Path) -> pd.DataFrame:
    """Real BTC/USDT 1h candles, index open_time."""
    frame = pd.read_feather(candles_dir / "crypto_1h/BTC_USDT-1h.feather").set_index("date").rename_axis("open_time")
    frame.index = pd.DatetimeIndex(frame.index).as_unit("ns")
    return frame


@pytest.fixture
def binance(venue: Venue, btc: pd.DataFrame) -> Venue:
    """Binance's spot API: exchangeInfo and klines, with these candles; the newest of them may be unclosed."""
    venue.bars = btc
    spot = {
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

    def answer(path: str, query: dict[str, str]) -> Any:
        if path == "/api/v3/exchangeInfo":
            return {"timezone": "UTC", "serverTime": 0, "rateLimits": [], "symbols": [spot]}
        if path != "/api/v3/klines" or query["symbol"] != "BTCUSDT" or query["interval"] != "1h":
            return None
        since = pd.Timestamp(int(query.get("startTime", 0)), unit="ms", tz="UTC")
        until = pd.Timestamp(int(query.get("endTime", 4e12)), unit="ms", tz="UTC")
        page = venue.bars.loc[since:until].iloc[: min(int(query.get("limit", 500)), 1000)]
        stamps = page.index.as_unit("ms").asi8
        prices = [[f"{value:.8f}" for value in row] for row in page.to_numpy()]
        return [
            [int(at), *row, int(at) + HOUR_MS - 1, "0", 1, "0", "0", "0"]
            for at, row in zip(stamps, prices, strict=True)
        ]

    venue.answer = answer
    return venue


@pytest.fixture(scope="session")
def aapl(candles_dir: Path) -> pd.DataFrame:
    """Real AAPL daily candles as Yahoo publishes them, index Date; `Adj Close` beside Open to Volume."""
    return pd.read_csv(candles_dir / "equity_1d/AAPL.csv.gz", index_col="Date", parse_dates=["Date"])


@pytest.fixture
def raw(aapl: pd.DataFrame) -> pd.DataFrame:
    """AAPL as our candles: split-adjusted only."""
    return as_candles(aapl.rename(columns=str.lower))


@pytest.fixture
def adjusted(aapl: pd.DataFrame, raw: pd.DataFrame) -> pd.DataFrame:
    """The same, all four prices times the published ratio."""
    out = raw.copy()
    for price in PRICES:
        out[price] *= (aapl["Adj Close"] / aapl["Close"]).to_numpy()
    return out


@pytest.fixture
def yahoo(
    venue: Venue, aapl: pd.DataFrame, btc: pd.DataFrame, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Venue:
    """Yahoo's hosts, all of them on loopback: cookie, crumb and the v8 chart of AAPL (daily) and BTC-USD (1h).

    The address is changed beneath the whole of yfinance, in curl_cffi's session; nothing else is touched.
    """
    import curl_cffi.requests
    import yfinance

    yfinance.set_tz_cache_location(str(tmp_path))
    real = curl_cffi.requests.Session.request

    def request(self: Any, method: str, url: str, **options: Any) -> Any:
        return real(self, method, url.replace("https://", f"{venue.url}/"), **options)

    monkeypatch.setattr(curl_cffi.requests.Session, "request", request)
    monkeypatch.setattr(yfinance.data.SingletonMeta, "_instances", {})
    # Yahoo stamps a daily bar with the opening of its session.
    opens = (aapl.index + pd.Timedelta(hours=9.5)).tz_localize("America/New_York").tz_convert("UTC")
    hourly = btc.rename(columns=str.capitalize)
    venue.charts = {"AAPL": ("America/New_York", aapl.set_axis(opens)), "BTC-USD": ("UTC", hourly)}

    def answer(path: str, query: dict[str, str]) -> Any:
        if path.endswith("/v1/test/getcrumb"):
            return "crumb"
        if "/v8/finance/chart/" not in path:
            return None
        ticker = path.rpartition("/")[2]
        zone, bars = venue.charts[ticker]
        first = pd.Timestamp(int(query.get("period1", 0)), unit="s", tz="UTC")
        last = pd.Timestamp(int(query.get("period2", 4e9)), unit="s", tz="UTC")
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
        return {"chart": {"result": [chart], "error": None}}

    venue.answer = answer
    return venue


@pytest.fixture
def ccxt_source(binance: Venue) -> Callable[..., CandleSource]:
    """Builds the ccxt source with these options, pointed at loopback by ccxt's own `urls`, with a short patience."""
    api = {"urls": {"api": {"public": f"{binance.url}/api/v3"}}, "rateLimit": 1}
    defaults = {"options": {**api, "options": {"fetchMarkets": {"types": ["spot"]}}}, "timeout": 0.5}
    retries = {"attempts": 4, "first_wait": 0.01, "max_wait": 2}
    return lambda **options: source_from(
        {"kind": "ccxt", "market": "BTC/USDT", "retries": retries, **defaults, **options}
    )


@pytest.fixture
def yahoo_source(yahoo: Venue) -> Callable[..., CandleSource]:
    """Builds the yfinance source with these options and a short patience."""
    retries = {"attempts": 4, "first_wait": 0.01, "max_wait": 2}
    return lambda **options: source_from(
        {"kind": "yfinance", "ticker": "AAPL", "timeout": 0.5, "retries": retries, **options}
    )


@pytest.fixture
def mixed_lies() -> Callable[[int], list[Any]]:
    """A deterministic choice of lies and truths, another one for each seed."""
    passing = ["half", "html", "cut", {"status": 500}, {"status": 503}, {"status": 429}, None, None]

    def lies(seed: int) -> list[Any]:
        return [passing[i] for i in np.random.default_rng(seed).integers(0, len(passing), 12)]

    return lies
