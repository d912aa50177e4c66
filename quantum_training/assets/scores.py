"""Asset `shadow_scores`: what every recipe and baseline would have earned in the week before W.

The accounting lives in trading/.
"""

from functools import partial
from typing import Any

import dagster as dg
import numpy as np
import pandas as pd

from quantum_training.assets.partition_runner import OWNERS, SINGLE_RUN, each_partition
from quantum_training.lifecycle.evaluation.scoring import _decided_before, _stands, assert_registry_reachable
from quantum_training.lifecycle.market_history import INPUTS, Bars, MarketHistory
from quantum_training.lifecycle.records import SHADOW_SCORES, model_asset
from quantum_training.lifecycle.training.versions import versions_of
from quantum_training.market.periods import WEEK, Key
from quantum_training.models.contract import Model
from quantum_training.partitions import Partitions, overlap
from quantum_training.resources.registry.errors import RegistryError, VersionDeleted
from quantum_training.resources.registry.registry import ModelRegistry
from quantum_training.resources.store.store import Store
from quantum_training.settings.settings import Settings
from quantum_training.trading.baselines import BASELINES, decide
from quantum_training.trading.scoring import Decisions, decisions, score


def build(settings: Settings, partitions: Partitions) -> dg.AssetsDefinition:
    """The asset, for the symbols of these settings."""

    @dg.asset(
        name=SHADOW_SCORES,
        partitions_def=partitions.week,
        backfill_policy=SINGLE_RUN,
        deps=[
            *(model_asset(recipe) for recipe in settings.recipes),
            dg.AssetDep("features", partition_mapping=overlap("utc_month", "week", start=-1)),
        ],
        group_name="evidence",
        kinds={"parquet"},
        owners=OWNERS,
        description="Target position, fill, cost and net return of every recipe and baseline on each bar of the week "
        "BEFORE this partition's Monday, each bar by the newest version with as_of <= its open. "
        "Older versions are read from the store.",
    )
    def shadow_scores(
        context: dg.AssetExecutionContext, store: dg.ResourceParam[Store], registry: dg.ResourceParam[ModelRegistry]
    ) -> dg.MaterializeResult:
        loaded: dict[str, Model | None] = {}
        broken: dict[str, str] = {}
        gone: set[str] = set()

        def load(symbol: str, model_id: str) -> Model | None:
            if model_id not in loaded:
                try:
                    loaded[model_id] = registry.load(symbol, model_id)
                except RegistryError as error:
                    loaded[model_id], broken[model_id] = None, str(error)
                    gone.update([model_id] if isinstance(error, VersionDeleted) else [])
                    context.log.error(f"{error}; it decides nothing")
            return loaded[model_id]

        def produce(key: Key) -> dict[str, Any]:
            symbol = settings.symbols[key.symbol]
            start = key.start - WEEK
            history = MarketHistory(store, settings, key.symbol)
            candles, features = history.bars(history.first_month_for_decisions(start), key.start)
            if candles.index[0] >= start:
                raise ValueError(f"{key}: no bar before {start} is stored; the first week that can be scored is later")
            versions = {recipe: versions_of(store, key.symbol, recipe, key.period) for recipe in symbol.recipes}
            strategies = {
                recipe: decisions(candles, features, known, start, lambda m: load(key.symbol, m))
                for recipe, known in versions.items()
            }
            used = {m for decided in strategies.values() for m in decided.model_id.unique() if m}
            filled = pd.DatetimeIndex(candles.loc[start:].index)
            inputs = {INPUTS: history.inputs_hash(Bars(candles, features), filled)}
            if silent := _decided_before(store, key, used & gone):
                return _stands(store, key, inputs[INPUTS], {m: broken[m] for m in silent})
            if used and used <= broken.keys():
                assert_registry_reachable(key.symbol, versions, partial(registry.load, key.symbol), used)
            for name in BASELINES:
                position = decide(name, candles).shift(1)
                strategies[name] = Decisions(position, pd.Series("", candles.index))
            frame = score(candles, start, strategies, symbol.costs, symbol.account)
            written = store.write_frame(SHADOW_SCORES, key.symbol, key.period, frame, inputs)
            week = frame.groupby("strategy")["net_return"].apply(lambda r: float(np.prod(1 + r) - 1))
            return {
                "dagster/row_count": len(frame),
                "bars": len(candles.loc[start:]),
                **{f"net_return_{name}": value for name, value in week.items()},
                "bars_without_decision": {
                    s: int(n) for s, n in frame["target"].isna().groupby(frame["strategy"]).sum().items()
                },
                **({"not_loaded": sorted(used & broken.keys())} if used & broken.keys() else {}),
                "content_hash": written.content_hash,
                "path": dg.MetadataValue.path(written.path),
            }

        return each_partition(context, partitions.week, produce)

    return shadow_scores
