"""The leak checks through Dagster: honest runs pass, each kind of leak fails its check and stops the run."""

import sys
from types import SimpleNamespace

import dagster as dg
import pandas as pd
import pytest

from quantum_training.features.indicators import compute_features
from quantum_training.lifecycle import feature_sets
from quantum_training.lifecycle.evaluation import leakage
from quantum_training.lifecycle.evaluation.leakage import SKILL_RECORDS, feature_report
from quantum_training.lifecycle.training import inputs
from quantum_training.lifecycle.training.training_window import training_window
from quantum_training.models.contract import Model
from quantum_training.partitions import parse_key
from quantum_training_tests.support.projects import needing

WEEKS = ("AAA|2020-01-06", "AAA|2020-01-20")


class Peeking(Model):
    """Invested if the next row's bar went up; it learns nothing."""

    report, importance, columns = {}, {}, ("return_1",)

    @classmethod
    def fit(cls, context):
        return cls()

    def positions(self, features):
        return (features["return_1"].shift(-1) > 0).astype("float64")

    def save(self, folder):
        (folder / "peeking.txt").write_text("no parameters")

    @classmethod
    def load(cls, folder):
        return cls()


@pytest.fixture
def one(small):
    """The small settings with one symbol and one recipe."""
    small["symbols"] = {"AAA": {**small["symbols"]["AAA"], "recipes": ["xgboost"]}}
    small["recipes"] = {"xgboost": small["recipes"]["xgboost"]}
    return small


def evaluations(result, check):
    return [e for e in result.get_asset_check_evaluations() if e.check_name == check]


def materialised(result):
    return {e.asset_key.to_user_string() for e in result.get_asset_materialization_events()}


def next_bar_return(candles, since):
    """Features of a code version whose `return_1` is the return of the next bar."""
    out = compute_features(candles, since).copy()
    out["return_1"] = (candles["close"].shift(-1) / candles["close"] - 1).fillna(0.0).loc[out.index]
    return out


def test_features_and_every_model_have_a_blocking_leak_check(build_project, small):
    graph = build_project(small).definitions.resolve_asset_graph()
    keys = [key for key in graph.asset_check_keys if key.name in ("causal", "leak_free")]
    checks = {f"{key.asset_key.to_user_string()}:{key.name}" for key in keys}
    assert checks == {"features:causal", "xgboost_model:leak_free", "lightgbm_model:leak_free"}
    assert all(graph.get(key).blocking for key in keys)


@pytest.mark.long
def test_honest_runs_pass_and_show_what_was_measured(build_project, small):
    project = build_project(small)
    (causal,) = evaluations(project.run("market_data", "AAA|2019-09-01", "BBB|2020-02-01"), "causal")
    assert causal.passed
    assert causal.metadata["rows_compared"].value == 2 * 87
    assert 0 < causal.metadata["largest_warmup_difference"].value < 1e-9
    assert "BBB" in causal.metadata["compared"].value
    result = project.run("weekly_cycle", *WEEKS)
    assert result.success
    leak_checks = evaluations(result, "leak_free")
    assert {e.asset_key.to_user_string() for e in leak_checks} == {"xgboost_model", "lightgbm_model"}
    for evaluation in leak_checks:
        assert evaluation.passed, evaluation.description
        assert evaluation.metadata["ic_unpredictable"].value <= 0.05
        assert evaluation.metadata["ic_planted"].value > 0.2
        assert "2020-01-20 00:00:00+00:00" in evaluation.metadata["weeks"].value
        assert "planted" in evaluation.metadata["skill"].value


@pytest.mark.long
def test_skill_is_measured_once_per_code_and_recipe(build_project, one, monkeypatch):
    project = build_project(one).market_data()
    assert project.run("weekly_cycle", WEEKS[0]).success
    (period,) = project.store.periods(SKILL_RECORDS, "xgboost", "json")
    stored = project.stored()

    def never(recipe, timeframe, code):
        raise AssertionError("measured again")

    monkeypatch.setattr(leakage, "measure_skill", never)
    assert project.run("weekly_cycle", WEEKS[0]).success
    assert project.stored() == stored
    changed = build_project({**one, "recipes": {"xgboost": {**one["recipes"]["xgboost"], "seed": 8}}}).market_data()
    assert not changed.run("weekly_cycle", WEEKS[0]).success
    assert changed.store.periods(SKILL_RECORDS, "xgboost", "json") == []
    assert period.startswith("recipe-")


def test_a_feature_that_looks_ahead_stops_the_run(build_project, one, monkeypatch):
    monkeypatch.setattr(feature_sets, "compute_features", next_bar_return)
    result = build_project(one).run("market_data", "AAA|2019-09-01", "AAA|2020-02-01")
    assert not result.success
    (causal,) = evaluations(result, "causal")
    assert (causal.passed, causal.severity, causal.blocking) == (False, dg.AssetCheckSeverity.ERROR, True)
    assert causal.description.startswith(
        "features AAA|2020-02-01: a feature looks ahead: with other bars after 2020-02"
    )
    assert "return_1 of the bar" in causal.description


def test_features_that_leaking_code_stored_are_found_by_sound_code(build_project, one, monkeypatch):
    with monkeypatch.context() as leaking:
        leaking.setattr(feature_sets, "compute_features", next_bar_return)
        project = build_project(one)
        project.run("market_data", "AAA|2019-09-01", "AAA|2020-02-01")
    grid = project.definitions.resolve_assets_def("features").partitions_def
    report = feature_report(project.store, project.settings.symbols["AAA"], parse_key(grid, "AAA|2020-02-01"))
    (failure,) = report.failures
    assert "the stored bytes are not what the code computes: return_1 of the bar 2020-02-01" in failure


@pytest.mark.long
@pytest.mark.parametrize("label", ["forward_return", "triple_barrier"])
@pytest.mark.parametrize("hours", [4, 8, 40])
def test_a_window_without_embargo_stops_the_scores(build_project, one, monkeypatch, label, hours):
    """Its window reaches some bars too far, as if a label were known at its bar."""

    def without_embargo(store, settings, name, recipe, as_of):
        return training_window(store, settings, name, recipe, as_of + pd.Timedelta(hours=hours))

    if label == "triple_barrier":
        barriers = {"kind": label, "horizon": 5, "take_profit": 1, "stop_loss": 1, "volatility_bars": 20}
        one["recipes"]["xgboost"]["label"] = barriers
    project = build_project(one).market_data()
    monkeypatch.setattr(inputs, "training_window", without_embargo)
    result = project.run("weekly_cycle", WEEKS[1])
    assert not result.success
    (evaluation,) = evaluations(result, "leak_free")
    assert (evaluation.passed, evaluation.severity, evaluation.blocking) == (False, dg.AssetCheckSeverity.ERROR, True)
    assert (
        "xgboost AAA|2020-01-20: the training window as of 2020-01-20 00:00:00+00:00 changes" in evaluation.description
    )
    assert materialised(result) == {"xgboost_model"}


@pytest.mark.long
def test_a_model_that_looks_ahead_stops_the_scores(build_project, one, monkeypatch):
    monkeypatch.setitem(sys.modules, "unfair.peeking", SimpleNamespace(Model=Peeking))
    one["recipes"]["xgboost"] |= {"algorithm": "unfair.peeking", "params": {}}
    project = build_project(one).market_data()
    result = project.run("weekly_cycle", WEEKS[1])
    assert not result.success
    (evaluation,) = evaluations(result, "leak_free")
    findings = evaluation.metadata["findings"].value.splitlines()
    assert len(findings) == 3
    assert "positions look ahead: with" in findings[0]
    assert "predicts random walks" in findings[1]
    assert "survives shuffled labels" in findings[2]
    assert materialised(result) == {"xgboost_model"}
    assert project.store.periods("shadow_scores", "AAA") == []


@pytest.mark.long
def test_a_recipe_that_cannot_show_skill_is_a_warning_that_stops_nothing(build_project, one):
    one["recipes"]["xgboost"]["features"] = ["hour_sin", "weekday_cos"]
    result = build_project(one).market_data().run("weekly_cycle", WEEKS[1])
    assert result.success
    (evaluation,) = evaluations(result, "leak_free")
    assert (evaluation.passed, evaluation.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert "learns nothing from a planted trend" in evaluation.description


def test_a_recipe_that_synthetic_markets_leave_too_little_for_is_a_warning(build_project, one):
    project = build_project(one).market_data()
    recipe = project.settings.recipes["xgboost"].model_copy(update={"validation_fraction": 1e-6})
    assert "no validation row" in leakage.skill_record(project.store, "xgboost", recipe)["insufficient"]


@pytest.mark.long
@pytest.mark.parametrize(
    ("outcome", "description"),
    [
        ("insufficient", "nothing to examine: AAA|2020-01-20 insufficient"),
        ("not_configured", "nothing to examine: AAA|2020-01-20 not_configured"),
    ],
)
def test_without_a_version_the_check_passes_and_says_why(build_project, small, outcome, description):
    if outcome == "not_configured":
        small["symbols"]["AAA"]["recipes"] = ["lightgbm"]
    project = build_project(needing(5000, small) if outcome == "insufficient" else small).market_data()
    result = project.run("weekly_cycle", WEEKS[1])
    assert result.success
    evaluation = {e.asset_key.to_user_string(): e for e in evaluations(result, "leak_free")}["xgboost_model"]
    assert (evaluation.passed, evaluation.description) == (True, description)
    assert project.store.periods(SKILL_RECORDS, "xgboost", "json") == []


@pytest.mark.long
def test_a_version_of_an_instant_between_two_bars_passes(build_project, one):
    project = build_project(one).market_data()
    config = {"ops": {"xgboost_model": {"config": {"as_of": "2020-01-22T13:30:00"}}}}
    result = project.run("weekly_cycle", WEEKS[1], run_config=config)
    assert result.success
    (evaluation,) = evaluations(result, "leak_free")
    assert evaluation.passed
    assert "2020-01-22 13:30:00+00:00" in evaluation.metadata["weeks"].value


@pytest.mark.long
@pytest.mark.parametrize("week", ["2017-05-29", "2018-01-01"])
def test_daily_bars_with_weekends_and_holidays_before_the_week_pass(build_project, one, week):
    """The perturbed bars start after the week's Monday, not after the last bar, which is older by up to four days."""
    one["symbols"]["AAA"] |= {"source": {"kind": "sample", "dataset": "sp500"}, "timeframe": "1d", "calendar": "XNYS"}
    project = build_project({**one, "start": "2015-01-01", "end": "2018-12-31"})
    month = f"{pd.Timestamp(week) - pd.Timedelta(days=1):%Y-%m}-01"
    assert project.run("market_data", "AAA|2015-01-01", f"AAA|{month}").success
    result = project.run("weekly_cycle", f"AAA|{week}")
    assert result.success
    (evaluation,) = evaluations(result, "leak_free")
    assert evaluation.passed, evaluation.description
    assert "trained" in evaluation.metadata["weeks"].value
