"""A recipe that reads another market's bars: AAA of four hours learns from BBB of one hour."""

from pathlib import Path
from urllib.parse import unquote, urlsplit

import dagster as dg
import numpy as np
import pandas as pd
import pytest

from quantum_training.features.indicators import FEATURES
from quantum_training.lifecycle import feature_sets
from quantum_training.lifecycle.evaluation import leakage
from quantum_training.lifecycle.market_history import MarketHistory, first_month_for_week
from quantum_training.lifecycle.other_markets import known_columns
from quantum_training.lifecycle.records import ModelRecord, read_record
from quantum_training.market.periods import Key
from quantum_training.models.callers_candles import CallerError
from quantum_training.models.served_version import ServedVersion
from quantum_training.partitions import build_partitions
from quantum_training_tests.support.projects import failed_step as failure
from quantum_training_tests.support.projects import versions_of_aaa as versions

MODULE = "quantum_training_tests.support.feature_modules"
FIRST, LAST = "2019-09-01", "2020-02-01"
WEEKS = ("2020-01-06", "2020-01-13")
COLUMNS = ("context__value_BBB", "context__value_1d_BBB")
FOUR_HOURS = pd.Timedelta("4h")


pytestmark = pytest.mark.usefixtures("skill_not_measured")


@pytest.fixture
def with_context(small):
    """AAA's xgboost learns from BBB, which has other prices and bars of one hour and no recipes; lightgbm does not."""
    context = {"module": MODULE, "params": {"function": "honest"}, "of": "BBB", "timeframes": ["1d"]}
    small["features"] = {"context": context}
    small["recipes"]["xgboost"]["features"] = ["default", "context"]
    other = small["symbols"]["BBB"]
    small["symbols"]["BBB"] = {
        **other,
        "timeframe": "1h",
        "recipes": [],
        "source": {**other["source"], "seed": 5},
    }
    return small


@pytest.fixture
def project(build_project, with_context):
    return built(build_project, with_context)


def built(build_project, settings, last=LAST):
    project = build_project(settings)
    for symbol, month in (("AAA", LAST), ("BBB", last)):
        assert project.run("market_data", f"{symbol}|{FIRST}", f"{symbol}|{month}").success
    return project


def test_the_set_is_stored_once_for_the_market_that_it_is_of(project):
    assert project.store.periods("features_context", "AAA") == []
    stored = project.store.read_frames("features_context", "BBB", FIRST, LAST)
    assert [*stored] == ["context__value", "context__value_1d"]
    candles = project.store.read_frames("candles", "BBB", FIRST, LAST)
    np.testing.assert_array_equal(
        stored["context__value"], np.log(candles["close"]).diff(24).where(stored.notna().any(axis=1))
    )


def test_a_row_has_the_columns_as_they_were_known_at_its_close(project):
    features = MarketHistory(project.store, project.settings, "AAA").features(
        FIRST, pd.Timestamp("2020-02-10", tz="UTC")
    )
    stored = project.store.read_frames("features_context", "BBB", FIRST, LAST)
    known = features.loc["2019-12-01":, list(COLUMNS)]
    at_close = stored.reindex(known.index + FOUR_HOURS - pd.Timedelta("1h"))
    np.testing.assert_array_equal(known.to_numpy(), at_close.to_numpy())
    assert known.notna().all(axis=None)


@pytest.mark.long
def test_a_version_learns_from_it_as_a_range_and_week_by_week(project, build_project, with_context):
    assert project.run("weekly_cycle", f"AAA|{WEEKS[0]}", f"AAA|{WEEKS[1]}").success
    run = project.registry.client().get_run(versions(project)["xgboost", WEEKS[0]].run_id)
    assert run.data.params["features"] == ",".join([*FEATURES, *COLUMNS])

    single = built(build_project, with_context)
    for week in WEEKS:
        assert single.run("weekly_cycle", f"AAA|{week}").success
    stored = [
        {name: data for name, data in p.stored().items() if not name.endswith(".html")} for p in (single, project)
    ]
    assert stored[0] == stored[1]

    version = versions(project)["xgboost", WEEKS[0]]
    location = project.registry.client().get_model_version_download_uri("AAA", version.version)
    folder = Path(unquote(urlsplit(location).path)) / "artifacts"
    served = ServedVersion.load(folder / "model", folder / "market.json")
    candles = project.store.read_frames("candles", "AAA", FIRST, LAST)
    with pytest.raises(CallerError, match=r"AAA: the version learns from BBB, too, .* send features"):
        served.predict(candles, {})
    rows = MarketHistory(project.store, project.settings, "AAA").features(FIRST, pd.Timestamp(LAST, tz="UTC")).dropna()
    assert len(served.predict(rows, {})) == len(rows)


def leak(project, recipe):
    """What the leak check finds in the version of the first week."""
    key = Key("AAA", pd.Timestamp(WEEKS[0], tz="UTC"))
    return leakage.version_report(project.store, project.registry, project.settings, recipe, key)


def test_the_leak_check_changes_the_future_of_the_other_market_too(project, monkeypatch):
    """A join that took bars of a day later is found."""
    assert project.run("weekly_cycle", f"AAA|{WEEKS[0]}").success
    assert leak(project, "xgboost").failure is None
    perturbed = leakage.perturbed_stores(
        project.store, project.settings, "xgboost", "AAA", pd.Timestamp(WEEKS[0], tz="UTC"), 50
    )
    futures = [store.read_frames("features_context", "BBB", FIRST, LAST)["context__value"] for store in perturbed]
    moved = futures[0].ne(futures[1]) & futures[0].notna()
    assert moved.idxmax() == pd.Timestamp(WEEKS[0], tz="UTC"), "the first bar of one hour that opens then"

    def looking_ahead(settings, symbol, stored, closed):
        return known_columns(settings, symbol, stored, closed + pd.Timedelta("1D"))

    monkeypatch.setattr(feature_sets, "known_columns", looking_ahead)
    failure = leak(project, "xgboost").failure
    assert failure.startswith(f"the training window as of {WEEKS[0]} 00:00:00+00:00 changes with the bars after it")
    assert leak(project, "lightgbm").failure is None


def test_recipes_that_read_the_same_are_examined_on_the_same_views(project):
    """And on new ones once other bars are stored."""
    same = project.settings.model_copy(deep=True)
    same.recipes["twin"] = same.recipes["xgboost"]

    def views(recipe):
        return leakage.perturbed_stores(project.store, same, recipe, "AAA", pd.Timestamp(WEEKS[0], tz="UTC"), 50)

    shared = views("xgboost")
    assert views("twin") is shared
    assert views("lightgbm") is not shared, "it does not read BBB"
    shared = views("xgboost")
    bars = project.store.read_frame("candles", "BBB", LAST)
    project.store.write_frame("candles", "BBB", LAST, bars * 1.5, project.store.attributes("candles", "BBB", LAST))
    assert views("twin") is not shared


def test_a_training_waits_for_the_other_market(build_project, with_context):
    project = built(build_project, with_context, last="2020-01-01")
    assert project.run("weekly_cycle", "AAA|2020-01-27").success
    result = project.run("weekly_cycle", "AAA|2020-02-10")
    step, error = failure(result)
    assert step == "xgboost_model"
    assert "AAA: features_context of BBB is needed until 2020-02-10 00:00:00+00:00, but of 2020-02-01" in error
    assert "run the job market_data of BBB for these months first" in error
    assert ("lightgbm", "2020-02-10") in versions(project)


def test_or_its_rows_are_missing(build_project, with_context):
    with_context["features"]["context"]["late"] = "missing"
    project = built(build_project, with_context, last="2020-01-01")
    week = "2020-02-10"
    assert project.run("weekly_cycle", "AAA|2020-02-03", f"AAA|{week}").success
    record = read_record(project.store, ModelRecord, "AAA", week, "xgboost_model")
    assert record.outcome == "trained"
    history = MarketHistory(project.store, project.settings, "AAA")
    scores = history.scores(week).groupby("strategy")["target"]
    assert scores.get_group("xgboost").isna().all()
    assert scores.get_group("lightgbm").notna().any()
    features = history.features(FIRST, pd.Timestamp(week, tz="UTC"))
    assert features[list(COLUMNS)].dropna().index[-1] == pd.Timestamp("2020-01-31 20:00", tz="UTC")


def test_the_month_of_a_cycle_reach_back_for_those_who_read_them(build_project, with_context):
    project = build_project(with_context)
    first = {symbol: first_month_for_week(project.settings, symbol, WEEKS[0]) for symbol in ("AAA", "BBB")}
    assert first["BBB"] < first["AAA"], "the rows of AAA, and two days of warm-up before them"
    del with_context["features"], with_context["recipes"]["xgboost"]["features"]
    without = build_project(with_context)
    assert first_month_for_week(without.settings, "BBB", WEEKS[0]) > first["BBB"]
    assert first_month_for_week(without.settings, "AAA", WEEKS[0]) == first["AAA"]


def test_the_whole_cycle_of_a_symbol_brings_the_bars_that_it_reads(build_project, with_context):
    project = build_project(with_context)
    config = {"ops": {"run_cycle": {"config": {"symbols": ["AAA"], "week": WEEKS[0], "weeks": 1}}}}
    job = project.definitions.resolve_job_def("clm_cycle")
    assert job.execute_in_process(instance=project.instance, run_config=config).success
    assert ("xgboost", WEEKS[0]) in versions(project)
    assert project.store.periods("features_context", "BBB")
    assert project.store.periods("shadow_scores", "BBB") == []


def test_lineage_leads_to_the_partitions_of_the_other_market(build_project, with_context):
    project = build_project(with_context)
    graph = project.definitions.resolve_asset_graph()
    grids = build_partitions(("AAA", "BBB"), "2019-09-01")
    model = graph.get(dg.AssetKey("xgboost_model"))
    mapping = model.partition_mappings[dg.AssetKey("features_context")]
    week = grids.week.subset_with_partition_keys([dg.MultiPartitionKey({"symbol": "AAA", "week": WEEKS[0]})])
    found = mapping.get_upstream_mapped_partitions_result_for_partitions(week, grids.week, grids.month)
    assert sorted(found.partitions_subset.get_partition_keys()) == ["BBB|2019-12-01", "BBB|2020-01-01"]


def test_a_symbol_that_is_not_in_the_settings_is_refused(build_project, with_context):
    with_context["features"]["context"]["of"] = ["BBB", "CCC"]
    with pytest.raises(Exception, match=r"features\.context.of: unknown CCC; allowed: AAA, BBB"):
        build_project(with_context)


def test_a_symbol_without_recipes_has_months_and_no_weeks(project):
    """Its months are read by the weeks of AAA; the cycle of all symbols trains AAA alone."""
    graph = project.definitions.resolve_asset_graph()
    model, sets = (graph.get(dg.AssetKey(name)) for name in ("xgboost_model", "features_context"))
    assert {key.split("|")[0] for key in model.partitions_def.get_partition_keys()} == {"AAA"}
    assert {key.split("|")[0] for key in sets.partitions_def.get_partition_keys()} == {"AAA", "BBB"}
    month = sets.partitions_def.subset_with_partition_keys(
        [dg.MultiPartitionKey({"symbol": "BBB", "utc_month": "2020-01-01"})]
    )
    mapping = model.partition_mappings[sets.key]
    weeks = mapping.get_downstream_partitions_for_partitions(month, sets.partitions_def, model.partitions_def)
    assert sorted(weeks.get_partition_keys())[0] == "AAA|2019-12-30"

    job = project.definitions.resolve_job_def("clm_cycle")
    config = {"week": WEEKS[0], "weeks": 1}
    assert job.execute_in_process(
        instance=project.instance, run_config={"ops": {"run_cycle": {"config": config}}}
    ).success
    assert project.store.periods("champion", "AAA", "json") == [WEEKS[0]]
    assert project.store.periods("shadow_scores", "BBB") == []


@pytest.mark.parametrize(
    ("job", "op", "config", "words"),
    [
        ("clm_cycle", "run_cycle", {"symbols": ["BBB"]}, "BBB without recipes: there is nothing to train"),
        (
            "retrain",
            "retrain_recipes",
            {"symbol": "BBB", "actor": "me", "reason": "x"},
            "BBB has no recipes",
        ),
    ],
)
def test_a_symbol_without_recipes_cannot_be_trained(project, job, op, config, words):
    job = project.definitions.resolve_job_def(job)
    result = job.execute_in_process(
        instance=project.instance, run_config={"ops": {op: {"config": config}}}, raise_on_error=False
    )
    assert words in failure(result)[1]


def test_some_symbol_has_a_recipe(build_project, with_context):
    with_context["symbols"]["AAA"]["recipes"] = []
    with pytest.raises(ValueError, match="symbols: none has a recipe; name one"):
        build_project(with_context)
