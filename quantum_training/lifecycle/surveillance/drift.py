"""What a drift report compares: the reference and its reasons, read from the store. The asset itself: drift.py.

The reference and the champion's scores are no partition dependencies: every day would wait for a year of weeks.
"""

from typing import Any, NamedTuple

import pandas as pd

from quantum_training.lifecycle.decision.champion import current_champion
from quantum_training.lifecycle.records import SHADOW_SCORES, WeeklyDecision, read_records
from quantum_training.lifecycle.training.versions import versions_of
from quantum_training.market.periods import WEEK, Key, month_of, week_of
from quantum_training.monitoring.calibration import RECENT_WEEKS, ColumnMeasurement, measure
from quantum_training.monitoring.column_faults import Kind
from quantum_training.monitoring.drift import DriftReport, assess_drift
from quantum_training.monitoring.severity import Severity
from quantum_training.resources.events.payloads import DriftDetected, Event, event
from quantum_training.resources.store.store import Store, StoreError
from quantum_training.selection.harm import Harm, harm_is_building
from quantum_training.settings.settings import Settings

WATCHED: dict[str, Kind] = {"target": "prediction", "gross_return": "residual"}
NANOSECOND = pd.Timedelta("1ns")


class Reference(NamedTuple):
    """The weeks that a day is compared with end at `end`; `champion` traded the day before, `harm` is its newest."""

    end: pd.Timestamp
    why: str
    champion: str | None
    harm: Harm | None


class Day(NamedTuple):
    """What was compared for one partition, and what came of it. `features` and `window` are the frames of features."""

    reference: Reference
    measured: list[ColumnMeasurement]
    report: DriftReport
    predictions: dict[str, Any]
    record: dict[str, Any]
    features: pd.DataFrame
    window: pd.DataFrame


def compare(store: Store, settings: Settings, key: Key) -> Day:
    """Compare the week before a day with the reference. StoreError where features are not stored up to the day."""
    last = month_of(key.start - NANOSECOND)
    covered = store.attributes("features", key.symbol, last).get("covered_until")
    if covered is None or pd.Timestamp(covered) < key.start:
        raise StoreError(
            f"{key.symbol}: features are needed until {key.start}, but {last} "
            + (f"reaches only {covered}" if covered else "is not stored")
            + "; run the job market_data for this month first"
        )
    policy = settings.drift
    reference = choose_reference(store, settings, key)
    start = reference.end - policy.reference_windows * policy.window
    since = max(reference.end, key.start - RECENT_WEEKS * policy.window)
    old, new = (read_features(store, key.symbol, *span) for span in ((start, reference.end), (since, key.start)))
    measured = measure(old, new, reference.end, key.start, policy, "feature")
    scored, predictions = measure_predictions(store, settings, key, reference)
    measured += scored
    report = assess_drift(measured, policy, harm_is_building(reference.harm, settings.rollout.harm_fraction))
    window = new.loc[key.start - policy.window :]
    record = {
        **report.model_dump(mode="json"),
        "rule": policy.rule,
        "window": {**_bars(window), "end": key.start.isoformat()},
        "reference": {**_bars(old), "end": reference.end.isoformat(), "why": reference.why},
        "predictions": predictions,
    }
    return Day(reference, measured, report, predictions, record, old, window)


def choose_reference(store: Store, settings: Settings, key: Key) -> Reference:
    """Where the reference of a day ends: where the champion took office, else where the newest version was trained.

    The champion is the one that traded the bar before the day, so that a report of a Monday is the same before and
    after that week's decision. The two windows that are tested never belong to the reference.
    """
    windows = key.start - 2 * settings.drift.window
    records = read_records(store, WeeklyDecision, key.symbol, (key.start - NANOSECOND).strftime("%Y-%m-%d"))
    champion, office = current_champion(records) if records else (None, windows)
    if champion:
        end, why = office, f"the champion {champion} took office on {office:%Y-%m-%d}"
    else:
        recipes = settings.symbols[key.symbol].recipes
        known = [v.as_of for recipe in recipes for v in versions_of(store, key.symbol, recipe, key.period)]
        trained = max((as_of for as_of in known if as_of <= key.start - settings.drift.window), default=None)
        end = trained or windows
        why = f"no champion; the newest version is as of {trained:%Y-%m-%d %H:%M}" if trained else "no version yet"
    if end > windows:
        end, why = windows, f"{why}, the two windows that are tested left out"
    harm = records[max(records)].harm if records else None
    return Reference(end, f"weeks up to {end:%Y-%m-%d %H:%M}: {why}", champion, harm)


def measure_predictions(
    store: Store, settings: Settings, key: Key, reference: Reference
) -> tuple[list[ColumnMeasurement], dict[str, Any]]:
    """Measure target and gross return of the champion in the newest week that was scored in full before the day."""
    recipe = reference.champion
    end = week_of(key.start - NANOSECOND)
    said = {"recipe": recipe, "end": end.isoformat()}
    if recipe is None:
        return [], {**said, "reason": "left out: no champion, and the recipes' own are not watched"}
    if end.strftime("%Y-%m-%d") not in store.periods(SHADOW_SCORES, key.symbol):
        return [], {**said, "reason": f"left out: {SHADOW_SCORES} of {end:%Y-%m-%d} are not stored"}
    policy = settings.drift
    before = min(reference.end, end - 2 * policy.window)
    start = before - policy.reference_windows * policy.window
    old, new = (
        read_predictions(store, key.symbol, recipe, *span)
        for span in ((start, before), (max(before, end - RECENT_WEEKS * policy.window), end))
    )
    measured = [
        one for kind in WATCHED.values() for one in measure(old[[kind]], new[[kind]], before, end, policy, kind)
    ]
    why = f"{recipe} up to {end:%Y-%m-%d}, against its scores before {before:%Y-%m-%d}"
    return measured, {**said, "reason": why, "reference": _bars(old)}


def read_features(store: Store, symbol: str, start: pd.Timestamp, end: pd.Timestamp) -> pd.DataFrame:
    """The stored features of [start, end). Months may differ in columns: that is a finding, not an error."""
    first, last = month_of(start), month_of(end - NANOSECOND)
    months = [p for p in store.periods("features", symbol) if first <= p <= last]
    return _between([store.read_frame("features", symbol, month) for month in months], start, end)


def read_predictions(store: Store, symbol: str, recipe: str, start: pd.Timestamp, end: pd.Timestamp) -> pd.DataFrame:
    """Target and gross return of a recipe on the scored bars of [start, end); both NaN where it decided nothing."""
    first, last = ((t + offset).strftime("%Y-%m-%d") for t, offset in ((start, NANOSECOND), (end, WEEK)))
    weeks = [p for p in store.periods(SHADOW_SCORES, symbol) if first <= p < last]
    frames = [store.read_frame(SHADOW_SCORES, symbol, week) for week in weeks]
    frames = [frame.loc[frame["strategy"] == recipe, [*WATCHED]] for frame in frames]
    scored = _between(frames, start, end).reindex(columns=[*WATCHED])
    return scored.where(scored["target"].notna()).rename(columns=WATCHED)


def _between(frames: list[pd.DataFrame], start: pd.Timestamp, end: pd.Timestamp) -> pd.DataFrame:
    if not frames:
        return pd.DataFrame(index=pd.DatetimeIndex([], tz="UTC"))
    return pd.concat(frames).loc[start : end - NANOSECOND]


def _bars(frame: pd.DataFrame) -> dict[str, Any]:
    first, last = (frame.index[i].isoformat() if len(frame) else None for i in (0, -1))
    return {"bars": len(frame), "first_bar": first, "last_bar": last}


def detected(key: Key, report: DriftReport, recipes: tuple[str, ...]) -> Event:
    """The event of a day that drifted: one per symbol, day and severity, however often it is looked at."""
    bad = [row for row in report.rows if row.severity > Severity.NONE]
    said = DriftDetected(
        drift_type=", ".join(sorted({row.kind for row in bad})) or "feature",
        severity=report.severity.name,
        affected_models=recipes,
        psi_score=max((row.psi for row in bad if row.psi is not None), default=None),
        recommendation=" ".join(report.recommendation),
        detected_at=key.start,
    )
    return event(key.symbol, said, f"drift/{key.period}/{report.severity.name}")
