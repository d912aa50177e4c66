"""Materialisation of the partitions of a run, one after the other, oldest first. Every partitioned asset uses it."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import dagster as dg

from quantum_training.assets.filled_history import newest_outside_run
from quantum_training.assets.progress import with_progress
from quantum_training.assets.step_retries import raise_or_retry
from quantum_training.market.periods import Key
from quantum_training.partitions import run_keys

SINGLE_RUN = dg.BackfillPolicy.single_run()
OWNERS = ["team:quant"]


def each_partition(
    context: dg.AssetExecutionContext,
    grid: dg.MultiPartitionsDefinition,
    materialize_partition: Callable[[Key], Mapping[str, Any] | None],
    finish: Callable[[], None] = lambda: None,
) -> dg.MaterializeResult:
    """Call `materialize_partition` for every partition of the run, oldest first, and record its metadata.

    A partition without metadata (None) is not recorded as materialised. finish: called after the last partition.
    If a partition fails, those before it stay recorded as materialised, and the error is raised with the partition's
    name. If the fault may pass, the step is repeated from its start instead: that changes nothing already stored.
    """
    asset = context.asset_key.to_user_string()
    keys = run_keys(grid, context.run.tags)
    materialized: dict[Key, Mapping[str, Any]] = {}
    record_finished = partial(record_materializations, context, materialized)
    for number, key in enumerate(with_progress(asset, keys), 1):
        try:
            metadata = materialize_partition(key)
        except Exception as error:
            error.add_note(f"in partition {key} of {asset}")
            raise_or_retry(context, error, record_finished)
        if metadata is not None:
            materialized[key] = metadata
        context.log.info(f"{asset} {number}/{len(keys)} {key}")
    try:
        finish()
    except Exception as error:
        raise_or_retry(context, error, record_finished)
    newest = newest_outside_run(context, grid, keys)
    for key, metadata in materialized.items():
        context.add_asset_metadata(metadata, partition_key=str(key))
        if key.symbol in newest:
            context.add_asset_metadata({"fills_in_history": newest[key.symbol]}, partition_key=str(key))
    return dg.MaterializeResult(value=None)


def record_materializations(
    context: dg.AssetExecutionContext,
    materialized: Mapping[Key, Mapping[str, Any]],
    asset: dg.AssetKey | None = None,
) -> None:
    """Record partitions that Dagster would not: those of a run that is about to fail, or of another asset."""
    for key, metadata in sorted(materialized.items(), key=lambda item: (item[0].period, item[0].symbol)):
        context.log_event(dg.AssetMaterialization(asset or context.asset_key, metadata=metadata, partition=str(key)))
