"""The addresses of the dashboard: overview, symbol, training. Templates make the pages; static/ is what they load."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from functools import cache, partial
from pathlib import Path
from typing import Any

import jinja2
from fastapi import APIRouter
from fastapi.responses import FileResponse, HTMLResponse

from quantum_training.lifecycle.records import BACKTEST, DRIFT_REPORT
from quantum_training.lifecycle.reporting.week_page import ALL_SYMBOLS, WEEK_REPORT
from quantum_training.lifecycle.surveillance.drift_pages import EVIDENTLY
from quantum_training.service.dashboard.symbol_figures import symbol_figures
from quantum_training.service.problems import Problem
from quantum_training.service.reading import decisions, evidence, recipes, runs, symbols
from quantum_training.service.reading.events import training_page
from quantum_training.service.reading.health import health
from quantum_training.service.state import PAGE_ROWS, CurrentState, KnownSymbol, State

router = APIRouter(include_in_schema=False, default_response_class=HTMLResponse)
FOLDER = Path(__file__).parent
LAG_SECONDS = 10.0
"""So late may tables and pictures of a symbol be while a run writes them: viewers do not slow it."""
ROWS = 50
"""Newest versions, ledger rows, fills, runs and trainings that a page lists."""
POLICY = {
    "Content-Security-Policy": "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; "
    "object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
}
"""plotly.js writes styles into the page; scripts come from files only."""
CACHED = {"Cache-Control": "public, max-age=3600"}


@router.get("/")
def overview(state: CurrentState) -> HTMLResponse:
    """All symbols: champion, share of capital, Sharpe ratio beside Buy & Hold, drift, decay, age of the data."""
    page = symbols.symbol_page(state, [*state.settings.symbols], 0, len(state.settings.symbols))
    return _render(
        "overview.html", page=page, week_report=_newest(state.store.periods(WEEK_REPORT, ALL_SYMBOLS, "html"))
    )


@router.get("/symbols/{symbol}")
def symbol_page(state: CurrentState, symbol: KnownSymbol) -> HTMLResponse:
    """One symbol: what its newest week found, its pictures, challengers, fills, versions and ledger."""
    return _render(
        "symbol.html",
        detail=symbols.symbol_detail(state, symbol),
        ledger=decisions.ledger_page(state, symbol, ROWS)["items"],
        mlflow=state.settings.mlflow_ui_url,
        **state.memory.made(("page", symbol), partial(_stored_parts, state, symbol), PAGE_ROWS, LAG_SECONDS),
    )


def _stored_parts(state: State, symbol: str) -> dict[str, Any]:
    """What only the store changes of a symbol's page."""
    return {
        "leaderboard": _leaderboard(state, symbol),
        "fills": evidence.fill_page(state, symbol, None, 26, ROWS)["items"],
        "versions": recipes.version_page(state, [symbol], None, ROWS)["items"],
        "tearsheet": _newest(state.store.periods(BACKTEST, symbol, "html")),
        "drift_page": _newest(state.store.periods(DRIFT_REPORT, symbol, "html")),
        "evidently_page": _newest(state.store.periods(DRIFT_REPORT, symbol, EVIDENTLY)),
        "figures": {title: _embedded(figure) for title, figure in symbol_figures(state.store, symbol).items()},
    }


@router.get("/training")
def training(state: CurrentState) -> HTMLResponse:
    """Runs and schedules of Dagster, trainings from their events, and the health of the platform's parts."""
    return _render(
        "training.html",
        runs=_of_dagster(lambda: runs.run_page(state, ROWS, None, [], None)),
        schedules=_of_dagster(lambda: runs.schedule_page(state)),
        trainings=training_page(state, [*state.settings.symbols], ROWS)["items"],
        health=health(state),
    )


@router.get("/static/plotly.js", response_class=FileResponse)
def plotly() -> FileResponse:
    """The plotly.js that the package plotly brings."""
    return FileResponse(_plotly_file(), media_type="text/javascript", headers=CACHED)


@router.get("/static/dashboard.{kind}", response_class=FileResponse)
def static(kind: str) -> FileResponse:
    """The dashboard's own script and style."""
    types = {"js": "text/javascript", "css": "text/css"}
    if kind not in types:
        raise Problem(404, f"there is no dashboard.{kind}", "a static file is one that exists", "use dashboard.js")
    return FileResponse(FOLDER / "static" / f"dashboard.{kind}", media_type=types[kind])


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
        return f"{problem.detail}. {problem.remedy}."
    return items


@cache
def _plotly_file() -> Path:
    import importlib.resources

    return Path(str(importlib.resources.files("plotly") / "package_data" / "plotly.min.js"))


@cache
def _templates() -> jinja2.Environment:
    loader = jinja2.FileSystemLoader(FOLDER / "templates")
    templates = jinja2.Environment(loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    templates.filters |= {"number": _number, "percent": _percent, "time": _time, "age": _age}
    return templates


def _render(name: str, **content: Any) -> HTMLResponse:
    html = _templates().get_template(name).render(**content, now=datetime.now(UTC))
    return HTMLResponse(html, headers=POLICY)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value:.2%}".replace(".00%", "%")


def _time(value: Any) -> str:
    return "-" if value is None else f"{value:%Y-%m-%d %H:%M}" if isinstance(value, datetime) else str(value)


def _age(seconds: float | None) -> str:
    """A duration in its largest unit."""
    if seconds is None:
        return "-"
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if abs(seconds) >= length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.2g} s"


def _embedded(value: Any) -> Any:
    """JSON inside a script element of a type that no browser runs; `<` is escaped, so it cannot end the element."""
    return jinja2.filters.Markup(json.dumps(value, separators=(",", ":")).replace("<", "\\u003c"))
