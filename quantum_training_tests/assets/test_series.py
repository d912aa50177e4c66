"""A recipe that reads a series: AAA learns from a rate that is published a day late, and revised."""

import dagster as dg
import numpy as np
import pandas as pd
import pytest

from quantum_training.features.indicators import FEATURES
from quantum_training.lifecycle import feature_sets
from quantum_training.lifecycle.evaluation import leakage
from quantum_training.lifecycle.feature_sets import late_sets
from quantum_training.lifecycle.market_history import MarketHistory
from quantum_training.lifecycle.series import ingest_series, publications
from quantum_training.lifecycle.series_columns import columns_known_before
from quantum_training.market.periods import Key
from quantum_training.partitions import build_partitions
from quantum_training.resources.store.store import content_hash
from quantum_training_tests.support.projects import failed_step as failure
from quantum_training_tests.support.projects import versions_of_aaa as versions

MODULE = "quantum_training_tests.support.series_modules"
FIRST, LAST = "2019-09-01", "2020-02-01"
WEEKS = ("2020-01-06", "2020-01-13")
COLUMN = "rate__result_short_rate"
DAY = pd.Timedelta("1D")


pytestmark = pytest.mark.usefixtures("skill_not_measured")


@pytest.fixture
def values():
    """A value a day, from before the first partition on."""
    days = pd.date_range("2019-08-01", "2020-02-29", freq="1D")
    return pd.Series(np.random.default_rng(2).normal(size=len(days)).cumsum().round(3), days)


@pytest.fixture
def with_series(small, values, tmp_path):
    """AAA's xgboost learns from the mean of three values of `short-rate`."""
    file = tmp_path / "rate.csv"
    values.rename_axis("date").to_csv(file, header=["rate"])
    source = {"kind": "file", "path": str(file), "time": "date", "value": "rate", "delay": "1d"}
    small["series"] = {"short-rate": {"source": source, "max_age": "5d"}, "unused": {"source": source, "max_age": "5d"}}
    small["features"] = {"rate": {"module": MODULE, "params": {"function": "mean_of_three"}, "series": "short-rate"}}
    small["recipes"]["xgboost"]["features"] = ["default", "rate"]
    return small


@pytest.fixture
def project(build_project, with_series):
    return built(build_project, with_series)


def built(build_project, settings, last=LAST):
    project = build_project(settings).market_data()
    assert project.run("series_data", f"short-rate|{FIRST}", f"short-rate|{last}").success
    return project


def features_of(project, until="2020-02-10"):
    return MarketHistory(project.store, project.settings, "AAA").features(FIRST, pd.Timestamp(until, tz="UTC"))


def test_a_row_has_the_value_that_was_known_before_its_close(project, values):
    features = features_of(project)
    closed = features.index + pd.Timedelta("4h")
    mean = values.rolling(3).mean().tz_localize("UTC")
    expected = mean.reindex((closed - pd.Timedelta("1ns")).normalize() - DAY).to_numpy()
    np.testing.assert_allclose(features[COLUMN].to_numpy(), expected, rtol=1e-12)
    assert features[COLUMN].notna().all(), "values before the first partition are there, too"


def test_the_assets_say_what_they_hold(project):
    graph = project.definitions.resolve_asset_graph()
    node = graph.get(dg.AssetKey("features_rate"))
    assert node.parent_keys == {dg.AssetKey("series")}
    (column,) = node.metadata["dagster/column_schema"].schema.columns
    assert (column.name, column.description) == ("rate__result", "what the function gives")
    assert "series_modules.compute(function='mean_of_three')` of the series short-rate" in node.description
    assert graph.get(dg.AssetCheckKey(dg.AssetKey("features_rate"), "causal")).blocking
    events = project.instance.fetch_materializations(dg.AssetKey("series"), limit=100).records
    summary = {e.partition_key: e.asset_materialization.metadata["summary"].value for e in events}
    assert summary["short-rate|2020-01-01"].startswith("31 values of short-rate known in 2020-01, the newest")
    evaluations = project.instance.event_log_storage.get_asset_check_execution_history(
        dg.AssetCheckKey(dg.AssetKey("features_rate"), "causal"), limit=1
    )
    assert evaluations[0].status.value == "SUCCEEDED"

    model = graph.get(dg.AssetKey("xgboost_model"))
    mapping = model.partition_mappings[dg.AssetKey("features_rate")]
    weeks = build_partitions(("AAA", "BBB"), "2019-09-01").week
    months = build_partitions(("short-rate", "unused"), "2019-09-01").month
    week = weeks.subset_with_partition_keys([dg.MultiPartitionKey({"symbol": "AAA", "week": WEEKS[0]})])
    found = mapping.get_upstream_mapped_partitions_result_for_partitions(week, weeks, months)
    assert sorted(found.partitions_subset.get_partition_keys()) == ["short-rate|2019-12-01", "short-rate|2020-01-01"]


@pytest.mark.long
def test_a_version_learns_from_it_as_a_range_and_week_by_week(project, build_project, with_series):
    assert project.run("weekly_cycle", f"AAA|{WEEKS[0]}", f"AAA|{WEEKS[1]}").success
    run = project.registry.client().get_run(versions(project)["xgboost", WEEKS[0]].run_id)
    assert run.data.params["features"] == ",".join([*FEATURES, COLUMN])
    single = build_project(with_series).market_data()
    for month in pd.date_range(FIRST, LAST, freq="MS"):
        assert single.run("series_data", f"short-rate|{month:%Y-%m-%d}").success
    for week in WEEKS:
        assert single.run("weekly_cycle", f"AAA|{week}").success
    stored = [{n: data for n, data in p.stored().items() if not n.endswith(".html")} for p in (single, project)]
    assert stored[0] == stored[1]


def test_the_leak_check_changes_what_becomes_known_later(project, monkeypatch):
    assert project.run("weekly_cycle", f"AAA|{WEEKS[0]}").success
    key = Key("AAA", pd.Timestamp(WEEKS[0], tz="UTC"))

    def leak():
        return leakage.version_report(project.store, project.registry, project.settings, "xgboost", key).failure

    assert leak() is None

    def looking_ahead(settings, series, stored, closed, rows):
        return columns_known_before(settings, series, stored, closed + 2 * DAY, rows)

    monkeypatch.setattr(feature_sets, "columns_known_before", looking_ahead)
    assert leak().startswith(f"the training window as of {WEEKS[0]} 00:00:00+00:00 changes with the bars after it")


def test_a_training_waits_for_the_series(build_project, with_series):
    project = built(build_project, with_series, last="2020-01-01")
    assert project.run("weekly_cycle", "AAA|2020-01-27").success
    step, error = failure(project.run("weekly_cycle", "AAA|2020-02-10"))
    assert step == "xgboost_model"
    assert "AAA: features_rate of short-rate is needed until 2020-02-10 00:00:00+00:00, but of 2020-02-01" in error
    assert "run the job series_data of short-rate for these months first" in error


def test_months_before_the_symbols_own_first_one_are_not_needed(build_project, with_series):
    with_series["symbols"]["AAA"]["start"] = "2019-12-01"
    with_series["recipes"]["xgboost"]["window_bars"] = 1000
    with_series["min_training_data_points"] = 50
    project = build_project(with_series).market_data("AAA", first="2019-12-01")
    assert project.run("series_data", "short-rate|2019-12-01", f"short-rate|{LAST}").success
    assert project.run("weekly_cycle", "AAA|2020-02-10").success
    assert ("xgboost", "2020-02-10") in versions(project)


def lacking(project, first=FIRST, until="2020-02-10"):
    history = MarketHistory(project.store, project.settings, "AAA")
    sets = project.settings.feature_sets("AAA")
    return [*late_sets(history.store, project.settings, "AAA", sets, first, pd.Timestamp(until, tz="UTC"))]


def test_new_values_leave_the_earlier_rows_of_their_month_in_use(project, tmp_path, values):
    assert lacking(project) == []
    before = features_of(project)[COLUMN]
    later = pd.concat([values, pd.Series([1.0, 2.0], pd.DatetimeIndex(["2020-03-01", "2020-03-02"]))])
    later.rename_axis("date").to_csv(tmp_path / "rate.csv", header=["rate"])
    ingest_series(
        project.store,
        project.settings,
        Key("short-rate", pd.Timestamp("2020-03-01", tz="UTC")),
        pd.Timestamp.now("UTC"),
    )
    assert lacking(project) == []
    pd.testing.assert_series_equal(features_of(project)[COLUMN], before)


def test_a_set_is_out_of_date_if_earlier_values_that_it_rests_on_are_brought_later(build_project, with_series):
    project = build_project(with_series).market_data()
    frame = project.store.read_frame
    assert project.run("series_data", "short-rate|2020-01-01", f"short-rate|{LAST}").success
    january = frame("features_rate", "short-rate", "2020-01-01")
    rows = frame("series", "short-rate", "2020-01-01")
    attributes = project.store.attributes("series", "short-rate", "2020-01-01")
    project.store.write_frame("series", "short-rate", "2020-01-01", rows.iloc[30:], attributes)
    (sentence,) = lacking(project, first="2020-01-01")
    assert "but of 2020-01-01 to 2020-02-01 it is not stored to its end, or was computed by" in sentence
    project.store.write_frame("series", "short-rate", "2020-01-01", rows, attributes)
    assert lacking(project, first="2020-01-01") == []
    assert frame("features_rate", "short-rate", "2020-01-01").equals(january)


def test_a_month_that_ends_early_is_lacking_also_if_the_next_one_is_whole(project):
    attributes = project.store.attributes("features_rate", "short-rate", "2019-12-01")
    frame = project.store.read_frame("features_rate", "short-rate", "2019-12-01")
    short = {**attributes, "covered_until": "2019-12-20T00:00:00+00:00"}
    rows = publications(project.store, "short-rate", pd.Timestamp("2019-12-20", tz="UTC"))
    project.store.write_frame(
        "features_rate", "short-rate", "2019-12-01", frame, {**short, "publications": content_hash(rows)}
    )
    (sentence,) = lacking(project)
    assert "but of 2019-12-01 it is not stored to its end" in sentence


def test_a_series_that_ended_is_missing_after_its_max_age(build_project, with_series, values, tmp_path):
    values[:"2020-01-20"].rename_axis("date").to_csv(tmp_path / "rate.csv", header=["rate"])
    column = features_of(built(build_project, with_series))[COLUMN]
    last = column.dropna().index[-1] + pd.Timedelta("4h")
    assert last == pd.Timestamp("2020-01-26", tz="UTC"), "known on the 21st, and five days old"


def test_wrong_values_fail_their_run_and_stop_no_other_recipe(build_project, with_series, tmp_path):
    (tmp_path / "rate.csv").write_text("date,rate\n2019-09-01,high\n")
    project = build_project(with_series).market_data()
    step, error = failure(project.run("series_data", f"short-rate|{FIRST}", f"short-rate|{LAST}"))
    assert (step, "rate of row 1 is no number: 'high'" in error) == ("series", True)
    assert not project.run("weekly_cycle", f"AAA|{WEEKS[0]}").success
    assert [*versions(project)] == [("lightgbm", WEEKS[0])]


def test_the_whole_cycle_brings_the_series_that_it_reads(build_project, with_series):
    project = build_project(with_series)
    config = {"ops": {"run_cycle": {"config": {"symbols": ["AAA"], "week": WEEKS[0], "weeks": 1}}}}
    job = project.definitions.resolve_job_def("clm_cycle")
    assert job.execute_in_process(instance=project.instance, run_config=config).success
    assert ("xgboost", WEEKS[0]) in versions(project)
    assert project.store.periods("series", "unused") == []


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"series": "no"}, r"features\.rate\.series: unknown no; allowed: short-rate, unused"),
        ({"of": "BBB"}, "of and series: a set reads bars or values"),
        ({"timeframes": ["1d"]}, "timeframes are for sets that read bars"),
    ],
)
def test_settings_that_do_not_fit_are_refused(build_project, with_series, change, problem):
    with_series["features"]["rate"] |= change
    with pytest.raises(Exception, match=problem):
        build_project(with_series)


def test_a_series_has_no_name_of_a_symbol(build_project, with_series):
    with_series["series"]["AAA"] = with_series["series"].pop("unused")
    with pytest.raises(Exception, match=r"series\.AAA: a symbol has this name"):
        build_project(with_series)


def test_without_series_there_is_no_job_for_them(build_project, small):
    definitions = build_project(small).definitions
    assert "series_data" not in {job.name for job in definitions.resolve_all_job_defs()}
    assert "series_data_schedule" not in {s.name for s in definitions.schedules}
