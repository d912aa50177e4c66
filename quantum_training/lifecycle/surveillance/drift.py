"""Measuring the drift of a day: its features, and the champion's predictions and residuals, against a reference.

The statistics: monitoring/drift.py. Reference and scores are read from the store instead of being partition
dependencies, because every day would otherwise wait for a year of weeks.
"""

from collections.abc import Collection
from typing import Any, NamedTuple

import pandas as pd

from quantum_training.features.indicators import FEATURES as FEATURE_NAMES
from quantum_training.features.sets.feature_set import FeatureSetError
from quantum_training.lifecycle.decision.champion import current_champion
from quantum_training.lifecycle.feature_sets import with_sets
from quantum_training.lifecycle.market_history import MarketHistory
from quantum_training.lifecycle.market_identity import require_market
from quantum_training.lifecycle.records import (
    DRIFT_REPORT,
    FEATURES,
    SHADOW_SCORES,
    BarSpan,
    DailyDrift,
    ScoredPredictions,
    WeeklyDecision,
    read_record,
    read_records,
)
from quantum_training.lifecycle.stored_months import NANOSECOND
from quantum_training.lifecycle.training.ensemble_members import members_of
from quantum_training.lifecycle.training.versions import versions_of
from quantum_training.market.periods import WEEK, Key, month_of, week_of
from quantum_training.market.timeframe import opens_before
from quantum_training.monitoring.calibration import RECENT_WEEKS, ColumnMeasurement, measure
from quantum_training.monitoring.column_faults import Kind
from quantum_training.monitoring.drift import assess_drift
from quantum_training.monitoring.drift_heatmap import weekly_p
from quantum_training.monitoring.severity import Severity
from quantum_training.resources.events.payloads import DriftDetected, Event, event
from quantum_training.resources.store.store import Store, StoreError
from quantum_training.selection.harm import Harm, harm_is_building
from quantum_training.settings import Settings
from quantum_training.settings.schema import Recipe

MONITORED: dict[str, Kind] = {"target": "prediction", "gross_return": "residual"}
"""Columns of the champion's scores that are monitored, and their kind."""
RECENT_DAYS = 90
"""Reports that the newest one is drawn with."""


class Reference(NamedTuple):
    """The reference of a day: weeks up to `end`, chosen for the reason `why`.

    champion: who traded the bar before the day. harm: of the newest decision before the day.
    """

    end: pd.Timestamp
    why: str
    champion: str | None
    harm: Harm | None


class DriftComparison(NamedTuple):
    """The drift of a day.

    weekly_p: see `drift_heatmap.weekly_p`. reference_features, window_features: the features that were compared.
    """

    record: DailyDrift
    reference: Reference
    weekly_p: pd.DataFrame
    reference_features: pd.DataFrame
    window_features: pd.DataFrame


def measure_drift(store: Store, settings: Settings, key: Key) -> DriftComparison:
    """Compare the window before a day with its reference. StoreError if features are not stored up to the day."""
    _require_features(store, key)
    policy = settings.drift
    reference = choose_reference(store, settings, key)
    start = reference.end - policy.reference_windows * policy.window
    since = max(reference.end, key.start - RECENT_WEEKS * policy.window)
    history = MarketHistory(store, settings, key.symbol)
    columns = learned_columns(settings, key.symbol, reference.champion)
    old = read_features(history, start, reference.end, columns)
    recent = read_features(history, since, key.start, columns)
    measurements = measure(old, recent, reference.end, key.start, policy, "feature")
    prediction_measurements, predictions = measure_predictions(store, settings, key, reference)
    measurements += prediction_measurements
    report = assess_drift(measurements, policy, harm_is_building(reference.harm, settings.rollout.harm_fraction))
    window = recent.loc[key.start - policy.window :]
    record = DailyDrift(
        **report.model_dump(),
        rule=policy.rule,
        window=_span(window, end=key.start.isoformat()),
        reference=_span(old, end=reference.end.isoformat(), why=reference.why),
        predictions=predictions,
    )
    p = weekly_p(measurements, reference.end, key.start, policy.window)
    return DriftComparison(record, reference, p, old, window)


def choose_reference(store: Store, settings: Settings, key: Key) -> Reference:
    """The reference of a day ends where the champion took office, or else at the as_of of the newest version.

    The champion is the one that traded the bar before the day, so that a report of a Monday is the same before and
    after that week's decision. The two windows that are tested never belong to the reference.
    """
    tested_from = key.start - 2 * settings.drift.window
    decisions = read_records(store, WeeklyDecision, key.symbol, (key.start - NANOSECOND).strftime("%Y-%m-%d"))
    champion, since = current_champion(decisions) if decisions else (None, tested_from)
    if champion:
        end, why = since, f"the champion {champion} took office on {since:%Y-%m-%d}"
    else:
        recipes = settings.symbols[key.symbol].recipes
        times = [v.as_of for recipe in recipes for v in versions_of(store, key.symbol, recipe, key.period)]
        as_of = max((time for time in times if time <= key.start - settings.drift.window), default=None)
        end = as_of or tested_from
        why = f"no champion; the newest version is as of {as_of:%Y-%m-%d %H:%M}" if as_of else "no version yet"
    if end > tested_from:
        end, why = tested_from, f"{why}, the two windows that are tested left out"
    harm = decisions[max(decisions)].harm if decisions else None
    return Reference(end, f"weeks up to {end:%Y-%m-%d %H:%M}: {why}", champion, harm)


def measure_predictions(
    store: Store, settings: Settings, key: Key, reference: Reference
) -> tuple[list[ColumnMeasurement], ScoredPredictions]:
    """Measure target and gross return of the champion in the newest week that was scored in full before the day."""
    recipe = reference.champion
    end = week_of(key.start - NANOSECOND)
    fields: dict[str, Any] = {"recipe": recipe, "end": end.isoformat()}
    if recipe is None:
        reason = "left out: no champion, and the recipes' own are not watched"
        return [], ScoredPredictions(**fields, reason=reason)
    history = MarketHistory(store, settings, key.symbol)
    if end.strftime("%Y-%m-%d") not in history.scored_weeks():
        reason = f"left out: {SHADOW_SCORES} of {end:%Y-%m-%d} are not stored"
        return [], ScoredPredictions(**fields, reason=reason)
    policy = settings.drift
    before = min(reference.end, end - 2 * policy.window)
    old = read_predictions(history, recipe, before - policy.reference_windows * policy.window, before)
    recent = read_predictions(history, recipe, max(before, end - RECENT_WEEKS * policy.window), end)
    measurements = [
        measurement
        for kind in MONITORED.values()
        for measurement in measure(old[[kind]], recent[[kind]], before, end, policy, kind)
    ]
    reason = f"{recipe} up to {end:%Y-%m-%d}, against its scores before {before:%Y-%m-%d}"
    return measurements, ScoredPredictions(**fields, reason=reason, reference=_span(old))


def learned_columns(settings: Settings, symbol: str, champion: str | None) -> tuple[str, ...]:
    """The columns that the champion learns from; without one, or if it combines others, those of all recipes."""
    recipes = {name: settings.recipes[name] for name in settings.symbols[symbol].recipes}
    if champion in recipes and not members_of(settings, champion):
        recipes = {champion: recipes[champion]}
    return tuple(dict.fromkeys(column for recipe in recipes.values() for column in known_columns(recipe)))


def known_columns(recipe: Recipe) -> tuple[str, ...]:
    """What a recipe learns from; the default features if a set cannot be imported, as its own asset reports."""
    try:
        return recipe.columns
    except FeatureSetError:
        return FEATURE_NAMES


def read_features(
    history: MarketHistory, start: pd.Timestamp, end: pd.Timestamp, columns: Collection[str]
) -> pd.DataFrame:
    """Those of the stored columns of [start, end) that are named; of bars of several days, those that closed then.

    Months may differ in columns: the report names that as a data fault.
    """
    store, symbol = history.store, history.symbol
    first, last = month_of(opens_before(start, history.market.timeframe)), month_of(end - NANOSECOND)
    months = [month for month in store.periods(FEATURES, symbol) if first <= month <= last]
    require_market(symbol, history.market, FEATURES, {m: store.attributes(FEATURES, symbol, m) for m in months})
    sets = history.settings.feature_sets(symbol)
    stored = [store.read_frame(FEATURES, symbol, month) for month in months]
    joined = [with_sets(store, history.settings, symbol, frame, sets) for frame in stored]
    frames = [frame[[column for column in frame if column in columns]] for frame in joined]
    return _between(frames, *(opens_before(time, history.market.timeframe) for time in (start, end)))


def read_predictions(history: MarketHistory, recipe: str, start: pd.Timestamp, end: pd.Timestamp) -> pd.DataFrame:
    """Target and gross return of a recipe on the scored bars of [start, end); NaN for bars without a decision."""
    first, last = ((t + offset).strftime("%Y-%m-%d") for t, offset in ((start, NANOSECOND), (end, WEEK)))
    frames = [history.scores(week) for week in history.scored_weeks() if first <= week < last]
    frames = [frame.loc[frame["strategy"] == recipe, [*MONITORED]] for frame in frames]
    opened = (opens_before(time, history.market.timeframe) for time in (start, end))
    scores = _between(frames, *opened).reindex(columns=[*MONITORED])
    return scores.where(scores["target"].notna()).rename(columns=MONITORED)


def drift_event(key: Key, record: DailyDrift, recipes: tuple[str, ...]) -> Event:
    """The event of a day with drift. Its id is the same for one symbol, day and severity: a rerun only repeats it."""
    drifted = [row for row in record.rows if row.severity > Severity.NONE]
    payload = DriftDetected(
        drift_type=", ".join(sorted({row.kind for row in drifted})) or "feature",
        severity=record.severity.name,
        affected_models=recipes,
        psi_score=max((row.psi for row in drifted if row.psi is not None), default=None),
        recommendation=" ".join(record.recommendation),
        detected_at=key.start,
    )
    return event(key.symbol, payload, f"drift/{key.period}/{record.severity.name}")


def _require_features(store: Store, key: Key) -> None:
    month = month_of(key.start - NANOSECOND)
    covered = store.attributes(FEATURES, key.symbol, month).get("covered_until")
    if covered is None or pd.Timestamp(covered) < key.start:
        raise StoreError(
            f"{key.symbol}: features are needed until {key.start}, but {month} "
            + (f"reaches only {covered}" if covered else "is not stored")
            + "; run the job market_data for this month first"
        )


def _between(frames: list[pd.DataFrame], start: pd.Timestamp, end: pd.Timestamp) -> pd.DataFrame:
    if not frames:
        return pd.DataFrame(index=pd.DatetimeIndex([], tz="UTC"))
    return pd.concat(frames).loc[start : end - NANOSECOND]


def _span(frame: pd.DataFrame, **fields: str) -> BarSpan:
    first, last = (frame.index[i].isoformat() if len(frame) else None for i in (0, -1))
    return BarSpan(bars=len(frame), first_bar=first, last_bar=last, **fields)


def recent_reports(store: Store, key: Key) -> dict[str, DailyDrift]:
    """The newest RECENT_DAYS reports up to a day, by day, oldest first."""
    days = [day for day in store.periods(DRIFT_REPORT, key.symbol, "json") if day <= key.period][-RECENT_DAYS:]
    reports = {day: read_record(store, DailyDrift, key.symbol, day) for day in days}
    return {day: report for day, report in reports.items() if report}
