"""Assets `<recipe>_model`: the versions of a recipe trained as of a week. One training: training.py."""

from collections.abc import Iterable, Mapping
from typing import Any

import dagster as dg
import pandas as pd

from quantum_training.assets.loop import OWNERS, SINGLE_RUN, each_partition, lookback_month, read_months
from quantum_training.assets.practice import lesson
from quantum_training.assets.refresh import accepted, judge, outcome_of, shown, tag
from quantum_training.assets.training import TrainingConfig, train
from quantum_training.features.indicators import FEATURES
from quantum_training.features.labels import make_labels
from quantum_training.features.windows import InsufficientData, Window, build_window
from quantum_training.market.timeframe import known_at
from quantum_training.models.contract import Model
from quantum_training.partitions import WEEK, Key, Partitions, overlap, run_keys
from quantum_training.resources.events.bus import EventBus
from quantum_training.resources.registry import ModelRegistry
from quantum_training.resources.store import Store
from quantum_training.settings import Recipe, Settings
from quantum_training.trading.scoring import Version


def asset_name(recipe: str) -> str:
    """Name of a recipe's model asset."""
    return f"{recipe}_model"


def versions_of(store: Store, symbol: str, recipe: str, last: str = "9999") -> list[Version]:
    """The accepted versions of a recipe up to week `last`, oldest as_of first; of equal as_of the newest fit last."""
    return accepted_versions(entries_of(store, symbol, recipe, last))


def entries_of(store: Store, symbol: str, recipe: str, last: str = "9999") -> list[dict[str, Any]]:
    """What the records say of each version of a recipe up to week `last`, refused ones included, in the same order."""
    records = store.read_records(asset_name(recipe), symbol, last).values()
    return sorted((e for record in records for e in record["versions"]), key=lambda e: pd.Timestamp(e["as_of"]))


def accepted_versions(entries: Iterable[Mapping[str, Any]]) -> list[Version]:
    """Those of these entries that may trade, in their order."""
    return [Version(pd.Timestamp(e["as_of"]), e["model_id"]) for e in entries if accepted(e)]


def build(name: str, settings: Settings, partitions: Partitions) -> dg.AssetsDefinition:
    """The model asset of recipe `name`."""
    recipe = settings.recipes[name]

    @dg.asset(
        name=asset_name(name),
        partitions_def=partitions.week,
        backfill_policy=SINGLE_RUN,
        deps=[dg.AssetDep("features", partition_mapping=overlap("utc_month", "week", start=-1))],
        group_name="models",
        kinds={recipe.algorithm.rpartition(".")[2], "mlflow"},
        owners=OWNERS,
        pool="training",
        description=f"Versions of recipe `{name}` trained as of the week. The training window, up to "
        f"{recipe.window_bars} bars, is read from the stored features and candles of earlier months. "
        "The artefact lives in MLflow. A version that is insane or inferior to the one before it is refused: the "
        "older one stays.",
    )
    def model(
        context: dg.AssetExecutionContext,
        config: TrainingConfig,
        store: Store,
        registry: ModelRegistry,
        events: EventBus,
    ) -> dg.MaterializeResult:
        held: dict[str, Model] = {}  # the newest accepted version of the symbol at hand

        def produce(key: Key) -> dict[str, Any]:
            record = store.read_record(asset_name(name), key.symbol, key.period) or {"versions": []}
            if name not in settings.symbols[key.symbol].recipes:
                store.write_record(asset_name(name), key.symbol, key.period, {**record, "outcome": "not_configured"})
                return {"outcome": "not_configured"}
            as_of = pd.Timestamp(config.as_of or key.start)
            as_of = as_of.tz_localize("UTC") if as_of.tz is None else as_of.tz_convert("UTC")
            if not key.start <= as_of < key.start + WEEK:
                raise ValueError(
                    f"as_of {as_of} is outside the week of partition {key}; take a time in it or another partition"
                )
            try:
                window = training_window(store, settings, key.symbol, recipe, as_of)
            except InsufficientData as short:
                outcome = {"outcome": "insufficient", "have": short.have, "need": short.need}
                store.write_record(asset_name(name), key.symbol, key.period, {**record, **outcome})
                return {**outcome, "as_of": dg.MetadataValue.timestamp(as_of.to_pydatetime())}
            before = [v for v in versions_of(store, key.symbol, name, key.period) if v.as_of < as_of]
            older = before[-1] if before else None

            def load(model_id: str) -> Model:
                if model_id not in held:
                    held.clear()
                    held[model_id] = registry.load(key.symbol, model_id)
                return held[model_id]

            taught = lesson(store, settings, key.symbol, name, window, as_of, before, load)
            trained = train(context, registry, events, settings, key, name, window, taught, config, as_of)
            newer = Version(as_of, trained.entry["model_id"])
            judged = judge(store, settings, key.symbol, older, newer, window.full_times[0], trained.model, load)
            if judged.accepted:
                held.clear()
                held[newer.model_id] = trained.model
            registry.tag(key.symbol, newer.model_id, "refresh", tag(judged))
            others = [v for v in record["versions"] if v["model_id"] != newer.model_id]
            entry = {**trained.entry, "refresh": judged.model_dump()}
            versions = sorted([*others, entry], key=lambda v: v["as_of"])
            newest = {"outcome": outcome_of(accepted(versions[-1])), "versions": versions}
            written = store.write_record(asset_name(name), key.symbol, key.period, newest)
            return {**trained.metadata, **shown(judged), "path": dg.MetadataValue.path(written.path)}

        done = each_partition(context, partitions.week, produce)
        for symbol in {key.symbol for key in run_keys(partitions.week, context.run.tags)}:
            if versions := versions_of(store, symbol, name):
                registry.set_aliases(symbol, {f"shadow-{name}": versions[-1].model_id})
        return done

    return model


def training_window(store: Store, settings: Settings, name: str, recipe: Recipe, as_of: pd.Timestamp) -> Window:
    """The labelled, purged bars that a fit as of `as_of` may see. InsufficientData where they are too few."""
    symbol = settings.symbols[name]
    rows = settings.training_batch_size or recipe.window_bars
    first = lookback_month(symbol, as_of, rows + recipe.label.span_bars)
    candles = known_at(read_months(store, "candles", name, first, as_of), as_of, symbol.timeframe)
    features = known_at(read_months(store, "features", name, first, as_of), as_of, symbol.timeframe)
    return build_window(
        features,
        make_labels(
            candles, recipe.label, symbol.costs.round_trip(candles["close"].to_numpy(), symbol.account.capital)
        ),
        as_of=as_of,
        columns=recipe.features or FEATURES,
        max_rows=rows,
        validation_fraction=recipe.validation_fraction,
        min_rows=settings.min_training_data_points,
    )
