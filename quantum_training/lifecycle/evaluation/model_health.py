"""Does a recipe work at the start of a week? Its versions must load, and decide as they did when the week was scored.

What follows from a fault is decided in selection/champion.py; from broken data, in its guardrails.py and rollout.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from quantum_training.lifecycle.evaluation.scoring import assert_registry_reachable
from quantum_training.lifecycle.market_history import Bars, MarketHistory
from quantum_training.lifecycle.records import SHADOW_SCORES, DailyDrift, read_record
from quantum_training.lifecycle.training.version_loader import Load
from quantum_training.market.periods import WEEK
from quantum_training.monitoring.severity import Severity
from quantum_training.resources.registry.errors import RegistryError
from quantum_training.resources.store.store import Store
from quantum_training.trading.scoring import Version, assign_versions, deciding_bars, positions_at

TOLERANCE = 1e-9
"""Largest difference between equal positions: a model may round differently if bars come in another batch."""

MAX_UNDECIDED_SHARE = 0.5
"""Largest share of a week's bars with a version and all features on which a working recipe may decide nothing."""

VersionsByRecipe = Mapping[str, Sequence[Version]]


def health_findings(
    history: MarketHistory, versions: VersionsByRecipe, load: Load, week: str, recipe: str
) -> list[str]:
    """Sentences on what does not work in a recipe at the start of a week; empty if everything works.

    The recipe must have a version. That version and those that decided in the week before must load; their positions on
    its bars must be the stored ones to TOLERANCE; and they must have decided on at least half of the bars with all
    features. Faults that concern all recipes are raised instead: ValueError if the features are not those that the week
    was scored on, StoreError if they are not stored, RegistryError if no version of the symbol can be loaded.
    """
    newest = version_at(week, recipe, versions)
    if newest is None:
        return [f"{recipe} has no version as of {week}"]
    end = pd.Timestamp(week, tz="UTC")
    scores = history.scores(week)
    decided = scores[(scores["strategy"] == recipe) & (scores["model_id"] != "")]
    bars = history.bars(history.first_month_for_decisions(history.scored_from(end)), end)
    _assert_inputs_unchanged(history, bars, week, pd.DatetimeIndex(scores.index.unique().sort_values()))

    findings, recomputed = [], pd.Series(np.nan, decided.index)
    for model_id in dict.fromkeys([*decided["model_id"], newest]):
        try:
            model = load(model_id)
        except RegistryError as error:
            assert_registry_reachable(history.symbol, versions, load, {model_id})
            findings.append(f"{recipe} cannot be loaded: {error}")
            continue
        rows = (decided["model_id"] == model_id).to_numpy()
        if rows.any():
            filled = pd.DatetimeIndex(decided.index[rows])
            recomputed[rows] = positions_at(model, *bars, deciding_bars(bars.candles.index, filled), filled)
    if not findings:
        findings += _differences(recipe, decided["target"], recomputed)
    columns = [*history.settings.recipes[recipe].columns]
    return findings + _undecided(recipe, decided["target"], bars, columns)


def _assert_inputs_unchanged(history: MarketHistory, bars: Bars, week: str, filled: pd.DatetimeIndex) -> None:
    """ValueError if bars or features were revised since the week was scored."""
    if history.scored_inputs_hash(week) not in (None, history.inputs_hash(bars, filled)):
        raise ValueError(
            f"{history.symbol}: bars or features of the week before {week} were revised since it was scored; "
            f"materialise {SHADOW_SCORES} of {week} again"
        )


def _differences(recipe: str, stored: pd.Series, recomputed: pd.Series) -> list[str]:
    """A sentence if recomputed positions differ from the stored ones, naming the first bar."""
    differs = ~np.isclose(recomputed, stored, rtol=0, atol=TOLERANCE, equal_nan=True)
    if not differs.any():
        return []
    bar = stored.index[differs][0]
    return [
        f"{differs.sum()} of {len(stored)} positions of {recipe} do not reproduce, the first at {bar}: "
        f"{stored[bar]:.9g} is stored, {recomputed[bar]:.9g} comes out"
    ]


def _undecided(recipe: str, stored: pd.Series, bars: Bars, columns: Sequence[str]) -> list[str]:
    """A sentence if the recipe decided nothing on too many of the bars that had all its features."""
    features = bars.features.reindex(deciding_bars(bars.candles.index, stored.index))
    model_features = features[features.columns.intersection(list(columns))]
    complete = stored.loc[model_features.notna().all(axis=1).to_numpy()]
    if complete.isna().mean() <= MAX_UNDECIDED_SHARE or complete.empty:
        return []
    return [f"{recipe} decided nothing on {complete.isna().sum()} of {len(complete)} bars that had their features"]


def version_at(week: str, recipe: str | None, versions: VersionsByRecipe) -> str | None:
    """A recipe's newest version at the start of the week; None without one, or without a recipe."""
    if recipe is None or not versions.get(recipe):
        return None
    monday = pd.DatetimeIndex([pd.Timestamp(week, tz="UTC")])
    number = int(assign_versions(monday, versions[recipe])[0])
    return versions[recipe][number].model_id if number >= 0 else None


def worst_drift_of_week(store: Store, symbol: str, week: str) -> str | None:
    """Worst severity of the drift reports of the 7 days before a Monday.

    None if the report of the Sunday, which covers the week, is missing or had too little history.
    """
    days = pd.date_range(pd.Timestamp(week) - WEEK, periods=7).strftime("%Y-%m-%d")
    reports = [read_record(store, DailyDrift, symbol, day) for day in days]
    worst = max((report.severity for report in reports if report), default=Severity.NONE)
    measured = reports[-1] is not None and reports[-1].outcome == "measured"
    return worst.name if measured or worst >= Severity.SEVERE else None
