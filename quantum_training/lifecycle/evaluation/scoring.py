"""The shadow scores of a week: what every recipe and baseline would have earned on its bars.

The accounting is trading/scoring.py; what becomes of the scores is decision/.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

import pandas as pd

from quantum_training.lifecycle.market_history import INPUTS, Bars, MarketHistory
from quantum_training.lifecycle.records import SHADOW_SCORES
from quantum_training.lifecycle.training.version_loader import Load, VersionLoader
from quantum_training.lifecycle.training.versions import versions_of
from quantum_training.market.periods import Key
from quantum_training.resources.registry.errors import RegistryError
from quantum_training.resources.store.store import Written
from quantum_training.trading.baselines import BASELINES, decide
from quantum_training.trading.scoring import Decisions, Version, decisions, score


class ScoredWeek(NamedTuple):
    """The scores of a week; both None if the stored ones were kept. not_loaded: versions without a model.

    restated: what was restated of its bars since they were stored; returns stay but for the last digits and fixed fees.
    """

    scores: pd.DataFrame | None
    written: Written | None
    not_loaded: list[str]
    restated: Sequence[str] = ()


def score_week(history: MarketHistory, week: pd.Timestamp, load: VersionLoader) -> ScoredWeek:
    """Score the bars of the week before the Monday `week` and store the scores; of bars of several days, those that
    closed in it.

    Each bar is decided by the newest accepted version with as_of <= its open. If versions that decided the stored
    scores have been deleted since, the stored scores are kept. ValueError if they were decided on other bars or
    features and no restatement explains it, or if no bar lies before the week. RegistryError if no version of the
    symbol can be loaded. StoreError if bars, features or a feature set of the symbol's recipes are not stored.
    """
    key, start = Key(history.symbol, week), history.scored_from(week)
    bars = history.bars(history.first_month_for_scores(start), week)
    history.require_sets(history.first_month(start, history.lookback_bars + 1), week)
    if bars.candles.index[0] >= start:
        raise ValueError(f"{key}: no bar before {start} is stored; the first week that can be scored is later")
    recipes = history.market.recipes
    versions = {recipe: versions_of(history.store, history.symbol, recipe, key.period) for recipe in recipes}
    strategies = {recipe: decisions(*bars, versions[recipe], start, load) for recipe in recipes}
    deciding = {m for decided in strategies.values() for m in decided.model_id.unique() if m}
    is_scored = key.period in history.scored_weeks()
    restated = history.restatements_since(start) if is_scored else ()
    inputs = history.inputs_hash(bars, pd.DatetimeIndex(bars.candles.loc[start:].index))
    if lost := _versions_in_stored_scores(history, key.period, deciding & {*load.deleted}):
        if not restated:
            _assert_same_inputs(history, key, inputs, [load.errors[model_id] for model_id in lost])
        return ScoredWeek(None, None, sorted(lost), restated)
    if deciding and deciding <= load.errors.keys():
        assert_registry_reachable(history.symbol, versions, load.load_or_raise, deciding)
    scores = score(
        bars.candles, start, {**strategies, **_baselines(bars)}, history.market.costs, history.market.account
    )
    scores = pd.concat([scores, *_removed_recipes(history, key.period, {*scores["strategy"]})])
    written = history.store.write_frame(SHADOW_SCORES, key.symbol, key.period, scores, {INPUTS: inputs})
    return ScoredWeek(scores, written, sorted(deciding & load.errors.keys()), restated)


def _baselines(bars: Bars) -> dict[str, Decisions]:
    """The decisions of the baselines, which have no version."""
    positions = {name: decide(name, bars.candles).shift(1) for name in BASELINES}
    return {name: Decisions(position, pd.Series("", bars.candles.index)) for name, position in positions.items()}


def _removed_recipes(history: MarketHistory, week: str, scored: Collection[str]) -> list[pd.DataFrame]:
    """The stored rows of the week's other strategies, as they are: of recipes that are no longer configured.

    Their record stays, also as trials of the deflated Sharpe ratio, if the week is scored again.
    """
    if week not in history.scored_weeks():
        return []
    stored = history.scores(week)
    removed = stored[~stored["strategy"].isin(scored)]
    return [removed] if len(removed) else []


def _versions_in_stored_scores(history: MarketHistory, week: str, model_ids: Collection[str]) -> list[str]:
    """Those of these versions that decided a bar of the stored scores of the week."""
    if not model_ids or week not in history.scored_weeks():
        return []
    scores = history.scores(week)
    decided = scores.loc[scores["model_id"].isin(model_ids) & scores["target"].notna(), "model_id"]
    return [str(model_id) for model_id in decided.unique()]


def _assert_same_inputs(history: MarketHistory, key: Key, inputs: str, errors: list[str]) -> None:
    """ValueError if the stored scores of the week were decided on other inputs. errors: of the deleted versions."""
    if history.scored_inputs_hash(key.period) != inputs:
        raise ValueError(
            f"{key}: bars or features were revised, but versions that decided this week are gone; its scores stand "
            f"until the partitions of their models have run again: {'; '.join(errors)}"
        )


def assert_registry_reachable(
    symbol: str, versions: Mapping[str, Sequence[Version]], load: Load, failed: Collection[str]
) -> None:
    """RegistryError if, except for `failed`, none of the two newest versions of any recipe can be loaded.

    Then the registry itself does not work, and the recipes are not to blame.
    """
    newest = {version.model_id for of_recipe in versions.values() for version in of_recipe[-2:]}
    for model_id in newest - {*failed}:
        try:
            load(model_id)
        except RegistryError:
            continue
        return
    raise RegistryError(
        f"{symbol}: neither version {', '.join(sorted(failed))} nor another can be loaded: look after MLflow and its "
        "artefacts, then run this again; nothing was decided"
    )
