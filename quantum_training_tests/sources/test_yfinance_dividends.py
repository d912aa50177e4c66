"""Daily ticks of a dividend payer at Yahoo: the real yfinance client against a loopback Yahoo that rescales
all earlier prices at each dividend."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import yaml

from quantum_training.lifecycle.ingestion import compute_month_features, ingest_month
from quantum_training.lifecycle.market_history import MarketHistory
from quantum_training.lifecycle.restatement import RESTATEMENTS, is_interrupted
from quantum_training.market.periods import Key
from quantum_training.resources.store.store import Store, StoreError
from quantum_training.settings import load_settings

pytestmark = pytest.mark.candles

FIRST, LAST = pd.Timestamp("2020-02-01", tz="UTC"), pd.Timestamp("2020-12-11 02:00", tz="UTC")
PRICES = ["open", "high", "low", "close"]


@pytest.fixture
def market(yahoo, aapl, small, tmp_path, monkeypatch):
    """AAPL as Yahoo had it at any time of 2020; `tick` is the daily job of market data, `restated` its warnings."""
    zone, chart = yahoo.charts["AAPL"]
    source = {"kind": "yfinance", "ticker": "AAPL", "timeout": 60}
    small["symbols"] = {"AAA": {**small["symbols"]["AAA"], "source": source, "timeframe": "1d", "calendar": "XNYS"}}
    (tmp_path / "settings.yaml").write_text(yaml.safe_dump(small))
    monkeypatch.setenv("QUANTUM_TRAINING_CONFIG", str(tmp_path / "settings.yaml"))
    settings, store = load_settings(), Store(root=str(tmp_path / "store"))

    def show(day):
        """What Yahoo gives on a day: prices before each later dividend do not know of it yet."""
        known = chart[chart.index < day].copy()
        known["Adj Close"] *= float(known["Close"].iloc[-1] / known["Adj Close"].iloc[-1])
        yahoo.charts["AAPL"] = (zone, known)

    def ingest(month, day, refetch=False):
        return ingest_month(store, settings, Key("AAA", month), day, refetch)

    def tick(day):
        show(day)
        newest = (day - pd.Timedelta(days=1)).normalize().replace(day=1)
        return [
            ingest(month, day) for month in sorted({(day - pd.Timedelta(days=7)).normalize().replace(day=1), newest})
        ]

    def start(until):
        show(until)
        for month in pd.date_range(FIRST, until, freq="MS"):
            ingest(month, until)

    return SimpleNamespace(
        store=store, settings=settings, show=show, ingest=ingest, tick=tick, start=start, chart=chart, yahoo=yahoo
    )


def restatements(months):
    return [defect for month in months for defect in month.defects if defect.rule == "restated_history"]


def stored(market):
    return market.store.read_frames("candles", "AAA", "2020-02-01", "2020-12-01")


def returns(frame):
    return frame["close"].pct_change().dropna()


DIVIDEND = pd.Timestamp("2020-08-08 02:00", tz="UTC")
"""The tick after the ex-date of 2020-08-07."""


@pytest.mark.long
def test_no_tick_is_refused_and_the_returns_are_yahoos_with_all_dividends(market, adjusted):
    days = pd.date_range(pd.Timestamp("2020-07-16 02:00", tz="UTC"), LAST, freq="D")
    market.start(days[0] - pd.Timedelta(days=1))
    restated = 0
    for day in days:
        months = market.tick(day)
        assert all(month.written for month in months), [e.message for m in months for e in m.errors]
        restated += len(restatements(months))
    assert restated == 2, "the dividends of August and November"
    assert restated == len(market.store.periods(RESTATEMENTS, "AAA", "json"))
    got = stored(market)
    expected = returns(adjusted.loc[got.index])
    np.testing.assert_allclose(returns(got), expected, atol=2e-6)


@pytest.fixture
def before_dividend(market):
    """The market the day before the dividend of August, with its features."""
    day = DIVIDEND - pd.Timedelta(days=1)
    market.start(day)
    for month in market.store.periods("candles", "AAA")[2:]:
        compute_month_features(market.store, market.settings, Key("AAA", pd.Timestamp(month, tz="UTC")))
    return market


def test_a_dividend_restates_all_months_and_says_what_from_when_and_by_which_factor(before_dividend):
    market, before = before_dividend, stored(before_dividend)
    (restated,) = restatements(market.tick(DIVIDEND))
    after = stored(market).loc[before.index]
    factor = float((after / before)["close"].iloc[0])
    assert 0.99 < factor < 0.9999
    np.testing.assert_allclose(after[PRICES], before[PRICES] * factor, rtol=1e-12)
    assert after["volume"].equals(before["volume"])
    np.testing.assert_allclose(returns(after), returns(before), rtol=1e-9)
    for words in ("2020-02 to 2020-08 multiplied by", f"{factor:.4f}", "no version"):
        assert words in restated.message
    (record,) = market.store.read_records(RESTATEMENTS, "AAA").values()
    assert record["done"]
    assert list(record["factors"]) == market.store.periods("candles", "AAA")
    assert market.tick(DIVIDEND + pd.Timedelta(days=1))[0].defects == []


def test_features_stay_as_they_are(before_dividend):
    market = before_dividend
    market.tick(DIVIDEND)
    months = market.store.periods("features", "AAA")
    before = market.store.read_frames("features", "AAA", months[0], months[-2])
    for month in months[:-1]:
        compute_month_features(market.store, market.settings, Key("AAA", pd.Timestamp(month, tz="UTC")))
    after = market.store.read_frames("features", "AAA", months[0], months[-2])
    pd.testing.assert_frame_equal(after, before, rtol=0, atol=1e-9)


@pytest.mark.parametrize("killed_at", range(1, 9))
def test_a_kill_in_between_leaves_candles_that_nobody_reads_until_the_next_tick_has_completed_it(
    before_dividend, monkeypatch, killed_at
):
    market, before, writes = before_dividend, stored(before_dividend), []
    write = Store._publish

    def killed(self, *arguments):
        writes.append(arguments)
        if len(writes) == killed_at:
            raise KeyboardInterrupt
        return write(self, *arguments)

    monkeypatch.setattr(Store, "_publish", killed)
    with pytest.raises(KeyboardInterrupt):
        market.tick(DIVIDEND)
    monkeypatch.setattr(Store, "_publish", write)
    history = MarketHistory(market.store, market.settings, "AAA")
    if killed_at > 1:
        assert is_interrupted(market.store, "AAA")
        with pytest.raises(StoreError, match="restatement of its candles was interrupted"):
            history.candles("2020-03-01", DIVIDEND - pd.Timedelta(days=3))
    assert all(month.written for month in market.tick(DIVIDEND + pd.Timedelta(days=1)))
    assert not is_interrupted(market.store, "AAA")
    after = history.candles("2020-02-01", DIVIDEND).loc[before.index]
    ratio = (after / before)[PRICES].to_numpy()
    assert np.ptp(ratio) < 1e-6
    assert ratio.max() < 0.9999


def test_one_month_that_is_fetched_again_brings_the_others_with_it(before_dividend):
    market, before = before_dividend, stored(before_dividend)
    market.show(DIVIDEND)
    for month in (FIRST, pd.Timestamp("2020-08-01", tz="UTC")):
        assert market.ingest(month, DIVIDEND, refetch=True).written
    ratio = (stored(market).loc[before.index] / before)["close"]
    assert np.ptp(ratio) < 1e-6
    assert ratio.iloc[0] < 0.9999


def test_by_setting_a_rescaled_history_is_refused(before_dividend):
    market, before = before_dividend, stored(before_dividend)
    symbol = market.settings.symbols["AAA"].model_copy(update={"revisions": "refuse"})
    settings = market.settings.model_copy(update={"symbols": {"AAA": symbol}})
    market.show(DIVIDEND)
    august = Key("AAA", pd.Timestamp("2020-08-01", tz="UTC"))
    for refetch in (False, True):
        refused = ingest_month(market.store, settings, august, DIVIDEND, refetch)
        assert [error.rule for error in refused.errors] == ["revised_history"]
    assert "revisions: restate" in refused.errors[0].message
    pd.testing.assert_frame_equal(stored(market), before)


@pytest.mark.parametrize(("column", "cents"), [("High", 1), ("Close", -2)])
def test_a_bar_that_moves_by_a_cent_overnight_stops_nothing_and_stays(market, column, cents):
    day = pd.Timestamp("2020-06-18 02:00", tz="UTC")
    market.start(day)
    before = stored(market)
    market.chart.loc[market.chart.index[market.chart.index < day][-1], column] += cents / 100
    months = market.tick(day + pd.Timedelta(days=1))
    assert all(month.written for month in months)
    assert [defect.rule for month in months for defect in month.defects] == ["corrected_bar"]
    after = stored(market)
    pd.testing.assert_frame_equal(after.loc[before.index], before)
    assert len(after) == len(before) + 1


def test_a_history_that_changed_otherwise_is_refused_with_the_months(before_dividend):
    market, before = before_dividend, stored(before_dividend)
    april = market.chart.index[market.chart.index.month == 4]
    market.chart.loc[april.intersection(market.chart.loc["2020"].index)[:5], ["High", "Close", "Adj Close"]] *= 1.2
    market.show(DIVIDEND)
    refused = market.ingest(pd.Timestamp("2020-08-01", tz="UTC"), DIVIDEND)
    assert refused.written is None
    assert any("2020-04" in error.message and "nothing was restated" in error.message for error in refused.errors)
    pd.testing.assert_frame_equal(stored(market), before)
