"""Every recipe of the zoo through the weekly cycle: inputs of ensembles and pools, cadence, artefacts, metadata."""

import json
import os
import pickle
import re
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path

import mlflow
import pandas as pd
import pytest

from quantum_training.lifecycle.market_history import Bars, MarketHistory
from quantum_training.lifecycle.stored_months import read_bars
from quantum_training.lifecycle.training import ensemble_members
from quantum_training.lifecycle.training.ensemble_members import (
    OutOfSampleSpan,
    members_of,
    out_of_sample_positions,
)
from quantum_training.lifecycle.training.inputs import InputSources, TrainingTarget, build_training_inputs
from quantum_training.lifecycle.training.pools import pool_of, pool_peers
from quantum_training.lifecycle.training.versions import versions_of
from quantum_training.models.manifest import ArtefactError, manifest
from quantum_training.resources.registry.artefact_hashes import LEFT_BY_READERS
from quantum_training.trading.scoring import by_strategy

pytestmark = pytest.mark.long

WEEKS = ["2019-12-30", "2020-01-06", "2020-01-13"]
FIRST, LAST = WEEKS[0], WEEKS[-1]
NETWORK = {"input_bars": 16, "hidden": 4, "batch_windows": 16, "max_steps": 2, "check_steps": 1}
AGENTS = {
    "ppo": {"total_steps": 256, "environments": 8, "rollout_bars": 16, "batch_size": 64, "network": [4]},
    "sac": {"total_steps": 100, "environments": 8, "batch_size": 32, "network": [4], "learning_starts": 40},
}
LEARNERS = ("xgboost", "lightgbm", "lstm", "nhits", "patchtst", "pooled", "ppo", "sac")
ENSEMBLES = ("vote", "regime", "stack")


@pytest.fixture
def zoo(small, skill_not_measured):
    """Settings with every algorithm on AAA, made small, and the pool on both symbols."""
    base = {"label": {"kind": "forward_return", "horizon": 2}, "window_bars": 120}
    recipes = small["recipes"]
    for kind in ("lstm", "nhits", "patchtst"):
        recipes[kind] = {**base, "algorithm": "forecaster", "params": {**NETWORK, "architecture": kind}}
    recipes["pooled"] = {**base, "algorithm": "pooled_lightgbm", "params": {"max_rounds": 10, "num_leaves": 4}}
    for kind, params in AGENTS.items():
        recipes[kind] = {**base, "algorithm": kind, "params": params}
    recipes |= {kind: {**base, "algorithm": f"ensemble_{kind}"} for kind in ENSEMBLES}
    recipes["stack"]["params"] = {"min_bars": 30}
    small["symbols"]["AAA"]["recipes"] = [*recipes]
    small["symbols"]["BBB"] |= {"recipes": ["pooled"]}
    small["symbols"]["BBB"]["source"] |= {"seed": 4}
    return small


def of_week(result, asset, week=LAST):
    (event,) = [e for e in result.asset_materializations_for_node(asset) if e.partition == f"AAA|{week}"]
    return event.metadata


FRESH = """
import json, pickle, sys
from contextlib import ExitStack, contextmanager
from unittest import mock
import cloudpickle, joblib, mlflow, torch
import numpy as np
import pandas as pd
from quantum_training.resources.registry.registry import ModelRegistry

registry, rows, differ = ModelRegistry(tracking_uri=sys.argv[1]), pd.read_parquet("rows.parquet"), []


def refuse(*args, **options):
    raise AssertionError("something was unpickled")


@contextmanager
def no_pickle():
    # not while positions are made: numba keeps its compiled kernels as pickle
    doors = {pickle: "load loads Unpickler _Unpickler", cloudpickle: "load loads", joblib: "load", torch: "load"}
    with ExitStack() as stack:
        for module, names in {**doors, np: "load"}.items():
            for name in names.split():
                stack.enter_context(mock.patch.object(module, name, refuse))
        yield


mlflow.set_tracking_uri(sys.argv[1])
for recipe, model_id in json.loads(sys.argv[2]).items():
    expected = pd.read_parquet(f"{recipe}.parquet")["position"]
    registry.load("AAA", model_id)  # imports what it needs, which may define unpicklers
    with no_pickle():
        model, flavour = registry.load("AAA", model_id), mlflow.pyfunc.load_model(f"models:/AAA@shadow-{recipe}")
    served = flavour.predict(rows[list(model.columns)])
    is_same = (served.to_numpy() == expected.to_numpy())[expected.notna()].all()
    if not (model.positions(rows).equals(expected) and is_same):
        differ.append(recipe)
    if not expected.notna().any():
        differ.append(f"{recipe} decides nothing")
print(differ)
"""


def test_all_recipes_together_and_out_of_mlflow_in_a_new_process_as_they_went_in(build_project, zoo, tmp_path):
    project = build_project(zoo).market_data().market_data("BBB")
    result = project.run("weekly_cycle", f"AAA|{FIRST}", f"AAA|{WEEKS[1]}")
    assert result.success
    scores = by_strategy(project.store.read_frame("shadow_scores", "AAA", WEEKS[1]), "target")
    assert {*LEARNERS} <= {*scores.columns}
    for kind in ENSEMBLES:
        shown_metadata = of_week(result, f"{kind}_model", WEEKS[1])
        assert {f"weight_{member}" for member in LEARNERS} <= shown_metadata.keys()
        assert 1 <= shown_metadata["independent_by_positions"].value <= len(LEARNERS)
        assert shown_metadata["correlation_of_returns"].value.startswith("![correlation_of_returns](data:image/svg")
        assert of_week(result, f"{kind}_model", FIRST)["outcome"].value == "insufficient"
    network = of_week(result, "nhits_model", WEEKS[1])
    assert network["trained_on"].value == "CPU"
    assert network["valid_loss_curve"].value.startswith("![validation loss")

    as_of = pd.Timestamp(WEEKS[1], tz="UTC")
    rows = read_bars(project.store, "features", "AAA", "2019-09-01", as_of).dropna()
    rows = rows.join(read_bars(project.store, "candles", "AAA", "2019-09-01", as_of)[["open", "close"]]).tail(300)
    rows.to_parquet(tmp_path / "rows.parquet")
    newest = {}
    for recipe in project.settings.recipes:
        newest[recipe] = versions_of(project.store, "AAA", recipe)[-1].model_id
        project.registry.load("AAA", newest[recipe]).positions(rows).to_frame().to_parquet(
            tmp_path / f"{recipe}.parquet"
        )
    command = [sys.executable, "-W", "ignore", "-c", FRESH, project.registry.tracking_uri, json.dumps(newest)]
    env = {**os.environ, "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false"}
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split("\n")[-2] == "[]"
    for recipe, model_id in newest.items():
        every_change_of_a_file_is_refused(project.registry, model_id, tmp_path / f"{recipe}.copy")


def every_change_of_a_file_is_refused(registry, model_id, copy):
    """Each file of a version changed in one bit, made a pickle or a link, or taken away; and one more file."""
    client = registry.client()
    version = client.get_model_version("AAA", str(registry.find("AAA", model_id).number))
    recorded = json.loads(mlflow.artifacts.load_text(f"runs:/{version.run_id}/artifact_files.json"))
    mlflow.artifacts.download_artifacts(version.source, dst_path=str(copy))
    (copy / LEFT_BY_READERS[0]).unlink()
    shutil.rmtree(copy / "__pycache__", ignore_errors=True)
    registry.require_unchanged(copy, version)
    assert manifest(copy) == recorded
    assert {"MLmodel", "pyfunc_model.py", "artifacts/model/algorithm.json"} < recorded.keys()
    for name in recorded:
        file = copy / name
        content = file.read_bytes()
        for changed in (bytes([content[0] ^ 1]) + content[1:], content[:-1], content + b"\n", b"", pickle.dumps(name)):
            file.write_bytes(changed)
            with pytest.raises(ArtefactError, match=f"what was stored: {re.escape(name)} was changed$"):
                registry.require_unchanged(copy, version)
        file.unlink()
        with pytest.raises(ArtefactError, match=f"what was stored: {re.escape(name)} is missing$"):
            registry.require_unchanged(copy, version)
        file.symlink_to(Path(__file__))
        with pytest.raises(ArtefactError, match=f"what was stored: {re.escape(name)} was changed$"):
            registry.require_unchanged(copy, version)
        file.unlink()
        file.write_bytes(content)
        more = file.with_name("more.py")
        more.touch()
        with pytest.raises(ArtefactError, match=r"more\.py was added$"):
            registry.require_unchanged(copy, version)
        more.unlink()
    registry.require_unchanged(copy, version)


def test_a_range_and_week_by_week_give_the_same_bytes_and_running_again_changes_nothing(build_project, zoo):
    recipes = ["lightgbm", "lstm", "pooled", "vote", "regime", "stack"]
    zoo["symbols"]["AAA"]["recipes"] = recipes
    zoo["recipes"] = {name: zoo["recipes"][name] for name in recipes}
    zoo["recipes"]["lstm"]["every_weeks"] = 2
    range_, single = (build_project(zoo).market_data().market_data("BBB") for _ in range(2))
    assert range_.run("weekly_cycle", f"AAA|{FIRST}", f"AAA|{LAST}").success
    for week in WEEKS:
        assert single.run("weekly_cycle", f"AAA|{week}").success
    ours, theirs = range_.stored(), single.stored()
    assert {f: d for f, d in theirs.items() if ".html" not in f} == {f: d for f, d in ours.items() if ".html" not in f}
    scores = by_strategy(range_.store.read_frame("shadow_scores", "AAA", LAST), "target")
    assert {*recipes} <= {*scores.columns}, "the ensembles' versions of the week before decide, as any recipe's"
    assert range_.run("weekly_cycle", f"AAA|{FIRST}", f"AAA|{LAST}").success
    assert range_.stored() == ours


@pytest.fixture
def vote_on_boosters(small, skill_not_measured):
    """Two boosters and a vote on them, BBB left out."""
    small["recipes"]["vote"] = {**small["recipes"]["lightgbm"], "algorithm": "ensemble_vote", "params": {}}
    small["symbols"]["AAA"]["recipes"] = ["xgboost", "lightgbm", "vote"]
    del small["symbols"]["BBB"]
    return small


def training_inputs(project, week, recipe="vote"):
    target = TrainingTarget("AAA", recipe, pd.Timestamp(week, tz="UTC"))
    load = partial(project.registry.load, "AAA")
    return build_training_inputs(InputSources(project.store, project.settings, (), load, {}), target)


def test_member_positions_equal_the_shadow_scores_and_are_never_in_sample(build_project, vote_on_boosters):
    project = build_project(vote_on_boosters).market_data()
    only = [f"{name}_model" for name in ("xgboost", "lightgbm")]
    assert project.run("weekly_cycle", f"AAA|{FIRST}", f"AAA|{LAST}", asset_selection=keys(only)).success
    before = training_inputs(project, LAST)
    assert list(before.context.member_positions) == ["lightgbm", "xgboost"]
    first = versions_of(project.store, "AAA", "xgboost")[0].as_of
    assert before.context.member_positions.first_valid_index() == first, "nothing before the first version"
    assert project.run("weekly_cycle", f"AAA|{FIRST}", f"AAA|{LAST}").success
    recorded = pd.concat(
        [by_strategy(project.store.read_frame("shadow_scores", "AAA", week), "target") for week in WEEKS[1:]]
    )
    for name in ("xgboost", "lightgbm"):
        own = before.context.member_positions[name].dropna()
        pd.testing.assert_series_equal(own, recorded[name], check_names=False, check_freq=False, check_exact=True)
    after = training_inputs(project, LAST)
    assert after.identity_inputs == before.identity_inputs, "read from the store or decided again, it is the same"


def keys(names):
    import dagster as dg

    return [dg.AssetKey(name) for name in names]


def test_a_week_is_read_from_the_scores_only_where_the_same_versions_decided_on_the_same_features(
    build_project, vote_on_boosters, monkeypatch
):
    project = build_project(vote_on_boosters).market_data()
    assert project.run("weekly_cycle", f"AAA|{FIRST}", f"AAA|{LAST}").success
    as_of = pd.Timestamp(LAST, tz="UTC")
    candles, features = (read_bars(project.store, a, "AAA", "2019-09-01", as_of) for a in ("candles", "features"))
    loaded = []

    def load(model_id):
        loaded.append(model_id)
        return project.registry.load("AAA", model_id)

    def positions(features=features, cache=None):
        loaded.clear()
        start = pd.Timestamp(FIRST, tz="UTC")
        cache = {} if cache is None else cache
        history = MarketHistory(project.store, project.settings, "AAA")
        span = OutOfSampleSpan(history, start, as_of, Bars(candles, features), load, cache)
        return out_of_sample_positions(span, "xgboost")

    stored = positions()
    assert loaded == [], "all weeks are scored"
    other = features.copy()
    other.loc[as_of - pd.Timedelta("2D") :, "rsi_14"] += 1e-3
    positions(other)
    assert len(loaded) == 2, "the revised week is decided again: by its version and, a bar before, by the previous one"
    cache = {}
    assert positions(cache=cache).equals(stored)
    assert positions(other, cache).equals(stored), "a run decides a week once"
    changed = {**project.store.read_record("xgboost_model", "AAA", FIRST)}
    changed["versions"] = [
        {**changed["versions"][0], "model_id": versions_of(project.store, "AAA", "xgboost")[1].model_id}
    ]
    project.store.write_record("xgboost_model", "AAA", FIRST, changed)
    positions()
    assert loaded, "another version is in force than the one that was scored"


def test_bars_after_as_of_change_no_input_of_an_ensemble(build_project, vote_on_boosters):
    """The blocking check says so in every run; here with a leak planted, which it must find."""
    project = build_project(vote_on_boosters).market_data()
    result = project.run("weekly_cycle", f"AAA|{FIRST}", f"AAA|{LAST}")
    assert result.success
    (check,) = [e for e in result.get_asset_check_evaluations() if e.asset_key.path == ["vote_model"] if e.blocking]
    assert "not examined on synthetic markets" in check.description, "the only thing that it has to say"
    assert check.metadata["weeks"].value.count("trained") == 1


def test_a_record_that_reaches_too_far_stops_the_scores(build_project, vote_on_boosters, monkeypatch):
    def too_far(span, recipe):
        store, symbol = span.history.store, span.history.symbol
        months = store.periods("candles", symbol)
        moves = store.read_frames("candles", symbol, months[0], months[-1])["close"].pct_change()
        return (moves > 0).astype(float).loc[span.start : span.as_of + pd.Timedelta("8h")]

    monkeypatch.setattr(ensemble_members, "out_of_sample_positions", too_far)
    project = build_project(vote_on_boosters).market_data()
    result = project.run("weekly_cycle", f"AAA|{LAST}")
    assert not result.success
    evaluations = {e.asset_key.path[-1]: e for e in result.get_asset_check_evaluations() if e.check_name == "leak_free"}
    message = "what it learns from beside the window (record) changes with the bars after 2020-01-13 00:00:00+00:00"
    assert message in evaluations["vote_model"].description


def test_missing_members_are_named_and_the_others_go_on(build_project, vote_on_boosters):
    vote_on_boosters["recipes"]["vote"]["members"] = ["xgboost", "lightgbm", "retired", "young"]
    for name in ("retired", "young"):
        vote_on_boosters["recipes"][name] = vote_on_boosters["recipes"]["lightgbm"]
    vote_on_boosters["symbols"]["AAA"]["recipes"] = ["xgboost", "lightgbm", "young", "vote"]
    project = build_project(vote_on_boosters).market_data()
    only = keys(["xgboost_model", "lightgbm_model"])
    assert project.run("weekly_cycle", f"AAA|{FIRST}", f"AAA|{LAST}", asset_selection=only).success
    inputs = training_inputs(project, LAST)
    assert inputs.excluded == {"retired": "no recipe of AAA", "young": "it has no version yet"}
    assert list(inputs.context.members) == ["xgboost", "lightgbm"]
    newest = versions_of(project.store, "AAA", "lightgbm")[-1].model_id
    registry = project.registry
    number = registry.find("AAA", newest).number
    registry.client().delete_model_version("AAA", str(number))
    without_one = training_inputs(project, LAST)
    assert without_one.excluded["lightgbm"] == f"its version {newest} cannot be loaded"
    assert without_one.context.member_positions["xgboost"].equals(inputs.context.member_positions["xgboost"])
    assert without_one.identity_inputs["members"].keys() == {"xgboost"}


def test_an_ensemble_depends_on_its_members(build_project, vote_on_boosters):
    vote_on_boosters["recipes"]["stack"] = {**vote_on_boosters["recipes"]["vote"], "algorithm": "ensemble_stack"}
    project = build_project(vote_on_boosters)
    assert members_of(project.settings, "vote") == ("lightgbm", "xgboost")
    assert members_of(project.settings, "xgboost") == ()
    graph = project.definitions.resolve_asset_graph()
    parents = {key.path[-1] for key in graph.get(keys(["vote_model"])[0]).parent_keys}
    assert parents == {"features", "xgboost_model", "lightgbm_model"}
    vote_on_boosters["recipes"]["vote"]["members"] = ["stack", "xgboost"]
    with pytest.raises(ValueError, match=r"recipes\.vote\.members: stack is an ensemble itself"):
        build_project(vote_on_boosters)


@pytest.fixture
def pooled(small, skill_not_measured):
    """The pool on both symbols, of which BBB begins late, and a booster of its own on BBB."""
    base = {"label": {"kind": "forward_return", "horizon": 2}, "window_bars": 150}
    small["recipes"]["pooled"] = {**base, "algorithm": "pooled_lightgbm", "params": {"max_rounds": 10}}
    small["symbols"]["AAA"]["recipes"] = ["pooled"]
    small["symbols"]["BBB"] |= {"recipes": ["pooled", "lightgbm"]}
    small["symbols"]["BBB"]["source"] |= {"seed": 4}
    return small


def test_a_pool_is_fitted_once_and_serves_each_symbol(build_project, pooled, monkeypatch):
    from quantum_training.models import pooled_lightgbm

    fits, fit = [], pooled_lightgbm.Model.fit.__func__
    counted = classmethod(lambda cls, *args: (fits.append(args[0].window.content_hash), fit(cls, *args))[1])
    monkeypatch.setattr(pooled_lightgbm.Model, "fit", counted)
    project = build_project(pooled).market_data().market_data("BBB")
    for symbol in ("AAA", "BBB"):
        assert project.run("weekly_cycle", f"{symbol}|{FIRST}", f"{symbol}|{LAST}").success
    assert len(fits) == len(set(fits)) == len(WEEKS)
    models = {s: project.registry.load(s, versions_of(project.store, s, "pooled")[-1].model_id) for s in ("AAA", "BBB")}
    assert [m.symbol for m in models.values()] == ["AAA", "BBB"]
    assert models["AAA"].booster.core.model_to_string() == models["BBB"].booster.core.model_to_string()
    assert models["AAA"].score == models["BBB"].score is not None
    other = build_project(pooled).market_data().market_data("BBB")
    for symbol in ("BBB", "AAA"):
        assert other.run("weekly_cycle", f"{symbol}|{LAST}").success
    ids = [versions_of(w.store, "AAA", "pooled")[-1].model_id for w in (project, other)]
    assert ids[0] == ids[1], "whoever comes first"
    assert pool_of(project.settings, "AAA", "pooled") == pool_peers(project.settings, ["BBB"]) == ["AAA", "BBB"]


def test_a_symbol_with_too_little_history_falls_back_to_the_pool(build_project, pooled):
    pooled["symbols"]["BBB"]["source"] |= {"start": "2019-10-25"}
    project = build_project(pooled).market_data().market_data("BBB", "2019-10-01")
    result = project.run("weekly_cycle", f"BBB|{FIRST}")
    assert result.success
    assert project.store.read_record("lightgbm_model", "BBB", FIRST)["outcome"] == "insufficient"
    (event,) = result.asset_materializations_for_node("pooled_model")
    assert event.metadata["fallback"].value == "BBB has too little history of its own to be in the pool"
    assert "labelled rows known at 2019-12-30" in event.metadata["left_out"].value["BBB"]
    assert event.metadata["pool"].value == "AAA"
    assert project.run("weekly_cycle", f"BBB|{WEEKS[1]}").success
    scores = project.store.read_frame("shadow_scores", "BBB", WEEKS[1])
    assert scores.loc[scores["strategy"] == "pooled", "target"].notna().all()


def test_a_recipe_is_not_due_between_its_weeks_unless_a_time_is_requested(build_project, small, skill_not_measured):
    small["recipes"]["lightgbm"]["every_weeks"] = 2
    small["symbols"]["AAA"]["recipes"] = ["lightgbm"]
    project = build_project(small).market_data()
    assert project.run("weekly_cycle", "AAA|2020-01-06", "AAA|2020-01-27").success

    def record(week):
        return project.store.read_record("lightgbm_model", "AAA", week)

    weeks = ["2020-01-06", "2020-01-13", "2020-01-20", "2020-01-27"]
    assert [record(w)["outcome"] for w in weeks] == ["trained", "trained", "resting", "trained"], (
        "the first, then by turns"
    )
    newest = record("2020-01-13")["versions"][0]["model_id"]
    rest = {"outcome": "resting", "newest": newest, "next_training": "2020-01-27", "versions": []}
    assert record("2020-01-20") == rest
    scores = project.store.read_frame("shadow_scores", "AAA", "2020-01-27")
    own = scores[scores["strategy"] == "lightgbm"]
    assert set(own["model_id"]) == {newest}
    assert own["target"].notna().all()

    config = {
        "ops": {"lightgbm_model": {"config": {"as_of": "2020-01-22", "trigger": "MANUAL", "reason": "requested"}}}
    }
    only = keys(["lightgbm_model"])
    assert project.run("weekly_cycle", "AAA|2020-01-20", asset_selection=only, run_config=config).success
    triggered = record("2020-01-20")
    assert (triggered["outcome"], len(triggered["versions"])) == ("trained", 1)
    result = project.run("weekly_cycle", "AAA|2020-01-20", asset_selection=only)
    (event,) = result.asset_materializations_for_node("lightgbm_model")
    assert event.metadata["outcome"].value == "resting"
    assert record("2020-01-20") == triggered, "a rest takes nothing away, and the checks still look at the version"
    (check,) = [e for e in result.get_asset_check_evaluations() if e.check_name == "leak_free"]
    assert "nothing to examine" not in (check.description or "")


def test_the_first_run_after_a_missed_week_trains(build_project, small, skill_not_measured):
    small["recipes"]["lightgbm"]["every_weeks"] = 2
    small["symbols"]["AAA"]["recipes"] = ["lightgbm"]
    project = build_project(small).market_data()
    only = keys(["lightgbm_model"])
    for week in ("2019-12-30", "2020-01-20", "2020-01-27"):
        assert project.run("weekly_cycle", f"AAA|{week}", asset_selection=only).success
    trained = {v.as_of.strftime("%m-%d") for v in versions_of(project.store, "AAA", "lightgbm")}
    assert trained == {"12-30", "01-20", "01-27"}, "01-13 was not run, so 01-20 trains; 01-27 is due"


def test_an_ensemble_may_read_less_than_its_members(build_project, vote_on_boosters):
    vote_on_boosters["recipes"]["vote"] |= {"algorithm": "ensemble_regime", "features": ["volatility_60", "trend_60"]}
    project = build_project(vote_on_boosters).market_data()
    assert project.run("weekly_cycle", f"AAA|{FIRST}", f"AAA|{LAST}").success
    assert versions_of(project.store, "AAA", "vote")
