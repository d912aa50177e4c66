"""The refresh gate: compare a new version of a recipe with the one before it. The rules: selection.refresh."""

from collections.abc import Callable, Mapping
from typing import Any

import pandas as pd

from quantum_training.lifecycle.market_history import first_month_needed, read_bars
from quantum_training.market.periods import WEEK
from quantum_training.market.timeframe import known_at
from quantum_training.models.contract import Model
from quantum_training.resources.registry.errors import RegistryOutage, VersionDeleted
from quantum_training.resources.store.store import Store
from quantum_training.selection.refresh import FIRST, Refresh, judge_refresh
from quantum_training.settings.settings import Settings
from quantum_training.trading.scoring import Version, decisions

TRAINED, REFUSED = "trained", "refused"


NUMBERS = ("change", "difference", "lower_bound", "margin")


def judge(
    store: Store,
    settings: Settings,
    symbol: str,
    older: Version | None,
    newer: Version,
    learnt_from: pd.Timestamp,
    model: Model,
    load: Callable[[str], Model],
    told: Mapping[str, Any] | None = None,
) -> Refresh:
    """Judge a version that was just trained against the accepted one before it, None for a recipe's first.

    learnt_from: open time of the newer version's first training bar. model: the newer one's; load: the older one's, by
    its model_id. told: what the record says of the newer one. An older one that cannot be loaded, or cannot decide any
    more, stands in nobody's way; where it was removed since the two were compared, what was found then stands.
    StoreError where bars up to the newer one's as_of are missing, RegistryOutage where the older one cannot be asked
    for.
    """
    if older is None:
        return FIRST
    market = settings.symbols[symbol]
    start = newer.as_of - settings.refresh.weeks * WEEK
    first = first_month_needed(market, start - WEEK, model.memory + 2)
    candles, features = (
        known_at(read_bars(store, asset, symbol, first, newer.as_of), newer.as_of, market.timeframe)
        for asset in ("candles", "features")
    )
    start = max(start, candles.index[1])

    def decided(version: Version, load: Callable[[str], Model]) -> pd.Series:
        """As if the version had traded all of these bars."""
        return decisions(candles, features, [version._replace(as_of=candles.index[0])], start, load).position

    after = decided(newer, lambda _: model)
    try:
        before = decided(older, load)
    except RegistryOutage:
        raise
    except Exception as error:
        if told and isinstance(error, VersionDeleted) and told["against"] == older.model_id:
            return Refresh.model_validate(told)
        reason = f"the version before it, {older.model_id}, decides no more: {type(error).__name__}: {error}"
        return Refresh(accepted=True, reason=reason, against=older.model_id)
    learnt = (learnt_from, older.as_of)
    policy = settings.refresh
    if model.is_stochastic:
        policy = policy.model_copy(update={"max_change": 1.0})
    judged = judge_refresh(policy, candles, start, before, after, learnt, market.costs, market.account)
    return judged.model_copy(update={"against": older.model_id})


def outcome_of(accepted: bool) -> str:
    """What a partition's record and metadata call a training that gave a version."""
    return TRAINED if accepted else REFUSED


def tag(judged: Refresh) -> str:
    """What a version's tag `refresh` says in MLflow."""
    return f"{'accepted' if judged.accepted else REFUSED}: {judged.reason}"
