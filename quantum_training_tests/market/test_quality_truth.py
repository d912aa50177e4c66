"""What really happens at markets passes the gate; what looks alike and is broken does not."""

import numpy as np
import pandas as pd
import pytest

from quantum_training.market.calendars import expected_open_times
from quantum_training.market.defects import Defect
from quantum_training.market.schema import PRICES, as_candles

PRICE = list(PRICES)
MONTH = ("2023-03-01", "2023-04-01")


def utc(text: str) -> pd.Timestamp:
    return pd.Timestamp(text, tz="UTC")


def errors(defects: list[Defect]) -> set[str]:
    return {d.rule for d in defects if d.severity == "error"}


def warnings(defects: list[Defect]) -> set[str]:
    return {d.rule for d in defects if d.severity == "warning"}


@pytest.fixture
def stock(walk, judge):
    """Daily bars of a stock from December to March, and the judgement of its March."""
    bars = walk("XNYS", "1d", "2022-12-01", "2023-04-01")
    bars = bars.mul(np.exp(np.random.default_rng(3).normal(0, 0.008, len(bars))), axis=0).assign(volume=bars["volume"])

    def judged(frame: pd.DataFrame) -> list[Defect]:
        return judge(frame["2023-03-01":], *MONTH, "1d", "XNYS", previous=frame[:"2023-02-28"])

    return bars, judged


@pytest.fixture
def coin(walk, judge):
    """Hours of a coin in February and March, and the judgement of its March."""

    def judged(frame: pd.DataFrame) -> list[Defect]:
        before = frame[: utc("2023-02-28 23:00")]
        return judge(frame["2023-03-01":], *MONTH, previous=before)

    return walk("24/7", "1h", "2023-02-01", "2023-04-01"), judged


@pytest.mark.parametrize("ratio", [0.4, 2.2])
def test_a_night_of_news_is_no_split(ratio, stock):
    """As AIG on 2008-09-16 or a biotech after its trial: ten times the volume and the range of other days."""
    bars, judged = stock
    bar = utc("2023-03-15")
    bars.loc[bar:, PRICE] *= ratio
    bars.loc[bar:, "volume"] *= np.r_[15, [4] * (len(bars[bar:]) - 1)]
    bars.loc[bar, "high"] *= 1.1
    bars.loc[bar, "low"] /= 1.1
    assert errors(judged(bars)) == set()


@pytest.mark.parametrize("with_volume", [False, True])
@pytest.mark.parametrize("ratio", [1.5, 2, 1 / 3, 1 / 8])
def test_a_split_on_a_night_that_moves_is_refused(ratio, with_volume, stock):
    """As USO, 1:8 on 2020-04-29: it opened 8.455 times as high, since oil rose that night."""
    bars, judged = stock
    bar = utc("2023-03-15")
    bars.loc[bar:, PRICE] *= 1.055 / ratio
    bars.loc[bar:, "volume"] *= ratio if with_volume else 1
    bars.loc[bar, "volume"] *= 1.5
    assert errors(judged(bars)) == {"split_like_jump"}


def test_a_small_split_on_a_night_of_news_is_a_warning(stock):
    """Six times the volume may move a stock by as much: nothing in the bars tells."""
    bars, judged = stock
    bar = utc("2023-03-15")
    bars.loc[bar:, PRICE] /= 1.2
    bars.loc[bar, "volume"] *= 4
    judgement = judged(bars)
    assert errors(judgement) == set()
    assert "split_like_jump" in warnings(judgement)


def test_a_step_of_a_tick_is_no_split(coin):
    """A coin at 0.00000003 moves by a third or not at all, hour by hour with its own volume."""
    bars, judged = coin
    bars[PRICE] = 3e-8
    bars.loc[utc("2023-03-10 05:00") : utc("2023-03-10 09:00"), PRICE] = 4e-8
    judgement = judged(bars)
    assert errors(judgement) == set()
    assert warnings(judgement) == {"stale"}


def test_a_share_that_seldom_trades_stands_still(stock):
    """Days at one price with a few shares each; some days have no bar at all, and many a single trade."""
    bars, judged = stock
    rng = np.random.default_rng(5)
    bars[PRICE] = np.repeat(np.round(10 + rng.normal(0, 0.3, len(bars)), 2)[:, None], 4, axis=1)
    bars.iloc[65:73, :4] = 9.8
    bars["volume"] = rng.integers(1, 30, len(bars)) * 100.0
    judgement = judged(bars.drop(bars.index[[66, 74, 75]]))
    assert errors(judgement) == set()
    assert warnings(judgement) == {"stale", "missing_bars"}


def test_a_bar_that_is_repeated_with_its_volume_is_refused_at_any_market(stock):
    bars, judged = stock
    bars[PRICE] = np.repeat(np.round(bars[["close"]].to_numpy(), 0), 4, axis=1)
    bars.iloc[-12:] = bars.iloc[-12].to_numpy()
    assert "stale" in errors(judged(bars))


def test_no_trade_for_some_hours_is_a_warning_and_for_a_day_an_error(coin):
    bars, judged = coin
    for hours, severity in ((8, "warning"), (24, "error")):
        filled = bars.copy()
        at = bars.index.get_loc(utc("2023-03-10"))
        filled.iloc[at : at + hours] = [*[bars["close"].iloc[at - 1]] * 4, 0.0]
        assert [(d.rule, d.severity) for d in judged(filled) if d.rule == "stale"] == [("stale", severity)]


def test_a_stretch_that_stands_there_twice_is_refused(coin):
    bars, judged = coin
    at = bars.index.get_loc(utc("2023-03-10"))
    bars.iloc[at : at + 6] = bars.iloc[at - 30 : at - 24].to_numpy()
    (defect,) = (d for d in judged(bars) if d.rule == "copied_stretch")
    assert list(defect.bars) == list(bars.index[at : at + 6])
    assert "from 2023-03-08 18:00" in defect.message


def test_a_surge_of_trading_is_no_switch_of_units(coin):
    """As XRP on 2023-07-13: volume rises fifty times for hours, and so does the movement."""
    bars, judged = coin
    surge = slice(utc("2023-03-10 15:00"), utc("2023-03-11 05:00"))
    bars.loc[surge, "volume"] *= 50
    bars.loc[surge, "high"] *= 1.05
    bars.loc[surge, "low"] /= 1.05
    assert errors(judged(bars)) == set()


@pytest.mark.parametrize("factor", [10, 0.1, 20, 0.02, 1000, "price"])
def test_a_switch_of_units_explains_itself(factor, coin):
    bars, judged = coin
    bars["volume"] = bars["volume"].round(3)
    at = utc("2023-03-10 15:00")
    bars.loc[at:, "volume"] *= bars["close"] if factor == "price" else factor
    (defect,) = (d for d in judged(bars) if d.severity == "error")
    assert defect.rule == "volume_unit_switch"
    assert abs(defect.bars[0] - at) <= pd.Timedelta("3h")


@pytest.mark.parametrize(("column", "factor"), [("high", 100), ("low", 0.01)])
def test_a_wick_in_cents_is_refused_and_one_with_the_volume_of_a_crash_is_not(column, factor, coin):
    bars, judged = coin
    bar = utc("2023-03-10 15:00")
    bars.loc[bar, column] *= factor
    assert errors(judged(bars)) == {"bad_tick"}
    bars.loc[bar, "volume"] *= 60
    judgement = judged(bars)
    assert errors(judgement) == set()
    assert "bad_tick" in warnings(judgement)


def test_a_venue_that_reopens_where_it_stopped_was_closed(coin):
    """Its first bar catches up with other venues. A feed that lost a day is elsewhere when it goes on."""
    bars, judged = coin
    at = bars.index.get_loc(utc("2023-03-10"))
    closed = bars.drop(bars.index[at : at + 24])
    assert errors(judged(closed)) == {"missing_bars"}
    first, last = bars.index[at + 24], bars["close"].iloc[at - 1]
    closed.loc[first, ["open", "high", "low"]] = [last, max(last, bars.loc[first, "high"]) * 1.01, last * 0.99]
    closed.loc[first, "low"] = min(closed.loc[first, ["low", "close"]])
    judgement = judged(closed)
    assert errors(judgement) == set()
    assert "missing_bars" in warnings(judgement)


def test_a_known_outage_is_a_warning(judge):
    index = expected_open_times("24/7", "1h", utc("2018-02-01"), utc("2018-03-01"))
    rng = np.random.default_rng(1)
    close = 8000 * np.exp(np.cumsum(rng.normal(0, 0.01, len(index))))
    open_ = np.r_[8000, close[:-1]]
    high, low = np.maximum(open_, close) * 1.002, np.minimum(open_, close) / 1.002
    bars = as_candles(
        pd.DataFrame({"open": open_, "high": high, "low": low, "close": close, "volume": close / 9}, index)
    )
    down = (index >= utc("2018-02-08 01:00")) & (index < utc("2018-02-09 10:00"))
    (defect,) = judge(bars[~down], "2018-02-01", "2018-03-01")
    assert (defect.rule, defect.severity, len(defect.bars)) == ("missing_bars", "warning", 33)


def test_a_price_below_zero_is_refused_by_name(stock):
    bars, judged = stock
    bars.loc[utc("2023-03-15"), ["low", "close"]] = [-40.3, -37.6]
    (defect,) = (d for d in judged(bars) if d.severity == "error")
    assert defect.rule == "positive_price"
    assert "returns, features and position sizes divide by prices" in defect.message


@pytest.mark.parametrize("column", ["high", "low"])
@pytest.mark.parametrize("factor", [100, 10, 2])
def test_a_high_or_low_far_from_all_others_is_an_error(stock, column, factor):
    bars, judged = stock
    bar = bars.index[-10]
    bars.loc[bar, column] *= factor if column == "high" else 1 / factor
    (rule,) = errors(judged(bars))
    assert rule == ("bad_tick" if factor == 100 else "long_wick")


def test_a_long_wick_with_much_trading_is_a_crash(stock):
    """As of PG on 2010-05-06: low a third below the close, with three times the usual volume."""
    bars, judged = stock
    bar = bars.index[-10]
    bars.loc[bar, "low"] *= 0.8
    assert errors(judged(bars)) == {"long_wick"}
    bars.loc[bar, "volume"] = 3 * bars["volume"].max()
    assert errors(judged(bars)) == set()
    assert warnings(judged(bars)) <= {"long_wick"}


def test_open_and_close_that_are_swapped_are_an_error(coin):
    bars, judged = coin
    assert "open_close_swapped" not in errors(judged(bars))
    assert "open_close_swapped" in errors(judged(bars.assign(open=bars["close"], close=bars["open"])))
    since = bars.index[bars.index >= utc("2023-03-01")]
    bars.loc[since, ["open", "close"]] = bars.loc[since, ["close", "open"]].to_numpy()
    assert "open_close_swapped" in errors(judged(bars)), "the columns are swapped from this month on"


@pytest.mark.candles
def test_so_they_are_in_every_month_of_a_real_stock_but_for_some_of_its_first_ones(equity, months):
    bars = equity("MSFT")["2014":"2020"]
    swapped = bars.assign(open=bars["close"], close=bars["open"])
    found = ["open_close_swapped" in errors(defects) for _, defects in months(swapped, "1d", "XNYS")]
    assert np.mean(found) >= 0.9
    assert not any("open_close_swapped" in errors(defects) for _, defects in months(bars, "1d", "XNYS"))


def test_a_market_that_opens_where_it_closed_the_day_before_or_has_no_move_is_not_swapped(stock):
    bars, judged = stock
    flat = bars.assign(open=bars["close"])
    flat["high"], flat["low"] = flat["close"] * 1.001, flat["close"] * 0.999
    assert "open_close_swapped" not in errors(judged(flat))
