"""The weekly cycle from candles to champion, through Dagster: DESIGN.md's rules, each by really running it."""

import json
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

import pandas as pd
import pytest

from quantum_training.definitions import build_defs
from quantum_training.resources.events.bus import EventBus
from quantum_training_tests.support.projects import needing

WEEKS = ["2020-01-06", "2020-01-13", "2020-01-20", "2020-01-27"]
FIRST, SECOND, LAST = WEEKS[0], WEEKS[1], WEEKS[-1]


def records(project, asset, symbol="AAA"):
    return project.store.read_records(asset, symbol)


@pytest.mark.long
def test_range_in_one_run_and_one_run_per_week_give_the_same_bytes(build_project, cycled_project, small):
    range_, single = cycled_project(small, FIRST, LAST), build_project(small).market_data()
    for week in WEEKS:
        assert single.run("weekly_cycle", f"AAA|{week}").success
    reports = [f"backtest/AAA/{week}.html" for week in WEEKS]
    ours, theirs = range_.stored(), single.stored()
    assert [r for r in reports if r in ours] == reports[-1:], "a run reports its last week only"
    assert ours == {f: data for f, data in theirs.items() if f not in reports[:-1]}
    assert set(records(range_, "champion")) == set(WEEKS)
    rows = range_.ledger.rows("AAA")
    assert [row.payload["week"] for row in rows] == WEEKS
    assert {row.kind for row in rows} == {"look", "promotion"}, "nothing was ever decided"
    assert range_.ledger.head("AAA") == single.ledger.head("AAA")


@pytest.mark.long
def test_running_again_changes_no_byte_no_version_and_no_alias(cycled_project, small):
    project = cycled_project(small, FIRST, LAST)
    stored, aliases, head = project.stored(), project.registry.aliases.of("AAA"), project.ledger.head("AAA")
    versions = [v.version for v in project.registry.client().search_model_versions("name = 'AAA'")]
    project.market_data()
    assert project.run("weekly_cycle", f"AAA|{FIRST}", f"AAA|{LAST}").success
    assert project.stored() == stored
    assert project.registry.aliases.of("AAA") == aliases
    assert project.ledger.head("AAA") == head
    project.ledger.verify("AAA", head)
    assert [v.version for v in project.registry.client().search_model_versions("name = 'AAA'")] == versions
    assert len(versions) == 2 * len(WEEKS)


@pytest.mark.long
def test_bars_after_the_week_change_nothing_at_it(build_project, small, tmp_path):
    """Future perturbation through candles -> features -> model -> positions: every stored byte at W stays."""
    market = build_project(small).market_data().store.read_frames("candles", "AAA", "2019-09-01", "2020-02-01")
    cut = pd.Timestamp("2020-01-20", tz="UTC")
    files = {}
    for name, factor in (("calm", 1.0), ("wild", 1.03)):
        frame = market.copy()
        frame.loc[cut:] *= factor
        frame.to_parquet(tmp_path / f"{name}.parquet")
        files[name] = str(tmp_path / f"{name}.parquet")
    stored = {}
    for name, path in files.items():
        small["symbols"]["AAA"]["source"] = {"kind": "files", "path": path}
        project = build_project({**small, "symbols": {"AAA": small["symbols"]["AAA"]}})
        project.market_data()
        assert project.run("weekly_cycle", "AAA|2020-01-06", "AAA|2020-01-27").success
        stored[name] = project.stored()
    weekly = [f for f in stored["calm"] if not f.startswith(("candles", "features"))]
    upto = [f for f in weekly if f.rpartition("/")[2][:10] <= "2020-01-20"]
    assert len(upto) == 3 * 8
    assert [f for f in upto if stored["calm"][f] != stored["wild"][f]] == []
    later = [f for f in weekly if f not in upto]
    assert any(stored["calm"][f] != stored["wild"][f] for f in later), "the perturbation reached nothing"


@pytest.mark.long
def test_scores_use_only_versions_that_existed_when_the_bar_opened(cycled_project, small):
    project = cycled_project(small, FIRST, LAST)
    as_of = {
        v["model_id"]: pd.Timestamp(v["as_of"])
        for r in records(project, "xgboost_model").values()
        for v in r["versions"]
    }
    for week in WEEKS[1:]:
        frame = project.store.read_frame("shadow_scores", "AAA", week)
        ours = frame[frame["strategy"] == "xgboost"]
        assert len(ours) == 42
        assert {as_of[m] for m in ours["model_id"]} == {pd.Timestamp(week, tz="UTC") - pd.Timedelta(days=7)}
    first = project.store.read_frame("shadow_scores", "AAA", FIRST)
    assert first.loc[first["strategy"] == "xgboost", "target"].isna().all()
    assert (first.loc[first["strategy"] == "xgboost", "model_id"] == "").all()


@pytest.mark.long
def test_an_old_week_run_late_moves_no_alias(build_project, small):
    project = build_project(small).market_data()
    project.run("weekly_cycle", f"AAA|{WEEKS[1]}", f"AAA|{LAST}")
    before = project.registry.aliases.of("AAA")
    assert project.run("weekly_cycle", f"AAA|{FIRST}").success
    after = project.registry.aliases.of("AAA")
    assert before["shadow-xgboost"] == after["shadow-xgboost"]
    newest = records(project, "champion")[LAST]
    assert (
        project.registry.find("AAA", newest["model_id"]).number == after["champion"]
        if newest["model_id"]
        else "champion" not in after
    )


@pytest.mark.long
def test_a_champion_whose_artefact_is_lost_is_rolled_back_and_the_week_goes_on(cycled_project, small):
    """The version that decided in the week is torn after it: no run fails, and only its recipe pays for it."""
    project = cycled_project(small, FIRST, LAST)
    before = records(project, "champion")[LAST]
    champion, model_id = before["champion"], before["model_id"]
    assert champion is not None
    number = project.registry.find("AAA", model_id).number
    folder = project.registry.client().get_model_version_download_uri("AAA", str(number))
    for file in Path(url2pathname(urlsplit(folder).path)).rglob("booster.json"):
        file.unlink()
    result = project.run("weekly_cycle", "AAA|2020-02-03")
    assert result.success
    record = records(project, "champion")["2020-02-03"]
    assert (record["verdict"], record["former"]) == ("ROLLBACK", champion)
    assert (
        f"operational fault: {champion} cannot be loaded: AAA: the artefact of version {model_id}" in record["reason"]
    )
    scores = project.store.read_frame("shadow_scores", "AAA", "2020-02-03")
    share_without_target = scores["target"].isna().groupby(scores["strategy"]).mean()
    assert share_without_target[["xgboost", "lightgbm"]].to_dict() == {
        r: float(r == champion) for r in ("xgboost", "lightgbm")
    }
    assert project.store.read_record("rollout", "AAA", "2020-02-03")["share"] == 0
    stored, head = project.stored(), project.ledger.head("AAA")
    assert project.run("weekly_cycle", "AAA|2020-02-03").success
    assert (project.stored(), project.ledger.head("AAA")) == (stored, head)
    events = EventBus(database_url=project.settings.database_url).outbox.queue().read("test", 100)
    assert sum('"model.regressed"' in d.text for d in events) == 1


@pytest.mark.long
def test_a_retrain_inside_the_week_is_a_later_version_of_the_same_partition(build_project, small):
    project = build_project(small).market_data()
    project.run("weekly_cycle", f"AAA|{FIRST}", f"AAA|{WEEKS[1]}")
    config = {"as_of": "2020-01-15T12:00:00", "trigger": "MANUAL", "reason": "asked for"}
    again = {"ops": {"xgboost_model": {"config": config}}}
    assert project.run("weekly_cycle", f"AAA|{WEEKS[1]}", run_config=again).success
    versions = records(project, "xgboost_model")[WEEKS[1]]["versions"]
    assert [v["as_of"] for v in versions] == ["2020-01-13T00:00:00+00:00", "2020-01-15T12:00:00+00:00"]
    run = project.registry.client().get_run(project.registry.find("AAA", versions[1]["model_id"]).run_id)
    assert (run.data.tags["trigger"], run.data.tags["reason"]) == ("MANUAL", "asked for")
    project.run("weekly_cycle", f"AAA|{WEEKS[2]}")
    frame = project.store.read_frame("shadow_scores", "AAA", WEEKS[2])
    ours = frame.loc[frame["strategy"] == "xgboost", "model_id"]
    assert list(ours.map({v["model_id"]: i for i, v in enumerate(versions)})) == [0] * 15 + [1] * 27
    outside = {"ops": {"xgboost_model": {"config": {**config, "as_of": "2020-01-20"}}}}
    assert not project.run("weekly_cycle", f"AAA|{WEEKS[1]}", run_config=outside).success


def test_too_few_bars_are_a_recorded_outcome_without_a_version(build_project, small):
    project = build_project(needing(5000, small)).market_data()
    result = project.run("weekly_cycle", f"AAA|{FIRST}")
    assert result.success
    record = records(project, "xgboost_model")[FIRST]
    assert record == {
        "outcome": "insufficient",
        "have": record["have"],
        "need": 5000,
        "reason": f"{record['have']} labelled rows known at 2020-01-06 00:00:00+00:00, need 5000",
        "versions": [],
    }
    assert 100 < record["have"] < 800
    assert project.registry.client().search_model_versions("name = 'AAA'") == []
    assert records(project, "champion")[FIRST]["verdict"] == "INSUFFICIENT"


@pytest.mark.long
def test_a_recipe_taken_from_a_symbol_keeps_its_recorded_versions_and_scores(build_project, small):
    project = build_project(small).market_data()
    project.run("weekly_cycle", f"AAA|{FIRST}", f"AAA|{SECOND}")
    versions = records(project, "lightgbm_model")
    scores = project.store.read_frame("shadow_scores", "AAA", SECOND)
    symbols = {
        **project.settings.symbols,
        "AAA": project.settings.symbols["AAA"].model_copy(update={"recipes": ("xgboost",)}),
    }
    settings = project.settings.model_copy(update={"symbols": symbols})
    less = replace(project, definitions=build_defs(settings, {"store": project.store, "registry": project.registry}))
    assert less.run("weekly_cycle", f"AAA|{FIRST}", f"AAA|{SECOND}").success
    assert records(less, "lightgbm_model") == versions
    again = less.store.read_frame("shadow_scores", "AAA", SECOND)
    for recipe in ("xgboost", "lightgbm"):
        rows = (frame[frame["strategy"] == recipe] for frame in (scores, again))
        pd.testing.assert_frame_equal(*rows, check_exact=True)


def test_weeks_beyond_the_data_fail_and_say_what_to_run(build_project, small):
    project = build_project(small).market_data(last="2020-01-01")
    result = project.run("weekly_cycle", "AAA|2020-02-10")
    assert not result.success
    message = str([e.step_failure_data.error for e in result.all_events if e.is_step_failure])
    assert "2020-02-01" in message
    assert "market_data" in message
    assert not records(project, "champion")


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        ({"dagster/partition": "AAA|2020-01-07"}, "a Monday"),
        (
            {
                "dagster/partition": "AAA|2020-01-07",
                "dagster/partition/symbol": "AAA",
                "dagster/partition/week": "2020-01-07",
            },
            "a Monday",
        ),
        ({"dagster/partition": "ZZZ|2020-01-06"}, "unknown symbol 'ZZZ'"),
        ({"dagster/partition": "2020-01-06"}, "SYMBOL|YYYY-MM-DD"),
        ({"dagster/partition": "AAA|2020-01-06", "dagster/partition/week": "2020-01-13"}, "disagree"),
        (
            {
                "dagster/asset_partition_range_start": "AAA|2020-01-13",
                "dagster/asset_partition_range_end": "AAA|2020-01-06",
            },
            "older to the newer",
        ),
        (
            {
                "dagster/asset_partition_range_start": "AAA|2020-01-07",
                "dagster/asset_partition_range_end": "AAA|2020-01-20",
            },
            "a Monday",
        ),
    ],
)
def test_a_wrong_key_runs_on_no_partition_and_names_the_right_form(build_project, small, tags, expected):
    project = build_project(small)
    job = project.definitions.resolve_job_def("weekly_cycle")
    try:
        result = job.execute_in_process(instance=project.instance, tags=tags, raise_on_error=False)
        assert not result.success
        message = str([e.step_failure_data.error for e in result.all_events if e.is_step_failure])
    except Exception as error:
        message = str(error)
    assert expected in message
    assert project.stored() == {}


def test_the_combined_tag_alone_is_enough(build_project, small):
    project = build_project(small).market_data()
    assert project.run("weekly_cycle", f"AAA|{FIRST}").success
    assert json.loads(project.stored()[f"champion/AAA/{FIRST}.json"])["week"] == FIRST
