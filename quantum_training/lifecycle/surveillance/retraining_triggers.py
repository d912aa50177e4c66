"""Why a symbol's recipes should be trained now, as the store tells it. Nothing is computed and nothing started here."""

from __future__ import annotations

from typing import Any, NamedTuple

import pandas as pd

from quantum_training.lifecycle.market_history import features_available_until
from quantum_training.lifecycle.surveillance import run_priorities
from quantum_training.lifecycle.surveillance.decay import ASSET as DECAY
from quantum_training.lifecycle.surveillance.drift import ASSET as DRIFT
from quantum_training.lifecycle.surveillance.drift import NANOSECOND
from quantum_training.lifecycle.training.versions import asset_name
from quantum_training.market.calendars import expected_open_times
from quantum_training.monitoring.severity import Severity
from quantum_training.resources.store.store import Store
from quantum_training.settings.retraining import RetrainingPolicy
from quantum_training.settings.settings import Settings

NEVER = pd.Timestamp(0, tz="UTC")


class Trigger(NamedTuple):
    """Something that calls for training.

    key: the same cause has the same key, and is met once. since: a version as of then or later has met it already.
    trigger: SCHEDULED, DRIFT_DETECTED or PERFORMANCE_DECAY. urgency: the priority of its run. recipes: none named means
    all of the symbol.
    """

    symbol: str
    key: str
    trigger: str
    urgency: int
    reason: str
    since: pd.Timestamp
    recipes: tuple[str, ...] = ()


def drift_trigger(store: Store, symbol: str, policy: RetrainingPolicy) -> Trigger | None:
    """The newest drift report of a symbol, where it calls for training."""
    day, report = newest_record(store, DRIFT, symbol)
    if report is None:
        return None
    severity, since = Severity[report["severity"]], pd.Timestamp(day, tz="UTC")
    if severity < Severity.MODERATE or broken(report):
        return None
    if severity < Severity[policy.drift_severity]:
        since -= pd.Timedelta(days=policy.moderate_after_days)
    reason = f"{severity.name} drift on {day}: {report['reason']}"
    return Trigger(
        symbol, f"{symbol}|{day}|{severity.name}", "DRIFT_DETECTED", run_priorities.BY_SEVERITY[severity], reason, since
    )


def broken(report: dict[str, Any]) -> bool:
    """Does a drift report find data that are wrong, not merely unusual?"""
    return report["severity"] == Severity.CRITICAL.name and any(row["fault"] for row in report["rows"])


def decay_trigger(store: Store, symbol: str) -> Trigger | None:
    """The newest decay report of a symbol, where its champion has decayed.

    The refresh as of that week saw the same bars as the report, so only a later version meets it.
    """
    week, report = newest_record(store, DECAY, symbol)
    if report is None or report["status"] != "DECAYED":
        return None
    since = pd.Timestamp(week, tz="UTC") + NANOSECOND
    reason = f"{report['recipe']} decayed in the week of {week}: {report['reason']}"
    return Trigger(symbol, f"{symbol}|{week}|DECAYED", "PERFORMANCE_DECAY", run_priorities.DECAY, reason, since)


def interval_trigger(store: Store, settings: Settings, symbol: str, policy: RetrainingPolicy) -> Trigger | None:
    """The recipes of a symbol whose newest version lacks as many stored bars or minutes as the policy allows."""
    market = settings.symbols[symbol]
    asked = {r: t for r in market.recipes if (t := policy.training(r)).every_bars or t.interval_minutes}
    until = features_available_until(store, symbol) if asked else None
    if until is None:
        return None
    due = {}
    for recipe, training in asked.items():
        seen = newest_as_of(store, symbol, recipe)
        if seen == NEVER or seen >= until:
            continue
        bars = len(expected_open_times(market.calendar, market.timeframe, seen, until))
        minutes = (until - seen) / pd.Timedelta(minutes=1)
        if (training.every_bars and bars >= training.every_bars) or (
            training.interval_minutes and bars and minutes >= training.interval_minutes
        ):
            due[recipe] = f"{bars} new bars for {recipe}"
    if not due:
        return None
    key = f"{symbol}|{until.isoformat()}|{','.join(due)}"
    return Trigger(symbol, key, "SCHEDULED", run_priorities.INTERVAL, ", ".join(due.values()), until, tuple(due))


def newest_record(store: Store, asset: str, symbol: str) -> tuple[str, dict[str, Any] | None]:
    """Period and record of the newest stored report of a symbol."""
    periods = store.periods(asset, symbol, "json")
    return (periods[-1], store.read_record(asset, symbol, periods[-1])) if periods else ("", None)


def newest_as_of(store: Store, symbol: str, recipe: str) -> pd.Timestamp:
    """Up to when the newest version of a recipe has seen the data, a refused one too; NEVER where there is none."""
    for period in reversed(store.periods(asset_name(recipe), symbol, "json")):
        record = store.read_record(asset_name(recipe), symbol, period)
        if record and record["versions"]:
            return max(pd.Timestamp(version["as_of"]) for version in record["versions"])
    return NEVER
