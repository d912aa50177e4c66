"""Asset `signals`: what a trader reads, the champion's target position now times its share of capital.

Nothing is decided here: who trades is champion.py's, how much is rollout.py's. What is in doubt is flat, with a reason.
"""

from functools import cache, partial

import dagster as dg
import pandas as pd

from quantum_training.assets.partition_runner import OWNERS, SINGLE_RUN
from quantum_training.assets.step_retries import retried, will_retry
from quantum_training.lifecycle.decision.signals import signal
from quantum_training.lifecycle.records import LATEST, ROLLOUT, SIGNALS
from quantum_training.models.contract import Model
from quantum_training.partitions import Partitions
from quantum_training.resources.registry.registry import ModelRegistry
from quantum_training.resources.store.store import Store
from quantum_training.selection.rollout import percent
from quantum_training.settings.settings import Settings


def build(settings: Settings, partitions: Partitions) -> dg.AssetsDefinition:
    """The asset, for the symbols of these settings."""
    of_symbol = dg.MultiToSingleDimensionPartitionMapping("symbol")

    @dg.asset(
        name=SIGNALS,
        partitions_def=partitions.symbol,
        backfill_policy=SINGLE_RUN,
        deps=[dg.AssetDep(asset, partition_mapping=of_symbol) for asset in ("features", ROLLOUT)],
        group_name="trading",
        kinds={"mlflow"},
        owners=OWNERS,
        description="The champion's target position from the newest complete bar, times its share of capital, cut to "
        f"{percent(settings.rollout.max_position_size)} of it; in the challenger's blocks of an A/B test the "
        "challenger's. Flat, with the reason, where there is no champion or no share, where bars or decisions are "
        "missing, where the model cannot be loaded or fails, and where its losses since the last weekly look reach the "
        "risk guard. Read it until `valid_until`; without a newer one be flat then.",
    )
    def signals(
        context: dg.AssetExecutionContext, store: dg.ResourceParam[Store], registry: dg.ResourceParam[ModelRegistry]
    ) -> dg.MaterializeResult:
        if not context.partition_keys:
            raise ValueError("the run names no symbol; a range must go from the earlier to the later of the settings")
        missed: list[Exception] = []

        def load(symbol: str, model_id: str) -> Model:
            try:
                return registry.load(symbol, model_id)
            except Exception as error:
                if will_retry(context, error):
                    missed.append(error)
                raise

        with retried(context):
            for symbol in context.partition_keys:
                now, before = pd.Timestamp.now("UTC"), len(missed)
                record = signal(store, settings, symbol, now, cache(partial(load, symbol)))
                if len(missed) > before:  # the last signal stands until the step is tried again
                    continue
                written = store.write_record(SIGNALS, symbol, LATEST, record)
                shown = {name: value for name, value in record.items() if value is not None and name != "symbol"}
                context.add_asset_metadata({**shown, "path": dg.MetadataValue.path(written.path)}, partition_key=symbol)
            if missed:
                raise missed[0]
        return dg.MaterializeResult()

    return signals
