"""Jobs `<job>_batch`: the runs of several symbols, one after the other in one process.

The start of a process takes longer than the run of one symbol. In a batch each symbol still has a recorded run of its
own, with its own retries and alerts. Schedules start batches if there are more symbols than runs at a time.
"""

import hashlib
from collections import defaultdict
from collections.abc import Callable, Sequence
from math import ceil
from typing import Any

import dagster as dg
from dagster._core.storage.tags import MAX_RUNTIME_SECONDS_TAG, PRIORITY_TAG
from pydantic import Field

from quantum_training.assets.cluster_tags import dagster_pool, needs_of
from quantum_training.assets.step_retries import first_attempt
from quantum_training.automation.failures.storage_faults import raise_storage_fault, restart_after_storage_fault
from quantum_training.automation.jobs.asset_jobs import DRIFT, MARKET_DATA, SIGNALS, WEEKLY_CYCLE, console_config
from quantum_training.automation.jobs.nested_runs import NestedRun, requested_symbols, run_nested, symbols_failure
from quantum_training.automation.jobs.run_tags import time_limit_tags, training_tags
from quantum_training.partitions import RANGE_TAGS
from quantum_training.settings import Settings

BATCHED = (MARKET_DATA, WEEKLY_CYCLE, DRIFT, SIGNALS)
LARGEST = 100
"""Symbols of a batch: the start of the process is then a twentieth of its time. A retry skips those that succeeded."""

BATCH_TAG, KEY_TAG = "quantum_training/batch", "quantum_training/run_key"
"""Tags of a run in a batch: the id of the batch's first attempt, and the run key of the symbol."""

SYMBOLS_TAG = "quantum_training/symbols"
VENUE_TAG = "exchange"
SHARED_TAGS = (VENUE_TAG, PRIORITY_TAG)
"""Tags that all runs of a batch have in common, by which the queue orders and limits runs."""


class SymbolRun(dg.Config):
    """The run of one symbol. first, last: its partitions without the symbol; empty if it has one for each symbol."""

    key: str
    symbol: str
    first: str = ""
    last: str = ""
    config: dict[str, Any] = Field(default_factory=dict)
    assets: list[str] = Field(default_factory=list)
    tags: dict[str, str] = Field(default_factory=dict)


class BatchConfig(dg.Config):
    """The runs of a batch, in their order."""

    runs: list[SymbolRun]


def starts_batches(settings: Settings, job: str) -> bool:
    """Whether schedules start batches of a job: if there are more symbols than runs at a time and no steps on Ray."""
    many = len(settings.symbols) > settings.max_concurrent_training_jobs
    return job in BATCHED and many and settings.executor == "in_process"


def op_name(job: str) -> str:
    """The op of the job `<job>_batch`."""
    return f"{job}_of_symbols"


def scheduled_job(settings: Settings, job: str) -> str:
    """The name of the job that schedules start for `job`."""
    return f"{job}_batch" if starts_batches(settings, job) else job


def in_batches(settings: Settings, job: str, requests: Sequence[dg.RunRequest]) -> list[dg.RunRequest]:
    """The requests of runs of a job as those of its batches, so many that all runs at a time have about the same work.

    They stay as they are if schedules start no batches. Runs of one venue are in the same batches, because the queue
    limits how many runs ask a venue at a time.
    """
    if not requests or not starts_batches(settings, job):
        return [*requests]
    groups: dict[tuple[tuple[str, str], ...], list[dg.RunRequest]] = defaultdict(list)
    for request in requests:
        groups[tuple((tag, request.tags[tag]) for tag in SHARED_TAGS if tag in request.tags)].append(request)
    workers = settings.max_concurrent_training_jobs
    batches_per_worker = ceil(len(requests) / (workers * LARGEST))
    size = ceil(len(requests) / (workers * batches_per_worker))
    return [
        _batch_request(settings, job, dict(tags), group[first : first + size])
        for tags, group in groups.items()
        for first in range(0, len(group), size)
    ]


def _batch_request(
    settings: Settings, job: str, tags: dict[str, str], requests: Sequence[dg.RunRequest]
) -> dg.RunRequest:
    runs = [_symbol_run(request) for request in requests]
    names = f"{len(runs)} symbols from {runs[0].symbol} to {runs[-1].symbol}" if len(runs) > 1 else runs[0].symbol
    return dg.RunRequest(
        run_key=hashlib.sha256("\0".join(run.key for run in runs).encode()).hexdigest()[:32],
        run_config={"ops": {op_name(job): {"config": {"runs": [run.model_dump() for run in runs]}}}},
        tags={**tags, SYMBOLS_TAG: names, MAX_RUNTIME_SECONDS_TAG: str(settings.training_job_timeout * len(runs))},
    )


def _symbol_run(request: dg.RunRequest) -> SymbolRun:
    keys = [str(request.partition_key)] * 2 if request.partition_key else [request.tags[tag] for tag in RANGE_TAGS]
    (symbol, _, first), (_, _, last) = (key.partition("|") for key in keys)
    return SymbolRun(
        key=str(request.run_key),
        symbol=symbol,
        first=first,
        last=last,
        config=dict(request.run_config or {}),
        assets=[asset.to_user_string() for asset in request.asset_selection or ()],
        tags={tag: value for tag, value in request.tags.items() if not tag.startswith("dagster/")},
    )


def runs_of_batches(instance: dg.DagsterInstance, job: str, statuses: Sequence[dg.DagsterRunStatus]) -> list[SymbolRun]:
    """The runs of the batches of a job that have one of these states, also those that have not begun."""
    batches = instance.get_runs(dg.RunsFilter(job_name=f"{job}_batch", statuses=[*statuses]))
    configs: list[Any] = [batch.run_config for batch in batches]
    return [SymbolRun(**run) for config in configs for run in config["ops"][op_name(job)]["config"]["runs"]]


def build_batch_jobs(settings: Settings, definitions: Callable[[], dg.Definitions]) -> list[dg.JobDefinition]:
    """The job `<job>_batch` of each job of BATCHED."""
    return [_build_batch_job(job, settings, definitions) for job in BATCHED]


def _build_batch_job(job: str, settings: Settings, definitions: Callable[[], dg.Definitions]) -> dg.JobDefinition:
    trains = job == WEEKLY_CYCLE

    @dg.op(
        name=op_name(job),
        pool=dagster_pool(needs_of(settings)) if trains else None,
        description=f"Carry out one recorded run of `{job}` for each symbol. One that fails stops no other, unless "
        "Dagster's storage fails: then the batch is started again and goes on there.",
    )
    def run_symbols(context: dg.OpExecutionContext, config: BatchConfig) -> None:
        requested_symbols(settings, [run.symbol for run in config.runs])
        batch, console = first_attempt(context.instance, context.run), console_config(settings)
        ended = context.instance.get_runs(
            dg.RunsFilter(tags={BATCH_TAG: batch}, statuses=[dg.DagsterRunStatus.SUCCESS])
        )
        done = {run.tags.get(KEY_TAG) for run in ended}
        failures: dict[str, str] = {}
        for number, run in enumerate(config.runs, 1):
            if run.key in done:
                continue
            context.log.info(f"{job} {number}/{len(config.runs)} {run.symbol}")
            tags = {**run.tags, BATCH_TAG: batch, KEY_TAG: run.key}
            nested = NestedRun(run.symbol, run.first, run.last, {**console, **run.config}, run.assets, tags)
            try:
                run_nested(context, definitions().resolve_job_def(job), nested)
            except Exception as error:
                raise_storage_fault(context, error)
                failures[run.symbol] = str(error)
                context.log.error(f"{run.symbol} failed: {error}")
        if failures:
            raise symbols_failure(failures, len(config.runs))

    @dg.job(
        name=f"{job}_batch",
        description=f"`{job}` of several symbols, one after the other in one process. Schedules start it.",
        tags=training_tags(settings) if trains else time_limit_tags(settings),
        hooks={restart_after_storage_fault},
    )
    def batch() -> None:
        run_symbols()

    return batch
