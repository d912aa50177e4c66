"""What an event from outside asks for: a training, another look at the decay, or nothing. Reading it is sensors.py."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import dagster as dg
import pandas as pd

from quantum_training.automation.execution.priorities import priority_tag
from quantum_training.automation.jobs.asset_jobs import DECAY
from quantum_training.automation.jobs.manual_actions import RETRAIN, RETRAIN_OP
from quantum_training.lifecycle.records import DECAY_REPORT
from quantum_training.lifecycle.surveillance.retraining_triggers import Trigger, newest_record
from quantum_training.lifecycle.surveillance.run_priorities import BY_SEVERITY, MARKET
from quantum_training.monitoring.severity import Severity
from quantum_training.partitions import parse_key
from quantum_training.resources.events.payloads import DriftSignal, Event, MetricsUpdated, RetrainRequest
from quantum_training.resources.store.store import Store
from quantum_training.settings.settings import Settings

CONSUMER = "event_inbox_sensor"
BETWEEN_LOOKS = pd.Timedelta(hours=1)
"""The decay of a symbol is looked at again this often, however many metrics arrive."""


class Sorted(NamedTuple):
    """Events by what becomes of them. causes, waiting and met: by event id, as in retraining.Plan."""

    requests: list[dg.RunRequest]
    causes: list[Trigger]
    met: list[str]
    waiting: dict[str, str]
    refused: list[tuple[Event, str]]


def sort_events(
    events: Iterable[Event],
    settings: Settings,
    store: Store,
    instance: dg.DagsterInstance,
    grid: dg.MultiPartitionsDefinition,
    now: pd.Timestamp,
) -> Sorted:
    """Sort events, oldest first."""
    found = Sorted([], [], [], {}, [])
    metrics: dict[str, list[str]] = {}
    for event in events:
        key, payload, symbol = str(event.event_id), event.payload, event.symbol
        if reason := _unknown(settings, symbol, payload):
            found.refused.append((event, reason))
        elif isinstance(payload, RetrainRequest):
            found.requests.append(_retrain(key, symbol, payload))
            found.met.append(key)
        elif isinstance(payload, DriftSignal):
            severity = Severity[payload.severity]
            if severity >= Severity.SEVERE:
                reason = f"{severity.name} drift seen outside: {payload.reason}"
                since = pd.Timestamp(payload.observed_at)
                found.causes.append(Trigger(symbol, key, "DRIFT_DETECTED", BY_SEVERITY[severity], reason, since))
            else:
                found.met.append(key)
        elif isinstance(payload, MetricsUpdated):
            metrics.setdefault(symbol, []).append(key)
    looked = _looked_at(instance, now) if metrics else set()
    for symbol, keys in metrics.items():
        week, _ = newest_record(store, DECAY_REPORT, symbol)
        if week and symbol in looked:
            found.waiting[keys[-1]] = f"the decay of {symbol} was looked at within {BETWEEN_LOOKS}"
            continue
        found.met.extend(keys)
        if week:
            found.requests.append(_look(keys[-1], symbol, week, grid))
    return found


def _unknown(settings: Settings, symbol: str, payload: object) -> str | None:
    if symbol not in settings.symbols:
        return f"unknown symbol {symbol}; symbols are {', '.join(settings.symbols)}"
    named = payload.recipes if isinstance(payload, RetrainRequest) else ()
    named = (payload.model_type,) if isinstance(payload, MetricsUpdated) else named
    allowed = settings.symbols[symbol].recipes
    if unknown := sorted({*named} - {*allowed}):
        return f"{symbol}: unknown recipes {', '.join(unknown)}; its recipes are {', '.join(allowed)}"
    return None


def _retrain(key: str, symbol: str, asked: RetrainRequest) -> dg.RunRequest:
    config = {"symbol": symbol, "actor": asked.requested_by, "reason": asked.reason, "recipes": [*asked.recipes]}
    tags = {"symbol": symbol, "trigger": "MANUAL", "reason": f"{asked.requested_by}: {asked.reason}"}
    return dg.RunRequest(run_key=key, job_name=RETRAIN, run_config={"ops": {RETRAIN_OP: {"config": config}}}, tags=tags)


def _look(key: str, symbol: str, week: str, grid: dg.MultiPartitionsDefinition) -> dg.RunRequest:
    period = parse_key(grid, f"{symbol}|{week}").period
    partition = dg.MultiPartitionKey({"symbol": symbol, "week": period})
    return dg.RunRequest(
        run_key=key, job_name=DECAY, partition_key=partition, tags={"symbol": symbol, **priority_tag(MARKET)}
    )


def _looked_at(instance: dg.DagsterInstance, now: pd.Timestamp) -> set[str]:
    """The symbols whose decay was looked at just now."""
    recent = dg.RunsFilter(job_name=DECAY, created_after=(now - BETWEEN_LOOKS).to_pydatetime())
    return {run.tags["symbol"] for run in instance.get_runs(recent) if "symbol" in run.tags}
