"""How an asset works through the partitions of its run, and how it reads what lies before them. No asset lives here."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import dagster as dg

from quantum_training.assets.step_retries import raise_or_retry
from quantum_training.market.periods import Key
from quantum_training.partitions import run_keys

SINGLE_RUN = dg.BackfillPolicy.single_run()
OWNERS = ["team:quant"]


def each_partition(
    context: dg.AssetExecutionContext,
    grid: dg.MultiPartitionsDefinition,
    produce: Callable[[Key], Mapping[str, Any] | None],
    finish: Callable[[], None] = lambda: None,
) -> dg.MaterializeResult:
    """Call `produce` for every partition of the run, oldest first, and keep its metadata with that partition.

    A partition for which it gives None is not recorded as materialised.
    finish: what is done once all are. Where one fails, those before it stay recorded as materialised and the error is
    raised with the partition's name. Where the fault can pass, the step is tried again from its start instead: what is
    stored already is not changed.
    """
    asset = context.asset_key.to_user_string()
    keys = run_keys(grid, context.run.tags)
    done: dict[Key, Mapping[str, Any]] = {}
    keep = partial(record_materializations, context, done)
    for number, key in enumerate(keys, 1):
        try:
            metadata = produce(key)
        except Exception as error:
            error.add_note(f"in partition {key} of {asset}")
            raise_or_retry(context, error, keep)
        if metadata is not None:
            done[key] = metadata
        context.log.info(f"{asset} {number}/{len(keys)} {key}")
    try:
        finish()
    except Exception as error:
        raise_or_retry(context, error, keep)
    for key, metadata in done.items():
        context.add_asset_metadata(metadata, partition_key=str(key))
    return dg.MaterializeResult()


def record_materializations(context: dg.AssetExecutionContext, done: Mapping[Key, Mapping[str, Any]]) -> None:
    """Record materialisations of a run that is about to fail: Dagster would forget the partitions it finished."""
    for key, metadata in done.items():
        context.log_event(dg.AssetMaterialization(context.asset_key, metadata=metadata, partition=str(key)))
