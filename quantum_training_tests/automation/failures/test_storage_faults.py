"""Dagster's storage that fails while a run writes its events: the run is marked to be started again, no other is."""

import dagster as dg
import pytest
import sqlalchemy as sa
from dagster._core.events import DagsterEventType
from dagster_postgres.utils import DagsterPostgresException

from quantum_training.automation.failures.storage_faults import RESTART_TAG

BROKEN_OFF = sa.exc.OperationalError("INSERT", {}, Exception("server closed the connection unexpectedly"))


def fails_once(instance, monkeypatch, error):
    """The storage fails with the first event that a step has succeeded."""
    real, met = instance.handle_new_event, []

    def handle(event, **options):
        told = event.dagster_event
        if told and told.event_type == DagsterEventType.STEP_SUCCESS and not met:
            met.append(event)
            raise error
        return real(event, **options)

    monkeypatch.setattr(instance, "handle_new_event", handle)
    return met


@pytest.mark.parametrize("error", [DagsterPostgresException("too many retries for DB connection"), BROKEN_OFF])
def test_a_run_that_its_storage_fails_is_started_again(project, small, monkeypatch, error):
    world = project(small)
    met = fails_once(world.instance, monkeypatch, error)
    result = world.run("market_data", "AAA|2019-09-01")
    assert met
    assert not result.success
    assert world.instance.get_run_by_id(result.run_id).tags[RESTART_TAG] == "true"


def test_a_run_whose_storage_is_full_is_not(project, small, monkeypatch):
    full = DagsterPostgresException("could not extend file: No space left on device")
    world = project(small)
    met = fails_once(world.instance, monkeypatch, full)
    result = world.run("market_data", "AAA|2019-09-01")
    assert met
    assert world.instance.get_run_by_id(result.run_id).tags[RESTART_TAG] == "false"


@pytest.mark.parametrize("inherited", ["false", "true"])
def test_a_run_that_lacks_its_data_is_not(project, small, inherited):
    """A run that was started again after a fault of the storage carries the tag of the one before."""
    world = project(small)
    result = world.run("weekly_cycle", "AAA|2020-01-06", tags={RESTART_TAG: inherited})
    run = world.instance.get_run_by_id(result.run_id)
    assert (run.status, run.tags[RESTART_TAG]) == (dg.DagsterRunStatus.FAILURE, "false")
