"""One weekly cycle of a synthetic universe: in one process, on two Ray nodes, and there with a node killed half-way.

    python -m quantum_training_tests.benchmarks.ray_batches [symbols]

The schedule starts batches of runs, each a Ray job on a node of one core; state is in Postgres. Efficiency is the
CPU of one process and its Postgres over the time of both cores, of which Ray, code server and daemon take theirs.
"""

import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import dagster as dg
import pandas as pd
import psutil
import sqlalchemy as sa
import yaml
from dagster._core.storage.dagster_run import NOT_FINISHED_STATUSES

from quantum_training.automation.jobs.batches import SymbolRun, op_name
from quantum_training.market.periods import month_of, week_of
from quantum_training_tests.support.databases import postgres_server
from quantum_training_tests.support.platforms import Platform
from quantum_training_tests.support.processes import program, wait_for
from quantum_training_tests.support.ray_cluster import Cluster, destroy, ray_cluster

ROOT = Path(__file__).parents[2]
NOW = pd.Timestamp.now("UTC").floor("min")
START, WEEK = pd.Timestamp(month_of(NOW - pd.Timedelta(days=80)), tz="UTC"), f"{week_of(NOW):%Y-%m-%d}"
NODES = 2
LIMIT = 1800
"""Seconds that a universe may take."""


def settings(symbols: int) -> dict[str, Any]:
    """Hourly bars of so many synthetic symbols, two recipes at their defaults on 500 bars, as in universe.py."""
    market = {
        "source": {"kind": "synthetic", "start": f"{START:%Y-%m-%d}"},
        "timeframe": "1h",
        "recipes": ["xgboost", "lightgbm"],
    }
    recipe = {"label": {"kind": "forward_return", "horizon": 2}, "window_bars": 500}
    return {
        "start": f"{START:%Y-%m-%d}",
        "max_concurrent_training_jobs": NODES,
        "symbols": {f"S{n:05}": market for n in range(symbols)},
        "recipes": {name: {"algorithm": name, **recipe} for name in ("xgboost", "lightgbm")},
    }


@contextmanager
def home_of(server: sa.URL, name: str, symbols: int, launcher: dict[str, Any]) -> Iterator[tuple[Path, dict[str, str]]]:
    """A new DAGSTER_HOME over new databases, and the variables that point at them."""
    admin = sa.create_engine(server, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
    urls = {}
    for part in ("dagster", "ledger", "mlflow"):
        with admin.connect() as connection:
            connection.exec_driver_sql(f"CREATE DATABASE {name}_{part}")
        urls[part] = server.set(database=f"{name}_{part}").render_as_string(hide_password=False)
    with tempfile.TemporaryDirectory(prefix=name) as folder:
        home = Path(folder)
        (home / "settings.yaml").write_text(yaml.safe_dump(settings(symbols)))
        dagster_yaml = {
            "telemetry": {"enabled": False},
            "storage": {"postgres": {"postgres_url": {"env": "DAGSTER_PG_URL"}}},
            "concurrency": {"pools": {"granularity": "run", "default_limit": NODES}},
            "run_monitoring": {"enabled": True, "poll_interval_seconds": 5},
            "run_retries": {"enabled": True, "max_retries": 3, "retry_on_asset_or_op_failure": False},
            **launcher,
        }
        (home / "dagster.yaml").write_text(yaml.safe_dump(dagster_yaml))
        yield (
            home,
            {
                "DAGSTER_HOME": str(home),
                "DAGSTER_PG_URL": urls["dagster"],
                "QUANTUM_TRAINING_CONFIG": str(home / "settings.yaml"),
                "QUANTUM_TRAINING_STORE_ROOT": str(home / "store"),
                "QUANTUM_TRAINING_DATABASE_URL": urls["ledger"],
                "QUANTUM_TRAINING_MLFLOW_TRACKING_URI": urls["mlflow"],
                "TRAINING_CRON_SCHEDULE": f"{NOW.minute} {NOW.hour} * * {NOW.isoweekday() % 7}",
                "PYTHONPATH": str(ROOT),
                "PYTHONWARNINGS": "ignore",
            },
        )


class Spent(NamedTuple):
    """Seconds of CPU of a process, and of all processes of the machine, and of wall time."""

    cpu: float
    busy: float
    wall: float


def execute(home: Path, environment: dict[str, str], job: str, first: str, last: str) -> Spent:
    """Run a job for all symbols in one process."""
    symbols = yaml.safe_load((home / "settings.yaml").read_text())["symbols"]
    runs = [SymbolRun(key=f"{job} {s}", symbol=s, first=first, last=last).model_dump() for s in symbols]
    (home / "run.yaml").write_text(yaml.safe_dump({"ops": {op_name(job): {"config": {"runs": runs}}}}))
    command = [program("dagster"), "job", "execute", "-m", "quantum_training.definitions", "-j", f"{job}_batch"]
    before, busy, began = resource.getrusage(resource.RUSAGE_CHILDREN), busy_seconds(), time.monotonic()
    done = subprocess.run(
        [*command, "-c", str(home / "run.yaml")],
        env={**os.environ, **environment},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, "\n".join(line for line in done.stderr.splitlines() if "failed" in line)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Spent(cpu, busy_seconds() - busy, time.monotonic() - began)


def copy_market_data(origin: Path, home: Path) -> None:
    """What the weekly cycle reads, and the skill of the recipes, which is measured once for each code."""
    (home / "store").mkdir()
    for part in ("candles", "features", "leak_sentinel"):
        subprocess.run(["cp", "-r", str(origin / "store" / part), str(home / "store" / part)], check=True)


def launcher_of(cluster: Cluster, names: list[str]) -> dict[str, Any]:
    """Each run as a job of the cluster that takes a node."""
    ray = {"address": cluster.address, "num_cpus": 1, "env_vars": names}
    nested_runs = {"module": "quantum_training.automation.instance", "class": "NestedRunsInstance"}
    launcher = {"module": "dagster_ray", "class": "RayRunLauncher", "config": {"ray": ray}}
    return {"instance_class": nested_runs, "run_launcher": launcher}


def scheduled(home: Path, environment: dict[str, str], symbols: int, half_way: Callable[[], None]) -> dict[str, float]:
    """The weekly schedule's batches on the cluster: seconds from their launch to their end, and CPU of all processes.

    half_way: called once half of the symbols' runs have ended.
    """
    succeeded = [dg.DagsterRunStatus.SUCCESS]
    failures = dg.RunsFilter(job_name="weekly_cycle", statuses=[dg.DagsterRunStatus.FAILURE])
    os.environ["DAGSTER_PG_URL"] = environment["DAGSTER_PG_URL"]
    with ExitStack() as stack, dg.DagsterInstance.from_config(str(home)) as instance:
        platform = Platform(home, stack)
        platform.code_server(environment)
        platform.switch_on(instance, "schedule", "weekly_cycle_schedule", NOW - pd.Timedelta("30s"))
        platform.daemon(environment)

        def ended(job: str) -> int:
            return len(instance.get_runs(dg.RunsFilter(job_name=job, statuses=succeeded)))

        def all_ended() -> bool:
            left = dg.RunsFilter(job_name="weekly_cycle_batch", statuses=[*NOT_FINISHED_STATUSES])
            return ended("weekly_cycle") >= symbols and not instance.get_runs(left)

        wait_for("batches", lambda: instance.get_runs(dg.RunsFilter(job_name="weekly_cycle_batch")), 120)
        busy = busy_seconds()
        wait_for("half", lambda: 2 * ended("weekly_cycle") >= symbols, LIMIT, platform.log_tails)
        half_way()
        wait_for("the end", all_ended, LIMIT, platform.log_tails)
        busy = busy_seconds() - busy
        assert ended("weekly_cycle") == symbols, "each symbol once"
        batches = instance.get_run_records(dg.RunsFilter(job_name="weekly_cycle_batch"))
        return {
            "wall": max(r.end_time or 0 for r in batches) - min(r.create_timestamp.timestamp() for r in batches),
            "busy": busy,
            "batches": len(batches),
            "failed": len(instance.get_runs(failures)),
        }


def busy_seconds() -> float:
    """CPU seconds of all processes of this machine since it started."""
    times = psutil.cpu_times()
    return times.user + times.system + times.nice


def main(symbols: int) -> None:
    """Print a table with a row for each way."""
    months = f"{month_of(START)}", f"{month_of(NOW)}"
    with (
        postgres_server() as (_, server),
        ray_cluster([str(ROOT)], workers=NODES) as cluster,
        home_of(server, "origin", symbols, {}) as (origin, environment),
    ):
        print(f"{symbols} symbols, week {WEEK}\n", flush=True)
        execute(origin, environment, "market_data", *months)
        measure_skill(environment)
        with home_of(server, "one", symbols, {}) as (home, variables):
            copy_market_data(origin, home)
            one = execute(home, variables, "weekly_cycle", WEEK, WEEK)
        print(
            f"in one process: {one.wall:.0f} s to the end, {one.cpu:.0f} s of CPU, {one.busy:.0f} with Postgres's\n",
            flush=True,
        )
        nodes = {number: cluster.worker(cpus=1, number=number) for number in range(1, NODES + 1)}

        def kill() -> None:
            destroy(nodes[NODES])
            nodes[NODES] = cluster.worker(cpus=1, number=NODES)

        print("| on two nodes | s to the end | efficiency | busy s of the machine | batches | failed runs of symbols |")
        print("| --- | ---: | ---: | ---: | ---: | ---: |", flush=True)
        for name, half_way in {"undisturbed": lambda: None, "killed": kill}.items():
            with home_of(server, name, symbols, launcher_of(cluster, [*environment])) as (home, variables):
                copy_market_data(origin, home)
                found = scheduled(home, variables, symbols, half_way)
            share = one.busy / (found["wall"] * NODES)
            numbers = " | ".join(f"{found[column]:.0f}" for column in ("busy", "batches", "failed"))
            print(f"| {name} | {found['wall']:.0f} | {share:.0%} | {numbers} |", flush=True)


def measure_skill(environment: dict[str, str]) -> None:
    """Measure the recipes' skill on synthetic markets in a process of its own."""
    code = (
        "from quantum_training.settings import load_settings\n"
        "from quantum_training.resources.store.store import Store\n"
        "from quantum_training.lifecycle.evaluation.leakage import skill_record\n"
        "import os\n"
        "for name, recipe in load_settings().recipes.items():\n"
        "    skill_record(Store(root=os.environ['QUANTUM_TRAINING_STORE_ROOT']), name, recipe)\n"
    )
    subprocess.run([sys.executable, "-c", code], env={**os.environ, **environment}, cwd=ROOT, check=True)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 100)
