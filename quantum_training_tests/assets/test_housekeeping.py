"""Asset `housekeeping_report` over a real store, MLflow, ledger and Dagster: no week comes out otherwise."""

import os
import shutil
from pathlib import Path

import dagster as dg
import pandas as pd
import pytest

from quantum_training.assets.housekeeping import ASSET, run_config, run_history
from quantum_training.lifecycle.cleanup import housekeeping
from quantum_training.lifecycle.cleanup.housekeeping import CleanupTargets, clean_up
from quantum_training.lifecycle.training.versions import recorded_versions
from quantum_training.resources.events.bus import EventBus
from quantum_training.resources.registry.removal import registered

WEEKS = [f"{week:%Y-%m-%d}" for week in pd.date_range("2020-01-06", periods=7, freq="7D")]
LATER = pd.Timedelta(days=31)


def cycle(project, first, last=None, **options):
    assert project.run("weekly_cycle", f"AAA|{first}", f"AAA|{last}" if last else None, **options).success
    return project


def clean(project, dry_run=False):
    bus = EventBus(database_url=project.settings.database_url)
    places = project.settings, project.store, project.registry, project.ledger, bus, run_history(project.instance)
    report = clean_up(CleanupTargets(*places), pd.Timestamp.now("UTC") + LATER, dry_run)
    assert report.errors == {}
    return report


def files(project):
    """The files of MLflow's artefacts, relative to the project's home."""
    return {str(f.relative_to(project.home)) for f in (project.home / "artifacts").rglob("*") if f.is_file()}


def stored_data(project):
    """The store without HTML, which housekeeping removes."""
    return {file: data for file, data in project.stored().items() if not file.endswith(".html")}


def ids(versions):
    return {version.model_id for version in versions}


def traders(project):
    """The model_id behind each alias."""
    numbers = {v.number: v.model_id for v in registered(project.registry, "AAA")}
    return {alias: numbers[number] for alias, number in project.registry.aliases.of("AAA").items()}


@pytest.mark.soak
def test_coming_weeks_and_repeated_weeks_give_the_same_as_without_housekeeping(
    build_project, small, skill_not_measured
):
    small["promotion"]["campaign_weeks"] = 1  # else the campaign keeps all of these weeks
    cleaned, uncleaned = build_project(small).market_data(), build_project(small)
    shutil.copytree(cleaned.store.root, uncleaned.store.root)
    for project in (cleaned, uncleaned):
        cycle(project, WEEKS[0], WEEKS[-2])
    versions = registered(cleaned.registry, "AAA")
    champion = [row.payload["model_id"] for row in cleaned.ledger.rows("AAA")]
    stored, on_disk = cleaned.stored(), files(cleaned)

    counted = clean(cleaned, dry_run=True)
    assert (cleaned.stored(), files(cleaned), registered(cleaned.registry, "AAA")) == (stored, on_disk, versions)
    report = clean(cleaned)
    assert (report.removed, report.retained_versions) == (counted.removed, counted.retained_versions), "the dry run"
    remaining = registered(cleaned.registry, "AAA")
    removed_ids = ids(versions) - ids(remaining)
    assert len(removed_ids) == report.removed["versions"].number > 0
    assert report.removed["versions"].size > 10_000
    assert not removed_ids & {*champion, *traders(cleaned).values()}
    assert len(files(cleaned)) < len(on_disk)
    assert sum(report.retained_versions.values()) == len(remaining)
    assert stored_data(cleaned) == {f: d for f, d in stored.items() if not f.endswith(".html")}
    for version in remaining:
        cleaned.registry.load("AAA", version.model_id)
    assert not any(count.number for count in clean(cleaned).removed.values()), "there was more to remove"

    def same():
        assert stored_data(cleaned) == stored_data(uncleaned)
        assert cleaned.ledger.head("AAA") == uncleaned.ledger.head("AAA")
        assert traders(cleaned) == traders(uncleaned)

    for project in (cleaned, uncleaned):
        cycle(project, WEEKS[-1])
    same()
    evidence = [dg.AssetKey(asset) for asset in ("shadow_scores", "backtest", "champion", "decay_report", "rollout")]
    cycle(cleaned, WEEKS[0], WEEKS[2], asset_selection=evidence)
    cycle(uncleaned, WEEKS[0], WEEKS[2], asset_selection=evidence)
    same()
    cycle(cleaned, WEEKS[0], WEEKS[2])
    same()
    registered_again = ids(registered(cleaned.registry, "AAA"))
    recipes = ("xgboost", "lightgbm")
    old = {v.model_id for recipe in recipes for v in recorded_versions(cleaned.store, "AAA", recipe, WEEKS[2])}
    assert removed_ids & old
    assert removed_ids & old <= registered_again, "the removed versions were trained again"
    cleaned.ledger.verify("AAA")

    clean(cleaned)
    before = stored_data(cleaned)
    month = cleaned.store.read_frame("features", "AAA", "2020-01-01")
    covered = {"covered_until": cleaned.store.attributes("features", "AAA", "2020-01-01")["covered_until"]}
    cleaned.store.write_frame("features", "AAA", "2020-01-01", month * 1.01, covered)
    result = cleaned.run("weekly_cycle", f"AAA|{WEEKS[2]}", asset_selection=evidence[:1])
    assert not result.success, "removed versions decided on revised features"
    message = str([e.step_failure_data.error for e in result.all_events if e.is_step_failure])
    assert "its scores stand until the partitions of their models have run again" in message
    scores = f"shadow_scores/AAA/{WEEKS[2]}.parquet"
    assert stored_data(cleaned)[scores] == before[scores]


def test_a_run_by_hand_only_reports_and_the_schedule_removes(build_project, small):
    project = build_project(small)
    stale = Path(project.store.root) / "candles" / ".x.tmp"
    stale.parent.mkdir(parents=True)
    stale.write_text("half")
    os.utime(stale, (0, 0))

    def run(**options):
        result = project.definitions.resolve_job_def("housekeeping").execute_in_process(
            instance=project.instance, **options
        )
        (materialization,) = result.asset_materializations_for_node(ASSET)
        return {name: value.value for name, value in materialization.metadata.items()}

    counted = run()
    assert stale.exists()
    assert (counted["dry_run"], counted["temporary_files_removed"], counted["temporary_files_bytes"]) == (True, 1, 4)
    removed = run(run_config=run_config(dry_run=False))
    assert not stale.exists()
    assert (
        removed["dry_run"],
        removed["bytes_removed"],
        removed["before_store_bytes"],
        removed["after_store_bytes"],
    ) == (
        False,
        4,
        4,
        0,
    )
    schedule = project.definitions.resolve_schedule_def("housekeeping_schedule")
    assert schedule.default_status is dg.DefaultScheduleStatus.STOPPED
    at = pd.Timestamp("2024-01-06 04:00", tz="UTC").to_pydatetime()
    with dg.build_schedule_context(project.instance, at) as context:
        (request,) = schedule.evaluate_tick(context).run_requests
    assert request.run_config == run_config(dry_run=False)


def test_a_place_that_fails_fails_the_run_after_the_others_are_cleaned_up(build_project, small, monkeypatch):
    project = build_project(small)
    stale = Path(project.store.root) / ".x.tmp"
    stale.parent.mkdir(parents=True, exist_ok=True)
    stale.write_text("half")
    os.utime(stale, (0, 0))

    def vanished(*_):
        raise FileNotFoundError("it vanished while it was measured")

    monkeypatch.setattr(housekeeping, "storage_sizes", vanished)
    monkeypatch.setattr(housekeeping, "registered", vanished)
    job = project.definitions.resolve_job_def("housekeeping")
    result = job.execute_in_process(instance=project.instance, run_config=run_config(False), raise_on_error=False)
    assert not stale.exists()
    (event,) = [e for e in result.all_events if e.is_step_failure]
    message = event.step_failure_data.user_failure_data.description
    assert message.startswith("4 places could not be cleaned up, the others were:\n")
    for place in ("sizes before", "sizes after", "versions of AAA", "versions of BBB"):
        assert f"\n{place}: FileNotFoundError: it vanished" in message
