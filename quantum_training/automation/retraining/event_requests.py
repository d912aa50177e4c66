"""What becomes of events from outside: a run, a trigger for retraining, a later look, or a dead letter.

Reading and acknowledging the events is sensors.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import dagster as dg
import pandas as pd

from quantum_training.automation.execution.priorities import priority_tag
from quantum_training.automation.jobs.asset_jobs import DECAY
from quantum_training.automation.jobs.retrain import RETRAIN, RETRAIN_OP
from quantum_training.lifecycle.decision.manual_actions import RefusedActionError, check_names
from quantum_training.lifecycle.records import WeeklyDecay
from quantum_training.lifecycle.surveillance.retraining_triggers import Trigger, newest_report
from quantum_training.lifecycle.surveillance.run_priorities import BY_SEVERITY, MARKET
from quantum_training.monitoring.severity import Severity
from quantum_training.partitions import parse_key
from quantum_training.resources.events.payloads import DriftSignal, Event, MetricsUpdated, RetrainRequest
from quantum_training.resources.store.store import Store
from quantum_training.resources.texts import bounded_tags
from quantum_training.settings import Settings

CONSUMER = "event_inbox_sensor"
DECAY_TEST_INTERVAL = pd.Timedelta(hours=1)
"""The decay of a symbol is tested again at most this often, however many metrics arrive."""


class EventOutcome(NamedTuple):
    """What becomes of each event. handled: ids of events that need no further look. deferred: by id, why it waits."""

    requests: list[dg.RunRequest]
    triggers: list[Trigger]
    handled: list[str]
    deferred: dict[str, str]
    refused: list[tuple[Event, str]]


def classify_events(
    events: Iterable[Event],
    settings: Settings,
    store: Store,
    instance: dg.DagsterInstance,
    grid: dg.MultiPartitionsDefinition,
    now: pd.Timestamp,
) -> EventOutcome:
    """The outcome of these events, which come oldest first."""
    outcome = EventOutcome([], [], [], {}, [])
    metrics: dict[str, list[str]] = {}
    for event in events:
        key, payload, symbol = str(event.event_id), event.payload, event.symbol
        if reason := refusal(settings, symbol, payload):
            outcome.refused.append((event, reason))
        elif isinstance(payload, RetrainRequest):
            outcome.requests.append(_retrain_request(key, symbol, payload))
            outcome.handled.append(key)
        elif isinstance(payload, DriftSignal):
            if trigger := _drift_trigger(key, symbol, payload):
                outcome.triggers.append(trigger)
            else:
                outcome.handled.append(key)
        elif isinstance(payload, MetricsUpdated):
            metrics.setdefault(symbol, []).append(key)
    if metrics:
        _classify_metrics(metrics, outcome, store, _recently_tested(instance, now), grid)
    return outcome


def _classify_metrics(
    metrics: Mapping[str, list[str]],
    outcome: EventOutcome,
    store: Store,
    recently_tested: set[str],
    grid: dg.MultiPartitionsDefinition,
) -> None:
    """Add the outcome of the metrics to `outcome`: one decay test per symbol. metrics: event ids by symbol."""
    for symbol, keys in metrics.items():
        week, _ = newest_report(store, WeeklyDecay, symbol)
        if week and symbol in recently_tested:
            outcome.deferred[keys[-1]] = f"the decay of {symbol} was tested within {DECAY_TEST_INTERVAL}"
            continue
        outcome.handled.extend(keys)
        if week:
            outcome.requests.append(_decay_request(keys[-1], symbol, week, grid))


def refusal(settings: Settings, symbol: str, payload: object) -> str | None:
    """Why an event cannot be followed: which field names what the settings do not have. None if it can."""
    recipes = payload.recipes if isinstance(payload, RetrainRequest) else ()
    recipes = (payload.model_type,) if isinstance(payload, MetricsUpdated) else recipes
    field = "model_type" if isinstance(payload, MetricsUpdated) else "recipes"
    try:
        check_names(settings, symbol, recipes)
    except RefusedActionError as error:
        return f"{field if symbol in settings.symbols else 'symbol'}: {error}"
    return None


def _drift_trigger(key: str, symbol: str, signal: DriftSignal) -> Trigger | None:
    """The trigger of a drift signal from outside; None below SEVERE."""
    severity = Severity[signal.severity]
    if severity < Severity.SEVERE:
        return None
    reason, since = f"{severity.name} drift seen outside: {signal.reason}", pd.Timestamp(signal.observed_at)
    return Trigger(symbol, key, "DRIFT_DETECTED", BY_SEVERITY[severity], reason, since)


def _retrain_request(key: str, symbol: str, request: RetrainRequest) -> dg.RunRequest:
    actor, reason = request.requested_by, request.reason
    config = {"symbol": symbol, "actor": actor, "reason": reason, "recipes": [*request.recipes]}
    tags = bounded_tags({"symbol": symbol, "trigger": "MANUAL", "reason": f"{actor}: {reason}"})
    return dg.RunRequest(run_key=key, job_name=RETRAIN, run_config={"ops": {RETRAIN_OP: {"config": config}}}, tags=tags)


def _decay_request(key: str, symbol: str, week: str, grid: dg.MultiPartitionsDefinition) -> dg.RunRequest:
    period = parse_key(grid, f"{symbol}|{week}").period
    partition = dg.MultiPartitionKey({"symbol": symbol, "week": period})
    tags = {"symbol": symbol, **priority_tag(MARKET)}
    return dg.RunRequest(run_key=key, job_name=DECAY, partition_key=partition, tags=tags)


def _recently_tested(instance: dg.DagsterInstance, now: pd.Timestamp) -> set[str]:
    """The symbols whose decay was tested within DECAY_TEST_INTERVAL."""
    runs = dg.RunsFilter(job_name=DECAY, created_after=(now - DECAY_TEST_INTERVAL).to_pydatetime())
    return {run.tags["symbol"] for run in instance.get_runs(runs) if "symbol" in run.tags}
