"""The `yfinance` source: the real yfinance client against a loopback Yahoo with real candles, honest and lying."""

from __future__ import annotations

import time
from itertools import pairwise, repeat

import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError

from quantum_training.market.schema import COLUMNS, as_candles, candle_schema
from quantum_training.resources.sources import SourceError, source_from

pytestmark = pytest.mark.candles


def utc(text: str) -> pd.Timestamp:
    return pd.Timestamp(text, tz="UTC")


MAY, JUNE, NOW = utc("2020-05-01"), utc("2020-06-01"), utc("2021-01-01")


def source_of(**options):
    retries = {"attempts": 4, "first_wait": 0.01, "max_wait": 2}
    return source_from({"kind": "yfinance", "ticker": "AAPL", "timeout": 0.5, "retries": retries, **options})


def fetch(source, start=MAY, end=JUNE, now=NOW, timeframe="1d"):
    return source.fetch("APPLE", timeframe, start, end, now)


def charts(venue):
    return venue.asked("/v8/finance/chart")


def assert_same(bars, expected):
    pd.testing.assert_frame_equal(bars, expected, check_exact=True, check_freq=False)


@pytest.fixture
def raw(aapl):
    """The published candles as ours: split-adjusted only."""
    return as_candles(aapl.rename(columns=str.lower))


@pytest.fixture
def adjusted(aapl, raw):
    """All four prices times the published ratio."""
    out = raw.copy()
    for price in COLUMNS[:4]:
        out[price] *= (aapl["Adj Close"] / aapl["Close"]).to_numpy()
    return out


def month(frame):
    return frame.loc[MAY : JUNE - pd.Timedelta(1)]


def test_all_four_prices_are_adjusted(yahoo, adjusted, raw):
    bars = fetch(source_of())
    assert_same(bars, month(adjusted))
    assert len(bars) == 20
    assert not np.isclose(bars["open"], month(raw)["open"]).any()
    candle_schema().validate(bars)


def test_or_none_of_them_is(yahoo, raw):
    assert_same(fetch(source_of(adjust=False)), month(raw))


@pytest.mark.parametrize("adjust", [True, False])
def test_prices_agree_with_those_of_yfinances_own_history(yahoo, adjust):
    import yfinance

    start, end = utc("2020-01-01"), utc("2020-12-01")
    theirs = yfinance.Ticker("AAPL").history(start="2020-01-01", end="2020-12-01", auto_adjust=adjust)
    ours = fetch(source_of(adjust=adjust), start, end)
    assert [f"{day:%F}" for day in ours.index] == [f"{day:%F}" for day in theirs.index]
    np.testing.assert_allclose(ours, theirs[["Open", "High", "Low", "Close", "Volume"]], rtol=1e-12)


def test_a_daily_bar_opens_at_midnight_utc_of_its_session(yahoo):
    bars = fetch(source_of(), utc("2020-11-02"), utc("2020-11-07"))
    assert bars.index.tolist() == [utc(f"2020-11-0{day}") for day in range(2, 7)]


@pytest.mark.parametrize(
    ("zone", "hour"),
    [("Asia/Tokyo", 9), ("Australia/Sydney", 10), ("Pacific/Auckland", 10), ("America/Sao_Paulo", -1)],
)
def test_the_session_is_that_of_the_exchanges_place(yahoo, aapl, raw, zone, hour):
    aapl = aapl.loc["2020-04":"2020-07"]
    stamps = (aapl.index + pd.Timedelta(hours=hour)).tz_localize(zone).tz_convert("UTC")
    yahoo.charts["AAPL"] = (zone, aapl.set_axis(stamps))
    assert_same(fetch(source_of(adjust=False)), month(raw))


def test_resuming_asks_for_the_later_days_only(yahoo, adjusted):
    start = utc("2020-05-20")
    assert_same(fetch(source_of(), start), month(adjusted).loc[start:])
    (request,) = charts(yahoo)
    assert int(request.query["period1"]) == (start - pd.Timedelta(days=1)).timestamp()
    assert int(request.query["period2"]) == (JUNE + pd.Timedelta(days=1)).timestamp()


def test_the_running_session_is_left_out(yahoo):
    bars = fetch(source_of(), now=utc("2020-05-20 23:59"))
    assert bars.index[-1] == utc("2020-05-19")
    assert fetch(source_of(), now=utc("2020-05-21")).index[-1] == utc("2020-05-20")


def test_a_range_without_a_closed_bar_asks_nobody(yahoo):
    assert fetch(source_of(), now=MAY).empty
    assert yahoo.requests == []


def chart_of(truth):
    return truth["chart"]["result"][0]


def test_the_newest_session_given_twice_counts_once_with_its_last_state(yahoo, raw):
    def live(truth):
        chart = chart_of(truth)
        chart["timestamp"].append(chart["timestamp"][-1] + 3600)
        for name, values in chart["indicators"]["quote"][0].items():
            values.append(values[-1] + (name == "volume"))
        return truth

    end = utc("2020-05-30")
    yahoo.charts["AAPL"] = ("America/New_York", yahoo.charts["AAPL"][1].loc[:end])
    yahoo.lies = {"chart": iter([live])}
    bars = fetch(source_of(adjust=False), end=end)
    assert len(bars) == 20
    assert bars["volume"].iloc[-1] == month(raw)["volume"].iloc[-1] + 1
    assert_same(bars.iloc[:-1], month(raw).iloc[:-1])


def test_a_row_without_a_number_is_no_bar_and_an_absent_volume_is_not_zero(yahoo):
    bars = fetch(source_of(), utc("1981-08-01"), utc("1981-09-01"))
    assert utc("1981-08-10") not in bars.index
    assert len(bars) == 20

    def no_volume(truth):
        chart_of(truth)["indicators"]["quote"][0]["volume"][3] = None
        return truth

    yahoo.lies = {"chart": iter([no_volume])}
    assert fetch(source_of())["volume"].isna().sum() == 1


def test_rows_out_of_order_are_put_in_order(yahoo, raw):
    def backwards(truth):
        chart = chart_of(truth)
        chart["timestamp"].reverse()
        for values in chart["indicators"]["quote"][0].values():
            values.reverse()
        return truth

    yahoo.lies = {"chart": iter([backwards])}
    assert_same(fetch(source_of(adjust=False)), month(raw))


def test_no_bars_in_the_range_are_no_error(yahoo):
    assert fetch(source_of(), utc("1979-01-01"), utc("1979-02-01")).empty
    assert len(charts(yahoo)) == 1


def broken(truth):
    del chart_of(truth)["indicators"]["quote"][0]["high"]
    return truth


def uneven(truth):
    chart_of(truth)["indicators"]["quote"][0]["high"].pop()
    return truth


PASSING = {
    "too many requests": {"status": 429, "body": {"finance": {"error": "Too Many Requests"}}},
    "internal error": {"status": 500},
    "unavailable": {"status": 503},
    "time-out": "hang",
    "cut short": "cut",
    "half of the JSON": "half",
    "a web page": "html",
    "nothing": lambda truth: None,
    "no chart": lambda truth: {"chart": {"result": None, "error": None}},
    "no results": lambda truth: {"chart": {"result": [], "error": None}},
    "an error with success": lambda truth: {"finance": {"result": None, "error": {"code": "Unauthorized"}}},
    "a list": lambda truth: [],
    "a column gone": broken,
    "columns of different lengths": uneven,
}


@pytest.mark.parametrize("lie", PASSING.values(), ids=PASSING.keys())
def test_what_passes_is_outlasted(yahoo, adjusted, lie):
    yahoo.lies = {"chart": iter([lie, lie, lie])}
    assert_same(fetch(source_of()), month(adjusted))
    assert len(charts(yahoo)) == 4


@pytest.mark.parametrize("lie", PASSING.values(), ids=PASSING.keys())
def test_what_does_not_pass_ends_in_an_error_that_helps(yahoo, lie):
    yahoo.lies = {"chart": repeat(lie)}
    began = time.monotonic()
    with pytest.raises(SourceError) as error:
        fetch(source_of())
    text = str(error.value)
    assert text.startswith("APPLE: source yfinance AAPL: no answer: ")
    assert "(try 4 of 4)" in text
    assert "Run the partition again later" in text
    assert len(text) < 700
    assert len(charts(yahoo)) == 4
    assert time.monotonic() - began < 4


def test_retry_after_is_honoured(yahoo, adjusted):
    yahoo.lies = {"chart": iter([{"status": 429, "headers": {"Retry-After": "1"}}])}
    assert_same(fetch(source_of()), month(adjusted))
    first, second = charts(yahoo)
    assert second.at - first.at >= 1


def test_a_long_ban_is_not_waited_for(yahoo):
    yahoo.lies = {"chart": repeat({"status": 429, "headers": {"Retry-After": "7200"}})}
    with pytest.raises(SourceError, match="the server asks to wait 7200 s"):
        fetch(source_of())
    assert len(charts(yahoo)) == 1


NOT_FOUND = {"chart": {"result": None, "error": {"code": "Not Found", "description": "No data found, delisted"}}}
TOO_OLD = {"chart": {"result": None, "error": {"description": "must be within the last 730 days"}}}


@pytest.mark.parametrize(
    ("status", "body", "said"),
    [
        (404, NOT_FOUND, "refused: No data found, delisted. Check source.ticker"),
        (422, TOO_OLD, "refused: must be within the last 730 days."),
        (403, {}, "refused: HTTPError: HTTP Error 403"),
    ],
)
def test_what_yahoo_refuses_is_said_in_its_words_and_not_asked_again(yahoo, status, body, said):
    yahoo.lies = {"chart": repeat({"status": status, "body": body})}
    with pytest.raises(SourceError) as error:
        fetch(source_of())
    assert said in str(error.value)
    # yfinance itself tries a second time with another kind of cookie.
    assert len(charts(yahoo)) <= 2


def test_a_crumb_that_is_refused_once_is_renewed(yahoo, adjusted):
    yahoo.lies = {"chart": iter([{"status": 401, "body": {"finance": {"error": {"description": "Invalid Crumb"}}}}])}
    assert_same(fetch(source_of()), month(adjusted))
    assert charts(yahoo)[0].query["crumb"] == '"crumb"'


@pytest.mark.parametrize("lie", [{"status": 429}, {"status": 500}, "hang", "cut"], ids=str)
def test_without_a_crumb_the_chart_is_still_asked_for(yahoo, adjusted, lie):
    yahoo.lies = {"getcrumb": repeat(lie)}
    assert_same(fetch(source_of()), month(adjusted))


def test_hourly_bars_are_cut_at_the_range_and_at_now(yahoo, btc):
    source, now = source_of(ticker="BTC-USD", adjust=False), utc("2023-06-20 10:30")
    bars = fetch(source, utc("2023-06-01"), utc("2023-07-01"), now, "1h")
    assert_same(bars, btc.loc[utc("2023-06-01") : utc("2023-06-20 09:00")])


def test_a_closing_price_after_the_session_is_no_bar(yahoo, btc):
    end = utc("2023-06-01 20:00")
    period = {"start": int(utc("2023-06-01 13:30").timestamp()), "end": int(end.timestamp())}

    def with_close(truth):
        chart_of(truth)["meta"]["tradingPeriods"] = [[period]]
        return truth

    yahoo.lies = {"chart": iter([with_close])}
    start, later = utc("2023-06-01 14:00"), utc("2023-06-02")
    bars = fetch(source_of(ticker="BTC-USD", adjust=False), start, utc("2023-06-01 21:00"), later, "1h")
    assert bars.index[-1] == utc("2023-06-01 19:00")


def test_minute_bars_are_asked_for_by_the_week(yahoo):
    yahoo.charts["AAPL"] = ("America/New_York", yahoo.charts["AAPL"][1].iloc[:0].drop(columns="Adj Close"))
    assert fetch(source_of(adjust=False), utc("2020-12-01"), utc("2020-12-20"), NOW, "1m").empty
    spans = [(int(r.query["period1"]), int(r.query["period2"])) for r in charts(yahoo)]
    assert len(spans) == 3
    assert all(end - start <= 7 * 86400 for start, end in spans)
    assert (spans[0][0], spans[-1][1]) == (utc("2020-12-01").timestamp(), utc("2020-12-20").timestamp())
    assert all(before[1] == after[0] for before, after in pairwise(spans))


def test_bars_of_another_length_than_asked_for_are_refused(yahoo):
    def monthly(truth):
        chart_of(truth)["meta"]["dataGranularity"] = "1mo"
        return truth

    yahoo.lies = {"chart": repeat(monthly)}
    with pytest.raises(SourceError, match="asked for 1d bars Yahoo gives 1mo ones"):
        fetch(source_of())
    assert len(charts(yahoo)) == 1


def test_adjusted_hourly_bars_are_refused_as_there_are_none(yahoo):
    with pytest.raises(SourceError, match=r"no 1h prices adjusted for dividends\. Set source\.adjust: false"):
        fetch(source_of(ticker="BTC-USD"), utc("2020-10-01"), utc("2020-10-02"), timeframe="1h")


def test_a_timeframe_that_yahoo_has_not_is_refused(yahoo):
    with pytest.raises(SourceError, match=r"Yahoo has no 4h bars\. Set timeframe to one of 1m, 2m"):
        fetch(source_of(), timeframe="4h")
    assert yahoo.requests == []


@pytest.mark.parametrize("seed", [0, 1, 2, 8, 10, 11])
def test_any_mixture_of_lies_gives_the_right_bars_or_an_error(yahoo, adjusted, mixed_lies, seed):
    lies = mixed_lies(seed)
    yahoo.lies = {"chart": iter(lies), "getcrumb": iter(mixed_lies(seed + 100))}
    if None in lies[:4]:
        assert_same(fetch(source_of()), month(adjusted))
    else:
        with pytest.raises(SourceError, match=r"\(try 4 of 4\)"):
            fetch(source_of())


@pytest.mark.parametrize("options", [{"ticker": ""}, {"ticker": "A/B"}, {"adjust": "some"}, {"period": "max"}])
def test_wrong_options_are_refused_at_load(options):
    with pytest.raises(ValidationError):
        source_of(**options)


def test_history_is_said_to_be_revised_by_splits_and_dividends():
    assert source_of().revises_history
    assert source_of(adjust=False).revises_history
    assert source_of().available_until("APPLE", "1d", NOW) == NOW
