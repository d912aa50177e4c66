"""A/B tests: who trades when, what the blocks show, and how often equal skill is called a winner."""

import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError
from scipy.stats import binomtest

from quantum_training.selection.ab import ABTest, complete_pairs, registered_test, report
from quantum_training.selection.hash_chain import Entry, chain

START = pd.Timestamp("2024-01-01", tz="UTC")
DAY = pd.Timedelta(days=1)


def plan(blocks=56, block_days=1, first=True, pairs=None):
    return ABTest(
        week="2024-01-01",
        champion="a",
        challenger="b",
        share=0.05,
        start=START,
        block_days=block_days,
        blocks=blocks,
        pairs=pairs or blocks // 2,
        challenger_first=first,
    )


def returns(test, champion, challenger, bars=1, seed=0):
    """Net returns per bar around these means; the loser's blocks of the other arm must not count."""
    rng = np.random.default_rng(seed)
    index = pd.date_range(START, periods=test.blocks * test.block_days * bars, freq=DAY / bars, name="open_time")
    return pd.DataFrame(
        {"a": rng.normal(champion, 0.01, len(index)), "b": rng.normal(challenger, 0.01, len(index))}, index
    )


def mondays(test):
    return [START + 7 * k * DAY for k in range(1, test.blocks * test.block_days // 7 + 1)]


@pytest.mark.parametrize("first", [True, False])
def test_blocks_alternate_from_the_start_to_the_end(first):
    test = plan(blocks=42, block_days=2, first=first)
    assert test.end == START + 84 * DAY
    assert [test.block(START + h * pd.Timedelta("1h")) for h in (-1, 0, 47, 48, 84 * 24 - 1, 84 * 24)] == [
        None,
        0,
        0,
        1,
        41,
        None,
    ]
    assert [test.arm(block) for block in range(4)] == (["b", "a"] * 2 if first else ["a", "b"] * 2)


def test_the_hash_of_the_ledger_row_decides_who_begins():
    def row(reason):
        payload = plan().model_dump(mode="json", exclude={"challenger_first"})
        entry = {"key": reason, "kind": "ab_test", "effective": START, "actor": "ann", "reason": reason}
        return chain(None, Entry(symbol="AAA", payload=payload, **entry))

    rows = [row(str(i)) for i in range(20)]
    assert [registered_test(r).challenger_first for r in rows] == [int(r.hash[-1], 16) % 2 == 1 for r in rows]
    assert {registered_test(r).challenger_first for r in rows} == {True, False}
    assert registered_test(rows[0]) == plan(first=registered_test(rows[0]).challenger_first)


def test_too_few_pairs_are_refused():
    with pytest.raises(ValidationError, match="19 pairs of blocks with bars in both, 20 needed; take more weeks"):
        plan(blocks=40, pairs=19)


def test_only_pairs_with_bars_in_both_blocks_count():
    weekdays = pd.bdate_range("2024-01-01", "2024-01-14", tz="UTC")  # days 5, 6, 12, 13 are weekends
    assert list(complete_pairs(START, DAY, 14, weekdays)) == [0, 1, 4, 5]
    assert list(complete_pairs(START, DAY, 4, weekdays)) == [0, 1]
    test = plan(blocks=70, pairs=25)
    net = returns(test, 0.0, 0.0)
    weekly = report(test, net[net.index.dayofweek < 5], mondays(test))
    assert weekly.pairs == 20
    assert report(test, net, mondays(test)).pairs > 20


def test_each_recipe_counts_only_in_its_own_blocks():
    test = plan()
    net = returns(test, 0.0, 0.0)
    other = net.copy()
    blocks = (net.index - START) // DAY
    other.loc[blocks % 2 == 0, "a"] = 9.0
    other.loc[blocks % 2 == 1, "b"] = -9.0
    assert report(test, other, mondays(test)) == report(test, net, mondays(test))
    assert report(test, other, mondays(test)).mean == pytest.approx(net["b"][::2].mean() - net["a"][1::2].mean())


@pytest.mark.parametrize(("champion", "challenger", "winner"), [(0.0, 0.02, "b"), (0.02, 0.0, "a")])
def test_a_clear_winner_is_named_at_a_look_and_stays(champion, challenger, winner):
    test = plan()
    net = returns(test, champion, challenger)
    reports = [report(test, net, mondays(test)[:looks]) for looks in range(1, 9)]
    assert [f.winner for f in reports[:5]] == [None] * 5
    assert reports[4].verdict == "17 of 28 pairs of blocks; the first look is at 20"
    called = next(f for f in reports if f.winner)
    assert called.winner == winner
    assert called.verdict.startswith(f"{winner} is better: z ")
    assert reports[-1] == called
    assert report(test, net.iloc[:0], []).verdict == "no pair of blocks is over"


def test_bars_after_a_look_change_nothing_at_it():
    test = plan()
    calm, wild = returns(test, 0.0, 0.0), returns(test, 0.0, 0.0)
    wild.iloc[42:] += 1.0
    assert report(test, calm, mondays(test)[:6]) == report(test, wild, mondays(test)[:6])
    assert report(test, calm, mondays(test)) != report(test, wild, mondays(test))


@pytest.mark.long
def test_with_equal_skill_a_winner_is_called_in_at_most_one_of_20():
    """2,000 worlds of fat tails, one half of each recipe's variance shared; the upper 95 % bound is 6.5 %."""
    test, rng = plan(), np.random.default_rng(11)
    index = pd.date_range(START, periods=56, freq="D", name="open_time")
    called = 0
    for _ in range(2000):
        idiosyncratic, shared = rng.standard_t(5, (56, 2)), rng.standard_t(5, (56, 1))
        net = pd.DataFrame(0.01 * (idiosyncratic + shared), index, ["a", "b"])
        called += report(test, net, mondays(test)[5:]).winner is not None
    assert called / 2000 <= 0.05
    assert binomtest(called, 2000).proportion_ci(0.95, "exact").high <= 0.065
    assert called > 40, "the test has no power at all"
