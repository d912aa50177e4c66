"""Asset `drift_report`: how the week before a day differs from the reference. Measured in lifecycle/surveillance."""

from functools import partial
from typing import Any

import dagster as dg

from quantum_training.assets.features import feature_deps
from quantum_training.assets.metadata.drift import drift_metadata
from quantum_training.assets.partition_runner import SINGLE_RUN, each_partition
from quantum_training.lifecycle.records import DRIFT_REPORT, write_record
from quantum_training.lifecycle.surveillance.drift import drift_event, measure_drift, recent_reports
from quantum_training.lifecycle.surveillance.drift_pages import write_pages
from quantum_training.market.periods import Key
from quantum_training.monitoring.severity import Severity
from quantum_training.partitions import Partitions, newest_key_per_symbol, overlap, run_keys
from quantum_training.resources.events.bus import EventBus
from quantum_training.resources.store.store import Store
from quantum_training.settings import Settings

DESCRIPTION = (
    "PSI and KS of every feature, and of the champion's predictions and residuals, in the {days} days BEFORE this day, "
    "tested against a reference: the {weeks} weeks before the champion took office. Data faults are severities with a "
    "reason, never failures. For the last day of a run, drift of MODERATE and worse is published on the event bus. "
    "Reference, champion and scores are read from the store."
)


def build(settings: Settings, partitions: Partitions) -> dg.AssetsDefinition:
    """The asset, for the symbols of these settings."""
    policy = settings.drift
    mapping = partial(overlap, "utc_month", "utc_day", -2 * policy.window_days, -1)

    @dg.asset(
        name=DRIFT_REPORT,
        partitions_def=partitions.day,
        backfill_policy=SINGLE_RUN,
        deps=feature_deps(settings.features, mapping),
        group_name="monitoring",
        kinds={"plotly"},
        description=DESCRIPTION.format(days=policy.window_days, weeks=policy.reference_weeks),
    )
    def drift_report(
        context: dg.AssetExecutionContext, store: dg.ResourceParam[Store], events: dg.ResourceParam[EventBus]
    ) -> dg.MaterializeResult:
        newest = newest_key_per_symbol(run_keys(partitions.day, context.run.tags))

        def report_day(key: Key) -> dict[str, Any]:
            drift = measure_drift(store, settings, key)
            written = write_record(store, key.symbol, key.period, drift.record)
            if key in newest and drift.record.severity >= Severity.MODERATE:
                events.outbox.publish([drift_event(key, drift.record, settings.symbols[key.symbol].recipes)])
            with_pages = policy.html and key in newest
            pages = write_pages(store, key, drift, written.changed) if with_pages else None
            earlier = recent_reports(store, key) if key in newest else {}
            url = settings.service.report_url(key.symbol, key.period)
            return drift_metadata(drift, written.path, pages, url, earlier)

        return each_partition(context, partitions.day, report_day)

    return drift_report
