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

WEEK, NANOSECOND = pd.Timedelta(days=7), pd.Timedelta("1ns")
MONDAY = pd.Timestamp("2024-01-01", tz="UTC")
ACCOUNT = Account()
COSTLY = Costs(fee_bps=70, slippage_bps=30)
COLUMNS = ("target", "fill_price", "position", "turnover", "cost", "gross_return", "net_return")


def decisions_of(position, model_id="m"):
    return Decisions(position, pd.Series(model_id, position.index).where(position.notna(), ""))


@pytest.mark.parametrize("unit", ["ns", "us", "s"])
def test_a_version_decides_the_bars_that_open_at_or_after_its_as_of(unit):
    bars = pd.date_range(MONDAY, periods=4, freq="4h").as_unit(unit)
    at, later = bars[1].as_unit("ns"), bars[1].as_unit("ns") + pd.Timedelta("1ns")
    assert list(assign_versions(bars, [Version(at, "a")])) == [-1, 0, 0, 0]
    assert list(assign_versions(bars, [Version(later, "a")])) == [-1, -1, 0, 0]


def test_the_newest_version_decides_and_the_last_one_if_two_have_the_same_as_of():
    bars = pd.date_range(MONDAY, periods=6, freq="4h")
    versions = [Version(bars[0], "a"), Version(bars[2], "b"), Version(bars[2], "c"), Version(bars[5] + WEEK, "d")]
    assert [versions[i].model_id for i in assign_versions(bars, versions)] == ["a", "a", "c", "c", "c", "c"]
    assert list(assign_versions(bars, [])) == [-1] * 6
    assert list(assign_versions(bars[:0], versions)) == []


@pytest.mark.parametrize("seed", range(5))
def test_weekly_scores_join_into_the_account_of_one_simulation(walk, seed):
    """Positions of 0 or 1: a position kept over the border costs nothing, and no bar is lost between weeks."""
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
            {"s": decisions_of(target)},
            costs,
            ACCOUNT,
        )
        for k in range(3)
    ]
    scored = pd.concat(weeks)
    before = candles.index[candles.index < first][-1]
    position = target.fillna(0.0)[before]
    goals = target.fillna(0.0).loc[first:].rename("s")
    full_run = simulate(candles.loc[first:], goals, costs, ACCOUNT, position, candles.loc[before, "close"]).frame("s")
    assert scored.index.equals(full_run.loc[: scored.index[-1]].index)
    columns = ["fill_price", "position", "turnover", "cost", "gross_return", "net_return"]
    pd.testing.assert_frame_equal(scored[columns], full_run.loc[: scored.index[-1], columns], rtol=0, atol=1e-12)
    assert scored.loc[candles.index[84], "cost"] == 0
    pd.testing.assert_series_equal(scored["target"], target[scored.index], check_names=False, check_freq=False)


@pytest.mark.parametrize("seed", range(3))
def test_weekly_scores_join_if_nobody_traded_at_their_borders_or_for_a_whole_week(walk, seed):
    rng = np.random.default_rng(seed)
    candles = walk(43 * 4, seed)
    volume = rng.integers(0, 2, len(candles)).astype("float64")
    volume[0], volume[38:46], volume[84:126] = 1, 0, 0
    candles = candles.assign(volume=volume)
    target = pd.Series(rng.integers(0, 2, len(candles)).astype("float64"), candles.index)
    first, costs = MONDAY + WEEK, Costs(fee_bps=20, slippage_bps=10)
    ends = [first + (k + 1) * WEEK for k in range(3)]
    weeks = [
        score(candles.loc[: end - NANOSECOND], end - WEEK, {"s": decisions_of(target)}, costs, ACCOUNT) for end in ends
    ]
    scored = pd.concat(weeks)
    whole = simulate(candles.loc[: scored.index[-1]], target.loc[: scored.index[-1]].rename("s"), costs, ACCOUNT)
    expected = whole.frame("s").loc[first:]
    assert scored["fill_price"][scored.index[volume[42 : 42 + len(scored)] == 0]].isna().all()
    columns = ["fill_price", "turnover", "cost", "gross_return", "net_return"]
    pd.testing.assert_frame_equal(scored[columns], expected[columns], rtol=0, atol=1e-12, check_freq=False)


def test_bars_without_a_decision_are_flat_and_keep_their_missing_target(walk):
    candles = walk(84)
    target = pd.Series(1.0, candles.index)
    target.iloc[50:54] = np.nan
    rows = score(candles, MONDAY + WEEK, {"s": decisions_of(target)}, COSTLY, ACCOUNT)
    assert tuple(rows.columns) == ("strategy", "model_id", *COLUMNS)
    undecided = rows.iloc[8:12]
    assert undecided["target"].isna().all()
    assert (undecided["position"] == 0).all()
    assert (undecided["model_id"] == "").all()
    assert undecided["cost"].iloc[0] > 0, "leaving is paid for"
    assert (undecided["net_return"].iloc[1:] == 0).all()
    assert list(by_strategy(rows, "net_return").index) == [t for t in rows.index if t not in undecided.index]


def test_a_week_that_follows_no_decision_is_entered_flat(walk):
    candles = walk(84)
    target = pd.Series(1.0, candles.index[42:])
    first = score(candles, MONDAY + WEEK, {"s": decisions_of(target)}, COSTLY, ACCOUNT).iloc[0]
    assert first["fill_price"] == candles["open"].iloc[42] * (1 + 30 / 1e4)
    assert first["cost"] > 0
    target = pd.Series(1.0, candles.index[41:])
    first = score(candles, MONDAY + WEEK, {"s": decisions_of(target)}, COSTLY, ACCOUNT).iloc[0]
    assert np.isnan(first["fill_price"])
    assert first["net_return"] == pytest.approx(candles["close"].iloc[42] / candles["close"].iloc[41] - 1)


def test_strategies_are_scored_one_after_the_other_and_independently(walk):
    candles = walk(84)
    long, flat = pd.Series(1.0, candles.index), pd.Series(0.0, candles.index)
    rows = score(
        candles, MONDAY + WEEK, {"z": decisions_of(long, "v1"), "a": decisions_of(flat, "v2")}, COSTLY, ACCOUNT
    )
    assert list(rows["strategy"]) == ["z"] * 42 + ["a"] * 42
    assert list(rows["model_id"].unique()) == ["v1", "v2"]
    wide = by_strategy(rows, "net_return")
    assert list(wide.columns) == ["a", "z"]
    assert wide.index.is_monotonic_increasing
    assert (wide["a"] == 0).all()
    alone = score(candles, MONDAY + WEEK, {"z": decisions_of(long, "v1")}, COSTLY, ACCOUNT)
    pd.testing.assert_frame_equal(rows[rows["strategy"] == "z"], alone, check_freq=False)


def test_a_bar_scored_twice_is_refused(walk):
    rows = score(walk(84), MONDAY + WEEK, {"s": decisions_of(pd.Series(1.0, walk(84).index))}, COSTLY, ACCOUNT)
    with pytest.raises(ValueError, match="duplicate"):
        by_strategy(pd.concat([rows, rows.iloc[[5]]]), "net_return")


def test_a_week_without_bars_is_an_empty_score(walk):
    candles = walk(42)
    rows = score(candles, MONDAY + WEEK, {"s": decisions_of(pd.Series(1.0, candles.index))}, COSTLY, ACCOUNT)
    assert tuple(rows.columns) == ("strategy", "model_id", *COLUMNS)
    assert rows.empty
    assert by_strategy(rows, "net_return").empty


class ModelWithMemory:
    """Each position depends on all rows before it, so a missing, additional or changed row changes it."""

    lookback_bars, has_account = 30, True

    def positions(self, features):
        assert list(features.columns) == ["x", "open", "close"]
        complete = features.notna().all(axis=1)
        return ((features.fillna(0.0) * [7.1, 1.3, 2.9]).sum(axis=1).cumsum() % 1).where(complete)


WEEKS = [MONDAY + k * WEEK for k in range(2, 5)]


@pytest.fixture
def memory_case(walk):
    """Five weeks of candles, a feature, and the positions from the third week on, decided in one call."""
    candles = walk(42 * 5, 3)
    features = pd.DataFrame({"x": np.random.default_rng(3).normal(size=len(candles))}, candles.index)
    return candles, features, positions_from(candles, features, WEEKS[0])


def positions_from(candles, features, start):
    version = Version(MONDAY, "m")
    return decisions(candles, features, [version], start, lambda model_id: ModelWithMemory()).position


def test_positions_of_a_model_with_memory_depend_neither_on_the_start_nor_on_older_history(memory_case):
    candles, features, full_run = memory_case
    assert full_run.notna().all()
    assert full_run.nunique() > 100
    for cut in (0, 5, 11):
        for start in (WEEKS[0], WEEKS[1] + pd.Timedelta("3D 4h"), WEEKS[2], candles.index[-1]):
            positions = positions_from(candles.iloc[cut:], features.iloc[cut:], start)
            pd.testing.assert_series_equal(
                positions, full_run.loc[positions.index[0] :], check_exact=True, check_freq=False
            )


def test_weekly_decisions_of_a_model_with_memory_join_into_one_record(memory_case):
    """The bar before a week is decided in the week before it, by the account of that week."""
    candles, features, full_run = memory_case
    parts = [
        positions_from(c := candles.loc[: w + WEEK - pd.Timedelta("1ns")], features.loc[c.index], w) for w in WEEKS
    ]
    for week, part in zip(WEEKS, parts, strict=True):
        pd.testing.assert_series_equal(part, full_run.loc[part.index], check_exact=True, check_freq=False)
        assert part.index[1] == week
    assert len(pd.concat([parts[0], *(part.iloc[1:] for part in parts[1:])])) == len(full_run)


def test_the_live_position_of_a_bar_equals_the_shadow_score_of_its_week(memory_case):
    candles, features, full_run = memory_case
    for filled in full_run.loc[WEEKS[0] :].index:
        past = candles.loc[: filled - pd.Timedelta("1ns")]
        one = positions_at(
            ModelWithMemory(), past, features.loc[past.index], past.index[-1:], pd.DatetimeIndex([filled])
        )
        assert one == [full_run[filled]]


def test_a_model_with_memory_sees_no_bar_after_the_close_at_which_it_decides(memory_case):
    candles, features, full_run = memory_case
    for at in (90, 125, 126, 127, 180):
        wild_candles, wild_features = candles.copy(), features.copy()
        wild_candles.iloc[at:] *= 1.7
        wild_features.iloc[at:] += 5
        positions = positions_from(wild_candles, wild_features, WEEKS[0])
        upto = candles.index[at]
        pd.testing.assert_series_equal(positions.loc[:upto], full_run.loc[:upto], check_exact=True)
        assert not (positions.loc[upto:].iloc[1:] == full_run.loc[upto:].iloc[1:]).any()


def test_a_week_with_less_history_than_the_lookback_has_no_decision(memory_case):
    candles, features, full_run = memory_case
    monday = candles.index.get_loc(WEEKS[0])
    enough = monday - 1 - ModelWithMemory.lookback_bars
    for cut, undecided in ((enough, False), (enough + 1, True)):
        positions = positions_from(candles.iloc[cut:], features.iloc[cut:], WEEKS[0]).loc[WEEKS[0] :]
        first = positions.index < WEEKS[1]
        assert positions[first].isna().all() == undecided
        pd.testing.assert_series_equal(positions[~first], full_run.loc[WEEKS[1] :], check_exact=True, check_freq=False)
        assert undecided or positions[first].equals(full_run.loc[WEEKS[0] : WEEKS[1] - pd.Timedelta("1ns")])


def test_a_missing_feature_leaves_only_its_own_bar_undecided(memory_case):
    candles, features, full_run = memory_case
    holed = features.copy()
    holed.iloc[120] = np.nan
    positions = positions_from(candles, holed, WEEKS[0])
    assert list(positions.index[positions.isna()]) == [candles.index[121]]
    pd.testing.assert_series_equal(
        positions.loc[: candles.index[120]], full_run.loc[: candles.index[120]], check_exact=True
    )
