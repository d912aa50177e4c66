"""The results of a partitioned check, one for each partition of the run.

Dagster 1.13 gives a check that runs over a range of partitions a single result without a partition, and shows the
planned result of each partition as skipped. So the evaluations are recorded here. Such a check blocks nothing: what
must not be read is held back, partition by partition, by the lifecycle.
"""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import dagster as dg
from dagster._core.definitions.asset_checks.asset_check_evaluation import (
    AssetCheckEvaluation,
    AssetCheckEvaluationTargetMaterializationData,
)

from quantum_training.market.periods import Key

BATCH = 500
"""Materialisations that are read in one query."""
NO_METADATA: Mapping[str, Any] = {}


class PartitionResult(NamedTuple):
    """What a check found in a partition."""

    passed: bool
    description: str | None = None
    metadata: Mapping[str, Any] = NO_METADATA
    severity: dg.AssetCheckSeverity = dg.AssetCheckSeverity.WARN


def evaluations(
    context: dg.AssetCheckExecutionContext, spec: dg.AssetCheckSpec, results: Mapping[Key, PartitionResult]
) -> Iterator[Any]:
    """What a `multi_asset_check` yields for one of its checks: its output, and one evaluation for each partition."""
    yield dg.Output(None, output_name=spec.get_python_identifier())
    targets = _newest_materializations(context.instance, spec.asset_key, [str(key) for key in results])
    for key, result in results.items():
        yield evaluation(spec.key, key, result, targets.get(str(key)))


def evaluation(
    check: dg.AssetCheckKey,
    key: Key,
    result: PartitionResult,
    target: AssetCheckEvaluationTargetMaterializationData | None = None,
) -> AssetCheckEvaluation:
    """The event of a check's result on a partition. target: the materialisation that it is about."""
    return AssetCheckEvaluation(
        asset_key=check.asset_key,
        check_name=check.name,
        passed=result.passed,
        metadata=result.metadata,
        target_materialization_data=target,
        severity=result.severity,
        description=result.description,
        blocking=False,
        partition=str(key),
    )


def _newest_materializations(
    instance: dg.DagsterInstance, asset: dg.AssetKey, partitions: list[str]
) -> dict[str, AssetCheckEvaluationTargetMaterializationData]:
    """The newest materialisation of each partition: a check on another one counts as outdated."""
    newest = instance.event_log_storage.get_latest_storage_id_by_partition(
        asset, dg.DagsterEventType.ASSET_MATERIALIZATION, {*partitions}
    )
    ids, targets = [*newest.values()], {}
    for first in range(0, len(ids), BATCH):
        filters = dg.AssetRecordsFilter(asset, storage_ids=ids[first : first + BATCH])
        for record in instance.fetch_materializations(filters, limit=BATCH).records:
            targets[str(record.partition_key)] = AssetCheckEvaluationTargetMaterializationData(
                storage_id=record.storage_id, run_id=record.run_id, timestamp=record.timestamp
            )
    return targets
