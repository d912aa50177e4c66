"""The `ccxt` source at eighteen exchanges: the real client against each one's own answers and paging rules."""

from __future__ import annotations

from functools import cache

import numpy as np
import pandas as pd
import pytest
import yaml

from quantum_training.lifecycle.ingestion import ingest_month
from quantum_training.market.notes import Notes, take_notes
from quantum_training.market.periods import MONTH, Key
from quantum_training.resources.store.store import Store
from quantum_training.settings import load_settings
from quantum_training.sources import OutOfReachError, SourceError, source_from
from quantum_training_tests.support.crypto_venues import MARKETS, random_bars

HOUR = pd.Timedelta(hours=1)
NOW = pd.Timestamp("2026-11-17 10:20", tz="UTC")
YEARS_AGO = pd.Timestamp("2024-11-17", tz="UTC")
OCTOBER, NOVEMBER = pd.Timestamp("2025-10-01", tz="UTC"), pd.Timestamp("2025-11-01", tz="UTC")
LEAVES_OUT = ("bitfinex", "coinbase", "kucoin", "upbit")
KEPT = {
    "kraken": 719,
    "gate": 9_989,
    "hyperliquid": 4_999,
    "gemini": 1_487,
    "bithumb": 199,
}  # the newest of each is not closed

WHOLE = [name for name in MARKETS if name.split()[0] not in KEPT]


@cache
def history(first="2023-06-01", last=NOW, freq="1h"):
    """Bars of a seeded walk, all different."""
    opens = pd.date_range(pd.Timestamp(first, tz="UTC"), last, freq=freq)
    return random_bars(opens, 0.004)


@cache
def truth(name):
    """What the exchange had. Some leave out bars without a trade: single ones, a week, and the newest."""
    bars = history()
    if name.split()[0] not in LEAVES_OUT:
        return bars
    quiet = np.random.default_rng(1).random(len(bars)) < 0.05
    quiet[(bars.index >= "2025-12-28") & (bars.index < "2026-01-04")] = True
    quiet[-3:] = True
    return bars[~quiet]


def assert_same(bars, expected):
    pd.testing.assert_frame_equal(bars, expected, check_exact=False, rtol=1e-12, check_freq=False)


def marked(name):
    return pytest.param(name, marks=[] if name in ("binance", "kraken", "okx") else pytest.mark.long)


@pytest.mark.parametrize("name", map(marked, MARKETS))
def test_two_years_are_equal_to_the_truth_in_every_bar_that_the_exchange_has(exchange, name):
    bars = truth(name)
    _, source = exchange(name, bars, "1h", NOW)
    expected = bars[(bars.index >= YEARS_AGO) & (bars.index + HOUR <= NOW)]
    expected = expected.tail(KEPT.get(name.split()[0], len(expected)))
    assert_same(source.fetch("BTC", "1h", YEARS_AGO, NOW, NOW), expected)


@pytest.mark.parametrize("name", [*KEPT])
def test_a_month_that_the_exchange_no_longer_has_names_the_oldest_bar(exchange, name):
    _, source = exchange(name, history(), "1h", NOW)
    oldest = (NOW - KEPT[name] * HOUR).floor("h")
    with pytest.raises(OutOfReachError, match=f"it gives no bars before {oldest:%Y-%m-%d %H:%M} UTC") as error:
        source.fetch("BTC", "1h", YEARS_AGO, YEARS_AGO + 30 * 24 * HOUR, NOW)
    assert error.value.oldest == oldest


@pytest.mark.parametrize("name", MARKETS)
def test_new_bars_come_after_the_stored_ones(exchange, name):
    bars = truth(name)
    _, source = exchange(name, bars, "1h", NOW)
    stored = bars.index[bars.index <= NOW - 30 * HOUR][-1]
    expected = bars[(bars.index >= stored) & (bars.index + HOUR <= NOW)]
    assert_same(source.fetch("BTC", "1h", stored, NOW + HOUR, NOW), expected)


@pytest.mark.parametrize("name", WHOLE)
def test_a_month_is_read_in_few_requests(exchange, name):
    venue, source = exchange(name, truth(name), "1h", NOW)
    source.fetch("BTC", "1h", NOW.floor("D") - 43 * 24 * HOUR, NOW.floor("D") - 17 * 24 * HOUR, NOW)
    assert len(venue.requests) <= 6


@pytest.mark.parametrize("name", WHOLE)
@pytest.mark.parametrize("day", [10, 25])
def test_a_market_that_was_listed_in_the_month_begins_with_its_listing(exchange, name, day):
    bars = truth(name)
    bars = bars[bars.index >= f"2025-10-{day}"]
    _, source = exchange(name, bars, "1h", NOW)
    fetched = source.fetch("BTC", "1h", OCTOBER, NOVEMBER, NOW)
    assert_same(fetched, bars[bars.index < NOVEMBER])


@pytest.mark.parametrize(
    ("name", "facts"),
    [
        ("binance", {"volume_unit": "base"}),
        ("deribit", {"volume_unit": "base"}),
        ("gate swap", {"volume_unit": "base", "contract_size": 0.0001}),
        ("kucoin swap", {"volume_unit": "base", "contract_size": 0.001}),
    ],
)
def test_the_unit_of_the_volume_is_noted(exchange, name, facts):
    _, source = exchange(name, history(), "1h", NOW)
    assert take_notes(source.fetch("BTC", "1h", NOW - 9 * HOUR, NOW, NOW)).facts == facts


def test_volume_in_contracts_can_be_kept(exchange):
    bars = history()
    _, source = exchange("kucoin swap", bars, "1h", NOW, volume="venue")
    fetched = source.fetch("BTC", "1h", NOW - 9 * HOUR, NOW, NOW)
    pd.testing.assert_series_equal(fetched["volume"], bars.loc[fetched.index, "volume"] / 0.001, check_freq=False)
    assert take_notes(fetched).facts == {"volume_unit": "contracts", "contract_size": 0.001}
    assert source.identity == {"kind": "ccxt", "exchange": "kucoin", "market": "BTC/USDT:USDT"}


PASSING = [
    ("bitfinex", 429, {"error": "ERR_RATE_LIMIT"}),
    ("bitfinex", 500, ["error", 11010, "ratelimit: error"]),
    ("bybit", 200, {"retCode": 10006, "retMsg": "Too many visits!"}),
    ("bybit", 403, "403, access too frequent. Please try it 5 minutes later"),
    ("cryptocom", 400, {"id": -1, "code": 10006, "message": "TOO_MANY_REQUESTS"}),
    ("deribit", 400, {"jsonrpc": "2.0", "error": {"code": 10028, "message": "too_many_requests"}}),
    ("gate", 400, {"label": "SERVER_ERROR", "message": "x"}),
    ("kraken", 200, {"error": ["EGeneral:Too many requests"]}),
    ("okx", 200, {"code": "50001", "msg": "Service temporarily unavailable", "data": []}),
]


@pytest.mark.parametrize(("name", "status", "body"), PASSING)
def test_what_the_exchange_says_of_a_fault_that_passes_counts_before_the_status(exchange, name, status, body):
    bars = history()
    venue, source = exchange(name, bars, "1h", NOW)
    answer = {"status": status, **({"text": body} if isinstance(body, str) else {"body": body})}
    venue.faults = {"/": iter([answer, answer])}
    assert_same(source.fetch("BTC", "1h", NOW.floor("h") - 9 * HOUR, NOW, NOW), bars.iloc[-10:-1])
    assert len(venue.requests) == 3


@pytest.mark.parametrize(
    ("name", "status", "body"),
    [
        ("bitfinex", 500, ["error", 10020, "symbol: invalid"]),
        ("gate", 400, {"label": "INVALID_CURRENCY_PAIR", "message": "x"}),
        ("okx", 200, {"code": "51001", "msg": "Instrument ID does not exist", "data": []}),
    ],
)
def test_a_request_that_the_exchange_calls_wrong_is_not_repeated(exchange, name, status, body):
    venue, source = exchange(name, history(), "1h", NOW)
    venue.faults = {"/": iter([{"status": status, "body": body}] * 9)}
    with pytest.raises(SourceError, match="refused: Bad"):
        source.fetch("BTC", "1h", NOW - 9 * HOUR, NOW, NOW)
    assert len(venue.requests) == 1


def test_a_timeframe_that_ccxt_does_not_declare_is_tried(exchange):
    bars = history(freq="1D", last=NOW.floor("D"))
    venue, source = exchange("bithumb", bars, "1d", NOW)
    assert_same(source.fetch("BTC", "1d", NOW.floor("D") - 90 * 24 * HOUR, NOW, NOW), bars.iloc[-91:-1])
    with pytest.raises(SourceError, match=r"it has no 2h candles\. Set timeframe to one that it has: 1m, 3m"):
        source.fetch("BTC", "2h", NOW - 9 * HOUR, NOW, NOW)
    assert {request.path for request in venue.requests} == {"/v1/candles/days"}


@pytest.mark.parametrize(("name", "timeframe"), [("gemini", "2h"), ("binance", "1d")])
def test_bars_of_another_timeframe_are_refused(exchange, name, timeframe):
    _, source = exchange(name, history(), "1h", NOW)
    with pytest.raises(
        SourceError, match=f"asked for {timeframe} candles it gives bars that are 0 days 01:00:00 apart"
    ):
        source.fetch("BTC", timeframe, NOW.floor("D") - 72 * HOUR, NOW, NOW)


@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        ("huobi", "Set source.exchange: htx"),
        ("gateio", "Set source.exchange: gate"),
        ("okex", "Set source.exchange: okx"),
        ("coinbasepro", "Set source.exchange: coinbase"),
        ("bitmex", "Take the market from another exchange"),
    ],
)
def test_an_exchange_that_ccxt_no_longer_has_is_answered_with_its_successor(name, remedy):
    source = source_from({"kind": "ccxt", "exchange": name, "market": "BTC/USDT"})
    with pytest.raises(SourceError, match=rf"ccxt [0-9.]+ no longer has this exchange\. {remedy}"):
        source.fetch("BTC", "1h", NOW - 9 * HOUR, NOW, NOW)


@pytest.mark.parametrize("name", ["coinbase", "deribit", "gate swap"])
def test_months_are_stored_with_the_unit_of_their_volume_and_bars_without_trades_are_no_gap(
    exchange, small, tmp_path, monkeypatch, name
):
    bars = truth(name)
    _, source = exchange(name, bars, "1h", NOW)
    described = {"kind": "ccxt", **source.model_dump(mode="json")}
    small["symbols"] = {"AAA": {**small["symbols"]["AAA"], "source": described, "timeframe": "1h"}}
    small["start"] = "2026-09-01"
    small.pop("end", None)
    (tmp_path / "settings.yaml").write_text(yaml.safe_dump(small))
    monkeypatch.setenv("QUANTUM_TRAINING_CONFIG", str(tmp_path / "settings.yaml"))
    settings, store = load_settings(), Store(root=str(tmp_path / "store"))
    for month in ("2026-09-01", "2026-10-01"):
        first = pd.Timestamp(month, tz="UTC")
        stored = ingest_month(store, settings, Key("AAA", first), NOW)
        assert stored.errors == []
        facts = Notes.stored(store.attributes("candles", "AAA", month)).facts
        assert facts["volume_unit"] == "base"
        expected = bars[(bars.index >= first) & (bars.index < first + MONTH)]
        assert_same(store.read_frame("candles", "AAA", month), expected)
