"""Asset check on `<recipe>_model`: was the newest refresh accepted? The rules: selection.refresh."""

import dagster as dg
import pandas as pd

from quantum_training.assets.metadata.tables import markdown
from quantum_training.lifecycle.training.refresh_gate import NUMBERS, REFUSED, TRAINED
from quantum_training.lifecycle.training.versions import LEGACY_ACCEPTED
from quantum_training.partitions import Partitions, run_keys
from quantum_training.resources.store.store import Store

CHECK = "refresh_accepted"


def refresh_check(asset: str, partitions: Partitions) -> dg.AssetChecksDefinition:
    """The check on a recipe's model asset: a refused refresh warns. It blocks nothing, the older version trades."""

    @dg.asset_check(
        asset=asset,
        name=CHECK,
        partitions_def=partitions.week,
        description="Of each symbol's newest trained week of the run: its newest version is sane and not inferior to "
        "the one before it. Where it is not, it waits in MLflow and the older one stays.",
    )
    def check(context: dg.AssetCheckExecutionContext, store: dg.ResourceParam[Store]) -> dg.AssetCheckResult:
        found = {}
        for key in run_keys(partitions.week, context.run.tags):  # oldest first
            record = store.read_record(asset, key.symbol, key.period) or {"versions": []}
            if record["versions"] and record["outcome"] in (TRAINED, REFUSED):
                newest = record["versions"][-1]
                found[key.symbol] = {"as_of": newest["as_of"], **newest.get("refresh", LEGACY_ACCEPTED)}
        refused = [
            f"{symbol} {row['as_of'][:16]}: {row['reason']}" for symbol, row in found.items() if not row["accepted"]
        ]
        numbers = {f"{name} {symbol}": row.get(name) for symbol, row in found.items() for name in NUMBERS}
        return dg.AssetCheckResult(
            passed=not refused,
            severity=dg.AssetCheckSeverity.WARN,
            description="; ".join(refused) or (None if found else "nothing was trained"),
            metadata={
                "refreshes": markdown(pd.DataFrame.from_dict(found, orient="index", dtype=object)),
                **{name: value for name, value in numbers.items() if value is not None},
            },
        )

    return check
