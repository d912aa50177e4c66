"""Which versions the open campaign, ensembles, undecided weeks and former recipes keep."""

import pandas as pd
import pytest

from quantum_training.lifecycle.cleanup.retention import first_undecided_bar, needed_versions
from quantum_training.lifecycle.records import write_record
from quantum_training.resources.store.store import StoreError
from quantum_training.selection.hash_chain import Entry
from quantum_training.selection.retention import Registered
from quantum_training_tests.support.records import decision

WEEKS = [f"{week:%Y-%m-%d}" for week in pd.date_range("2020-01-06", periods=40, freq="7D")]
CAMPAIGN = {
    "opened": WEEKS[20],
    "week": 12,
    "weeks": 26,
    "challengers": ["lightgbm"],
    "out": [],
    "planned_days": 182,
}


def decide(workspace, week, campaign=None):
    """Store the scores, the champion record and the ledger row of a week."""
    frame = pd.DataFrame({"strategy": ["xgboost"], "net_return": [0.0]})
    workspace.store.write_frame("shadow_scores", "AAA", week, frame)
    write_record(workspace.store, "AAA", week, decision(week, None, campaign=campaign))
    row = {"key": f"week/{week}", "kind": "look", "actor": "rule", "reason": ""}
    payload = {"week": week, "verdict": "CONTINUE", "champion": None, "model_id": None}
    workspace.ledger.append([Entry(symbol="AAA", effective=pd.Timestamp(week, tz="UTC"), payload=payload, **row)])


def test_the_campaign_the_window_of_an_ensemble_and_undecided_weeks_keep_their_versions(workspace, small):
    small["recipes"]["vote"] = {**small["recipes"]["xgboost"], "algorithm": "ensemble_vote", "window_bars": 150}
    small["recipes"]["vote"] |= {"members": ["xgboost"], "params": {}}
    recipes = ("xgboost", "lightgbm", "vote")
    small["symbols"]["AAA"]["recipes"] = [*recipes]
    project = workspace(small)
    for recipe in recipes:
        for week in WEEKS:
            version = {"as_of": f"{week}T00:00:00+00:00", "model_id": f"{recipe} {week}"}
            project.store.write_record(f"{recipe}_model", "AAA", week, {"versions": [version]})

    def oldest():
        model_ids = needed_versions(project.store, project.ledger, project.settings, "AAA", {}, [])
        return {r: min(m.split()[1] for m in model_ids if m.startswith(r)) for r in recipes}

    assert oldest() == dict.fromkeys(recipes, WEEKS[0]), "nothing is decided yet"
    decide(project, WEEKS[30])
    # from week 29 on 154 bars of 4h, which is 26 days, reach into June; its first week is decided by the version of
    # WEEKS[20], and one is spare
    assert oldest() == {"xgboost": WEEKS[19], "lightgbm": WEEKS[28], "vote": WEEKS[28]}
    decide(project, WEEKS[31], CAMPAIGN)
    assert oldest()["lightgbm"] == WEEKS[18]
    assert oldest()["vote"] == WEEKS[29]


def test_the_newest_week_that_is_scored_decided_and_recorded_may_be_decided_again(workspace, small):
    project = workspace(small)
    rows, weeks = project.ledger.rows("AAA"), []
    assert first_undecided_bar(project.store, "AAA", rows, weeks) is None
    for week in WEEKS[:3]:
        decide(project, week)
    rows, weeks = project.ledger.rows("AAA"), WEEKS[:3]
    assert first_undecided_bar(project.store, "AAA", rows, weeks) == pd.Timestamp(WEEKS[1], tz="UTC")
    assert first_undecided_bar(project.store, "AAA", rows, weeks[:2]) == pd.Timestamp(WEEKS[0], tz="UTC")


def test_a_store_without_the_records_of_a_current_recipe_is_an_error(workspace, small):
    project = workspace(small)
    created = pd.Timestamp("2020-01-06", tz="UTC")
    recipes = ("xgboost", "retired")
    versions = [Registered(f"{name} 1", number, "run", created, name) for number, name in enumerate(recipes, 1)]

    def needed():
        return needed_versions(project.store, project.ledger, project.settings, "AAA", {}, versions)

    with pytest.raises(
        StoreError, match=r"^no records of xgboost_model for AAA in .*: is the store mounted\? nothing of"
    ):
        needed()
    version = {"as_of": "2020-01-06T00:00:00+00:00", "model_id": "xgboost 2"}
    project.store.write_record("xgboost_model", "AAA", "2020-01-06", {"versions": [version]})
    assert needed() == {"xgboost 2": "may_decide", "retired 1": "no_record"}
    project.store.write_record("retired_model", "AAA", "2020-01-06", {"versions": []})
    assert needed() == {"xgboost 2": "may_decide"}, "a former recipe with records follows the rule"
