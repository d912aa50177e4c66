"""The run that each request starts. Names are checked here first, so that a wrong one is answered at once."""

from __future__ import annotations

from typing import Any

from quantum_training.lifecycle.records import BACKTEST, CHAMPION, SHADOW_SCORES
from quantum_training.service.dagster_client import DagsterOutage, outage_problem
from quantum_training.service.problems import Problem
from quantum_training.service.reading.decisions import champion_of, newest_record
from quantum_training.service.reading.runs import run_detail
from quantum_training.service.starting.launching import Order, Started, audit, start_once
from quantum_training.service.starting.requests import (
    ABTestRequest,
    BacktestRequest,
    CycleRequest,
    PromoteRequest,
    RolloutRequest,
    TrainRequest,
)
from quantum_training.service.state import State

CYCLE, BENCHMARK, RETRAIN, WEEKLY_CYCLE = "clm_cycle", "benchmark", "retrain", "weekly_cycle"


def train(state: State, order: Order, symbol: str, request: TrainRequest) -> Started:
    """A run of `retrain`."""
    for recipe in request.recipes:
        state.require_recipe(symbol, recipe)
    as_of = request.as_of.isoformat() if request.as_of else ""
    config = {"recipes": request.recipes, "as_of": as_of, "episodes": request.episodes}
    return _with_actor(state, order, RETRAIN, symbol, config)


def cycle(state: State, order: Order, job: str, request: CycleRequest) -> Started:
    """A run of `clm_cycle` or `benchmark`."""
    for symbol in request.symbols:
        state.require_recipes(symbol)
    week = request.week if request.week == "latest" else f"{request.week:%Y-%m-%d}"
    config = {"symbols": request.symbols, "week": week, "weeks": request.weeks}
    op = {CYCLE: "run_cycle", BENCHMARK: "run_benchmark"}[job]
    return start_once(state, order, job, {"ops": {op: {"config": config}}})


def backtest(state: State, order: Order, symbol: str, request: BacktestRequest) -> Started:
    """A run of `weekly_cycle` for one week and the asset `backtest` alone. Problem 404 if the week was not scored."""
    state.require_recipes(symbol)
    scored = state.store.periods(SHADOW_SCORES, symbol)
    week = f"{request.week:%Y-%m-%d}" if request.week else (scored[-1] if scored else None)
    if week not in scored or week is None:
        stored = f"scored are {', '.join(scored[-10:])}" if scored else "run the job clm_cycle first"
        raise Problem(404, f"{symbol} has no scores of the week {week}", "a backtest needs scored weeks", stored)
    key = f"{symbol}|{week}"
    tags = {"dagster/partition": key, "dagster/partition/symbol": symbol, "dagster/partition/week": week}
    return start_once(state, order, WEEKLY_CYCLE, {}, tags=tags, assets=[BACKTEST])


def promote(state: State, order: Order, symbol: str, request: PromoteRequest) -> Started:
    """A run of `promote`. Problem 409 if the recipe is champion already."""
    state.require_recipe(symbol, request.recipe)

    def already_in_office() -> None:
        if champion_of(state, symbol) == request.recipe:
            rule = "a recipe that is champion cannot be promoted"
            raise Problem(409, f"{request.recipe} is the champion of {symbol} already", rule, "nothing is to be done")

    return _with_actor(state, order, "promote", symbol, {"recipe": request.recipe}, unless=already_in_office)


def demote(state: State, order: Order, symbol: str) -> Started:
    """A run of `demote`. Problem 409 if nobody is in office."""
    return _with_actor(state, order, "demote", symbol, unless=lambda: _require_champion(state, symbol))


def pin(state: State, order: Order, symbol: str, *, pinned: bool) -> Started:
    """A run of `pin` or `unpin`. Problem 409 if the champion is pinned, or not pinned, already."""
    kind = "pin" if pinned else "unpin"

    def as_it_is() -> None:
        record = newest_record(state, CHAMPION, symbol)
        if record is not None and bool(record.get("pinned")) == pinned:
            state_ = "pinned" if pinned else "not pinned"
            raise Problem(409, f"{symbol} is {state_} already", f"{kind} changes something", "nothing is to be done")

    return _with_actor(state, order, kind, symbol, unless=as_it_is)


def rollout(state: State, order: Order, symbol: str, request: RolloutRequest) -> Started:
    """A run of `rollout_reset` for a share of 0, else of `rollout_ceiling`. Problem 409 if nobody is in office."""

    def in_office() -> None:
        _require_champion(state, symbol)

    if request.share == 0:
        return _with_actor(state, order, "rollout_reset", symbol, unless=in_office)
    return _with_actor(state, order, "rollout_ceiling", symbol, {"share": request.share}, unless=in_office)


def ab_test(state: State, order: Order, symbol: str, request: ABTestRequest) -> Started:
    """A run of `ab_test`."""
    state.require_recipe(symbol, request.recipe)
    config = request.model_dump(include={"recipe", "share", "block_days", "weeks"})
    return _with_actor(state, order, "ab_test", symbol, config)


def ab_stop(state: State, order: Order, symbol: str) -> Started:
    """A run of `ab_stop`."""
    return _with_actor(state, order, "ab_stop", symbol)


def stop(state: State, order: Order, run_id: str) -> dict[str, Any]:
    """Stop a run, if it is not over. Returns the fields of RunDetail; problem 404 if there is no such run."""
    if not run_detail(state, run_id)["is_over"]:
        try:
            state.dagster.terminate(run_id)
        except DagsterOutage as error:
            raise outage_problem(error) from error
        audit.info("%s (%s) stopped run %s: %s", order.actor, order.client.name, run_id, order.reason)
    return run_detail(state, run_id)


def _require_champion(state: State, symbol: str) -> None:
    if champion_of(state, symbol) is None:
        raise Problem(
            409, f"{symbol} has no champion", "this concerns the champion in office", "promote a recipe first"
        )


def _with_actor(
    state: State, order: Order, job: str, symbol: str, config: dict[str, Any] | None = None, **options: Any
) -> Started:
    """A run of a job whose op takes symbol, actor and reason, which it writes into the ledger."""
    state.require_recipes(symbol)
    op = "retrain_recipes" if job == RETRAIN else f"{job}_champion"
    whole = {"symbol": symbol, "actor": order.actor, "reason": order.reason, **(config or {})}
    return start_once(state, order, job, {"ops": {op: {"config": whole}}}, **options)
