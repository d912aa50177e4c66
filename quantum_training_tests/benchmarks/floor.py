"""What the libraries alone cost for a symbol's week: imports, Dagster's events, MLflow's calls; not the platform.

    python -m quantum_training_tests.benchmarks.floor

Dagster records one run over one partition for each symbol, with as many assets and checks as `weekly_cycle` has with
two recipes. MLflow logs, registers, aliases and reads back two versions, with a report each. Storage is that of one
machine. Prints CPU seconds and MB of this process.
"""

import contextlib
import gc
import io
import os
import resource
import statistics
import sys
import tempfile
import time
from importlib import import_module
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
SYMBOLS = [f"S{number}" for number in range(8)]
WEEK = "2026-11-17"
MODEL = """
import mlflow
class Same(mlflow.pyfunc.PythonModel):
    def predict(self, context, model_input, params=None):
        return model_input
mlflow.models.set_model(Same())
"""
REPORT = "x" * 5_000_000
LIBRARIES = (
    "dagster._cli",
    "pandas",
    "pyarrow.parquet",
    "numba",
    "mlflow.store.tracking.sqlalchemy_store",
    "mlflow.store.model_registry.sqlalchemy_store",
    "lightgbm",
    "xgboost",
)
"""What a run with two boosters loads."""


def megabytes() -> float:
    """Peak of resident memory."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def job() -> Any:
    """Seven assets by symbol and week, and seven checks."""
    import dagster as dg

    grid = dg.MultiPartitionsDefinition(
        {
            "symbol": dg.StaticPartitionsDefinition(SYMBOLS),
            "week": dg.WeeklyPartitionsDefinition("2026-09-01", day_offset=1),
        }
    )

    def asset(name: str, *deps: str) -> dg.AssetsDefinition:
        @dg.asset(name=name, partitions_def=grid, deps=[*deps], backfill_policy=dg.BackfillPolicy.single_run())
        def made() -> dg.MaterializeResult:
            return dg.MaterializeResult(metadata={"rows": 500, "table": dg.MetadataValue.md("| a |\n" * 20)})

        return made

    def check(of: str, name: str) -> dg.AssetChecksDefinition:
        @dg.asset_check(asset=of, name=name)
        def examined() -> dg.AssetCheckResult:
            return dg.AssetCheckResult(passed=True)

        return examined

    assets = [
        asset("one_model"),
        asset("other_model"),
        asset("scores", "one_model", "other_model"),
        asset("backtest", "scores"),
        asset("champion", "backtest"),
        asset("decay", "champion"),
        asset("rollout", "champion"),
    ]
    checks = [check(f"{model}_model", name) for model in ("one", "other") for name in ("a", "b", "c")]
    week = dg.define_asset_job("week", dg.AssetSelection.all())
    definitions = dg.Definitions(
        assets=assets, asset_checks=[*checks, check("decay", "a")], jobs=[week], executor=dg.in_process_executor
    )
    return definitions.resolve_job_def("week")


def log_versions(home: Path, symbol: str) -> None:
    """Two versions of a symbol, by MLflow's own way to log a model."""
    import mlflow

    mlflow.create_experiment(symbol, artifact_location=(home / "artifacts" / symbol).as_uri())
    mlflow.set_experiment(symbol)
    for recipe in ("one", "other"):
        with mlflow.start_run(run_name=recipe, tags={f"tag{n}": "x" for n in range(10)}):
            mlflow.log_params({f"param{n}": n for n in range(10)})
            mlflow.log_metrics({f"metric{n}": float(n) for n in range(40)})
            version = mlflow.pyfunc.log_model(
                name="model", python_model=str(home / "model.py"), pip_requirements=["numpy"],
                registered_model_name=symbol,
            )  # fmt: skip
            mlflow.log_text(REPORT, "report.html")
        mlflow.MlflowClient().set_registered_model_alias(symbol, recipe, str(version.registered_model_version))
        mlflow.artifacts.download_artifacts(version.model_uri, dst_path=str(home / f"{symbol}-{recipe}"))


def main(home: Path) -> None:
    """Print a row for each part: its first time in a process, and each further one."""
    started = time.process_time()
    for name in LIBRARIES:
        import_module(name)
    imports, loaded = time.process_time() - started, megabytes()
    gc.freeze()  # as the platform does
    gc.set_threshold(*gc.get_threshold()[:2], 100)
    import dagster as dg
    import mlflow

    (home / "dagster.yaml").write_text((ROOT / "dagster_home" / "dagster.yaml").read_text())
    (home / "model.py").write_text(MODEL)
    mlflow.set_tracking_uri(f"sqlite:///{home}/mlflow.db")
    week, seconds = job(), {"Dagster": [], "MLflow": []}
    with dg.DagsterInstance.get() as instance, contextlib.redirect_stderr(io.StringIO()):
        for symbol in SYMBOLS:
            before = time.process_time()
            tags = dict.fromkeys(("start", "end"), f"{symbol}|{WEEK}")
            tags = {f"dagster/asset_partition_range_{end}": key for end, key in tags.items()}
            assert week.execute_in_process(instance=instance, tags=tags).success
            between = time.process_time()
            log_versions(home, symbol)
            seconds["Dagster"].append(between - before)
            seconds["MLflow"].append(time.process_time() - between)
    print("| | first, s | each further, s | MB |\n| --- | ---: | ---: | ---: |")
    print(f"| imports | {imports:.2f} | | {loaded:.0f} |")
    for part, (first, *further) in seconds.items():
        print(f"| {part} | {first:.2f} | {statistics.median(further):.2f} | |")
    print(f"| all | | | {megabytes():.0f} |")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        os.environ |= {"DAGSTER_HOME": folder, "MLFLOW_DISABLE_TELEMETRY": "true", "PYTHONPATH": str(ROOT)}
        sys.path.insert(0, str(ROOT))
        main(Path(folder))
