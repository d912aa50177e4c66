"""Trains a recipe for one symbol and week: is a version due, is it accepted, and the week's record.

The fit itself is in train_version.py, the comparison with the version before it in refresh_gate.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import pandas as pd

from quantum_training.features.windows import InsufficientData
from quantum_training.lifecycle.gaps import GAP, GapError
from quantum_training.lifecycle.market_history import MarketHistory
from quantum_training.lifecycle.records import ModelRecord, ModelVersion, model_asset, read_record, write_record
from quantum_training.lifecycle.searches import search_of
from quantum_training.lifecycle.services import Services
from quantum_training.lifecycle.training.inputs import InputSources, TrainingTarget, build_training_inputs
from quantum_training.lifecycle.training.refresh_gate import Candidate, compare_versions, outcome_of, refresh_tag
from quantum_training.lifecycle.training.request import TrainingRequest, TrainingRun
from quantum_training.lifecycle.training.schedule import training_weeks
from quantum_training.lifecycle.training.train_version import TrainingResult, train_version
from quantum_training.lifecycle.training.training_window import months_missing_before, window_completeness
from quantum_training.lifecycle.training.version_identity import TrainingTask
from quantum_training.lifecycle.training.versions import recorded_versions, versions_of
from quantum_training.market.periods import Key
from quantum_training.resources.locks import exclusive_lock
from quantum_training.selection.refresh import Refresh
from quantum_training.trading.scoring import Version

NOT_CONFIGURED = "not_configured"
"""Outcome of a week of a symbol that does not use the recipe."""

NOT_DUE = "resting"
"""Outcome of a week in which a recipe that is not trained every week keeps its newest version."""

KEPT = "stands"
"""Outcome of a run that keeps the recorded version: a new fit would differ, because earlier versions were deleted."""

INSUFFICIENT = "insufficient"
"""Outcome of a week with too few bars to train on."""


BEFORE_SEARCH = "before_search"
"""Outcome of a week that the search knew which the recipe was found by: its record there would be in sample."""


class WeeklyTraining(NamedTuple):
    """What `train_week` did. details: what explains the outcome. The other fields are set if a version was trained."""

    outcome: str
    details: dict[str, Any]
    result: TrainingResult | None = None
    refresh: Refresh | None = None
    record_path: str | None = None


def train_week(
    services: Services, recipe: str, key: Key, request: TrainingRequest | None = None, run: TrainingRun | None = None
) -> WeeklyTraining:
    """Train recipe `recipe` for the symbol and week of `key`, unless nothing is due, and record the outcome.

    Running it again gives the same version and the same bytes. Processes that share the database take turns on a
    partition. ValueError if the requested as_of lies outside the week or the recipe asks for what its algorithm cannot
    do; StoreError if bars up to as_of are missing; RegistryOutage if MLflow cannot be reached.
    """
    with exclusive_lock(services.settings.database_url, f"{model_asset(recipe)} {key}") as assert_lock_held:
        week = _Week(services, recipe, key, request or TrainingRequest(), run or TrainingRun())
        return week.train(assert_lock_held)


def update_shadow_alias(services: Services, recipe: str, symbols: Iterable[str]) -> None:
    """Point the alias `shadow-<recipe>` of each symbol at the recipe's newest accepted version."""
    for symbol in symbols:
        with exclusive_lock(services.settings.database_url, f"aliases {symbol}"):
            if versions := versions_of(services.store, symbol, recipe):
                services.registry.aliases.move(symbol, {f"shadow-{recipe}": versions[-1].model_id})


class _Week(NamedTuple):
    """One partition of a recipe's model asset."""

    services: Services
    recipe: str
    key: Key
    request: TrainingRequest
    run: TrainingRun

    def train(self, assert_lock_held: Callable[[], None]) -> WeeklyTraining:
        settings, store = self.services.settings, self.services.store
        asset, symbol = model_asset(self.recipe), self.key.symbol
        record = read_record(store, ModelRecord, symbol, self.key.period, asset) or ModelRecord()
        if self.recipe not in settings.symbols[symbol].recipes:
            if not record.versions:  # what was trained while the symbol had the recipe stays recorded
                self._write(record.model_copy(update={"outcome": NOT_CONFIGURED}))
            return WeeklyTraining(NOT_CONFIGURED, {})
        as_of = self.request.as_of_in(self.key)
        if reason := self._known_to_search(as_of):
            return self._leave_out(record, reason)
        previous = [v for v in versions_of(store, symbol, self.recipe, self.key.period) if v.as_of < as_of]
        if not self.request.as_of and previous and (next_training := self._not_due(previous[-1])):
            return self._rest(record, previous[-1], next_training)
        sources = InputSources(self.services.store, settings, tuple(previous), self._load, self.run.decisions)
        task = TrainingTask(self.recipe, self.key, as_of, self.request, assert_lock_held)
        try:
            inputs = build_training_inputs(sources, TrainingTarget(symbol, self.recipe, as_of))
            if inputs.deleted_versions and any(v.time == as_of for v in record.versions):
                return _keep(record, as_of, inputs.deleted_versions)
            result = train_version(self.services, task, inputs, self.run)
        except InsufficientData as error:
            details = {"have": error.have, "need": error.need, "reason": str(error)}
            if missing := months_missing_before(
                MarketHistory(store, settings, symbol), settings.recipes[self.recipe], as_of
            ):
                details["missing_months"] = missing
            self._write(record.model_copy(update={"outcome": INSUFFICIENT, **details}))
            return WeeklyTraining(INSUFFICIENT, {**details, "as_of": as_of})
        except GapError as error:
            self._write(record.model_copy(update={"outcome": GAP, "reason": str(error)}))
            return WeeklyTraining(GAP, {"reason": str(error), "as_of": as_of})
        try:
            return self._judge(record, result, previous[-1] if previous else None)
        finally:
            result.publish()  # once it is recorded: who reads the event finds the version

    def _load(self, model_id: str) -> Any:
        return self.run.models.load(self.key.symbol, model_id, self.services.registry.load)

    def _leave_out(self, record: ModelRecord, reason: str) -> WeeklyTraining:
        """Train nothing. A week that has versions keeps its record."""
        if not record.versions:
            self._write(record.model_copy(update={"outcome": BEFORE_SEARCH, "reason": reason}))
        return WeeklyTraining(BEFORE_SEARCH, {"reason": reason})

    def _known_to_search(self, as_of: pd.Timestamp) -> str | None:
        """Why no version is trained as of a time that the search knew which the recipe was found by; None without."""
        search = search_of(self.services.store, self.services.settings, self.recipe)
        if search is None or as_of >= search.record.time:
            return None
        return (
            f"{self.recipe} was found by the search {search.record.search_id} on {search.symbol}, which saw data up to "
            f"{search.record.time:%Y-%m-%d %H:%M}: what the recipe earned before that would be in sample"
        )

    def _not_due(self, newest: Version) -> str | None:
        """The Monday of the next training if the newest version is of this turn, else None: a training is due."""
        every_weeks = self.services.settings.recipes[self.recipe].every_weeks
        last_due, next_due = training_weeks(every_weeks, self.key.start)
        return f"{next_due:%Y-%m-%d}" if newest.as_of >= last_due else None

    def _rest(self, record: ModelRecord, newest: Version, next_training: str) -> WeeklyTraining:
        """Keep the newest version. A week that has versions of its own keeps its record, too."""
        details = {"newest": newest.model_id, "next_training": next_training}
        if not record.versions:
            self._write(ModelRecord(outcome=NOT_DUE, **details))
        return WeeklyTraining(NOT_DUE, details)

    def _judge(self, record: ModelRecord, result: TrainingResult, incumbent: Version | None) -> WeeklyTraining:
        """Compare the new version with the incumbent, and record both outcome and version."""
        settings, store, registry = self.services.settings, self.services.store, self.services.registry
        symbol, version, model = self.key.symbol, result.version, result.fit.model
        history = MarketHistory(store, settings, symbol)
        recorded = next((v for v in record.versions if v.model_id == version.model_id), None)
        candidate = Candidate(
            version.version, model, result.inputs.window.full_times[0], recorded.refresh if recorded else None
        )
        refresh = compare_versions(history, incumbent, candidate, self._load)
        if refresh.accepted:
            self.run.models.add(symbol, version.model_id, model)
        registry.tag(symbol, version.model_id, "refresh", refresh_tag(refresh))
        others = [v for v in record.versions if v.model_id != version.model_id]
        completeness = window_completeness(history, settings.recipes[self.recipe], result.inputs.window)
        missing = completeness.missing_months or None
        incomplete = {"rows": completeness.rows if missing else None, "missing_months": missing}
        entry = (recorded or version).model_copy(update={"refresh": refresh, **incomplete})
        versions = tuple(sorted([*others, entry], key=lambda v: v.as_of))
        path = self._write(ModelRecord(outcome=outcome_of(versions[-1].accepted), versions=versions))
        details = {name: value for name, value in completeness._asdict().items() if value != ()}
        return WeeklyTraining(
            outcome_of(refresh.accepted), {**details, **self._changes(version)}, result, refresh, path
        )

    def _changes(self, version: ModelVersion) -> dict[str, Any]:
        """What the version's partition shows of the recipe: its hash, and whether the version before had another."""
        versions = recorded_versions(self.services.store, self.key.symbol, self.recipe, self.key.period)
        before = next((v for v in reversed(versions) if v.time < version.time), None)
        details = {"recipe_hash": version.recipe_hash}
        if before and before.recipe_hash not in (None, version.recipe_hash):
            details["recipe_changed"] = f"the version as of {before.as_of} has recipe_hash {before.recipe_hash}"
        return details

    def _write(self, record: ModelRecord) -> str:
        asset = model_asset(self.recipe)
        return write_record(self.services.store, self.key.symbol, self.key.period, record, asset).path


def _keep(record: ModelRecord, as_of: pd.Timestamp, deleted_versions: tuple[str, ...]) -> WeeklyTraining:
    """Keep the recorded version: it was fitted with the help of versions that have been deleted since."""
    model_id = [v.model_id for v in record.versions if v.time == as_of][-1]
    reason = (
        f"the version as of {as_of:%Y-%m-%d %H:%M} is kept: it was fitted with the help of {len(deleted_versions)} "
        f"earlier versions that have been deleted from MLflow, such as {deleted_versions[0]}, and a new fit would "
        "differ; to train it again, run the partitions of these versions first"
    )
    return WeeklyTraining(KEPT, {"model_id": model_id, "reason": reason})
