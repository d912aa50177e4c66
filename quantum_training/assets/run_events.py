"""Dagster's tables of events and check results, by SQL: which runs hold state, and how large a run's log is.

Works on SQLite and Postgres. Removing runs: run_storage.py.
"""

from __future__ import annotations

from typing import Any

import dagster as dg


def event_storage(instance: dg.DagsterInstance) -> Any:
    """Dagster's storage of events. NotImplementedError if it is neither SQLite nor Postgres."""
    from dagster._core.storage.event_log.sql_event_log import SqlEventLogStorage

    storage = instance.event_log_storage
    if not isinstance(storage, SqlEventLogStorage):
        raise NotImplementedError(f"{type(storage).__name__}: housekeeping supports Dagster's SQLite and Postgres")
    return storage


def runs_with_state(storage: Any) -> set[str]:
    """The runs that hold the newest event of its kind of any partition, or the newest result of a check."""
    import sqlalchemy as sa

    events, checks = _tables()
    of_partition = events.c.asset_key, events.c.partition, events.c.dagster_event_type
    newest = sa.select(sa.func.max(events.c.id)).where(events.c.asset_key.isnot(None)).group_by(*of_partition)
    of_check = checks.c.asset_key, checks.c.check_name, checks.c.partition
    ended = checks.c.execution_status != "PLANNED"
    results = [sa.select(sa.func.max(checks.c.id)).where(rows).group_by(*of_check) for rows in (sa.true(), ended)]
    with storage.index_connection() as connection:
        queries = [sa.select(events.c.run_id).where(events.c.id.in_(newest))]
        queries += [sa.select(checks.c.run_id).where(checks.c.id.in_(result)) for result in results]
        return {run_id for query in queries for (run_id,) in connection.execute(query.distinct())}


def event_characters(storage: Any, run_id: str, whole_log: bool) -> int:
    """Characters of a run's events: of all, or of those that `delete_details` deletes."""
    import sqlalchemy as sa

    events = _tables()[0]
    rows = events.c.run_id == run_id if whole_log else _details(run_id)
    with storage.run_connection(run_id) as connection:
        return connection.execute(sa.select(sa.func.sum(sa.func.length(events.c.event))).where(rows)).scalar() or 0


def delete_events(storage: Any, run_id: str) -> None:
    """Delete a run's check results and events."""
    import sqlalchemy as sa

    checks = _tables()[1]
    with storage.index_connection() as connection:
        connection.execute(sa.delete(checks).where(checks.c.run_id == run_id))
    storage.delete_events(run_id)


def delete_details(storage: Any, run_id: str) -> None:
    """Delete a run's events except those of assets, checks, status and failures."""
    import sqlalchemy as sa

    with storage.run_connection(run_id) as connection:
        connection.execute(sa.delete(_tables()[0]).where(_details(run_id)))


def _tables() -> tuple[Any, Any]:
    """The tables of events and of the results of checks."""
    from dagster._core.storage.event_log import schema

    return schema.SqlEventLogStorageTable, schema.AssetCheckExecutionsTable


def _details(run_id: str) -> Any:
    """SQL condition: the events of a run that concern no asset, no check, no status and no failure."""
    import sqlalchemy as sa
    from dagster._core.events import ASSET_CHECK_EVENTS, ASSET_EVENTS, EVENT_TYPE_TO_PIPELINE_RUN_STATUS

    state = [*ASSET_EVENTS, *ASSET_CHECK_EVENTS, *EVENT_TYPE_TO_PIPELINE_RUN_STATUS, dg.DagsterEventType.STEP_FAILURE]
    events = _tables()[0]
    kind = events.c.dagster_event_type
    return sa.and_(events.c.run_id == run_id, sa.or_(kind.is_(None), kind.not_in([k.value for k in state])))
