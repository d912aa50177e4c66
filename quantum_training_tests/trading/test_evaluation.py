"""The walk-forward record: what it measures, from when, against whom, and what it calls a win."""

import json

import numpy as np
import pandas as pd
import pytest

from quantum_training.trading.account import Account
from quantum_training.trading.baselines import BUY_AND_HOLD, ma_crossover
from quantum_training.trading.costs import Costs
from quantum_training.trading.episodes import Market
from quantum_training.trading.evaluation import RANDOM_TRADERS, evaluate
from quantum_training.trading.simulator import simulate
from quantum_training.trading.summary import sparkline, summary

COSTS, ACCOUNT, PERIODS = Costs(fee_bps=5, slippage_bps=1), Account(), 2190.0


@pytest.fixture(scope="module")
def candles(walk):
    return walk(900, 5)


@pytest.fixture(scope="module")
def targets(candles):
    """One recipe that knows the next close, one that tosses a coin and starts late with a hole, and two baselines."""
    knows = (candles["close"] > candles["open"]).astype("float64")
    tosses = np.random.default_rng(1).integers(0, 2, len(candles) // 10).astype("float64")
    coin = pd.Series(tosses.repeat(10), candles.index)
    coin.iloc[:300] = np.nan
    coin.iloc[500:510] = np.nan
    crossover = ma_crossover(candles["close"]).shift(1)
    return pd.DataFrame({"knows": knows, "coin": coin, BUY_AND_HOLD: 1.0, "ma_crossover": crossover})


@pytest.fixture(scope="module")
def found(candles, targets):
    return evaluate(Market(candles, COSTS, ACCOUNT), targets, ["coin", "knows"], PERIODS)


def test_every_row_is_its_own_account(candles, targets, found):
    for name in ("knows", BUY_AND_HOLD):
        alone = simulate(candles, targets[name], COSTS, ACCOUNT)
        assert found.metrics[name]["bars"] == len(candles)
        assert found.metrics[name]["total_return"] == pytest.approx(alone.equity[-1, 0] / 1e5 - 1, rel=1e-12)
        assert found.metrics[name]["total_return_closed"] == pytest.approx(alone.closed_equity[0] / 1e5 - 1, rel=1e-12)
        assert found.metrics[name]["cost"] == pytest.approx(alone.cost.sum() / 1e5, rel=1e-12)
        np.testing.assert_allclose(found.equity[name], alone.equity[:, 0] / 1e5, rtol=1e-12)
    assert found.metrics["knows"]["total_return"] > found.metrics["knows"]["total_return_closed"]
    own = found.trades[found.trades["strategy"] == "knows"]
    assert len(own) == found.metrics["knows"]["trades"]


def test_a_strategy_is_measured_from_its_first_decision_on(candles, targets, found):
    coin = found.metrics["coin"]
    assert coin["bars"] == 600
    assert coin["bars_without_decision"] == 10
    assert found.equity["coin"].first_valid_index() == candles.index[300]
    late = evaluate(Market(candles.iloc[300:], COSTS, ACCOUNT), targets.iloc[300:], ["coin"], PERIODS)
    for name in ("sharpe", "max_drawdown", "turnover", "trades", "total_return", "cost"):
        assert late.metrics["coin"][name] == pytest.approx(coin[name], rel=1e-9), name
    same_bars = simulate(candles, targets[BUY_AND_HOLD], COSTS, ACCOUNT).net_return[300:, 0]
    assert coin["excess_return"] == pytest.approx(coin["total_return"] - (np.prod(1 + same_bars) - 1), rel=1e-9)


def test_flat_earns_nothing_and_has_no_sharpe_ratio(found):
    flat = found.metrics["flat"]
    assert (flat["total_return"], flat["max_drawdown"], flat["cost"], flat["trades"]) == (0, 0, 0, 0)
    assert flat["sharpe"] is None
    assert flat["reasons"]["sharpe"] == "no_variance"
    assert flat["sharpe_low"] is None


def test_intervals_hold_their_value_and_a_lead_is_that_of_two_sharpe_ratios(found):
    for name in ("knows", "coin", BUY_AND_HOLD, "ma_crossover"):
        values = found.metrics[name]
        assert values["sharpe_low"] < values["sharpe"] < values["sharpe_high"]
    knows, passive = found.metrics["knows"], found.metrics[BUY_AND_HOLD]
    assert knows["sharpe_lead"] == pytest.approx(knows["sharpe"] - passive["sharpe"])
    assert 0 < knows["sharpe_lead_low"] < knows["sharpe_lead"] < knows["sharpe_lead_high"]
    assert passive["sharpe_lead"] is None
    assert found.metrics["coin"]["sharpe_lead_low"] < 0 < found.metrics["coin"]["sharpe_lead_high"]


def test_the_verdict_names_a_winner_only_where_there_is_one(candles, targets, found):
    assert found.verdict["winner"] == "knows"
    assert found.verdict["distinguishable"] is True
    assert found.verdict["margin"] == found.metrics["knows"]["sharpe_lead"]
    unclear = evaluate(Market(candles, COSTS, ACCOUNT), targets.drop(columns="knows"), ["coin"], PERIODS)
    assert unclear.verdict["distinguishable"] is False
    assert unclear.verdict["winner"] is None
    assert "not distinguishable" in unclear.verdict["text"]
    inverted = targets.assign(knows=1 - targets["knows"]).drop(columns="coin")
    hopeless = evaluate(Market(candles, COSTS, ACCOUNT), inverted, ["knows"], PERIODS)
    assert hopeless.verdict["winner"] == BUY_AND_HOLD
    assert hopeless.verdict["margin"] > 0


@pytest.mark.long
def test_luck_among_many_recipes_is_no_victory(walk):
    """The best of ten without skill has a lead whose own 95 % interval misses 0 far more often than its family's."""
    alone, family = 0, 0
    for seed in range(25):
        candles, rng = walk(300, seed), np.random.default_rng(seed)
        coins = {f"coin{i}": (rng.random(300) < 0.5).astype(float) for i in range(10)}
        targets = pd.DataFrame({**coins, BUY_AND_HOLD: 1.0}, candles.index)
        free = Market(candles, Costs(fee_bps=0, slippage_bps=0), ACCOUNT)
        found = evaluate(free, targets, list(coins), PERIODS)
        best = max(coins, key=lambda c: found.metrics[c]["sharpe"])
        alone += found.metrics[best]["sharpe_lead_low"] > 0
        family += found.verdict["winner"] == best
    assert family < alone


def test_a_record_that_was_never_scored_or_only_in_part_is_refused(candles, targets):
    with pytest.raises(ValueError, match="no bar was scored"):
        evaluate(Market(candles[:0], COSTS, ACCOUNT), targets[:0], ["coin"], PERIODS)
    torn = targets.assign(**{BUY_AND_HOLD: targets[BUY_AND_HOLD].where(targets.index != candles.index[0])})
    with pytest.raises(ValueError, match="buy_and_hold has no decision on the bar 2"):
        evaluate(Market(candles, COSTS, ACCOUNT), torn, ["coin"], PERIODS)


def test_without_a_recipe_there_is_nobody_to_judge(candles, targets):
    alone = evaluate(Market(candles, COSTS, ACCOUNT), targets[[BUY_AND_HOLD]].assign(new=np.nan), ["new"], PERIODS)
    assert set(alone.metrics) == {BUY_AND_HOLD, "flat"}
    assert alone.verdict["winner"] is None
    assert alone.overfitting[0] is None
    assert not alone.random_sharpes
    assert "no recipe" in alone.verdict["text"]


def test_random_traders_are_beaten_by_knowledge_and_not_by_a_coin(candles, targets, found):
    assert len(found.random_sharpes["knows"]) == RANDOM_TRADERS
    assert found.metrics["knows"]["random_traders_beaten"] == 1
    assert 0.02 < found.metrics["coin"]["random_traders_beaten"] < 0.98
    coin = found.metrics["coin"]
    low, high = coin["random_sharpe_low"], coin["random_sharpe_high"]
    assert low < coin["random_sharpe_median"] < high
    inside = (found.random_sharpes["coin"] >= low) & (found.random_sharpes["coin"] <= high)
    assert inside.mean() == pytest.approx(0.9, abs=0.01)
    again = evaluate(Market(candles, COSTS, ACCOUNT), targets, ["coin", "knows"], PERIODS)
    assert np.array_equal(again.random_sharpes["coin"], found.random_sharpes["coin"])
    assert again.metrics == found.metrics


def test_trials_deflate(candles, targets, found):
    assert found.metrics["knows"]["dsr"] <= found.metrics["knows"]["psr"] <= 1
    assert 0 < found.metrics["coin"]["dsr"] < found.metrics["coin"]["psr"] < 1
    alone = evaluate(Market(candles, COSTS, ACCOUNT), targets.drop(columns="coin"), ["knows"], PERIODS)
    assert alone.metrics["knows"]["dsr"] == alone.metrics["knows"]["psr"]
    assert found.overfitting == (0.0, None), "knowing the next close is best in every half"


def test_every_number_is_finite_or_none_with_a_reason(found):
    json.dumps([found.metrics, found.verdict], allow_nan=False)
    for name, values in found.metrics.items():
        silent = [k for k, v in values.items() if v is None and k not in values["reasons"]]
        assert silent == [], name


def test_the_table_ranks_by_sharpe_ratio_and_hides_nothing(found):
    table = summary(found)
    assert list(table.index[[0, -1]]) == ["knows", "flat"]
    assert set(table.index) == set(found.metrics)
    shown = table.loc["knows", "sharpe [95 %]"]
    values = found.metrics["knows"]
    assert shown == f"{values['sharpe']:.2f} [{values['sharpe_low']:.2f}, {values['sharpe_high']:.2f}]"
    assert table.loc["flat", "sharpe [95 %]"] == "no_variance"


def test_a_sparkline_rises_with_the_equity():
    assert sparkline(pd.Series(np.arange(1.0, 9.0))) == "▁▂▃▄▅▆▇█"
    assert sparkline(pd.Series([1.0] * 3)) == "▁▁▁"
    assert sparkline(pd.Series([1.0])) == "▁"
    assert len(sparkline(pd.Series(np.arange(1000.0)))) == 24
