"""What people see of a month of a series, or of a feature set that reads it, in the Dagster UI."""

from typing import Any

import dagster as dg
import pandas as pd

from quantum_training.assets.metadata.charts import line_chart
from quantum_training.assets.metadata.tables import CONTENT_HASH, SUMMARY, short_hash
from quantum_training.lifecycle.ingestion import FeatureMonth
from quantum_training.lifecycle.series import SeriesMonth
from quantum_training.market.periods import Key
from quantum_training.resources.store.store import Written

SERIES_COLUMNS: dict[str, str | None] = {
    "value": "what became known at the index known_at, UTC; `time` is what it is about",
}


def series_metadata(key: Key, month: SeriesMonth) -> dict[str, Any]:
    """The month in a sentence, a chart of its values, how many were revised, and the file."""
    rows, revised = month.rows, f"; {month.revised} older ones were revised" if month.revised else ""
    newest = f", the newest {rows['value'].iloc[-1]:g}" if len(rows) else ""
    return {
        SUMMARY: f"{len(rows)} values of {key.symbol} known in {key.period[:7]}{newest}, read until "
        f"{month.covered_until:%Y-%m-%d %H:%M} UTC{revised}.",
        **({"values": dg.MetadataValue.md(line_chart({"value": rows["value"]}, "value"))} if len(rows) > 1 else {}),
        "revised": month.revised,
        **_stored(month.covered_until, len(rows), month.written),
    }


def set_metadata(key: Key, month: FeatureMonth) -> dict[str, Any]:
    """The month in a sentence, number of rows, and the file."""
    rows, columns = month.features.shape
    return {
        SUMMARY: f"{columns} features of {key.symbol}, known from {rows} times on up to the end of {key.period[:7]}.",
        **_stored(month.covered_until, rows, month.written),
    }


def _stored(covered_until: pd.Timestamp, rows: int, written: Written) -> dict[str, Any]:
    return {
        "covered_until": dg.MetadataValue.timestamp(covered_until.to_pydatetime()),
        "dagster/row_count": rows,
        "path": dg.MetadataValue.path(written.path),
        CONTENT_HASH: short_hash(written),
    }
