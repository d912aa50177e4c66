"""The shadow scores of a week: what every recipe and baseline would have earned."""

from collections.abc import Callable, Collection, Mapping
from typing import Any

from quantum_training.lifecycle.market_history import INPUTS
from quantum_training.lifecycle.records import SHADOW_SCORES
from quantum_training.market.periods import Key
from quantum_training.models.contract import Model
from quantum_training.resources.registry.errors import RegistryError
from quantum_training.resources.store.store import Store
from quantum_training.trading.scoring import Version


def _decided_before(store: Store, key: Key, silent: Collection[str]) -> list[str]:
    """Those of these versions that decided a bar of the stored scores of the week."""
    if not silent or key.period not in store.periods(SHADOW_SCORES, key.symbol):
        return []
    scores = store.read_frame(SHADOW_SCORES, key.symbol, key.period)
    decided = scores.loc[scores["model_id"].isin(silent) & scores["target"].notna(), "model_id"]
    return [str(model_id) for model_id in decided.unique()]


def _stands(store: Store, key: Key, inputs: str, silent: Mapping[str, str]) -> dict[str, Any]:
    """What the week's partition says where versions that decided it were removed since: its scores stand.

    ValueError where they were decided on other bars or features. silent: why each cannot be loaded.
    """
    if store.attributes(SHADOW_SCORES, key.symbol, key.period).get(INPUTS) != inputs:
        raise ValueError(
            f"{key}: bars or features were revised, but versions that decided this week are gone; its scores stand "
            f"until the partitions of their models have run again: {'; '.join(silent.values())}"
        )
    return {"stands": "versions that decided this week were removed since", "not_loaded": sorted(silent)}


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
