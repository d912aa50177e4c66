"""The web application: its addresses, what guards them, and how errors are answered."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import Any

from fastapi import FastAPI

from quantum_training.service import metrics
from quantum_training.service.dashboard import pages
from quantum_training.service.document import Application
from quantum_training.service.heartbeat import heartbeat
from quantum_training.service.older import (
    production,
    rl_drift,
    rl_shadow,
    rl_training,
    training_module,
    training_summary,
)
from quantum_training.service.problems import answer_problems
from quantum_training.service.remembered import Memory
from quantum_training.service.routes import reads, reports, starts, stream
from quantum_training.service.routes.stored import AGE_SECONDS, ANSWERS_BYTES
from quantum_training.service.security.guard import Guard
from quantum_training.service.security.keys import KeyRing, read_keys
from quantum_training.service.security.time_bound import TimeBound
from quantum_training.service.state import State
from quantum_training.service.streaming.feed import Feed
from quantum_training.settings import Settings

DESCRIPTION = (
    "What quantum_training has recorded: champions and their evidence, versions, drift, decay, signals. Answers say up "
    "to when what they show knew the market. Errors are problems (RFC 9457) with the broken rule and its remedy."
)

OLDER = (rl_training, rl_shadow, rl_drift, training_summary, training_module, production)
"""The addresses of older services."""


def build_app(settings: Settings, resources: Mapping[str, Any] | None = None) -> FastAPI:
    """The application over these settings. resources: replace fields of State by name.

    SettingsError if the keys of SERVICE_KEYS are wrong.
    """
    state = State.of(settings, resources)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        with heartbeat(state):
            yield

    app = Application(
        lifespan=lifespan,
        title="quantum_training",
        version=version("quantum_training"),
        description=DESCRIPTION,
        separate_input_output_schemas=False,
        docs_url=None,  # its page loads scripts from the net
        redoc_url=None,
    )
    app.state.service, app.state.answers = state, Memory(ANSWERS_BYTES, AGE_SECONDS)
    app.state.feed = Feed(state)
    for module in (reads, starts, stream, reports, *OLDER, metrics, pages):
        app.include_router(module.router)
    answer_problems(app)
    service = settings.service
    app.add_middleware(TimeBound)
    app.add_middleware(
        Guard,
        keys=KeyRing(read_keys()),
        hosts={*service.hosts, service.host},
        requests_per_minute=service.requests_per_minute,
    )

    @app.get("/alive", tags=["health"])
    def alive() -> dict[str, bool]:
        """Does the process answer? Needs no key."""
        return {"alive": True}

    return app
