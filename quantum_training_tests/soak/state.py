"""All that a project has stored, as JSON, without what differs between any two runs: ids of runs, times, durations."""

import hashlib
import json
import sqlite3
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import dagster as dg

from quantum_training.resources.registry.artefact_hashes import FILES
from quantum_training.resources.registry.recipe_records import RECORD_OF

FREE = {
    "artifact_files",
    "dagster_run_id",
    "job_id",
    "started_at",
    "completed_at",
    "duration_seconds",
    "emitted_at",
    "fit_seconds",
}
STARTED = "model.training_started"
UPLOADING = ".artifact.uploading."
"""What a kill leaves of a report on its way into MLflow, hidden in its lists; housekeeping removes it after a day."""


def state_of(world: Path) -> dict[str, Any]:
    """Store, versions, aliases, ledger, events, what is left of trainings and writes, of the project in this folder."""
    from quantum_training.resources.ledger import Ledger

    database = world / "quantum_training.db"
    for file in (database, world / "mlflow" / "mlflow.db"):
        with sqlite3.connect(file) as connection:
            ((result,),) = connection.execute("PRAGMA integrity_check").fetchall()
        assert result == "ok", f"{file}: {result}"
    with sqlite3.connect(database) as connection:
        symbols = [s for (s,) in connection.execute("SELECT DISTINCT symbol FROM ledger ORDER BY symbol")]
        events = [json.loads(body) for (body,) in connection.execute("SELECT body FROM outbox ORDER BY number")]
    ledger = Ledger(url=f"sqlite:///{database}")
    for symbol in symbols:
        ledger.verify(symbol)
    with dg.DagsterInstance.get() as instance:
        assets = {
            key.to_user_string(): sorted(instance.get_materialized_partitions(key)) for key in instance.all_asset_keys()
        }
    return {
        "store": _files(world / "store"),
        "materialised": assets,
        "ledger": [row.model_dump(mode="json") for symbol in symbols for row in ledger.rows(symbol)],
        "events": sorted((_plain(e) for e in events if e["type"] != STARTED), key=lambda e: e["event_id"] or str(e)),
        "started": sorted({(e["symbol"], e["payload"]["model_type"]) for e in events if e["type"] == STARTED}),
        "training_state": _files(world / "training_state"),
        **_mlflow(world),
    }


def _mlflow(world: Path) -> dict[str, Any]:
    import mlflow

    client = mlflow.MlflowClient(f"sqlite:///{world}/mlflow/mlflow.db")
    versions, aliases, used = [], {}, set()
    for version in client.search_model_versions():
        run = client.get_run(version.run_id)
        used.add(version.run_id)
        reports = Path(unquote(urlsplit(run.info.artifact_uri).path))
        model = Path(unquote(urlsplit(client.get_model_version_download_uri(version.name, version.version)).path))
        versions.append(
            {
                "symbol": version.name,
                "number": int(version.version),
                "tags": _plain(version.tags),
                "run_tags": _plain({k: v for k, v in run.data.tags.items() if not k.startswith("mlflow.")}),
                "params": run.data.params,
                "metrics": {k: v for k, v in run.data.metrics.items() if "second" not in k},
                "status": run.info.status,
                "model": _files(model / "artifacts" / "model"),
                "reports": {f: h for f, h in _files(reports).items() if UPLOADING not in f and f != FILES},
            }
        )
    by_number = {(v["symbol"], v["number"]): v["tags"]["model_id"] for v in versions}
    for model in client.search_registered_models():
        aliases[model.name] = {alias: by_number[model.name, int(n)] for alias, n in sorted(model.aliases.items())}
    experiments = [e.experiment_id for e in client.search_experiments()]
    runs = [run for run in client.search_runs(experiments) if run.info.run_id not in used]
    records = {
        f"{run.data.tags['symbol']} {run.data.tags[RECORD_OF]}": _history(client, run)
        for run in runs
        if RECORD_OF in run.data.tags
    }
    others = sorted({run.info.status for run in runs if RECORD_OF not in run.data.tags})
    return {
        "records": records,
        "versions": sorted(versions, key=lambda v: (v["symbol"], v["number"])),
        "aliases": aliases,
        "runs_without_version": others,
    }


def _history(client: Any, run: Any) -> dict[str, list[Any]]:
    return {
        name: sorted((point.step, point.value) for point in client.get_metric_history(run.info.run_id, name))
        for name in run.data.metrics
    }


def _files(folder: Path) -> dict[str, str]:
    files = sorted(f for f in folder.rglob("*") if f.is_file())
    return {str(f.relative_to(folder)): hashlib.sha256(f.read_bytes()).hexdigest() for f in files}


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in sorted(value.items()) if k not in FREE and "second" not in k}
    return value
