"""What events say in words, and which of them a person should know of."""

import pytest

from quantum_training.resources.events.payloads import (
    DriftDetected,
    Promoted,
    Regressed,
    TrainingCompleted,
    TrainingStarted,
)
from quantum_training.service.reading.events import is_alert, sentence_of

NOW = "2020-01-27T00:00:00Z"
JOB = "run/AAA|2020-01-27/xgboost"
STARTED = TrainingStarted(job_id=JOB, model_type="xgboost", trigger="MANUAL", reason="a test", started_at=NOW)
OVER = {"job_id": JOB, "metrics": {}, "duration_seconds": 1.0, "completed_at": NOW}
SUCCEEDED = TrainingCompleted(model_version="m", status="succeeded", **OVER)
FAILED = TrainingCompleted(
    model_version=None,
    status="failed",
    error_message="at postgresql://user:secret@host/db",  # pragma: allowlist secret
    **OVER,
)
PROMOTED = Promoted(
    model_type="xgboost",
    old_version=None,
    new_version="m",
    promotion_reason="it leads",
    improvement_pct=None,
    promoted_at=NOW,
)
REGRESSED = Regressed(
    model_type="xgboost", failed_version="m", rolled_back_to=None, regression_reason="it loses", regressed_at=NOW
)
DRIFT = DriftDetected(
    drift_type="features",
    severity="SEVERE",
    affected_models=(),
    psi_score=0.3,
    recommendation="train again",
    detected_at=NOW,
)


@pytest.mark.parametrize(
    ("payload", "alerts", "sentence"),
    [
        (STARTED, False, "training of xgboost started: a test"),
        (SUCCEEDED, False, "training of xgboost succeeded"),
        (PROMOTED, True, "xgboost was promoted: it leads"),
        (REGRESSED, True, "xgboost was rolled back: it loses"),
        (DRIFT, True, "severe drift of features: train again"),
    ],
)
def test_an_event_is_told_in_words(payload, alerts, sentence):
    assert (sentence_of(payload), is_alert(payload)) == (sentence, alerts)


def test_a_failed_training_is_an_alert_that_hides_passwords():
    assert is_alert(FAILED)
    assert sentence_of(FAILED).startswith("training of xgboost failed: at postgresql://")
    assert "secret" not in sentence_of(FAILED)
