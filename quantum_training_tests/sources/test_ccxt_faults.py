"""The `ccxt` source: the real ccxt client against a loopback Binance that fails and gives wrong answers."""

from __future__ import annotations

from itertools import repeat

import pandas as pd
import pytest

from quantum_training.sources import OutOfReachError, SourceError

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


TRANSIENT = {
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
    "no text at all": {"status": 200, "text": ""},
}


@pytest.mark.parametrize("fault", TRANSIENT.values(), ids=TRANSIENT.keys())
def test_a_transient_fault_is_retried_on_any_page(binance, ccxt_source, btc, fault):
    binance.faults = {"klines": iter([fault, fault, None, fault])}
    bars = fetch(ccxt_source(page_bars=400))
    assert_same(bars, btc.loc[JUNE : JULY - HOUR])
    assert len(binance.requests_to("klines")) == 2 + 3


@pytest.mark.parametrize("fault", TRANSIENT.values(), ids=TRANSIENT.keys())
def test_a_lasting_fault_ends_in_an_error_that_helps(binance, ccxt_source, fault):
    binance.faults = {"klines": repeat(fault)}
    with pytest.raises(SourceError) as error:
        fetch(ccxt_source())
    text = str(error.value)
    assert text.startswith("BTC: source ccxt binance BTC/USDT: no answer: ")
    assert "(try 4 of 4" in text
    assert "Run the partition again later" in text
    assert len(text) < 700
    assert len(binance.requests_to("klines")) == 4


@pytest.mark.parametrize("fault", ["hang", "half", "html", "cut", {"status": 500}, lambda truth: {"symbols": []}])
def test_the_market_list_is_requested_again_too(binance, ccxt_source, btc, fault):
    binance.faults = {"exchangeInfo": iter([fault, fault])}
    assert_same(fetch(ccxt_source()), btc.loc[JUNE : JULY - HOUR])
    assert len(binance.requests_to("exchangeInfo")) == 3


def test_retry_after_is_honoured(binance, ccxt_source, btc):
    binance.faults = {"klines": iter([{"status": 429, "headers": {"Retry-After": "1"}}])}
    assert_same(fetch(ccxt_source()), btc.loc[JUNE : JULY - HOUR])
    first, second = binance.requests_to("klines")
    assert second.at - first.at >= 1


def test_a_long_ban_is_not_waited_for_and_not_made_worse(binance, ccxt_source):
    binance.faults = {"klines": repeat({"status": 418, "headers": {"Retry-After": "7200"}})}
    with pytest.raises(SourceError, match="the server asks to wait 7200 s"):
        fetch(ccxt_source())
    assert len(binance.requests_to("klines")) == 1


@pytest.mark.parametrize("status", [400, 401, 403, 404, 451])
def test_a_refused_request_is_not_repeated(binance, ccxt_source, status):
    binance.faults = {"klines": repeat({"status": status})}
    with pytest.raises(SourceError, match=r"BTC: source ccxt binance BTC/USDT: refused: .*Check source\.market"):
        fetch(ccxt_source())
    assert len(binance.requests_to("klines")) == 1


def test_every_request_has_the_sources_timeout(binance, ccxt_source):
    fetch(ccxt_source(timeout=77))
    assert {request.timeout for request in binance.requests} == {77}


def test_a_connection_refused_ends_in_an_error(binance, ccxt_source):
    options = {
        "urls": {"api": {"public": "http://127.0.0.1:9/api/v3"}},
        "options": {"fetchMarkets": {"types": ["spot"]}},
    }
    with pytest.raises(SourceError, match=r"no answer: .*\(try 4 of 4\)"):
        fetch(ccxt_source(options=options))


def test_lone_empty_answers_lose_nothing(binance, ccxt_source, btc):
    binance.faults = {"klines": iter([lambda truth: [], None, lambda truth: [], None, lambda truth: []])}
    assert_same(fetch(ccxt_source(page_bars=300)), btc.loc[JUNE : JULY - HOUR])


def test_a_market_that_stays_empty_gives_no_rows_and_soon_ends(binance, ccxt_source):
    binance.faults = {"klines": repeat(lambda truth: [])}
    assert fetch(ccxt_source()).empty
    assert len(binance.requests_to("klines")) == 8


def test_rows_repeated_from_the_page_before_come_once(binance, ccxt_source, btc):
    answer = binance.answer

    def overlapping(path, query):
        if "startTime" in query:
            query = {**query, "startTime": str(int(query["startTime"]) - 2 * 3_600_000)}
        return answer(path, query)

    binance.answer = overlapping
    assert_same(fetch(ccxt_source(page_bars=100)), btc.loc[JUNE : JULY - HOUR])


def test_rows_repeated_within_a_page_are_left_to_the_quality_gate(binance, ccxt_source):
    binance.faults = {"klines": iter([lambda truth: [truth[1], *truth]])}
    assert fetch(ccxt_source()).index.duplicated().sum() == 1


def test_rows_out_of_order_are_put_in_order(binance, ccxt_source, btc):
    binance.faults = {"klines": repeat(lambda truth: truth[::-1])}
    assert_same(fetch(ccxt_source(page_bars=100)), btc.loc[JUNE : JULY - HOUR])


def test_a_page_of_older_rows_only_is_refused(binance, ccxt_source, btc):
    binance.faults = {"klines": iter([None, *([lambda truth: oldest] * 4)])}
    oldest = binance.answer("/api/v3/klines", {"symbol": "BTCUSDT", "interval": "1h", "limit": "100"})
    with pytest.raises(SourceError, match=r"it cannot be paged: .* gives a page of older ones"):
        fetch(ccxt_source(page_bars=100))
    assert len(binance.requests_to("klines")) == 3


def test_fewer_rows_than_requested_leave_no_hole(binance, ccxt_source, btc):
    binance.faults = {"klines": repeat(lambda truth: truth[:7])}
    end = utc("2023-06-05")
    assert_same(fetch(ccxt_source(), JUNE, end), btc.loc[JUNE : end - HOUR])


def test_an_exchange_that_gives_the_newest_rows_of_a_window_is_asked_for_shorter_pages(binance, ccxt_source, btc):
    binance.faults = {"klines": repeat(lambda truth: truth[-100:])}
    assert_same(fetch(ccxt_source()), btc.loc[JUNE : JULY - HOUR])
    assert len(binance.requests_to("klines")) == 1 + 8


@pytest.mark.parametrize("honours_limit", [True, False])
def test_an_exchange_that_gives_its_newest_only_names_the_oldest_of_them(binance, ccxt_source, btc, honours_limit):
    binance.bars = btc.loc[:NOW]
    answer = binance.answer

    def newest(path, query):
        count = int(query.get("limit", 0)) if honours_limit else 500
        start = binance.bars.index[-1] - (count - 1) * HOUR
        return answer(path, {**query, "startTime": start.value // 10**6, "endTime": 4e12, "limit": 1000})

    binance.answer = newest
    with pytest.raises(OutOfReachError, match=r"it gives no bars before 2023-1[12]-.* Set symbols.BTC.start to 2023-1"):
        fetch(ccxt_source())
    assert len(binance.requests_to("klines")) <= 9
    assert_same(fetch(ccxt_source(), start=utc("2023-12-15"), end=NOW), btc.loc["2023-12-15":"2023-12-31 23:00"])


def four_attempts_suffice(faults, answers):
    """Whether four attempts each are enough for this many true answers."""
    in_a_row = 0
    for fault in [*faults, *[None] * answers]:
        in_a_row = in_a_row + 1 if fault else 0
        answers -= fault is None
        if in_a_row == 4 or not answers:
            return not answers
    raise AssertionError


@pytest.mark.parametrize("seed", [0, 1, 2, 8, 10, 11])
def test_any_mixture_of_faults_gives_the_right_bars_or_an_error(binance, ccxt_source, btc, mixed_faults, seed):
    binance.faults = {"klines": iter(mixed_faults(seed)), "exchangeInfo": iter(mixed_faults(seed + 100))}
    source = ccxt_source(page_bars=100)
    if four_attempts_suffice(mixed_faults(seed + 100), 1) and four_attempts_suffice(mixed_faults(seed), 8):
        assert_same(fetch(source), btc.loc[JUNE : JULY - HOUR])
    else:
        with pytest.raises(SourceError, match=r"\(try 4 of 4"):
            fetch(source)
