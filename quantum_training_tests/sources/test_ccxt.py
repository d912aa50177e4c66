"""The `ccxt` source: the real ccxt client against a loopback Binance that is honest."""

from __future__ import annotations

import pandas as pd
import pytest
from pydantic import ValidationError

from quantum_training.market.schema import candle_schema
from quantum_training.sources import SourceError, source_from

pytestmark = pytest.mark.candles
HOUR = pd.Timedelta(hours=1)


def utc(text: str) -> pd.Timestamp:
    return pd.Timestamp(text, tz="UTC")


JUNE, JULY, SEPTEMBER = utc("2023-06-01"), utc("2023-07-01"), utc("2023-09-01")
NOW = utc("2024-01-01")


def fetch(source, start=JUNE, end=JULY, now=NOW, timeframe="1h"):
    return source.fetch("BTC", timeframe, start, end, now)


def assert_same(bars, expected):
    pd.testing.assert_frame_equal(bars, expected, check_exact=True, check_freq=False)


def slots(requests):
    """Start and limit of each klines request."""
    return [(pd.Timestamp(int(r.query["startTime"]), unit="ms", tz="UTC"), int(r.query["limit"])) for r in requests]


def test_months_are_read_in_pages_of_a_thousand_that_overlap_by_a_bar(binance, ccxt_source, btc):
    bars = fetch(ccxt_source(), JUNE, SEPTEMBER)
    assert_same(bars, btc.loc[JUNE : SEPTEMBER - HOUR])
    candle_schema().validate(bars)
    assert slots(binance.requests_to("klines")) == [
        (JUNE - HOUR, 1000),
        (JUNE + 998 * HOUR, 1000),
        (JUNE + 1997 * HOUR, 1000),
    ]


def test_resuming_requests_later_pages_only(binance, ccxt_source, btc):
    start = utc("2023-08-25 07:00")
    assert_same(fetch(ccxt_source(), start, SEPTEMBER), btc.loc[start : SEPTEMBER - HOUR])
    assert slots(binance.requests_to("klines")) == [(start - HOUR, 1000)]


def test_the_market_list_is_loaded_once_for_all_months(binance, ccxt_source):
    source = ccxt_source()
    fetch(source, JUNE, JULY)
    fetch(source, JULY, SEPTEMBER)
    assert len(binance.requests_to("exchangeInfo")) == 1


def test_the_unclosed_bar_is_left_out(binance, ccxt_source, btc):
    now = utc("2023-06-20 10:30")
    binance.bars = btc.loc[:now]
    assert binance.bars.index[-1] == utc("2023-06-20 10:00")
    assert fetch(ccxt_source(), now=now).index[-1] == utc("2023-06-20 09:00")
    assert fetch(ccxt_source(), now=utc("2023-06-20 11:00")).index[-1] == utc("2023-06-20 10:00")


def test_a_range_without_a_closed_bar_sends_no_request(binance, ccxt_source):
    assert fetch(ccxt_source(), now=JUNE + HOUR / 2).empty
    assert binance.requests == []


def test_real_outages_stay_gaps(binance, ccxt_source, btc):
    start, end = utc("2020-12-01"), utc("2021-01-01")
    bars = fetch(ccxt_source(page_bars=50), start, end)
    assert_same(bars, btc.loc[start : end - HOUR])
    assert len(bars) == 31 * 24 - 5


@pytest.mark.parametrize("page_bars", [10, 24, 50])
def test_an_outage_longer_than_a_page_does_not_end_the_paging(binance, ccxt_source, btc, page_bars):
    binance.bars = btc.drop(btc.loc[utc("2023-06-10") : utc("2023-06-15 03:00")].index)
    bars = fetch(ccxt_source(page_bars=page_bars))
    assert_same(bars, binance.bars.loc[JUNE : JULY - HOUR])


def test_a_venue_that_answers_for_a_window_of_time_is_paged_over_an_outage(binance, ccxt_source, btc):
    binance.bars = btc.drop(btc.loc[utc("2023-06-10") : utc("2023-06-15 03:00")].index)
    answer = binance.answer

    def windowed(path, query):
        if "startTime" in query:
            last = int(query["startTime"]) + int(query["limit"]) * 3_600_000 - 1
            query = {**query, "endTime": str(min(last, int(query.get("endTime", last))))}
        return answer(path, query)

    binance.answer = windowed
    assert_same(fetch(ccxt_source(page_bars=24)), binance.bars.loc[JUNE : JULY - HOUR])


def test_history_from_before_the_listing_begins_with_the_listing(binance, ccxt_source, btc):
    bars = fetch(ccxt_source(), utc("2020-09-01"), utc("2020-10-01"))
    assert_same(bars, btc.loc[: utc("2020-09-30 23:00")])
    assert fetch(ccxt_source(), utc("2020-08-01"), utc("2020-09-01")).empty


@pytest.mark.parametrize(
    ("options", "timeframe", "message"),
    [
        ({"exchange": "binanz"}, "1h", "ccxt knows no such exchange. Set source.exchange to one as binance, binanceus"),
        (
            {"market": "BTC/X"},
            "1h",
            "refused: BadSymbol: binance does not have market symbol BTC/X. Check source.market",
        ),
        ({}, "7m", "it has no 7m candles. Set timeframe to one that it has: 1s, 1m"),
        ({"exchange": "alpaca", "options": {}}, "5h", "it has no 5h candles"),
    ],
)
def test_a_market_or_timeframe_that_the_exchange_lacks_is_named(binance, ccxt_source, options, timeframe, message):
    with pytest.raises(SourceError) as error:
        fetch(ccxt_source(**options), timeframe=timeframe)
    assert message in str(error.value)
    assert binance.requests_to("klines") == []


@pytest.mark.parametrize(
    "options",
    [{}, {"market": "BTCUSDT"}, {"market": "BTC/USDT", "page_bars": 1}, {"market": "BTC/USDT", "timeout": 0}],
)
def test_wrong_options_are_refused_at_load(options):
    with pytest.raises(ValidationError):
        source_from({"kind": "ccxt", **options})


def test_a_live_market_is_available_until_now(binance, ccxt_source):
    source = ccxt_source()
    assert source.available_until("BTC", "1h", NOW) == NOW
    assert not source.revises_history
