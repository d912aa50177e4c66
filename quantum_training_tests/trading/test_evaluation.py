"""The walk-forward record: its metrics, their first bar, the comparison with baselines, and the verdict."""

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
from quantum_training.trading.summary import summary

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
def evaluation(candles, targets):
    return evaluate(Market(candles, COSTS, ACCOUNT), targets, ["coin", "knows"], PERIODS)


def test_every_row_is_its_own_account(candles, targets, evaluation):
    for name in ("knows", BUY_AND_HOLD):
        alone = simulate(candles, targets[name], COSTS, ACCOUNT)
        assert evaluation.metrics[name]["bars"] == len(candles)
        assert evaluation.metrics[name]["total_return"] == pytest.approx(alone.equity[-1, 0] / 1e5 - 1, rel=1e-12)
        assert evaluation.metrics[name]["total_return_closed"] == pytest.approx(
            alone.closed_equity[0] / 1e5 - 1, rel=1e-12
        )
        assert evaluation.metrics[name]["cost"] == pytest.approx(alone.cost.sum() / 1e5, rel=1e-12)
        np.testing.assert_allclose(evaluation.equity[name], alone.equity[:, 0] / 1e5, rtol=1e-12)
    assert evaluation.metrics["knows"]["total_return"] > evaluation.metrics["knows"]["total_return_closed"]
    trades = evaluation.trades[evaluation.trades["strategy"] == "knows"]
    assert len(trades) == evaluation.metrics["knows"]["trades"]


def test_a_strategy_is_measured_from_its_first_decision_on(candles, targets, evaluation):
    coin = evaluation.metrics["coin"]
    assert coin["bars"] == 600
    assert coin["bars_without_decision"] == 10
    assert evaluation.equity["coin"].first_valid_index() == candles.index[300]
    late = evaluate(Market(candles.iloc[300:], COSTS, ACCOUNT), targets.iloc[300:], ["coin"], PERIODS)
    for name in ("sharpe", "max_drawdown", "turnover", "trades", "total_return", "cost"):
        assert late.metrics["coin"][name] == pytest.approx(coin[name], rel=1e-9), name
    same_bars = simulate(candles, targets[BUY_AND_HOLD], COSTS, ACCOUNT).net_return[300:, 0]
    assert coin["excess_return"] == pytest.approx(coin["total_return"] - (np.prod(1 + same_bars) - 1), rel=1e-9)


def test_flat_earns_nothing_and_has_no_sharpe_ratio(evaluation):
    flat = evaluation.metrics["flat"]
    assert (flat["total_return"], flat["max_drawdown"], flat["cost"], flat["trades"]) == (0, 0, 0, 0)
    assert flat["sharpe"] is None
    assert flat["reasons"]["sharpe"] == "no_variance"
    assert flat["sharpe_low"] is None


def test_intervals_contain_their_value_and_a_lead_is_the_difference_of_two_sharpe_ratios(evaluation):
    for name in ("knows", "coin", BUY_AND_HOLD, "ma_crossover"):
        values = evaluation.metrics[name]
        assert values["sharpe_low"] < values["sharpe"] < values["sharpe_high"]
    knows, passive = evaluation.metrics["knows"], evaluation.metrics[BUY_AND_HOLD]
    assert knows["sharpe_lead"] == pytest.approx(knows["sharpe"] - passive["sharpe"])
    assert 0 < knows["sharpe_lead_low"] < knows["sharpe_lead"] < knows["sharpe_lead_high"]
    assert passive["sharpe_lead"] is None
    assert evaluation.metrics["coin"]["sharpe_lead_low"] < 0 < evaluation.metrics["coin"]["sharpe_lead_high"]


def test_the_verdict_names_a_winner_only_if_the_lead_is_distinguishable(candles, targets, evaluation):
    assert evaluation.verdict["winner"] == "knows"
    assert evaluation.verdict["distinguishable"] is True
    assert evaluation.verdict["margin"] == evaluation.metrics["knows"]["sharpe_lead"]
    unclear = evaluate(Market(candles, COSTS, ACCOUNT), targets.drop(columns="knows"), ["coin"], PERIODS)
    assert unclear.verdict["distinguishable"] is False
    assert unclear.verdict["winner"] is None
    assert "not distinguishable" in unclear.verdict["text"]
    inverted = targets.assign(knows=1 - targets["knows"]).drop(columns="coin")
    hopeless = evaluate(Market(candles, COSTS, ACCOUNT), inverted, ["knows"], PERIODS)
    assert hopeless.verdict["winner"] == BUY_AND_HOLD
    assert hopeless.verdict["margin"] > 0


@pytest.mark.long
def test_the_luckiest_of_many_recipes_without_skill_seldom_wins(walk):
    """The best of ten without skill has a lead whose own 95 % interval misses 0 far more often than its family's."""
    alone, family = 0, 0
    for seed in range(25):
        candles, rng = walk(300, seed), np.random.default_rng(seed)
        coins = {f"coin{i}": (rng.random(300) < 0.5).astype(float) for i in range(10)}
        targets = pd.DataFrame({**coins, BUY_AND_HOLD: 1.0}, candles.index)
        free = Market(candles, Costs(fee_bps=0, slippage_bps=0), ACCOUNT)
        evaluation = evaluate(free, targets, list(coins), PERIODS)
        best = max(coins, key=lambda c: evaluation.metrics[c]["sharpe"])
        alone += evaluation.metrics[best]["sharpe_lead_low"] > 0
        family += evaluation.verdict["winner"] == best
    assert family < alone


def test_a_record_without_scores_or_with_a_hole_is_refused(candles, targets):
    with pytest.raises(ValueError, match="no bar was scored"):
        evaluate(Market(candles[:0], COSTS, ACCOUNT), targets[:0], ["coin"], PERIODS)
    torn = targets.assign(**{BUY_AND_HOLD: targets[BUY_AND_HOLD].where(targets.index != candles.index[0])})
    with pytest.raises(ValueError, match="buy_and_hold has no decision on the bar 2"):
        evaluate(Market(candles, COSTS, ACCOUNT), torn, ["coin"], PERIODS)


def test_without_a_scored_recipe_there_is_no_winner(candles, targets):
    alone = evaluate(Market(candles, COSTS, ACCOUNT), targets[[BUY_AND_HOLD]].assign(new=np.nan), ["new"], PERIODS)
    assert set(alone.metrics) == {BUY_AND_HOLD, "flat"}
    assert alone.verdict["winner"] is None
    assert alone.overfitting[0] is None
    assert not alone.random_sharpes
    assert "no recipe" in alone.verdict["text"]


def test_skill_beats_all_random_traders_and_a_coin_does_not(candles, targets, evaluation):
    assert len(evaluation.random_sharpes["knows"]) == RANDOM_TRADERS
    assert evaluation.metrics["knows"]["random_traders_beaten"] == 1
    assert 0.02 < evaluation.metrics["coin"]["random_traders_beaten"] < 0.98
    coin = evaluation.metrics["coin"]
    low, high = coin["random_sharpe_low"], coin["random_sharpe_high"]
    assert low < coin["random_sharpe_median"] < high
    inside = (evaluation.random_sharpes["coin"] >= low) & (evaluation.random_sharpes["coin"] <= high)
    assert inside.mean() == pytest.approx(0.9, abs=0.01)
    again = evaluate(Market(candles, COSTS, ACCOUNT), targets, ["coin", "knows"], PERIODS)
    assert np.array_equal(again.random_sharpes["coin"], evaluation.random_sharpes["coin"])
    assert again.metrics == evaluation.metrics


def test_the_sharpe_ratio_is_deflated_by_the_number_of_trials(candles, targets, evaluation):
    assert evaluation.metrics["knows"]["dsr"] <= evaluation.metrics["knows"]["psr"] <= 1
    assert 0 < evaluation.metrics["coin"]["dsr"] < evaluation.metrics["coin"]["psr"] < 1
    alone = evaluate(Market(candles, COSTS, ACCOUNT), targets.drop(columns="coin"), ["knows"], PERIODS)
    assert alone.metrics["knows"]["dsr"] == alone.metrics["knows"]["psr"]
    assert evaluation.overfitting == (0.0, None), "knowing the next close is best in every half"


def test_every_number_is_finite_or_none_with_a_reason(evaluation):
    json.dumps([evaluation.metrics, evaluation.verdict], allow_nan=False)
    for name, values in evaluation.metrics.items():
        without_reason = [k for k, v in values.items() if v is None and k not in values["reasons"]]
        assert without_reason == [], name


def test_the_table_ranks_by_sharpe_ratio_and_hides_nothing(evaluation):
    table = summary(evaluation)
    assert list(table.index[[0, -1]]) == ["knows", "flat"]
    assert set(table.index) == set(evaluation.metrics)
    cell = table.loc["knows", "sharpe [95 %]"]
    values = evaluation.metrics["knows"]
    assert cell == f"{values['sharpe']:.2f} [{values['sharpe_low']:.2f}, {values['sharpe_high']:.2f}]"
    assert table.loc["flat", "sharpe [95 %]"] == "no_variance"
