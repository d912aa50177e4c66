"""Asset check `refresh_accepted` on the model assets: did the refresh gate accept the newest version? It warns."""

from typing import Any

import dagster as dg
import pandas as pd

from quantum_training.assets.metadata.tables import markdown
from quantum_training.assets.metadata.training import REFRESH_NUMBERS
from quantum_training.lifecycle.records import ModelRecord, read_record
from quantum_training.lifecycle.training.refresh_gate import REFUSED, TRAINED
from quantum_training.market.periods import Key
from quantum_training.partitions import Partitions, run_keys
from quantum_training.resources.store.store import Store
from quantum_training.selection.refresh import Refresh

CHECK = "refresh_accepted"
BEFORE_THE_GATE = Refresh(accepted=True, reason="recorded before refreshes were judged")


def refresh_check(asset: str, partitions: Partitions) -> dg.AssetChecksDefinition:
    """The check on a recipe's model asset. It blocks nothing: the version before a refused one stays in use."""

    @dg.asset_check(
        asset=asset,
        name=CHECK,
        partitions_def=partitions.week,
        description="For each symbol's newest trained week of the run: the positions of its newest version are valid, "
        "and it is not inferior to the version before it. A refused version waits in MLflow; the one before it stays "
        "in use.",
    )
    def check(context: dg.AssetCheckExecutionContext, store: dg.ResourceParam[Store]) -> dg.AssetCheckResult:
        refreshes = {}
        for key in run_keys(partitions.week, context.run.tags):  # oldest first
            if row := _newest_refresh(store, asset, key):
                refreshes[key.symbol] = row
        refused = [f"{s} {row['as_of'][:16]}: {row['reason']}" for s, row in refreshes.items() if not row["accepted"]]
        numbers = {f"{name} {symbol}": row[name] for symbol, row in refreshes.items() for name in REFRESH_NUMBERS}
        return dg.AssetCheckResult(
            passed=not refused,
            severity=dg.AssetCheckSeverity.WARN,
            description="; ".join(refused) or (None if refreshes else "nothing was trained"),
            metadata={
                "refreshes": markdown(pd.DataFrame.from_dict(refreshes, orient="index", dtype=object)),
                **{name: value for name, value in numbers.items() if value is not None},
            },
        )

    return check


def _newest_refresh(store: Store, asset: str, key: Key) -> dict[str, Any] | None:
    """The verdict on the newest version of a week, None if nothing was trained in it."""
    record = read_record(store, ModelRecord, key.symbol, key.period, asset)
    if record is None or not record.versions or record.outcome not in (TRAINED, REFUSED):
        return None
    newest = record.versions[-1]
    return {"as_of": newest.as_of, **dict(sorted((newest.refresh or BEFORE_THE_GATE).model_dump().items()))}
