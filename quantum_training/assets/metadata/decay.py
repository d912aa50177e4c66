"""What people see of a decay report: status and reason, the records before and in office, and trends to plot."""

from typing import Any

import dagster as dg
import pandas as pd

from quantum_training.assets.metadata.tables import SUMMARY, markdown
from quantum_training.lifecycle.records import WeeklyDecay
from quantum_training.lifecycle.reporting.summaries import decay_sentence


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
    reported = fields["reported"]
    records = pd.DataFrame({"before office": baseline, "in office": live}, dtype=object)
    return {
        SUMMARY: decay_sentence(record),
        "status": record.status,
        "recipe": record.recipe or "none",
        **({"in_office_since": record.office} if record.office else {}),
        **({"records": markdown(records)} if len(records) else {}),
        **({"harm": markdown(pd.Series(harm, dtype=object).to_frame("value"))} if harm else {}),
        **({"harm_is_building": True} if record.harm_is_building else {}),
        **({"reported": markdown(pd.Series(reported, dtype=object).to_frame("value"))} if reported else {}),
        **{name: value for name, value in trends.items() if value is not None},
        "path": dg.MetadataValue.path(path),
    }
