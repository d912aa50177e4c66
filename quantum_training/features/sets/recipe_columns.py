"""Which feature sets and columns the `features` of a recipe name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from quantum_training.features.indicators import FEATURES
from quantum_training.features.sets.feature_set import DEFAULT, SEPARATOR, FeatureSet


def sets_of(chosen: Sequence[str], sets: Mapping[str, FeatureSet]) -> dict[str, FeatureSet]:
    """The sets that these entries of a recipe's `features` name, as a whole or by one of their columns."""
    used = {entry.partition(SEPARATOR)[0] for entry in chosen}
    return {name: feature_set for name, feature_set in sets.items() if name in used}


def columns_of(chosen: Sequence[str], sets: Mapping[str, FeatureSet]) -> tuple[str, ...]:
    """The columns that these entries of a recipe's `features` name, each once; none: FEATURES.

    An entry is `default`, a set, or a single column, as `rsi_14` or `momentum__slope`.
    """
    columns: dict[str, None] = {}
    for entry in chosen or (DEFAULT,):
        if entry == DEFAULT:
            columns |= dict.fromkeys(FEATURES)
        elif entry in sets:
            columns |= dict.fromkeys(sets[entry].columns(entry))
        else:
            columns[entry] = None
    return tuple(columns)
