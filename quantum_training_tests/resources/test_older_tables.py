"""Queries for the tables of an older training service, on what the events say, in real SQLite and Postgres."""

import pandas as pd
import pytest
import sqlalchemy as sa

from quantum_training.lifecycle.training.events import TrainingJob
from quantum_training.resources.database import transaction
from quantum_training.resources.events.bus import EventBus

READER = "test"


@pytest.fixture
def query(url):
    def query(sql):
        return [tuple(row) for row in transaction(url, lambda c: c.execute(sa.text(sql)).all())]

    return query


def train(url, job_id, recipe="xgboost", model_id=None, error=None, metrics=None):
    job = TrainingJob(EventBus(database_url=url), "AAA", recipe, job_id)
    try:
        with job.publish_started("SCHEDULED", "weekly refresh"):
            if error:
                raise error
            if model_id:
                job.publish_succeeded(model_id, metrics or {}, 1.5)
    except type(error or AssertionError()):
        pass


@pytest.fixture
def trained(url):
    train(url, "run1/AAA|2020-01-06/xgboost", model_id="m1", metrics={"log_loss": 0.5, "rounds": 20})
    train(url, "run2/AAA|2020-01-06/lstm", "lstm", error=ValueError("no bars"))
    train(url, "run3/AAA|2020-01-13/xgboost", model_id="m2", metrics={"log_loss": 0.25, "auc": float("nan")})
    train(url, "run4/AAA|2020-01-20/xgboost")
    return url


def test_jobs_have_recipe_status_error_and_times(trained, query):
    assert query("SELECT strategy_type, symbol, status, error_message FROM ml_training_jobs ORDER BY job_id") == [
        ("xgboost", "AAA", "completed", None),
        ("lstm", "AAA", "failed", "ValueError: no bars"),
        ("xgboost", "AAA", "completed", None),
        ("xgboost", "AAA", "running", None),
    ]
    ended = "SELECT count(*) FROM ml_training_jobs WHERE completed_at >= created_at AND created_at = started_at"
    assert query(ended) == [(3,)]
    assert query("SELECT status, count(*) FROM ml_training_jobs GROUP BY status ORDER BY status") == [
        ("completed", 2),
        ("failed", 1),
        ("running", 1),
    ]


def test_times_compare_with_the_clock_of_the_database(trained, query, url):
    recent = "datetime('now', '-1 hour')" if url.startswith("sqlite") else "now() - INTERVAL '1 hour'"
    assert query(f"SELECT count(*) FROM ml_training_jobs WHERE created_at > {recent}") == [(4,)]
    assert query(f"SELECT count(*) FROM ml_training_jobs WHERE created_at < {recent}") == [(0,)]


def test_the_newest_version_of_a_recipe_is_active(trained, query):
    rows = query(
        "SELECT model_id, strategy_type, symbol, is_active FROM ml_model_registry ORDER BY created_at, model_id"
    )
    assert [(*row[:3], bool(row[3])) for row in rows] == [
        ("m1", "xgboost", "AAA", False),
        ("m2", "xgboost", "AAA", True),
    ]
    assert query("SELECT model_id FROM ml_model_registry WHERE is_active") == [("m2",)]


def test_metrics_are_rows_and_an_undefined_one_is_none(trained, query):
    assert query("SELECT model_id, metric_name, metric_value FROM ml_training_metrics ORDER BY 1, 2") == [
        ("m1", "log_loss", 0.5),
        ("m1", "rounds", 20.0),
        ("m2", "log_loss", 0.25),
    ]


def test_a_job_that_failed_and_was_run_again_has_one_row(url, query):
    train(url, "run1/AAA|2020-01-06/xgboost", error=OSError("disk full"))
    train(url, "run1/AAA|2020-01-06/xgboost", model_id="m1")
    assert query("SELECT status, error_message FROM ml_training_jobs") == [("completed", None)]


def test_what_housekeeping_emptied_is_gone_and_stops_no_query(trained, query, url):
    queue = EventBus(database_url=url).outbox.queue()
    while batch := queue.read(READER, 100):
        queue.acknowledge(READER, [delivery.id for delivery in batch])
    assert EventBus(database_url=url).outbox.prune(pd.Timestamp.now("UTC") + pd.Timedelta("1h")) == 7
    for table in ("ml_training_jobs", "ml_model_registry", "ml_training_metrics"):
        assert query(f"SELECT count(*) FROM {table}") == [(0,)]


def test_a_table_of_the_older_service_in_the_same_database_stays(url, tmp_path):
    if url.startswith("sqlite"):
        (tmp_path / "home").mkdir()
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE ml_training_jobs (job_id TEXT)")
        connection.exec_driver_sql("INSERT INTO ml_training_jobs VALUES ('theirs')")
    train(url, "run1/AAA|2020-01-06/xgboost", model_id="m1")
    rows = transaction(url, lambda c: c.execute(sa.text("SELECT job_id FROM ml_training_jobs")).scalars().all())
    assert rows == ["theirs"]
    assert transaction(url, lambda c: c.execute(sa.text("SELECT count(*) FROM ml_model_registry")).scalar_one()) == 1
