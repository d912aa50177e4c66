"""Records of a week or a day for tests that put them into the store: a plain one, with the fields that a test sets."""

from typing import Any

from quantum_training.lifecycle.records import (
    BarSpan,
    DailyDrift,
    ModelRecord,
    ModelVersion,
    ScoredPredictions,
    WeeklyDecay,
    WeeklyDecision,
    WeeklyRollout,
)
from quantum_training.selection.harm import Harm


def model_record(*versions: ModelVersion, outcome: str | None = "trained", **fields: Any) -> ModelRecord:
    """A week of a model asset."""
    return ModelRecord(outcome=outcome, versions=versions, **fields)


def decision(week: str, champion: str | None, **fields: Any) -> WeeklyDecision:
    """A week's decision that keeps this champion."""
    plain = {
        "verdict": "CONTINUE",
        "reason": "in a test",
        "former": champion,
        "decided": champion,
        "judgements": {},
        "evidence_weeks": [week],
        "missing_weeks": [],
        "evidence_hash": "0" * 16,
    }
    return WeeklyDecision(**{"week": week, "champion": champion, **plain, **fields})


def rollout(week: str, champion: str | None, **fields: Any) -> WeeklyRollout:
    """A week in which the champion is in the first stage, at 0 % of the capital."""
    plain = {
        "share": 0.0,
        "stage": 0,
        "since": week,
        "days": 0,
        "change": None,
        "reason": "in a test",
        "next_step": "1 %",
        "ceiling": 0.1,
        "stopped": None,
        "guarded_from": f"{week}T00:00:00+00:00",
        "worst_day": None,
        "drawdown": None,
    }
    return WeeklyRollout(**{"week": week, "champion": champion, **plain, **fields})


def harm(z: float | None, boundary: float | None = 2.0, **fields: Any) -> Harm:
    """What the comparison with the former champion found in a week."""
    plain = {"against": "staying flat", "blocks": 30, "drawdown": 0.0, "drawdown_limit": None, "reason": None}
    return Harm(**{"z": z, "boundary": boundary, **plain, **fields})


def decay(week: str, status: str = "NONE", **fields: Any) -> WeeklyDecay:
    """A week's decay report."""
    plain = {"reason": "in a test", "recipe": "xgboost", "office": week, "rule": "cusum"}
    return WeeklyDecay(**{"week": week, "status": status, **plain, **fields})


def drift(day: str, severity: str = "NONE", **fields: Any) -> DailyDrift:
    """A day's drift report without rows. severity: by its name."""
    span = BarSpan(bars=0, first_bar=None, last_bar=None, end=f"{day}T00:00:00+00:00")
    plain = {
        "outcome": "measured",
        "reason": "in a test",
        "have": None,
        "need": None,
        "tested": 1,
        "rows": [],
        "recommendation": [],
        "rule": "calibrated",
        "window": span,
        "reference": span,
        "predictions": ScoredPredictions(recipe=None, end=f"{day}T00:00:00+00:00", reason="no champion"),
    }
    return DailyDrift.model_validate({"severity": severity, **plain, **fields})
