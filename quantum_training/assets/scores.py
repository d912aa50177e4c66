"""Asset `shadow_scores`: what every recipe and baseline would have earned in the week before W.

The accounting lives in trading/.
"""

from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from functools import partial
from typing import Any

import dagster as dg
import numpy as np
import pandas as pd

from quantum_training.assets.loop import OWNERS, SINGLE_RUN, each_partition, lookback_month, read_months
from quantum_training.assets.versions import asset_name, versions_of
from quantum_training.models.contract import Model, algorithm
from quantum_training.partitions import WEEK, Key, Partitions, overlap
from quantum_training.resources.registry import ModelRegistry
from quantum_training.resources.registry_errors import RegistryError, VersionGone
from quantum_training.resources.store import Store, content_hash
from quantum_training.settings import Settings
from quantum_training.trading.baselines import BASELINES, LOOKBACK_BARS, decide
from quantum_training.trading.scoring import Decisions, Version, deciding_bars, decisions, score

ASSET = "shadow_scores"
INPUTS = "inputs_hash"
"""Attribute of a record: hash of the features that its bars were decided on."""


def build(settings: Settings, partitions: Partitions) -> dg.AssetsDefinition:
    """The asset, for the symbols of these settings."""

    @dg.asset(
        name=ASSET,
        partitions_def=partitions.week,
        backfill_policy=SINGLE_RUN,
        deps=[
            *(asset_name(recipe) for recipe in settings.recipes),
            dg.AssetDep("features", partition_mapping=overlap("utc_month", "week", start=-1)),
        ],
        group_name="evidence",
        kinds={"parquet"},
        owners=OWNERS,
        description="Target position, fill, cost and net return of every recipe and baseline on each bar of the week "
        "BEFORE this partition's Monday, each bar by the newest version with as_of <= its open. "
        "Older versions are read from the store.",
    )
    def shadow_scores(context: dg.AssetExecutionContext, store: Store, registry: ModelRegistry) -> dg.MaterializeResult:
        loaded: dict[str, Model | None] = {}
        broken: dict[str, str] = {}
        gone: set[str] = set()

        def load(symbol: str, model_id: str) -> Model | None:
            if model_id not in loaded:
                try:
                    loaded[model_id] = registry.load(symbol, model_id)
                except RegistryError as error:
                    loaded[model_id], broken[model_id] = None, str(error)
                    gone.update([model_id] if isinstance(error, VersionGone) else [])
                    context.log.error(f"{error}; it decides nothing")
            return loaded[model_id]

        def produce(key: Key) -> dict[str, Any]:
            symbol = settings.symbols[key.symbol]
            start = key.start - WEEK
            first = decision_month(settings, key.symbol, start)
            candles = read_months(store, "candles", key.symbol, first, key.start)
            features = read_months(store, "features", key.symbol, first, key.start)
            if candles.index[0] >= start:
                raise ValueError(f"{key}: no bar before {start} is stored; the first week that can be scored is later")
            versions = {recipe: versions_of(store, key.symbol, recipe, key.period) for recipe in symbol.recipes}
            strategies = {
                recipe: decisions(candles, features, known, start, lambda m: load(key.symbol, m))
                for recipe, known in versions.items()
            }
            used = {m for decided in strategies.values() for m in decided.model_id.unique() if m}
            filled = pd.DatetimeIndex(candles.loc[start:].index)
            inputs = {INPUTS: inputs_hash(features, candles, filled, memory(settings, key.symbol))}
            if silent := _decided_before(store, key, used & gone):
                return _stands(store, key, inputs[INPUTS], {m: broken[m] for m in silent})
            if used and used <= broken.keys():
                some_version_loads(key.symbol, versions, partial(registry.load, key.symbol), used)
            for name in BASELINES:
                position = decide(name, candles).shift(1)
                strategies[name] = Decisions(position, pd.Series("", candles.index))
            frame = score(candles, start, strategies, symbol.costs, symbol.account)
            written = store.write_frame(ASSET, key.symbol, key.period, frame, inputs)
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


def _decided_before(store: Store, key: Key, silent: Collection[str]) -> list[str]:
    """Those of these versions that decided a bar of the stored scores of the week."""
    if not silent or key.period not in store.periods(ASSET, key.symbol):
        return []
    scores = store.read_frame(ASSET, key.symbol, key.period)
    decided = scores.loc[scores["model_id"].isin(silent) & scores["target"].notna(), "model_id"]
    return [str(model_id) for model_id in decided.unique()]


def _stands(store: Store, key: Key, inputs: str, silent: Mapping[str, str]) -> dict[str, Any]:
    """What the week's partition says where versions that decided it were removed since: its scores stand.

    ValueError where they were decided on other bars or features. silent: why each cannot be loaded.
    """
    if store.attributes(ASSET, key.symbol, key.period).get(INPUTS) != inputs:
        raise ValueError(
            f"{key}: bars or features were revised, but versions that decided this week are gone; its scores stand "
            f"until the partitions of their models have run again: {'; '.join(silent.values())}"
        )
    return {"stands": "versions that decided this week were removed since", "not_loaded": sorted(silent)}


def memory(settings: Settings, symbol: str) -> int:
    """Bars before a week that the symbol's recipes depend on; none for an algorithm that cannot be imported.

    Its own training says so; the other recipes go on.
    """
    bars = 0
    for name in {settings.recipes[recipe].algorithm for recipe in settings.symbols[symbol].recipes}:
        with suppress(Exception):
            bars = max(bars, algorithm(name).memory)
    return bars


def decision_month(settings: Settings, symbol: str, start: pd.Timestamp) -> str:
    """The month from which on bars are read so that every recipe and baseline can decide from before `start` on."""
    bars = max(LOOKBACK_BARS, memory(settings, symbol)) + 2
    return lookback_month(settings.symbols[symbol], start - WEEK, bars)


def inputs_hash(features: pd.DataFrame, candles: pd.DataFrame, filled: pd.DatetimeIndex, memory: int) -> str:
    """Hash of the features that the bars `filled`, of one week, are decided on; with a memory of all that it holds."""
    decided = deciding_bars(candles.index, filled)
    if not memory:
        return content_hash(features.reindex(decided))
    lived = candles.loc[: decided[-1], ["open", "close"]].iloc[-memory - len(decided) :]
    return content_hash(features.reindex(lived.index).join(lived))


def some_version_loads(
    symbol: str, versions: Mapping[str, list[Version]], load: Callable[[str], Model], failed: Collection[str]
) -> None:
    """RegistryError where none of each recipe's two newest versions but those that failed can be loaded.

    Then it is the registry that does not work, and no recipe is to blame.
    """
    for model_id in {v.model_id for known in versions.values() for v in known[-2:]} - {*failed}:
        try:
            load(model_id)
        except RegistryError:
            continue
        return
    raise RegistryError(
        f"{symbol}: neither version {', '.join(sorted(failed))} nor another can be loaded: look after MLflow and its "
        "artefacts, then run this again; nothing was decided"
    )


def read_weeks(store: Store, symbol: str, last: str) -> dict[str, pd.DataFrame]:
    """All stored score records of a symbol up to week `last`, oldest first."""
    return {p: store.read_frame(ASSET, symbol, p) for p in store.periods(ASSET, symbol) if p <= last}
