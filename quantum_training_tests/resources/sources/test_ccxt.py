"""The `ccxt` source: the real ccxt client against a loopback Binance with real candles, honest and lying."""

from __future__ import annotations

import time
from itertools import repeat

import pandas as pd
import pytest
from pydantic import ValidationError

from quantum_training.market.schema import candle_schema
from quantum_training.resources.sources import SourceError, source_from

pytestmark = pytest.mark.candles
HOUR = pd.Timedelta(hours=1)


def utc(text: str) -> pd.Timestamp:
    return pd.Timestamp(text, tz="UTC")


JUNE, JULY, SEPTEMBER = utc("2023-06-01"), utc("2023-07-01"), utc("2023-09-01")
NOW = utc("2024-01-01")


def source_at(venue, **options):
    """The source, pointed at loopback by ccxt's own `urls`, with a short patience."""
    host = {
        "urls": {"api": {"public": f"{venue.url}/api/v3"}},
        "options": {"fetchMarkets": {"types": ["spot"]}},
        "rateLimit": 1,
    }
    retries = {"attempts": 4, "first_wait": 0.01, "max_wait": 2}
    defaults = {"market": "BTC/USDT", "options": host, "timeout": 0.5, "retries": retries}
    return source_from({"kind": "ccxt", **defaults, **options})


def fetch(source, start=JUNE, end=JULY, now=NOW, timeframe="1h"):
    return source.fetch("BTC", timeframe, start, end, now)


def assert_same(bars, expected):
    pd.testing.assert_frame_equal(bars, expected, check_exact=True, check_freq=False)


def slots(requests):
    """Start and limit of each klines request."""
    return [(pd.Timestamp(int(r.query["startTime"]), unit="ms", tz="UTC"), int(r.query["limit"])) for r in requests]


def test_months_are_read_in_pages_of_a_thousand(binance, btc):
    bars = fetch(source_at(binance), JUNE, SEPTEMBER)
    assert_same(bars, btc.loc[JUNE : SEPTEMBER - HOUR])
    candle_schema().validate(bars)
    assert slots(binance.asked("klines")) == [(JUNE, 1000), (JUNE + 1000 * HOUR, 1000), (JUNE + 2000 * HOUR, 1000)]


def test_resuming_asks_for_later_pages_only(binance, btc):
    start = utc("2023-08-25 07:00")
    assert_same(fetch(source_at(binance), start, SEPTEMBER), btc.loc[start : SEPTEMBER - HOUR])
    assert slots(binance.asked("klines")) == [(start, 1000)]


def test_the_market_list_is_loaded_once_for_all_months(binance):
    source = source_at(binance)
    fetch(source, JUNE, JULY)
    fetch(source, JULY, SEPTEMBER)
    assert len(binance.asked("exchangeInfo")) == 1


def test_the_unclosed_bar_is_left_out(binance, btc):
    now = utc("2023-06-20 10:30")
    binance.bars = btc.loc[:now]
    assert binance.bars.index[-1] == utc("2023-06-20 10:00")
    assert fetch(source_at(binance), now=now).index[-1] == utc("2023-06-20 09:00")
    assert fetch(source_at(binance), now=utc("2023-06-20 11:00")).index[-1] == utc("2023-06-20 10:00")


def test_a_range_without_a_closed_bar_asks_nobody(binance):
    assert fetch(source_at(binance), now=JUNE + HOUR / 2).empty
    assert binance.requests == []


def test_real_outages_stay_gaps(binance, btc):
    start, end = utc("2020-12-01"), utc("2021-01-01")
    bars = fetch(source_at(binance, page_bars=50), start, end)
    assert_same(bars, btc.loc[start : end - HOUR])
    assert len(bars) == 31 * 24 - 5


@pytest.mark.parametrize("page_bars", [10, 24, 50])
def test_an_outage_longer_than_a_page_does_not_end_the_paging(binance, btc, page_bars):
    binance.bars = btc.drop(btc.loc[utc("2023-06-10") : utc("2023-06-15 03:00")].index)
    bars = fetch(source_at(binance, page_bars=page_bars))
    assert_same(bars, binance.bars.loc[JUNE : JULY - HOUR])


def test_a_venue_that_answers_for_a_window_of_time_is_paged_over_an_outage(binance, btc):
    binance.bars = btc.drop(btc.loc[utc("2023-06-10") : utc("2023-06-15 03:00")].index)
    inner = binance.answer

    def windowed(path, query):
        if "startTime" in query:
            last = int(query["startTime"]) + int(query["limit"]) * 3_600_000 - 1
            query = {**query, "endTime": str(min(last, int(query.get("endTime", last))))}
        return inner(path, query)

    binance.answer = windowed
    assert_same(fetch(source_at(binance, page_bars=24)), binance.bars.loc[JUNE : JULY - HOUR])


def test_history_from_before_the_listing_begins_with_the_listing(binance, btc):
    bars = fetch(source_at(binance), utc("2020-09-01"), utc("2020-10-01"))
    assert_same(bars, btc.loc[: utc("2020-09-30 23:00")])
    assert fetch(source_at(binance), utc("2020-08-01"), utc("2020-09-01")).empty


PASSING = {
    "too many requests": {"status": 429, "body": {"code": -1003, "msg": "Too many requests"}},
    "banned for a moment": {"status": 418, "headers": {"Retry-After": "0"}},
    "internal error": {"status": 500},
    "bad gateway": {"status": 502},
    "unavailable with the venue's own code": {"status": 503, "body": {"code": -1000, "msg": "An unknown error"}},
    "time-out": "hang",
    "cut short": "cut",
    "half of the JSON": "half",
    "a web page": "html",
    "an object for a list": lambda truth: {"data": truth},
    "rows that are no rows": lambda truth: [1, 2, 3],
    "rows without prices": lambda truth: [row[:1] for row in truth],
    "stamps that are no stamps": lambda truth: [[None, *row[1:]] for row in truth],
    "nothing": lambda truth: None,
}


@pytest.mark.parametrize("lie", PASSING.values(), ids=PASSING.keys())
def test_what_passes_is_outlasted_on_any_page(binance, btc, lie):
    binance.lies = {"klines": iter([lie, lie, None, lie])}
    bars = fetch(source_at(binance, page_bars=400))
    assert_same(bars, btc.loc[JUNE : JULY - HOUR])
    assert len(binance.asked("klines")) == 2 + 3


@pytest.mark.parametrize("lie", PASSING.values(), ids=PASSING.keys())
def test_what_does_not_pass_ends_in_an_error_that_helps(binance, lie):
    binance.lies = {"klines": repeat(lie)}
    began = time.monotonic()
    with pytest.raises(SourceError) as error:
        fetch(source_at(binance))
    text = str(error.value)
    assert text.startswith("BTC: source ccxt binance BTC/USDT: no answer: ")
    assert "(try 4 of 4" in text
    assert "Run the partition again later" in text
    assert len(text) < 700
    assert len(binance.asked("klines")) == 4
    assert time.monotonic() - began < 4


@pytest.mark.parametrize("lie", ["hang", "half", "html", "cut", {"status": 500}, lambda truth: {"symbols": []}])
def test_the_market_list_is_asked_for_again_too(binance, btc, lie):
    binance.lies = {"exchangeInfo": iter([lie, lie])}
    assert_same(fetch(source_at(binance)), btc.loc[JUNE : JULY - HOUR])
    assert len(binance.asked("exchangeInfo")) == 3


def test_retry_after_is_honoured(binance, btc):
    binance.lies = {"klines": iter([{"status": 429, "headers": {"Retry-After": "1"}}])}
    assert_same(fetch(source_at(binance)), btc.loc[JUNE : JULY - HOUR])
    first, second = binance.asked("klines")
    assert second.at - first.at >= 1


def test_a_long_ban_is_not_waited_for_and_not_made_worse(binance):
    binance.lies = {"klines": repeat({"status": 418, "headers": {"Retry-After": "7200"}})}
    with pytest.raises(SourceError, match="the server asks to wait 7200 s"):
        fetch(source_at(binance))
    assert len(binance.asked("klines")) == 1


@pytest.mark.parametrize("status", [400, 401, 403, 404, 451])
def test_what_is_refused_is_not_asked_for_again(binance, status):
    binance.lies = {"klines": repeat({"status": status})}
    with pytest.raises(SourceError, match=r"BTC: source ccxt binance BTC/USDT: refused: .*Check source\.market"):
        fetch(source_at(binance))
    assert len(binance.asked("klines")) == 1


def test_a_connection_refused_ends_in_an_error(binance):
    options = {
        "urls": {"api": {"public": "http://127.0.0.1:9/api/v3"}},
        "options": {"fetchMarkets": {"types": ["spot"]}},
    }
    with pytest.raises(SourceError, match=r"no answer: .*\(try 4 of 4\)"):
        fetch(source_at(binance, options=options))


def test_lone_empty_answers_lose_nothing(binance, btc):
    binance.lies = {"klines": iter([lambda truth: [], None, lambda truth: [], None, lambda truth: []])}
    assert_same(fetch(source_at(binance, page_bars=300)), btc.loc[JUNE : JULY - HOUR])


def test_a_market_that_stays_empty_gives_no_rows_and_soon_ends(binance):
    binance.lies = {"klines": repeat(lambda truth: [])}
    assert fetch(source_at(binance)).empty
    assert len(binance.asked("klines")) == 2


def test_rows_repeated_from_the_page_before_come_once(binance, btc):
    inner = binance.answer

    def overlapping(path, query):
        if "startTime" in query:
            query = {**query, "startTime": str(int(query["startTime"]) - 2 * 3_600_000)}
        return inner(path, query)

    binance.answer = overlapping
    assert_same(fetch(source_at(binance, page_bars=100)), btc.loc[JUNE : JULY - HOUR])


def test_rows_repeated_within_a_page_are_left_to_the_quality_gate(binance):
    binance.lies = {"klines": iter([lambda truth: [truth[0], *truth]])}
    assert fetch(source_at(binance)).index.duplicated().sum() == 1


def test_rows_out_of_order_are_put_in_order(binance, btc):
    binance.lies = {"klines": repeat(lambda truth: truth[::-1])}
    assert_same(fetch(source_at(binance, page_bars=100)), btc.loc[JUNE : JULY - HOUR])


def test_a_page_of_older_rows_only_is_refused(binance, btc):
    binance.lies = {"klines": iter([None, *([lambda truth: oldest] * 4)])}
    oldest = binance.answer("/api/v3/klines", {"symbol": "BTCUSDT", "interval": "1h", "limit": "100"})
    with pytest.raises(SourceError, match=r"it cannot be paged: .* gives a page of older ones"):
        fetch(source_at(binance, page_bars=100))
    assert len(binance.asked("klines")) == 2


def test_fewer_rows_than_asked_for_leave_no_hole(binance, btc):
    binance.lies = {"klines": repeat(lambda truth: truth[:7])}
    end = utc("2023-06-05")
    assert_same(fetch(source_at(binance), JUNE, end), btc.loc[JUNE : end - HOUR])


def test_the_newest_rows_of_a_window_are_refused_as_a_hole(binance):
    binance.lies = {"klines": repeat(lambda truth: truth[-100:])}
    with pytest.raises(SourceError, match=r"it cannot be paged: .* Set source\.page_bars"):
        fetch(source_at(binance))


@pytest.mark.parametrize("honours_limit", [True, False])
def test_an_exchange_that_ignores_since_is_refused(binance, btc, honours_limit):
    binance.bars = btc.loc[:NOW]
    inner = binance.answer

    def newest(path, query):
        count = int(query.get("limit", 0)) if honours_limit else 500
        start = binance.bars.index[-1] - (count - 1) * HOUR
        return inner(path, {**query, "startTime": start.value // 10**6, "endTime": 4e12, "limit": 500})

    binance.answer = newest
    with pytest.raises(SourceError, match=r"it cannot be paged: asked for bars from 2023-06-01 00:00 on"):
        fetch(source_at(binance))
    assert len(binance.asked("klines")) <= 3


def outlasted(lies, answers):
    """Whether four tries each are enough for so many true answers."""
    in_a_row = 0
    for lie in [*lies, *[None] * answers]:
        in_a_row = in_a_row + 1 if lie else 0
        answers -= lie is None
        if in_a_row == 4 or not answers:
            return not answers
    raise AssertionError


@pytest.mark.parametrize("seed", [0, 1, 2, 8, 10, 11])
def test_any_mixture_of_lies_gives_the_right_bars_or_an_error(binance, btc, mixed_lies, seed):
    binance.lies = {"klines": iter(mixed_lies(seed)), "exchangeInfo": iter(mixed_lies(seed + 100))}
    source = source_at(binance, page_bars=100)
    if outlasted(mixed_lies(seed + 100), 1) and outlasted(mixed_lies(seed), 8):
        assert_same(fetch(source), btc.loc[JUNE : JULY - HOUR])
    else:
        with pytest.raises(SourceError, match=r"\(try 4 of 4"):
            fetch(source)


@pytest.mark.parametrize(
    ("options", "timeframe", "said"),
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
def test_what_the_exchange_has_not_is_said(binance, options, timeframe, said):
    with pytest.raises(SourceError) as error:
        fetch(source_at(binance, **options), timeframe=timeframe)
    assert said in str(error.value)
    assert binance.asked("klines") == []


@pytest.mark.parametrize(
    "options",
    [{}, {"market": "BTCUSDT"}, {"market": "BTC/USDT", "page_bars": 1}, {"market": "BTC/USDT", "timeout": 0}],
)
def test_wrong_options_are_refused_at_load(options):
    with pytest.raises(ValidationError):
        source_from({"kind": "ccxt", **options})


def test_a_live_market_is_available_until_now(binance):
    source = source_at(binance)
    assert source.available_until("BTC", "1h", NOW) == NOW
    assert not source.revises_history
