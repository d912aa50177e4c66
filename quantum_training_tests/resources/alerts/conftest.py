"""Servers and findings for the tests of delivery."""

from collections.abc import Iterator
from typing import Any

import pytest

from quantum_training.resources.alerts.message import Finding
from quantum_training_tests.support.servers import MailServer, WebServer


@pytest.fixture
def servers() -> Iterator[Any]:
    """`servers(WebServer, 500, 200)` starts one; all are stopped at the end."""
    started: list[Any] = []

    def start(kind: Any, *answers: int) -> Any:
        started.append(kind(*answers))
        return started[-1]

    start.web, start.mail = WebServer, MailServer  # type: ignore[attr-defined]
    yield start
    for server in started:
        server.stop()


@pytest.fixture
def finding() -> Any:
    """`finding(symbol="AAA", cause=..., **fields)`."""

    def make(symbol: str | None = "AAA", cause: str = "no bars", **fields: Any) -> Finding:
        usual = {"kind": "run_failure", "severity": "ERROR", "place": "candles AAA|2020-01-01", "run_id": "r1"}
        return Finding(symbol=symbol, cause=cause, **{**usual, "next_step": "run market_data", **fields})

    return make
