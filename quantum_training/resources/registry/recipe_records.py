"""The out-of-sample record of a recipe in MLflow: a run for each recipe, with one step for each week.

A version is out of sample only for the weeks in which it decides; the record of its recipe goes on through all of its
versions. So the record is a run of its own, and the runs of the versions get the steps of the weeks that they decided.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import pandas as pd

from quantum_training.market.periods import WEEK
from quantum_training.resources.registry.artefacts import log_metrics
from quantum_training.resources.registry.connection import checked_name
from quantum_training.resources.registry.errors import VersionDeleted, outages_named
from quantum_training.resources.registry.registry import ModelRegistry

RECORD_OF = "record_of"
"""Tag of a run that holds the record of a recipe: the recipe."""
NEWEST_WEEK = "week"
"""Tag of such a run: its newest week."""
BARS = "shadow/bars"
"""The metric that every recorded week has."""
FIRST_MONDAY = pd.Timestamp("1970-01-05", tz="UTC")


class RecordedWeek(NamedTuple):
    """The record of a recipe up to the Monday `week`. model_id: the version that decided its last bar, "" for none."""

    week: pd.Timestamp
    model_id: str
    metrics: Mapping[str, float]

    @property
    def step(self) -> int:
        """The number of the week, so that weeks that follow each other have steps that do."""
        return (self.week - FIRST_MONDAY) // WEEK


@outages_named
def log_weeks(registry: ModelRegistry, symbol: str, recipe: str, weeks: Iterable[RecordedWeek]) -> None:
    """Add weeks to the record of a recipe and to the runs of the versions that decided them.

    A week that a run has already stays as it was logged first, so a repeated run adds nothing. A version that is no
    longer in MLflow is left out.
    """
    weeks = [week for week in weeks if week.metrics]
    if not weeks:
        return
    client, record = registry.client(), _record_run(registry, symbol, recipe)
    newest = record.data.tags.get(NEWEST_WEEK, "")
    if f"{weeks[0].week:%Y-%m-%d}" <= newest:  # else there is nothing to repeat, and the history need not be read
        _add(client, record.info.run_id, _missing(client, record.info.run_id, weeks), newest)
    else:
        _add(client, record.info.run_id, weeks, newest)
    for model_id in dict.fromkeys(week.model_id for week in weeks if week.model_id):
        try:
            run_id = registry.run_id(symbol, model_id)
        except VersionDeleted:  # housekeeping deletes the versions of old weeks
            continue
        decided = [week for week in weeks if week.model_id == model_id]
        _add(client, run_id, _missing(client, run_id, decided))


def _missing(client: Any, run_id: str, weeks: Sequence[RecordedWeek]) -> list[RecordedWeek]:
    """The weeks that a run lacks."""
    present = {point.step for point in client.get_metric_history(run_id, BARS)}
    return [week for week in weeks if week.step not in present]


def _add(client: Any, run_id: str, weeks: Sequence[RecordedWeek], newest: str | None = None) -> None:
    """Log weeks that a run lacks. newest: of the weeks of a record's run before; None: it is the run of a version."""
    from mlflow.entities import Metric, RunTag

    points = [
        Metric(name, value, int(week.week.timestamp() * 1000), week.step)
        for week in weeks
        for name, value in week.metrics.items()
    ]
    log_metrics(client, run_id, points)
    if weeks and newest is not None:
        client.log_batch(run_id, tags=[RunTag(NEWEST_WEEK, max(newest, f"{weeks[-1].week:%Y-%m-%d}"))])


def _record_run(registry: ModelRegistry, symbol: str, recipe: str) -> Any:
    """The run of a recipe's record; it is created if there is none. Of two, made at the same time, the older counts."""
    client, experiment = registry.client(), registry.prepare(symbol)
    same = f"tags.{RECORD_OF} = '{checked_name(recipe)}'"

    def oldest() -> Any:
        runs = client.search_runs([experiment], same, max_results=1, order_by=["attributes.start_time ASC"])
        return runs[0] if runs else None

    if (run := oldest()) is not None:
        return run
    note = f"What {recipe} earned in the shadow on {symbol}, out of sample, week by week through all of its versions."
    tags = {RECORD_OF: recipe, "recipe": recipe, "symbol": symbol, "mlflow.note.content": note}
    run = client.create_run(experiment, tags=tags, run_name=f"{recipe}: out-of-sample record")
    client.set_terminated(run.info.run_id)
    return oldest() or run
