"""A recipe that learns from and for ranks within a universe: AAA, BBB and CCC, of which BBB leaves and CCC joins."""

import dagster as dg
import pandas as pd
import pytest

from quantum_training.features.indicators import FEATURES
from quantum_training.lifecycle import cross_section, cross_section_labels
from quantum_training.lifecycle.evaluation import leakage
from quantum_training.lifecycle.market_history import MarketHistory
from quantum_training.lifecycle.other_markets import known_columns
from quantum_training.market.calendars import expected_open_times
from quantum_training.market.periods import Key
from quantum_training.partitions import build_partitions
from quantum_training.settings import load_settings
from quantum_training.trading.cross_section_label import outcomes
from quantum_training_tests.support.projects import failed_step as failure
from quantum_training_tests.support.projects import versions_of_aaa as versions

MODULE = "quantum_training_tests.support.feature_modules"
FIRST, LAST = "2019-09-01", "2020-02-01"
WEEKS = ("2020-01-06", "2020-01-13")
COLUMN = "strength__value_rank"
MEMBERS = ("AAA,2019-09-01,", "BBB,2019-09-01,2019-12-20", "CCC,2019-12-16,")
"""For four days there are three."""


pytestmark = pytest.mark.usefixtures("skill_not_measured")


@pytest.fixture
def ranked(small, tmp_path):
    """`ranked(*rows)`: settings with a universe of these rows."""
    market = small["symbols"]["AAA"]
    small["symbols"] = {
        symbol: {**market, "source": {**market["source"], "seed": seed}}
        for seed, symbol in enumerate(("AAA", "BBB", "CCC"))
    }
    small["symbols"]["BBB"]["end"] = "2019-12-19"

    def settings(*rows):
        path = tmp_path / "members.csv"
        path.write_text("\n".join(["symbol,from,to", *rows, ""]))
        small["universes"] = {"top": {"path": str(path)}}
        small["features"] = {"strength": {"module": MODULE, "params": {"function": "honest"}, "within": "top"}}
        label = {"kind": "cross_section", "within": "top", "horizon": 2}
        small["recipes"]["xgboost"] |= {"features": ["default", "strength"], "label": label}
        return small

    return settings


def built(build_project, settings, last_of_ccc=LAST):
    project = build_project(settings)
    for symbol, month in (("AAA", LAST), ("BBB", "2019-12-01"), ("CCC", last_of_ccc)):
        assert project.run("market_data", f"{symbol}|{FIRST}", f"{symbol}|{month}").success
    return project


def stored(project):
    return {name: data for name, data in project.stored().items() if not name.endswith(".html")}


@pytest.mark.long
def test_a_version_learns_from_ranks_as_a_range_and_week_by_week(build_project, ranked):
    project = built(build_project, ranked(*MEMBERS))
    assert project.run("weekly_cycle", f"AAA|{WEEKS[0]}", f"AAA|{WEEKS[1]}").success
    version = versions(project)["xgboost", WEEKS[0]]
    run = project.registry.client().get_run(version.run_id)
    assert run.data.params["features"] == ",".join([*FEATURES, COLUMN])

    single = built(build_project, ranked(*MEMBERS))
    for week in WEEKS:
        assert single.run("weekly_cycle", f"AAA|{week}").success
    assert stored(single) == stored(project)

    extended = built(build_project, ranked(*MEMBERS[:2], f"CCC,2019-12-16,{WEEKS[1]}"))
    assert extended.run("weekly_cycle", f"AAA|{WEEKS[0]}", f"AAA|{WEEKS[1]}").success
    assert stored(extended) == stored(project), "an end that was not known by then changes nothing"

    corrected = built(build_project, ranked(*MEMBERS[:2], "CCC,2019-12-18,"))
    assert corrected.run("weekly_cycle", f"AAA|{WEEKS[0]}").success
    ids = [versions(p)["xgboost", WEEKS[0]].tags["model_id"] for p in (project, extended, corrected)]
    assert ids[0] == ids[1] != ids[2]


def test_the_week_is_scored_on_ranks_and_a_later_change_of_its_members_is_found(build_project, ranked):
    project = built(build_project, ranked(*MEMBERS))
    assert project.run("weekly_cycle", f"AAA|{WEEKS[0]}", f"AAA|{WEEKS[1]}").success
    scores = project.store.read_frame("shadow_scores", "AAA", WEEKS[1])
    assert scores.loc[scores["strategy"] == "xgboost", "target"].notna().all()
    ranked(*MEMBERS[:2], "CCC,2019-12-16,2020-01-08", "CCC,2020-01-09,")
    history = MarketHistory(project.store, load_settings(), "AAA")
    week = pd.Timestamp(WEEKS[1], tz="UTC")
    bars = history.bars(history.first_month_for_scores(week), week)
    filled = scores.index.unique()
    assert history.inputs_hash(bars, filled) != history.scored_inputs_hash(WEEKS[1])


def test_the_leak_check_changes_the_future_of_all_members(build_project, ranked, monkeypatch):
    """Ranks with the members' bars of a day later are found."""
    project = built(build_project, ranked(*MEMBERS))
    assert project.run("weekly_cycle", f"AAA|{WEEKS[0]}").success

    def leak(recipe):
        key = Key("AAA", pd.Timestamp(WEEKS[0], tz="UTC"))
        return leakage.version_report(project.store, project.registry, project.settings, recipe, key).failure

    assert leak("xgboost") is None

    def looking_ahead(settings, symbol, stored, closed):
        return known_columns(settings, symbol, stored, closed + pd.Timedelta("1D"))

    cross_section._PANELS.clear()
    monkeypatch.setattr(cross_section, "known_columns", looking_ahead)
    assert leak("xgboost").startswith(
        f"the training window as of {WEEKS[0]} 00:00:00+00:00 changes with the bars after"
    )
    assert leak("lightgbm") is None


def test_the_leak_check_finds_a_label_of_a_later_exit(build_project, ranked, monkeypatch):
    project = built(build_project, ranked(*MEMBERS))
    assert project.run("weekly_cycle", f"AAA|{WEEKS[0]}").success

    def later_exits(entries, exits, is_member, horizon, min_members):
        return outcomes(entries, exits, is_member, horizon + 4, min_members)

    def later_bars(calendar, timeframe, start, end):
        return expected_open_times(calendar, timeframe, start, end + 4 * pd.Timedelta(timeframe))

    cross_section_labels._KEPT.clear()
    monkeypatch.setattr(cross_section_labels, "outcomes", later_exits)
    monkeypatch.setattr(cross_section_labels, "expected_open_times", later_bars)
    key = Key("AAA", pd.Timestamp(WEEKS[0], tz="UTC"))
    report = leakage.version_report(project.store, project.registry, project.settings, "xgboost", key)
    assert report.failure.startswith(f"the training window as of {WEEKS[0]} 00:00:00+00:00 changes with the bars")


def test_a_training_waits_for_a_member_that_is_late(build_project, ranked):
    project = built(build_project, ranked(*MEMBERS), last_of_ccc="2020-01-01")
    assert project.run("weekly_cycle", "AAA|2020-01-27").success, "BBB, which has left, is not waited for"
    step, error = failure(project.run("weekly_cycle", "AAA|2020-02-10"))
    assert step == "xgboost_model"
    assert "AAA: features_strength of CCC is needed until 2020-02-10 00:00:00+00:00, but of 2020-02-01" in error


def test_the_whole_cycle_of_a_symbol_brings_the_members(build_project, ranked):
    project = build_project(ranked(*MEMBERS))
    config = {"ops": {"run_cycle": {"config": {"symbols": ["AAA"], "week": WEEKS[0], "weeks": 1}}}}
    job = project.definitions.resolve_job_def("clm_cycle")
    assert job.execute_in_process(instance=project.instance, run_config=config).success
    assert ("xgboost", WEEKS[0]) in versions(project)
    assert project.store.periods("features_strength", "BBB")
    assert project.store.periods("shadow_scores", "BBB") == []


def test_lineage_leads_to_the_members_candles_and_sets(build_project, ranked):
    graph = build_project(ranked(*MEMBERS)).definitions.resolve_asset_graph()
    grids = build_partitions(("AAA", "BBB", "CCC"), "2019-09-01")
    week = grids.week.subset_with_partition_keys([dg.MultiPartitionKey({"symbol": "AAA", "week": WEEKS[0]})])
    model = graph.get(dg.AssetKey("xgboost_model"))
    for asset in ("features_strength", "candles"):
        mapping = model.partition_mappings[dg.AssetKey(asset)]
        found = mapping.get_upstream_mapped_partitions_result_for_partitions(week, grids.week, grids.month)
        keys = [f"{symbol}|{month}" for symbol in ("AAA", "BBB", "CCC") for month in ("2019-12-01", "2020-01-01")]
        assert sorted(found.partitions_subset.get_partition_keys()) == keys
    assert dg.AssetKey("candles") not in graph.get(dg.AssetKey("lightgbm_model")).parent_keys


def test_dagster_shows_who_is_a_member_as_a_part_of_the_code_version(build_project, ranked):
    def code_versions(*rows):
        graph = build_project(ranked(*rows)).definitions.resolve_asset_graph()
        return [graph.get(dg.AssetKey(asset)).code_version for asset in ("features_strength", "xgboost_model")]

    assert code_versions(*MEMBERS) == code_versions(*MEMBERS[::-1])
    (of_set, of_model), (other_set, other_model) = (
        code_versions(*MEMBERS),
        code_versions(*MEMBERS[:2], "CCC,2020-01-01,"),
    )
    assert of_set != other_set
    assert of_model == other_model, "its own settings are the same; it is stale as what it reads is"
