"""The `ccxt` source for bars of three days and of a week: the real client against servers with such bars."""

from __future__ import annotations

from functools import cache

import pandas as pd
import pytest

from quantum_training.market.timeframe import floor, to_timedelta
from quantum_training.settings.schema import Symbol
from quantum_training.sources import OutOfReachError, SourceError
from quantum_training_tests.support.crypto_venues import random_bars

NOW = pd.Timestamp("2026-11-17 10:20", tz="UTC")
START = pd.Timestamp("2019-01-01", tz="UTC")
MARKETS_WITH_WEEKS = (
    ("binance", "1w"),
    ("binance", "3d"),
    ("binance", "3d from 1970-01-02"),
    ("bitfinex", "1w"),
    ("bitfinex", "1w from Thursday"),
    ("bitget", "1w"),
    ("bybit", "1w"),
    ("cryptocom", "1w from Thursday"),
    ("gate", "1w"),
    ("htx", "1w from Sunday 16:00"),
    ("hyperliquid", "1w from Thursday"),
    ("hyperliquid", "3d"),
    ("kraken", "1w from Thursday"),
    ("kucoin", "1w from Thursday"),
    ("mexc", "1w"),
    ("okx", "1w"),
    ("upbit", "1w"),
)


@cache
def history(timeframe, first="2010-01-01"):
    """Bars of a seeded walk, all different; the newest is not closed."""
    opens = pd.date_range(
        floor(pd.Timestamp(first, tz="UTC"), timeframe), floor(NOW, timeframe), freq=to_timedelta(timeframe)
    )
    return random_bars(opens, 0.03)


def assert_same(bars, expected):
    pd.testing.assert_frame_equal(bars, expected, check_exact=False, rtol=1e-12, check_freq=False)


def closed(bars, timeframe, start, end):
    return bars[(bars.index >= start) & (bars.index < end) & (bars.index + to_timedelta(timeframe) <= NOW)]


@pytest.mark.parametrize(("name", "timeframe"), MARKETS_WITH_WEEKS)
def test_eight_years_are_equal_to_the_truth_in_every_bar(exchange, name, timeframe):
    bars = history(timeframe)
    _, source = exchange(name, bars, timeframe, NOW)
    assert_same(source.fetch("BTC", timeframe, START, NOW, NOW), closed(bars, timeframe, START, NOW))


@pytest.mark.parametrize(("name", "timeframe"), MARKETS_WITH_WEEKS)
def test_months_one_by_one_are_equal_to_the_truth_in_every_bar(exchange, name, timeframe):
    bars = history(timeframe)
    _, source = exchange(name, bars, timeframe, NOW)
    for month in pd.date_range("2025-08-01", "2026-11-01", freq="MS", tz="UTC"):
        end = month + pd.DateOffset(months=1)
        assert_same(source.fetch("BTC", timeframe, month, end, NOW), closed(bars, timeframe, month, end))


@pytest.mark.parametrize(("name", "timeframe"), MARKETS_WITH_WEEKS)
def test_an_unclosed_bar_is_left_out_until_it_is_closed(exchange, name, timeframe):
    bars = history(timeframe)
    newest, step = bars.index[-1], to_timedelta(timeframe)
    _, source = exchange(name, bars, timeframe, NOW)
    assert source.fetch("BTC", timeframe, newest - step, NOW, newest + step - pd.Timedelta("1s")).index.max() < newest
    assert source.fetch("BTC", timeframe, newest - step, NOW, newest + step).index.max() == newest


def test_what_an_exchange_no_longer_keeps_is_counted_in_its_own_weeks(exchange):
    bars = history("1w from Thursday")
    _, source = exchange("kraken", bars, "1w from Thursday", NOW)
    with pytest.raises(OutOfReachError) as error:
        source.fetch("BTC", "1w from Thursday", *pd.DatetimeIndex(["2012-01-01", "2012-02-01"], tz="UTC"), NOW)
    assert error.value.oldest == bars.index[-720]
    assert error.value.oldest.day_name() == "Thursday"


def test_the_weeks_of_bitstamp_in_ccxt_are_refused_as_they_have_three_days(exchange):
    bars = history("3d")
    _, source = exchange("bitstamp", bars, "3d", NOW)
    for start, end in (("2026-10-01", "2026-11-01"), ("2026-11-01", "2026-12-01")):
        with pytest.raises(SourceError, match="bitstamp BTC/USD: asked for 1w candles it gives bars that are 3 days"):
            source.fetch("BTC", "1w", pd.Timestamp(start, tz="UTC"), pd.Timestamp(end, tz="UTC"), NOW)


@pytest.mark.parametrize("name", ["coinbase", "deribit", "gemini"])
def test_an_exchange_without_weeks_is_answered_with_the_timeframes_that_it_has(exchange, name):
    _, source = exchange(name, history("1w"), "1w", NOW)
    with pytest.raises(SourceError, match=r"it has no 1w candles\. Set timeframe to one that it has: 1m, "):
        source.fetch("BTC", "1w", START, NOW, NOW)


@pytest.mark.parametrize(
    ("exchange_id", "written", "timeframe"),
    [
        ("binance", "1w", "1w"),
        ("kraken", "1w", "1w from Thursday"),
        ("kucoin", "1w", "1w from Thursday"),
        ("kraken", "1w from Monday", "1w"),
        ("htx", "1w from Sunday 16:00", "1w from Sunday 16:00"),
        ("kraken", "1d", "1d"),
        ("binance", "3d", "3d"),
        ("binance", "3d from 2026-11-04", "3d from 1970-01-02"),
    ],
)
def test_weeks_begin_on_the_day_of_the_exchange_if_it_is_known_and_not_named(exchange_id, written, timeframe):
    source = {"kind": "ccxt", "exchange": exchange_id, "market": "BTC/USD"}
    market = Symbol.model_validate({"source": source, "timeframe": written, "recipes": ["none"]})
    assert market.timeframe == market.identity["timeframe"] == timeframe
