"""What a recipe that learns by trading is given of a symbol's market, its earlier versions and their record."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from quantum_training.assets.loop import lookback_month, read_months
from quantum_training.features.windows import Window
from quantum_training.market.timeframe import known_at
from quantum_training.models.contract import Model, Practice, algorithm
from quantum_training.partitions import WEEK
from quantum_training.resources.registry import RegistryError
from quantum_training.resources.store import Store, content_hash
from quantum_training.settings import Settings, under_dagster_home
from quantum_training.trading.baselines import BASELINES, decide
from quantum_training.trading.episodes import Market
from quantum_training.trading.scoring import Version, decisions

ABILITIES = ("warm_start", "replay")
MOST_LAGS = 200
SHADOW = "shadow"
"""Name of the recipe's own record in a replay."""


class Lesson(NamedTuple):
    """A practice, None for an algorithm that learns from labels, and what it adds to a version's identity."""

    practice: Practice | None
    made_of: dict[str, Any]


def lesson(
    store: Store,
    settings: Settings,
    symbol: str,
    name: str,
    window: Window,
    as_of: pd.Timestamp,
    earlier: Sequence[Version],
    load: Callable[[str], Model],
) -> Lesson:
    """The practice for a fit of recipe `name` on `window`. earlier: its accepted versions before `as_of`.

    ValueError where the recipe asks for what its algorithm cannot do.
    """
    recipe, market = settings.recipes[name], settings.symbols[symbol]
    cls = algorithm(recipe.algorithm)
    if unable := [a for a in ABILITIES if getattr(recipe, a) and a not in cls.abilities]:
        raise ValueError(f"recipes.{name}: {recipe.algorithm} knows no {', '.join(unable)}; remove it from the recipe")
    if not cls.practises:
        return Lesson(None, {})
    first = lookback_month(market, window.full_times[0] - WEEK, max(cls.memory, MOST_LAGS) + 2)
    candles, features = (
        known_at(read_months(store, asset, symbol, first, as_of), as_of, market.timeframe)
        for asset in ("candles", "features")
    )
    made_of: dict[str, Any] = {
        "market": content_hash(candles[["open", "close"]]),
        "costs": market.costs.model_dump(),
        "account": market.account.model_dump(),
    }
    newest = replay = None

    def known(model_id: str) -> Model | None:
        try:
            return load(model_id)
        except RegistryError:  # as in the shadow, a version that cannot be loaded stands in nobody's way
            return None

    if recipe.warm_start:
        found = ((version.model_id, known(version.model_id)) for version in reversed(earlier))
        made_of["newest"], newest = next((pair for pair in found if pair[1] is not None), (None, None))
    if recipe.replay:
        replay = past_targets(candles, features, window, earlier, known)
        made_of["replay"] = content_hash(replay)
    return Lesson(Practice(Market(candles, market.costs, market.account), None, newest, replay), made_of)


def past_targets(
    candles: pd.DataFrame,
    features: pd.DataFrame,
    window: Window,
    earlier: Sequence[Version],
    load: Callable[[str], Model | None],
) -> pd.DataFrame:
    """What was held in the shadow on the window's bars, by the bar that filled it: a column per baseline and SHADOW.

    That holds the decisions of the recipe's earlier versions, each from its as_of on, as shadow_scores records them.
    They are computed again, because a range run trains all weeks before it scores the first.
    """
    targets = pd.DataFrame({name: decide(name, candles).shift(1) for name in BASELINES})
    if earlier:
        start = max(earlier[0].as_of, window.full_times[0])
        targets[SHADOW] = decisions(candles, features, earlier, start, load).position.reindex(candles.index)
    return targets.loc[window.full_times[0] :]


def state_folder(settings: Settings, model_id: str) -> Path:
    """Where the training of this version keeps what it needs to go on after it was killed."""
    return Path(settings.training_state_root or under_dagster_home("training_state")) / model_id
