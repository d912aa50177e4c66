"""Daily ticks of a dividend payer at Yahoo: the real yfinance client against a loopback Yahoo that rescales
all earlier prices at each dividend."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import yaml

from quantum_training.lifecycle.ingestion import compute_month_features, ingest_month
from quantum_training.lifecycle.market_history import MarketHistory
from quantum_training.lifecycle.month_outcomes import months_to_compute_again
from quantum_training.lifecycle.restatement import RESTATEMENTS, is_interrupted, outdated_features
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
    dividends = {"2020-02-07": 0.1925, "2020-05-08": 0.205, "2020-08-07": 0.205, "2020-11-06": 0.205}
    opening = pd.Timedelta(hours=9.5)
    dates = {day: pd.Timestamp(day).tz_localize("America/New_York") + opening for day in dividends}
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
        named = [{"amount": of, "date": int(dates[d].timestamp())} for d, of in dividends.items() if dates[d] < day]
        yahoo.events["AAPL"] = {"dividends": named}

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
    for words in (
        f"prices of 2020-02-03 to 2020-08-06 multiplied by {factor:.5g} (dividend of 0.205 on 2020-08-07)",
        "returns, features, scores and versions stay valid",
        "no version",
    ):
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


@pytest.mark.parametrize("killed_at", [1, 4, *(pytest.param(n, marks=pytest.mark.long) for n in (2, 3, 5, 6, 7, 8))])
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


@pytest.mark.parametrize(("column", "factor"), [("High", 1.0006), ("Close", 0.999), ("Volume", 1.4)])
def test_a_bar_that_was_not_final_overnight_stops_nothing_and_is_renewed(market, column, factor):
    day = pd.Timestamp("2020-06-18 02:00", tz="UTC")
    market.start(day)
    before = stored(market)
    market.chart.loc[market.chart.index[market.chart.index < day][-1], column] *= factor
    months = market.tick(day + pd.Timedelta(days=1))
    assert all(month.written for month in months)
    assert [defect.rule for month in months for defect in month.defects] == []
    assert [month.notes.facts.get("renewed_bars") for month in months] == [1]
    after = stored(market)
    pd.testing.assert_frame_equal(after.iloc[: len(before) - 1], before.iloc[:-1])
    renewed = (after / before).iloc[len(before) - 1]
    assert renewed[column.lower()] == pytest.approx(factor, rel=2e-4) if column != "Close" else renewed["close"] < 1
    assert len(after) == len(before) + 1
    assert market.store.periods(RESTATEMENTS, "AAA", "json") == [], "nothing rests on the former values"


def late(market, ex_date, factor, volume=1.0):
    """Yahoo has multiplied all bars before a day."""
    before = market.chart.index < pd.Timestamp(ex_date, tz="UTC")
    market.chart.loc[before, ["Open", "High", "Low", "Close", "Adj Close"]] *= factor
    market.chart.loc[before, "Volume"] *= volume


@pytest.mark.parametrize(
    ("ex_date", "factor", "volume"), [("2020-07-20", 0.92, 1), ("2020-07-20", 1 / 1.2, 1.2), ("2020-06-29", 0.997, 1)]
)
def test_what_yahoo_enters_days_later_is_restated_up_to_its_date(market, ex_date, factor, volume):
    """A dividend of 8 %, a split 6:5, a small dividend in the month before: the newest stored bar is as it was."""
    day = pd.Timestamp("2020-07-23 02:00", tz="UTC")
    market.start(day)
    market.tick(day)
    for month in market.store.periods("candles", "AAA"):
        compute_month_features(market.store, market.settings, Key("AAA", pd.Timestamp(month, tz="UTC")))
    before = stored(market)
    late(market, ex_date, factor, volume)
    months = market.tick(day + pd.Timedelta(days=1))
    (restated,) = restatements(months)
    expected, ex = before.copy(), pd.Timestamp(ex_date, tz="UTC")
    expected.loc[: ex - pd.Timedelta(1), PRICES] *= factor
    expected.loc[: ex - pd.Timedelta(1), "volume"] *= volume
    after = stored(market)
    np.testing.assert_allclose(after.loc[before.index], expected, rtol=2e-6)
    last = f"{before.index[before.index < ex][-1]:%Y-%m-%d}"
    assert f"prices of 2020-02-03 to {last} multiplied by {factor:.5g} (the source names no reason)" in restated.message
    assert f"returns or volumes of 1 bar(s) are others, the first {ex_date} 00:00" in restated.message
    (record,) = market.store.read_records(RESTATEMENTS, "AAA").values()
    assert record["altered"] == [ex.isoformat()] * 2
    months = market.store.periods("candles", "AAA")
    assert outdated_features(market.store, "AAA") == [month for month in months if month >= ex_date[:8] + "01"]
    with pytest.raises(StoreError, match="rest on candles that were restated since; run the job market_data"):
        MarketHistory(market.store, market.settings, "AAA").features("2020-02-01", day)
    for key in months_to_compute_again(market.store, Key("AAA", FIRST)):
        compute_month_features(market.store, market.settings, key)
    assert outdated_features(market.store, "AAA") == []
    following = market.tick(day + pd.Timedelta(days=2))
    assert all(month.written for month in following)
    assert restatements(following) == []


def test_the_month_in_progress_is_begun_by_comparing_all_months(market):
    """A dividend that is entered two months later lies before the month that every tick compares."""
    day = pd.Timestamp("2020-06-30 02:00", tz="UTC")
    market.start(day)
    late(market, "2020-03-20", 0.97)
    assert restatements(market.tick(day + pd.Timedelta(hours=1))) == []
    (restated,) = restatements(market.tick(pd.Timestamp("2020-07-02 02:00", tz="UTC")))
    assert "prices of 2020-02-03 to 2020-03-19 multiplied by 0.97 (" in restated.message


def test_a_dividend_that_is_named_but_not_applied_is_a_warning_until_it_is(market):
    day = pd.Timestamp("2020-08-11 02:00", tz="UTC")
    market.start(day)
    named = {"amount": 0.205, "date": int(pd.Timestamp("2020-08-10 13:30", tz="UTC").timestamp())}
    day += pd.Timedelta(days=1)
    market.show(day)
    market.yahoo.events["AAPL"]["dividends"].append(named)
    defects = market.ingest(pd.Timestamp("2020-08-01", tz="UTC"), day).defects
    assert [(defect.rule, defect.severity) for defect in defects] == [("unapplied_dividend", "warning")]
    assert "dividend of 0.205 on 2020-08-10: the source names it, but" in defects[0].message


def history_of_april(market):
    """Yahoo corrects five bars of April by up to 3 %."""
    april = market.chart.loc["2020-04"].index[:5]
    market.chart.loc[april, ["High", "Close", "Adj Close"]] *= 1.03
    return pd.DatetimeIndex([day.normalize() for day in april])


def test_a_history_that_changed_otherwise_is_stored_as_it_is_now_and_says_which_versions_saw_the_former(
    before_dividend,
):
    market, before = before_dividend, stored(before_dividend)
    april = history_of_april(market)
    record = {"versions": [{"as_of": f"2020-0{month}-06T00:00:00+00:00", "model_id": "m"} for month in (3, 4, 7)]}
    market.store.write_record("xgboost_model", "AAA", "2020-07-06", record)
    market.show(DIVIDEND)
    month = market.ingest(pd.Timestamp("2020-08-01", tz="UTC"), DIVIDEND)
    assert month.written
    after = stored(market)
    ratio = (after.loc[before.index] / before)["close"]
    assert (ratio[april] / ratio.iloc[0]).round(4).tolist() == [1.03] * 5
    assert np.ptp(ratio.drop(april)) < 1e-6
    (restated,) = [defect for defect in month.defects if defect.rule == "restated_history"]
    assert "5 bar(s) replaced, the first 2020-04-01 00:00: " in restated.message
    assert "features from 2020-04 on are computed again, scores stand" in restated.message
    assert "trained on the former prices: xgboost 3 up to 2020-07-06" in restated.message
    (record,) = market.store.read_records(RESTATEMENTS, "AAA").values()
    assert record["former"].keys() == record["factors"].keys()
    assert len({*record["former"].values()}) == 7


def test_by_keeping_such_a_history_stays_and_newer_bars_follow(market):
    day = pd.Timestamp("2020-05-07 02:00", tz="UTC")
    market.start(day)
    symbol = market.settings.symbols["AAA"].model_copy(update={"revisions": "keep"})
    settings = market.settings.model_copy(update={"symbols": {"AAA": symbol}})
    before = stored(market)
    history_of_april(market)
    day += pd.Timedelta(days=1)
    market.show(day)
    month = ingest_month(market.store, settings, Key("AAA", pd.Timestamp("2020-05-01", tz="UTC")), day)
    assert month.written
    assert [(defect.rule, len(defect.bars)) for defect in month.defects] == [("kept_bar", 5)]
    after = stored(market)
    pd.testing.assert_frame_equal(after.loc[before.index], before)
    assert len(after) == len(before) + 1


def test_a_history_that_breaks_a_rule_is_not_restated(before_dividend):
    market, before = before_dividend, stored(before_dividend)
    rows = market.chart.loc["2020-04"].index[:5]
    market.chart.loc[rows, "Close"] *= 1.2
    market.chart.loc[rows, "Adj Close"] *= 1.2
    market.show(DIVIDEND)
    refused = market.ingest(pd.Timestamp("2020-08-01", tz="UTC"), DIVIDEND)
    assert refused.written is None
    messages = [error.message for error in refused.errors]
    assert any("its bars of 2020-04 break a rule: " in m and "nothing was restated" in m for m in messages)
    pd.testing.assert_frame_equal(stored(market), before)


def test_a_history_that_has_lost_bars_is_not_restated(before_dividend):
    market, before = before_dividend, stored(before_dividend)
    market.chart.loc["2020-04"] = np.nan
    market.show(DIVIDEND)
    refused = market.ingest(pd.Timestamp("2020-08-01", tz="UTC"), DIVIDEND)
    assert refused.written is None
    assert "it no longer has 21 of 130 stored bars, so nothing was restated" in refused.errors[0].message
    pd.testing.assert_frame_equal(stored(market), before)
