"""Whether the parts of the platform answer: store, database, MLflow, Redis, Dagster with its daemons, sources.

Each part is asked for at most PART_SECONDS, all at once, so the answer takes about as long as the slowest.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import httpx
import pandas as pd
from pydantic import BaseModel, Field

from quantum_training.lifecycle.freshness import late_symbols
from quantum_training.lifecycle.records import CANDLES
from quantum_training.resources.database import outbox, reading
from quantum_training.resources.store.files import StoreAccessError
from quantum_training.service.dagster_client import DagsterOutage
from quantum_training.service.state import State

PART_SECONDS = 5.0
STARTED_AT = datetime.now(UTC)
Status = Literal["up", "degraded", "down", "off"]


class Part(BaseModel):
    """A part of the platform. off: the settings name none."""

    status: Status = Field(examples=["up"])
    detail: str = Field(description="What was found.", examples=["answers"])


class Health(BaseModel):
    """All parts. down: nothing can be read; degraded: something of it does not work or is late."""

    status: Literal["up", "degraded", "down"]
    checked_at: datetime
    started_at: datetime = Field(description="When this process started.")
    uptime_seconds: float
    parts: dict[str, Part]


def health(state: State) -> Health:
    """The health of the platform now."""
    checks: dict[str, Callable[[State], Part]] = {
        "store": _store,
        "database": _database,
        "mlflow": _mlflow,
        "redis": _redis,
        "dagster": _dagster,
        "daemon": _daemon,
        "sources": _sources,
    }
    with ThreadPoolExecutor(len(checks)) as pool:
        answers = {name: pool.submit(copy_context().run, _checked, check, state) for name, check in checks.items()}
    parts = {name: answer.result() for name, answer in answers.items()}
    unread = any(parts[name].status == "down" for name in ("store", "database"))
    whole = all(part.status in ("up", "off") for part in parts.values())
    now = datetime.now(UTC)
    return Health(
        status="down" if unread else "up" if whole else "degraded",
        checked_at=now,
        started_at=STARTED_AT,
        uptime_seconds=(now - STARTED_AT).total_seconds(),
        parts=parts,
    )


def _checked(check: Callable[[State], Part], state: State) -> Part:
    try:
        return check(state)
    except Exception as error:  # whatever a library raises, the part does not work
        return Part(status="down", detail=f"does not answer ({type(error).__name__})")


def _store(state: State) -> Part:
    filesystem, root = state.store.place()
    if not filesystem.exists(root):
        return Part(status="degraded", detail="holds nothing yet; run the job clm_cycle")
    return Part(status="up", detail="answers")


def _database(state: State) -> Part:
    reading(state.settings.database_url, lambda connection: connection.execute(outbox.select().limit(1)).all())
    return Part(status="up", detail="answers")


def _mlflow(state: State) -> Part:
    """MLflow's server by its health page, a SQLite file by its tables; MLflow itself would take seconds to load."""
    if state.registry.is_server:
        httpx.get(f"{state.registry.uri.rstrip('/')}/health", timeout=PART_SECONDS).raise_for_status()
    elif file := state.registry.sqlite_file:
        if not Path(file).exists():
            return Part(status="degraded", detail="holds nothing yet; run the job clm_cycle")
        with sqlite3.connect(f"file:{file}?mode=ro", uri=True, timeout=PART_SECONDS) as connection:
            connection.execute("select count(*) from registered_models")
    else:
        import sqlalchemy as sa

        engine = sa.create_engine(state.registry.uri, connect_args={"connect_timeout": int(PART_SECONDS)})
        with engine.connect() as connection:
            connection.execute(sa.text("select 1"))
        engine.dispose()
    return Part(status="up", detail="answers")


def _redis(state: State) -> Part:
    if not state.settings.event_bus_url:
        return Part(status="off", detail="event_bus_url names none; events stay in the database")
    import redis

    with redis.Redis.from_url(
        state.settings.event_bus_url, socket_timeout=PART_SECONDS, socket_connect_timeout=PART_SECONDS
    ) as client:
        client.ping()
    return Part(status="up", detail="answers")


def _dagster(state: State) -> Part:
    state.dagster.runs(1)
    return Part(status="up", detail="the webserver answers")


def _daemon(state: State) -> Part:
    try:
        daemons = state.dagster.daemons()
    except DagsterOutage:
        return Part(status="down", detail="not known without Dagster's webserver")
    ill = [daemon["daemonType"] for daemon in daemons if not daemon["healthy"]]
    if ill:
        return Part(status="down", detail=f"no heartbeat of {', '.join(ill)}; start the daemon (make ui)")
    return Part(status="up", detail=f"{len(daemons)} daemons send heartbeats")


def _sources(state: State) -> Part:
    try:
        late = late_symbols(state.store, state.settings, CANDLES, pd.Timestamp.now("UTC"))
    except StoreAccessError:
        return Part(status="down", detail="not known without the store")
    if late:
        named = "; ".join(f"{symbol}: {finding}" for symbol, finding in [*late.items()][:5])
        return Part(status="degraded", detail=f"{len(late)} symbols are late: {named}")
    return Part(status="up", detail=f"the candles of {len(state.settings.symbols)} symbols are as new as they can be")
