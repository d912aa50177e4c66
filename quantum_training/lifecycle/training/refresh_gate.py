"""The refresh gate: compares a version that was just trained with the version it would replace.

The rules of the comparison are in selection/refresh.py.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import pandas as pd

from quantum_training.lifecycle.market_history import MarketHistory
from quantum_training.market.periods import WEEK
from quantum_training.models.contract import Model
from quantum_training.resources.registry.errors import RegistryOutage, VersionDeleted
from quantum_training.selection.refresh import FIRST, Refresh, RefreshComparison, judge_refresh
from quantum_training.trading.scoring import Version, decisions

TRAINED, REFUSED = "trained", "refused"
"""Outcomes of a week in which a version was trained: it may trade, or the gate refused it."""


class Candidate(NamedTuple):
    """A version that was just trained. training_start: open time of its first training bar.

    recorded: the verdict of an earlier run on the same version, None if this is the first.
    """

    version: Version
    model: Model
    training_start: pd.Timestamp
    recorded: Refresh | None = None


def compare_versions(
    history: MarketHistory,
    incumbent: Version | None,
    candidate: Candidate,
    load: Callable[[str], Model],
) -> Refresh:
    """Compare a candidate with the accepted version before it, None for a recipe's first version.

    load: the incumbent's model by its model_id. A candidate is accepted if the incumbent cannot be loaded or cannot
    decide any more; if the incumbent was deleted after an earlier comparison, that verdict is repeated.
    StoreError if bars up to the candidate's as_of are missing, RegistryOutage if MLflow cannot be reached.
    """
    if incumbent is None:
        return FIRST
    market, policy, model = history.market, history.settings.refresh, candidate.model
    as_of = candidate.version.as_of
    start = as_of - policy.weeks * WEEK
    candles, features = history.known_bars(history.first_month(start - WEEK, model.lookback_bars + 2), as_of)
    if len(candles) < 2:
        return Refresh(accepted=True, reason="no bars to compare since the newest gap", against=incumbent.model_id)
    start = max(start, candles.index[1])

    def positions(version: Version, load: Callable[[str], Model]) -> pd.Series:
        """As if the version had traded all of these bars."""
        return decisions(candles, features, [version._replace(as_of=candles.index[0])], start, load).position

    candidate_positions = positions(candidate.version, lambda _: model)
    try:
        incumbent_positions = positions(incumbent, load)
    except RegistryOutage:
        raise
    except Exception as error:
        recorded = candidate.recorded
        if recorded and isinstance(error, VersionDeleted) and recorded.against == incumbent.model_id:
            return recorded
        reason = f"the version before it, {incumbent.model_id}, decides no more: {type(error).__name__}: {error}"
        return Refresh(accepted=True, reason=reason, against=incumbent.model_id)
    if model.is_stochastic:
        policy = policy.model_copy(update={"max_change": 1.0})
    shared = (candidate.training_start, incumbent.as_of)
    compared = RefreshComparison(candles, start, incumbent_positions, candidate_positions, shared)
    refresh = judge_refresh(policy, compared, market.costs, market.account)
    return refresh.model_copy(update={"against": incumbent.model_id})


def outcome_of(accepted: bool) -> str:
    """What a week's record and metadata call a training that gave a version."""
    return TRAINED if accepted else REFUSED


def refresh_tag(refresh: Refresh) -> str:
    """The value of a version's tag `refresh` in MLflow."""
    return f"{'accepted' if refresh.accepted else REFUSED}: {refresh.reason}"
