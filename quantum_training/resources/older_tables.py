"""Views with the names and columns of an older training service, so that queries written for its tables go on working.

`ml_training_jobs`, `ml_model_registry` and `ml_training_metrics` show what the events in the table `outbox` say: the
trainings and their versions, until housekeeping empties old events. The queue of runs is Dagster's, so no job is queued
here. A table or view that has one of these names already stays as it is.
"""

from __future__ import annotations

import sqlalchemy as sa

_SQLITE = {
    "training_events": """
        SELECT number, symbol, type,
            json_extract(body, '$.payload.job_id') AS job_id,
            json_extract(body, '$.payload.model_type') AS model_type,
            json_extract(body, '$.payload.model_version') AS model_version,
            json_extract(body, '$.payload.status') AS status,
            json_extract(body, '$.payload.error_message') AS error_message,
            json_extract(body, '$.payload.metrics') AS metrics,
            datetime(json_extract(body, '$.payload.started_at')) AS started_at,
            datetime(json_extract(body, '$.payload.completed_at')) AS completed_at
        FROM outbox
        WHERE body <> '' AND type IN ('model.training_started', 'model.training_completed')
    """,
    "ml_training_metrics": """
        SELECT job_id, model_version AS model_id, symbol, metric.key AS metric_name, metric.value AS metric_value,
            completed_at AS recorded_at
        FROM training_events AS ended, json_each(ended.metrics) AS metric
        WHERE ended.type = 'model.training_completed' AND metric.value IS NOT NULL
    """,
}
_POSTGRES = {
    "training_events": """
        WITH events AS (
            SELECT number, symbol, type, CASE WHEN body <> '' THEN body::jsonb -> 'payload' END AS payload
            FROM outbox
            WHERE type IN ('model.training_started', 'model.training_completed')
        )
        SELECT number, symbol, type,
            payload ->> 'job_id' AS job_id,
            payload ->> 'model_type' AS model_type,
            payload ->> 'model_version' AS model_version,
            payload ->> 'status' AS status,
            payload ->> 'error_message' AS error_message,
            payload -> 'metrics' AS metrics,
            (payload ->> 'started_at')::timestamptz AS started_at,
            (payload ->> 'completed_at')::timestamptz AS completed_at
        FROM events
        WHERE payload IS NOT NULL
    """,
    "ml_training_metrics": """
        SELECT job_id, model_version AS model_id, symbol, metric.key AS metric_name,
            (metric.value #>> '{}')::double precision AS metric_value, completed_at AS recorded_at
        FROM training_events, jsonb_each(metrics) AS metric
        WHERE type = 'model.training_completed' AND metric.value <> 'null'::jsonb
    """,
}
_BOTH = {
    "ml_training_jobs": """
        WITH ended AS (
            SELECT *, row_number() OVER (PARTITION BY job_id ORDER BY number DESC) AS age
            FROM training_events WHERE type = 'model.training_completed'
        )
        SELECT begun.job_id, begun.model_type AS strategy_type, begun.symbol,
            CASE ended.status WHEN 'succeeded' THEN 'completed' WHEN 'failed' THEN 'failed' ELSE 'running' END
                AS status,
            ended.error_message, begun.started_at AS created_at, begun.started_at, ended.completed_at
        FROM training_events AS begun
        LEFT JOIN ended ON ended.job_id = begun.job_id AND ended.age = 1
        WHERE begun.type = 'model.training_started'
    """,
    "ml_model_registry": """
        WITH versions AS (
            SELECT ended.model_version AS model_id, begun.model_type AS strategy_type, ended.symbol,
                ended.completed_at AS created_at, ended.metrics,
                row_number() OVER (PARTITION BY ended.symbol, begun.model_type ORDER BY ended.number DESC) AS age
            FROM training_events AS ended
            JOIN training_events AS begun ON begun.job_id = ended.job_id AND begun.type = 'model.training_started'
            WHERE ended.type = 'model.training_completed' AND ended.model_version IS NOT NULL
        )
        SELECT model_id, strategy_type, symbol, created_at, age = 1 AS is_active, metrics FROM versions
    """,
}
_DIALECTS = {"sqlite": _SQLITE, "postgresql": _POSTGRES}


def create_views(connection: sa.Connection) -> None:
    """Create the views that the database lacks. `is_active` marks the newest version of a recipe and symbol."""
    inspector = sa.inspect(connection)
    present = {*inspector.get_table_names(), *inspector.get_view_names()}
    for name, query in {**_DIALECTS[connection.dialect.name], **_BOTH}.items():
        if name not in present:
            connection.exec_driver_sql(f"CREATE VIEW {name} AS {query}")
