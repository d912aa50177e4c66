"""The one classifier of faults: can an error pass by itself, must a person act, and what should the person do?

Errors are recognised by name, so that no database, MLflow or HTTP package is loaded for it. The error message, with
the place and the subject, is written by the caller.
"""

from __future__ import annotations

import errno
import re
import sqlite3
from collections.abc import Mapping

from quantum_training.sources.retry import OVERLOAD_STATUS, causes

DISK_FULL = "Make room there"
READ_ONLY = "Let this user read and write there"
BAD_CREDENTIALS = "Give the name and password, or the keys, that are right there"
UNREACHABLE = "Look after the disk or the server, or mend its address"

CLIENT_GAVE_UP = "Max retries exceeded"
"""In an error of MLflow's client after minutes of attempts, as registry/connection.py configures it."""

ERRNO_REMEDIES: Mapping[int | None, str] = {
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT, errno.EFBIG), DISK_FULL),
    **dict.fromkeys((errno.EROFS, errno.EACCES, errno.EPERM), READ_ONLY),
}
NO_STORAGE_FAULT = {None, errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.EINVAL}
"""Error numbers of a wrong request. Every other number means that a disk or a server fails."""

TEXT_REMEDIES = {
    DISK_FULL: re.compile("no space left on device|disk is full|disk full|disk quota exceeded"),
    READ_ONLY: re.compile(
        "read-only file system|readonly database|unable to open database file|read-only transaction|permission denied"
        r"|403 client error|\(accessdenied\)|error occurred \(403\)"
    ),
    BAD_CREDENTIALS: re.compile(r"401 client error|\(invalidaccesskeyid\)|\(signaturedoesnotmatch\)"),
}
"""Messages of servers, SQLite and MLflow's downloads, in lower case."""

MLFLOW_ERROR = "mlflow.exceptions.MlflowException"
MLFLOW_REMEDIES = {"PERMISSION_DENIED": READ_ONLY, "UNAUTHENTICATED": BAD_CREDENTIALS}
"""MLflow's codes for HTTP 403 and 401, both its own and those of S3."""
MLFLOW_FAILURES = {"INTERNAL_ERROR", "TEMPORARILY_UNAVAILABLE"}
MLFLOW_TRANSIENT = {"TEMPORARILY_UNAVAILABLE", "REQUEST_LIMIT_EXCEEDED", "RESOURCE_EXHAUSTED"}

DATABASE_FAULTS = frozenset({"sqlalchemy.exc.OperationalError", "sqlalchemy.exc.InterfaceError"})
DAGSTER_STORAGE_FAULTS = DATABASE_FAULTS | {
    "dagster_postgres.utils.DagsterPostgresException",
    "quantum_training.automation.failures.storage_faults.RunStorageFault",
}
TRANSIENT_ERRORS = DATABASE_FAULTS | {
    "builtins.ConnectionError",
    "builtins.TimeoutError",
    "quantum_training.resources.registry.errors.RegistryOutage",
    "quantum_training.sources.retry.GaveUpError",
    "requests.exceptions.ConnectionError",
    "requests.exceptions.Timeout",
    "requests.exceptions.ChunkedEncodingError",
    "urllib3.exceptions.HTTPError",
    "botocore.exceptions.HTTPClientError",
    "botocore.exceptions.ConnectionError",
    "aiohttp.client_exceptions.ClientConnectionError",
}

PERMANENT_PATTERN = re.compile(
    r"authentication failed|no password supplied|does not exist|no such table|no such column|unable to open database"
    r"|read-?only|disk is full|disk full|No space left|no pg_hba|certificate verify failed",
    re.IGNORECASE,
)
"""Messages of a database or server whose settings, permissions or disk a person has to correct."""


def is_transient(error: BaseException) -> bool:
    """Whether the same operation may succeed later although nobody does anything, as after an outage of a server.

    The causes of the error count too: a RegistryError is transient if MLflow did not answer, but not if a version is
    missing.
    """
    return not is_permanent(error) and any(map(_is_outage, causes(error)))


def is_permanent(error: BaseException) -> bool:
    """Whether a message of a database or server says that a person has to act."""
    return any(PERMANENT_PATTERN.search(str(cause)) for cause in causes(error))


def remedy(error: BaseException | None) -> str | None:
    """What a person should do about a full, read-only or unreachable disk or server; None for any other error."""
    code = _mlflow_code(error) if error else None
    if code in MLFLOW_REMEDIES:
        return MLFLOW_REMEDIES[code]
    advice = next(filter(None, map(_remedy_of_one, causes(error))), None)
    if advice is None and code in MLFLOW_FAILURES:
        file_missing = re.search("404 Client Error|No such file", str(error))
        return None if file_missing else UNREACHABLE
    return advice


def is_outage_of_database(error: BaseException) -> bool:
    """Whether SQLAlchemy reports an outage that may end while a transaction waits for it, a few minutes at most.

    On a server also permissions and settings may be corrected meanwhile. A SQLite file that is full, read-only or
    broken stays so; one that another process uses does not.
    """
    code = getattr(getattr(error, "orig", None), "sqlite_errorcode", None)
    waiting_helps = code is None or code & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
    return waiting_helps and not DATABASE_FAULTS.isdisjoint(_class_names(error))


def is_transient_storage_fault(error: BaseException | None) -> bool:
    """Whether Dagster's own storage failed and may recover. Our own database raises DatabaseError instead."""
    return error is not None and not DAGSTER_STORAGE_FAULTS.isdisjoint(_class_names(error)) and not is_permanent(error)


def is_fault_of_storage(name: str, message: str) -> bool:
    """The same of an error that a process has recorded. name: of its class, without the module."""
    names = {known.rpartition(".")[2] for known in DAGSTER_STORAGE_FAULTS}
    return name in names and not PERMANENT_PATTERN.search(message)


def _is_outage(error: BaseException) -> bool:
    code = _mlflow_code(error)
    if code is not None:
        return code in MLFLOW_TRANSIENT or CLIENT_GAVE_UP in str(error)
    return not TRANSIENT_ERRORS.isdisjoint(_class_names(error))


def _remedy_of_one(error: BaseException) -> str | None:
    number = error.errno if isinstance(error, OSError) else None
    message = str(error).lower()
    for advice, pattern in TEXT_REMEDIES.items():
        if ERRNO_REMEDIES.get(number) == advice or pattern.search(message):
            return advice
    failed = isinstance(error, ConnectionError | TimeoutError) or number not in NO_STORAGE_FAULT
    return UNREACHABLE if failed or _is_unanswered_request(error) else None


def _is_unanswered_request(error: BaseException) -> bool:
    """Whether an HTTP request got no answer, or one that says that the server is overloaded or broken."""
    status = getattr(getattr(error, "response", None), "status_code", None)
    is_request = "requests.exceptions.RequestException" in _class_names(error)
    return is_request and (status is None or status in OVERLOAD_STATUS)


def _mlflow_code(error: BaseException) -> str | None:
    """The error code of an error of MLflow, "" if it has none; None for any other error."""
    return getattr(error, "error_code", "") if MLFLOW_ERROR in _class_names(error) else None


def _class_names(error: BaseException) -> set[str]:
    return {f"{cls.__module__}.{cls.__qualname__}" for cls in type(error).__mro__}
