"""Which versions of a symbol are still needed, and which may be removed. Pure: the caller collects the facts.

A version decides the bars from its as_of to the next one's. So the time from which on bars may be decided again
determines which versions are needed.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

import pandas as pd

SPARE = 2
"""Versions that stay from before such a time: the one that decides then, and the one before it. When the partition of
the first runs again, the gate compares it with the second, and a warm start continues from the second."""

CHAMPIONS = 3
"""Champions whose versions stay: the current one, the one that a rollback restores, and the one before that."""


MAY_DECIDE, NEWEST = "may_decide", "newest"


class VersionInfo(NamedTuple):
    """A version in the records of its recipe."""

    as_of: pd.Timestamp
    model_id: str
    accepted: bool


class Registered(NamedTuple):
    """A version in the registry; created: when it was registered, UTC.

    model_id and recipe are empty if a person registered it by hand.
    """

    model_id: str
    number: int
    run_id: str
    created: pd.Timestamp
    recipe: str = ""


def needed(
    versions: Mapping[str, Iterable[VersionInfo]],
    since: Mapping[str, pd.Timestamp | None],
    named: Mapping[str, str],
) -> dict[str, str]:
    """The reason why a version is still needed, by its model_id, for all that are.

    versions: of each recipe, oldest as_of first, of equal as_of the newest fit last. since: from when on bars of a
    recipe may be decided again; None, or no entry: from the first on. named: model_ids that something refers to, and
    what that is.
    """
    reasons = dict(named)
    for recipe, infos in versions.items():
        deciding = {v.as_of: v.model_id for v in infos if v.accepted}  # of equal as_of the last one decides
        start = since.get(recipe)
        before = [] if start is None else [as_of for as_of in deciding if as_of <= start]
        for as_of in [*before[-SPARE:], *(list(deciding)[len(before) :])]:
            reasons.setdefault(deciding[as_of], MAY_DECIDE)
        for model_id in list(deciding.values())[-SPARE:]:
            reasons.setdefault(model_id, NEWEST)
    return reasons


def last_champions(traders: Sequence[tuple[str | None, str | None]], count: int = CHAMPIONS) -> set[str]:
    """The last version of each of the last `count` champions.

    traders: the champion of each week and its version, oldest week first; None in a week without a champion.
    """
    last: dict[str, str] = {}
    for recipe, model_id in reversed(traders):
        if recipe and model_id and recipe not in last and len(last) < count:
            last[recipe] = model_id
    return {*last.values()}


def removable(registered: Iterable[Registered], needed: Collection[str], before: pd.Timestamp) -> list[Registered]:
    """The versions registered before that time that are not needed, oldest first; none that a person registered.

    Age counts from the registration, not from as_of, because a backfill trains versions of old weeks.
    """
    old = (v for v in registered if v.model_id and v.created < before and v.model_id not in needed)
    return sorted(old, key=lambda v: (v.created, v.number))
