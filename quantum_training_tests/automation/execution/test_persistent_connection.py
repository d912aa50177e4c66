"""A run's one connection to Postgres: same events, few sessions, and none once it has ended."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import dagster as dg
import pytest
import sqlalchemy as sa
import yaml

from quantum_training.automation.execution.executor import in_process
from quantum_training.automation.execution.persistent_connection import persistent_connection
from quantum_training_tests.support.processes import wait_for

OPEN = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
ALL = "SELECT sessions FROM pg_stat_database WHERE datname = current_database()"
END = (
    "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
    "WHERE datname = current_database() AND pid <> pg_backend_pid()"
)


@dg.asset
def answer() -> int:
    return 42


@dg.op
def number() -> int:
    return 42


@dg.job(executor_def=dg.in_process_executor)
def dagsters_job() -> None:
    for n in range(10):
        number.alias(f"number_{n}")()


@dg.job(executor_def=in_process)
def own_job() -> None:
    for n in range(10):
        number.alias(f"number_{n}")()


@pytest.fixture
def instance(postgres_url: str, tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    storage = {"postgres": {"postgres_url": postgres_url}}
    (tmp_path / "dagster.yaml").write_text(yaml.safe_dump({"telemetry": {"enabled": False}, "storage": storage}))
    with dg.DagsterInstance.from_config(str(tmp_path)) as instance:
        yield instance


@pytest.fixture
def ask(postgres_url: str) -> Iterator[Callable[[str], int]]:
    """The number that a query gives, through a session of its own that stays."""
    with sa.create_engine(postgres_url, isolation_level="AUTOCOMMIT").connect() as connection:
        yield lambda query: connection.exec_driver_sql(query).scalar_one()


def events(instance: dg.DagsterInstance) -> list[str]:
    """The types of the events of one more run."""
    run_id = dg.materialize([answer], instance=instance).run_id
    return [str(e.dagster_event.event_type_value) for e in instance.all_logs(run_id) if e.dagster_event]


def sessions(ask: Callable[[str], int]) -> int:
    """Sessions of the database so far; one is counted up to a second after its end."""
    time.sleep(1.5)
    return ask(ALL)


def test_a_run_stores_what_it_does_without_and_opens_one_session(instance, ask):
    expected = events(instance)
    own = sessions(ask)
    assert own > 30, "Dagster's way"
    with persistent_connection(instance):
        assert events(instance) == expected
    assert sessions(ask) - own <= 2
    wait_for("the end of the session", lambda: ask(OPEN) == 0, 10)
    assert events(instance) == expected, "as before once more"
    assert len(instance.get_runs()) == 3


def test_the_executor_of_the_project_runs_a_job_as_dagsters_does_over_one_session(instance, ask):
    def run(job: dg.JobDefinition) -> tuple[list[str], int]:
        before = sessions(ask)
        with dg.execute_job(dg.reconstructable(job), instance) as result:
            types = [event.event_type_value for event in result.all_events]
        return types, sessions(ask) - before

    (expected, many), (found, few) = run(dagsters_job), run(own_job)
    assert found == expected
    assert "STEP_SUCCESS" in found
    assert few < many / 2, "what Dagster writes before and after the steps has sessions of its own"


def test_a_nested_run_uses_the_connection_of_the_run_around_it(instance):
    with persistent_connection(instance):
        engine = instance.event_log_storage._engine
        with persistent_connection(instance):
            assert instance.event_log_storage._engine is engine
        assert instance.event_log_storage._engine is engine
        assert events(instance)


def test_a_connection_that_postgres_closed_meanwhile_is_replaced(instance, ask):
    with persistent_connection(instance):
        expected = events(instance)
        assert ask(END) >= 1
        assert events(instance) == expected


def test_an_error_ends_it_too(instance, ask):
    def failing_run() -> None:
        with persistent_connection(instance):
            events(instance)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        failing_run()
    wait_for("the end of the session", lambda: ask(OPEN) == 0, 10)


def test_runs_and_events_in_two_databases_keep_their_own(instance, monkeypatch):
    monkeypatch.setattr(instance.run_storage, "postgres_url", "postgresql://elsewhere/runs")
    engines = instance.run_storage._engine, instance.event_log_storage._engine
    with persistent_connection(instance):
        assert (instance.run_storage._engine, instance.event_log_storage._engine) == engines


def test_sqlite_stays_as_it_is(tmp_path):
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance, persistent_connection(instance):
        assert events(instance)
