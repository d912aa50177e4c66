"""Asset check on `candles`: the quality of the stored bars. The rules live in market.quality."""

from collections.abc import Iterator
from typing import Any

import dagster as dg

from quantum_training.assets.failed_months import QUALITY_CHECK, quality_result
from quantum_training.assets.partition_checks import evaluations
from quantum_training.lifecycle.month_outcomes import judge_outcome
from quantum_training.lifecycle.records import CANDLES
from quantum_training.partitions import Partitions, run_keys
from quantum_training.resources.store.store import Store
from quantum_training.settings import Settings


def candle_quality(settings: Settings, partitions: Partitions) -> dg.AssetChecksDefinition:
    """The check on what `candles` stored: the rules of ingestion, applied to the bytes in the store."""
    spec = dg.AssetCheckSpec(
        QUALITY_CHECK,
        asset=CANDLES,
        partitions_def=partitions.month,
        description="Schema, order, calendar, gaps, jumps, volume of the stored bars. `features` holds back a month "
        "with errors, and that month alone. Warnings list their bars.",
    )

    @dg.multi_asset_check(name=spec.get_python_identifier(), specs=[spec])
    def quality(context: dg.AssetCheckExecutionContext, store: dg.ResourceParam[Store]) -> Iterator[Any]:
        keys = run_keys(partitions.month, context.run.tags)
        yield from evaluations(
            context, spec, {key: quality_result(judge_outcome(store, settings, key)) for key in keys}
        )

    return quality
