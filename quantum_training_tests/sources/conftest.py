"""The network sources over a loopback Binance and Yahoo, which answer from real candles and fail as a test says."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pandas as pd
import pytest

from quantum_training.market.schema import PRICES, as_candles
from quantum_training.market.timeframe import to_timedelta
from quantum_training.sources import CandleSource, ccxt, source_from, yfinance
from quantum_training_tests.support.crypto_venues import CryptoVenue
from quantum_training_tests.support.exchanges import Binance, Yahoo
from quantum_training_tests.support.venue import PATIENT_SECONDS, running

RETRIES = {"attempts": 4, "first_wait": 0.01, "max_wait": 2}


@pytest.fixture(scope="session")
def btc(candles_dir: Path) -> pd.DataFrame:
    """Real BTC/USDT 1h candles, index open_time."""
    frame = pd.read_feather(candles_dir / "crypto_1h/BTC_USDT-1h.feather").set_index("date").rename_axis("open_time")
    frame.index = pd.DatetimeIndex(frame.index).as_unit("ns")
    return frame


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
def binance(btc: pd.DataFrame, monkeypatch: pytest.MonkeyPatch) -> Iterator[Binance]:
    """A running Binance with these candles. The requests of ccxt pass through `prepare`."""
    import requests

    venue, send = Binance(btc), requests.Session.request

    def request(self: Any, method: str, url: str, **options: Any) -> Any:
        return send(self, method, url, **venue.prepare(url, options))

    monkeypatch.setattr(requests.Session, "request", request)
    ccxt._connect.cache_clear()  # a client of an earlier test may have the same port, and its markets
    with running(venue):
        yield venue


@pytest.fixture
def yahoo(aapl: pd.DataFrame, btc: pd.DataFrame, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Yahoo]:
    """A running Yahoo with AAPL (daily) and BTC-USD (1h).

    The address is changed beneath the whole of yfinance, in curl_cffi's session; nothing else is touched.
    """
    import curl_cffi.requests
    import yfinance as client

    client.set_tz_cache_location(str(tmp_path))
    # Yahoo stamps a daily bar with the opening of its session.
    opens = (aapl.index + pd.Timedelta(hours=9.5)).tz_localize("America/New_York").tz_convert("UTC")
    hourly = btc.rename(columns=str.capitalize)
    venue = Yahoo({"AAPL": ("America/New_York", aapl.set_axis(opens)), "BTC-USD": ("UTC", hourly)})
    send = curl_cffi.requests.Session.request

    def request(self: Any, method: str, url: str, **options: Any) -> Any:
        local = url.replace("https://", f"{venue.url}/")
        return send(self, method, local, **venue.prepare(local, options))

    monkeypatch.setattr(curl_cffi.requests.Session, "request", request)
    monkeypatch.setattr(client.data.SingletonMeta, "_instances", {})
    yfinance._session.cache_clear()
    with running(venue):
        yield venue


@pytest.fixture
def ccxt_source(binance: Binance) -> Callable[..., CandleSource]:
    """Builds the ccxt source with these options, pointed at loopback by ccxt's own `urls`, with short waits."""
    api = {"urls": {"api": {"public": f"{binance.url}/api/v3"}}, "rateLimit": 1}
    options = {**api, "options": {"fetchMarkets": {"types": ["spot"]}}}
    defaults = {"kind": "ccxt", "market": "BTC/USDT", "options": options, "timeout": PATIENT_SECONDS}
    return lambda **changed: source_from({**defaults, "retries": RETRIES, **changed})


@pytest.fixture
def exchange(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., tuple[CryptoVenue, CandleSource]]]:
    """Runs an exchange of crypto_venues.MARKETS and builds its source. The client has the market and the same clock."""
    import ccxt as library
    import requests

    venues: list[CryptoVenue] = []
    send, servers = requests.Session.request, ExitStack()

    def request(self: Any, method: str, url: str, **options: Any) -> Any:
        parts = urlsplit(url)
        local = f"{venues[-1].url}{parts.path}?{parts.query}"
        return send(self, method, local, **venues[-1].prepare(local, options))

    def build(
        name: str, bars: pd.DataFrame, timeframe: str, now: pd.Timestamp, **changed: Any
    ) -> tuple[CryptoVenue, CandleSource]:
        venue = CryptoVenue(name, bars, to_timedelta(timeframe), now)
        venues.append(venue)
        servers.enter_context(running(venue))
        for clock, ticks in (("milliseconds", 1), ("microseconds", 1000)):
            monkeypatch.setattr(library.Exchange, clock, staticmethod(lambda ticks=ticks: venue.history.now * ticks))
        monkeypatch.setattr(library.Exchange, "seconds", staticmethod(lambda: venue.history.now // 1000))
        options = {
            "kind": "ccxt",
            "exchange": name.split()[0],
            "market": venue.market.symbol,
            "timeout": PATIENT_SECONDS,
        }
        source = source_from({**options, "options": {"rateLimit": 1}, "retries": RETRIES, **changed})
        client = ccxt._connect(source.exchange, json.dumps(source.options, sort_keys=True), source.timeout)
        client.set_markets([venue.market.in_ccxt()])
        return venue, source

    monkeypatch.setattr(requests.Session, "request", request)
    ccxt._connect.cache_clear()
    with servers:
        yield build
    ccxt._connect.cache_clear()


@pytest.fixture
def yahoo_source(yahoo: Yahoo) -> Callable[..., CandleSource]:
    """Builds the yfinance source with these options and short waits."""
    defaults = {"kind": "yfinance", "ticker": "AAPL", "timeout": PATIENT_SECONDS, "retries": RETRIES}
    return lambda **changed: source_from({**defaults, **changed})


@pytest.fixture
def mixed_faults() -> Callable[[int], list[Any]]:
    """A deterministic choice of transient faults and true answers (None), another one for each seed."""
    kinds = ["half", "html", "cut", {"status": 500}, {"status": 503}, {"status": 429}, None, None]

    def faults(seed: int) -> list[Any]:
        return [kinds[i] for i in np.random.default_rng(seed).integers(0, len(kinds), 12)]

    return faults
