"""Each fault, tried again or not: a table of real errors, then Dagster with a partition that fails so often."""

import shutil
from types import SimpleNamespace

import dagster as dg
import pytest
import requests
import sqlalchemy as sa
from ccxt.base.errors import NetworkError

from quantum_training.assets import step_retries as retries
from quantum_training.assets.no_io_manager import NoIOManager
from quantum_training.assets.partition_runner import SINGLE_RUN, each_partition
from quantum_training.assets.step_retries import may_be_retried
from quantum_training.checks import leakage as checks
from quantum_training.checks.agents import agent_checks
from quantum_training.features.windows import InsufficientData
from quantum_training.lifecycle.evaluation import leakage
from quantum_training.lifecycle.evaluation.leakage import VersionReport
from quantum_training.models.checkpoint import TrainingStateError
from quantum_training.partitions import build_partitions
from quantum_training.resources import database
from quantum_training.resources.database import DatabaseError, transaction
from quantum_training.resources.faults import is_transient
from quantum_training.resources.registry.errors import RegistryError, RegistryOutage
from quantum_training.resources.registry.registry import ModelRegistry
from quantum_training.resources.store.store import Store, StoreError
from quantum_training.selection.hash_chain import LedgerError
from quantum_training.settings import load_settings
from quantum_training.settings.paths import SettingsError
from quantum_training.sources.base import SourceError
from quantum_training.sources.files import Source as Files
from quantum_training.sources.retry import GaveUpError, Retries
from quantum_training_tests.support.processes import free_port

NO_IO = {"io_manager": NoIOManager()}
VERSION = {"as_of": "2020-01-06T00:00:00+00:00", "model_id": "m1"}


def exchange_out_of_reach(tmp_path):
    def ask():
        raise NetworkError("no route")

    try:
        Retries(attempts=1).call(ask, lambda error: isinstance(error, NetworkError))
    except GaveUpError as error:
        raise SourceError("AAA", "ccxt binance", str(error), "Run the partition again later") from error


def database_down(tmp_path):
    transaction(f"postgresql+psycopg2://user@127.0.0.1:{free_port()}/db", lambda connection: None)


def database_full(tmp_path):
    def work(connection):
        raise sa.exc.OperationalError("insert", {}, Exception("database or disk is full"))

    transaction(f"sqlite:///{tmp_path}/a.db", work)


def wrong_password(tmp_path):
    def work(connection):
        raise sa.exc.OperationalError("", {}, Exception('FATAL: password authentication failed for user "me"'))

    transaction(f"sqlite:///{tmp_path}/a.db", work)


def mlflow_down(tmp_path):
    ModelRegistry(tracking_uri=f"http://127.0.0.1:{free_port()}").find("AAA", "id")


def version_gone(tmp_path):
    ModelRegistry(tracking_uri=f"sqlite:///{tmp_path}/mlflow.db").load("AAA", "id")


def no_settings(tmp_path):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("QUANTUM_TRAINING_CONFIG", str(tmp_path / "none.yaml"))
        load_settings()


def no_file(tmp_path):
    import pandas as pd

    now = pd.Timestamp("2024-01-01", tz="UTC")
    Files(path=str(tmp_path / "gone.csv")).fetch("AAA", "1d", now, now, now)


def raised(error):
    def fail(tmp_path):
        raise error

    return fail


FAULTS = [
    (exchange_out_of_reach, SourceError, True),
    (database_down, DatabaseError, True),
    (mlflow_down, Exception, True),
    (raised(requests.exceptions.ReadTimeout("slow")), requests.exceptions.ReadTimeout, True),
    (raised(ConnectionResetError(104, "reset")), ConnectionResetError, True),
    (raised(TimeoutError("slow")), TimeoutError, True),
    (database_full, DatabaseError, False),
    (wrong_password, DatabaseError, False),
    (version_gone, RegistryError, False),
    (no_settings, SettingsError, False),
    (no_file, SourceError, False),
    (lambda tmp_path: Store(root=str(tmp_path)).read_frame("candles", "AAA", "2020-01-01"), StoreError, False),
    (raised(OSError(28, "No space left on device")), OSError, False),
    (raised(PermissionError(13, "Permission denied")), PermissionError, False),
    (raised(OSError(30, "Read-only file system")), OSError, False),
    (raised(InsufficientData("rows", 3, 100)), InsufficientData, False),
    (raised(TrainingStateError("other settings")), TrainingStateError, False),
    (raised(LedgerError("row 3 was changed")), LedgerError, False),
    (raised(dg.Failure("refused", allow_retries=False)), dg.Failure, False),
    (raised(MemoryError()), MemoryError, False),
    (raised(ValueError("as_of is outside")), ValueError, False),
    (raised(FloatingPointError("the network diverged")), FloatingPointError, False),
]


@pytest.mark.parametrize(("fault", "type_", "again"), FAULTS, ids=lambda value: getattr(value, "__name__", None))
def test_only_a_transient_fault_is_retried(fault, type_, again, tmp_path, monkeypatch, empty_mlflow):
    shutil.copy(empty_mlflow, tmp_path)
    monkeypatch.setattr(database, "GIVE_UP_SECONDS", 0.1)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(type_) as caught:
        fault(tmp_path)
    assert is_transient(caught.value) == again, repr(caught.value)


@pytest.fixture
def run(monkeypatch):
    """`run(error, times, allowed)`: run a partition that raises so often; the result and how often it was tried."""
    monkeypatch.setattr(retries, "FIRST_WAIT_SECONDS", 0.01)
    grid = build_partitions(["AAA"], "2020-01-01", "2020-03-01").week

    def run(error, times, allowed=None, at="AAA|2020-01-13"):
        tries = []

        @dg.asset(partitions_def=grid, backfill_policy=SINGLE_RUN)
        def model(context: dg.AssetExecutionContext):
            def materialize_partition(key):
                tries.append(str(key))
                return meet(str(key))

            return each_partition(context, grid, materialize_partition, lambda: meet("finish"))

        def meet(place):
            if place == at and tries.count("AAA|2020-01-13") <= times:
                raise error
            return {}

        tags = {"dagster/asset_partition_range_start": "AAA|2020-01-06"}
        tags |= {"dagster/asset_partition_range_end": "AAA|2020-01-13"}
        tags |= {} if allowed is None else {"dagster/max_retries": str(allowed)}
        with dg.DagsterInstance.ephemeral() as instance:
            result = dg.materialize([model], resources=NO_IO, instance=instance, tags=tags, raise_on_error=False)
            done = instance.get_materialized_partitions(dg.AssetKey("model"))
        return result, tries.count("AAA|2020-01-13"), sorted(done)

    return run


def test_a_step_survives_a_transient_fault(run):
    result, tries, done = run(ConnectionError("reset"), times=2)
    assert (result.success, tries, done) == (True, 3, ["AAA|2020-01-06", "AAA|2020-01-13"])


def test_after_the_retries_of_the_run_the_step_fails_with_the_original_error(run):
    result, tries, done = run(ConnectionError("reset"), times=99, allowed=2)
    assert (result.success, tries, done) == (False, 3, ["AAA|2020-01-06"])
    (failure,) = [e.step_failure_data for e in result.all_events if e.is_step_failure]
    assert failure.error.cause.cls_name == "ConnectionError"
    assert "in partition AAA|2020-01-13 of model" in failure.error.cause.message


def test_work_after_the_partitions_is_retried_without_repeating_them(run):
    both = ["AAA|2020-01-06", "AAA|2020-01-13"]
    result, tries, done = run(ConnectionError("reset"), times=2, at="finish")
    assert (result.success, tries, done) == (True, 3, both)
    result, tries, done = run(ValueError("no such version"), times=99, at="finish")
    assert (result.success, tries, done) == (False, 1, both)


@pytest.mark.parametrize("kind", ["leak_free", "agent"])
def test_a_check_is_retried(build_project, small, monkeypatch, kind):
    project, tries, grid = build_project(small), [], build_partitions(["AAA"], "2020-01-01", "2020-03-01")
    project.store.write_record("xgboost_model", "AAA", "2020-01-06", {"outcome": "trained", "versions": [VERSION]})

    def load(registry, symbol, model_id):
        tries.append(model_id)
        if len(tries) < 3:
            raise RegistryOutage("MLflow is silent")

    def report(store, registry, *_):
        registry.load("AAA", "m1")
        return VersionReport("resting")

    monkeypatch.setattr(retries, "FIRST_WAIT_SECONDS", 0.01)
    monkeypatch.setattr(ModelRegistry, "load", load)
    monkeypatch.setattr(leakage, "version_report", report)

    @dg.asset(name="xgboost_model", partitions_def=grid.week)
    def model():
        pass

    leak = kind == "leak_free"
    check = checks.leak_free("xgboost", project.settings, grid) if leak else agent_checks("xgboost", grid)
    resources, tags = {"store": project.store, "registry": project.registry}, {"dagster/partition": "AAA|2020-01-06"}
    options = {"resources": resources | NO_IO, "tags": tags, "instance": project.instance, "raise_on_error": False}
    assert dg.materialize([model, check], **options).success
    assert tries == ["m1"] * 3


@pytest.mark.parametrize(
    ("error", "launched", "enabled", "expected"),
    [
        (KeyboardInterrupt(), True, True, True),
        (KeyboardInterrupt(), False, True, False),
        (KeyboardInterrupt(), True, False, False),
        (ConnectionError("reset"), False, False, True),
        (ValueError("wrong data"), True, True, False),
    ],
)
def test_a_stopped_training_may_continue_if_dagster_restarts_its_run(error, launched, enabled, expected):
    run = SimpleNamespace(remote_job_origin="here" if launched else None, tags={})
    context = SimpleNamespace(run=run, instance=SimpleNamespace(run_retries_enabled=enabled), retry_number=0)
    assert may_be_retried(context, error) is expected


@pytest.mark.parametrize(
    ("error", "allowed"), [(ValueError("wrong data"), 3), (ConnectionError("reset"), 0), (KeyboardInterrupt(), 3)]
)
def test_a_permanent_fault_a_run_without_retries_and_a_stopped_run_are_not_retried(run, error, allowed):
    result, tries, _ = run(error, times=99, allowed=allowed)
    assert (result.success, tries) == (False, 1)


def test_the_waits_double_up_to_two_minutes():
    class Context:
        class run:  # noqa: N801
            tags = {"dagster/max_retries": "20"}  # noqa: RUF012

    for number, most in enumerate((10, 20, 40, 80, 120, 120)):
        Context.retry_number = number
        retries_requested = [retries.retry_later(Context) for _ in range(50)]
        assert all(most / 2 <= a.seconds_to_wait <= most for a in retries_requested)
        assert len({a.seconds_to_wait for a in retries_requested}) > 1
        assert {a.max_retries for a in retries_requested} == {20}
