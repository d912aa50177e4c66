"""What a version is fitted on: the training window, and what its algorithm is given beside it.

The market for those that learn by trading or from consecutive bars, the other recipes for an ensemble, the other
symbols for a pool.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from quantum_training.features.indicators import FEATURES
from quantum_training.features.labels import make_labels
from quantum_training.features.pool import pool
from quantum_training.features.windows import InsufficientData, Window, build_window
from quantum_training.lifecycle.market_history import features_available_until, first_month_needed, read_bars
from quantum_training.lifecycle.training.ensemble_members import Seen, members_of, walk_forward
from quantum_training.lifecycle.training.pools import pool_of
from quantum_training.lifecycle.training.versions import versions_of
from quantum_training.market.periods import WEEK
from quantum_training.market.timeframe import known_at
from quantum_training.models.contract import Model, TrainingContext, algorithm
from quantum_training.resources.registry.errors import RegistryError, VersionDeleted
from quantum_training.resources.store.store import Store, StoreError, content_hash
from quantum_training.settings.paths import under_dagster_home
from quantum_training.settings.schema import Recipe
from quantum_training.settings.settings import Settings
from quantum_training.trading.baselines import BASELINES, decide
from quantum_training.trading.episodes import Market
from quantum_training.trading.scoring import Version, decisions

ABILITIES = ("warm_start", "replay")
MOST_LAGS = 200
SHADOW = "shadow"
"""Name of the recipe's own record in a replay."""


class TrainingInputs(NamedTuple):
    """What a version is fitted on.

    practice: what the fit is given. made_of: what it adds to a version's identity beside the window.
    rows: features of the symbol's own bars, to try the version on. left_out: members or symbols that could not be used,
    and why. gone: versions that it would have gone on from and that are not in MLflow any more.
    """

    window: Window
    practice: TrainingContext
    made_of: dict[str, Any]
    rows: pd.DataFrame
    left_out: dict[str, str]
    gone: tuple[str, ...] = ()


def lesson(
    store: Store,
    settings: Settings,
    symbol: str,
    name: str,
    as_of: pd.Timestamp,
    earlier: Sequence[Version],
    load: Callable[[str], Model],
    seen: Seen,
) -> TrainingInputs:
    """The lesson for a fit of recipe `name` as of `as_of`. earlier: its accepted versions before. load: the model of
    any of the symbol's versions. seen: of a run, so that it decides no week of a member twice.

    InsufficientData where there is too little to learn from. ValueError where the recipe asks for what its algorithm
    cannot do.
    """
    recipe, market = settings.recipes[name], settings.symbols[symbol]
    cls = algorithm(recipe.algorithm)
    if unable := [a for a in ABILITIES if getattr(recipe, a) and a not in cls.traits.capabilities]:
        raise ValueError(f"recipes.{name}: {recipe.algorithm} knows no {', '.join(unable)}; remove it from the recipe")
    if recipe.members and not cls.traits.is_ensemble:
        raise ValueError(f"recipes.{name}: {recipe.algorithm} combines nothing; remove members from the recipe")
    if cls.traits.is_pooled:
        return pooled(store, settings, symbol, name, as_of)
    window = training_window(store, settings, symbol, recipe, as_of)
    if not cls.traits.needs_market:
        rows = pd.DataFrame(window.full_x, window.full_times, list(window.columns))
        return TrainingInputs(window, TrainingContext(window), {}, rows, {})
    first = first_month_needed(market, window.full_times[0] - WEEK, max(cls.memory, MOST_LAGS) + 2)
    candles, features = (
        known_at(read_bars(store, asset, symbol, first, as_of), as_of, market.timeframe)
        for asset in ("candles", "features")
    )
    made_of: dict[str, Any] = {
        "market": content_hash(candles[["open", "close"]]),
        "costs": market.costs.model_dump(),
        "account": market.account.model_dump(),
    }
    newest = replay = record = None
    members: dict[str, Model] = {}
    left_out: dict[str, str] = {}
    gone: dict[str, None] = {}

    def known(model_id: str) -> Model | None:
        try:
            return load(model_id)
        except VersionDeleted:
            gone[model_id] = None
            return None
        except RegistryError:  # as in the shadow, a version that cannot be loaded stands in nobody's way
            return None

    if recipe.warm_start:
        found = ((version.model_id, known(version.model_id)) for version in reversed(earlier))
        made_of["newest"], newest = next((pair for pair in found if pair[1] is not None), (None, None))
    if recipe.replay:
        replay = historical_positions(candles, features, window, earlier, known)
        made_of["replay"] = content_hash(replay)
    if cls.traits.is_ensemble:
        ids = {}
        for member in members_of(settings, name):
            versions = [v for v in versions_of(store, symbol, member) if v.as_of <= as_of]
            if member not in market.recipes:
                left_out[member] = f"no recipe of {symbol}"
            elif not versions:
                left_out[member] = "it has no version yet"
            elif (model := known(versions[-1].model_id)) is None:
                left_out[member] = f"its version {versions[-1].model_id} cannot be loaded"
            else:
                members[member], ids[member] = model, versions[-1].model_id
        span = (window.full_times[0], as_of, candles, features, known, seen)
        record = pd.DataFrame({m: walk_forward(store, settings, symbol, m, *span) for m in members})
        made_of |= {"members": ids, "record": content_hash(record)}
    practice = TrainingContext(
        window,
        market=Market(candles, market.costs, market.account),
        warm_start_from=newest,
        replay=replay,
        features=features,
        horizon=recipe.label.horizon,
        members=members,
        member_positions=record,
    )
    rows = features.reindex(window.full_times).join(candles[["open", "close"]])
    return TrainingInputs(window, practice, made_of, rows, left_out, (*gone,))


def training_window(store: Store, settings: Settings, name: str, recipe: Recipe, as_of: pd.Timestamp) -> Window:
    """The labelled, purged bars that a fit as of `as_of` may see. InsufficientData where they are too few."""
    symbol = settings.symbols[name]
    rows = settings.training_batch_size or recipe.window_bars
    first = first_month_needed(symbol, as_of, rows + recipe.label.span_bars)
    candles = known_at(read_bars(store, "candles", name, first, as_of), as_of, symbol.timeframe)
    features = known_at(read_bars(store, "features", name, first, as_of), as_of, symbol.timeframe)
    return build_window(
        features,
        make_labels(
            candles, recipe.label, symbol.costs.round_trip(candles["close"].to_numpy(), symbol.account.capital)
        ),
        as_of=as_of,
        columns=recipe.features or FEATURES,
        max_rows=rows,
        validation_fraction=recipe.validation_fraction,
        min_rows=settings.min_training_data_points,
    )


def pooled(store: Store, settings: Settings, symbol: str, name: str, as_of: pd.Timestamp) -> TrainingInputs:
    """The windows of all symbols of the pool as one.

    A symbol whose bars are too few or not stored is left out. One whose bars are late takes part with what is stored:
    it must not stop the others. StoreError where the symbol's own bars are not stored. InsufficientData where no symbol
    has enough.
    """
    recipe, market = settings.recipes[name], settings.symbols[symbol]
    windows, left_out = {}, {}
    for peer in pool_of(settings, symbol, name):
        until = as_of if peer == symbol else features_available_until(store, peer)
        if until is None:
            left_out[peer] = "no bars are stored"
            continue
        if until < as_of:
            left_out[peer] = f"its bars after {until}; run the job market_data"
        try:
            windows[peer] = training_window(store, settings, peer, recipe, min(until, as_of))
        except (InsufficientData, StoreError) as error:
            if peer == symbol and isinstance(error, StoreError):
                raise
            left_out[peer] = str(error)
    if not windows:
        raise InsufficientData(f"no symbol of the pool has enough bars: {left_out}", 0, 1)
    window = pool(windows, recipe.validation_fraction)
    left_out |= {peer: "no row before the validation starts" for peer in windows if peer not in window.normalisers}
    first = first_month_needed(market, as_of, recipe.window_bars)
    own = known_at(read_bars(store, "features", symbol, first, as_of), as_of, market.timeframe)
    rows = own[list(recipe.features or FEATURES)].dropna()
    if rows.empty:
        raise InsufficientData(f"no whole row of features known at {as_of}, need 1", 0, 1)
    return TrainingInputs(window, TrainingContext(window), {}, rows, left_out)


def historical_positions(
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


def checkpoint_dir(settings: Settings, model_id: str) -> Path:
    """Where the training of this version keeps what it needs to go on after it was killed."""
    return Path(settings.training_state_root or under_dagster_home("training_state")) / model_id
