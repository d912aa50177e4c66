"""What people see of a drift report: severity, recommendation, the table of columns, the heat map and the pages."""

from collections.abc import Mapping
from typing import Any

import dagster as dg
import pandas as pd

from quantum_training.assets.metadata.charts import line_chart
from quantum_training.assets.metadata.tables import SUMMARY, link, markdown
from quantum_training.lifecycle.records import DailyDrift
from quantum_training.lifecycle.reporting.summaries import drift_sentence
from quantum_training.lifecycle.surveillance.drift import DriftComparison
from quantum_training.lifecycle.surveillance.drift_pages import DriftPages
from quantum_training.monitoring.drift_heatmap import markdown_heatmap

COLUMNS = ["column", "severity", "fault", "untested", "psi", "usual_psi", "q", "previous_q", "ks", "first_bad_bar"]


WORST = 4
"""Columns that are drawn and shown in the page; all of them are behind a link."""


def drift_metadata(
    drift: DriftComparison, path: str, pages: DriftPages | None, url: str, earlier: Mapping[str, DailyDrift]
) -> dict[str, Any]:
    """Metadata of the asset `drift_report`. path: of the record. url: of the pages, without their name.

    earlier: reports by day, oldest first, to draw.
    """
    record = drift.record
    names = [row.column for row in record.rows]
    return {
        SUMMARY: drift_sentence(record),
        **_psi_over_days(record, earlier),
        "severity": record.severity.name,
        "severity_level": int(record.severity),
        "recommendation": dg.MetadataValue.md("\n".join(f"- {line}" for line in record.recommendation)),
        "columns": columns_table(record),
        "heat_map": dg.MetadataValue.md(markdown_heatmap(drift.weekly_p, names)),
        "reference": drift.reference.why,
        "predictions": record.predictions.reason,
        **(page_metadata(pages, url) if pages else {}),
        **{f"psi_{row.column}": round(row.psi, 4) for row in record.rows if row.psi is not None},
        "path": dg.MetadataValue.path(path),
    }


def _psi_over_days(record: DailyDrift, earlier: Mapping[str, DailyDrift]) -> dict[str, Any]:
    """PSI of the columns that are worst now, over the days of the reports."""
    worst = sorted((row for row in record.rows if row.psi is not None), key=lambda row: -(row.psi or 0.0))[:WORST]
    table = {pd.Timestamp(day): {row.column: row.psi for row in report.rows} for day, report in earlier.items()}
    if len(table) < 2 or not worst:
        return {}
    frame = pd.DataFrame(table).T
    lines = {row.column: frame[row.column] for row in worst if row.column in frame}
    return {"psi": dg.MetadataValue.md(line_chart(lines, "PSI of the columns that differ most"))}


def columns_table(record: DailyDrift) -> dg.MarkdownMetadataValue:
    """One row per column of the report."""
    rows = pd.DataFrame([row.model_dump(mode="json") for row in record.rows], columns=COLUMNS, dtype=object)
    return markdown(rows.set_index("column"))


def page_metadata(pages: DriftPages, url: str) -> dict[str, Any]:
    """Links to the HTML pages, which the service shows, and the error of Evidently."""
    titles = {"drift": "heat map and columns", **({"evidently": "Evidently's report"} if pages.evidently else {})}
    metadata: dict[str, Any] = {f"{name}_page": link(title, f"{url}/{name}") for name, title in titles.items()}
    return metadata | ({"evidently_failed": pages.evidently_error} if pages.evidently_error else {})
