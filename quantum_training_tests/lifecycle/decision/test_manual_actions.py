"""Manual actions without Dagster: what is refused and why, what the ledger keeps, and the events of other champions."""

import json

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


def events(project):
    deliveries = EventBus(database_url=project.settings.database_url).outbox.queue().read("test", 100)
    return [json.loads(delivery.text) for delivery in deliveries]


def by_hand(kind, number, **fields):
    return ManualAction(kind, "AAA", "ann", "I know better", f"{kind}/{number}", **fields)


@pytest.fixture
def decided_project(project):
    """Its week is scored, and lightgbm has a version, too."""
    version = {"as_of": f"{WEEK}T00:00:00+00:00", "model_id": "m2"}
    project.store.write_record("lightgbm_model", "AAA", WEEK, {"versions": [version]})
    bars = pd.date_range("2019-12-30", periods=42, freq="4h", tz="UTC", name="open_time")
    columns = {"model_id": "", "target": 1.0, "net_return": 0.0, "turnover": 0.0}
    strategies = ("xgboost", "lightgbm", "buy_and_hold")
    frame = pd.concat(pd.DataFrame({"strategy": name, **columns}, bars) for name in strategies)
    project.store.write_frame("shadow_scores", "AAA", WEEK, frame)
    return project


def test_a_demotion_tells_who_left_office_and_who_trades_now_however_often_it_is_recorded(decided_project):
    project = decided_project
    for number, recipe in enumerate(("xgboost", "lightgbm")):
        record(project, by_hand("promote", number, recipe=recipe))
    assert [record(project, by_hand("demote", 1)) for _ in range(3)] == [WEEK] * 3
    record(project, by_hand("pin", 1))
    record(project, by_hand("demote", 2))
    promoted, *more, back_to_former, to_nobody = events(project)
    assert [promoted["type"], *(e["type"] for e in more)] == ["model.promoted"] * 2
    assert [e["payload"]["old_version"] for e in (promoted, *more)] == [None, "m1"]
    assert {back_to_former["type"], to_nobody["type"]} == {"model.regressed"}
    assert back_to_former["payload"] == {
        "model_type": "lightgbm",
        "failed_version": "m2",
        "rolled_back_to": "m1",
        "regression_reason": "demoted by ann: I know better",
        "regressed_at": NOW.isoformat().replace("+00:00", "Z"),
    }
    assert (to_nobody["payload"]["model_type"], to_nobody["payload"]["rolled_back_to"]) == ("xgboost", None)
    assert [row.kind for row in project.ledger.rows("AAA")] == ["look", "promote", "promote", "demote", "pin", "demote"]


def test_a_reason_of_any_length_and_with_any_character_is_in_the_ledger_and_in_the_event(decided_project):
    project, reason = decided_project, "why " * 5_000 + "\x00\ud800"
    record(project, PROMOTE._replace(reason=reason))
    record(project, by_hand("demote", 1)._replace(reason=reason))
    stored = "why " * 5_000 + "\\x00\\ud800"
    assert [row.reason for row in project.ledger.rows("AAA", {"promote", "demote"})] == [stored] * 2
    assert events(project)[0]["payload"]["promotion_reason"] == f"by ann: {stored}"
    assert events(project)[1]["payload"]["regression_reason"] == f"demoted by ann: {stored}"


def test_a_demotion_without_a_champion_is_refused_and_its_retry_after_success_is_not(decided_project):
    project = decided_project
    with pytest.raises(RefusedActionError, match="AAA: it has no champion to demote"):
        record(project, by_hand("demote", 1))
    record(project, PROMOTE)
    assert record(project, by_hand("demote", 1)) == record(project, by_hand("demote", 1)) == WEEK
    with pytest.raises(RefusedActionError):
        record(project, by_hand("demote", 2))


def test_an_action_is_recorded_for_the_champion_that_another_run_made_meanwhile(decided_project, monkeypatch):
    project = decided_project
    record(project, PROMOTE)
    append, meddled = type(project.ledger).append, []

    def append_after_another(ledger, entries, published=(), expected_head=None):
        if not meddled:
            meddled.append(True)
            record(project, by_hand("promote", 2, recipe="lightgbm"))
        return append(ledger, entries, published, expected_head)

    monkeypatch.setattr(type(project.ledger), "append", append_after_another)
    record(project, by_hand("demote", 1))
    assert events(project)[-1]["payload"]["model_type"] == "lightgbm"


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
