"""Which versions of a symbol are still needed, and which may go. Pure: what is asked of them is gathered by the caller.

A version decides the bars from its as_of to the next one's, so a time from which on bars may be decided again says
which versions that takes.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import NamedTuple

import pandas as pd

SPARE = 2
"""Versions that stay from before such a time: the one that decides then, and the one before it, which the gate holds
it against and a warm start goes on from when its partition is run again."""

CHAMPIONS = 3
"""Champions whose versions stay: the one in office, the one that a rollback restores, and the one before that."""


MAY_DECIDE, NEWEST = "may_decide", "newest"


class VersionInfo(NamedTuple):
    """A version as the records of its recipe tell of it."""

    as_of: pd.Timestamp
    model_id: str
    accepted: bool


class Registered(NamedTuple):
    """A version as the registry holds it; created: when it was registered, UTC.

    model_id and recipe are empty where a person registered it by hand.
    """

    model_id: str
    number: int
    run_id: str
    created: pd.Timestamp
    recipe: str = ""


def needed(
    known: Mapping[str, Iterable[VersionInfo]],
    since: Mapping[str, pd.Timestamp | None],
    named: Mapping[str, str],
) -> dict[str, str]:
    """Why each version that is still needed is, by its model_id: a word that names the first reason found.

    known: of each recipe, oldest as_of first, of equal as_of the newest fit last. since: from when on bars of a recipe
    may be decided again; None, or no entry: from the first on. named: model_ids that something points at, and what.
    """
    found = dict(named)
    for recipe, versions in known.items():
        deciding = {v.as_of: v.model_id for v in versions if v.accepted}  # of equal as_of the last one decides
        start = since.get(recipe)
        before = [] if start is None else [as_of for as_of in deciding if as_of <= start]
        for as_of in [*before[-SPARE:], *(list(deciding)[len(before) :])]:
            found.setdefault(deciding[as_of], MAY_DECIDE)
        for model_id in list(deciding.values())[-SPARE:]:
            found.setdefault(model_id, NEWEST)
    return found


def last_champions(champions: Mapping[str, Mapping[str, str | None]], count: int = CHAMPIONS) -> set[str]:
    """The versions that the last `count` champions last traded by.

    champions: by week, oldest first, the recipe as `champion` and its version as `model_id`.
    """
    last: dict[str, str] = {}
    for week in reversed(list(champions)):
        recipe, model_id = champions[week]["champion"], champions[week]["model_id"]
        if recipe and model_id and recipe not in last and len(last) < count:
            last[recipe] = model_id
    return {*last.values()}


def removable(registered: Iterable[Registered], needed: Collection[str], before: pd.Timestamp) -> list[Registered]:
    """The versions registered before that time that nobody needs, oldest first; none that a person registered by hand.

    Age is counted from the registration, not from as_of: a backfill trains versions of old weeks.
    """
    going = (v for v in registered if v.model_id and v.created < before and v.model_id not in needed)
    return sorted(going, key=lambda v: (v.created, v.number))
