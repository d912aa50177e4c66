"""Job `retrain`: trains recipes of a symbol inside the week at an operator's request, with actor and reason."""

from collections.abc import Callable
from typing import Any

import dagster as dg
import pandas as pd
from pydantic import Field

from quantum_training.assets.cluster_tags import cluster_tags, needs_of
from quantum_training.assets.step_retries import first_attempt
from quantum_training.automation.execution.priorities import priority_tag
from quantum_training.automation.failures.storage_faults import restart_after_storage_fault
from quantum_training.automation.jobs.asset_jobs import MARKET_DATA, WEEKLY_CYCLE
from quantum_training.automation.jobs.manual_actions import ActionConfig
from quantum_training.automation.jobs.nested_runs import NestedRun, run_nested
from quantum_training.automation.jobs.run_tags import NESTS_RUNS, training_tags
from quantum_training.lifecycle.consistency.inconsistency import require_consistent
from quantum_training.lifecycle.consistency.ledger import store_against_ledger
from quantum_training.lifecycle.consistency.registry import registry_inconsistencies
from quantum_training.lifecycle.data_end import newest_possible_as_of
from quantum_training.lifecycle.decision.manual_actions import RefusedActionError, check_names
from quantum_training.lifecycle.records import model_asset
from quantum_training.lifecycle.services import Services
from quantum_training.lifecycle.stored_months import features_available_until
from quantum_training.lifecycle.surveillance.run_priorities import MANUAL
from quantum_training.market.periods import week_of
from quantum_training.resources.events.bus import EventBus
from quantum_training.resources.ledger import Ledger
from quantum_training.resources.registry.registry import ModelRegistry
from quantum_training.resources.store.store import Store
from quantum_training.resources.texts import storable
from quantum_training.selection.hash_chain import Entry
from quantum_training.settings import Settings

RETRAIN, RETRAIN_OP = "retrain", "retrain_recipes"
DESCRIPTION = "Train recipes of a symbol inside the week: the same partition, a later as_of, trigger MANUAL."


class RetrainConfig(ActionConfig):
    """ActionConfig with the recipes to train, and as of when."""

    recipes: list[str] = Field(default_factory=list)
    """Empty means all recipes of the symbol."""
    as_of: str = ""
    """UTC time up to which the training sees data; default: the time up to which features are stored, at most `end`."""
    episodes: int = Field(0, ge=0)
    """Budget of an agent's fit in episodes; 0: the recipe's."""


def build_retrain_job(settings: Settings, definitions: Callable[[], dg.Definitions]) -> dg.JobDefinition:
    """The job; unpartitioned, one symbol per run."""

    @dg.op(name=RETRAIN_OP, description=DESCRIPTION, tags=cluster_tags(needs_of(settings)))
    def retrain_recipes(
        context: dg.OpExecutionContext,
        config: RetrainConfig,
        store: dg.ResourceParam[Store],
        registry: dg.ResourceParam[ModelRegistry],
        ledger: dg.ResourceParam[Ledger],
        events: dg.ResourceParam[EventBus],
    ) -> None:
        try:
            check_names(settings, config.symbol, config.recipes)
        except RefusedActionError as error:
            raise dg.Failure(str(error), allow_retries=False) from error
        require_consistent(store_against_ledger(store, ledger, config.symbol))
        recipes = config.recipes or [*settings.symbols[config.symbol].recipes]
        as_of = training_time(store, settings, config)
        services = Services(settings, store, registry, events)
        require_consistent(registry_inconsistencies(services, config.symbol, trained={as_of}))
        entry = Entry(
            symbol=config.symbol,
            key=f"retrain/{first_attempt(context.instance, context.run)}",
            kind="retrain",
            effective=pd.Timestamp.now("UTC"),
            actor=storable(config.actor),
            reason=storable(config.reason),
            payload={"recipes": recipes, "as_of": as_of.isoformat()},
        )
        (row,) = ledger.append([entry])  # that of the first attempt, if this run was started again
        recorded: dict[str, Any] = row.payload
        as_of, recipes = pd.Timestamp(recorded["as_of"]), recorded["recipes"]
        week, assets = str(week_of(as_of).date()), [model_asset(recipe) for recipe in recipes]
        training = {"as_of": as_of.isoformat(), "trigger": "MANUAL", "reason": f"{config.actor}: {config.reason}"}
        run_config = {"ops": {asset: {"config": {**training, "episodes": config.episodes}} for asset in assets}}
        job = definitions().resolve_job_def(WEEKLY_CYCLE)
        run_nested(context, job, NestedRun(config.symbol, week, week, run_config, assets, training))

    @dg.job(
        name=RETRAIN,
        description=DESCRIPTION,
        tags=training_tags(settings) | NESTS_RUNS | priority_tag(MANUAL),
        hooks={restart_after_storage_fault},
    )
    def retrain() -> None:
        retrain_recipes()

    return retrain


def training_time(store: Store, settings: Settings, config: RetrainConfig) -> pd.Timestamp:
    """The requested as_of, else the time up to which features are stored, at most the end of the last week.

    Failure if no features are stored.
    """
    if config.as_of:
        as_of = pd.Timestamp(config.as_of)
        return as_of.tz_localize("UTC") if as_of.tz is None else as_of.tz_convert("UTC")
    until = features_available_until(store, config.symbol)
    if until is None:
        raise dg.Failure(f"{config.symbol}: no features are stored; run {MARKET_DATA} first", allow_retries=False)
    return newest_possible_as_of(settings, config.symbol, until)
