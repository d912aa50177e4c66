"""The fold over weeks: who is champion, what it may depend on, and what it must say."""

import json

import numpy as np
import pandas as pd
import pytest

from quantum_training.selection.champion import decide_weeks
from quantum_training.selection.rule import ImprovementRule

PERIODS = 2190
RULE = ImprovementRule(window_weeks=4)
NOISE = np.random.default_rng(5).normal(0, 0.01, 42)


def decide(scores, recipes=("a", "b"), rule=RULE):
    return list(decide_weeks(scores, recipes, rule, PERIODS))


def test_the_first_champion_is_the_best_of_those_that_beat_staying_flat_on_100_bars(history):
    decisions = decide(history(3, a=0.1, b=0.3, c=-0.2), "abc")
    assert [d.verdict for d in decisions] == ["INSUFFICIENT", "INSUFFICIENT", "PROMOTE"]
    assert [d.champion for d in decisions] == [None, None, "b"]
    assert decisions[2].former is None
    assert decisions[2].reason.startswith("b against staying flat: Sharpe ")
    assert {r: j.verdict for r, j in decisions[2].judgements.items()} == {
        "a": "PROMOTE",
        "b": "PROMOTE",
        "c": "CONTINUE",
    }
    assert (
        decisions[0].reason
        == "against staying flat: a: 42 of 100 paired bars; b: 42 of 100 paired bars; c: 42 of 100 paired bars"
    )


def test_recipes_that_lose_to_staying_flat_never_become_champion(history):
    decisions = decide(history(6, a=-0.1, b=-0.2))
    assert {d.champion for d in decisions} == {None}
    assert decisions[-1].verdict == "CONTINUE"


def test_a_better_challenger_takes_over_and_the_champion_is_not_judged_against_itself(history):
    decisions = decide(history(8, a=[0.3] * 3 + [-0.3] * 5, b=[-0.1] * 3 + [0.3] * 5))
    champions = [d.champion for d in decisions]
    assert champions[:4] == [None, None, "a", "a"]
    assert champions[-1] == "b"
    taken = next(d for d in decisions[3:] if d.verdict == "PROMOTE")
    assert (taken.former, taken.champion) == ("a", "b")
    assert taken.reason.startswith("b against a: Sharpe ")
    assert all(d.former not in d.judgements for d in decisions)
    assert [d.former for d in decisions[1:]] == champions[:-1]
    assert [d.verdict for d in decisions if d.champion != d.former] == ["PROMOTE", "PROMOTE"]


def test_baselines_are_in_the_record_and_never_candidates(history):
    decisions = decide(history(5, a=0.1))
    assert all(set(d.judgements) <= {"a"} for d in decisions)


def test_the_fold_is_pure(history):
    scores = history(12, a=0.05, b=0.1, c=-0.05)
    first = decide(scores, "abc")
    assert decide(scores, "abc") == first
    assert decide(dict(reversed(scores.items())), ["c", "a", "b"]) == first
    assert decide({week: frame.sample(frac=1, random_state=1) for week, frame in scores.items()}, "abc") == first
    assert len({d.champion for d in first}) > 1, "nothing ever happened"


def test_decisions_stay_when_later_weeks_are_added_or_changed(history):
    scores, other = history(12, a=0.05, b=0.1), history(12, seed=9, a=-0.4, b=0.6)
    weeks = list(scores)
    whole = decide(scores)
    for cut in range(1, 12):
        assert decide({w: scores[w] for w in weeks[:cut]}) == whole[:cut]
        assert decide({w: scores[w] if i < cut else other[w] for i, w in enumerate(weeks)})[:cut] == whole[:cut]
    assert decide(other) != whole


def test_only_the_weeks_of_the_window_are_evidence(history):
    decisions = decide(history(8, a=0.1, b=0.1))
    assert [len(d.evidence_weeks) for d in decisions] == [1, 2, 3, 4, 4, 4, 4, 4]
    assert decisions[-1].evidence_weeks == ["2024-02-05", "2024-02-12", "2024-02-19", "2024-02-26"]
    assert next(iter(decisions[-1].judgements.values())).bars == 4 * 42


def test_weeks_that_were_never_scored_are_named(history):
    scores = history(8, a=0.1, b=0.2)
    for week in ("2024-01-22", "2024-02-12"):
        del scores[week]
    by_week = {d.week: d for d in decide(scores)}
    assert set(by_week) == set(scores)
    assert by_week["2024-01-15"].missing_weeks == []
    assert by_week["2024-01-29"].missing_weeks == ["2024-01-22"]
    assert by_week["2024-02-19"].missing_weeks == ["2024-02-12"]  # the other has left the window
    assert by_week["2024-02-26"].evidence_weeks == ["2024-02-05", "2024-02-19", "2024-02-26"]


def test_bars_that_only_one_of_the_two_traded_are_dropped_and_counted(record):
    rng = np.random.default_rng(2)
    weeks = ["2024-01-08", "2024-01-15", "2024-01-22", "2024-01-29"]
    scores = {w: {"a": rng.normal(0.004, 0.01, 42), "b": rng.normal(0.002, 0.01, 42)} for w in weeks}
    scores[weeks[3]]["a"][:10] = np.nan
    scores[weeks[3]]["b"][5:20] = np.nan
    hold = {"buy_and_hold": NOISE}
    decisions = decide({w: record(w, {**r, **hold}) for w, r in scores.items()})
    assert decisions[2].champion == "a"
    judged = decisions[3].judgements["b"]
    assert (judged.bars, judged.unpaired_bars) == (4 * 42 - 20, 20)
    paired = [np.concatenate([scores[w][r] for w in weeks]) for r in "ba"]
    kept = np.isfinite(paired).all(axis=0)
    alone = RULE.judge(paired[0][kept], paired[1][kept], PERIODS)
    assert judged.sharpe == pytest.approx(alone.sharpe)
    assert judged.incumbent_sharpe == pytest.approx(alone.incumbent_sharpe)


def test_a_recipe_that_was_removed_is_no_champion_and_the_reason_names_it(history):
    scores = history(4, a=0.5, b=-0.1)
    assert decide(scores)[-1].champion == "a"
    decisions = decide(scores, ["b"])
    assert {d.champion for d in decisions} == {None}
    assert all(d.reason.endswith("; left out, no recipe of this symbol any more: a") for d in decisions)
    assert "left out" not in decide(scores)[-1].reason


def test_a_removed_recipe_is_no_longer_named_once_its_scores_have_left_the_window(history, record):
    scores = history(6, a=0.5, b=0.2)
    for week in list(scores)[2:]:
        scores[week] = scores[week][scores[week]["strategy"] != "a"]
    decisions = decide(scores, ["b"])
    assert ["left out" in d.reason for d in decisions] == [True] * 5 + [False]
    assert decisions[-1].champion == "b"


def test_no_recipe_at_all_is_insufficient_and_says_so(history):
    decision = decide(history(2, a=0.5), [])[-1]
    assert (decision.verdict, decision.champion) == ("INSUFFICIENT", None)
    assert "no challenger has been scored" in decision.reason
    assert decide({}) == []


def test_a_champion_without_any_decision_in_the_window_counts_as_flat_and_the_reason_says_so(history, record):
    scores = history(9, a=0.5, b=0.1)
    for week in list(scores)[4:]:
        values = {n: g["net_return"].to_numpy() for n, g in scores[week].groupby("strategy")}
        scores[week] = record(week, {**values, "a": np.full(42, np.nan)})
    decisions = decide(scores)
    assert decisions[3].champion == "a"
    taken = next(d for d in decisions if d.champion == "b")
    assert taken.reason.startswith("b against a (not scored in these weeks, so flat): ")
    assert taken.judgements["b"].incumbent_sharpe == 0.0


@pytest.mark.parametrize("value", [0.0, 0.002, np.nan])
def test_a_decision_is_plain_json_whatever_was_scored(record, value):
    weeks = pd.date_range("2024-01-08", periods=5, freq="7D").strftime("%Y-%m-%d")
    scores = {w: record(w, {"a": np.full(42, value), "b": NOISE, "buy_and_hold": NOISE}) for w in weeks}
    for decision in decide(scores):
        text = json.dumps(decision.model_dump(), allow_nan=False)
        assert type(decision).model_validate(json.loads(text)) == decision
    assert decide(scores)[-1].champion != "a"
