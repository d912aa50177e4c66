"""`GET /reports/...`: the stored HTML pages at stable addresses.

They hold scripts of other libraries, so a browser shows them in a sandbox: they reach neither this service nor the net.
"""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.responses import HTMLResponse

from quantum_training.lifecycle.records import BACKTEST, DRIFT_REPORT
from quantum_training.lifecycle.reporting.week_page import ALL_SYMBOLS, WEEK_REPORT
from quantum_training.lifecycle.surveillance.drift_pages import EVIDENTLY
from quantum_training.service.reading.monitoring import report_html
from quantum_training.service.routes.parameters import DayPath, WeekPath
from quantum_training.service.state import CurrentState, KnownSymbol

SANDBOX = (
    "sandbox allow-scripts allow-downloads; default-src 'none'; script-src 'unsafe-inline' 'unsafe-eval'; "
    "style-src 'unsafe-inline'; img-src data: blob:; font-src data:; frame-ancestors 'self'"
)
router = APIRouter(prefix="/reports", tags=["reports"], default_response_class=HTMLResponse)


def _page(state: CurrentState, asset: str, symbol: str, period: str, suffix: str = "html") -> HTMLResponse:
    return HTMLResponse(report_html(state, asset, symbol, period, suffix), headers={"Content-Security-Policy": SANDBOX})


@router.get("/weeks/{week}")
def week_report(state: CurrentState, week: WeekPath) -> HTMLResponse:
    """All symbols of a week."""
    return _page(state, WEEK_REPORT, ALL_SYMBOLS, f"{week:%Y-%m-%d}")


@router.get("/{symbol}/{week}/tearsheet")
def tearsheet(state: CurrentState, symbol: KnownSymbol, week: WeekPath) -> HTMLResponse:
    """The tear sheet of a backtest."""
    return _page(state, BACKTEST, symbol, f"{week:%Y-%m-%d}")


@router.get("/{symbol}/{day}/drift")
def drift_page(state: CurrentState, symbol: KnownSymbol, day: DayPath) -> HTMLResponse:
    """The heat map of a drift report."""
    return _page(state, DRIFT_REPORT, symbol, f"{day:%Y-%m-%d}")


@router.get("/{symbol}/{day}/evidently")
def evidently_page(state: CurrentState, symbol: KnownSymbol, day: DayPath) -> HTMLResponse:
    """Evidently's report on the same days."""
    return _page(state, DRIFT_REPORT, symbol, f"{day:%Y-%m-%d}", EVIDENTLY)
