"""The jobs of manual actions: each takes effect, is recorded in the ledger and appears in the week's records."""

from functools import partial

import pandas as pd
import pytest
from dagster._core.definitions.job_base import InMemoryJob
from dagster._core.execution.api import execute_run

from quantum_training.automation.jobs import manual_actions, retrain
from quantum_training.lifecycle.decision.champion import decide
from quantum_training.lifecycle.market_history import MarketHistory
from quantum_training.resources.events.bus import EventBus
from quantum_training.selection.hash_chain import Entry

WEEKS = ["2020-01-06", "2020-01-13", "2020-01-20", "2020-01-27"]
ANN = {"symbol": "AAA", "actor": "ann", "reason": "I know better"}


def op_of(job):
    return "retrain_recipes" if job == "retrain" else f"{job}_champion"


def launch(project, job, **config):
    result = project.definitions.resolve_job_def(job).execute_in_process(
        instance=project.instance,
        run_config={"ops": {op_of(job): {"config": {**ANN, **config}}}},
        resources={},
        raise_on_error=False,
    )
    failures = [e.step_failure_data.error for e in result.all_events if e.is_step_failure]
    return result.success, " ".join(str(f.cause.message if f.cause else f.message) for f in failures)


def champion(project, week=WEEKS[-1]):
    return project.store.read_record("champion", "AAA", week)


@pytest.fixture
def project(cycled_project, small):
    """Four decided weeks; nothing is promoted by itself."""
    small["promotion"] = {"rule": "evidence"}
    small["symbols"].pop("BBB")
    return cycled_project(small, WEEKS[0], WEEKS[-1])


@pytest.mark.long
def test_manual_promotion_pin_and_demotion_take_effect_and_are_in_the_ledger(project):
    assert champion(project)["champion"] is None
    assert launch(project, "promote", recipe="lightgbm") == (True, "")
    record = champion(project)
    assert (record["champion"], record["verdict"]) == ("lightgbm", champion(project)["verdict"])
    assert record["operator"] == ["promote lightgbm by ann: I know better"]
    versions = project.store.read_record("lightgbm_model", "AAA", WEEKS[-1])["versions"]
    assert (
        project.registry.aliases.of("AAA")["champion"] == project.registry.find("AAA", versions[-1]["model_id"]).number
    )
    assert launch(project, "rollout_ceiling", share=0.05) == (True, "")
    stage = project.store.read_record("rollout", "AAA", WEEKS[-1])
    assert (stage["champion"], stage["share"], stage["ceiling"]) == ("lightgbm", 0.0, 0.05)
    check_that_an_ab_test_is_registered_once_and_ended(project)
    assert launch(project, "rollout_reset") == (True, "")
    assert project.store.read_record("rollout", "AAA", WEEKS[-1])["ceiling"] == 0.1
    assert launch(project, "pin")[0]
    assert champion(project)["pinned"] is True
    assert launch(project, "demote", reason="I was wrong")[0]
    assert launch(project, "unpin")[0]
    record = champion(project)
    assert (record["champion"], record["pinned"]) == (None, False)
    assert "champion" not in project.registry.aliases.of("AAA")
    rows = project.ledger.rows("AAA", {"promote", "pin", "demote", "unpin"})
    assert not launch(project, "rollout_reset")[0], "nobody is left to give capital to"
    assert [(r.kind, r.actor) for r in rows] == [
        ("promote", "ann"),
        ("pin", "ann"),
        ("demote", "ann"),
        ("unpin", "ann"),
    ]
    project.ledger.verify("AAA")
    publications = EventBus(database_url=project.settings.database_url).outbox.queue().read("test", 100)
    assert [sum(f'"model.{name}"' in d.text for d in publications) for name in ("promoted", "regressed")] == [1, 1]


def check_that_an_ab_test_is_registered_once_and_ended(project):
    """lightgbm is champion, with a ceiling of 5 %."""
    layout = {"recipe": "xgboost", "share": 0.05, "weeks": 8}
    for wrong, message in (
        ({"recipe": "lightgbm"}, "the champion is lightgbm; a test needs one and another recipe"),
        ({"share": 0.06}, "share 0.06 is above the ceiling of 0.05; order it by rollout_ceiling"),
        ({"weeks": 5}, "17 pairs of blocks with bars in both, 20 needed; take more weeks or shorter blocks"),
    ):
        done, error = launch(project, "ab_test", **{**layout, **wrong})
        assert not done
        assert message in error
    assert "no A/B test runs" in launch(project, "ab_stop")[1]
    assert launch(project, "ab_test", **layout) == (True, "")
    assert "a test runs already" in launch(project, "ab_test", **layout)[1]
    (row,) = project.ledger.rows("AAA", {"ab_test"})
    ab_state = project.store.read_record("rollout", "AAA", WEEKS[-1])["ab"]
    assert (ab_state["ended"], ab_state["report"]["verdict"]) == (None, "no pair of blocks is over")
    test = ab_state["test"]
    assert (test["champion"], test["challenger"], test["blocks"], test["pairs"]) == ("lightgbm", "xgboost", 56, 28)
    assert test["challenger_first"] == (int(row.hash, 16) % 2 == 1)
    assert pd.Timestamp(test["start"]) == pd.Timestamp(row.effective).ceil("D")
    assert champion(project)["champion"] == "lightgbm"
    assert launch(project, "ab_stop", reason="enough") == (True, "")
    assert project.store.read_record("rollout", "AAA", WEEKS[-1])["ab"]["ended"] == "stopped by ann: enough"
    assert not launch(project, "ab_stop")[0]


@pytest.mark.long
def test_rerunning_the_week_keeps_manual_actions(project):
    assert launch(project, "promote", recipe="xgboost")[0]
    head, record = project.ledger.head("AAA"), champion(project)
    assert project.run("weekly_cycle", f"AAA|{WEEKS[0]}", f"AAA|{WEEKS[-1]}").success
    assert (project.ledger.head("AAA"), champion(project)) == (head, record)
    again = decide(
        MarketHistory(project.store, project.settings, "AAA"),
        project.ledger,
        WEEKS[-1],
        partial(project.registry.load, "AAA"),
    )
    assert again[WEEKS[-1]].champion == "xgboost"
    assert [again[w].champion for w in WEEKS[:-1]] == [None] * 3


def test_a_retraining_adds_a_later_version_with_its_reason(project):
    as_of = "2020-01-29T12:00:00"
    assert launch(project, "retrain", recipes=["xgboost"], as_of=as_of) == (True, "")
    versions = project.store.read_record("xgboost_model", "AAA", WEEKS[-1])["versions"]
    assert [pd.Timestamp(v["as_of"]) for v in versions] == [
        pd.Timestamp(WEEKS[-1], tz="UTC"),
        pd.Timestamp(as_of, tz="UTC"),
    ]
    assert len(project.store.read_record("lightgbm_model", "AAA", WEEKS[-1])["versions"]) == 1
    version = project.registry.find("AAA", versions[-1]["model_id"])
    tags = project.registry.client().get_run(version.run_id).data.tags
    assert (tags["trigger"], tags["reason"]) == ("MANUAL", "ann: I know better")
    assert [r.payload["recipes"] for r in project.ledger.rows("AAA", {"retrain"})] == [["xgboost"]]


def test_a_retraining_that_is_started_again_trains_as_of_the_time_that_it_recorded(project, monkeypatch):
    begun, times = [], iter(pd.to_datetime(["2020-01-29T12:00Z", "2020-01-30T12:00Z"]))
    monkeypatch.setattr(retrain, "first_attempt", lambda instance, run: "the first run")
    monkeypatch.setattr(retrain, "training_time", lambda *arguments: next(times))  # new bars arrive in between
    monkeypatch.setattr(retrain, "run_nested", lambda context, job, run: begun.append((run.assets, run.tags["as_of"])))
    for _ in range(2):
        assert launch(project, "retrain", recipes=["xgboost"]) == (True, "")
    assert begun == [(["xgboost_model"], "2020-01-29T12:00:00+00:00")] * 2
    assert len(project.ledger.rows("AAA", {"retrain"})) == 1


@pytest.mark.parametrize(
    ("job", "config", "message"),
    [
        ("promote", {"symbol": "ZZZ", "recipe": "xgboost"}, "unknown symbol ZZZ; symbols are AAA, BBB"),
        ("promote", {"recipe": "oracle"}, "unknown recipes oracle; its recipes are xgboost, lightgbm"),
        ("promote", {"recipe": "xgboost"}, "no week was ever decided"),
        ("demote", {}, "no week was ever decided"),
        ("retrain", {"symbol": "ZZZ"}, "unknown symbol ZZZ"),
        ("retrain", {"recipes": ["oracle"]}, "unknown recipes oracle"),
    ],
)
def test_an_impossible_action_is_refused_without_a_ledger_row(build_project, small, job, config, message):
    project = build_project(small)
    done, error = launch(project, job, **config)
    assert not done
    assert message in error
    assert project.ledger.rows("AAA") == []


def test_a_retried_promotion_is_recorded_once_and_a_manual_reexecution_again(build_project, small, monkeypatch):
    project, week, run_ids = build_project(small), WEEKS[0], []
    version = {"as_of": f"{week}T00:00:00+00:00", "model_id": "m1"}
    project.store.write_record("xgboost_model", "AAA", week, {"versions": [version]})
    look = {"week": week, "verdict": "CONTINUE", "champion": None, "model_id": None}
    row = {"kind": "look", "effective": pd.Timestamp(week, tz="UTC"), "actor": "rule", "reason": ""}
    project.ledger.append([Entry(symbol="AAA", key=f"week/{week}", payload=look, **row)])
    monkeypatch.setattr(manual_actions, "registry_inconsistencies", lambda *_: [])  # m1 was never registered
    job = project.definitions.resolve_job_def("promote")
    config = {"ops": {"promote_champion": {"config": {**ANN, "recipe": "xgboost"}}}}

    def promote(dies, parent=None, tags=None):
        def run_nested(*_):
            if dies:
                raise RuntimeError("its process died")

        monkeypatch.setattr(manual_actions, "run_nested", run_nested)
        of = {"root_run_id": run_ids[0], "parent_run_id": parent} if parent else {}
        run = project.instance.create_run_for_job(job, run_config=config, tags={**job.tags, **(tags or {})}, **of)
        run_ids.append(run.run_id)
        assert execute_run(InMemoryJob(job), run, project.instance).success is not dies
        return run.run_id

    def publications():
        deliveries = EventBus(database_url=project.settings.database_url).outbox.queue().read("test", 100)
        return len(project.ledger.rows("AAA", {"promote"})), sum('"model.promoted"' in d.text for d in deliveries)

    retry = {"dagster/retry_number": "1"}
    second = promote(dies=True, parent=promote(dies=True), tags=retry)
    third = promote(dies=False, parent=second, tags=retry)
    assert publications() == (1, 1)
    fourth = promote(dies=True, parent=third)
    assert publications() == (2, 2), "a person has executed it again"
    promote(dies=False, parent=fourth, tags=retry)
    assert publications() == (2, 2)
    assert {r.key for r in project.ledger.rows("AAA", {"promote"})} == {f"promote/{run_ids[0]}", f"promote/{fourth}"}
