"""The versions of a recipe as the records of its model asset tell of them. The asset itself: models.py."""

from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd

from quantum_training.lifecycle.records import model_asset
from quantum_training.resources.store.store import Store
from quantum_training.trading.scoring import Version


def versions_of(store: Store, symbol: str, recipe: str, last: str = "9999") -> list[Version]:
    """The accepted versions of a recipe up to week `last`, oldest as_of first; of equal as_of the newest fit last."""
    return accepted_versions(entries_of(store, symbol, recipe, last))


def entries_of(store: Store, symbol: str, recipe: str, last: str = "9999") -> list[dict[str, Any]]:
    """What the records say of each version of a recipe up to week `last`, refused ones included, in the same order."""
    records = store.read_records(model_asset(recipe), symbol, last).values()
    return sorted((e for record in records for e in record["versions"]), key=lambda e: pd.Timestamp(e["as_of"]))


def accepted_versions(entries: Iterable[Mapping[str, Any]]) -> list[Version]:
    """Those of these entries that may trade, in their order."""
    return [Version(pd.Timestamp(e["as_of"]), e["model_id"]) for e in entries if accepted(e)]


LEGACY_ACCEPTED = {"accepted": True, "reason": "recorded before refreshes were judged"}


def accepted(entry: Mapping[str, Any]) -> bool:
    """May the version of this entry of a model's record trade? One recorded before refreshes were judged may."""
    return bool(entry.get("refresh", LEGACY_ACCEPTED)["accepted"])
