"""Whether the champion still earns what its record before office lets one expect. The statistics: monitoring.decay."""

from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any

import pandas as pd

from quantum_training.lifecycle.decision.champion import current_champion, decision_policy
from quantum_training.lifecycle.market_history import MarketHistory
from quantum_training.lifecycle.records import WeeklyDecision, read_records
from quantum_training.market.calendars import periods_per_year
from quantum_training.market.periods import WEEK, Key
from quantum_training.monitoring.decay import (
    Calendar,
    Decay,
    LiveMeasurement,
    Tenure,
    assess_decay,
    no_champion,
    start_tenure,
)
from quantum_training.resources.events.bus import EventBus
from quantum_training.resources.events.payloads import MetricsUpdated
from quantum_training.resources.store.store import Store
from quantum_training.selection.harm import harm_is_building
from quantum_training.settings.settings import Settings


def reports_of(
    store: Store, events: EventBus, settings: Settings, symbol: str, keys: Iterable[Key]
) -> dict[str, dict[str, Any]]:
    """The record of each of these weeks of a symbol; what one champion's office needs is computed once.

    ValueError where a week has no champion record.
    """
    keys = list(keys)
    last = max(key.period for key in keys)
    champions, scores = (
        read_records(store, WeeklyDecision, symbol, last),
        MarketHistory(store, settings, symbol).scores_by_week(last),
    )
    measurements = [event.payload for event in events.inbox.find(MetricsUpdated.type, symbol)]
    measured = [m for m in measurements if isinstance(m, MetricsUpdated)]
    policy, terms = settings.decay, decision_policy(settings, symbol)

    @cache
    def record_of(recipe: str) -> pd.Series:
        return net_returns(recipe, scores)

    @cache
    def office_of(recipe: str, since: pd.Timestamp) -> Tenure:
        horizon = terms.planned_days(since, since + policy.weeks * WEEK)
        days = periods_per_year(settings.symbols[symbol].calendar, "1d")
        return start_tenure(recipe, since, record_of(recipe), Calendar(terms.periods, days, horizon), policy)

    def report(key: Key) -> Decay:
        if key.period not in champions:
            raise ValueError(f"{key} has no champion record; materialise champion of this week first")
        recipe, since = current_champion({week: record for week, record in champions.items() if week <= key.period})
        if recipe is None:
            return no_champion(policy)
        newest = newest_measured(measured, recipe, since, key.start + WEEK)
        measurement = None if newest is None else LiveMeasurement(pd.Timestamp(newest.measured_at), newest.metrics)
        return assess_decay(office_of(recipe, since), key.start, record_of(recipe), policy, measurement)

    return {
        key.period: {
            "week": key.period,
            **report(key).model_dump(mode="json"),
            "harm": harm.model_dump() if (harm := champions[key.period].harm) else None,
            "harm_is_building": harm_is_building(champions[key.period].harm, settings.rollout.harm_fraction),
        }
        for key in keys
    }


def net_returns(recipe: str, scores: Mapping[str, pd.DataFrame]) -> pd.Series:
    """Net returns of a recipe by open time from its first decision on, from score records by week."""
    frames = [frame[frame["strategy"] == recipe] for frame in scores.values()]
    record = pd.concat(frames).sort_index()
    decided = record["target"].notna().to_numpy()
    return record["net_return"].iloc[decided.argmax() if decided.any() else len(record) :]


def newest_measured(
    measured: Iterable[MetricsUpdated], recipe: str, since: pd.Timestamp, until: pd.Timestamp
) -> MetricsUpdated | None:
    """The newest measurement of a recipe from `since` to before `until`; of the same instant, the last to come in."""
    known = [m for m in measured if m.model_type == recipe and since <= pd.Timestamp(m.measured_at) < until]
    return max(reversed(known), key=lambda m: m.measured_at, default=None)
