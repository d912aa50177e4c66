"""Asset check `complete_window` on the model assets: are months missing from the training windows? It warns."""

import dagster as dg
import pandas as pd

from quantum_training.assets.metadata.tables import markdown
from quantum_training.lifecycle.gaps import GAP
from quantum_training.lifecycle.records import ModelRecord, read_record
from quantum_training.lifecycle.training.training_window import incomplete_window
from quantum_training.market.periods import Key
from quantum_training.partitions import Partitions, run_keys
from quantum_training.resources.store.store import Store

CHECK = "complete_window"


def window_check(asset: str, partitions: Partitions) -> dg.AssetChecksDefinition:
    """The check on a recipe's model asset. It blocks nothing: the version trades, trained on what there was."""

    @dg.asset_check(
        asset=asset,
        name=CHECK,
        partitions_def=partitions.week,
        description="No months of candles are missing from the training windows of this run's weeks, and no week lies "
        "in a gap. Months before a market was listed are not missing.",
    )
    def check(context: dg.AssetCheckExecutionContext, store: dg.ResourceParam[Store]) -> dg.AssetCheckResult:
        keys = run_keys(partitions.week, context.run.tags)
        incomplete_windows = {str(key): text for key in keys if (text := _incomplete(store, asset, key))}
        table = pd.DataFrame.from_dict(
            {key: [text] for key, text in incomplete_windows.items()}, "index", columns=["window"]
        )
        return dg.AssetCheckResult(
            passed=not incomplete_windows,
            severity=dg.AssetCheckSeverity.WARN,
            description=next((f"{key}: {text}" for key, text in incomplete_windows.items()), None),
            metadata={"incomplete": markdown(table), "weeks": len(incomplete_windows)},
        )

    return check


def _incomplete(store: Store, asset: str, key: Key) -> str | None:
    record = read_record(store, ModelRecord, key.symbol, key.period, asset)
    if record is None:
        return None
    return record.reason if record.outcome == GAP else incomplete_window(record)
