"""Tables that people read in the Dagster UI."""

from collections.abc import Mapping
from typing import Any

import dagster as dg
import pandas as pd

from quantum_training.market.periods import Key
from quantum_training.resources.store.store import Written

SUMMARY = "summary"
"""What comes first in metadata: a sentence for people. Pictures, numbers, tables and links follow, hashes are last."""

CONTENT_HASH = "content_hash"
"""The hash of what a partition stores."""


def markdown(table: pd.DataFrame) -> dg.MarkdownMetadataValue:
    """A table as people read it: three decimals, whole numbers as such, a dash for what is undefined."""

    def cell(value: Any) -> str:
        if isinstance(value, float):
            return "-" if pd.isna(value) else f"{value:.3f}"
        return "-" if value is None else str(value)

    return dg.MetadataValue.md(table.astype(object).map(cell).to_markdown(disable_numparse=True))


def link(text: str, url: str) -> dg.MarkdownMetadataValue:
    """A link with a text of its own: Dagster would write out the whole address, which does not wrap."""
    return dg.MetadataValue.md(f"[{text}]({url})")


def rounded(value: float) -> float:
    """A number to four significant digits, as people read it and Dagster plots it."""
    return float(f"{value:.4g}")


def short_hash(written: Written) -> str:
    """The beginning of a content hash: Dagster's tables do not wrap, and the whole would push the rest off the page."""
    return written.content_hash[:16]


def column_schema(columns: Mapping[str, str | None]) -> dict[str, dg.TableSchemaMetadataValue]:
    """The columns of a stored frame and what they hold, for an asset's page. All are float64."""
    schema = dg.TableSchema([dg.TableColumn(name, "float64", description=text) for name, text in columns.items()])
    return {"dagster/column_schema": dg.MetadataValue.table_schema(schema)}


def reports_table(reports: Mapping[Key, Any], columns: list[str]) -> dg.MarkdownMetadataValue:
    """One row per partition: its period and these fields of its report, a named tuple."""
    rows = [{"period": key.period, **report._asdict()} for key, report in reports.items()]
    return markdown(pd.DataFrame(rows, [key.symbol for key in reports], ["period", *columns], dtype=object))
