"""Asset `drift_report`: what of the week before a day differs from the reference.

The statistics live in monitoring.drift, what is compared in drift_data.py, its checks in drift_checks.py.
"""

from typing import Any

import dagster as dg
import pandas as pd

from quantum_training.assets.metadata.tables import markdown
from quantum_training.assets.partition_runner import OWNERS, SINGLE_RUN, each_partition
from quantum_training.lifecycle.records import DRIFT_REPORT
from quantum_training.lifecycle.surveillance.drift import Day, compare, detected
from quantum_training.market.periods import Key
from quantum_training.monitoring.drift import DriftReport
from quantum_training.monitoring.drift_heatmap import html_page, markdown_heatmap, weekly_p
from quantum_training.monitoring.severity import Severity
from quantum_training.partitions import Partitions, newest_key_per_symbol, overlap, run_keys
from quantum_training.resources.events.bus import EventBus
from quantum_training.resources.store.store import Store, Written
from quantum_training.settings.settings import Settings

SHOWN = ["column", "severity", "fault", "untested", "psi", "usual_psi", "q", "previous_q", "ks", "first_bad_bar"]


def build(settings: Settings, partitions: Partitions) -> dg.AssetsDefinition:
    """The asset, for the symbols of these settings."""

    mapping = overlap("utc_month", "utc_day", start=-2 * settings.drift.window_days, end=-1)

    @dg.asset(
        name=DRIFT_REPORT,
        partitions_def=partitions.day,
        backfill_policy=SINGLE_RUN,
        deps=[dg.AssetDep("features", partition_mapping=mapping)],
        group_name="monitoring",
        kinds={"plotly"},
        owners=OWNERS,
        description="PSI and KS of every feature, and of the champion's predictions and residuals, in the "
        f"{settings.drift.window_days} days BEFORE this day, tested against a reference: the "
        f"{settings.drift.reference_weeks} weeks before the champion took office. Data faults are severities with a "
        "reason, never failures. The last day of a run tells the event bus of MODERATE drift and worse. Reference, "
        "champion and scores are read from the store.",
    )
    def drift_report(
        context: dg.AssetExecutionContext, store: dg.ResourceParam[Store], events: dg.ResourceParam[EventBus]
    ) -> dg.MaterializeResult:
        newest = newest_key_per_symbol(run_keys(partitions.day, context.run.tags))

        def produce(key: Key) -> dict[str, Any]:
            day = compare(store, settings, key)
            written = store.write_record(DRIFT_REPORT, key.symbol, key.period, day.record)
            p = weekly_p(day.measured, day.reference.end, key.start, settings.drift.window)
            report = day.report
            if key in newest and report.severity >= Severity.MODERATE:
                events.outbox.publish([detected(key, report, settings.symbols[key.symbol].recipes)])
            pages = html_pages(store, key, day, p, written) if settings.drift.html and key in newest else {}
            return {
                "severity": report.severity.name,
                "severity_level": int(report.severity),
                "reason": report.reason,
                "recommendation": dg.MetadataValue.md("\n".join(f"- {line}" for line in report.recommendation)),
                "columns": _table(report),
                "heat_map": dg.MetadataValue.md(markdown_heatmap(p, [row.column for row in report.rows])),
                "reference": day.reference.why,
                "predictions": day.predictions["reason"],
                **pages,
                **{f"psi_{row.column}": round(row.psi, 4) for row in report.rows if row.psi is not None},
                "path": dg.MetadataValue.path(written.path),
            }

        return each_partition(context, partitions.day, produce)

    return drift_report


def html_pages(store: Store, key: Key, day: Day, p: pd.DataFrame, record: Written) -> dict[str, Any]:
    """Write the heat map and Evidently's report beside the record. What Evidently fails with is said, not raised.

    Evidently's page holds random names: it is written once for a record, so that a second run changes nothing.
    """
    title = f"Drift of {key.symbol}, the week before {key.period}"
    own = store.write_text(
        DRIFT_REPORT, key.symbol, key.period, "html", html_page(title, day.report, p, day.reference.end)
    )
    shown: dict[str, Any] = {"report": dg.MetadataValue.path(own.path)}
    suffix = "evidently.html"
    if record.changed or key.period not in store.periods(DRIFT_REPORT, key.symbol, suffix):
        try:
            store.write_text(DRIFT_REPORT, key.symbol, key.period, suffix, evidently_html(day.window, day.features))
        except Exception as error:
            return {**shown, "evidently_failed": f"{type(error).__name__}: {error}"}
    return {**shown, "evidently": dg.MetadataValue.path(f"{own.path.removesuffix('html')}{suffix}")}


def evidently_html(current: pd.DataFrame, reference: pd.DataFrame) -> str:
    """Evidently's view of the same two frames, as one HTML page. It bins otherwise, so its verdict may differ."""
    from evidently import Report
    from evidently.presets import DataDriftPreset

    return Report([DataDriftPreset(method="psi")]).run(current, reference).get_html_str(as_iframe=False)


def _table(report: DriftReport) -> dg.MarkdownMetadataValue:
    rows = pd.DataFrame([row.model_dump(mode="json") for row in report.rows], columns=SHOWN, dtype=object)
    return markdown(rows.set_index("column"))
