"""Housekeeping without Dagster: what is old goes, what fails is named and stops nothing else."""

import os
from dataclasses import replace
from pathlib import Path

import pandas as pd

from quantum_training.lifecycle.cleanup import housekeeping
from quantum_training.lifecycle.cleanup.housekeeping import CleanupTargets, RunHistory, clean_up
from quantum_training.resources.cleanup.removal_count import RemovalCount
from quantum_training.resources.registry.registry import ModelRegistry

WEEKS = [f"{week:%Y-%m-%d}" for week in pd.date_range("2020-01-06", periods=4, freq="7D")]
LATER = pd.Timedelta(days=31)
NOW = pd.Timestamp.now("UTC")


def targets(project, **changes):
    everything = project.settings, project.store, project.registry, project.ledger, project.events
    return replace(CleanupTargets(*everything), **changes)


def stale_file(project):
    """A temporary file that a killed writer left in the store."""
    file = Path(project.store.root) / ".x.tmp"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("half")
    os.utime(file, (0, 0))
    return file


def test_old_reports_checkpoints_and_temporary_files_are_removed(workspace, small):
    project = workspace(small)
    now = pd.Timestamp.now("UTC")
    month_ago = (now - LATER).timestamp()

    def write(path, text="x" * 100, old=True):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        if old:
            os.utime(path, (month_ago, month_ago))
        return path

    root, checkpoints = Path(project.store.root), Path(project.settings.training_state_root)
    for asset, suffix in (("backtest", "html"), ("drift_report", "html"), ("drift_report", "evidently.html")):
        for n, week in enumerate(WEEKS[:4]):
            write(root / asset / "AAA" / f"{week}.{suffix}", old=n != 1)
            write(root / asset / "AAA" / f"{week}.json")
    write(root / "candles" / "AAA" / ".2020-01-01.parquet.abc.tmp")
    write(root / "candles" / "AAA" / ".2020-02-01.parquet.abc.tmp", old=False)
    write(root / "candles" / "AAA" / "2019-01-01.parquet")
    reports = project.registry.artifacts_folder() / "AAA" / "0f" / "artifacts" / "backtest"
    write(reports / ".artifact.uploading.a1b2")
    write(reports / ".artifact.uploading.c3d4", old=False)
    write(reports / "2020-01-06.html")
    old, young = "0" * 16, "f" * 16
    for name in (old, young, "other", f"{old}0"):
        os.utime(write(checkpoints / name / "state.safetensors").parent, (month_ago, month_ago))
    resumable = checkpoints / young
    write(resumable / "seed", old=False)

    counted = clean_up(targets(project), now, dry_run=True).removed
    removed = clean_up(targets(project), now, dry_run=False).removed
    assert removed == counted
    assert removed["reports"] == RemovalCount(6, 600), "the newest and the young of each kind stay"
    assert removed["temporary_files"] == RemovalCount(2, 200), (
        "no writer needs a day; MLflow hides these files in its lists"
    )
    assert {f.name for f in reports.iterdir()} == {".artifact.uploading.c3d4", "2020-01-06.html"}
    assert removed["training_states"] == RemovalCount(1, 100)
    assert sorted(f.name for f in checkpoints.iterdir()) == [f"{old}0", young, "other"]
    remaining = {str(f.relative_to(root)) for f in root.rglob("*") if f.is_file()}
    assert {f for f in remaining if f.startswith("backtest") and f.endswith("html")} == {
        f"backtest/AAA/{week}.html" for week in (WEEKS[1], WEEKS[3])
    }
    assert len([f for f in remaining if f.endswith(".json")]) == 8
    assert {f for f in remaining if f.startswith("candles")} == {
        "candles/AAA/.2020-02-01.parquet.abc.tmp",
        "candles/AAA/2019-01-01.parquet",
    }


def test_a_place_that_fails_is_named_and_stops_no_other(workspace, small):
    project = workspace(small)
    stale = stale_file(project)
    registry = ModelRegistry(tracking_uri="sqlite:////proc/none/mlflow.db")
    report = clean_up(targets(project, registry=registry), NOW, dry_run=False)
    assert set(report.errors) == {"versions of AAA", "versions of BBB"}
    assert not stale.exists()


def test_after_an_outage_the_registry_is_not_queried_for_the_other_symbols(workspace, small, monkeypatch):
    project, queried_symbols = workspace(small), []

    def outage(registry, symbol):
        queried_symbols.append(symbol)
        raise ConnectionError("no answer")

    monkeypatch.setattr(housekeeping, "registered", outage)
    report = clean_up(targets(project), NOW, dry_run=False)
    assert queried_symbols == ["AAA"]
    assert report.errors == {
        "versions of AAA": "ConnectionError: no answer",
        "versions of BBB": "RegistryOutage: skipped, because the registry failed for AAA",
    }


def test_sizes_that_cannot_be_measured_are_named_and_stop_nothing(workspace, small):
    project = workspace(small)
    stale = stale_file(project)

    def vanished():
        raise FileNotFoundError("it vanished while it was measured")

    report = clean_up(targets(project, run_history=RunHistory(sizes=vanished)), NOW, dry_run=False)
    assert not stale.exists()
    assert (report.sizes_before, report.sizes_after) == ({}, {})
    error = "FileNotFoundError: it vanished while it was measured"
    assert report.errors == {"sizes before": error, "sizes after": error}


def test_the_steps_of_the_run_history_run_in_the_same_scope(workspace, small):
    project, scopes = workspace(small), []

    def remove_runs(scope):
        scopes.append(scope)
        return {"runs": RemovalCount(2, 10)}

    history = RunHistory({"runs": remove_runs}, lambda: {"dagster": 7})
    report = clean_up(targets(project, run_history=history), NOW, dry_run=True)
    assert scopes == [report.scope]
    assert (scopes[0].before, scopes[0].dry_run) == (NOW - pd.Timedelta(days=30), True)
    assert report.removed["runs"] == RemovalCount(2, 10)
    assert report.sizes_after["dagster"] == 7
    assert report.errors == {}
