"""Does a recipe work, and were the data whole? What of a symbol's week stands in doubt, read from store and registry.

What follows from a fault is decided in selection/champion.py; from broken data, in its guardrails.py and rollout.py.
"""

from collections.abc import Callable, Mapping

import numpy as np
import pandas as pd

from quantum_training.features.indicators import FEATURES
from quantum_training.lifecycle.evaluation.scoring import assert_registry_reachable
from quantum_training.lifecycle.market_history import Bars, MarketHistory
from quantum_training.lifecycle.records import SHADOW_SCORES
from quantum_training.market.periods import WEEK
from quantum_training.models.contract import Model
from quantum_training.monitoring.severity import Severity
from quantum_training.resources.registry.errors import RegistryError
from quantum_training.resources.store.store import Store
from quantum_training.settings.settings import Settings
from quantum_training.trading.scoring import Version, assign_versions, deciding_bars, positions_at

Load = Callable[[str], Model]
TOLERANCE = 1e-9
"""Largest difference of a position that is the same: models may round otherwise where bars come in another batch."""

MAX_UNDECIDED_SHARE = 0.5
"""Share of a week's bars, of those with a version and whole features, that a working recipe decides at least on."""


def faults(
    store: Store,
    settings: Settings,
    symbol: str,
    versions: Mapping[str, list[Version]],
    load: Load,
    week: str,
    recipe: str,
) -> list[str]:
    """Sentences on what does not work of a recipe at the start of a week; none where all does.

    It must have a version, which loads, as must those that decided in the week before; their positions on its bars must
    be the stored ones to TOLERANCE; and it must have decided on at least half of the bars that had whole features. What
    all recipes lack is nobody's fault: ValueError where the features are not those that the week was scored on,
    StoreError where they are not stored, RegistryError where no version of the symbol can be loaded.
    """
    newest = version_at(week, recipe, versions)
    if newest is None:
        return [f"{recipe} has no version as of {week}"]
    end = pd.Timestamp(week, tz="UTC")
    history = MarketHistory(store, settings, symbol)
    scores = store.read_frame(SHADOW_SCORES, symbol, week)
    own = scores[(scores["strategy"] == recipe) & (scores["model_id"] != "")]
    candles, features = history.bars(history.first_month_for_decisions(end - WEEK), end)
    filled = pd.DatetimeIndex(scores.index.unique().sort_values())
    if history.scored_inputs_hash(week) not in (None, history.inputs_hash(Bars(candles, features), filled)):
        raise ValueError(
            f"{symbol}: bars or features of the week before {week} were revised since it was scored; "
            f"materialise {SHADOW_SCORES} of {week} again"
        )
    seen = features.reindex(deciding_bars(candles.index, own.index))
    found, again = [], pd.Series(np.nan, own.index)
    for model_id in dict.fromkeys([*own["model_id"], newest]):
        try:
            model = load(model_id)
        except RegistryError as error:
            assert_registry_reachable(symbol, versions, load, {model_id})
            found.append(f"{recipe} cannot be loaded: {error}")
            continue
        rows = (own["model_id"] == model_id).to_numpy()
        if rows.any():
            bars = pd.DatetimeIndex(own.index[rows])
            again[rows] = positions_at(model, candles, features, deciding_bars(candles.index, bars), bars)
    differs = ~np.isclose(again, own["target"], rtol=0, atol=TOLERANCE, equal_nan=True)
    if differs.any() and not found:
        bar = own.index[differs][0]
        found.append(
            f"{differs.sum()} of {len(own)} positions of {recipe} do not reproduce, the first at {bar}: "
            f"{own['target'][bar]:.9g} is stored, {again[bar]:.9g} comes out"
        )
    columns = [*(settings.recipes[recipe].features or FEATURES)]
    owed = own["target"][seen[seen.columns.intersection(columns)].notna().all(axis=1).to_numpy()]
    if owed.isna().mean() > MAX_UNDECIDED_SHARE:
        found.append(f"{recipe} decided nothing on {owed.isna().sum()} of {len(owed)} bars that had their features")
    return found


def version_at(week: str, recipe: str | None, versions: Mapping[str, list[Version]]) -> str | None:
    """A recipe's newest version at the start of the week; None without one, or without a recipe."""
    if recipe is None or not versions.get(recipe):
        return None
    chosen = int(assign_versions(pd.DatetimeIndex([pd.Timestamp(week, tz="UTC")]), versions[recipe])[0])
    return versions[recipe][chosen].model_id if chosen >= 0 else None


def drift_before(store: Store, symbol: str, week: str) -> str | None:
    """Worst severity of the drift reports of the 7 days before a Monday.

    None where the report of the Sunday is not there or had too little history: it is the one that covers the week.
    """
    days = pd.date_range(pd.Timestamp(week) - WEEK, periods=7).strftime("%Y-%m-%d")
    reports = [store.read_record("drift_report", symbol, day) for day in days]
    worst = max((Severity[r["severity"]] for r in reports if r), default=Severity.NONE)
    measured = reports[-1] is not None and reports[-1]["outcome"] == "measured"
    return worst.name if measured or worst >= Severity.SEVERE else None
