"""Materialisation of the partitions of a run, one after the other, oldest first. Every partitioned asset uses it."""

import hashlib
import json
import time
from collections.abc import Callable, Collection, Mapping
from functools import partial
from typing import Any

import dagster as dg

from quantum_training.assets.filled_history import newest_outside_run
from quantum_training.assets.metadata.tables import CONTENT_HASH
from quantum_training.assets.progress import with_progress
from quantum_training.assets.step_retries import raise_or_retry
from quantum_training.market.periods import Key
from quantum_training.partitions import run_keys

SINGLE_RUN = dg.BackfillPolicy.single_run()
LOG_SECONDS = 10
"""Between two lines of progress in the log of a run, in which each line is an event that Dagster stores."""


def each_partition(
    context: dg.AssetExecutionContext,
    grid: dg.MultiPartitionsDefinition,
    materialize_partition: Callable[[Key], Mapping[str, Any] | None],
    finish: Callable[[], None] = lambda: None,
    without_line: Collection[str] = (),
) -> dg.MaterializeResult:
    """Call `materialize_partition` for every partition of the run, oldest first, and record its metadata.

    A partition without metadata (None) is not recorded as materialised. finish: called after the last partition.
    without_line: symbols whose progress is not shown, as there is nothing to do for them.
    If a partition fails, those before it stay recorded as materialised, and the error is raised with the partition's
    name. If the fault may pass, the step is repeated from its start instead: that changes nothing already stored.
    """
    asset = context.asset_key.to_user_string()
    keys = run_keys(grid, context.run.tags)
    materialized: dict[Key, Mapping[str, Any]] = {}
    record_finished = partial(record_materializations, context, materialized)
    logged = time.monotonic()
    for number, key in enumerate(with_progress(asset, keys, without_line), 1):
        try:
            metadata = materialize_partition(key)
        except Exception as error:
            error.add_note(f"in partition {key} of {asset}")
            raise_or_retry(context, error, record_finished)
        if metadata is not None:
            materialized[key] = metadata
        if number == len(keys) or time.monotonic() - logged >= LOG_SECONDS:
            context.log.info(f"{asset} {number}/{len(keys)} {key}")
            logged = time.monotonic()
    try:
        finish()
    except Exception as error:
        raise_or_retry(context, error, record_finished)
    newest = newest_outside_run(context, grid, keys)
    for key, metadata in materialized.items():
        context.add_asset_metadata(metadata, partition_key=str(key))
        if key.symbol in newest:
            context.add_asset_metadata({"fills_in_history": newest[key.symbol]}, partition_key=str(key))
    return dg.MaterializeResult(value=None, data_version=data_version(materialized))


def data_version(materialized: Mapping[Key, Mapping[str, Any]]) -> dg.DataVersion | None:
    """The hash of what the run's partitions hold: Dagster 1.13.27 takes one data version for all partitions of a step.

    So the same partitions made again with the same content make nothing downstream stale. None, and so Dagster's own
    version, if a partition has no content hash.
    """
    contents = {str(key): metadata.get(CONTENT_HASH) for key, metadata in materialized.items()}
    if not all(contents.values()):
        return None
    return dg.DataVersion(hashlib.sha256(json.dumps(contents, sort_keys=True).encode()).hexdigest()[:16])


def record_materializations(
    context: dg.AssetExecutionContext,
    materialized: Mapping[Key, Mapping[str, Any]],
    asset: dg.AssetKey | None = None,
) -> None:
    """Record partitions that Dagster would not: those of a run that is about to fail, or of another asset."""
    for key, metadata in sorted(materialized.items(), key=lambda item: (item[0].period, item[0].symbol)):
        context.log_event(dg.AssetMaterialization(asset or context.asset_key, metadata=metadata, partition=str(key)))
