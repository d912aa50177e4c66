"""Shadow scores: which version may decide a bar, and weeks that fit together into one account."""

import numpy as np
import pandas as pd
import pytest

from quantum_training.trading.account import Account
from quantum_training.trading.costs import Costs
from quantum_training.trading.scoring import (
    Decisions,
    Version,
    assign_versions,
    by_strategy,
    decisions,
    positions_at,
    score,
)
from quantum_training.trading.simulator import simulate

WEEK = pd.Timedelta(days=7)
MONDAY = pd.Timestamp("2024-01-01", tz="UTC")
ACCOUNT = Account()
COSTLY = Costs(fee_bps=70, slippage_bps=30)
COLUMNS = ("target", "fill_price", "position", "turnover", "cost", "gross_return", "net_return")


def decided(position, model_id="m"):
    return Decisions(position, pd.Series(model_id, position.index).where(position.notna(), ""))


@pytest.mark.parametrize("unit", ["ns", "us", "s"])
def test_a_version_decides_from_the_bar_that_opens_at_its_as_of_on(unit):
    bars = pd.date_range(MONDAY, periods=4, freq="4h").as_unit(unit)
    at, later = bars[1].as_unit("ns"), bars[1].as_unit("ns") + pd.Timedelta("1ns")
    assert list(assign_versions(bars, [Version(at, "a")])) == [-1, 0, 0, 0]
    assert list(assign_versions(bars, [Version(later, "a")])) == [-1, -1, 0, 0]


def test_the_newest_version_decides_and_of_equal_as_of_the_last():
    bars = pd.date_range(MONDAY, periods=6, freq="4h")
    versions = [Version(bars[0], "a"), Version(bars[2], "b"), Version(bars[2], "c"), Version(bars[5] + WEEK, "d")]
    assert [versions[i].model_id for i in assign_versions(bars, versions)] == ["a", "a", "c", "c", "c", "c"]
    assert list(assign_versions(bars, [])) == [-1] * 6
    assert list(assign_versions(bars[:0], versions)) == []


@pytest.mark.parametrize("seed", range(5))
def test_weeks_scored_one_by_one_are_one_account(walk, seed):
    """All in or all out: what is held over the border goes on without a cost, and no bar is lost between weeks."""
    candles = walk(43 * 4, seed)  # four weeks of 42 bars and a bit
    rng = np.random.default_rng(seed)
    target = pd.Series(rng.integers(0, 2, len(candles)).astype("float64"), candles.index).where(
        rng.random(len(candles)) > 0.1
    )
    target.iloc[[83, 84]] = 1.0  # held over a border
    first, costs = MONDAY + WEEK, Costs(fee_bps=20, slippage_bps=10)
    weeks = [
        score(
            candles.loc[: first + (k + 1) * WEEK - pd.Timedelta("1ns")],
            first + k * WEEK,
            {"s": decided(target)},
            costs,
            ACCOUNT,
        )
        for k in range(3)
    ]
    scored = pd.concat(weeks)
    before = candles.index[candles.index < first][-1]
    held = target.fillna(0.0)[before]
    goals = target.fillna(0.0).loc[first:].rename("s")
    whole = simulate(candles.loc[first:], goals, costs, ACCOUNT, held, candles.loc[before, "close"]).frame("s")
    assert scored.index.equals(whole.loc[: scored.index[-1]].index)
    numbers = ["fill_price", "position", "turnover", "cost", "gross_return", "net_return"]
    pd.testing.assert_frame_equal(scored[numbers], whole.loc[: scored.index[-1], numbers], rtol=0, atol=1e-12)
    assert scored.loc[candles.index[84], "cost"] == 0
    pd.testing.assert_series_equal(scored["target"], target[scored.index], check_names=False, check_freq=False)


def test_bars_without_a_decision_are_flat_and_keep_their_missing_target(walk):
    candles = walk(84)
    target = pd.Series(1.0, candles.index)
    target.iloc[50:54] = np.nan
    rows = score(candles, MONDAY + WEEK, {"s": decided(target)}, COSTLY, ACCOUNT)
    assert tuple(rows.columns) == ("strategy", "model_id", *COLUMNS)
    silent = rows.iloc[8:12]
    assert silent["target"].isna().all()
    assert (silent["position"] == 0).all()
    assert (silent["model_id"] == "").all()
    assert silent["cost"].iloc[0] > 0, "leaving is paid for"
    assert (silent["net_return"].iloc[1:] == 0).all()
    assert list(by_strategy(rows, "net_return").index) == [t for t in rows.index if t not in silent.index]


def test_a_week_that_follows_no_decision_is_entered_flat(walk):
    candles = walk(84)
    target = pd.Series(1.0, candles.index[42:])
    first = score(candles, MONDAY + WEEK, {"s": decided(target)}, COSTLY, ACCOUNT).iloc[0]
    assert first["fill_price"] == candles["open"].iloc[42] * (1 + 30 / 1e4)
    assert first["cost"] > 0
    target = pd.Series(1.0, candles.index[41:])
    first = score(candles, MONDAY + WEEK, {"s": decided(target)}, COSTLY, ACCOUNT).iloc[0]
    assert np.isnan(first["fill_price"])
    assert first["net_return"] == pytest.approx(candles["close"].iloc[42] / candles["close"].iloc[41] - 1)


def test_strategies_stand_one_after_the_other_and_none_touches_another(walk):
    candles = walk(84)
    long, flat = pd.Series(1.0, candles.index), pd.Series(0.0, candles.index)
    rows = score(candles, MONDAY + WEEK, {"z": decided(long, "v1"), "a": decided(flat, "v2")}, COSTLY, ACCOUNT)
    assert list(rows["strategy"]) == ["z"] * 42 + ["a"] * 42
    assert list(rows["model_id"].unique()) == ["v1", "v2"]
    wide = by_strategy(rows, "net_return")
    assert list(wide.columns) == ["a", "z"]
    assert wide.index.is_monotonic_increasing
    assert (wide["a"] == 0).all()
    alone = score(candles, MONDAY + WEEK, {"z": decided(long, "v1")}, COSTLY, ACCOUNT)
    pd.testing.assert_frame_equal(rows[rows["strategy"] == "z"], alone, check_freq=False)


def test_a_bar_scored_twice_is_refused(walk):
    rows = score(walk(84), MONDAY + WEEK, {"s": decided(pd.Series(1.0, walk(84).index))}, COSTLY, ACCOUNT)
    with pytest.raises(ValueError, match="duplicate"):
        by_strategy(pd.concat([rows, rows.iloc[[5]]]), "net_return")


def test_a_week_without_bars_is_an_empty_score(walk):
    candles = walk(42)
    rows = score(candles, MONDAY + WEEK, {"s": decided(pd.Series(1.0, candles.index))}, COSTLY, ACCOUNT)
    assert tuple(rows.columns) == ("strategy", "model_id", *COLUMNS)
    assert rows.empty
    assert by_strategy(rows, "net_return").empty


class Remembers:
    """Decides by every row that it is given, so that a row more or less, or another one, shows."""

    lookback_bars, has_account = 30, True

    def positions(self, features):
        assert list(features.columns) == ["x", "open", "close"]
        whole = features.notna().all(axis=1)
        return ((features.fillna(0.0) * [7.1, 1.3, 2.9]).sum(axis=1).cumsum() % 1).where(whole)


WEEKS = [MONDAY + k * WEEK for k in range(2, 5)]


@pytest.fixture
def remembered(walk):
    """Five weeks of candles and a feature, and what was decided from the third week on, asked for at once."""
    candles = walk(42 * 5, 3)
    features = pd.DataFrame({"x": np.random.default_rng(3).normal(size=len(candles))}, candles.index)
    return candles, features, asked(candles, features, WEEKS[0])


def asked(candles, features, start):
    version = Version(MONDAY, "m")
    return decisions(candles, features, [version], start, lambda model_id: Remembers()).position


def test_a_memory_gives_the_same_position_whenever_and_with_whatever_history_it_is_asked(remembered):
    candles, features, whole = remembered
    assert whole.notna().all()
    assert whole.nunique() > 100
    for cut in (0, 5, 11):
        for start in (WEEKS[0], WEEKS[1] + pd.Timedelta("3D 4h"), WEEKS[2], candles.index[-1]):
            found = asked(candles.iloc[cut:], features.iloc[cut:], start)
            pd.testing.assert_series_equal(found, whole.loc[found.index[0] :], check_exact=True, check_freq=False)


def test_weeks_asked_one_by_one_are_one_record(remembered):
    """The bar before a week is decided in the week before it, by the account of that week."""
    candles, features, whole = remembered
    parts = [asked(c := candles.loc[: w + WEEK - pd.Timedelta("1ns")], features.loc[c.index], w) for w in WEEKS]
    for week, part in zip(WEEKS, parts, strict=True):
        pd.testing.assert_series_equal(part, whole.loc[part.index], check_exact=True, check_freq=False)
        assert part.index[1] == week
    assert len(pd.concat([parts[0], *(part.iloc[1:] for part in parts[1:])])) == len(whole)


def test_a_single_bar_asked_live_has_the_position_that_the_week_records(remembered):
    candles, features, whole = remembered
    for filled in whole.loc[WEEKS[0] :].index:
        known = candles.loc[: filled - pd.Timedelta("1ns")]
        one = positions_at(Remembers(), known, features.loc[known.index], known.index[-1:], pd.DatetimeIndex([filled]))
        assert one == [whole[filled]]


def test_a_memory_sees_no_bar_after_the_close_it_decides_at(remembered):
    candles, features, whole = remembered
    for at in (90, 125, 126, 127, 180):
        wild_candles, wild_features = candles.copy(), features.copy()
        wild_candles.iloc[at:] *= 1.7
        wild_features.iloc[at:] += 5
        found = asked(wild_candles, wild_features, WEEKS[0])
        upto = candles.index[at]
        pd.testing.assert_series_equal(found.loc[:upto], whole.loc[:upto], check_exact=True)
        assert not (found.loc[upto:].iloc[1:] == whole.loc[upto:].iloc[1:]).any()


def test_a_week_with_fewer_bars_before_it_than_the_memory_is_not_decided(remembered):
    candles, features, whole = remembered
    monday = candles.index.get_loc(WEEKS[0])
    enough = monday - 1 - Remembers.lookback_bars
    for cut, silent in ((enough, False), (enough + 1, True)):
        found = asked(candles.iloc[cut:], features.iloc[cut:], WEEKS[0]).loc[WEEKS[0] :]
        first = found.index < WEEKS[1]
        assert found[first].isna().all() == silent
        pd.testing.assert_series_equal(found[~first], whole.loc[WEEKS[1] :], check_exact=True, check_freq=False)
        assert silent or found[first].equals(whole.loc[WEEKS[0] : WEEKS[1] - pd.Timedelta("1ns")])


def test_a_missing_feature_is_undecided_there_alone(remembered):
    candles, features, whole = remembered
    holed = features.copy()
    holed.iloc[120] = np.nan
    found = asked(candles, holed, WEEKS[0])
    assert list(found.index[found.isna()]) == [candles.index[121]]
    pd.testing.assert_series_equal(found.loc[: candles.index[120]], whole.loc[: candles.index[120]], check_exact=True)
