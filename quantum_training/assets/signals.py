"""Asset `signals`: what a trader reads, the champion's target position now times its share of capital.

How a signal is made lives in lifecycle.decision.signals.
"""

import dagster as dg
import pandas as pd

from quantum_training.assets.features import feature_deps
from quantum_training.assets.metadata.decision import signal_metadata
from quantum_training.assets.partition_runner import SINGLE_RUN
from quantum_training.assets.signal_models import loader
from quantum_training.assets.step_retries import retry_transient_faults
from quantum_training.lifecycle.consistency.inconsistency import InconsistentStateError
from quantum_training.lifecycle.consistency.store import decided_weeks_without_scores
from quantum_training.lifecycle.decision.signals import signal
from quantum_training.lifecycle.market_history import MarketHistory
from quantum_training.lifecycle.records import LATEST, ROLLOUT, SIGNALS, write_record
from quantum_training.lifecycle.services import Services
from quantum_training.partitions import Partitions
from quantum_training.resources.events.bus import EventBus
from quantum_training.resources.ledger import Ledger
from quantum_training.resources.registry.registry import ModelRegistry
from quantum_training.resources.store.store import Store
from quantum_training.selection.position_limits import percent
from quantum_training.settings import Settings


def build(settings: Settings, partitions: Partitions) -> dg.AssetsDefinition:
    """The asset, for the symbols of these settings."""
    of_symbol = dg.MultiToSingleDimensionPartitionMapping("symbol")
    all_trained = len(settings.trained_symbols) == len(settings.symbols)  # else the grids have other symbols
    of_features = of_symbol if all_trained else dg.AllPartitionMapping()

    @dg.asset(
        name=SIGNALS,
        partitions_def=partitions.symbol,
        backfill_policy=SINGLE_RUN,
        deps=[
            *feature_deps(settings.features, lambda of: dg.AllPartitionMapping() if of else of_features),
            dg.AssetDep(ROLLOUT, partition_mapping=of_symbol),
        ],
        group_name="trading",
        kinds={"mlflow"},
        description="The champion's target position from the newest complete bar, times its share of capital, cut to "
        f"{percent(settings.rollout.max_position_size)} of it; in the challenger's blocks of an A/B test the "
        "challenger's. Flat, with the reason, if there is no champion or no share, if bars or decisions are missing, "
        "if the model cannot be loaded or fails, or if its losses since the last weekly look reach the risk guard. "
        "Read it until `valid_until`; without a newer one be flat then.",
    )
    def signals(
        context: dg.AssetExecutionContext,
        store: dg.ResourceParam[Store],
        registry: dg.ResourceParam[ModelRegistry],
        ledger: dg.ResourceParam[Ledger],
        events: dg.ResourceParam[EventBus],
    ) -> dg.MaterializeResult:
        if not context.partition_keys:
            raise ValueError("the run names no symbol; a range must go from the earlier to the later of the settings")
        services, unknown = Services(settings, store, registry, events), list[Exception]()
        with retry_transient_faults(context):
            for symbol in context.partition_keys:
                if lost := decided_weeks_without_scores(store, ledger, symbol):
                    unknown.append(InconsistentStateError(lost))
                    continue
                before, load = len(unknown), loader(context, services, symbol, unknown)
                record = signal(MarketHistory(store, settings, symbol), pd.Timestamp.now("UTC"), load)
                if len(unknown) > before:  # the last signal remains: MLflow is out of reach, or lost
                    continue
                written = write_record(store, symbol, LATEST, record)
                context.add_asset_metadata(signal_metadata(record, written), partition_key=symbol)
            if unknown:
                raise unknown[0]
        return dg.MaterializeResult(value=None)

    return signals
