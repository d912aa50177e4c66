"""Asset `rollout`: the share of capital of the champion from W on. How it moves lives in lifecycle.decision.rollout."""

from typing import Any

import dagster as dg

from quantum_training.assets.evidence_assets import evidence_asset, last_week_of, previous_week_drift, unless_gap
from quantum_training.assets.metadata.decision import rollout_metadata
from quantum_training.assets.partition_runner import each_partition
from quantum_training.lifecycle.decision.rollout import rollout_weeks
from quantum_training.lifecycle.market_history import MarketHistory
from quantum_training.lifecycle.records import CHAMPION, ROLLOUT, write_record
from quantum_training.market.periods import Key
from quantum_training.partitions import Partitions
from quantum_training.resources.ledger import Ledger
from quantum_training.resources.store.store import Store
from quantum_training.settings import Settings


def build(settings: Settings, partitions: Partitions) -> dg.AssetsDefinition:
    """The asset, for the symbols of these settings."""

    @evidence_asset(
        ROLLOUT,
        partitions,
        deps=[CHAMPION, previous_week_drift()],
        kinds={"pandas"},
        description="The share of capital that the champion may use from this week on, and why: a pure fold over the "
        "stored decisions up to this week, the drift reports of the 7 days before each and the champion's own returns. "
        "It rises one stage at a time, and a new champion begins at 0 %. An A/B test that runs is shown with what it "
        "found; it promotes nobody.",
    )
    def rollout(
        context: dg.AssetExecutionContext, store: dg.ResourceParam[Store], ledger: dg.ResourceParam[Ledger]
    ) -> dg.MaterializeResult:
        weeks = {
            symbol: rollout_weeks(MarketHistory(store, settings, symbol), ledger, last)
            for symbol, last in last_week_of(context, partitions).items()
        }

        def record(key: Key) -> dict[str, Any]:
            week = weeks[key.symbol].get(key.period)
            if week is None:
                raise ValueError(f"{key} has no champion record; materialise champion of this week first")
            return rollout_metadata(week, write_record(store, key.symbol, key.period, week))

        return each_partition(context, partitions.week, unless_gap(settings, store, record))

    return rollout
