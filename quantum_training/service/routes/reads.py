"""`GET /api/v2/...`: what is stored. Every answer says up to when what it shows knew the market, and its age."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query

from quantum_training.lifecycle.records import WeeklyRollout
from quantum_training.resources.events.payloads import OUT
from quantum_training.service.problems import unknown
from quantum_training.service.reading import decisions, evidence, monitoring, recipes, runs, symbols
from quantum_training.service.reading import events as sent
from quantum_training.service.reading.dated import Page
from quantum_training.service.reading.health import Health, health
from quantum_training.service.routes.parameters import ModelId, RecipeQuery, RunId, Week, Weeks
from quantum_training.service.routes.stored import StoredRoute
from quantum_training.service.state import ChosenSymbols, CurrentState, KnownSymbol, Limit

router = APIRouter(prefix="/api/v2")
stored = APIRouter(route_class=StoredRoute)
RunStatus = Literal["QUEUED", "NOT_STARTED", "STARTING", "STARTED", "CANCELING", "SUCCESS", "FAILURE", "CANCELED"]


@stored.get("/symbols", response_model=Page[symbols.SymbolRow], tags=["symbols"])
def all_symbols(
    state: CurrentState,
    offset: Annotated[int, Query(ge=0, le=100_000)] = 0,
    limit: Annotated[int, Query(ge=1, le=1000)] = 500,
) -> Any:
    """All symbols with champion, share, Sharpe ratio beside Buy & Hold, drift, decay and age of the data."""
    return symbols.symbol_page(state, [*state.settings.symbols], offset, limit)


@stored.get("/symbols/{symbol}", response_model=symbols.SymbolDetail, tags=["symbols"])
def one_symbol(state: CurrentState, symbol: KnownSymbol) -> Any:
    """A symbol with its market, its strategies, and what its newest week found in sentences."""
    return symbols.symbol_detail(state, symbol)


@stored.get("/recipes", response_model=Page[recipes.RecipeRow], tags=["versions"])
def all_recipes(state: CurrentState) -> Any:
    """The recipes of the settings."""
    return recipes.recipe_page(state)


@stored.get("/versions", response_model=Page[recipes.VersionRow], tags=["versions"])
def versions(state: CurrentState, chosen: ChosenSymbols, recipe: RecipeQuery = None, limit: Limit = 100) -> Any:
    """The newest versions."""
    if recipe is not None and recipe not in state.settings.recipes:
        raise unknown("recipe", recipe, state.settings.recipes)
    return recipes.version_page(state, chosen, recipe, limit)


@router.get("/versions/{symbol}/{model_id}", response_model=recipes.VersionDetail, tags=["versions"])
def one_version(state: CurrentState, symbol: KnownSymbol, model_id: ModelId) -> Any:
    """A version with its run in MLflow."""
    return recipes.version_detail(state, symbol, model_id)


@stored.get("/campaigns", response_model=Page[decisions.CampaignRow], tags=["decisions"])
def campaigns(state: CurrentState, chosen: ChosenSymbols, limit: Limit = 20) -> Any:
    """The newest campaigns with the evidence of each week."""
    return decisions.campaign_page(state, chosen, limit)


@stored.get("/champions", response_model=Page[decisions.ChampionRow], tags=["decisions"])
def champions(state: CurrentState, chosen: ChosenSymbols) -> Any:
    """The champion of each symbol, and the decision of the newest week."""
    return decisions.champion_page(state, chosen)


@stored.get("/champions/{symbol}", response_model=decisions.DecisionPage, tags=["decisions"])
def decisions_by_week(state: CurrentState, symbol: KnownSymbol, limit: Limit = 52) -> Any:
    """The decisions of a symbol by week, the newest first."""
    return decisions.decision_page(state, symbol, limit)


@stored.get("/leaderboard/{symbol}", response_model=evidence.Leaderboard, tags=["evidence"])
def leaderboard(state: CurrentState, symbol: KnownSymbol) -> Any:
    """Every strategy of a symbol in the shadow, beside the champion and Buy & Hold."""
    return evidence.leaderboard(state, symbol)


@stored.get("/metrics/{symbol}", response_model=Page[evidence.WeekMetrics], tags=["evidence"])
def metrics_by_week(state: CurrentState, symbol: KnownSymbol, weeks: Weeks = 52) -> Any:
    """The metrics of every strategy in the backtest of each week, oldest first."""
    return evidence.metrics_page(state, symbol, weeks)


@stored.get("/equity/{symbol}", response_model=evidence.Equity, tags=["evidence"])
def equity(state: CurrentState, symbol: KnownSymbol, week: Week | None = None) -> Any:
    """Equity of every strategy over the backtest of the newest week, or of the one that is named."""
    return evidence.equity(state, symbol, f"{week:%Y-%m-%d}" if week else None)


@stored.get("/trades/{symbol}", response_model=Page[evidence.Fill], tags=["evidence"])
def trades(
    state: CurrentState, symbol: KnownSymbol, strategy: RecipeQuery = None, weeks: Weeks = 26, limit: Limit = 200
) -> Any:
    """The newest fills in the shadow."""
    return evidence.fill_page(state, symbol, strategy, weeks, limit)


@stored.get("/drift", response_model=Page[monitoring.DriftDay], tags=["monitoring"])
def drift(state: CurrentState, chosen: ChosenSymbols) -> Any:
    """The newest drift report of each symbol."""
    return monitoring.newest_drift(state, chosen)


@stored.get("/drift/{symbol}", response_model=Page[monitoring.DriftDay], tags=["monitoring"])
def drift_by_day(state: CurrentState, symbol: KnownSymbol, days: Annotated[int, Query(ge=1, le=366)] = 30) -> Any:
    """The newest drift reports of a symbol, the newest first."""
    return monitoring.drift_page(state, symbol, days)


@stored.get("/decay", response_model=Page[monitoring.DecayRow], tags=["monitoring"])
def decay(state: CurrentState, chosen: ChosenSymbols) -> Any:
    """The newest decay report of each symbol."""
    return monitoring.newest_decay(state, chosen)


@stored.get("/decay/{symbol}", response_model=monitoring.DecayPage, tags=["monitoring"])
def decay_by_week(state: CurrentState, symbol: KnownSymbol, limit: Limit = 52) -> Any:
    """The decay reports of a symbol by week, the newest first."""
    return monitoring.decay_page(state, symbol, limit)


@stored.get("/rollout", response_model=Page[WeeklyRollout], tags=["decisions"])
def rollout(state: CurrentState, chosen: ChosenSymbols) -> Any:
    """The newest stage of each symbol."""
    return decisions.newest_rollouts(state, chosen)


@stored.get("/rollout/{symbol}", response_model=decisions.RolloutPage, tags=["decisions"])
def rollout_by_week(state: CurrentState, symbol: KnownSymbol, limit: Limit = 52) -> Any:
    """The stages of a symbol by week, the newest first."""
    return decisions.rollout_page(state, symbol, limit)


@router.get("/ledger/{symbol}", response_model=Page[decisions.LedgerRow], tags=["decisions"])
def ledger(state: CurrentState, symbol: KnownSymbol, limit: Limit = 100) -> Any:
    """The ledger of a symbol, the newest row first."""
    return decisions.ledger_page(state, symbol, limit)


@stored.get("/signals", response_model=Page[monitoring.SignalRow], tags=["signals"])
def signals(state: CurrentState, chosen: ChosenSymbols) -> Any:
    """What to hold now, by symbol."""
    return monitoring.signal_page(state, chosen)


@router.get("/events", response_model=Page[sent.EventRow], tags=["events"])
def events(
    state: CurrentState,
    chosen: ChosenSymbols,
    type: Annotated[str | None, Query(max_length=64, description=f"One of {', '.join(OUT)}.")] = None,
    limit: Limit = 100,
) -> Any:
    """The newest events that the project has sent."""
    if type is not None and type not in OUT:
        raise unknown("event type", type, OUT)
    return sent.event_page(state, chosen, [type] if type else [], limit)


@router.get("/trainings", response_model=Page[sent.Training], tags=["runs"])
def trainings(state: CurrentState, chosen: ChosenSymbols, limit: Limit = 100) -> Any:
    """The newest trainings of recipes, from their events."""
    return sent.training_page(state, chosen, limit)


@router.get("/runs", response_model=Page[runs.RunRow], tags=["runs"])
def all_runs(
    state: CurrentState,
    status: Annotated[list[RunStatus] | None, Query(max_length=8)] = None,
    job: RecipeQuery = None,
    before: Annotated[str | None, Query(pattern=r"^[0-9a-f-]{36}$", description="Only older runs than this.")] = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
) -> Any:
    """Dagster's newest runs."""
    return runs.run_page(state, limit, before, [*(status or [])], job)


@router.get("/runs/{run_id}", response_model=runs.RunDetail, tags=["runs"])
def one_run(state: CurrentState, run_id: RunId) -> Any:
    """A run with its steps: how far it is, and how it ended."""
    return runs.run_detail(state, run_id)


@router.get("/schedules", response_model=Page[runs.ScheduleRow], tags=["runs"])
def schedules(state: CurrentState) -> Any:
    """Dagster's schedules and their next ticks."""
    return runs.schedule_page(state)


@router.get("/health", tags=["health"])
def platform_health(state: CurrentState) -> Health:
    """Whether each part of the platform answers."""
    return health(state)


router.include_router(stored)
