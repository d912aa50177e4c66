"""Manual actions without Dagster: what is refused and why, what the ledger keeps, and the event of a promotion."""

import pandas as pd
import pytest

from quantum_training.lifecycle.decision.ab_tests import ABPlan
from quantum_training.lifecycle.decision.manual_actions import (
    ManualAction,
    RefusedActionError,
    action_outcome,
    record_action,
)
from quantum_training.resources.events.bus import EventBus
from quantum_training.selection.hash_chain import Entry

WEEK = "2020-01-06"
NOW = pd.Timestamp("2020-01-08 12:00", tz="UTC")
PROMOTE = ManualAction("promote", "AAA", "ann", "I know better", "promote/1", recipe="xgboost")


@pytest.fixture
def project(build_project, small):
    """A project with one decided week and a version of xgboost."""
    project = build_project(small)
    version = {"as_of": f"{WEEK}T00:00:00+00:00", "model_id": "m1"}
    project.store.write_record("xgboost_model", "AAA", WEEK, {"versions": [version]})
    analysis = {"week": WEEK, "verdict": "CONTINUE", "champion": None, "model_id": None}
    row = {"kind": "look", "effective": pd.Timestamp(WEEK, tz="UTC"), "actor": "rule", "reason": ""}
    project.ledger.append([Entry(symbol="AAA", key=f"week/{WEEK}", payload=analysis, **row)])
    return project


def record(project, action):
    return record_action(action, project.settings, project.store, project.ledger, NOW)


def test_a_promotion_is_one_ledger_row_and_one_event_however_often_it_is_recorded(project):
    assert [record(project, PROMOTE), record(project, PROMOTE)] == [WEEK, WEEK]
    (row,) = project.ledger.rows("AAA", {"promote"})
    assert (row.actor, row.reason, row.payload) == ("ann", "I know better", {"week": WEEK, "recipe": "xgboost"})
    deliveries = EventBus(database_url=project.settings.database_url).outbox.queue().read("test", 10)
    assert sum('"model.promoted"' in delivery.text for delivery in deliveries) == 1


@pytest.mark.parametrize(
    ("action", "message"),
    [
        (PROMOTE._replace(symbol="ZZZ"), "unknown symbol ZZZ; symbols are AAA, BBB"),
        (PROMOTE._replace(recipe="oracle"), "AAA: unknown recipes oracle; its recipes are xgboost, lightgbm"),
        (PROMOTE._replace(recipe="lightgbm"), "AAA: lightgbm has no version; run weekly_cycle first"),
        (PROMOTE._replace(symbol="BBB"), "BBB: no week was ever decided; run weekly_cycle first"),
        (
            PROMOTE._replace(kind="rollout_ceiling", recipe=None, share=0.1),
            "AAA: it has no champion to give capital to",
        ),
        (PROMOTE._replace(kind="ab_stop", recipe=None), "AAA: no A/B test runs"),
        (
            PROMOTE._replace(kind="ab_test", ab_plan=ABPlan("xgboost", 0.05, 1, 8)),
            f"AAA: no rollout of {WEEK} is stored",
        ),
    ],
)
def test_an_impossible_action_is_refused_without_a_ledger_row(project, action, message):
    with pytest.raises(RefusedActionError) as error:
        record(project, action)
    assert str(error.value).startswith(message)
    assert not project.ledger.rows(action.symbol, {action.kind})


def test_the_outcome_of_a_week_without_records_names_no_champion(project):
    assert action_outcome(project.store, "AAA", WEEK, "promote") == {"champion": "none", "pinned": None, "share": None}
