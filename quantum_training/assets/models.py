"""Assets `<recipe>_model`: the versions of a recipe trained as of a week. The training: lifecycle/training."""

from functools import partial
from typing import Any

import dagster as dg

from quantum_training.assets.cluster_tags import cluster_tags, dagster_pool
from quantum_training.assets.features import feature_deps
from quantum_training.assets.metadata.training import training_metadata
from quantum_training.assets.partition_runner import SINGLE_RUN, each_partition
from quantum_training.assets.state_check import require_state
from quantum_training.assets.step_retries import first_attempt, may_be_retried
from quantum_training.lifecycle.records import CANDLES, model_asset
from quantum_training.lifecycle.services import Services
from quantum_training.lifecycle.training.ensemble_members import members_of
from quantum_training.lifecycle.training.request import TrainingRequest, TrainingRun
from quantum_training.lifecycle.training.train_week import train_week, update_shadow_alias
from quantum_training.lifecycle.training.version_identity import code_version
from quantum_training.market.periods import Key
from quantum_training.partitions import Partitions, overlap, run_keys
from quantum_training.resources.events.bus import EventBus
from quantum_training.resources.ledger import Ledger
from quantum_training.resources.registry.registry import ModelRegistry
from quantum_training.resources.store.store import Store
from quantum_training.settings import Settings
from quantum_training.settings.schema import Recipe


class TrainingConfig(dg.Config):
    """As of when and why a version is trained. The defaults are those of the weekly refresh."""

    as_of: str = ""
    """UTC time up to which data may be used, within the partition's week; default: its Monday 00:00."""
    trigger: str = "SCHEDULED"
    """SCHEDULED, DRIFT_DETECTED, PERFORMANCE_DECAY or MANUAL."""
    reason: str = "weekly refresh"
    """A sentence for the people who read the version in MLflow."""
    episodes: int = 0
    """Budget of an agent's fit in episodes; 0: the recipe's."""


def _description(name: str, recipe: Recipe) -> str:
    return (
        f"Versions of recipe `{name}` trained as of the week, on up to {recipe.window_bars} stored bars of earlier "
        "months. The artefact lives in MLflow. A version whose positions are invalid, or which is inferior to the one "
        "before it, is refused." + (f" Trained every {recipe.every_weeks} weeks." if recipe.every_weeks > 1 else "")
    )


def build(name: str, settings: Settings, partitions: Partitions) -> dg.AssetsDefinition:
    """The model asset of recipe `name`."""
    recipe, of_symbols = settings.recipes[name], partial(overlap, "utc_month", "week", -1, 0)
    label_members = settings.universes[recipe.label_universe].symbols if recipe.label_universe else ()

    @dg.asset(
        name=model_asset(name),
        partitions_def=partitions.week,
        backfill_policy=SINGLE_RUN,
        deps=[
            *feature_deps(recipe.feature_sets, of_symbols),
            *([dg.AssetDep(CANDLES, partition_mapping=of_symbols(label_members))] if label_members else ()),
            *(model_asset(member) for member in members_of(settings, name)),
        ],
        group_name="models",
        kinds={recipe.algorithm.rpartition(".")[2], "mlflow"},
        code_version=code_version(recipe),
        pool=dagster_pool(recipe.resources),
        op_tags=cluster_tags(recipe.resources),
        description=_description(name, recipe),
    )
    def model(
        context: dg.AssetExecutionContext,
        config: TrainingConfig,
        store: dg.ResourceParam[Store],
        registry: dg.ResourceParam[ModelRegistry],
        ledger: dg.ResourceParam[Ledger],
        events: dg.ResourceParam[EventBus],
    ) -> dg.MaterializeResult:
        services, request = Services(settings, store, registry, events), TrainingRequest(**config.model_dump())
        keys = run_keys(partitions.week, context.run.tags)
        require_state(context, partitions, services, ledger, trained={request.as_of_in(key) for key in keys})
        run_id, attempt = context.run.run_id, first_attempt(context.instance, context.run)
        run = TrainingRun(run_id, attempt, context.log, partial(may_be_retried, context))

        def materialize_partition(key: Key) -> dict[str, Any]:
            return training_metadata(train_week(services, name, key, request, run))

        update_aliases = partial(update_shadow_alias, services, name, {key.symbol for key in keys})
        others = {symbol for symbol, market in settings.symbols.items() if name not in market.recipes}
        return each_partition(context, partitions.week, materialize_partition, update_aliases, others)

    return model
