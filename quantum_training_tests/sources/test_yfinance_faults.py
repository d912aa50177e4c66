"""The `yfinance` source: the real yfinance client against a loopback Yahoo that fails and gives wrong answers."""

from __future__ import annotations

from itertools import repeat

import pandas as pd
import pytest

from quantum_training.sources import SourceError

pytestmark = pytest.mark.candles


def utc(text: str) -> pd.Timestamp:
    return pd.Timestamp(text, tz="UTC")


MAY, JUNE, NOW = utc("2020-05-01"), utc("2020-06-01"), utc("2021-01-01")


def fetch(source, start=MAY, end=JUNE, now=NOW, timeframe="1d"):
    return source.fetch("APPLE", timeframe, start, end, now)


def charts(venue):
    return venue.requests_to("/v8/finance/chart")


def assert_same(bars, expected):
    pd.testing.assert_frame_equal(bars, expected, check_exact=True, check_freq=False)


def month(frame):
    return frame.loc[MAY : JUNE - pd.Timedelta(1)]


def chart_of(truth):
    return truth["chart"]["result"][0]


def broken(truth):
    del chart_of(truth)["indicators"]["quote"][0]["high"]
    return truth


def uneven(truth):
    chart_of(truth)["indicators"]["quote"][0]["high"].pop()
    return truth


TRANSIENT = {
    "too many requests": {"status": 429, "body": {"finance": {"error": "Too Many Requests"}}},
    "internal error": {"status": 500},
    "unavailable": {"status": 503},
    "time-out": "hang",
    "cut short": "cut",
    "half of the JSON": "half",
    "a web page": "html",
    "nothing": lambda truth: None,
    "no text at all": {"status": 200, "text": ""},
    "no chart": lambda truth: {"chart": {"result": None, "error": None}},
    "no results": lambda truth: {"chart": {"result": [], "error": None}},
    "an error with success": lambda truth: {"finance": {"result": None, "error": {"code": "Unauthorized"}}},
    "a list": lambda truth: [],
    "a column gone": broken,
    "columns of different lengths": uneven,
}


@pytest.mark.parametrize("fault", TRANSIENT.values(), ids=TRANSIENT.keys())
def test_a_transient_fault_is_retried(yahoo, yahoo_source, adjusted, fault):
    yahoo.faults = {"chart": iter([fault, fault, fault])}
    assert_same(fetch(yahoo_source()), month(adjusted))
    assert len(charts(yahoo)) == 4


def no_bars(truth):
    nothing = {"quote": [{}], "adjclose": [{}]}
    chart = {**chart_of(truth), "indicators": nothing}
    del chart["timestamp"]
    return {"chart": {"result": [chart], "error": None}}


def test_false_empty_charts_lose_nothing_and_true_ones_end(yahoo, yahoo_source, adjusted):
    yahoo.faults = {"chart": iter([no_bars] * 3)}
    assert_same(fetch(yahoo_source()), month(adjusted))
    yahoo.faults = {"chart": repeat(no_bars)}
    assert fetch(yahoo_source()).empty
    assert len(charts(yahoo)) == 4 + 4


@pytest.mark.parametrize("fault", TRANSIENT.values(), ids=TRANSIENT.keys())
def test_a_lasting_fault_ends_in_an_error_that_helps(yahoo, yahoo_source, fault):
    yahoo.faults = {"chart": repeat(fault)}
    with pytest.raises(SourceError) as error:
        fetch(yahoo_source())
    text = str(error.value)
    assert text.startswith("APPLE: source yfinance AAPL: no answer: ")
    assert "(try 4 of 4)" in text
    assert "Run the partition again later" in text
    assert len(text) < 700
    assert len(charts(yahoo)) == 4


def test_every_request_has_the_sources_timeout(yahoo, yahoo_source):
    fetch(yahoo_source(timeout=77))
    assert {request.timeout for request in yahoo.requests} == {77}


def test_retry_after_is_honoured(yahoo, yahoo_source, adjusted):
    yahoo.faults = {"chart": iter([{"status": 429, "headers": {"Retry-After": "1"}}])}
    assert_same(fetch(yahoo_source()), month(adjusted))
    first, second = charts(yahoo)
    assert second.at - first.at >= 1


def test_a_long_ban_is_not_waited_for(yahoo, yahoo_source):
    yahoo.faults = {"chart": repeat({"status": 429, "headers": {"Retry-After": "7200"}})}
    with pytest.raises(SourceError, match="the server asks to wait 7200 s"):
        fetch(yahoo_source())
    assert len(charts(yahoo)) == 1


NOT_FOUND = {"chart": {"result": None, "error": {"code": "Not Found", "description": "No data found, delisted"}}}
UNFIT = {"chart": {"result": None, "error": {"description": "Invalid input"}}}


@pytest.mark.parametrize(
    ("status", "body", "message"),
    [
        (404, NOT_FOUND, "refused: No data found, delisted. Check source.ticker"),
        (422, UNFIT, "refused: Invalid input."),
        (403, {}, "refused: HTTPError: HTTP Error 403"),
    ],
)
def test_a_refusal_is_reported_in_yahoos_words_and_not_repeated(yahoo, yahoo_source, status, body, message):
    yahoo.faults = {"chart": repeat({"status": status, "body": body})}
    with pytest.raises(SourceError) as error:
        fetch(yahoo_source())
    assert message in str(error.value)
    # yfinance itself tries a second time with another kind of cookie.
    assert len(charts(yahoo)) <= 2


def test_a_range_before_the_first_bar_of_a_ticker_is_empty(yahoo, yahoo_source):
    error = {"code": "Bad Request", "description": "Data doesn't exist for startDate = 1, endDate = 2"}
    yahoo.faults = {"chart": repeat({"status": 400, "body": {"chart": {"result": None, "error": error}}})}
    assert fetch(yahoo_source()).empty


def test_a_crumb_that_is_refused_once_is_renewed(yahoo, yahoo_source, adjusted):
    yahoo.faults = {"chart": iter([{"status": 401, "body": {"finance": {"error": {"description": "Invalid Crumb"}}}}])}
    assert_same(fetch(yahoo_source()), month(adjusted))
    assert charts(yahoo)[0].query["crumb"] == '"crumb"'


@pytest.mark.parametrize("fault", [{"status": 429}, {"status": 500}, "hang", "cut"], ids=str)
def test_without_a_crumb_the_chart_is_still_requested(yahoo, yahoo_source, adjusted, fault):
    yahoo.faults = {"getcrumb": repeat(fault)}
    assert_same(fetch(yahoo_source()), month(adjusted))


@pytest.mark.parametrize("seed", [0, 1, 2, 8, 10, 11])
def test_any_mixture_of_faults_gives_the_right_bars_or_an_error(yahoo, yahoo_source, adjusted, mixed_faults, seed):
    faults = mixed_faults(seed)
    yahoo.faults = {"chart": iter(faults), "getcrumb": iter(mixed_faults(seed + 100))}
    if None in faults[:4]:
        assert_same(fetch(yahoo_source()), month(adjusted))
    else:
        with pytest.raises(SourceError, match=r"\(try 4 of 4\)"):
            fetch(yahoo_source())
