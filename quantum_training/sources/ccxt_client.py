"""The ccxt clients behind the source `ccxt`: one per exchange and process, and what their answers and errors mean."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, TypeVar

from quantum_training.sources.paging import Rows
from quantum_training.sources.retry import GarbageError, Retries, describe, http_status, is_transient_answer

T = TypeVar("T")
_TRY_LATER = (418, 429)


@lru_cache(maxsize=8)
def connect(exchange: str, options: str, timeout: float) -> Any:
    """One client per exchange and process, as months are fetched one by one and its list of markets is large.

    options: of ccxt's constructor, as JSON. timeout: seconds.
    """
    import ccxt

    exchange_class: Any = getattr(ccxt, exchange)

    class Client(exchange_class):
        """ccxt drops rows that it cannot place in time, so that a broken answer would look like an empty one, and rows
        before the asked ones, so that one of the newest would look like one from the beginning on.

        If the body of an error says nothing to ccxt, it chooses a class by the HTTP status alone: that is marked.
        """

        def filter_by_since_limit(self, array: Any, *limits: Any, **options: Any) -> Any:
            return array

        filter_by_symbol_since_limit = filter_by_since_limit

        def handle_http_status_code(self, *answer: Any) -> None:
            try:
                super().handle_http_status_code(*answer)
            except ccxt.BaseError as error:
                error.is_by_status = True
                raise

    return Client({**json.loads(options), "enableRateLimit": True, "timeout": int(timeout * 1000)})


def is_test_network(options: Mapping[str, Any]) -> bool:
    """Whether options of ccxt's constructor ask for an exchange's test network, which is another market."""
    return any(of.get(name) for of in (options, options.get("options") or {}) for name in ("sandbox", "testnet"))


def is_transient(error: BaseException) -> bool:
    """Whether another attempt may help. What ccxt reads in the answer counts first, then the HTTP status.

    Some exchanges refuse too many requests with 400 or 403, others a wrong request with 500.
    """
    import ccxt

    if isinstance(error, (ccxt.DDoSProtection, ccxt.RateLimitExceeded)):
        return True
    if isinstance(error, ccxt.BaseError) and not getattr(error, "is_by_status", False):
        if isinstance(error, ccxt.OperationFailed):
            return True
        if type(error) is not ccxt.ExchangeError and http_status(error) not in _TRY_LATER:
            return False
    return is_transient_answer(error, (ccxt.OperationFailed,))


def answer(request: Callable[[], T], retries: Retries) -> T:
    """The result of a request, repeated as the retries say. GaveUpError after the last attempt; else ccxt's errors."""

    def guarded() -> T:
        try:
            return request()
        except (TypeError, KeyError, IndexError, AttributeError, ValueError) as error:
            # ccxt passes on what is no JSON, or has another shape, until something in it breaks.
            raise GarbageError(f"an answer that cannot be read ({describe(error)})") from error

    return retries.call(guarded, is_transient)


def rows(client: Any, answer: Any) -> Rows:
    """The answer as rows [Unix ms, o, h, l, c, v]; values may be None. GarbageError or ValueError if it has none."""
    text = str(client.last_http_response)
    for row in answer:
        if not isinstance(row[0], int) or all(value is None for value in row[1:6]):
            raise GarbageError(f"an answer that is no list of candles: {' '.join(text.split())[:80]}")
    if not answer:
        json.loads(text)  # an empty list is an answer, a text that is no JSON is none
    return answer
