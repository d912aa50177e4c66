"""The versions of a recipe that the weekly records of its model asset list, and which of them may trade."""

from collections.abc import Mapping, Sequence

from quantum_training.lifecycle.records import EVERY, ModelRecord, ModelVersion, model_asset, read_records
from quantum_training.lifecycle.searches import searched_trials
from quantum_training.resources.store.store import Store
from quantum_training.settings import Settings
from quantum_training.trading.scoring import Version


def versions_of(store: Store, symbol: str, recipe: str, last: str = EVERY) -> list[Version]:
    """The accepted versions of a recipe up to week `last`, oldest as_of first; of equal as_of the newest fit last."""
    return [v.version for v in recorded_versions(store, symbol, recipe, last) if v.accepted]


def recorded_versions(store: Store, symbol: str, recipe: str, last: str = EVERY) -> list[ModelVersion]:
    """All recorded versions of a recipe up to week `last`, those that the refresh gate refused included, in order."""
    records = read_records(store, ModelRecord, symbol, last, model_asset(recipe)).values()
    return sorted((version for record in records for version in record.versions), key=lambda v: v.time)


def trials_per_recipe(
    store: Store, settings: Settings, recorded: Mapping[str, Sequence[ModelVersion]]
) -> dict[str, int]:
    """The trials that count for each recipe: the fits that a version was chosen from, and those of its searches.

    recorded: the versions by recipe. The most of settings and versions: fewer of them now, or none, make no fewer
    trials. SearchRecordMissing if the store lacks a search.
    """
    return {
        recipe: max([settings.seeds.get(recipe, 1), *(version.seeds or 1 for version in versions)])
        + max([searched_trials(store, settings, recipe), *(version.searched or 0 for version in versions)])
        for recipe, versions in recorded.items()
    }
