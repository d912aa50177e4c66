"""S0's view of the shadow: each recipe that is not in office beside the champion, and the champion itself."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import BaseModel, Field

from quantum_training.lifecycle.records import WeeklyDecision, read_records
from quantum_training.lifecycle.reporting.summaries import champions_of, in_office_since
from quantum_training.service.problems import Problem
from quantum_training.service.reading.dated import utc
from quantum_training.service.reading.evidence import leaderboard, newest_backtest
from quantum_training.service.state import State
from quantum_training.trading.baselines import BASELINES


class ShadowModelStatus(BaseModel):
    """A model in the shadow. Differences are against the champion; null without one."""

    model_version: str | None = Field(description="Its newest accepted version.")
    model_type: str
    symbol: str
    status: str = Field(description="SHADOW, CANDIDATE with enough predictions, or CHAMPION.")
    registered_at: datetime | None
    prediction_count: int
    min_predictions: int = Field(examples=[100])
    sharpe: float | None
    win_rate: float | None
    sharpe_diff: float | None
    win_rate_diff: float | None
    allocation: float = Field(description="Share of the capital.", examples=[0.0])


def shadow_models(state: State, symbol: str) -> list[ShadowModelStatus]:
    """The recipes of a symbol that are not in office; none before the first backtest."""
    try:
        rows = leaderboard(state, symbol)["rows"]
    except Problem:
        return []
    return [_status(symbol, row) for row in rows if row["strategy"] not in BASELINES and not row["is_champion"]]


def status_of(state: State, symbol: str, recipe: str, model_id: str) -> ShadowModelStatus:
    """A recipe in the shadow or in office, shown with this version of it. Problem 404 before the first backtest."""
    row = next((row for row in leaderboard(state, symbol)["rows"] if row["strategy"] == recipe), None)
    if row is None:
        rule, remedy = "a status is that of a scored recipe", "run the job clm_cycle"
        raise Problem(404, f"{recipe} of {symbol} was not scored yet", rule, remedy)
    return _status(symbol, row).model_copy(update={"model_version": model_id})


def _status(symbol: str, row: dict[str, Any]) -> ShadowModelStatus:
    enough = (row["predictions"] or 0) >= row["needed_predictions"]
    return ShadowModelStatus(
        model_version=row["model_id"],
        model_type=row["strategy"],
        symbol=symbol,
        status="CHAMPION" if row["is_champion"] else "CANDIDATE" if enough else "SHADOW",
        registered_at=row["trained_as_of"],
        prediction_count=row["predictions"] or 0,
        min_predictions=row["needed_predictions"],
        sharpe=row["sharpe"]["sharpe"],
        win_rate=row["win_rate"],
        sharpe_diff=row["sharpe_difference"],
        win_rate_diff=row["win_rate_difference"],
        allocation=0.0,
    )


def champion_answer(state: State, symbol: str, recipe: str | None) -> dict[str, Any] | None:
    """The champion as S0 shows it; None if there is none, or it is not this recipe."""
    decisions = read_records(state.store, WeeklyDecision, symbol)
    decision = decisions[max(decisions)] if decisions else None
    if decision is None or decision.champion is None or recipe not in (None, decision.champion):
        return None
    since = in_office_since(champions_of(decisions), decision.week)
    try:
        metrics = newest_backtest(state, symbol)["metrics"].get(decision.champion)
    except Problem:
        metrics = None
    return {
        "model_version": decision.model_id,
        "model_type": decision.champion,
        "symbol": symbol,
        "promoted_at": utc(since),
        "reason": decisions[since].reason,
        "metrics": metrics,
    }
