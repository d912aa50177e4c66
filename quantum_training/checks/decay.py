"""Asset check on `decay_report`: has the champion decayed?"""

from collections.abc import Iterator
from typing import Any

import dagster as dg

from quantum_training.assets.evidence_assets import gap_of
from quantum_training.assets.partition_checks import PartitionResult, evaluations
from quantum_training.lifecycle.records import DECAY_REPORT, WeeklyDecay, read_record
from quantum_training.market.periods import Key
from quantum_training.partitions import Partitions, run_keys
from quantum_training.resources.store.store import Store, StoreError
from quantum_training.settings import Settings

CHECK = "no_decay"


def decay_check(settings: Settings, partitions: Partitions) -> dg.AssetChecksDefinition:
    """The check on each report. It blocks nothing: decay alone removes no champion."""
    spec = dg.AssetCheckSpec(
        CHECK,
        asset=DECAY_REPORT,
        partitions_def=partitions.week,
        description="A champion that has decayed warns.",
    )

    @dg.multi_asset_check(name=spec.get_python_identifier(), specs=[spec])
    def no_decay(context: dg.AssetCheckExecutionContext, store: dg.ResourceParam[Store]) -> Iterator[Any]:
        keys = run_keys(partitions.week, context.run.tags)
        yield from evaluations(context, spec, {key: result(store, key) for key in keys})

    def result(store: Store, key: Key) -> PartitionResult:
        if gap := gap_of(settings, store, key):
            return PartitionResult(passed=True, description=str(gap))
        report = stored_report(store, key)
        return PartitionResult(passed=report.status != "DECAYED", description=f"{report.status}: {report.reason}")

    return no_decay


def stored_report(store: Store, key: Key) -> WeeklyDecay:
    """The record of a week. StoreError if there is none."""
    record = read_record(store, WeeklyDecay, key.symbol, key.period)
    if record is None:
        raise StoreError(f"{DECAY_REPORT} {key}: nothing is stored; materialise {DECAY_REPORT} of this week first")
    return record
