"""The ledger against what store and MLflow know: lost, begun anew, older, of another home, and restored."""

import json

import pandas as pd
import pytest

from quantum_training.lifecycle.consistency.inconsistency import InconsistentStateError
from quantum_training.lifecycle.consistency.store import store_inconsistencies
from quantum_training.lifecycle.decision.ab_tests import ABPlan
from quantum_training.lifecycle.decision.champion import decide
from quantum_training.lifecycle.decision.manual_actions import ManualAction, record_action
from quantum_training.lifecycle.decision.rollout import rollout_weeks
from quantum_training.resources.ledger import Ledger
from quantum_training_tests.support.weekly_home import ANN, NOW, Long

WEEKS = pd.date_range("2020-01-06", periods=6, freq="7D").strftime("%Y-%m-%d").tolist()


def test_a_home_that_runs_week_by_week_is_one_state(home):
    home.cycle(WEEKS[:3])
    home.act("promote", recipe="xgboost")
    home.act("rollout_ceiling", share=0.05)
    assert home.problems() == []
    assert store_inconsistencies(home.services, home.ledger, "AAA") == []
    stored = home.w.stored()
    home.decide(WEEKS[2])
    assert home.w.stored() == stored


def test_a_lost_ledger_is_named_with_what_it_should_know_and_nothing_is_decided(home):
    home.cycle(WEEKS[:3])
    home.act("promote", recipe="xgboost")
    home.lose_ledger()
    home.score(WEEKS[3:4])
    with pytest.raises(InconsistentStateError) as error:
        home.decide(WEEKS[3])
    assert str(error.value) == (
        "AAA: ledger: the ledger knows no decision, but the store has the decisions of 3 weeks, 2020-01-06 to "
        "2020-01-20; the ledger does not know `promote xgboost by bob: I know better`, which a decision followed. "
        "Restore the database of `database_url` from its newest backup, or name the right one there; if there is "
        "none, run the job ledger_restore, which adds the rows that the store's records prove and says what it cannot "
        "prove"
    )
    assert home.ledger.rows("AAA") == []
    with pytest.raises(InconsistentStateError):
        record_action(ManualAction("pin", "AAA", "bob", "x", "pin/1"), home.w.settings, home.w.store, home.ledger, NOW)


@pytest.mark.parametrize(("rows", "missing"), [(2, "week 2020-01-20"), (3, "promote xgboost"), (4, "ceiling 5 %")])
def test_an_older_ledger_is_refused_however_little_it_lacks(home, rows, missing):
    home.cycle(WEEKS[:3])
    home.act("promote", recipe="xgboost")
    home.act("rollout_ceiling", share=0.05)
    home.lose_ledger(rows)
    (problem,) = home.problems()
    assert missing in problem
    with pytest.raises(InconsistentStateError, match="ceiling 5 % ordered by bob"):
        rollout_weeks(home.history, home.ledger, WEEKS[2])


def test_a_ledger_of_another_home_is_refused(home):
    home.cycle(WEEKS[:3])
    home.act("promote", recipe="xgboost")
    home.cycle(WEEKS[3:5])
    home.lose_ledger()
    home.row("look", f"week/{WEEKS[4]}", {"week": WEEKS[4], "verdict": "PROMOTE", "champion": "lightgbm"})
    (problem,) = home.problems()
    assert "week 2020-02-03: the ledger says PROMOTE, champion lightgbm, and the store" in problem
    with pytest.raises(InconsistentStateError, match="of another home, or the ledger was begun anew"):
        home.restore()


def test_a_ledger_that_was_edited_is_refused(home, monkeypatch):
    home.cycle(WEEKS[:2])
    first, second = home.ledger.rows("AAA")
    edited = [first.model_copy(update={"reason": "never"}), second]
    monkeypatch.setattr(Ledger, "rows", lambda *args: edited)
    assert "row 1 (week/2020-01-06), in place 1, does not follow from the start" in home.problems()[0]


def test_mlflows_champion_is_not_forgotten_if_store_and_ledger_are_both_lost_or_older(home):
    client = home.w.registry.client()
    client.create_registered_model("AAA")
    tags = {"as_of": f"{WEEKS[2]}T00:00:00+00:00", "recipe": "xgboost"}
    client.create_model_version("AAA", "file:///nowhere", tags=tags)
    client.set_registered_model_alias("AAA", "champion", "1")
    (problem,) = home.problems()
    assert "the ledger knows no decision, but MLflow's champion is version 1, xgboost as of 2020-01-20" in problem
    with pytest.raises(InconsistentStateError, match="delete the alias `champion` of AAA in MLflow"):
        home.decide(WEEKS[0])
    client.delete_registered_model_alias("AAA", "champion")
    home.cycle(WEEKS[:2])
    client.set_registered_model_alias("AAA", "champion", "1")
    assert "the ledger ends with week 2020-01-13, but MLflow's champion" in home.problems()[0]
    client.delete_registered_model_alias("AAA", "champion")
    home.cycle(WEEKS[2:3])
    client.set_registered_model_alias("AAA", "champion", "1")
    assert home.problems() == []


def test_a_killed_run_and_a_late_backfill_are_no_fault(home):
    home.score(WEEKS[1:4])
    decide(home.history, home.ledger, WEEKS[3], lambda model_id: Long())  # killed before it wrote a record
    assert home.problems() == []
    assert store_inconsistencies(home.services, home.ledger, "AAA") == []
    home.cycle(WEEKS[4:5])
    assert sorted(home.w.store.periods("champion", "AAA", "json")) == WEEKS[1:5], "the next run completes it"
    home.cycle(WEEKS[:1])  # scored too late to decide anything: a record, no row
    assert home.problems() == []
    home.cycle(WEEKS[5:])
    assert home.problems() == []


def test_an_action_whose_run_was_killed_takes_effect_in_the_next_run(home):
    home.cycle(WEEKS[:2])
    action = ManualAction("promote", "AAA", "bob", "I know better", "promote/1", recipe="xgboost")
    record_action(action, home.w.settings, home.w.store, home.ledger, NOW)
    home.cycle(WEEKS[2:3])
    assert home.w.store.read_record("champion", "AAA", WEEKS[1])["champion"] == "xgboost"
    assert home.w.store.read_record("rollout", "AAA", WEEKS[2])["since"] == WEEKS[1]


def content(row):
    """What a row says, without when."""
    return row.kind, row.reason, json.dumps(row.original_payload)


@pytest.mark.parametrize("rows", [0, 2, 4])
def test_a_restored_ledger_decides_as_the_lost_one(home, rows):
    home.cycle(WEEKS[:3])
    home.act("promote", recipe="xgboost")
    home.cycle(WEEKS[3:4])
    home.act("rollout_reset", "start: again; now")
    home.act("rollout_ceiling", share=0.05)
    home.act("pin", "by hand: by bob")
    lost, stored = home.ledger, home.w.stored()
    home.lose_ledger(rows)
    restored = home.restore()
    assert len(restored.keys) == len(lost.rows("AAA")) - rows
    *added, summary = home.ledger.rows("AAA")[rows:]
    assert {content(row) for row in added} == {content(row) for row in lost.rows("AAA")[rows:]}
    assert {(r.payload["restored"]["actor"], r.payload["restored"]["reason"]) for r in added} == {ANN[:2]}
    assert (summary.kind, summary.actor, summary.payload["rows"]) == ("ledger_restore", "ann", restored.keys)
    home.ledger.verify("AAA")
    assert home.problems() == []
    home.decide(WEEKS[3])
    assert home.w.stored() == stored, "the week run again has the same bytes"
    assert home.restore().keys == []
    assert home.w.store.read_record("champion", "AAA", WEEKS[3])["pinned"]


def test_a_restored_ab_test_goes_on_with_the_same_blocks(home):
    home.cycle(WEEKS[:3])
    home.act("promote", recipe="xgboost")
    home.act("ab_test", recipe="lightgbm", ab_plan=ABPlan("lightgbm", 0.05, 1, 8))
    home.cycle(WEEKS[3:4])
    home.act("ab_stop", "enough")
    stored = home.w.stored()
    home.lose_ledger()
    home.restore()
    assert home.problems() == []
    home.decide(WEEKS[3])
    assert home.w.stored() == stored


def test_what_no_record_proves_is_said(home):
    home.cycle(WEEKS[:3])
    (home.w.home / "store" / "champion" / "AAA" / f"{WEEKS[1]}.json").unlink()
    home.lose_ledger()
    unproved = home.restore().unproved
    assert "rows of the job retrain" in unproved[0]
    assert unproved[1] == f"there is no record of what was decided in {WEEKS[1]}"
    assert home.ledger.rows("AAA")[-1].payload["unproved"] == unproved
