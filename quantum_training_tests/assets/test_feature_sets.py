"""Feature sets in a whole project: their assets, the versions that learn from them, and what happens if one fails."""

import json
from dataclasses import replace
from pathlib import Path
from urllib.parse import unquote, urlsplit

import dagster as dg
import numpy as np
import pandas as pd
import pytest
import yaml

from quantum_training.definitions import build_defs
from quantum_training.features.indicators import FEATURES
from quantum_training.lifecycle.evaluation import leakage
from quantum_training.lifecycle.market_history import MarketHistory, first_month_for_week
from quantum_training.lifecycle.surveillance.drift import learned_columns
from quantum_training.models.served_version import ServedVersion
from quantum_training.settings import load_settings
from quantum_training_tests.support.projects import failed_step as failure
from quantum_training_tests.support.projects import versions_of_aaa as versions

MODULE = "quantum_training_tests.support.feature_modules"
MONTHS = ("2019-09-01", "2020-02-01")
WEEKS = ("2020-01-06", "2020-01-13")


pytestmark = pytest.mark.usefixtures("skill_not_measured")


@pytest.fixture
def with_set(small):
    """AAA has both boosters, of which xgboost learns from the set `past`, too; BBB has the other one."""
    small["features"] = {"past": {"module": MODULE, "params": {"function": "honest"}}}
    small["recipes"]["xgboost"]["features"] = ["default", "past"]
    small["symbols"]["BBB"]["recipes"] = ["lightgbm"]
    return small


@pytest.fixture
def project(build_project, with_set):
    built = build_project(with_set)
    assert built.run("market_data", f"AAA|{MONTHS[0]}", f"BBB|{MONTHS[1]}").success
    return built


def changed_settings(project, settings):
    """The same project with other settings."""
    file = project.home / "settings.yaml"
    file.write_text(yaml.safe_dump({**yaml.safe_load(file.read_text()), **settings}))
    loaded = load_settings()
    definitions = build_defs(loaded, {"store": project.store, "registry": project.registry})
    return replace(project, settings=loaded, definitions=definitions)


def test_a_set_is_an_asset_with_its_own_check_and_columns(build_project, with_set):
    graph = build_project(with_set).definitions.resolve_asset_graph()
    node = graph.get(dg.AssetKey("features_past"))
    assert node.parent_keys == {dg.AssetKey("candles")}
    (column,) = node.metadata["dagster/column_schema"].schema.columns
    assert (column.name, column.description) == ("past__value", "what the function gives")
    assert "feature_modules.compute(function='honest')" in node.description
    features = {dg.AssetKey("features"), dg.AssetKey("features_past")}
    assert graph.get(dg.AssetKey("xgboost_model")).parent_keys == features
    assert graph.get(dg.AssetKey("lightgbm_model")).parent_keys == {dg.AssetKey("features")}
    for reader in ("shadow_scores", "drift_report", "signals"):
        assert features <= graph.get(dg.AssetKey(reader)).parent_keys
    assert graph.get(dg.AssetCheckKey(dg.AssetKey("features_past"), "causal")).blocking
    assert dg.AssetCheckKey(dg.AssetKey("drift_report"), "past__value") in graph.asset_check_keys


def test_only_the_symbols_that_use_a_set_store_it(project):
    assert len(project.store.periods("features_past", "AAA")) == 6
    assert project.store.periods("features_past", "BBB") == []
    events = project.instance.fetch_materializations(dg.AssetKey("features_past"), limit=100).records
    unused = {e.partition_key: e.asset_materialization.metadata["summary"].value for e in events}["BBB|2020-01-01"]
    assert unused == "This set is not computed from bars of BBB."
    stored = project.store.read_frame("features_past", "AAA", "2020-01-01")
    candles = project.store.read_frames("candles", "AAA", *MONTHS)
    np.testing.assert_array_equal(stored["past__value"], np.log(candles["close"]).diff(24).loc[stored.index])


def test_a_version_learns_from_the_set_and_the_others_keep_their_ids(project, build_project, with_set):
    assert project.run("weekly_cycle", f"AAA|{WEEKS[0]}", f"AAA|{WEEKS[1]}").success
    run = project.registry.client().get_run(versions(project)["xgboost", WEEKS[0]].run_id)
    assert run.data.params["features"] == ",".join([*FEATURES, "past__value"])
    assert "past" in run.data.params["feature_sets"]

    single = build_project(with_set)
    for symbol in ("AAA", "BBB"):
        assert single.run("market_data", f"{symbol}|{MONTHS[0]}", f"{symbol}|{MONTHS[1]}").success
    for week in WEEKS:
        assert single.run("weekly_cycle", f"AAA|{week}").success
    bytes_of = [
        {name: data for name, data in p.stored().items() if not name.endswith(".html")} for p in (single, project)
    ]
    assert bytes_of[0] == bytes_of[1], "a range and single weeks give the same bytes"

    del with_set["features"], with_set["recipes"]["xgboost"]["features"]
    plain = build_project(with_set).market_data()
    assert plain.run("weekly_cycle", f"AAA|{WEEKS[0]}", f"AAA|{WEEKS[1]}").success
    ids = [{key: v.tags["model_id"] for key, v in versions(p).items()} for p in (project, plain)]
    assert all((ids[0][recipe, week] == ids[1][recipe, week]) == (recipe == "lightgbm") for recipe, week in ids[0])


def test_a_changed_set_is_computed_again_before_its_recipe_learns_from_it(project, with_set):
    with_set["features"]["past"]["params"]["function"] = "honest_day_before"
    changed = changed_settings(project, with_set)
    result = changed.run("weekly_cycle", f"AAA|{WEEKS[0]}")
    step, error = failure(result)
    assert step == "xgboost_model"
    assert "features_past is needed until 2020-01-06" in error
    assert "computed by other code, settings of features.past or values; run the job market_data of AAA" in error
    assert ("lightgbm", WEEKS[0]) in versions(changed)
    history = MarketHistory(changed.store, changed.settings, "AAA")
    assert history.features(MONTHS[0], pd.Timestamp(WEEKS[0], tz="UTC"))["past__value"].isna().all()

    before = {name: data for name, data in changed.stored().items() if name.startswith(("candles", "features/"))}
    assert changed.run("market_data", f"AAA|{MONTHS[0]}", f"AAA|{MONTHS[1]}").success
    assert before.items() <= changed.stored().items(), "nothing else is computed again"
    assert changed.run("weekly_cycle", f"AAA|{WEEKS[0]}").success


def test_a_set_that_fails_stops_no_other_recipe(build_project, with_set):
    with_set["features"]["past"]["params"]["function"] = "failing"
    project = build_project(with_set)
    result = project.run("market_data", f"AAA|{MONTHS[0]}", f"AAA|{MONTHS[1]}")
    step, error = failure(result)
    assert (step, "no such rate" in error) == ("features_past", True)
    assert len(project.store.periods("features", "AAA")) == 6
    assert not project.run("weekly_cycle", f"AAA|{WEEKS[0]}").success
    assert [*versions(project)] == [("lightgbm", WEEKS[0])]


def test_a_module_that_cannot_be_imported_stops_no_other_recipe(project, with_set):
    with_set["features"]["past"]["module"] = "no_such_module"
    changed = changed_settings(project, with_set)
    step, error = failure(changed.run("weekly_cycle", f"AAA|{WEEKS[0]}"))
    assert step == "xgboost_model"
    assert "features_past is needed until 2020-01-06" in error
    assert [*versions(changed)] == [("lightgbm", WEEKS[0])]
    history = MarketHistory(changed.store, changed.settings, "AAA")
    assert [*history.features(MONTHS[0], pd.Timestamp(WEEKS[0], tz="UTC"))] == [*FEATURES]
    first_months = [first_month_for_week(p.settings, "AAA", WEEKS[0]) for p in (project, changed)]
    assert first_months[0] == first_months[1]
    assert learned_columns(changed.settings, "AAA", "xgboost") == FEATURES
    step, error = failure(changed.run("market_data", f"AAA|{MONTHS[1]}", f"AAA|{MONTHS[1]}"))
    assert step == "features_past"
    assert "features.past: no_such_module cannot be imported" in error


def test_a_leak_in_a_set_fails_its_check(build_project, with_set):
    with_set["features"]["past"]["params"]["function"] = "centred_window"
    project = build_project(with_set)
    result = project.run("market_data", f"AAA|{MONTHS[0]}", f"AAA|{MONTHS[1]}")
    (check,) = [e for e in result.get_asset_check_evaluations() if e.asset_key == dg.AssetKey("features_past")]
    assert not check.passed
    assert "features_past AAA|2020-02-01: a feature looks ahead" in check.description
    assert "past__value of the bar 2020-02-" in check.description


def test_the_version_decides_from_candles_elsewhere_as_the_platform_does(project):
    assert project.run("weekly_cycle", f"AAA|{WEEKS[0]}").success
    version = versions(project)["xgboost", WEEKS[0]]
    location = project.registry.client().get_model_version_download_uri("AAA", version.version)
    folder = Path(unquote(urlsplit(location).path)) / "artifacts"
    served = ServedVersion.load(folder / "model", folder / "market.json")
    assert json.loads((folder / "market.json").read_text())["feature_sets"]["past"]["module"] == MODULE
    candles = project.store.read_frames("candles", "AAA", *MONTHS)
    features = project.store.read_frames("features", "AAA", *MONTHS).join(
        project.store.read_frames("features_past", "AAA", *MONTHS)
    )
    positions = served.predict(candles, {})
    expected = served.model.positions(features).loc[positions.index]
    pd.testing.assert_series_equal(positions, expected, check_names=False, check_exact=True, check_freq=False)
    assert len(positions) > 500
    lines = (folder.parent / "requirements.txt").read_text().splitlines()
    assert len({line.partition("==")[0].lower() for line in lines}) == len(lines)


@pytest.mark.long
def test_the_leak_check_of_a_recipe_covers_its_sets(build_project, with_set, skill_not_measured, monkeypatch):
    monkeypatch.setattr(leakage, "measure_skill", skill_not_measured)
    del with_set["recipes"]["lightgbm"]
    with_set["symbols"] = {"AAA": {**with_set["symbols"]["AAA"], "recipes": ["xgboost"]}}
    project = build_project(with_set)
    assert project.run("market_data", f"AAA|{MONTHS[0]}", f"AAA|{MONTHS[1]}").success
    result = project.run("weekly_cycle", f"AAA|{WEEKS[0]}")
    (check,) = [e for e in result.get_asset_check_evaluations() if e.check_name == "leak_free"]
    assert check.passed, check.description
    assert check.metadata["ic_planted"].value > 0.2

    with_set["features"]["past"]["params"]["function"] = "label_not_shifted"
    leaking = build_project(with_set)
    leaking.run("market_data", f"AAA|{MONTHS[0]}", f"AAA|{MONTHS[1]}")
    result = leaking.run("weekly_cycle", f"AAA|{WEEKS[0]}")
    (check,) = [e for e in result.get_asset_check_evaluations() if e.check_name == "leak_free"]
    assert not check.passed
