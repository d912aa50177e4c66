"""What the model registry raises: a version that does not work is an error of its own, an outage of MLflow another.

Which error is an outage is decided in resources/faults.py.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar, cast

from tenacity import Retrying, retry_if_exception, stop_after_attempt, wait_fixed

from quantum_training.resources.faults import CLIENT_GAVE_UP, UNREACHABLE, remedy
from quantum_training.settings.paths import without_password
from quantum_training.sources.retry import describe


class RegistryError(RuntimeError):
    """A version is missing or did not come back as it was stored. The message says which and what to do."""


class VersionDeleted(RegistryError):  # noqa: N818 - not a fault: housekeeping deletes old versions
    """A recorded version is no longer in MLflow."""


class RegistryOutage(RuntimeError):  # noqa: N818 - like a timeout: the request was right
    """MLflow or its disk failed; no version is at fault. The message says what to do."""


Method = TypeVar("Method", bound=Callable[..., Any])
ATTEMPTS = 2
"""Of a whole method: MLflow's client repeats each request, but not a download that breaks off."""


def outages_named(method: Method) -> Method:
    """Have a method of the registry, or a function over it, raise RegistryOutage if MLflow or a disk fails.

    The first argument of the method begins the message: the symbol, or the fit that several symbols share.
    """

    @wraps(method)
    def guarded(self: Any, subject: str, *arguments: Any, **options: Any) -> Any:
        attempts = Retrying(
            retry=retry_if_exception(_is_worth_repeating),
            stop=stop_after_attempt(ATTEMPTS),
            wait=wait_fixed(1),
            reraise=True,
        )
        try:
            return attempts(method, self, subject, *arguments, **options)
        except (RegistryError, RegistryOutage):
            raise
        except Exception as error:
            advice = remedy(error)
            if advice is None:
                raise
            place, message = without_password(self.uri), without_password(describe(error))
            raise RegistryOutage(
                f"{subject}: MLflow at {place} failed in {method.__name__}: {message}. {advice}, then run this again: "
                "what was registered is not registered twice"
            ) from error

    return cast(Method, guarded)


def _is_worth_repeating(error: BaseException) -> bool:
    if isinstance(error, RegistryError | RegistryOutage):
        return False
    return remedy(error) == UNREACHABLE and CLIENT_GAVE_UP not in str(error)
