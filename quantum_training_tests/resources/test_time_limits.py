"""A sensor's tick ends before Dagster cuts it off, even while the database is away, and says what is away."""

import time

import dagster as dg
import pytest

from quantum_training.resources import time_limits
from quantum_training.resources.database import DatabaseError
from quantum_training.resources.events.bus import EventBus
from quantum_training.resources.time_limits import TICK_SECONDS, short_timeouts, wait_limit


def test_a_tick_waits_shorter_than_dagster_and_a_run_waits_longer():
    assert TICK_SECONDS < 60
    with short_timeouts():
        assert (wait_limit(180), wait_limit(5)) == (TICK_SECONDS, 5)
    with short_timeouts(3):
        assert wait_limit(180) == 3
    assert wait_limit(180) == 180


@pytest.mark.parametrize("name", ["event_inbox_sensor", "run_failure_sensor"])
def test_a_tick_fails_by_itself_while_the_database_is_away(build_project, small, monkeypatch, name):
    monkeypatch.setattr(time_limits, "TICK_SECONDS", 0.5)
    project = build_project({**small, "database_url": "postgresql+psycopg2://ann:hush@127.0.0.1:9/db"})
    sensor = project.definitions.resolve_sensor_def(name)
    resources = {"store": project.store, "events": EventBus(database_url=project.settings.database_url)}
    if name == "run_failure_sensor":  # it asks the database only when there is something to tell
        assert not project.run("drift", "AAA|2020-01-06").success
        cursor = '{"PIPELINE_CANCELED": -1, "PIPELINE_FAILURE": -1, "waiting": {}}'
        monkeypatch.setattr(time, "time", lambda now=time.time: now() + 3600)
    else:
        cursor = None
    repository = project.definitions.get_repository_def()
    begun = time.monotonic()
    with (
        dg.build_sensor_context(
            instance=project.instance,
            cursor=cursor,
            repository_def=repository,
            resources={key: resources[key] for key in sensor.required_resource_keys},
        ) as context,
        pytest.raises(DatabaseError, match=r"ann:\*\*\*@127.0.0.1:9/db: .*then run this again"),
    ):
        sensor.evaluate_tick(context)
    assert time.monotonic() - begun < 60
