"""Assets `<recipe>_model`: the versions of a recipe trained as of a week. One training: training.py."""

from collections.abc import Callable
from typing import Any

import dagster as dg
import pandas as pd

from quantum_training.assets.cluster_tags import cluster_tags, dagster_pool
from quantum_training.assets.metadata.training import shown
from quantum_training.assets.partition_runner import OWNERS, SINGLE_RUN, each_partition
from quantum_training.assets.training import TrainingConfig, train
from quantum_training.features.windows import InsufficientData
from quantum_training.lifecycle.records import model_asset
from quantum_training.lifecycle.training.ensemble_members import Seen, members_of
from quantum_training.lifecycle.training.inputs import lesson
from quantum_training.lifecycle.training.refresh_gate import judge, outcome_of, tag
from quantum_training.lifecycle.training.schedule import RESTING, training_weeks
from quantum_training.lifecycle.training.versions import accepted, versions_of
from quantum_training.market.periods import WEEK, Key
from quantum_training.models.contract import Model
from quantum_training.partitions import Partitions, overlap, run_keys
from quantum_training.resources.events.bus import EventBus
from quantum_training.resources.locks import alone
from quantum_training.resources.registry.registry import ModelRegistry
from quantum_training.resources.store.store import Store
from quantum_training.settings.settings import Settings
from quantum_training.trading.scoring import Version

STANDS = "stands"
"""Outcome of a run that would train a recorded version otherwise, because earlier versions were removed since."""

MOST_HELD = 32
"""Models that an asset keeps in memory; networks are small, agents' replay buffers are not among what is loaded."""


def build(name: str, settings: Settings, partitions: Partitions) -> dg.AssetsDefinition:
    """The model asset of recipe `name`."""
    recipe = settings.recipes[name]

    @dg.asset(
        name=model_asset(name),
        partitions_def=partitions.week,
        backfill_policy=SINGLE_RUN,
        deps=[
            dg.AssetDep("features", partition_mapping=overlap("utc_month", "week", start=-1)),
            *(model_asset(member) for member in members_of(settings, name)),
        ],
        group_name="models",
        kinds={recipe.algorithm.rpartition(".")[2], "mlflow"},
        owners=OWNERS,
        pool=dagster_pool(recipe.resources),
        op_tags=cluster_tags(recipe.resources),
        description=f"Versions of recipe `{name}` trained as of the week. The training window, up to "
        f"{recipe.window_bars} bars, is read from the stored features and candles of earlier months. "
        "The artefact lives in MLflow. A version that is insane or inferior to the one before it is refused: the "
        "older one stays." + (f" Trained every {recipe.every_weeks} weeks." if recipe.every_weeks > 1 else ""),
    )
    def model(
        context: dg.AssetExecutionContext,
        config: TrainingConfig,
        store: dg.ResourceParam[Store],
        registry: dg.ResourceParam[ModelRegistry],
        events: dg.ResourceParam[EventBus],
    ) -> dg.MaterializeResult:
        held: dict[tuple[str, str], Model] = {}  # the models of this run that were asked for last
        seen: Seen = {}

        def keep(symbol: str, model_id: str, model: Model) -> Model:
            while len(held) >= MOST_HELD:
                del held[next(iter(held))]
            return held.setdefault((symbol, model_id), model)

        def produce(key: Key) -> dict[str, Any]:
            with alone(settings.database_url, f"{model_asset(name)} {key}") as still_alone:
                return produce_alone(key, still_alone)

        def produce_alone(key: Key, still_alone: Callable[[], None]) -> dict[str, Any]:
            record = store.read_record(model_asset(name), key.symbol, key.period) or {"versions": []}
            if name not in settings.symbols[key.symbol].recipes:
                store.write_record(model_asset(name), key.symbol, key.period, {**record, "outcome": "not_configured"})
                return {"outcome": "not_configured"}
            as_of = pd.Timestamp(config.as_of or key.start)
            as_of = as_of.tz_localize("UTC") if as_of.tz is None else as_of.tz_convert("UTC")
            if not key.start <= as_of < key.start + WEEK:
                raise ValueError(
                    f"as_of {as_of} is outside the week of partition {key}; take a time in it or another partition"
                )
            before = [v for v in versions_of(store, key.symbol, name, key.period) if v.as_of < as_of]
            older = before[-1] if before else None
            due, following = training_weeks(recipe.every_weeks, key.start)
            if older and older.as_of >= due and not config.as_of:
                told = {"newest": older.model_id, "next_training": f"{following:%Y-%m-%d}"}
                if not record["versions"]:
                    rest = {"outcome": RESTING, **told, "versions": []}
                    store.write_record(model_asset(name), key.symbol, key.period, rest)
                return {"outcome": RESTING, **told}

            def load(model_id: str) -> Model:
                known = held.pop((key.symbol, model_id), None)
                return keep(key.symbol, model_id, known or registry.load(key.symbol, model_id))

            try:
                taught = lesson(store, settings, key.symbol, name, as_of, before, load, seen)
                if taught.gone and any(pd.Timestamp(v["as_of"]) == as_of for v in record["versions"]):
                    return _stands(record, as_of, taught.gone)
                trained = train(context, registry, events, settings, key, name, taught, config, as_of, still_alone)
            except InsufficientData as short:
                outcome: dict[str, Any] = {
                    "outcome": "insufficient",
                    "have": short.have,
                    "need": short.need,
                    "reason": str(short),
                }
                store.write_record(model_asset(name), key.symbol, key.period, {**record, **outcome})
                return {**outcome, "as_of": dg.MetadataValue.timestamp(as_of.to_pydatetime())}
            newer = Version(as_of, trained.entry["model_id"])
            learnt_from = taught.window.full_times[0]
            recorded = [v.get("refresh") for v in record["versions"] if v["model_id"] == newer.model_id]
            judged = judge(store, settings, key.symbol, older, newer, learnt_from, trained.model, load, *recorded)
            if judged.accepted:
                keep(key.symbol, newer.model_id, trained.model)
            registry.tag(key.symbol, newer.model_id, "refresh", tag(judged))
            others = [v for v in record["versions"] if v["model_id"] != newer.model_id]
            entry = {**trained.entry, "refresh": judged.model_dump()}
            versions = sorted([*others, entry], key=lambda v: v["as_of"])
            newest = {"outcome": outcome_of(accepted(versions[-1])), "versions": versions}
            written = store.write_record(model_asset(name), key.symbol, key.period, newest)
            return {**trained.metadata, **shown(judged), "path": dg.MetadataValue.path(written.path)}

        def move_aliases() -> None:
            for symbol in {key.symbol for key in run_keys(partitions.week, context.run.tags)}:
                with alone(settings.database_url, f"aliases {symbol}"):
                    if versions := versions_of(store, symbol, name):
                        registry.set_aliases(symbol, {f"shadow-{name}": versions[-1].model_id})

        return each_partition(context, partitions.week, produce, move_aliases)

    return model


def _stands(record: dict[str, Any], as_of: pd.Timestamp, gone: tuple[str, ...]) -> dict[str, Any]:
    """What a partition says whose version went on from versions that were removed since."""
    model_id = [v["model_id"] for v in record["versions"] if pd.Timestamp(v["as_of"]) == as_of][-1]
    return {
        "outcome": STANDS,
        "model_id": model_id,
        "reason": f"the version as of {as_of:%Y-%m-%d %H:%M} stands: it went on from {len(gone)} that are gone from "
        f"MLflow, as {gone[0]}, and would come out otherwise; to train it again, run the partitions of these first",
    }
