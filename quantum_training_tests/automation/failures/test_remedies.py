"""The next step of an alert: the advice in the error's message, else the default of its kind."""

import pandas as pd
import pytest

from quantum_training.automation.failures.remedies import BY_CHECK, BY_ERROR, CHECK_DEFAULT, DEFAULT, of_check, of_error
from quantum_training.models.checkpoint import TrainingStateError
from quantum_training.resources.database import DatabaseError
from quantum_training.resources.registry.errors import RegistryError
from quantum_training.resources.registry.registry import ModelRegistry
from quantum_training.resources.store.store import Store, StoreError
from quantum_training.selection.hash_chain import LedgerError
from quantum_training.settings import load_settings
from quantum_training.settings.paths import SettingsError
from quantum_training.sources.base import SourceError
from quantum_training.sources.files import Source as Files

NOW = pd.Timestamp("2024-01-01", tz="UTC")


def failures_with_advice(tmp_path, monkeypatch):
    """Errors as the project raises them, and the advice that each gives."""
    monkeypatch.setenv("QUANTUM_TRAINING_CONFIG", str(tmp_path / "none.yaml"))
    yield load_settings, "set QUANTUM_TRAINING_CONFIG to one or unset it"
    yield lambda: Store(root=str(tmp_path)).read_frame("candles", "AAA", "2020-01-01"), "materialise candles first"
    files = Files(path=str(tmp_path / "gone.csv"))
    yield lambda: files.fetch("AAA", "1d", NOW, NOW, NOW), "Mend source.path or put the file there"
    registry = ModelRegistry(tracking_uri=f"sqlite:///{tmp_path}/mlflow.db")
    yield lambda: registry.load("AAA", "v1"), "re-materialise the model's partition to train it again"


def test_the_advice_in_an_error_message_is_the_next_step(tmp_path, monkeypatch, empty_mlflow):
    (tmp_path / "mlflow.db").write_bytes(empty_mlflow.read_bytes())
    for fail, advice in failures_with_advice(tmp_path, monkeypatch):
        with pytest.raises(Exception) as caught:  # noqa: PT011 - each has a type of its own
            fail()
        cause, step = of_error(type(caught.value).__name__, str(caught.value))
        assert step == advice
        assert str(caught.value) in (f"{cause}; {step}", f"{cause}. {step}")


@pytest.mark.parametrize(
    ("kind", "message", "cause", "step"),
    [
        (
            "DatabaseError",
            "sqlite:///a.db: disk I/O error. Start the database or mend database_url, then run this again: what was "
            "stored is not stored twice",
            "sqlite:///a.db: disk I/O error",
            "Start the database or mend database_url, then run this again: what was stored is not stored twice",
        ),
        (
            "SourceError",
            "AAA: source ccxt binance BTC/USDT: 503 (try 5 of 5). Run the partition again later; raise source.timeout "
            "or source.retries if this comes often",
            "AAA: source ccxt binance BTC/USDT: 503 (try 5 of 5)",
            "Run the partition again later; raise source.timeout or source.retries if this comes often",
        ),
        ("RegistryError", "it is gone", "it is gone", BY_ERROR["RegistryError"]),
        ("InsufficientData", "3 of 100 rows", "3 of 100 rows", BY_ERROR["InsufficientData"]),
        ("KeyError", "'close'", "'close'", DEFAULT),
        (
            "",
            "Exceeded maximum runtime of 3600 seconds.",
            "Exceeded maximum runtime of 3600 seconds.",
            "raise TRAINING",
        ),
        (
            "",
            "Run execution process for a was terminated by signal 9 (SIGKILL).",
            "Run execution",
            "look for the kernel",
        ),
        ("", "Run timed out due to taking longer than 180 seconds to start.", "Run timed out", "look whether the code"),
        ("OSError", "[Errno 28] No space left on device", "[Errno 28]", "free room on the disk"),
    ],
)
def test_every_kind_of_failure_has_a_next_step(kind, message, cause, step):
    cause_and_step = of_error(kind, message)
    assert cause_and_step[0].startswith(cause)
    assert cause_and_step[1].startswith(step)


def test_every_error_type_of_the_project_has_a_default_step():
    kinds = (DatabaseError, StoreError, RegistryError, SourceError, SettingsError, LedgerError, TrainingStateError)
    assert {kind.__name__ for kind in kinds} <= {*BY_ERROR}


@pytest.mark.parametrize("name", BY_CHECK)
def test_a_check_without_advice_has_the_step_of_its_name(name):
    assert of_check(name, "AAA|2020-01-01 SEVERE: two columns") == (
        "AAA|2020-01-01 SEVERE: two columns",
        BY_CHECK[name],
    )


def test_advice_in_a_check_comes_first_and_a_new_check_has_a_default():
    advice = "features AAA|2020-01-01: the code gives other bytes; re-materialise features"
    assert of_check("causal", advice)[1] == "re-materialise features"
    assert of_check("new", "odd") == ("odd", CHECK_DEFAULT)
