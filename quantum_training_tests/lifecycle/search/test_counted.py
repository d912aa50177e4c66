"""The number of effective trials of simulated searches whose number of independent strategies is known."""

import numpy as np
import pytest
from sklearn.metrics import silhouette_samples

from quantum_training.lifecycle.search.counted import correlations, count_trials, effective_trials, silhouettes, whole
from quantum_training.lifecycle.search.study import FinishedTrial
from quantum_training.trading.uncertainty import deflated_sharpe


def groups(number, members, correlation, rng, bars=500):
    """Noise of `number` independent groups of `members` strategies, (bars, strategies), in random order."""
    common = np.repeat(rng.standard_normal((bars, number)), members, axis=1)
    own = rng.standard_normal((bars, number * members))
    return (np.sqrt(correlation) * common + np.sqrt(1 - correlation) * own)[:, rng.permutation(number * members)]


def effective(returns):
    return effective_trials(correlations([*returns.T])).number


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    ("number", "members", "correlation"),
    [(2, 20, 0.5), (3, 4, 0.5), (5, 10, 0.3), (5, 10, 0.9), (10, 5, 0.7), (20, 5, 0.7)],
)
def test_groups_of_correlated_trials_are_counted_once_each(number, members, correlation, seed):
    rng = np.random.default_rng([number, members, seed])
    returns = groups(number, members, correlation, rng)
    assert effective(returns) == number
    market = rng.standard_normal((len(returns), 1))
    assert effective(returns + market) == number, "what all have in common makes no groups"


@pytest.mark.parametrize("seed", range(3))
def test_independent_trials_count_in_full_also_beside_groups(seed):
    rng = np.random.default_rng(seed)
    assert effective(rng.standard_normal((500, 40))) == pytest.approx(40, abs=0.5)
    mixed = np.hstack([groups(5, 8, 0.6, rng), rng.standard_normal((500, 20))])
    assert effective(mixed) == pytest.approx(25, abs=0.5)
    uneven = np.hstack([groups(1, members, 0.6, rng) for members in (30, 5, 2)])
    assert effective(uneven) == 3


def test_trials_without_groups_are_counted_by_their_mean_correlation():
    rng = np.random.default_rng(0)
    for correlation in (0.5, 0.9):
        expected = correlation + (1 - correlation) * 40
        assert effective(groups(1, 40, correlation, rng, 3000)) == pytest.approx(expected, abs=1.5)


def test_equal_trials_are_one():
    rng = np.random.default_rng(0)
    assert effective(np.repeat(rng.standard_normal((200, 1)), 9, axis=1)) == 1
    two = effective_trials(correlations([*np.repeat(rng.standard_normal((200, 2)), 9, axis=1).T]))
    assert two.number == pytest.approx(2, abs=0.2)
    assert sorted(map(len, two.groups)) == [9, 9]
    flat = np.zeros((200, 3))
    assert effective(flat) == 1


def test_silhouettes_are_those_of_scikit_learn():
    rng = np.random.default_rng(0)
    distance = np.abs(rng.standard_normal((30, 30)))
    distance = distance + distance.T
    np.fill_diagonal(distance, 0)
    labels = np.r_[rng.integers(0, 4, 29), 9]  # one group of one
    assert silhouettes(distance, labels) == pytest.approx(silhouette_samples(distance, labels, metric="precomputed"))


def trial(number, net, state="complete"):
    return FinishedTrial(number, {}, state, None, None, net)


def test_a_search_is_judged_by_all_of_its_trials():
    rng = np.random.default_rng(1)
    trials = [trial(n, net) for n, net in enumerate(groups(4, 5, 0.8, rng).T * 0.01)]
    best = max(trials, key=lambda t: t.net.mean() / t.net.std())
    count = count_trials(trials, best)
    assert count.effective.number == 4
    assert [len(group) for group in count.effective.groups] == [5, 5, 5, 5]
    assert count.overfitting[0] > 0.2
    assert count.deflated_sharpe == deflated_sharpe(best.net, 4, count.variance)
    assert count.deflated_sharpe[0] < deflated_sharpe(best.net, 1, count.variance)[0]


def test_a_pruned_trial_counts_on_the_bars_that_it_has():
    rng = np.random.default_rng(2)
    nets = [*groups(3, 4, 0.8, rng).T]
    whole_trials = [trial(n, net) for n, net in enumerate(nets)]
    pruned = [trial(12, rng.standard_normal(200), "pruned"), trial(13, nets[0][:200], "pruned")]
    count = count_trials([*whole_trials, *pruned], whole_trials[0])
    assert count.effective.number == 4
    assert count.overfitting == count_trials(whole_trials, whole_trials[0]).overfitting


def test_a_number_is_rounded_up():
    assert [whole(number) for number in (1.0, 4.000000000001, 4.1)] == [1, 4, 5]
