"""The next step after a failure, in words: the advice in the error's own message, else the usual one of its kind."""

from __future__ import annotations

import re

from quantum_training.assets.failed_months import QUALITY_CHECK
from quantum_training.checks.decay import CHECK as DECAY_CHECK
from quantum_training.checks.drift import CHECK as DRIFT_CHECK
from quantum_training.checks.features import CAUSAL_CHECK
from quantum_training.checks.leakage import LEAK_CHECK

VERBS = (
    *("ask", "bring", "change", "check", "choose", "compare", "correct", "delete", "export", "free", "give", "install"),
    *("keep", "let", "look", "lower", "make", "materialise", "mend", "move", "name", "open", "pass", "put", "raise"),
    *(
        "re-execute",
        "re-materialise",
        "read",
        "register",
        "reload",
        "remove",
        "rename",
        "restart",
        "restore",
        "run",
        "set",
        "shorten",
    ),
    *("start", "take", "train", "use", "wait"),
)
ADVICE = re.compile(rf"(?:;|\.) +(?=(?:{'|'.join(VERBS)})\b)", re.IGNORECASE)
"""The place in an error message of this project at which the cause ends and the advice begins."""

DEFAULT = "open the run, mend what its error says, then re-execute it from the failure"
BY_ERROR = {
    "StoreError": "run the job market_data for the months before, then the partition again",
    "RegistryError": "bring the version back to MLflow, or re-materialise the partition that trained it",
    "SourceError": "run the partition again later; mend `source` in the symbol's settings if this stays",
    "GaveUpError": "run the partition again later; mend `source` in the symbol's settings if this stays",
    "SettingsError": "mend the settings file, then restart the code server",
    "DatabaseError": "start the database or mend database_url, then run this again: nothing is stored twice",
    "LedgerError": "compare the ledger with its backup: a row was changed; trade nothing on it until that is clear",
    "InsufficientData": "load more history, or lower window_bars or MIN_TRAINING_DATA_POINTS",
    "TrainingStateError": "remove the folder that the error names; the training then starts from its beginning",
    "MlflowException": "look whether the MLflow server runs and mlflow_tracking_uri is right, then run it again",
    "ConnectionError": "look whether the server that did not answer runs, then re-execute the run",
    "PermissionError": "give the user that Dagster runs as the right to write there",
    "MemoryError": "give the run more memory, or lower window_bars or MAX_CONCURRENT_TRAINING_JOBS",
    "FloatingPointError": "lower learning_rate of the recipe, or look at its features",
}
BY_TEXT = (
    ("No space left", "free room on the disk, then re-execute the run"),
    (
        "maximum runtime",
        "raise TRAINING_JOB_TIMEOUT or make the fit smaller (window_bars, params), then re-execute the run: a training "
        "that keeps its state goes on where it was",
    ),
    (
        "terminated by signal 9",
        "look for the kernel's out-of-memory killer; give the run more memory or lower MAX_CONCURRENT_TRAINING_JOBS, "
        "then re-execute the run",
    ),
    (
        "to start",
        "look whether the code server is up and has room for another process, then re-execute the run",
    ),
    (
        "unexpectedly",
        "look into the log of the code server for what ended the process, then re-execute the run",
    ),
    (
        "outside the execution context",
        "look into the log of the code server for what ended the process, then re-execute the run",
    ),
)
BY_CHECK = {
    QUALITY_CHECK: "compare the bars with the exchange; mend the source, or materialise candles with refetch where it "
    "has revised them; what really happened is named in `accepted_bars`, a limit that is too strict in `quality`",
    CAUSAL_CHECK: "re-materialise features of these months; if it stays, a feature looks ahead: mend it before any "
    "score is believed",
    LEAK_CHECK: "look for a feature, label or model that knows later bars; trade nothing of this recipe until then",
    DRIFT_CHECK: "open the drift report: mend the data where it names a fault; else drift_sensor trains the recipes",
    DECAY_CHECK: "open the decay report; performance_decay_sensor trains the recipes, demote takes the champion back",
}
CHECK_DEFAULT = "open the check in the asset's page: its metadata say what was found"


def split(message: str) -> tuple[str, str]:
    """Cause and advice of an error message; the advice is empty if the message gives none."""
    match = ADVICE.search(message)
    return (message[: match.start()], message[match.end() :]) if match else (message, "")


def of_error(kind: str, message: str) -> tuple[str, str]:
    """Cause and next step of an error. kind: the name of its class."""
    cause, advice = split(message)
    usual = next((step for text, step in BY_TEXT if text in message), None)
    return cause, advice or usual or BY_ERROR.get(kind, DEFAULT)


def of_check(name: str, description: str) -> tuple[str, str]:
    """Cause and next step of a failed check."""
    cause, advice = split(description)
    return cause, advice or BY_CHECK.get(name, CHECK_DEFAULT)
