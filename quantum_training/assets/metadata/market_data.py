"""What people see of a month of candles or features in the Dagster UI."""

from typing import Any

import dagster as dg
import pandas as pd

from quantum_training.lifecycle.ingestion import CandleMonth, FeatureMonth
from quantum_training.market.quality import Defect, describe
from quantum_training.resources.store.store import Written


def candles_metadata(month: CandleMonth, written: Written) -> dict[str, Any]:
    """Number of bars, first and last bar, last close, file, number of warnings, and what was accepted of a month."""
    accepted = [defect for defect in month.defects if defect.severity == "accepted"]
    return {
        "dagster/row_count": len(month.bars),
        "covered_until": dg.MetadataValue.timestamp(month.covered_until.to_pydatetime()),
        **_first_and_last(month.bars),
        "content_hash": written.content_hash,
        "path": dg.MetadataValue.path(written.path),
        "warnings": len(month.defects) - len(accepted),
        **month.notes.facts,
        **({"accepted_bars": dg.MetadataValue.md(describe(accepted))} if accepted else {}),
    }


def features_metadata(month: FeatureMonth) -> dict[str, Any]:
    """Number of rows, number of rows without a missing value, and file of a stored month."""
    return {
        "dagster/row_count": len(month.features),
        "complete_rows": int(month.features.notna().all(axis=1).sum()),
        "covered_until": dg.MetadataValue.timestamp(month.covered_until.to_pydatetime()),
        "content_hash": month.written.content_hash,
        "path": dg.MetadataValue.path(month.written.path),
    }


def without_bars(outcome: str, reason: str) -> dict[str, Any]:
    """Outcome and reason of a month that has no bars and needs none."""
    return {"outcome": outcome, "reason": reason}


def defects_metadata(defects: list[Defect]) -> dict[str, Any]:
    """The defects as a table."""
    return {"defects": dg.MetadataValue.md(describe(defects))}


def _first_and_last(bars: pd.DataFrame) -> dict[str, Any]:
    if bars.empty:
        return {}
    first, last = (dg.MetadataValue.timestamp(bars.index[i].to_pydatetime()) for i in (0, -1))
    return {"first_bar": first, "last_bar": last, "close": float(bars["close"].iloc[-1])}
