"""Asset check `complete_window` on the model assets: are months missing from the training windows? It warns."""

from collections.abc import Iterator
from typing import Any

import dagster as dg

from quantum_training.assets.partition_checks import PartitionResult, evaluations
from quantum_training.lifecycle.gaps import GAP
from quantum_training.lifecycle.records import ModelRecord, read_record
from quantum_training.lifecycle.training.training_window import incomplete_window
from quantum_training.market.periods import Key
from quantum_training.partitions import Partitions, run_keys
from quantum_training.resources.store.store import Store

CHECK = "complete_window"


def window_check(asset: str, partitions: Partitions) -> dg.AssetChecksDefinition:
    """The check on a recipe's model asset. It blocks nothing: the version trades, trained on what there was."""
    spec = dg.AssetCheckSpec(
        CHECK,
        asset=asset,
        partitions_def=partitions.week,
        description="No months of candles are missing from the training window of the week, and the week lies in no "
        "gap. Months before a market was listed are not missing.",
    )

    @dg.multi_asset_check(name=spec.get_python_identifier(), specs=[spec])
    def check(context: dg.AssetCheckExecutionContext, store: dg.ResourceParam[Store]) -> Iterator[Any]:
        missing = {key: _missing(store, asset, key) for key in run_keys(partitions.week, context.run.tags)}
        results = {key: PartitionResult(text is None, text) for key, text in missing.items()}
        yield from evaluations(context, spec, results)

    return check


def _missing(store: Store, asset: str, key: Key) -> str | None:
    """What is missing from the training window of a week, in words; None if nothing is."""
    record = read_record(store, ModelRecord, key.symbol, key.period, asset)
    if record is None:
        return None
    return record.reason if record.outcome == GAP else incomplete_window(record)
