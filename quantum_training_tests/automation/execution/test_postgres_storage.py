"""Dagster's storage with one open connection: the same events and runs, also after Postgres was restarted."""

import shutil
import time
from pathlib import Path

import dagster as dg
import pytest
import sqlalchemy as sa
import yaml
from dagster._core.instance.ref import InstanceRef
from dagster._serdes import serialize_value

from quantum_training_tests.support.databases import postgres_server

ROOT = Path(__file__).parents[3]
MODULE = "quantum_training.automation.execution.postgres_storage"
CONNECTIONS = "SELECT count(*) FROM pg_stat_activity WHERE datname = 'dagster'"
SESSIONS = "SELECT sessions FROM pg_stat_database WHERE datname = 'dagster'"


@dg.asset
def answer() -> int:
    return 42


def home_of(folder: Path, url: sa.URL, *, is_own: bool) -> Path:
    """A DAGSTER_HOME over the database `dagster`, with Dagster's own class or the one of this project."""
    place = {"postgres_url": url.set(database="dagster").render_as_string(hide_password=False)}
    custom = {"custom": {"module": MODULE, "class": "OpenPostgresStorage", "config": place}}
    home = folder / ("own" if is_own else "open")
    home.mkdir()
    storage = {"postgres": place} if is_own else custom
    (home / "dagster.yaml").write_text(yaml.safe_dump({"telemetry": {"enabled": False}, "storage": storage}))
    return home


def events_of(home: Path, execute: bool = True) -> list[str]:
    """The types of the events of the newest run, after one more run."""
    with dg.DagsterInstance.from_config(str(home)) as instance:
        if execute:
            assert dg.materialize([answer], instance=instance).success
        (run,) = instance.get_runs(limit=1)
        return [str(e.dagster_event.event_type_value) for e in instance.all_logs(run.run_id) if e.dagster_event]


def test_it_stores_what_dagsters_class_stores_and_opens_few_connections(tmp_path: Path) -> None:
    with postgres_server() as (_, url):
        admin = sa.create_engine(url, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
        with admin.connect() as connection:
            connection.exec_driver_sql("CREATE DATABASE dagster")
        own, opened = home_of(tmp_path, url, is_own=True), home_of(tmp_path, url, is_own=False)
        expected = events_of(own)  # makes the tables

        def sessions() -> int:
            time.sleep(2)  # a session is counted a second after its end
            with admin.connect() as connection:
                return connection.exec_driver_sql(SESSIONS).scalar_one()

        before = sessions()
        assert events_of(opened) == expected
        after = sessions()
        assert after - before <= 12, "those that look for the tables, and one"
        events_of(own)
        assert sessions() - after > 30
        assert events_of(own, execute=False) == expected, "each class reads what the other one stored"


@pytest.mark.parametrize("file", ["docker/dagster.yaml", "dagster_home/dagster.yaml"])
def test_rays_run_launcher_can_pass_the_settings_on(file: str, tmp_path: Path) -> None:
    """dagster-ray 0.4.8 puts them between single quotes of a shell command and escapes none inside."""
    shutil.copy(ROOT / file, tmp_path / "dagster.yaml")
    assert "'" not in serialize_value(InstanceRef.from_dir(str(tmp_path)))


def test_a_restart_of_postgres_between_two_runs_is_no_failure(tmp_path: Path) -> None:
    with postgres_server() as (_, url):
        admin = sa.create_engine(url, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
        with admin.connect() as connection:
            connection.exec_driver_sql("CREATE DATABASE dagster")
        with dg.DagsterInstance.from_config(str(home_of(tmp_path, url, is_own=False))) as instance:
            assert dg.materialize([answer], instance=instance).success
            with admin.connect() as connection:
                assert connection.exec_driver_sql(CONNECTIONS).scalar_one() >= 1, "it stays open"
                connection.exec_driver_sql(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'dagster'"
                )
            assert dg.materialize([answer], instance=instance).success
            assert len(instance.get_runs()) == 2
