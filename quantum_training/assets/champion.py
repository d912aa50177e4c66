"""Asset `champion`: the decision at W. How it is reached lives in lifecycle.decision.champion."""

from functools import lru_cache, partial
from typing import Any

import dagster as dg

from quantum_training.assets.evidence_assets import evidence_asset, last_week_of, previous_week_drift, unless_gap
from quantum_training.assets.metadata.decision import decision_metadata
from quantum_training.assets.partition_runner import each_partition
from quantum_training.assets.state_check import require_state
from quantum_training.assets.step_retries import retry_transient_faults
from quantum_training.lifecycle.decision.champion import complete_records, decide, move_aliases
from quantum_training.lifecycle.market_history import MarketHistory
from quantum_training.lifecycle.records import BACKTEST, CHAMPION, SHADOW_SCORES, WeeklyDecision, write_record
from quantum_training.lifecycle.services import Services
from quantum_training.market.periods import Key
from quantum_training.partitions import Partitions
from quantum_training.resources.events.bus import EventBus
from quantum_training.resources.ledger import Ledger
from quantum_training.resources.registry.registry import ModelRegistry
from quantum_training.resources.store.store import Store
from quantum_training.settings import Settings

DESCRIPTION = (
    "Who trades from this week on, and why: a pure fold over all stored shadow scores up to this week. Each decision "
    "is one row of the ledger, which takes precedence if revised data would decide otherwise. MLflow's aliases "
    "`champion` and `previous` follow the newest decision only."
)


def build(settings: Settings, partitions: Partitions) -> dg.AssetsDefinition:
    """The asset, for the symbols of these settings."""

    @evidence_asset(
        CHAMPION,
        partitions,
        deps=[BACKTEST, previous_week_drift()],
        kinds={"mlflow"},
        description=DESCRIPTION,
    )
    def champion(
        context: dg.AssetExecutionContext,
        store: dg.ResourceParam[Store],
        registry: dg.ResourceParam[ModelRegistry],
        ledger: dg.ResourceParam[Ledger],
        events: dg.ResourceParam[EventBus],
    ) -> dg.MaterializeResult:
        def decide_symbol(symbol: str, last: str) -> dict[str, WeeklyDecision]:
            load = lru_cache(maxsize=8)(partial(registry.load, symbol))
            return decide(MarketHistory(store, settings, symbol), ledger, last, load)

        require_state(context, partitions, Services(settings, store, registry, events), ledger)
        weeks = last_week_of(context, partitions)
        with retry_transient_faults(context):
            decisions = {symbol: decide_symbol(symbol, last) for symbol, last in weeks.items()}
            events.outbox.relay_quietly()

        def record(key: Key) -> dict[str, Any]:
            decision = decisions[key.symbol].get(key.period)
            if decision is None:
                raise ValueError(f"{key} has no shadow scores; materialise {SHADOW_SCORES} of this week first")
            write_record(store, key.symbol, key.period, decision)
            return decision_metadata(decisions[key.symbol], key.period, registry, key.symbol)

        def finish() -> None:
            for symbol, decided in decisions.items():
                complete_records(store, ledger, symbol, decided)
                if decided:
                    move_aliases(store, registry, settings, symbol)

        return each_partition(context, partitions.week, unless_gap(settings, store, record), finish)

    return champion
