"""Asset `decay_report` and its check: the champion's record in office against its own record before it.

The statistics live in monitoring.decay.
"""

from typing import Any

import dagster as dg
import pandas as pd

from quantum_training.assets.metadata.tables import markdown
from quantum_training.assets.partition_runner import OWNERS, SINGLE_RUN, each_partition
from quantum_training.lifecycle.records import DECAY_REPORT
from quantum_training.lifecycle.surveillance.decay import reports_of
from quantum_training.market.periods import Key
from quantum_training.partitions import Partitions, run_keys
from quantum_training.resources.events.bus import EventBus
from quantum_training.resources.store.store import Store
from quantum_training.settings.settings import Settings


def build(settings: Settings, partitions: Partitions) -> dg.AssetsDefinition:
    """The asset, for the symbols of these settings."""

    @dg.asset(
        name=DECAY_REPORT,
        partitions_def=partitions.week,
        backfill_policy=SINGLE_RUN,
        deps=["champion"],
        group_name="evidence",
        kinds={"pandas"},
        owners=OWNERS,
        description="Whether the champion at the start of this week still earns what its record before it took office "
        "lets one expect: a CUSUM of its daily net returns with a calibrated limit, the paired harm of its decision, "
        "and the newest performance.metrics_updated event that measured it in office and before this week is over.",
    )
    def decay_report(
        context: dg.AssetExecutionContext, store: dg.ResourceParam[Store], events: dg.ResourceParam[EventBus]
    ) -> dg.MaterializeResult:
        keys = run_keys(partitions.week, context.run.tags)
        reports = {
            symbol: reports_of(store, events, settings, symbol, [k for k in keys if k.symbol == symbol])
            for symbol in {k.symbol for k in keys}
        }

        def produce(key: Key) -> dict[str, Any]:
            record = reports[key.symbol][key.period]
            written = store.write_record(DECAY_REPORT, key.symbol, key.period, record)
            baseline, live, harm = (record[name] or {} for name in ("baseline", "live", "harm"))
            cusum = record["rule"] == "cusum"
            trends = {
                "cusum" if cusum else "sharpe_of_window": record["statistic"],
                "limit": record["limit"],
                "sharpe_live": live.get("sharpe"),
                "sharpe_baseline": baseline.get("sharpe"),
                "sharpe_expected": record["expected_sharpe"],
                "harm_z": harm.get("z"),
            }
            return {
                "status": record["status"],
                "reason": record["reason"],
                "recipe": record["recipe"] or "none",
                "office": record["office"] or "none",
                "records": markdown(pd.DataFrame({"before office": baseline, "in office": live}, dtype=object)),
                "harm": dg.MetadataValue.json(record["harm"]),
                "harm_is_building": record["harm_is_building"],
                "reported": dg.MetadataValue.json(record["reported"]),
                **{name: value for name, value in trends.items() if value is not None},
                "path": dg.MetadataValue.path(written.path),
            }

        return each_partition(context, partitions.week, produce)

    return decay_report
