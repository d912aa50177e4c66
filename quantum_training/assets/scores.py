"""Asset `shadow_scores`: what every recipe and baseline would have earned in the week before W.

How a week is scored lives in lifecycle.evaluation.scoring.
"""

from functools import cache, partial
from typing import Any

import dagster as dg

from quantum_training.assets.evidence_assets import evidence_asset, unless_gap
from quantum_training.assets.features import feature_deps
from quantum_training.assets.metadata.evidence import scores_metadata
from quantum_training.assets.partition_runner import each_partition
from quantum_training.assets.state_check import require_state
from quantum_training.lifecycle.evaluation.scoring import score_week
from quantum_training.lifecycle.market_history import MarketHistory
from quantum_training.lifecycle.records import SHADOW_SCORES, model_asset
from quantum_training.lifecycle.services import Services
from quantum_training.lifecycle.training.version_loader import VersionLoader
from quantum_training.market.periods import Key
from quantum_training.partitions import Partitions, overlap
from quantum_training.resources.events.bus import EventBus
from quantum_training.resources.ledger import Ledger
from quantum_training.resources.registry.registry import ModelRegistry
from quantum_training.resources.store.store import Store
from quantum_training.settings import Settings


def build(settings: Settings, partitions: Partitions) -> dg.AssetsDefinition:
    """The asset, for the symbols of these settings."""

    @evidence_asset(
        SHADOW_SCORES,
        partitions,
        deps=[
            *(model_asset(recipe) for recipe in settings.recipes),
            *feature_deps(settings.features, partial(overlap, "utc_month", "week", -1, 0)),
        ],
        kinds={"parquet"},
        description="Target position, fill, cost and net return of every recipe and baseline on each bar of the week "
        "BEFORE this partition's Monday, each bar by the newest version with as_of <= its open. "
        "Older versions are read from the store.",
    )
    def shadow_scores(
        context: dg.AssetExecutionContext,
        store: dg.ResourceParam[Store],
        registry: dg.ResourceParam[ModelRegistry],
        ledger: dg.ResourceParam[Ledger],
        events: dg.ResourceParam[EventBus],
    ) -> dg.MaterializeResult:
        require_state(context, partitions, Services(settings, store, registry, events), ledger)

        @cache
        def loader(symbol: str) -> VersionLoader:
            return VersionLoader(partial(registry.load, symbol), context.log.error)

        def score(key: Key) -> dict[str, Any]:
            history = MarketHistory(store, settings, key.symbol)
            return scores_metadata(score_week(history, key.start, loader(key.symbol)), key.period)

        return each_partition(context, partitions.week, unless_gap(settings, store, score))

    return shadow_scores
