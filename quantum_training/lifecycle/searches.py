"""The recorded searches that recipes were found by: their trials count against the recipe, and they bound its training.

How a search is made is search/.
"""

from __future__ import annotations

from typing import NamedTuple

from quantum_training.lifecycle.records import SEARCHES, SearchRecord, read_record
from quantum_training.resources.store.store import Store
from quantum_training.settings import Settings


class SearchRecordMissing(RuntimeError):  # noqa: N818 - as InsufficientData, the name of what is the case
    """The settings name a search of which the store has no record. The message says what to do."""


class RecordedSearch(NamedTuple):
    """What a search found, and on which symbol."""

    symbol: str
    record: SearchRecord


def search_of(store: Store, settings: Settings, recipe: str) -> RecordedSearch | None:
    """The symbol and the record of the search that a recipe was found by; None if it names none.

    SearchRecordMissing if no symbol has a record of it.
    """
    search_id = settings.recipes[recipe].found_by if recipe in settings.recipes else ""
    return _recorded(store, settings, search_id, f"recipes.{recipe}.found_by") if search_id else None


def searched_trials(store: Store, settings: Settings, recipe: str) -> int:
    """The effective trials behind a recipe: of the search that it was found by, of all earlier ones of the same recipe
    and symbol, and of those that this recipe was found by in turn. Who searches again and takes the best of all has
    made all of their trials.

    0 for a recipe that was not found by a search. Errors as in search_of.
    """
    search, trials = search_of(store, settings, recipe), 0
    while search is not None:
        symbol, newest = search
        periods = store.periods(SEARCHES, symbol, "json")
        records = [read_record(store, SearchRecord, symbol, period) for period in periods]
        same = [r for r in records if r is not None and r.recipe == newest.recipe and r.time <= newest.time]
        trials += sum(record.counted_trials for record in same)
        place = f"found_by of {newest.recipe}, which the search {newest.search_id} began from"
        search = _recorded(store, settings, newest.found_by, place) if newest.found_by else None
    return trials


def _recorded(store: Store, settings: Settings, search_id: str, place: str) -> RecordedSearch:
    for symbol in settings.symbols:
        if (record := read_record(store, SearchRecord, symbol, search_id)) is not None:
            return RecordedSearch(symbol, record)
    raise SearchRecordMissing(
        f"{place}: the store has no record of the search {search_id}. Restore {SEARCHES} of the store from a backup, "
        "or run the job search again with the same recipe, symbol and as_of; without it nobody knows how many trials "
        "count against the recipe"
    )


def missing_searches(store: Store, settings: Settings, symbol: str) -> list[str]:
    """What is wrong with `found_by` of a symbol's recipes, in words."""
    problems = []
    for recipe in settings.symbols[symbol].recipes:
        try:
            search_of(store, settings, recipe)
        except SearchRecordMissing as error:
            problems.append(str(error))
    return problems
