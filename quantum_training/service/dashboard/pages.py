"""The addresses of the dashboard: overview, symbol, two versions, training, and the files in static/."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Query
from fastapi.responses import FileResponse, HTMLResponse

from quantum_training.lifecycle.records import BACKTEST, DRIFT_REPORT
from quantum_training.lifecycle.reporting.week_page import ALL_SYMBOLS, WEEK_REPORT
from quantum_training.lifecycle.surveillance.drift_pages import EVIDENTLY
from quantum_training.service.dashboard.rendering import embedded, render
from quantum_training.service.dashboard.symbol_figures import symbol_figures
from quantum_training.service.dashboard.training_figures import training_figures
from quantum_training.service.problems import Problem, unknown
from quantum_training.service.reading import decisions, evidence, recipes, runs, symbols
from quantum_training.service.reading.agents import agent_status, last_check
from quantum_training.service.reading.benchmark import CRITERIA, benchmark
from quantum_training.service.reading.comparison import comparison
from quantum_training.service.reading.events import alerts, trainings
from quantum_training.service.reading.health import health
from quantum_training.service.routes.parameters import MODEL_ID_PATTERN
from quantum_training.service.state import PAGE_ROWS, CurrentState, KnownSymbol, State

router = APIRouter(include_in_schema=False, default_response_class=HTMLResponse)
FOLDER = Path(__file__).parent
ROWS = 50
"""Newest versions, ledger rows, fills, runs and trainings that a page lists."""
STATIC = {
    "dashboard.css": "text/css",
    "dashboard.js": "text/javascript",
    "live.js": "text/javascript",
    "training.js": "text/javascript",
}
"""The files in static/ by their types."""
ALERTS = 10
"""Newest alerts that the overview lists."""
WEEKLY_SCHEDULE = "weekly_cycle_schedule"
"""The schedule that trains all symbols (automation/scheduled_training.py)."""
CACHED = {"Cache-Control": "public, max-age=3600"}


@router.get("/")
def overview(state: CurrentState) -> HTMLResponse:
    """All symbols: champion, share of capital, Sharpe ratio beside Buy & Hold, drift, decay, age; newest alerts."""
    page = symbols.symbol_page(state, [*state.settings.symbols], 0, len(state.settings.symbols))
    return render(
        "overview.html",
        page=page,
        alerts=alerts(state, ALERTS),
        week_report=_newest(state.store.periods(WEEK_REPORT, ALL_SYMBOLS, "html")),
        schedule=WEEKLY_SCHEDULE,
    )


@router.get("/symbols/{symbol}")
def symbol_page(state: CurrentState, symbol: KnownSymbol) -> HTMLResponse:
    """One symbol: what its newest week found, its pictures, challengers, fills, versions and ledger."""
    return render(
        "symbol.html",
        detail=symbols.symbol_detail(state, symbol),
        rollout=decisions.rollout_page(state, symbol, 1),
        guard=state.live_settings().rollout,
        criteria=CRITERIA,
        ledger=decisions.ledger_page(state, symbol, ROWS)["items"],
        mlflow=state.settings.mlflow_ui_url,
        **state.memory.made(("page", symbol), partial(_stored_parts, state, symbol), PAGE_ROWS),
    )


@router.get("/symbols/{symbol}/compare")
def compare(
    state: CurrentState,
    symbol: KnownSymbol,
    a: Annotated[str, Query(pattern=MODEL_ID_PATTERN)],
    b: Annotated[str, Query(pattern=MODEL_ID_PATTERN)],
) -> HTMLResponse:
    """Two versions of a symbol side by side."""
    return render("compare.html", comparison=comparison(state, symbol, a, b))


def _stored_parts(state: State, symbol: str) -> dict[str, Any]:
    """What only the store changes of a symbol's page."""
    return {
        "leaderboard": _leaderboard(state, symbol),
        "benchmark": benchmark(state, symbol),
        "fills": evidence.fill_page(state, symbol, None, 26, ROWS)["items"],
        "versions": recipes.version_page(state, [symbol], None, ROWS)["items"],
        "tearsheet": _newest(state.store.periods(BACKTEST, symbol, "html")),
        "drift_page": _newest(state.store.periods(DRIFT_REPORT, symbol, "html")),
        "evidently_page": _newest(state.store.periods(DRIFT_REPORT, symbol, EVIDENTLY)),
        "figures": {title: embedded(figure) for title, figure in symbol_figures(state.store, symbol).items()},
    }


@router.get("/training")
def training(state: CurrentState) -> HTMLResponse:
    """Runs and schedules of Dagster, trainings from their events, agents, and the health of the platform's parts."""
    newest = trainings(state, [*state.settings.symbols])
    return render(
        "training.html",
        runs=_of_dagster(lambda: runs.run_page(state, ROWS, None, [], None)),
        schedules=_of_dagster(lambda: runs.schedule_page(state)),
        trainings=newest[:ROWS],
        figures={title: embedded(figure) for title, figure in training_figures(newest).items()},
        agents=agent_status(state, newest),
        last_check=last_check(state),
        health=health(state),
        recipes_of={symbol: market.recipes for symbol, market in state.settings.symbols.items()},
        recipes=[*state.settings.recipes],
    )


@router.get("/static/plotly.js", response_class=FileResponse)
def plotly() -> FileResponse:
    """The plotly.js that the package plotly brings."""
    return FileResponse(_plotly_file(), media_type="text/javascript", headers=CACHED)


@router.get("/static/{name}", response_class=FileResponse)
def static(name: str) -> FileResponse:
    """The dashboard's own scripts and style."""
    if name not in STATIC:
        raise unknown("static file", name, STATIC)
    return FileResponse(FOLDER / "static" / name, media_type=STATIC[name])


def _newest(periods: list[str]) -> str | None:
    return periods[-1] if periods else None


def _leaderboard(state: State, symbol: str) -> dict[str, Any] | None:
    """None before the first backtest."""
    return evidence.leaderboard(state, symbol) if state.store.periods(BACKTEST, symbol, "json") else None


def _of_dagster(read: Callable[[], dict[str, Any]]) -> list[Any] | str:
    """What Dagster's webserver tells, or why it cannot be read."""
    try:
        items: list[Any] = read()["items"]
    except Problem as problem:
        return f"{problem.detail}. {problem.remedy[0].upper()}{problem.remedy[1:]}."
    return items


@cache
def _plotly_file() -> Path:
    import importlib.resources

    return Path(str(importlib.resources.files("plotly") / "package_data" / "plotly.min.js"))
