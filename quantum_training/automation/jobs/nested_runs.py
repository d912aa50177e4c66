"""Nested runs: a run carries out recorded runs of other jobs in its own process, one symbol after the other."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import dagster as dg
from dagster._core.errors import DagsterExecutionInterruptedError
from dagster._core.storage.tags import MAX_RUNTIME_SECONDS_TAG

from quantum_training.assets.failed_months import FAILED_SYMBOLS
from quantum_training.automation.execution.persistent_connection import persistent_connection
from quantum_training.automation.failures.interruptions import stopped
from quantum_training.automation.failures.storage_faults import RunStorageFault, mark_storage_fault
from quantum_training.partitions import RANGE_TAGS
from quantum_training.resources.run_origin import ACTOR_TAG, LAUNCHED_BY, REASON_TAG, REQUEST_TAG
from quantum_training.resources.texts import bounded_tags
from quantum_training.settings import Settings

T = TypeVar("T")


def requested_symbols(settings: Settings, symbols: Sequence[str]) -> list[str]:
    """These symbols, or all of the settings if there are none. Failure if the settings lack one."""
    if unknown := sorted({*symbols} - {*settings.symbols}):
        raise dg.Failure(
            f"unknown symbols {', '.join(unknown)}; symbols are {', '.join(settings.symbols)}", allow_retries=False
        )
    return [*symbols] or [*settings.symbols]


@dataclass(frozen=True)
class NestedRun:
    """A run of a partitioned job for one symbol, over the partitions from `first` to `last`.

    symbol: empty if the job has one partition for all symbols. first, last: empty if it has one for each symbol.
    config: run config. assets: the assets of the job to run; empty means all of them. tags: additional run tags.
    """

    symbol: str
    first: str = ""
    last: str = ""
    config: Mapping[str, Any] = field(default_factory=dict)
    assets: Sequence[str] = ()
    tags: Mapping[str, str] = field(default_factory=dict)


def run_nested(context: dg.OpExecutionContext, job: dg.JobDefinition, run: NestedRun) -> None:
    """Carry out one recorded run of a job in this process. The time limit of the surrounding run applies.

    DagsterExecutionInterruptedError if the nested run was stopped, which stops the surrounding run, too;
    RunStorageFault if Dagster's storage failed; RuntimeError if it failed otherwise.
    """
    partitions = ("|".join(filter(None, (run.symbol, period))) for period in (run.first, run.last))
    tags = {**bounded_tags(run.tags), **dict(zip(RANGE_TAGS, partitions, strict=True))}
    tags |= {tag: context.run.tags[tag] for tag in (ACTOR_TAG, REASON_TAG, REQUEST_TAG) if tag in context.run.tags}
    tags |= {LAUNCHED_BY: context.run_id, MAX_RUNTIME_SECONDS_TAG: "0"} | ({"symbol": run.symbol} if run.symbol else {})
    with persistent_connection(context.instance):
        result = job.execute_in_process(
            instance=context.instance,
            tags=tags,
            run_config=dict(run.config),
            raise_on_error=False,
            asset_selection=[dg.AssetKey(asset) for asset in run.assets] or None,
        )
    if result.success:
        return
    if stopped(result):
        raise DagsterExecutionInterruptedError(f"{job.name} run {result.run_id} was stopped")
    errors = [e.step_failure_data.error for e in result.all_events if e.is_step_failure and e.step_failure_data.error]
    cause = next((error.cause or error for error in errors), None)
    message = cause.message.strip() if cause else "see its log"
    fault = RunStorageFault if mark_storage_fault(context.instance, result) else RuntimeError
    raise fault(f"{job.name} run {result.run_id} failed: {message}")


def for_each_symbol(
    context: dg.OpExecutionContext, symbols: Sequence[str], failures: dict[str, str], read: Callable[[str], T]
) -> list[T]:
    """What `read` returns for each symbol without a failure. If it raises, the symbol is added to `failures`."""
    results = []
    for symbol in symbols:
        if symbol in failures:
            continue
        try:
            results.append(read(symbol))
        except Exception as error:
            failures[symbol] = f"its result cannot be read: {type(error).__name__}: {error}"
            context.log.error(f"{symbol} failed: {failures[symbol]}")
    return results


def symbols_failure(failures: Mapping[str, str], total: int) -> dg.Failure:
    """The failure of a step that names every symbol that failed, and why. total: how many symbols there were."""
    reasons = "\n".join(f"{symbol}: {reason}" for symbol, reason in failures.items())
    return dg.Failure(
        f"{len(failures)} of {total} symbols failed:\n{reasons}",
        metadata={FAILED_SYMBOLS: dg.MetadataValue.json(dict(failures))},
        allow_retries=False,
    )
