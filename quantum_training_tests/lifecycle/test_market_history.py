"""The stored history of a symbol: only what was known at a time, and an error for what is missing."""

import pandas as pd
import pytest

from quantum_training.lifecycle.market_history import Bars, MarketHistory, inputs_hash
from quantum_training.lifecycle.stored_months import features_available_until
from quantum_training.resources.store.store import Store, StoreError
from quantum_training.settings import load_settings

SP500 = load_settings().symbols["SP500"]
MARKET = SP500.model_copy(update={"timeframe": "4h", "calendar": "24/7"})
MONDAY = pd.Timestamp("2020-01-06", tz="UTC")


@pytest.fixture
def history(tmp_path):
    """December and January of a market of 4h bars whose January reaches the 20th."""
    store = Store(root=str(tmp_path))
    times = pd.date_range("2019-12-01", "2020-01-20", freq="4h", tz="UTC", inclusive="left", name="open_time")
    frame = pd.DataFrame({"open": 1.0, "close": range(len(times))}, times).astype("float64")
    for month, part in frame.groupby(frame.index.strftime("%Y-%m-01")):
        until = {"covered_until": "2020-01-20T00:00:00+00:00"}
        store.write_frame("candles", "AAA", month, part, until)
        store.write_frame("features", "AAA", month, part[["close"]].add_prefix("feature_"), until)
    settings = load_settings().model_copy(update={"symbols": {"AAA": MARKET}})
    return MarketHistory(store, settings, "AAA")


def test_bars_open_before_the_time_and_known_bars_are_closed_at_it(history):
    at = MONDAY + pd.Timedelta("2h")
    assert history.candles("2020-01-01", at).index[-1] == MONDAY
    candles, features = history.known_bars("2020-01-01", at)
    assert candles.index[-1] == features.index[-1] == MONDAY - pd.Timedelta("4h")


def test_bars_that_are_not_stored_are_an_error_that_names_the_job(history):
    with pytest.raises(StoreError, match=r"2020-01-01 reaches only 2020-01-20.*job market_data"):
        history.features("2020-01-01", pd.Timestamp("2020-01-27", tz="UTC"))
    with pytest.raises(StoreError, match="the months 2020-02-01 are not stored"):
        history.candles("2020-01-01", pd.Timestamp("2020-02-03", tz="UTC"))


def test_stored_rows_may_be_none_or_end_early(history):
    assert history.stored_rows("features", MONDAY, pd.Timestamp("2020-03-01", tz="UTC")).index[-1].day == 19
    assert history.stored_rows("nothing", MONDAY, MONDAY).empty


def test_the_first_month_leaves_room_for_the_bars_and_for_holidays(history):
    assert history.first_month(MONDAY, 6) == "2019-12-01"
    assert history.first_month(MONDAY, 6 * 60) < "2019-11-02"
    assert history.first_month_for_decisions(MONDAY) <= history.first_month(MONDAY - pd.Timedelta(days=7), 2)


def test_the_inputs_hash_covers_the_deciding_bars_and_the_lookback(history):
    bars = history.bars("2019-12-01", MONDAY)
    filled = pd.DatetimeIndex(bars.candles.index[-6:])
    changed = Bars(bars.candles, bars.features.copy())
    changed.features.iloc[-10] += 1.0
    assert inputs_hash(bars, filled, 0) == inputs_hash(changed, filled, 0)
    assert inputs_hash(bars, filled, 5) != inputs_hash(changed, filled, 5)
    changed.features.iloc[-2] += 1.0
    assert inputs_hash(bars, filled, 0) != inputs_hash(changed, filled, 0)


def test_features_reach_as_far_as_the_newest_month_covers(history, tmp_path):
    assert features_available_until(history.store, history.symbol) == pd.Timestamp("2020-01-20", tz="UTC")
    empty = MarketHistory(Store(root=str(tmp_path / "empty")), history.settings, "AAA")
    assert features_available_until(empty.store, empty.symbol) is None


def test_daily_returns_are_sums_of_close_to_close_returns_without_those_after_a_pause(history):
    closes = pd.concat([history.store.read_frame("candles", "AAA", m)["close"] for m in ("2019-12-01", "2020-01-01")])
    resumed = pd.DataFrame(
        {"open": 1.0, "close": [500.0, 505.0]}, pd.date_range("2020-03-02", periods=2, freq="4h", tz="UTC")
    )
    history.store.write_frame("candles", "AAA", "2020-03-01", resumed.rename_axis("open_time"), {})
    closes = closes[closes > 0]  # the first bar of this market closes at 0
    expected = closes.pct_change().groupby(closes.index.floor("D")).sum()
    daily = history.returns_by_day(pd.Timestamp("2020-01-19 08:00", tz="UTC"))
    assert daily.index[-1] == pd.Timestamp("2020-01-19", tz="UTC")
    assert daily.iloc[-2] == pytest.approx(expected.iloc[-2])
    assert daily.iloc[-1] == pytest.approx(
        closes.pct_change()[: pd.Timestamp("2020-01-19 07:00", tz="UTC")].iloc[-2:].sum()
    )
    assert history.returns_by_day(pd.Timestamp("2020-04-01", tz="UTC")).iloc[-1] == pytest.approx(505 / 500 - 1)
    assert history.returns_by_day(pd.Timestamp("2019-11-01", tz="UTC")).empty


def test_a_symbol_without_candles_has_no_daily_returns(history):
    assert MarketHistory(history.store, history.settings, "BBB").returns_by_day(MONDAY).empty
