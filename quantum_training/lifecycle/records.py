"""The JSON records that a symbol's partitions keep in the store: one type per asset, and how to read and write them.

Frames (bars, features, shadow scores) are in market_history.py. A record of an earlier build may lack a newer key: it
is read with that key's default.
"""

from __future__ import annotations

from typing import Any, ClassVar, TypeVar

import pandas as pd
from pydantic import BaseModel, ConfigDict, Field, SerializerFunctionWrapHandler, model_serializer

from quantum_training.monitoring.decay import Decay
from quantum_training.monitoring.drift import DriftReport
from quantum_training.resources.store.store import Store, Written
from quantum_training.selection.ab import ABReport, ABTest
from quantum_training.selection.decision import Campaign, Decision
from quantum_training.selection.harm import Harm
from quantum_training.selection.refresh import Refresh
from quantum_training.selection.rollout import Stage
from quantum_training.trading.scoring import Version

CANDLES, FEATURES, SHADOW_SCORES, BACKTEST = "candles", "features", "shadow_scores", "backtest"
CHAMPION, ROLLOUT, SIGNALS = "champion", "rollout", "signals"
DRIFT_REPORT, DECAY_REPORT = "drift_report", "decay_report"
SEARCHES = "searches"
LATEST = "latest"
"""The only period of a signal: there is one per symbol, and the next one replaces it."""


def model_asset(recipe: str) -> str:
    """Name of a recipe's model asset."""
    return f"{recipe}_model"


class StoredRecord(BaseModel):
    """Base of the records. asset: whose they are; optional_keys: fields absent from the file while they are None."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    asset: ClassVar[str] = ""
    optional_keys: ClassVar[frozenset[str]] = frozenset()

    @model_serializer(mode="wrap")
    def _without_absent_keys(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        fields: dict[str, Any] = serialize(self)
        return {key: value for key, value in fields.items() if value is not None or key not in self.optional_keys}


class ModelVersion(StoredRecord):
    """One version of a recipe. as_of: ISO time up to which it saw data. refresh: the gate's verdict on it.

    artefact_hash: SHA-256 of the file that holds the hashes of the model's other files. recipe_hash: of the recipe's
    settings. seeds: fits that the version was chosen from. Versions of release 0.1 have none of these. searched: trials
    of the searches that its recipe was found by, absent without one. rows,
    missing_months: rows of its training window, and the months without candles that it would have used; absent if there
    are none.
    """

    optional_keys = frozenset(
        {
            "data_hash",
            "code_hash",
            "artefact_hash",
            "recipe_hash",
            "seeds",
            "searched",
            "refresh",
            "rows",
            "missing_months",
        }
    )

    as_of: str
    model_id: str
    data_hash: str | None = None
    code_hash: str | None = None
    artefact_hash: str | None = None
    recipe_hash: str | None = None
    seeds: int | None = None
    searched: int | None = None
    refresh: Refresh | None = None
    rows: int | None = None
    missing_months: tuple[str, ...] | None = None

    @property
    def time(self) -> pd.Timestamp:
        """`as_of` as a time."""
        return pd.Timestamp(self.as_of)

    @property
    def accepted(self) -> bool:
        """May this version trade? One that was recorded before the refresh gate existed may."""
        return self.refresh is None or self.refresh.accepted

    @property
    def version(self) -> Version:
        """The version as the scoring takes it."""
        return Version(self.time, self.model_id)


class ModelRecord(StoredRecord):
    """A week of `<recipe>_model`: what the last run of the partition did, and the versions of the week, oldest first.

    have, need, reason: of a week with too few bars; missing_months: those without candles among its bars. newest,
    next_training: of a week without training.
    """

    optional_keys = frozenset({"outcome", "have", "need", "reason", "missing_months", "newest", "next_training"})

    outcome: str | None = None
    versions: tuple[ModelVersion, ...] = ()
    have: int | None = None
    need: int | None = None
    reason: str | None = None
    missing_months: tuple[str, ...] | None = None
    newest: str | None = None
    next_training: str | None = None


class SearchRecord(StoredRecord):
    """What a search of a recipe has found. The period of the record is its `search_id`.

    as_of: ISO time up to which it saw data; scored are `bars` bars from first_bar to last_bar. trials: all that count,
    those that failed (failures: how often, by reason) and were pruned among them. effective_trials: of independent
    ones; counted_trials: these rounded up, as they count against the challenger. found_by: the search that the recipe
    was found by itself, "" for none. best_score: Sharpe ratio per bar, in sample of the search. challenger,
    challenger_yaml: name and settings of the recipe that it proposes.
    """

    asset = SEARCHES

    search_id: str
    recipe: str
    as_of: str
    trials: int
    failed: int
    pruned: int
    effective_trials: float
    counted_trials: int
    found_by: str
    best_values: dict[str, Any]
    best_score: float
    probability_of_overfitting: float | None
    probability_of_overfitting_reason: str | None
    deflated_sharpe: float | None
    deflated_sharpe_reason: str | None
    failures: dict[str, int]
    bars: int
    first_bar: str
    last_bar: str
    data_hash: str
    code_hash: str
    recipe_hash: str
    challenger: str
    challenger_yaml: str

    @property
    def time(self) -> pd.Timestamp:
        """`as_of` as a time."""
        return pd.Timestamp(self.as_of)


class BacktestRecord(StoredRecord):
    """A week of `backtest`: metrics by strategy and the verdict on the weeks from `first_week` on."""

    asset = BACKTEST

    metrics: dict[str, dict[str, Any]]
    verdict: dict[str, Any]
    probability_of_overfitting: float | None
    probability_of_overfitting_reason: str | None
    periods_per_year: float
    first_week: str
    missing_weeks: tuple[str, ...]


class WeeklyDecision(Decision, StoredRecord):
    """A week of `champion`: the decision and the versions that trade by it.

    model_id: the champion's version; previous_model_id: the one that traded before it. decided_model_id and
    former_model_id: the versions of `decided` and `former`. refused_refresh: why the newest version does not trade.
    The fields with a default are younger than the first builds.
    """

    asset = CHAMPION
    optional_keys = frozenset({"proposed"})

    decided: str | None = None
    campaign: Campaign | None = None
    harm: Harm | None = None
    faults: dict[str, list[str]] = {}
    pinned: bool = False
    operator: list[str] = []
    disagreement: str | None = None
    model_id: str | None = None
    previous_model_id: str | None = None
    decided_model_id: str | None = None
    former_model_id: str | None = None
    refused_refresh: str | None = None


class ABState(StoredRecord):
    """An A/B test in a week: the registered test, what its blocks show, and why it ended; None while it goes on."""

    test: ABTest
    report: ABReport
    ended: str | None


class WeeklyRollout(Stage, StoredRecord):
    """A week of `rollout`: the share of capital, and the A/B test that runs in it."""

    asset = ROLLOUT

    ab: ABState | None = None


class WeeklyDecay(Decay, StoredRecord):
    """A week of `decay_report`. harm: what the decision of the week found against the former champion."""

    asset = DECAY_REPORT

    week: str
    harm: Harm | None = None
    harm_is_building: bool = False


class BarSpan(StoredRecord):
    """The bars of a comparison. end: ISO time up to which they were read, absent where the span has none of its own.

    why: of a reference, how it was chosen.
    """

    optional_keys = frozenset({"end", "why"})

    bars: int
    first_bar: str | None
    last_bar: str | None
    end: str | None = None
    why: str | None = None


class ScoredPredictions(StoredRecord):
    """What the champion's scores were compared with. reference: absent if nothing was compared, as `reason` says."""

    optional_keys = frozenset({"reference"})

    recipe: str | None
    end: str
    reason: str
    reference: BarSpan | None = None


class DailyDrift(DriftReport, StoredRecord):
    """A day of `drift_report`, and the bars that it compares."""

    model_config = ConfigDict(extra="ignore")

    asset = DRIFT_REPORT

    rule: str
    window: BarSpan
    reference: BarSpan
    predictions: ScoredPredictions


class SignalRecord(StoredRecord):
    """What a trader reads: the position to hold in one symbol now. Times are ISO texts with a time zone.

    The descriptions are a contract with programs of other people: docs/signal.schema.json repeats them.
    """

    asset = SIGNALS

    symbol: str = Field(description="Name of the symbol in the settings.")
    bar: str | None = Field(None, description="Open time of the newest complete bar; null if none is stored.")
    valid_until: str | None = Field(
        None,
        description="Close of the bar after `bar`, in which the position is held. The next signal comes some minutes "
        "later. Null if there is no bar.",
    )
    week: str | None = Field(None, description="The Monday of the decision that the signal follows.")
    champion: str | None = Field(None, description="Recipe in office; null if there is none.")
    arm: str | None = Field(None, description="Recipe that trades the bar in an A/B test; null without a test.")
    block: int | None = Field(None, description="Block of the A/B test, from 1; null without a test.")
    model_id: str | None = Field(None, description="Version that decided; a tag of the version in MLflow.")
    target: float | None = Field(
        None, description="Position that the version decided, in [-1, 1]; null if it decided nothing."
    )
    stage: int | None = Field(None, description="Stage of the rollout.")
    share: float = Field(0.0, description="Share of the symbol's capital that the recipe may use, in [0, 1].")
    position: float = Field(
        0.0, description="What to hold, as a share of the symbol's capital; negative is short. 0 whenever in doubt."
    )
    next_step: str | None = Field(None, description="Next stage of the rollout, in words.")
    reason: str = Field(description="How the position comes about; begins with `flat:` if something is in doubt.")


AnyRecord = TypeVar("AnyRecord", bound=StoredRecord)
EVERY = "9999"
"""A period after all others."""


def read_record(store: Store, kind: type[AnyRecord], symbol: str, period: str, asset: str = "") -> AnyRecord | None:
    """The record of one period, None if none is stored. asset: of a `ModelRecord`, whose asset depends on the recipe.

    ValidationError if the record lacks a key that every build has written.
    """
    fields = store.read_record(asset or kind.asset, symbol, period)
    return None if fields is None else kind.model_validate(fields)


def read_records(
    store: Store, kind: type[AnyRecord], symbol: str, last: str = EVERY, asset: str = ""
) -> dict[str, AnyRecord]:
    """All records of a symbol up to the period `last`, oldest first."""
    records = store.read_records(asset or kind.asset, symbol, last)
    return {period: kind.model_validate(fields) for period, fields in records.items()}


def write_record(store: Store, symbol: str, period: str, record: StoredRecord, asset: str = "") -> Written:
    """Store the record of one period. ValueError if it holds NaN or infinity."""
    return store.write_record(asset or record.asset, symbol, period, record.model_dump(mode="json"))
