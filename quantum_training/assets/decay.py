"""Asset `decay_report`: the champion's record in office against its own record before. Computed in
lifecycle/surveillance.
"""

from typing import Any

import dagster as dg

from quantum_training.assets.evidence_assets import gap_of, unless_gap
from quantum_training.assets.metadata.decay import decay_metadata
from quantum_training.assets.partition_runner import SINGLE_RUN, each_partition
from quantum_training.lifecycle.records import CHAMPION, DECAY_REPORT, write_record
from quantum_training.lifecycle.surveillance.decay import decay_reports
from quantum_training.market.periods import Key
from quantum_training.partitions import Partitions, run_keys
from quantum_training.resources.events.bus import EventBus
from quantum_training.resources.store.store import Store
from quantum_training.settings import Settings


def build(settings: Settings, partitions: Partitions) -> dg.AssetsDefinition:
    """The asset, for the symbols of these settings."""

    @dg.asset(
        name=DECAY_REPORT,
        partitions_def=partitions.week,
        backfill_policy=SINGLE_RUN,
        deps=[CHAMPION],
        group_name="evidence",
        kinds={"pandas"},
        description="Whether the champion at the start of this week still earns what its record before it took office "
        "lets one expect. Three views: a CUSUM of its daily net returns with a calibrated limit, the paired harm of "
        "its decision, and the newest performance.metrics_updated event that measured it in office, up to the end of "
        "this week.",
    )
    def decay_report(
        context: dg.AssetExecutionContext, store: dg.ResourceParam[Store], events: dg.ResourceParam[EventBus]
    ) -> dg.MaterializeResult:
        keys = [k for k in run_keys(partitions.week, context.run.tags) if not gap_of(settings, store, k)]
        reports = {
            symbol: decay_reports(store, events, settings, symbol, [k for k in keys if k.symbol == symbol])
            for symbol in {k.symbol for k in keys}
        }

        def report_week(key: Key) -> dict[str, Any]:
            record = reports[key.symbol][key.period]
            written = write_record(store, key.symbol, key.period, record)
            return decay_metadata(record, written.path)

        return each_partition(context, partitions.week, unless_gap(settings, store, report_week))

    return decay_report
