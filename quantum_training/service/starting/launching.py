"""Starting a run once: the idempotency key of a request is a tag of its run, so it is found again after any kill.

A request without a key gets one of its own, by which a run is found whose answer was lost.
"""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from pydantic import BaseModel, Field

from quantum_training.resources.locks import exclusive_lock
from quantum_training.resources.run_origin import ACTOR_TAG, REASON_TAG, REQUEST_TAG
from quantum_training.resources.texts import bounded_tags
from quantum_training.service.dagster_client import DagsterOutage, Launch, outage_problem
from quantum_training.service.problems import Problem
from quantum_training.service.security.keys import Client
from quantum_training.service.state import State

KEY_TAG, CONTENT_TAG = "quantum_training/idempotency_key", "quantum_training/request_hash"
LAUNCH_LOCK = "launch of the service"
"""Held from the look for an earlier run to the launch, by one service process at a time."""
LOST_ANSWER_SECONDS = 10.0
"""So long a run is looked for whose answer was lost."""
audit = logging.getLogger("quantum_training.service.audit")


class Started(BaseModel):
    """A run was started, or had been by an earlier request with the same Idempotency-Key."""

    run_id: str = Field(examples=["9e9ea9ec-231f-4b2c-8915-24fb75c01c83"])
    job: str = Field(examples=["retrain"])
    address: str = Field(description="Where its state is read.", examples=["/api/v2/runs/9e9ea9ec-..."])
    url: str = Field(description="Its page in Dagster.")
    repeated: bool = Field(description="Had it been started by an earlier request with this Idempotency-Key?")


@dataclass(frozen=True)
class Order:
    """Who asks for a run, why, at which address. key: of idempotency; None: of this request alone."""

    client: Client
    actor: str
    reason: str
    address: str
    key: str | None = None


def start_once(
    state: State,
    order: Order,
    job: str,
    config: Mapping[str, Any],
    *,
    unless: Callable[[], None] = lambda: None,
    **options: Any,
) -> Started:
    """Start a run of a job, unless an earlier request of the client with this key has. options: of Launch.

    unless: raises the Problem for which it must not be started; a repetition is answered without asking it.
    Problem 422 if the key was used for something else or Dagster refuses the config, 503 if Dagster does not answer.
    """
    content = hashlib.sha256(json.dumps([job, config, options], sort_keys=True, default=str).encode()).hexdigest()
    key = hashlib.sha256(f"{order.client.name}\n{order.key or uuid4()}".encode()).hexdigest()
    partition = options.pop("tags", {})
    tags = {ACTOR_TAG: order.actor, REASON_TAG: order.reason, REQUEST_TAG: order.address}
    tags = bounded_tags({**partition, **tags}) | {KEY_TAG: key, CONTENT_TAG: content}
    with exclusive_lock(state.settings.database_url, LAUNCH_LOCK):
        if order.key and (earlier := started_before(state, order, content, key)):
            return earlier
        unless()
        try:
            run_id = state.dagster.launch(Launch(job, config, tags, **options))
        except DagsterOutage as error:
            run_id = _run_of_lost_answer(state, key, error)
    audit.info("%s (%s) started %s, run %s: %s", order.actor, order.client.name, job, run_id, order.reason)
    return _started(state, run_id, job, repeated=False)


def started_before(state: State, order: Order, content: str, key: str) -> Started | None:
    """The run of an earlier request with this key; None if there is none. Problem 422 if it asked for another one."""
    run = _run_with_key(state, key)
    if run is None:
        return None
    if {"key": CONTENT_TAG, "value": content} not in [{"key": t["key"], "value": t["value"]} for t in run["tags"]]:
        rule = "an Idempotency-Key stands for one request and its repetitions"
        raise Problem(422, "the Idempotency-Key was used for another request", rule, "take a new key")
    return _started(state, run["runId"], run["jobName"], repeated=True)


def _run_with_key(state: State, key: str) -> dict[str, Any] | None:
    try:
        runs = state.dagster.runs(100, tags={KEY_TAG: key})
    except DagsterOutage as error:
        raise outage_problem(error) from error
    return runs[-1] if runs else None  # the oldest: Dagster's restarts of a run have its tags


def _run_of_lost_answer(state: State, key: str, error: DagsterOutage) -> str:
    """The run that a launch without an answer has started after all. Problem 503 if there is none."""
    end = time.monotonic() + LOST_ANSWER_SECONDS
    while error.was_sent:
        if run := _run_with_key(state, key):
            run_id: str = run["runId"]
            return run_id
        if time.monotonic() > end:
            break
        time.sleep(0.5)
    raise outage_problem(error) from error


def _started(state: State, run_id: str, job: str, *, repeated: bool) -> Started:
    url = state.dagster.run_url(run_id)
    return Started(run_id=run_id, job=job, address=f"/api/v2/runs/{run_id}", url=url, repeated=repeated)
