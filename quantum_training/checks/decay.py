"""Asset check on `decay_report`: has the champion decayed?"""

import dagster as dg

from quantum_training.lifecycle.records import DECAY_REPORT
from quantum_training.partitions import Partitions, run_keys
from quantum_training.resources.store.store import Store

CHECK = "no_decay"


def decay_check(partitions: Partitions) -> dg.AssetChecksDefinition:
    """The check on the newest report. It blocks nothing: decay alone takes no champion back."""

    @dg.asset_check(
        asset=DECAY_REPORT,
        name=CHECK,
        partitions_def=partitions.week,
        description="Of each symbol's newest week of the run: a champion that has decayed warns.",
    )
    def no_decay(context: dg.AssetCheckExecutionContext, store: dg.ResourceParam[Store]) -> dg.AssetCheckResult:
        newest = {key.symbol: key for key in run_keys(partitions.week, context.run.tags)}
        found = {key: store.read_record(DECAY_REPORT, key.symbol, key.period) or {} for key in newest.values()}
        return dg.AssetCheckResult(
            passed=all(record["status"] != "DECAYED" for record in found.values()),
            severity=dg.AssetCheckSeverity.WARN,
            description="; ".join(f"{key} {record['status']}: {record['reason']}" for key, record in found.items()),
        )

    return no_decay
