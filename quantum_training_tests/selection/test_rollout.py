"""The share of capital: every edge of the state machine, and its invariants."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from quantum_training.selection.position_limits import guard, position
from quantum_training.selection.rollout import BLOCKING, fold
from quantum_training.selection.rollout_policy import Order, RolloutPolicy
from quantum_training_tests.support import records

POLICY = RolloutPolicy()
NO_RETURNS = pd.Series(dtype="float64", index=pd.DatetimeIndex([], tz="UTC"))
HARM = records.harm(z=0.1)


def weeks(count, first="2024-01-01"):
    return list(pd.date_range(first, periods=count, freq="7D").strftime("%Y-%m-%d"))


def decided(champions, harm=None):
    """Decisions of consecutive weeks; `harm`: by number of the week."""
    return {
        week: records.decision(week, champion, harm=(harm or {}).get(i))
        for i, (week, champion) in enumerate(zip(weeks(len(champions)), champions, strict=True))
    }


def change(decisions, week, **fields):
    decisions[week] = decisions[week].model_copy(update=fields)


def calm(decisions):
    return dict.fromkeys(decisions, "NONE")


def daily(count, losses=None):
    """Returns of days from 2024-01-01 on, 0 but for `losses` by number of the day."""
    series = pd.Series(0.0, pd.date_range("2024-01-01", periods=count, tz="UTC"))
    for day, loss in (losses or {}).items():
        series.iloc[day] = -loss
    return series


def run(decisions, drift=None, returns=NO_RETURNS, policy=POLICY, orders=()):
    return list(fold(decisions, calm(decisions) if drift is None else drift, returns, policy, orders))


def shares(stages):
    return [stage.share for stage in stages]


def order(day, kind="reset", share=None, recipe="a"):
    """Given on that day in its own week."""
    at = datetime.fromisoformat(day).replace(tzinfo=UTC)
    week = str(at.date() - timedelta(days=at.weekday()))
    return Order(
        week=week, effective=at, kind=kind, recipe=recipe, share=share, actor="ann", reason="seen and accepted"
    )


def test_the_allocation_rises_stage_by_stage_from_0_to_the_ceiling():
    stages = run(decided(["a"] * 8))
    assert shares(stages) == [0.0, 0.01, 0.05, 0.05, 0.10, 0.10, 0.10, 0.10]
    assert [s.change for s in stages] == [None, "step", "step", "hold", "step", "hold", "hold", "hold"]
    assert [s.days for s in stages] == [0, 0, 0, 7, 0, 7, 14, 21]
    assert stages[0].reason == "a begins in the shadow"
    assert stages[0].next_step == "1 % from 2024-01-08 on, with drift below SEVERE and no harm building"
    assert stages[1].reason == "0 % to 1 %: 7 of 7 days; drift NONE; harm is not tested in this week"
    assert stages[3].reason == "stays at 5 %: 7 of 14 days"
    assert stages[2].next_step.startswith("10 % from 2024-01-29 on")
    assert stages[4].next_step == "none: the last stage"


def test_without_a_champion_the_allocation_is_0():
    stages = run(decided([None, None]))
    assert shares(stages) == [0.0, 0.0]
    assert {(s.change, s.reason, s.next_step, s.worst_day) for s in stages} == {
        (None, "no champion", "a champion", None)
    }


@pytest.mark.parametrize(
    ("after", "reason"),
    [("b", "a left office; b begins in the shadow"), (None, "a left office; no champion")],
)
def test_a_change_of_champion_sets_the_allocation_to_0(after, reason):
    stages = run(decided(["a", "a", "a", after, after]))
    assert shares(stages)[2:4] == [0.05, 0.0]
    assert (stages[3].change, stages[3].reason) == ("back", reason)
    assert stages[4].share == (0.01 if after else 0.0)


def test_a_returning_champion_starts_the_rollout_again():
    assert shares(run(decided(["a", "a", "a", "b", "a", "a"]))) == [0.0, 0.01, 0.05, 0.0, 0.0, 0.01]


def test_a_change_of_champion_at_allocation_0_is_no_reduction():
    assert [s.change for s in run(decided(["a", "b", "b"]))] == [None, None, "step"]


def test_a_refresh_of_the_same_recipe_changes_nothing():
    decisions = decided(["a"] * 5)
    versions = {week: decision.model_copy(update={"model_id": week}) for week, decision in decisions.items()}
    assert run(versions) == run(decisions)


@pytest.mark.parametrize(("severity", "steps"), [("MINOR", 1), ("MODERATE", 1), ("SEVERE", 0), ("CRITICAL", 0)])
def test_severe_drift_delays_the_next_stage_and_milder_drift_does_not(severity, steps):
    decisions = decided(["a", "a"])
    stage = run(decisions, {**calm(decisions), "2024-01-08": severity})[1]
    assert stage.stage == steps
    assert f"drift {severity}" in stage.reason


def test_severe_drift_reduces_nothing_and_the_next_stage_follows_it():
    decisions = decided(["a"] * 4)
    assert shares(run(decisions, {**calm(decisions), "2024-01-15": "SEVERE"})) == [0.0, 0.01, 0.01, 0.05]


def test_broken_data_set_the_allocation_to_0_and_the_stage_starts_again_after_them():
    decisions = decided(["a"] * 6)
    drift = {**calm(decisions), "2024-01-15": "CRITICAL", "2024-01-22": "CRITICAL"}
    stages = run(decisions, drift)
    assert shares(stages) == [0.0, 0.01, 0.0, 0.0, 0.01, 0.05]
    assert [s.change for s in stages] == [None, "step", "stop", "stop", "hold", "step"]
    assert stages[2].reason == "halted at 0 %: the data of the week are broken, drift CRITICAL"
    assert stages[2].next_step == "1 % again in a week whose drift is below CRITICAL"
    assert stages[4].reason == "stays at 1 %: 0 of 7 days"


def test_the_allocation_of_a_pinned_champion_with_a_fault_is_0():
    decisions = decided(["a"] * 4)
    change(decisions, "2024-01-15", faults={"a": ["a cannot be loaded"], "b": []})
    stages = run(decisions)
    assert shares(stages) == [0.0, 0.01, 0.0, 0.01]
    assert (stages[2].change, stages[2].reason) == ("back", "operational fault: a cannot be loaded")
    change(decisions, "2024-01-15", faults={"a": [], "b": ["b cannot be loaded"]})
    assert shares(run(decisions)) == [0.0, 0.01, 0.05, 0.05], "another's fault is not its own"


@pytest.mark.parametrize(("choice", "share"), [("hold", 0.0), ("step", 0.01)])
def test_a_week_without_a_drift_test_allows_the_next_stage_only_if_the_policy_says_so(choice, share):
    stage = run(decided(["a", "a"]), {}, policy=RolloutPolicy(without_drift_report=choice))[1]
    assert stage.share == share
    assert "drift was not measured" in stage.reason
    assert stage.next_step.startswith("1 % from 2024-01-15 on" if share == 0 else "5 % from 2024-01-15 on")


@pytest.mark.parametrize(("z", "share"), [(0.99, 0.01), (1.0, 0.0), (3.0, 0.0), (None, 0.01)])
def test_harm_near_its_boundary_delays_the_next_stage(z, share):
    stage = run(decided(["a", "a"], {1: records.harm(z=z)}))[1]
    assert stage.share == share
    assert ("harm is not tested" if z is None else f"harm z {z:.2f} of 2.00") in stage.reason


def test_the_policy_sets_the_fraction_of_the_harm_boundary():
    decisions = decided(["a", "a"], {1: records.harm(z=1.5)})
    assert shares(run(decisions, policy=RolloutPolicy(harm_fraction=0.8))) == [0.0, 0.01]


def test_proven_harm_sets_the_allocation_of_a_pinned_champion_to_0():
    harm = records.harm(z=2.1, reason="worse than b: z 2.10 of 2.00")
    stages = run(decided(["a"] * 5, {2: harm, 3: harm}))
    assert shares(stages) == [0.0, 0.01, 0.0, 0.0, 0.01]
    assert [s.change for s in stages[2:4]] == ["back", "hold"]
    assert "harm is shown: worse than b" in stages[2].reason


@pytest.mark.parametrize(
    ("losses", "message"),
    [
        ({15: 0.10}, "lost 10.0% on 2024-01-16, the limit is 10.0%"),
        ({8: 0.09, 9: 0.09, 15: 0.095}, "fell 25.1% below its peak, the limit is 25.0%"),
    ],
)
def test_the_risk_guard_sets_the_allocation_to_0_until_a_reset(losses, message):
    stages = run(decided(["a"] * 8), returns=daily(60, losses))
    assert shares(stages) == [0.0, 0.01, 0.05] + [0.0] * 5
    assert {s.change for s in stages[3:]} == {"stop"}
    assert all(s.stopped == message and message in s.reason for s in stages[3:])
    assert stages[-1].next_step == "another champion, or an operator's reset"


def test_a_loss_at_allocation_0_stops_the_rollout_too_if_it_reaches_the_limit():
    assert shares(run(decided(["a"] * 3), returns=daily(30, {1: 0.2}))) == [0.0, 0.0, 0.0]
    assert shares(run(decided(["a"] * 3), returns=daily(30, {1: 0.0999}))) == [0.0, 0.01, 0.05]


def test_the_returns_of_the_monday_itself_are_not_used():
    stages = run(decided(["a"] * 4), returns=daily(30, {14: 0.5}))
    assert shares(stages) == [0.0, 0.01, 0.05, 0.0]
    assert stages[2].worst_day == 0.0


def test_losses_before_its_promotion_do_not_count_against_the_champion():
    stages = run(decided(["a", "b", "b"]), returns=daily(30, {6: 0.5}))
    assert stages[2].share == 0.01
    assert stages[2].worst_day == 0.0


def test_a_new_champion_ends_the_stop():
    stages = run(decided(["a", "a", "b", "b"]), returns=daily(30, {1: 0.2}))
    assert shares(stages) == [0.0, 0.0, 0.0, 0.01]
    assert stages[2].stopped is None


def test_a_reset_restarts_at_0_and_ignores_only_earlier_losses():
    decisions, returns = decided(["a"] * 8), daily(60, {8: 0.2, 9: 0.3, 15: 0.2})
    stages = run(decisions, returns=returns, orders=[order("2024-01-17T10:00")])
    assert [s.change for s in stages[:5]] == [None, "step", "back", "step", "step"]
    assert shares(stages)[:5] == [0.0, 0.01, 0.0, 0.01, 0.05]
    assert stages[2].reason == "reset ordered by ann: seen and accepted"
    again = run(decisions, returns=daily(60, {8: 0.2, 18: 0.2}), orders=[order("2024-01-17T10:00")])
    assert shares(again)[2:5] == [0.0, 0.0, 0.0]
    assert "2024-01-19" in again[3].stopped


def test_a_reset_entered_for_a_past_week_ignores_the_losses_of_that_week_only():
    late = order("2024-01-17").model_copy(update={"effective": datetime(2026, 1, 1, tzinfo=UTC)})
    stages = run(decided(["a"] * 6), returns=daily(60, {8: 0.2, 20: 0.2, 22: 0.2}), orders=[late])
    assert shares(stages) == [0.0, 0.01, 0.0, 0.01, 0.0, 0.0]
    assert "2024-01-23" in stages[4].stopped


def test_an_order_raises_the_ceiling_and_the_stages_still_come_one_at_a_time():
    policy = RolloutPolicy(stages=(0, 0.05, 0.1, 0.2, 0.4), min_days=(7, 7, 7, 7))
    decisions = decided(["a"] * 9)
    assert max(shares(run(decisions, policy=policy))) == 0.1
    assert run(decisions, policy=policy)[-1].reason == "stays at 10 %: 20 % is above the ceiling of 10 %"
    assert run(decisions, policy=policy)[-1].next_step == "20 % by an operator's order of that ceiling"
    stages = run(decisions, policy=policy, orders=[order("2024-01-24T10:00", "ceiling", 0.4)])
    assert shares(stages) == [0.0, 0.05, 0.1, 0.1, 0.2, 0.4, 0.4, 0.4, 0.4]
    assert "ceiling 40 % ordered by ann" in stages[3].reason


def test_a_lower_ceiling_reduces_at_once_and_ends_with_the_champion():
    lower = order("2024-01-24T10:00", "ceiling", 0.01)
    stages = run(decided(["a"] * 5 + ["b"] * 5), orders=[lower])
    assert shares(stages) == [0.0, 0.01, 0.05, 0.01, 0.01, 0.0, 0.01, 0.05, 0.05, 0.10]
    assert stages[3].change == "back"


def test_an_order_for_another_champion_or_from_before_the_promotion_has_no_effect():
    decisions = decided(["a"] * 4)
    orders = [order("2024-01-17", recipe="b"), order("2023-12-27"), order("2024-02-20")]
    assert run(decisions, orders=orders) == run(decisions)


def test_the_kill_switch_keeps_the_allocation_at_0():
    stages = run(decided(["a"] * 4), policy=RolloutPolicy(kill_switch=True))
    assert shares(stages) == [0.0] * 4
    assert {(s.change, s.reason, s.next_step) for s in stages[1:]} == {
        ("stop", "the kill switch is on", "the kill switch off")
    }


def test_a_week_without_a_decision_is_named_and_delays_the_next_stage():
    decisions = decided(["a"] * 4)
    del decisions["2024-01-08"]
    stages = run(decisions)
    assert shares(stages) == [0.0, 0.0, 0.01]
    assert stages[1].reason == "stays at 0 %: the week before was never decided"


def test_a_return_that_is_no_number_is_refused():
    with pytest.raises(ValueError, match=r"2024-01-03.* is no number"):
        run(decided(["a"]), returns=daily(5, {2: np.nan}))


@pytest.mark.parametrize(
    ("returns", "worst", "drawdown"),
    [([0.1, -0.05, -0.1, 0.2], 0.1, 1 - 0.95 * 0.9), ([0.01, 0.02], 0.0, 0.0), ([-0.03], 0.03, 0.03)],
)
def test_the_risk_guard_measures_the_worst_day_and_the_drawdown(returns, worst, drawdown):
    losses = guard(pd.Series(returns, pd.date_range("2024-01-01", periods=len(returns))), POLICY)
    assert (losses.worst_day, losses.drawdown) == (pytest.approx(worst), pytest.approx(drawdown))
    assert guard(NO_RETURNS, POLICY) == (None, None, None)


@pytest.mark.parametrize(
    ("target", "share", "size"), [(0.5, 0.1, 0.05), (1.0, 0.25, 0.1), (-1.0, 0.25, -0.1), (0.0, 0.1, 0.0), (1, 0, 0)]
)
def test_a_position_is_the_targets_share_cut_on_both_sides(target, share, size):
    assert position(target, share, POLICY) == pytest.approx(size)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"stages": (0.01, 0.05), "min_days": (7,)}, "must rise from 0"),
        ({"stages": (0, 0.05, 0.05), "min_days": (7, 7)}, "must rise from 0"),
        ({"min_days": (7, 7)}, "4 stages need 3 min_days"),
        ({"min_days": (7, 6, 7)}, "greater than or equal to 7"),
        ({"stages": (0, 1.5), "min_days": (7,)}, "less than or equal to 1"),
        ({"max_daily_loss": 0}, "greater than 0"),
        ({"speed": 2}, "Extra inputs"),
    ],
)
def test_a_wrong_policy_is_refused(wrong, message):
    with pytest.raises(ValidationError, match=message):
        RolloutPolicy(**wrong)


@pytest.mark.parametrize(("kind", "share"), [("reset", 0.1), ("ceiling", None), ("ceiling", 1.5), ("halt", None)])
def test_a_wrong_order_is_refused(kind, share):
    with pytest.raises(ValidationError):
        order("2024-01-01", kind, share)


HARMS = st.none() | st.builds(
    records.harm,
    z=st.none() | st.floats(-3, 3),
    boundary=st.none() | st.floats(1, 5),
    reason=st.sampled_from([None, None, None, "worse"]),
)


@st.composite
def histories(draw):
    """Champion decisions with gaps, drift, returns, a policy and orders, all of one history."""
    count = draw(st.integers(1, 16))
    champions = draw(st.lists(st.sampled_from([None, "a", "a", "a", "a", "b"]), min_size=count, max_size=count))
    decisions = decided(champions, {i: draw(HARMS) for i in range(count)})
    recorded = {w: r for w, r in decisions.items() if draw(st.integers(0, 9))}
    drift = {w: draw(st.sampled_from([None, "NONE", "NONE", "MINOR", "SEVERE", "CRITICAL"])) for w in recorded}
    losses = draw(st.dictionaries(st.integers(0, 7 * count - 1), st.floats(-0.2, 0.3), max_size=4))
    stages = draw(st.sampled_from([(0, 0.01, 0.05, 0.1), (0, 0.05, 0.1, 0.2, 0.5), (0, 1)]))
    policy = RolloutPolicy(
        stages=stages,
        min_days=draw(st.tuples(*[st.sampled_from([7, 14])] * (len(stages) - 1))),
        ceiling=draw(st.sampled_from([0, 0.05, 0.1, 1])),
        kill_switch=draw(st.integers(0, 9)) == 0,
    )
    orders = [
        order(str((pd.Timestamp("2024-01-01") + pd.Timedelta(hours=draw(st.integers(0, 168 * count)))).date()), *what)
        for what in draw(st.lists(st.sampled_from([("reset", None), ("ceiling", 0.05), ("ceiling", 1.0)]), max_size=2))
    ]
    return recorded, drift, daily(7 * count, losses), policy, orders


@settings(max_examples=300)
@given(histories())
def test_the_share_always_rises_by_one_stage_at_a_time_and_only_without_findings(history):
    decisions, drift, returns, policy, orders = history
    stages = run(decisions, drift, returns, policy, orders)
    assert [s.week for s in stages] == sorted(decisions)
    before = None
    for stage in stages:
        assert stage.share in (0, policy.stages[stage.stage])
        assert policy.stages[stage.stage] <= max(stage.ceiling, 0)
        assert (stage.share == policy.stages[stage.stage]) or drift[stage.week] == "CRITICAL"
        assert stage.reason
        assert stage.champion == decisions[stage.week].champion
        if not orders:
            assert stage.ceiling == policy.ceiling
        if policy.kill_switch or stage.stopped or stage.champion is None or drift[stage.week] == "CRITICAL":
            assert stage.share == 0
        if before is None or before.champion != stage.champion:
            assert stage.share == 0
        elif stage.stage > before.stage:
            assert stage.stage == before.stage + 1
            assert stage.change == "step"
            assert drift[stage.week] not in (None, *BLOCKING)
            days = (pd.Timestamp(stage.week) - pd.Timestamp(before.since)).days
            assert days >= policy.min_days[before.stage]
            assert pd.Timestamp(stage.week) - pd.Timestamp(before.week) == pd.Timedelta(days=7)
            harm = decisions[stage.week].harm
            if harm:
                assert not harm.reason
                assert harm.z is None or harm.boundary is None or harm.z < 0.5 * harm.boundary
            assert stage.worst_day is None or stage.worst_day < policy.max_daily_loss
            assert stage.drawdown is None or stage.drawdown < policy.max_drawdown
        else:
            assert (stage.change in ("back", "stop")) or stage.stage == before.stage
        before = stage


@settings(max_examples=150)
@given(histories(), st.integers(0, 16))
def test_later_weeks_change_no_earlier_stage_and_a_rerun_changes_nothing(history, cut):
    decisions, drift, returns, policy, orders = history
    stages = run(decisions, drift, returns, policy, orders)
    assert stages == run(decisions, drift, returns, policy, orders)
    past_weeks = sorted(decisions)[:cut]
    if past_weeks:
        end = pd.Timestamp(past_weeks[-1], tz="UTC")
        early = [o for o in orders if o.week <= past_weeks[-1]]
        prefix = run(
            {w: decisions[w] for w in past_weeks},
            {w: drift[w] for w in past_weeks},
            returns[: end - pd.Timedelta("1ns")],
            policy,
            early,
        )
        assert prefix == stages[: len(past_weeks)]
