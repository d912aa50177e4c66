"""`POST /api/v2/...`: what changes something. Each is answered with 202 and the run of Dagster that does it.

With the header Idempotency-Key a request may be repeated: the same key starts nothing twice.
"""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Request, Response

from quantum_training.service.problems import Problem
from quantum_training.service.reading import runs
from quantum_training.service.reading.progress import Progress, RunResult, progress_of, result_of
from quantum_training.service.routes.parameters import RunId
from quantum_training.service.security.guard import client_of, needs
from quantum_training.service.security.keys import Client
from quantum_training.service.starting import jobs
from quantum_training.service.starting.launching import Order, Started
from quantum_training.service.starting.requests import (
    ABTestRequest,
    BacktestRequest,
    Change,
    CycleRequest,
    PromoteRequest,
    RolloutRequest,
    TrainRequest,
)
from quantum_training.service.state import CurrentState, KnownSymbol

router = APIRouter(prefix="/api/v2")
IdempotencyKey = Annotated[
    str | None,
    Header(min_length=1, max_length=200, description="A text of your own; repeated with it, nothing starts twice."),
]
MayOperate, MayDecide = Depends(needs("operate")), Depends(needs("admin"))
TRAINS: dict[str, Any] = {"status_code": 202, "tags": ["starts"], "dependencies": [MayOperate]}
DECIDES: dict[str, Any] = {"status_code": 202, "tags": ["starts"], "dependencies": [MayDecide]}


class Sender:
    """Makes the order of a request, and answers with the address of its run."""

    def __init__(self, request: Request, response: Response, idempotency_key: IdempotencyKey = None) -> None:
        self._request, self._response, self._key = request, response, idempotency_key

    def order(self, change: Change) -> Order:
        """Who asks, and why."""
        client = client_of(self._request)
        return Order(client, actor_of(client, change.actor), change.reason, self.address, self._key)

    @property
    def address(self) -> str:
        """The address that is asked."""
        return self._request.url.path

    def answer(self, started: Started) -> Started:
        """The answer, with its header Location."""
        self._response.headers["Location"] = started.address
        return started


Sent = Annotated[Sender, Depends()]


def actor_of(client: Client, actor: str | None) -> str:
    """The actor for the ledger: the key's name, and whom it speaks for. Problem 422 if nobody is named."""
    if client.name != "local":
        return f"{actor} (key {client.name})" if actor else client.name
    if actor is None:
        raise Problem(422, "body.actor: nobody is named", "a change names who makes it", "send actor")
    return actor


@router.post("/symbols/{symbol}/train", **TRAINS)
def train(state: CurrentState, symbol: KnownSymbol, change: TrainRequest, sent: Sent) -> Started:
    """Train recipes of a symbol inside the week: job `retrain`."""
    return sent.answer(jobs.train(state, sent.order(change), symbol, change))


@router.post("/symbols/{symbol}/backtest", **TRAINS)
def backtest(state: CurrentState, symbol: KnownSymbol, change: BacktestRequest, sent: Sent) -> Started:
    """Make the backtest of a scored week again: asset `backtest`."""
    return sent.answer(jobs.backtest(state, sent.order(change), symbol, change))


@router.post("/cycle", **TRAINS)
def cycle(state: CurrentState, change: CycleRequest, sent: Sent) -> Started:
    """Run the whole cycle: job `clm_cycle`."""
    return sent.answer(jobs.cycle(state, sent.order(change), jobs.CYCLE, change))


@router.post("/benchmark", **TRAINS)
def benchmark(state: CurrentState, change: CycleRequest, sent: Sent) -> Started:
    """Measure every strategy over weeks: job `benchmark`."""
    return sent.answer(jobs.cycle(state, sent.order(change), jobs.BENCHMARK, change))


@router.post("/symbols/{symbol}/promote", **DECIDES)
def promote(state: CurrentState, symbol: KnownSymbol, change: PromoteRequest, sent: Sent) -> Started:
    """Make a recipe champion by hand: job `promote`. 409 if it is champion already."""
    return sent.answer(jobs.promote(state, sent.order(change), symbol, change))


@router.post("/symbols/{symbol}/demote", **DECIDES)
def demote(state: CurrentState, symbol: KnownSymbol, change: Change, sent: Sent) -> Started:
    """Take the champion back: job `demote`."""
    return sent.answer(jobs.demote(state, sent.order(change), symbol))


@router.post("/symbols/{symbol}/pin", **DECIDES)
def pin(state: CurrentState, symbol: KnownSymbol, change: Change, sent: Sent) -> Started:
    """Keep the champion whatever the evidence says: job `pin`."""
    return sent.answer(jobs.pin(state, sent.order(change), symbol, pinned=True))


@router.post("/symbols/{symbol}/unpin", **DECIDES)
def unpin(state: CurrentState, symbol: KnownSymbol, change: Change, sent: Sent) -> Started:
    """Let the evidence decide again: job `unpin`."""
    return sent.answer(jobs.pin(state, sent.order(change), symbol, pinned=False))


@router.post("/symbols/{symbol}/rollout", **DECIDES)
def rollout(state: CurrentState, symbol: KnownSymbol, change: RolloutRequest, sent: Sent) -> Started:
    """Order the champion's share of capital: jobs `rollout_ceiling` and `rollout_reset`."""
    return sent.answer(jobs.rollout(state, sent.order(change), symbol, change))


@router.post("/symbols/{symbol}/ab_test", **DECIDES)
def ab_test(state: CurrentState, symbol: KnownSymbol, change: ABTestRequest, sent: Sent) -> Started:
    """Let champion and challenger trade alternate blocks of days: job `ab_test`."""
    return sent.answer(jobs.ab_test(state, sent.order(change), symbol, change))


@router.post("/symbols/{symbol}/ab_stop", **DECIDES)
def ab_stop(state: CurrentState, symbol: KnownSymbol, change: Change, sent: Sent) -> Started:
    """End the A/B test: job `ab_stop`."""
    return sent.answer(jobs.ab_stop(state, sent.order(change), symbol))


@router.post("/runs/{run_id}/stop", response_model=runs.RunDetail, **TRAINS)
def stop(state: CurrentState, run_id: RunId, change: Change, sent: Sent) -> Any:
    """Stop a run. One that is over stays as it is."""
    return jobs.stop(state, sent.order(change), run_id)


@router.get("/runs/{run_id}/progress", tags=["runs"])
def progress(state: CurrentState, run_id: RunId) -> Progress:
    """How far a run is: its steps, and of an agent's training episodes, reward and losses."""
    return progress_of(state, run_id)


@router.get("/runs/{run_id}/result", response_model=RunResult, tags=["runs"], responses={409: {}})
def result(state: CurrentState, run_id: RunId) -> Any:
    """What a run has done: the runs that it carried out, the trainings and versions in them. 409 until it is over."""
    return result_of(state, run_id)
