"""`GET /metrics`: the state in numbers, in OpenMetrics. What cannot be read is left out; no error becomes a 0."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pandas as pd
from fastapi import APIRouter, Response
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    InfoMetricFamily,
    Metric,
    SummaryMetricFamily,
)
from prometheus_client.openmetrics.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector, CollectorRegistry

from quantum_training.lifecycle.data_end import data_end
from quantum_training.lifecycle.records import CANDLES, DECAY_REPORT, DRIFT_REPORT
from quantum_training.lifecycle.stored_months import stored_until
from quantum_training.monitoring.severity import Severity
from quantum_training.service.dagster_client import DagsterOutage
from quantum_training.service.reading.decisions import newest_record
from quantum_training.service.reading.events import trainings
from quantum_training.service.reading.runs import MOST_QUEUED, queued_runs
from quantum_training.service.reading.symbols import symbol_row
from quantum_training.service.state import CurrentState, State

router = APIRouter(tags=["metrics"])
PREFIX = "quantum_training"


@router.get("/metrics", response_class=Response)
def metrics(state: CurrentState) -> Response:
    """The metrics of all symbols, of trainings, events and Dagster."""
    registry = CollectorRegistry()
    registry.register(StateCollector(state))
    return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)


class StateCollector(Collector):
    """Reads the state when it is asked for."""

    def __init__(self, state: State) -> None:
        self._state = state

    def describe(self) -> list[Metric]:
        """Nothing: the names do not depend on the state, and registering reads none."""
        return []

    def collect(self) -> Iterator[Metric]:
        """All metrics. An outage of the store or of the database raises, so that the scrape fails."""
        yield from symbol_metrics(self._state)
        yield from training_metrics(self._state)
        yield from event_metrics(self._state)
        yield from dagster_metrics(self._state)


def symbol_metrics(state: State) -> Iterator[Metric]:
    """Champion, share, drift, decay and age of the candles by symbol."""
    champion = InfoMetricFamily(f"{PREFIX}_champion", "Recipe in office and its version.", labels=["symbol"])
    active = GaugeMetricFamily(f"{PREFIX}_active_models", "Symbols with a champion.")
    share = _gauge("rollout_share", "Share of the capital that the champion may use.", "symbol")
    severity = _gauge("drift_severity", "Of the newest drift report, 0 NONE to 4 CRITICAL.", "symbol")
    psi = _gauge("psi", "PSI of a column in the newest drift report.", "symbol", "feature")
    decay = _gauge("decay_statistic", "Statistic of the newest decay report.", "symbol")
    limit = _gauge("decay_limit", "Limit of that statistic.", "symbol")
    age = _gauge("candles_age_seconds", "Seconds by which candles lag behind the bars that could exist.", "symbol")
    unreadable = GaugeMetricFamily(f"{PREFIX}_unreadable_symbols", "Symbols whose records cannot be read.")
    champions = errors = 0
    for symbol in state.settings.symbols:
        try:
            row, drift = symbol_row(state, symbol), newest_record(state, DRIFT_REPORT, symbol)
            report = newest_record(state, DECAY_REPORT, symbol) or {}
            until = stored_until(state.store, CANDLES, symbol)
        except ValueError:  # a torn record
            errors += 1
            continue
        if row["champion"]:
            champions += 1
            champion.add_metric([symbol], {"recipe": row["champion"], "version": row["model_id"] or ""})
        _add(share, [symbol], row["share"])
        if drift:
            severity.add_metric([symbol], int(Severity[drift["severity"]]))
            for column in drift["rows"]:
                _add(psi, [symbol, column["column"]], column["psi"])
        _add(decay, [symbol], report.get("statistic"))
        _add(limit, [symbol], report.get("limit"))
        if until is not None:
            lag = data_end(state.settings, symbol, pd.Timestamp.now("UTC")) - until
            age.add_metric([symbol], max(lag.total_seconds(), 0.0))
    active.add_metric([], champions)
    unreadable.add_metric([], errors)
    yield from (champion, active, share, severity, psi, decay, limit, age, unreadable)


def training_metrics(state: State) -> Iterator[Metric]:
    """Trainings by the events that are stored; the counts fall when housekeeping removes old ones."""
    stored = trainings(state, [*state.settings.symbols])
    labels = ["status", "symbol", "recipe", "trigger"]
    jobs = CounterMetricFamily(f"{PREFIX}_jobs", "Trainings whose events are stored.", labels=labels)
    for values, count in sorted(Counter((t.status, t.symbol, t.recipe, t.trigger or "") for t in stored).items()):
        jobs.add_metric([*values], count)
    seconds = SummaryMetricFamily(f"{PREFIX}_job_seconds", "How long fits took.", labels=["recipe"])
    durations: dict[str, list[float]] = {}
    newest: dict[tuple[str, str], float] = {}
    for training in stored:
        if training.duration_seconds is not None:
            durations.setdefault(training.recipe, []).append(training.duration_seconds)
        if training.completed_at and training.status == "succeeded":
            newest.setdefault((training.symbol, training.recipe), training.completed_at.timestamp())
    for recipe, values_ in sorted(durations.items()):
        seconds.add_metric([recipe], len(values_), sum(values_))
    last = _gauge("last_training_timestamp_seconds", "When a training last succeeded.", "symbol", "recipe")
    for (symbol, recipe), time in sorted(newest.items()):
        last.add_metric([symbol, recipe], time)
    yield from (jobs, seconds, last)


def event_metrics(state: State) -> Iterator[Metric]:
    """Events that wait to be sent, where Redis carries them, and events that could not be processed."""
    letters = GaugeMetricFamily(f"{PREFIX}_dead_letters", "Events that could not be processed.")
    letters.add_metric([], state.events.inbox.dead_letter_count())
    yield letters
    if state.settings.event_bus_url:
        pending = GaugeMetricFamily(f"{PREFIX}_outbox_pending", "Events that wait to be sent to Redis.")
        pending.add_metric([], state.events.outbox.pending())
        yield pending


def dagster_metrics(state: State) -> Iterator[Metric]:
    """Queued runs and the age of the newest tick of each running sensor; only `dagster_up` without the webserver."""
    up = GaugeMetricFamily(f"{PREFIX}_dagster_up", "1 if Dagster's webserver answers.")
    try:
        queued, ticks = queued_runs(state), state.dagster.sensor_ticks()
    except DagsterOutage:
        up.add_metric([], 0)
        yield up
        return
    up.add_metric([], 1)
    jobs = GaugeMetricFamily(f"{PREFIX}_jobs_queued", f"Runs that wait in Dagster's queue, at most {MOST_QUEUED}.")
    jobs.add_metric([], queued)
    age = _gauge("sensor_tick_age_seconds", "Seconds since the newest tick of a running sensor.", "sensor")
    now = pd.Timestamp.now("UTC").timestamp()
    for sensor, time in sorted(ticks.items()):
        age.add_metric([sensor], max(now - time, 0.0))
    yield from (up, jobs, age)


def _gauge(name: str, text: str, *labels: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"{PREFIX}_{name}", text, labels=labels)


def _add(gauge: GaugeMetricFamily, labels: list[str], value: Any) -> None:
    """Add a value, unless it is undefined."""
    if value is not None:
        gauge.add_metric(labels, float(value))
