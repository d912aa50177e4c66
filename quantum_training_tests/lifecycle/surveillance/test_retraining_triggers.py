"""Triggers of trainings and which of them start one, without Dagster: cool-down, budget, the most urgent first."""

import pandas as pd
import pytest

from quantum_training.lifecycle.records import ModelVersion, write_record
from quantum_training.lifecycle.surveillance.retraining_triggers import (
    NEVER,
    RetrainingBudget,
    Trigger,
    decay_trigger,
    drift_trigger,
    interval_trigger,
    newest_as_of,
    plan_retraining,
)
from quantum_training.settings.retraining import RetrainingPolicy
from quantum_training_tests.support.records import decay, drift, model_record

NOW = pd.Timestamp("2020-02-20 10:00", tz="UTC")
UNTIL = pd.Timestamp("2020-02-20 08:00", tz="UTC")
AS_OF = pd.Timestamp("2020-02-17", tz="UTC")
DAY = "2020-02-20"


@pytest.fixture
def project(workspace, small):
    """Features up to UNTIL and versions of both recipes as of AS_OF, for two symbols."""
    project = workspace(small)
    frame = pd.DataFrame({"a": [1.0]}, pd.DatetimeIndex([UNTIL - pd.Timedelta(hours=4)]))
    for symbol in ("AAA", "BBB"):
        project.store.write_frame("features", symbol, "2020-02-01", frame, {"covered_until": UNTIL.isoformat()})
        for recipe in ("xgboost", "lightgbm"):
            version = ModelVersion(as_of=AS_OF.isoformat(), model_id=recipe)
            write_record(project.store, symbol, "2020-02-17", model_record(version), f"{recipe}_model")
    return project


def trigger(symbol="AAA", kind="DRIFT_DETECTED", priority=40, since=UNTIL, recipes=()):
    return Trigger(symbol, f"{symbol} {kind} {priority}", kind, priority, "in a test", since, recipes)


def plan(project, *triggers, week_error=lambda symbol, as_of: None, started=(0, {}), **policy):
    started_today, last_started = started
    budget = RetrainingBudget(RetrainingPolicy(**policy), NOW, started_today, dict(last_started))
    return plan_retraining(triggers, budget, project.settings, project.store, week_error)


def test_a_training_covers_all_recipes_on_the_stored_bars(project):
    (training,) = plan(project, trigger()).trainings
    assert (training.recipes, training.as_of) == (("xgboost", "lightgbm"), UNTIL)


@pytest.mark.parametrize(("recipes", "expected"), [((), ("xgboost",)), (("lightgbm",), ())])
def test_a_disabled_recipe_is_not_trained(project, recipes, expected):
    result = plan(project, trigger(recipes=recipes), recipes={"lightgbm": {"enabled": False}})
    assert [t.recipes for t in result.trainings] == ([expected] if expected else [])
    assert result.handled == [trigger().key], "a trigger without enabled recipes needs no further look"


@pytest.mark.parametrize("kind", ["DRIFT_DETECTED", "SCHEDULED"])
def test_an_alarm_that_a_version_or_a_started_training_covers_is_handled(project, kind):
    alarm = kind != "SCHEDULED"
    for result in (
        plan(project, trigger(kind=kind, since=AS_OF)),
        plan(project, trigger(kind=kind, since=NOW), started=(1, {"AAA": NOW}), cool_down_hours=0),
    ):
        assert len(result.handled) == 1
        assert len(result.trainings) == (0 if alarm else 1)


def test_without_newer_bars_a_trigger_is_deferred(project):
    for recipe in ("xgboost", "lightgbm"):
        version = ModelVersion(as_of=UNTIL.isoformat(), model_id=recipe)
        write_record(project.store, "AAA", "2020-02-17", model_record(version), f"{recipe}_model")
    result = plan(project, trigger(since=NOW))
    assert list(result.deferred.values()) == [f"no bar is stored after {UNTIL}, run the job market_data"]


def test_after_a_training_the_symbol_cools_down_for_alarms_only(project):
    started = (1, {"AAA": NOW - pd.Timedelta(hours=5)})
    assert (
        "cool-down 0 days 06:00:00"
        in plan(project, trigger(), started=started, cool_down_hours=6).deferred[trigger().key]
    )
    assert plan(project, trigger(), started=started, cool_down_hours=5).trainings
    assert plan(project, trigger(kind="SCHEDULED"), started=started, cool_down_hours=6).trainings


def test_the_budget_goes_to_the_most_urgent_trigger(project):
    result = plan(project, trigger("AAA", priority=40), trigger("BBB", priority=50), daily_budget=1)
    assert [training.trigger.symbol for training in result.trainings] == ["BBB"]
    assert list(result.deferred.values()) == ["the budget of 1 trainings a day is spent"]


def test_two_alarms_of_a_symbol_start_one_training(project):
    result = plan(project, trigger(priority=50, since=NOW), trigger(priority=40, since=NOW))
    assert len(result.trainings) == 1
    assert len(result.handled) == 2, "the training that starts covers both"


def test_a_week_that_cannot_be_trained_is_deferred_and_costs_no_budget(project):
    def week_error(symbol, as_of):
        return "no such week" if symbol == "AAA" else None

    result = plan(project, trigger("AAA", priority=50), trigger("BBB"), week_error=week_error, daily_budget=1)
    assert list(result.deferred.values()) == ["no such week"]
    assert [training.trigger.symbol for training in result.trainings] == ["BBB"]


@pytest.mark.parametrize(
    ("severity", "since"), [("MINOR", None), ("MODERATE", "2020-02-16"), ("SEVERE", DAY), ("CRITICAL", DAY)]
)
def test_drift_triggers_by_its_severity(project, severity, since):
    write_record(project.store, "AAA", DAY, drift(DAY, severity))
    drift_alarm = drift_trigger(project.store, "AAA", RetrainingPolicy(moderate_after_days=4))
    assert (drift_alarm and drift_alarm.since) == (since and pd.Timestamp(since, tz="UTC"))


def test_decay_triggers_and_only_a_version_after_its_week_handles_it(project):
    write_record(project.store, "AAA", "2020-02-17", decay("2020-02-17"))
    assert decay_trigger(project.store, "AAA") is None
    write_record(project.store, "AAA", "2020-02-17", decay("2020-02-17", "DECAYED"))
    decayed = decay_trigger(project.store, "AAA")
    assert decayed.kind == "PERFORMANCE_DECAY"
    assert decayed.since > AS_OF
    assert plan(project, decayed).trainings


@pytest.mark.parametrize(
    ("rule", "due"), [({"every_bars": 20}, True), ({"every_bars": 21}, False), ({"interval_minutes": 4800}, True)]
)
def test_new_bars_trigger_the_recipes_with_an_interval(project, rule, due):
    policy = RetrainingPolicy(recipes={"lightgbm": rule})
    interval = interval_trigger(project.store, project.settings, "AAA", policy)
    assert (interval and interval.recipes) == (("lightgbm",) if due else None)


def test_the_newest_as_of_includes_refused_versions_and_skips_weeks_without_any(project):
    write_record(project.store, "AAA", "2020-02-24", model_record(outcome="insufficient"), "xgboost_model")
    assert newest_as_of(project.store, "AAA", "xgboost") == AS_OF
    assert newest_as_of(project.store, "AAA", "unknown") == NEVER
