"""The shadow scores of a week: what every recipe and baseline would have earned."""

from collections.abc import Callable, Collection, Mapping
from typing import Any

import pandas as pd

from quantum_training.market.periods import Key
from quantum_training.models.contract import Model
from quantum_training.resources.registry.errors import RegistryError
from quantum_training.resources.store.store import Store, content_hash
from quantum_training.trading.scoring import Version, deciding_bars

ASSET = "shadow_scores"


INPUTS = "inputs_hash"
"""Attribute of a record: hash of the features that its bars were decided on."""


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


def inputs_hash(features: pd.DataFrame, candles: pd.DataFrame, filled: pd.DatetimeIndex, memory: int) -> str:
    """Hash of the features that the bars `filled`, of one week, are decided on; with a memory of all that it holds."""
    decided = deciding_bars(candles.index, filled)
    if not memory:
        return content_hash(features.reindex(decided))
    lived = candles.loc[: decided[-1], ["open", "close"]].iloc[-memory - len(decided) :]
    return content_hash(features.reindex(lived.index).join(lived))


def assert_registry_reachable(
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


def read_scores(store: Store, symbol: str, last: str) -> dict[str, pd.DataFrame]:
    """All stored score records of a symbol up to week `last`, oldest first."""
    return {p: store.read_frame(ASSET, symbol, p) for p in store.periods(ASSET, symbol) if p <= last}
