"""Removing Dagster's old runs, their logs and ticks, without losing what Dagster knows of a partition.

Dagster reads the state of partitions and checks from the events of runs, and deleting a run deletes its events. So a
run that holds the newest event of some partition, or the newest result of a check, stays, and of its log that. Works
on SQLite and Postgres: Dagster's own calls where there are some, else its own tables.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import dagster as dg
import pandas as pd

from quantum_training.resources.cleanup.removal_count import RemovalCount

PAGE = 500
SHORTENED = "quantum_training/log_shortened"
"""Tag of a run that stayed, with the UTC day on which the rest of its log went."""

FINISHED = [dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED]
ALARM_TAG = "trigger"
ALARM_DAYS = pd.Timedelta(days=29)
"""For how long the sensors read the runs that they started: the longest cool-down, and the day of the budget."""


class _Run(NamedTuple):
    run_id: str
    shortened: bool


def remove_runs(
    instance: dg.DagsterInstance, before: pd.Timestamp, now: pd.Timestamp, dry_run: bool
) -> dict[str, RemovalCount]:
    """Remove runs that ended before that time, and shorten the logs of those that hold the state of a partition.

    Runs of a backfill that goes on stay, and so do those that the sensors still count. Returns how many went, or with
    dry_run would go, and the bytes of their logs, as `runs` and `shortened_logs`.
    """
    holding = _holding(instance)
    going, staying = [], []
    for run in _old(instance, before, now):
        if run.run_id not in holding:
            going.append(run.run_id)
        elif not run.shortened:
            staying.append(run.run_id)
    runs, logs = RemovalCount(), RemovalCount()
    for run_id in going:
        runs += RemovalCount(1, _log_bytes(instance, run_id, whole=True) + _folder_bytes(instance, run_id))
        if not dry_run:
            _remove(instance, run_id)
    for run_id in staying:
        logs += RemovalCount(1, _log_bytes(instance, run_id, whole=False) + _folder_bytes(instance, run_id))
        if not dry_run:
            _shorten(instance, run_id, now)
    if not dry_run:
        _remove_lost_shards(instance, before)
    return {"runs": runs, "shortened_logs": logs}


def remove_ticks(instance: dg.DagsterInstance, before: pd.Timestamp, dry_run: bool) -> RemovalCount:
    """Remove the ticks of schedules and sensors from before that time, but the newest of each: the daemon goes on from
    there. Their bytes are not known."""
    count = 0
    for state in instance.all_instigator_state() if instance.schedule_storage else []:
        newest = instance.get_ticks(state.instigator_origin_id, state.selector_id, limit=1)
        if not newest:
            continue
        until = min(before.timestamp(), newest[0].timestamp)
        count += len(instance.get_ticks(state.instigator_origin_id, state.selector_id, before=until))
        if not dry_run:
            instance.purge_ticks(state.instigator_origin_id, state.selector_id, before=until)
    return RemovalCount(count)


def _old(instance: dg.DagsterInstance, before: pd.Timestamp, now: pd.Timestamp) -> list[_Run]:
    """Runs that ended before that time and that nothing goes on with."""
    from dagster._core.execution.backfill import BULK_ACTION_TERMINAL_STATUSES

    goes_on = {b.backfill_id for b in instance.get_backfills() if b.status not in BULK_ACTION_TERMINAL_STATUSES}
    found = []
    for record in _records(instance, dg.RunsFilter(statuses=FINISHED, updated_before=before.to_pydatetime())):
        tags = record.dagster_run.tags
        counted = ALARM_TAG in tags and pd.Timestamp(record.create_timestamp) >= now - ALARM_DAYS
        if tags.get("dagster/backfill") not in goes_on and not counted:
            found.append(_Run(record.dagster_run.run_id, SHORTENED in tags))
    return found


def _records(instance: dg.DagsterInstance, filters: dg.RunsFilter) -> Iterator[Any]:
    cursor = None
    while page := instance.get_run_records(filters, limit=PAGE, cursor=cursor):
        yield from page
        cursor = page[-1].dagster_run.run_id


def _holding(instance: dg.DagsterInstance) -> set[str]:
    """The runs that hold the newest event of its kind of any partition, or the newest result of a check."""
    import sqlalchemy as sa

    events, checks = _tables()
    of_partition = events.c.asset_key, events.c.partition, events.c.dagster_event_type
    newest = sa.select(sa.func.max(events.c.id)).where(events.c.asset_key.isnot(None)).group_by(*of_partition)
    of_check = checks.c.asset_key, checks.c.check_name, checks.c.partition
    ended = checks.c.execution_status != "PLANNED"
    results = [sa.select(sa.func.max(checks.c.id)).where(which).group_by(*of_check) for which in (sa.true(), ended)]
    with _storage(instance).index_connection() as connection:
        queries = [sa.select(events.c.run_id).where(events.c.id.in_(newest))]
        queries += [sa.select(checks.c.run_id).where(checks.c.id.in_(result)) for result in results]
        return {run_id for query in queries for (run_id,) in connection.execute(query.distinct())}


def _remove(instance: dg.DagsterInstance, run_id: str) -> None:
    """Remove all of a run, itself last: where this is killed, the run is found again."""
    import sqlalchemy as sa
    from dagster._core.storage.runs.schema import RunTagsTable

    storage, checks = _storage(instance), _tables()[1]
    instance.compute_log_manager.delete_logs(prefix=[run_id])
    with storage.index_connection() as connection:
        connection.execute(sa.delete(checks).where(checks.c.run_id == run_id))
    storage.delete_events(run_id)
    run_storage: Any = instance.run_storage
    with run_storage.connect() as connection:  # SQLite does not follow the foreign key
        connection.execute(sa.delete(RunTagsTable).where(RunTagsTable.c.run_id == run_id))
    run_storage.delete_run(run_id)
    _remove_shard(storage, run_id)


def _shorten(instance: dg.DagsterInstance, run_id: str, now: pd.Timestamp) -> None:
    """Of a run that stays, remove the log beside the events of assets, checks, status and failures."""
    import sqlalchemy as sa

    storage = _storage(instance)
    instance.compute_log_manager.delete_logs(prefix=[run_id])
    with storage.run_connection(run_id) as connection:
        connection.execute(sa.delete(_tables()[0]).where(_log_of(run_id)))
    if shard := _shard(storage, run_id):
        engine = sa.create_engine(f"sqlite:///{shard}", isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
        with engine.connect() as connection:
            connection.exec_driver_sql("VACUUM")  # a file of its own, which nobody writes any more
    instance.add_run_tags(run_id, {SHORTENED: now.strftime("%Y-%m-%d")})


def _log_bytes(instance: dg.DagsterInstance, run_id: str, whole: bool) -> int:
    """Characters of a run's events: all of them, or those that shortening removes."""
    import sqlalchemy as sa

    events = _tables()[0]
    which = events.c.run_id == run_id if whole else _log_of(run_id)
    with _storage(instance).run_connection(run_id) as connection:
        return connection.execute(sa.select(sa.func.sum(sa.func.length(events.c.event))).where(which)).scalar() or 0


def _tables() -> tuple[Any, Any]:
    """Dagster's tables of events and of the results of checks."""
    from dagster._core.storage.event_log import schema

    return schema.SqlEventLogStorageTable, schema.AssetCheckExecutionsTable


def _log_of(run_id: str) -> Any:
    """The events of a run that say nothing of an asset, a check, its status or a failure."""
    import sqlalchemy as sa
    from dagster._core.events import ASSET_CHECK_EVENTS, ASSET_EVENTS, EVENT_TYPE_TO_PIPELINE_RUN_STATUS

    kept = [*ASSET_EVENTS, *ASSET_CHECK_EVENTS, *EVENT_TYPE_TO_PIPELINE_RUN_STATUS, dg.DagsterEventType.STEP_FAILURE]
    events = _tables()[0]
    kind = events.c.dagster_event_type
    return sa.and_(events.c.run_id == run_id, sa.or_(kind.is_(None), kind.not_in([k.value for k in kept])))


def _folder_bytes(instance: dg.DagsterInstance, run_id: str) -> int:
    """Bytes of a run's compute logs where they are on this machine."""
    base = getattr(instance.compute_log_manager, "_base_dir", None)
    if base is None:
        return 0
    return sum(file.stat().st_size for file in Path(base, run_id).rglob("*") if file.is_file())


def _storage(instance: dg.DagsterInstance) -> Any:
    """Dagster's storage of events. NotImplementedError where it is no database of its own."""
    from dagster._core.storage.event_log.sql_event_log import SqlEventLogStorage

    storage = instance.event_log_storage
    if not isinstance(storage, SqlEventLogStorage):
        raise NotImplementedError(f"{type(storage).__name__}: housekeeping knows Dagster's SQLite and Postgres only")
    return storage


def _shard(storage: Any, run_id: str) -> Path | None:
    """The file that SQLite keeps a run's events in; None on Postgres."""
    path = getattr(storage, "path_for_shard", None)
    return Path(path(run_id)) if path else None


def _remove_shard(storage: Any, run_id: str) -> None:
    if shard := _shard(storage, run_id):
        for file in (shard, *(shard.with_name(f"{shard.name}-{part}") for part in ("wal", "shm"))):
            file.unlink(missing_ok=True)
        storage._initialized_dbs.discard(run_id)


def _remove_lost_shards(instance: dg.DagsterInstance, before: pd.Timestamp) -> None:
    """Remove the files of runs that a killed housekeeping, or a person, has deleted."""
    storage = _storage(instance)
    if _shard(storage, "") is None:
        return
    for run_id in storage.get_all_run_ids():
        shard = _shard(storage, run_id)
        if shard and shard.stat().st_mtime < before.timestamp() and not instance.has_run(run_id):
            _remove_shard(storage, run_id)
