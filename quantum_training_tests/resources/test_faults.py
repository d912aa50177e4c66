"""The classifier of faults: real exception objects, and for each whether it may pass, is permanent, and the remedy."""

import sqlite3

import pytest
import requests
import sqlalchemy as sa
from botocore.exceptions import EndpointConnectionError
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import (
    INTERNAL_ERROR,
    PERMISSION_DENIED,
    RESOURCE_DOES_NOT_EXIST,
    TEMPORARILY_UNAVAILABLE,
    UNAUTHENTICATED,
)

from quantum_training.resources.faults import (
    BAD_CREDENTIALS,
    DISK_FULL,
    READ_ONLY,
    UNREACHABLE,
    is_outage_of_database,
    is_permanent,
    is_transient,
    is_transient_storage_fault,
    remedy,
)
from quantum_training.resources.registry.errors import RegistryError, RegistryOutage
from quantum_training.sources.retry import GaveUpError


def http_error(status):
    response = requests.Response()
    response.status_code = status
    return requests.HTTPError(f"{status} Client Error", response=response)


def database_error(message, code=None):
    cause = sqlite3.OperationalError(message)
    if code is not None:
        cause.sqlite_errorcode = code
    return sa.exc.OperationalError("INSERT", {}, cause)


TRANSIENT, PERMANENT, NEITHER = (True, False), (False, True), (False, False)


@pytest.mark.parametrize(
    ("error", "answers", "advice"),
    [
        (ConnectionResetError(104, "reset"), TRANSIENT, UNREACHABLE),
        (TimeoutError("slow"), TRANSIENT, UNREACHABLE),
        (requests.exceptions.ReadTimeout("slow"), TRANSIENT, UNREACHABLE),
        (http_error(503), NEITHER, UNREACHABLE),
        (http_error(429), NEITHER, UNREACHABLE),
        (http_error(403), NEITHER, READ_ONLY),
        (http_error(401), NEITHER, BAD_CREDENTIALS),
        (http_error(404), NEITHER, None),
        (EndpointConnectionError(endpoint_url="http://s3"), TRANSIENT, None),
        (GaveUpError("NetworkError: no route (try 10 of 10)"), TRANSIENT, None),
        (RegistryOutage("AAA: MLflow failed"), TRANSIENT, None),
        (RegistryError("AAA: version m1 is missing"), NEITHER, None),
        (MlflowException("down", error_code=TEMPORARILY_UNAVAILABLE), TRANSIENT, UNREACHABLE),
        (MlflowException("HTTP request failed: Max retries exceeded"), TRANSIENT, UNREACHABLE),
        (MlflowException("the disk failed", error_code=INTERNAL_ERROR), NEITHER, UNREACHABLE),
        (MlflowException("404 Client Error", error_code=INTERNAL_ERROR), NEITHER, None),
        (MlflowException("Forbidden", error_code=PERMISSION_DENIED), NEITHER, READ_ONLY),
        (MlflowException("no login", error_code=UNAUTHENTICATED), NEITHER, BAD_CREDENTIALS),
        (MlflowException("no such run", error_code=RESOURCE_DOES_NOT_EXIST), NEITHER, None),
        (database_error("server closed the connection"), TRANSIENT, None),
        (database_error("database is locked", sqlite3.SQLITE_BUSY), TRANSIENT, None),
        (database_error("database or disk is full", sqlite3.SQLITE_FULL), PERMANENT, DISK_FULL),
        (database_error("attempt to write a readonly database"), PERMANENT, READ_ONLY),
        (database_error('password authentication failed for user "me"'), PERMANENT, None),
        (database_error('database "x" does not exist'), PERMANENT, None),
        (sa.exc.IntegrityError("INSERT", {}, Exception("duplicate key")), NEITHER, None),
        (OSError(28, "No space left on device"), PERMANENT, DISK_FULL),
        (OSError(30, "Read-only file system"), PERMANENT, READ_ONLY),
        (OSError(5, "Input/output error"), NEITHER, UNREACHABLE),
        (PermissionError(13, "Permission denied"), NEITHER, READ_ONLY),
        (RuntimeError("permission denied for table ledger"), NEITHER, READ_ONLY),
        (RuntimeError("An error occurred (SignatureDoesNotMatch) when calling PutObject"), NEITHER, BAD_CREDENTIALS),
        (FileNotFoundError(2, "No such file"), NEITHER, None),
        (ValueError("wrong"), NEITHER, None),
        (MemoryError(), NEITHER, None),
    ],
    ids=lambda value: f"{type(value).__name__}: {value}"[:60] if isinstance(value, BaseException) else "",
)
def test_each_fault_has_its_three_answers(error, answers, advice):
    assert (is_transient(error), is_permanent(error)) == answers
    assert remedy(error) == advice


@pytest.mark.parametrize("error", [ConnectionResetError(104, "reset"), OSError(28, "No space left on device")])
def test_a_wrapped_fault_is_judged_by_its_cause_unless_that_is_hidden(error):
    wrapped, hidden = RuntimeError("outer"), RuntimeError("outer")
    wrapped.__cause__ = hidden.__context__ = error
    hidden.__suppress_context__ = True
    for judge in (is_transient, is_permanent, remedy):
        assert judge(wrapped) == judge(error)
        assert not judge(hidden)


@pytest.mark.parametrize(
    ("error", "worth_waiting", "restart"),
    [
        (database_error("database is locked", sqlite3.SQLITE_BUSY), True, True),
        (database_error("database or disk is full", sqlite3.SQLITE_FULL), False, False),
        (database_error("the database system is starting up"), True, True),
        (database_error("password authentication failed"), True, False),
        (sa.exc.IntegrityError("INSERT", {}, Exception("duplicate key")), False, False),
        (ConnectionResetError(104, "reset"), False, False),
    ],
)
def test_faults_of_databases(error, worth_waiting, restart):
    """A transaction waits for a few minutes, also while a person corrects a password; a run restarts only otherwise."""
    assert is_outage_of_database(error) == worth_waiting
    assert is_transient_storage_fault(error) == restart
