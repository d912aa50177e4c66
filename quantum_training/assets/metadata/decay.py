"""What people see of a decay report: status and reason, the records before and in office, and trends to plot."""

from typing import Any

import dagster as dg
import pandas as pd

from quantum_training.assets.metadata.tables import markdown
from quantum_training.lifecycle.records import WeeklyDecay


def decay_metadata(record: WeeklyDecay, path: str) -> dict[str, Any]:
    """Metadata of the asset `decay_report`. path: of the record."""
    fields = record.model_dump(mode="json")
    baseline, live, harm = (fields[name] or {} for name in ("baseline", "live", "harm"))
    trends = {
        "cusum" if record.rule == "cusum" else "sharpe_of_window": record.statistic,
        "limit": record.limit,
        "sharpe_live": live.get("sharpe"),
        "sharpe_baseline": baseline.get("sharpe"),
        "sharpe_expected": record.expected_sharpe,
        "harm_z": harm.get("z"),
    }
    return {
        "status": record.status,
        "reason": record.reason,
        "recipe": record.recipe or "none",
        "office": record.office or "none",
        "records": markdown(pd.DataFrame({"before office": baseline, "in office": live}, dtype=object)),
        "harm": dg.MetadataValue.json(fields["harm"]),
        "harm_is_building": record.harm_is_building,
        "reported": dg.MetadataValue.json(fields["reported"]),
        **{name: value for name, value in trends.items() if value is not None},
        "path": dg.MetadataValue.path(path),
    }
