"""What people see of a month of candles or features in the Dagster UI."""

from typing import Any

import dagster as dg
import pandas as pd

from quantum_training.assets.metadata.charts import line_chart
from quantum_training.assets.metadata.tables import CONTENT_HASH, SUMMARY, short_hash
from quantum_training.features.indicators import FEATURES
from quantum_training.lifecycle.ingestion import CandleMonth, FeatureMonth
from quantum_training.market.periods import Key
from quantum_training.market.quality import Defect, describe
from quantum_training.resources.store.store import Written

CANDLE_COLUMNS: dict[str, str | None] = {
    "open": "first price of the bar; the index open_time is the bar's start, UTC",
    "high": "highest price",
    "low": "lowest price",
    "close": "last price",
    "volume": "traded in the bar, in the source's unit",
}

_RANGE, _SHAPE = ("high", "low", "close"), ("open", "high", "low", "close")
_TIME: tuple[str, ...] = ()
FEATURE_SOURCES = {
    **dict.fromkeys(FEATURES, ("close",)),
    **dict.fromkeys(("macd_histogram", "atr_14", "range_ratio"), _RANGE),
    **dict.fromkeys(("body_ratio", "upper_wick", "lower_wick"), _SHAPE),
    **dict.fromkeys((name for name in FEATURES if name.startswith("volume_")), ("volume",)),
    **dict.fromkeys((name for name in FEATURES if name.startswith(("hour_", "weekday_"))), _TIME),
}
"""The columns of candles that a feature is computed from; none: open_time alone. The pages of open-source Dagster
1.13.27 draw no lineage of columns, so they stand in each column's description.
"""


def features_columns() -> dict[str, str]:
    """Each feature and what it is computed from."""
    return {name: f"computed from {', '.join(columns) or 'open_time'}" for name, columns in FEATURE_SOURCES.items()}


def candles_metadata(key: Key, month: CandleMonth, written: Written) -> dict[str, Any]:
    """The month in a sentence, a chart of its closes, number of bars and warnings, what was accepted, and the file."""
    accepted = [defect for defect in month.defects if defect.severity == "accepted"]
    warnings = len(month.defects) - len(accepted)
    bars = month.bars
    until = f"{month.covered_until:%Y-%m-%d %H:%M} UTC"
    close = f", last close {bars['close'].iloc[-1]:g}" if len(bars) else ""
    quality = f"{warnings} warnings (see the check quality)" if warnings else "no warning"
    return {
        SUMMARY: f"{len(bars)} bars of {key.symbol} in {key.period[:7]}, complete until {until}{close}; {quality}.",
        **({"closes": dg.MetadataValue.md(line_chart({"close": bars["close"]}, "close"))} if len(bars) > 1 else {}),
        **_first_and_last(bars),
        "covered_until": dg.MetadataValue.timestamp(month.covered_until.to_pydatetime()),
        "warnings": warnings,
        **month.notes.facts,
        **({"accepted_bars": dg.MetadataValue.md(describe(accepted))} if accepted else {}),
        "dagster/row_count": len(bars),
        "path": dg.MetadataValue.path(written.path),
        CONTENT_HASH: short_hash(written),
    }


def features_metadata(key: Key, month: FeatureMonth) -> dict[str, Any]:
    """The month in a sentence, number of rows, number of rows without a missing value, and the file."""
    rows, complete = len(month.features), int(month.features.notna().all(axis=1).sum())
    columns = len(month.features.columns)
    return {
        SUMMARY: f"{columns} features of {rows} bars of {key.symbol} in {key.period[:7]}, {complete} of them complete.",
        "complete_rows": complete,
        "covered_until": dg.MetadataValue.timestamp(month.covered_until.to_pydatetime()),
        "dagster/row_count": rows,
        "path": dg.MetadataValue.path(month.written.path),
        CONTENT_HASH: short_hash(month.written),
    }


def without_bars(outcome: str, reason: str) -> dict[str, Any]:
    """Outcome and reason of a month that has no bars and needs none."""
    return {SUMMARY: f"No bars: {reason}.", "outcome": outcome, "reason": reason}


def defects_metadata(defects: list[Defect]) -> dict[str, Any]:
    """The defects as a table."""
    return {"defects": dg.MetadataValue.md(describe(defects))}


def _first_and_last(bars: pd.DataFrame) -> dict[str, Any]:
    if bars.empty:
        return {}
    first, last = (dg.MetadataValue.timestamp(bars.index[i].to_pydatetime()) for i in (0, -1))
    return {"first_bar": first, "last_bar": last, "close": float(bars["close"].iloc[-1])}
