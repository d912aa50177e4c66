"""Asset check on `decay_report`: has the champion decayed?"""

import dagster as dg

from quantum_training.lifecycle.records import DECAY_REPORT, WeeklyDecay, read_record
from quantum_training.market.periods import Key
from quantum_training.partitions import Partitions, newest_key_per_symbol, run_keys
from quantum_training.resources.store.store import Store, StoreError

CHECK = "no_decay"


def decay_check(partitions: Partitions) -> dg.AssetChecksDefinition:
    """The check on the newest report. It blocks nothing: decay alone removes no champion."""

    @dg.asset_check(
        asset=DECAY_REPORT,
        name=CHECK,
        partitions_def=partitions.week,
        description="Of each symbol's newest week of the run: a champion that has decayed warns.",
    )
    def no_decay(context: dg.AssetCheckExecutionContext, store: dg.ResourceParam[Store]) -> dg.AssetCheckResult:
        keys = newest_key_per_symbol(run_keys(partitions.week, context.run.tags))
        reports = {key: stored_report(store, key) for key in keys}
        return dg.AssetCheckResult(
            passed=all(report.status != "DECAYED" for report in reports.values()),
            severity=dg.AssetCheckSeverity.WARN,
            description="; ".join(f"{key} {report.status}: {report.reason}" for key, report in reports.items()),
        )

    return no_decay


def stored_report(store: Store, key: Key) -> WeeklyDecay:
    """The record of a week. StoreError if there is none."""
    record = read_record(store, WeeklyDecay, key.symbol, key.period)
    if record is None:
        raise StoreError(f"{DECAY_REPORT} {key}: nothing is stored; materialise {DECAY_REPORT} of this week first")
    return record
