"""Decay reports of weeks: whether the champion still earns what its record before office lets one expect.

The statistics: monitoring/decay.py.
"""

from collections.abc import Iterable, Mapping
from functools import cache

import pandas as pd

from quantum_training.lifecycle.decision.champion import current_champion, decision_policy
from quantum_training.lifecycle.market_history import MarketHistory
from quantum_training.lifecycle.records import WeeklyDecay, WeeklyDecision, read_records
from quantum_training.market.calendars import periods_per_year
from quantum_training.market.periods import WEEK, Key
from quantum_training.market.timeframe import opens_before
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
from quantum_training.settings import Settings


def decay_reports(
    store: Store, events: EventBus, settings: Settings, symbol: str, keys: Iterable[Key]
) -> dict[str, WeeklyDecay]:
    """The reports of these weeks of a symbol. Each champion's tenure is calibrated once.

    ValueError if a week has no champion record.
    """
    keys = list(keys)
    last = max(key.period for key in keys)
    decisions = read_records(store, WeeklyDecision, symbol, last)
    scores = MarketHistory(store, settings, symbol).scores_by_week(last)
    payloads = [event.payload for event in events.inbox.find(MetricsUpdated.type, symbol)]
    measurements = [payload for payload in payloads if isinstance(payload, MetricsUpdated)]
    policy, promotion, market = settings.decay, decision_policy(settings, symbol), settings.symbols[symbol]

    @cache
    def record_of(recipe: str) -> pd.Series:
        return net_returns(recipe, scores)

    @cache
    def tenure_of(recipe: str, since: pd.Timestamp) -> Tenure:
        horizon = promotion.planned_days(since, since + policy.weeks * WEEK)
        days = min(periods_per_year(market.calendar, "1d"), promotion.periods)
        calendar = Calendar(promotion.periods, days, horizon, since - opens_before(since, market.timeframe))
        return start_tenure(recipe, since, record_of(recipe), calendar, policy)

    def assess(key: Key) -> Decay:
        recipe, since = current_champion({week: d for week, d in decisions.items() if week <= key.period})
        if recipe is None:
            return no_champion(policy)
        newest = newest_measurement(measurements, recipe, since, key.start + WEEK)
        live = None if newest is None else LiveMeasurement(pd.Timestamp(newest.measured_at), newest.metrics)
        return assess_decay(tenure_of(recipe, since), key.start, record_of(recipe), policy, live)

    reports = {}
    for key in keys:
        if key.period not in decisions:
            raise ValueError(f"{key} has no champion record; materialise champion of this week first")
        harm = decisions[key.period].harm
        reports[key.period] = WeeklyDecay(
            **assess(key).model_dump(),
            week=key.period,
            harm=harm,
            harm_is_building=harm_is_building(harm, settings.rollout.harm_fraction),
        )
    return reports


def net_returns(recipe: str, scores: Mapping[str, pd.DataFrame]) -> pd.Series:
    """Net returns of a recipe by open time from its first decision on, from shadow scores by week."""
    frames = [frame[frame["strategy"] == recipe] for frame in scores.values()]
    record = pd.concat(frames).sort_index()
    has_decision = record["target"].notna().to_numpy()
    return record["net_return"].iloc[has_decision.argmax() if has_decision.any() else len(record) :]


def newest_measurement(
    measurements: Iterable[MetricsUpdated], recipe: str, since: pd.Timestamp, until: pd.Timestamp
) -> MetricsUpdated | None:
    """The newest measurement of a recipe from `since` to before `until`; at equal times, the last to arrive."""
    in_time = [m for m in measurements if m.model_type == recipe and since <= pd.Timestamp(m.measured_at) < until]
    return max(reversed(in_time), key=lambda m: m.measured_at, default=None)
