"""The versions of a recipe that the weekly records of its model asset list, and which of them may trade."""

from quantum_training.lifecycle.records import EVERY, ModelRecord, ModelVersion, model_asset, read_records
from quantum_training.resources.store.store import Store
from quantum_training.trading.scoring import Version


def versions_of(store: Store, symbol: str, recipe: str, last: str = EVERY) -> list[Version]:
    """The accepted versions of a recipe up to week `last`, oldest as_of first; of equal as_of the newest fit last."""
    return [v.version for v in recorded_versions(store, symbol, recipe, last) if v.accepted]


def recorded_versions(store: Store, symbol: str, recipe: str, last: str = EVERY) -> list[ModelVersion]:
    """All recorded versions of a recipe up to week `last`, those that the refresh gate refused included, in order."""
    records = read_records(store, ModelRecord, symbol, last, model_asset(recipe)).values()
    return sorted((version for record in records for version in record.versions), key=lambda v: v.time)
