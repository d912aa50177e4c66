"""Postgres goes away in the middle of a weekly cycle: as the database of ledger and events and as Dagster's storage."""

import json
import os
import random
import shutil
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import dagster as dg
import pytest
import sqlalchemy as sa
import yaml

from quantum_training.automation.jobs.batches import op_name
from quantum_training.lifecycle.evaluation.leakage import skill_record
from quantum_training.partitions import RANGE_TAGS
from quantum_training.resources.ledger import Ledger
from quantum_training.resources.registry.registry import ModelRegistry
from quantum_training_tests.support.databases import postgres_server
from quantum_training_tests.support.processes import wait_for

pytestmark = pytest.mark.soak
DAGSTER_YAML = Path(__file__).parents[2] / "dagster_home" / "dagster.yaml"
FIRST, LAST = "AAA|2020-01-06", "AAA|2020-01-13"
WEEKLY = ("xgboost_model", "lightgbm_model", "shadow_scores", "backtest", "champion", "rollout", "decay_report")


def state(root, registry, ledger):
    """What must be the same after an outage: files, versions, aliases and the ledger of AAA."""
    files = {str(f.relative_to(root)): f.read_bytes() for a in WEEKLY for f in (root / a).rglob("*") if f.is_file()}
    versions = [v.tags["model_id"] for v in registry.client().search_model_versions("name = 'AAA'")]
    assert len(set(versions)) == len(versions), "a version is there twice"
    by_number = {int(v.version): v.tags["model_id"] for v in registry.client().search_model_versions("name = 'AAA'")}
    aliases = {alias: by_number[number] for alias, number in registry.aliases.of("AAA").items()}
    ledger.verify("AAA")
    return files, sorted(versions), aliases, ledger.head("AAA")


UNDISTURBED = {}


def undisturbed(build_project, small, folder):
    """The end state of a cycle that nothing disturbs and the seconds it took; its market data stay in the folder."""
    if folder not in UNDISTURBED:
        project = build_project(small).market_data()
        for name, recipe in project.settings.recipes.items():  # once here instead of once per run
            skill_record(project.store, name, recipe)
        shutil.copytree(project.store.root, folder / "store")
        start = time.monotonic()
        assert project.run("weekly_cycle", FIRST, LAST).success
        UNDISTURBED[folder] = (
            state(Path(project.store.root), project.registry, project.ledger),
            time.monotonic() - start,
        )
    return UNDISTURBED[folder]


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A Postgres for Dagster and another database in it for the project."""
    with postgres_server() as (server, url):
        engine = sa.create_engine(url, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
        with engine.connect() as connection:
            for name in ("dagster", "project"):
                connection.exec_driver_sql(f"CREATE DATABASE {name}")
        yield (
            server,
            tmp_path_factory.mktemp("undisturbed"),
            *(url.set(database=n).render_as_string(hide_password=False) for n in ("dagster", "project")),
        )


def batch_config(first, last):
    """The config of a batch of the one run over these partitions."""
    symbol, _, first = first.partition("|")
    run = {"key": symbol, "symbol": symbol, "first": first, "last": last.partition("|")[2]}
    return {"ops": {op_name("weekly_cycle"): {"config": {"runs": [run]}}}}


@pytest.mark.parametrize("job", ["weekly_cycle", "weekly_cycle_batch"])
@pytest.mark.parametrize("seconds", [60, 0], ids=["60 s", "restarted"])
@pytest.mark.parametrize("seed", range(int(os.environ.get("QT_OUTAGES", "3"))))
def test_a_weekly_cycle_ends_in_the_same_state_after_an_outage_of_postgres(
    platform, server, build_project, small, monkeypatch, seconds, seed, job
):
    server, server_folder, dagster_url, project_url = server
    home = platform.home
    expected, length = undisturbed(build_project, small, server_folder)
    shutil.copytree(server_folder / "store", home / "store")
    config = yaml.safe_load(DAGSTER_YAML.read_text())
    config["storage"] = {"postgres": {"postgres_url": {"env": "DAGSTER_PG_URL"}}}
    config["run_monitoring"] |= {"poll_interval_seconds": 5}
    (home / "dagster.yaml").write_text(yaml.safe_dump(config))
    (home / "settings.yaml").write_text(yaml.safe_dump({**small, "database_url": project_url}))
    names = {
        "DAGSTER_HOME": str(home),
        "QUANTUM_TRAINING_CONFIG": str(home / "settings.yaml"),
        "DAGSTER_PG_URL": dagster_url,
    }
    for name, value in names.items():
        monkeypatch.setenv(name, value)
    with sa.create_engine(project_url, poolclass=sa.NullPool).begin() as connection:
        connection.exec_driver_sql("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
    registry = ModelRegistry(tracking_uri=f"sqlite:///{home}/mlflow/mlflow.db")
    restarts = Counter()

    def supervise():
        """Start again what ended, as the restart policy of a container does."""
        for name, start in (("daemon", platform.daemon),):
            if platform.processes[name].poll() is not None:
                restarts[name] += 1
                start(names)

    with dg.DagsterInstance.from_config(str(home)) as instance:
        before, of_job = {run.run_id for run in instance.get_runs()}, dg.RunsFilter(job_name=job)
        ours = lambda: [r for r in instance.get_runs(of_job) if r.run_id not in before]  # noqa: E731
        platform.code_server(names)
        platform.daemon(names)
        of_one_run = ["--tags", json.dumps(dict(zip(RANGE_TAGS, (FIRST, LAST), strict=True)))]
        of_batch = ["--config-json", json.dumps(batch_config(FIRST, LAST))]
        launch = ["job", "launch", "-w", str(home / "workspace.yaml"), "-j", job]
        launch += of_one_run if job == "weekly_cycle" else of_batch
        subprocess.run([str(Path(sys.executable).with_name("dagster")), *launch], check=True, cwd=home)
        started = dg.RunsFilter(job_name=job, statuses=[dg.DagsterRunStatus.STARTED])
        wait_for("start of the run", lambda: [r for r in instance.get_runs(started) if r.run_id not in before], 240)
        moment = random.Random(f"{seconds} {seed}").uniform(0, length)
        time.sleep(moment)
        server.stop()
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            supervise()
            time.sleep(1)
        server.start()
        back = time.monotonic()

        def settled():
            """Have all runs ended? Of one that failed Dagster's daemon may say only later whether it tries it again."""
            supervise()
            runs = ours()
            followed = {r.parent_run_id for r in runs}
            failed = [r for r in runs if r.status == dg.DagsterRunStatus.FAILURE and r.run_id not in followed]
            is_decided = all(r.tags.get("dagster/will_retry") == "false" for r in failed)
            return all(r.is_finished for r in runs) and is_decided

        wait_for("end of the runs", settled, 900, platform.log_tails)
        runs = sorted(ours(), key=lambda r: instance.get_run_stats(r.run_id).enqueued_time or 0)
        run_states = [f"{r.status.value} {r.tags.get('dagster/failure_reason', '')}".strip() for r in runs]
        print(
            f"OUTAGE {job} {seconds} s, seed {seed}, {moment:.1f} s into the run: {' -> '.join(run_states)}; "
            f"{time.monotonic() - back:.0f} s after it was back; restarted {dict(restarts) or 'nothing'}"
        )
        failed = [
            e.dagster_event.step_failure_data.error.to_string()[:300]
            for r in runs
            for e in instance.all_logs(r.run_id, of_type=dg.DagsterEventType.STEP_FAILURE)
        ]
        for text in failed:
            print("STEP FAILURE", text)
        assert runs[-1].status == dg.DagsterRunStatus.SUCCESS, run_states
    assert state(home / "store", registry, Ledger(url=project_url)) == expected
