"""What keeps a disk or a server from doing its work, told from what is wrong with the work itself, and the remedy.

Who met it, and where, is said by the caller.
"""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator, Mapping

FULL = "Make room there"
READ_ONLY = "Let this user read and write there"
NO_LOGIN = "Give the name and password, or the keys, that are right there"
SILENT = "Look after the disk or the server, or mend its address"

_NUMBERS: Mapping[str, set[int]] = {
    FULL: {errno.ENOSPC, errno.EDQUOT, errno.EFBIG},
    READ_ONLY: {errno.EROFS, errno.EACCES, errno.EPERM},
    NO_LOGIN: set(),
}
_NO_OBSTACLE = {None, errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.EINVAL}
_SAID = {
    FULL: ("no space left on device", "disk is full", "disk full", "disk quota exceeded"),
    READ_ONLY: (
        "read-only file system",
        "readonly database",
        "unable to open database file",
        "read-only transaction",
        "permission denied",
        "403 client error",
        "(accessdenied)",
        "error occurred (403)",
    ),
    NO_LOGIN: ("401 client error", "(invalidaccesskeyid)", "(signaturedoesnotmatch)"),
}
"""A server, SQLite and MLflow's downloads say in words, in capitals or not, what they were told."""


def remedy(error: BaseException | None) -> str | None:
    """What to do where a full or read-only disk, missing rights or a silent server is behind an error; else None."""
    for cause in _causes(error):
        code = cause.errno if isinstance(cause, OSError) else None
        said = str(cause).lower()
        for todo, numbers in _NUMBERS.items():
            if code in numbers or any(text in said for text in _SAID[todo]):
                return todo
        if isinstance(cause, ConnectionError | TimeoutError) or code not in _NO_OBSTACLE or _http_silence(cause):
            return SILENT
    return None


def _http_silence(error: BaseException) -> bool:
    """Is it an HTTP request without an answer, or with one that the server is not able to give?"""
    from requests import RequestException

    status = getattr(getattr(error, "response", None), "status_code", None)
    return isinstance(error, RequestException) and (status is None or status == 429 or status >= 500)


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


PASSING = frozenset(
    {
        "builtins.ConnectionError",
        "builtins.TimeoutError",
        "quantum_training.resources.registry.errors.RegistryOutage",
        "quantum_training.sources.retry.GaveUpError",
        "requests.exceptions.ConnectionError",
        "requests.exceptions.Timeout",
        "requests.exceptions.ChunkedEncodingError",
        "urllib3.exceptions.HTTPError",
        "sqlalchemy.exc.OperationalError",
        "sqlalchemy.exc.InterfaceError",
        "botocore.exceptions.HTTPClientError",
        "botocore.exceptions.ConnectionError",
        "aiohttp.client_exceptions.ClientConnectionError",
    }
)
"""Errors by name, so that none of these packages is loaded to ask."""


MLFLOW_PASSING = {"TEMPORARILY_UNAVAILABLE", "REQUEST_LIMIT_EXCEEDED", "RESOURCE_EXHAUSTED"}


LASTING = re.compile(
    r"authentication failed|no password supplied|does not exist|no such table|no such column|unable to open database"
    r"|read-?only|disk is full|disk full|No space left|no pg_hba|certificate verify failed",
    re.IGNORECASE,
)
"""What a database or server says when somebody has to act: settings, rights or room."""


def is_transient(error: BaseException) -> bool:
    """May the same succeed later, with nobody doing anything? An exchange, database or server that is out of reach.

    What the error came from counts, so a RegistryError passes where MLflow did not answer, not where a version is gone.
    """
    return not is_permanent(error) and any(map(_passes, _chain(error)))


def is_permanent(error: BaseException) -> bool:
    """Does a database or server say that somebody has to act?"""
    return any(LASTING.search(str(one)) for one in _chain(error))


def _passes(error: BaseException) -> bool:
    names = {f"{cls.__module__}.{cls.__qualname__}" for cls in type(error).__mro__}
    if "mlflow.exceptions.MlflowException" in names:
        return getattr(error, "error_code", "") in MLFLOW_PASSING or "Max retries exceeded" in str(error)
    return not PASSING.isdisjoint(names)


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
