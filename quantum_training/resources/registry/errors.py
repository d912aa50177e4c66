"""What the model registry raises, and telling an outage of MLflow or a disk from a version that does not work."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar, cast

from tenacity import Retrying, retry_if_exception, stop_after_attempt, wait_fixed

from quantum_training.resources.faults import NO_LOGIN, READ_ONLY, SILENT, remedy
from quantum_training.settings.paths import without_password
from quantum_training.sources.retry import describe


class RegistryError(RuntimeError):
    """A version is missing or did not come back as it was stored. The message says which and what to do."""


class VersionDeleted(RegistryError):  # noqa: N818 - no fault: housekeeping removes versions of long ago
    """A version that is recorded is not in MLflow any more."""


class RegistryOutage(RuntimeError):  # noqa: N818 - as TimeoutError's kin: nothing is wrong with what was asked
    """MLflow, or the disk beneath it, did not do it: no version is to blame. The message says what to do."""


Asked = TypeVar("Asked", bound=Callable[..., Any])
TRIES = 2
"""Of a whole method: MLflow's client tries each request again, but not a download that breaks off."""
GIVEN_UP = "Max retries exceeded"
"""In an error of MLflow's client: it has tried for minutes, as mlflow_store.py sets it."""
ACTS = {"PERMISSION_DENIED": READ_ONLY, "UNAUTHENTICATED": NO_LOGIN}
"""MLflow's words for 403 and 401, its own and those of S3, whatever version was asked for."""


def outages_named(method: Asked) -> Asked:
    """A method of the registry, or a function over it, with RegistryOutage for what MLflow or a disk fails with.

    Its first argument begins the message: the symbol, or the fit that several symbols share.
    """

    def silent(error: BaseException) -> bool:
        own = isinstance(error, RegistryError | RegistryOutage)
        return not own and outage(error) == SILENT and GIVEN_UP not in str(error)

    @wraps(method)
    def asked(self: Any, subject: str, *arguments: Any, **options: Any) -> Any:
        again = Retrying(
            retry=retry_if_exception(silent), stop=stop_after_attempt(TRIES), wait=wait_fixed(1), reraise=True
        )
        try:
            return again(method, self, subject, *arguments, **options)
        except (RegistryError, RegistryOutage):
            raise
        except Exception as error:
            todo = outage(error)
            if todo is None:
                raise
            place, said = without_password(self.uri), without_password(describe(error))
            raise RegistryOutage(
                f"{subject}: MLflow at {place} failed in {method.__name__}: {said}. {todo}, then run this again: what "
                "was registered is not registered twice"
            ) from error

    return cast(Asked, asked)


def outage(error: BaseException) -> str | None:
    """What to do where MLflow or a disk is to blame for an error, not what was asked of it; else None."""
    from mlflow.exceptions import MlflowException

    if isinstance(error, MlflowException) and error.error_code in ACTS:
        return ACTS[error.error_code]
    todo = remedy(error)
    if todo is None and isinstance(error, MlflowException):
        gone = "404 Client Error" in str(error) or "No such file" in str(error)
        if error.error_code in ("INTERNAL_ERROR", "TEMPORARILY_UNAVAILABLE") and not gone:
            return SILENT
    return todo
