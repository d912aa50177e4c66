"""The `yfinance` source: the real yfinance client against a loopback Yahoo that is honest."""

from __future__ import annotations

from itertools import pairwise, repeat

import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError

from quantum_training.market.schema import candle_schema
from quantum_training.sources import OutOfReachError, SourceError, source_from

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


def test_all_four_prices_are_adjusted(yahoo, yahoo_source, adjusted, raw):
    bars = fetch(yahoo_source())
    assert_same(bars, month(adjusted))
    assert len(bars) == 20
    assert not np.isclose(bars["open"], month(raw)["open"]).any()
    candle_schema().validate(bars)


def test_without_adjustment_prices_are_adjusted_for_splits_only(yahoo, yahoo_source, raw):
    assert_same(fetch(yahoo_source(adjust=False)), month(raw))


@pytest.mark.parametrize("adjust", [True, False])
def test_prices_agree_with_those_of_yfinances_own_history(yahoo, yahoo_source, adjust):
    import yfinance

    start, end = utc("2020-01-01"), utc("2020-12-01")
    theirs = yfinance.Ticker("AAPL").history(start="2020-01-01", end="2020-12-01", auto_adjust=adjust)
    ours = fetch(yahoo_source(adjust=adjust), start, end)
    assert [f"{day:%F}" for day in ours.index] == [f"{day:%F}" for day in theirs.index]
    np.testing.assert_allclose(ours, theirs[["Open", "High", "Low", "Close", "Volume"]], rtol=1e-12)


def test_a_daily_bar_opens_at_midnight_utc_of_its_session(yahoo, yahoo_source):
    bars = fetch(yahoo_source(), utc("2020-11-02"), utc("2020-11-07"))
    assert bars.index.tolist() == [utc(f"2020-11-0{day}") for day in range(2, 7)]


@pytest.mark.parametrize(
    ("zone", "hour"),
    [("Asia/Tokyo", 9), ("Australia/Sydney", 10), ("Pacific/Auckland", 10), ("America/Sao_Paulo", -1)],
)
def test_the_session_is_that_of_the_exchanges_place(yahoo, yahoo_source, aapl, raw, zone, hour):
    aapl = aapl.loc["2020-04":"2020-07"]
    stamps = (aapl.index + pd.Timedelta(hours=hour)).tz_localize(zone).tz_convert("UTC")
    yahoo.charts["AAPL"] = (zone, aapl.set_axis(stamps))
    assert_same(fetch(yahoo_source(adjust=False)), month(raw))


def test_resuming_requests_the_later_days_only(yahoo, yahoo_source, adjusted):
    start = utc("2020-05-20")
    assert_same(fetch(yahoo_source(), start), month(adjusted).loc[start:])
    (request,) = charts(yahoo)
    assert int(request.query["period1"]) == (start - pd.Timedelta(days=1)).timestamp()
    assert int(request.query["period2"]) == (JUNE + pd.Timedelta(days=1)).timestamp()


def test_the_running_session_is_left_out(yahoo, yahoo_source):
    bars = fetch(yahoo_source(), now=utc("2020-05-20 23:59"))
    assert bars.index[-1] == utc("2020-05-19")
    assert fetch(yahoo_source(), now=utc("2020-05-21")).index[-1] == utc("2020-05-20")


def test_a_range_without_a_closed_bar_sends_no_request(yahoo, yahoo_source):
    assert fetch(yahoo_source(), now=MAY).empty
    assert yahoo.requests == []


def chart_of(truth):
    return truth["chart"]["result"][0]


def test_a_newest_session_that_comes_twice_counts_once_with_its_last_state(yahoo, yahoo_source, raw):
    def live(truth):
        chart = chart_of(truth)
        chart["timestamp"].append(chart["timestamp"][-1] + 3600)
        for name, values in chart["indicators"]["quote"][0].items():
            values.append(values[-1] + (name == "volume"))
        return truth

    end = utc("2020-05-30")
    yahoo.charts["AAPL"] = ("America/New_York", yahoo.charts["AAPL"][1].loc[:end])
    yahoo.faults = {"chart": iter([live])}
    bars = fetch(yahoo_source(adjust=False), end=end)
    assert len(bars) == 20
    assert bars["volume"].iloc[-1] == month(raw)["volume"].iloc[-1] + 1
    assert_same(bars.iloc[:-1], month(raw).iloc[:-1])


def test_a_row_without_a_number_is_no_bar_and_an_absent_volume_is_not_zero(yahoo, yahoo_source):
    bars = fetch(yahoo_source(), utc("1981-08-01"), utc("1981-09-01"))
    assert utc("1981-08-10") not in bars.index
    assert len(bars) == 20

    def no_volume(truth):
        chart_of(truth)["indicators"]["quote"][0]["volume"][3] = None
        return truth

    yahoo.faults = {"chart": iter([no_volume])}
    assert fetch(yahoo_source())["volume"].isna().sum() == 1


def test_rows_out_of_order_are_put_in_order(yahoo, yahoo_source, raw):
    def backwards(truth):
        chart = chart_of(truth)
        chart["timestamp"].reverse()
        for values in chart["indicators"]["quote"][0].values():
            values.reverse()
        return truth

    yahoo.faults = {"chart": iter([backwards])}
    assert_same(fetch(yahoo_source(adjust=False)), month(raw))


def test_no_bars_in_the_range_are_no_error(yahoo, yahoo_source):
    assert fetch(yahoo_source(), utc("1979-01-01"), utc("1979-02-01")).empty
    assert len(charts(yahoo)) == 4


def test_hourly_bars_are_cut_at_the_range_and_at_now(yahoo, yahoo_source, btc):
    source, now = yahoo_source(ticker="BTC-USD", adjust=False), utc("2023-06-20 10:30")
    bars = fetch(source, utc("2023-06-01"), utc("2023-07-01"), now, "1h")
    assert_same(bars, btc.loc[utc("2023-06-01") : utc("2023-06-20 09:00")])


def test_four_hourly_bars_are_asked_for_as_such(yahoo, yahoo_source, btc):
    rules = {"open": "first", "high": "max", "low": "min", "close": "last", "volume": "sum"}
    bars = btc.loc[utc("2023-06-01") : utc("2023-06-30 23:00")].resample("4h").agg(rules)
    yahoo.charts["BTC-USD"] = ("UTC", bars.rename(columns=str.capitalize))
    source = yahoo_source(ticker="BTC-USD", adjust=False)
    assert_same(fetch(source, utc("2023-06-01"), utc("2023-07-01"), utc("2024-01-01"), "4h"), bars)
    assert {request.query["interval"] for request in charts(yahoo)} == {"4h"}


@pytest.mark.parametrize("ticker", ["M&M.NS", "M&MFIN.NS", "^GSPC", "EURUSD=X", "0700.HK", "BRK-B"])
def test_tickers_reach_yahoo_as_they_are_written(yahoo, yahoo_source, adjusted, ticker):
    yahoo.charts[ticker] = yahoo.charts.pop("AAPL")
    assert_same(fetch(yahoo_source(ticker=ticker)), month(adjusted))


def test_hourly_bars_before_those_that_yahoo_keeps_are_out_of_reach_and_the_others_are_given(yahoo, yahoo_source, btc):
    now = utc("2023-06-20 10:30")
    yahoo.oldest = (now - pd.Timedelta(days=730), 730)
    source = yahoo_source(ticker="BTC-USD", adjust=False)
    with pytest.raises(OutOfReachError) as error:
        fetch(source, utc("2021-05-01"), utc("2021-06-01"), now, "1h")
    assert error.value.oldest == utc("2021-06-21")
    assert "no bars before 2021-06-21 00:00 UTC. Set symbols.APPLE.start to 2021-06-21" in str(error.value)
    bars = fetch(source, utc("2021-06-01"), utc("2021-07-01"), now, "1h")
    assert_same(bars, btc.loc[utc("2021-06-21") : utc("2021-06-30 23:00")])


def test_a_clock_of_yahoo_that_is_ahead_gives_an_error_and_no_endless_loop(yahoo, yahoo_source):
    now = utc("2023-06-20 10:30")
    yahoo.oldest = (now - pd.Timedelta(days=700), 730)
    with pytest.raises(OutOfReachError):
        fetch(yahoo_source(ticker="BTC-USD", adjust=False), utc("2021-06-01"), utc("2021-07-01"), now, "1h")
    assert len(charts(yahoo)) <= 4


def test_a_closing_price_after_the_session_is_no_bar(yahoo, yahoo_source, btc):
    end = utc("2023-06-01 20:00")
    period = {"start": int(utc("2023-06-01 13:30").timestamp()), "end": int(end.timestamp())}

    def with_close(truth):
        chart_of(truth)["meta"]["tradingPeriods"] = [[period]]
        return truth

    yahoo.faults = {"chart": iter([with_close])}
    start, later = utc("2023-06-01 14:00"), utc("2023-06-02")
    bars = fetch(yahoo_source(ticker="BTC-USD", adjust=False), start, utc("2023-06-01 21:00"), later, "1h")
    assert bars.index[-1] == utc("2023-06-01 19:00")


def test_minute_bars_are_requested_by_the_week(yahoo, yahoo_source):
    yahoo.charts["AAPL"] = ("America/New_York", yahoo.charts["AAPL"][1].iloc[:0].drop(columns="Adj Close"))
    assert fetch(yahoo_source(adjust=False), utc("2020-12-01"), utc("2020-12-20"), NOW, "1m").empty
    spans = [*dict.fromkeys((int(r.query["period1"]), int(r.query["period2"])) for r in charts(yahoo))]
    assert len(spans) == 3
    assert all(end - start <= 7 * 86400 for start, end in spans)
    assert (spans[0][0], spans[-1][1]) == (utc("2020-12-01").timestamp(), utc("2020-12-20").timestamp())
    assert all(before[1] == after[0] for before, after in pairwise(spans))


def test_bars_of_another_length_than_requested_are_refused(yahoo, yahoo_source):
    def monthly(truth):
        chart_of(truth)["meta"]["dataGranularity"] = "1mo"
        return truth

    yahoo.faults = {"chart": repeat(monthly)}
    with pytest.raises(SourceError, match="asked for 1d bars Yahoo gives 1mo ones"):
        fetch(yahoo_source())
    assert len(charts(yahoo)) == 1


def test_adjusted_hourly_bars_are_refused_as_there_are_none(yahoo, yahoo_source):
    with pytest.raises(SourceError, match=r"no 1h prices adjusted for dividends\. Set source\.adjust: false"):
        fetch(yahoo_source(ticker="BTC-USD"), utc("2020-10-01"), utc("2020-10-02"), timeframe="1h")


def test_a_timeframe_that_yahoo_has_not_is_refused(yahoo, yahoo_source):
    with pytest.raises(SourceError, match=r"Yahoo has no 6h bars\. Set timeframe to one of 1m, 2m"):
        fetch(yahoo_source(), timeframe="6h")
    assert yahoo.requests == []


@pytest.mark.parametrize("options", [{"ticker": ""}, {"ticker": "A/B"}, {"adjust": "some"}, {"period": "max"}])
def test_wrong_options_are_refused_at_load(options):
    with pytest.raises(ValidationError):
        source_from({"kind": "yfinance", "ticker": "AAPL", **options})


def test_splits_and_dividends_revise_history(yahoo_source):
    assert yahoo_source().revises_history
    assert yahoo_source(adjust=False).revises_history
    assert yahoo_source().available_until("APPLE", "1d", NOW) == NOW
