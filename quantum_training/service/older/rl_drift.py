"""S0, `/api/training/drift/...`: drift reports, distributions, and the PSI of numbers that a client sends."""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, Query
from pydantic import Field

from quantum_training.monitoring.psi import fit_bins, psi, shares, week_counts
from quantum_training.monitoring.severity import Severity, fixed
from quantum_training.service.older.names import MarketQuery, symbol_named
from quantum_training.service.older.rl_training import Body
from quantum_training.service.problems import Problem
from quantum_training.service.reading.distributions import distributions, feature_values
from quantum_training.service.reading.monitoring import drift_page
from quantum_training.service.state import CurrentState, State

router = APIRouter(prefix="/api/training/drift", tags=["older: RL training service"])
Values = Annotated[list[Annotated[float, Field(allow_inf_nan=False)]], Field(min_length=1, max_length=5000)]


class FeatureBody(Body):
    """Numbers to compare. reference: default: the reference of the symbol's newest drift report."""

    feature: str = Field(pattern=r"^[A-Za-z0-9_]+$", max_length=100)
    current: Values
    reference: Values | None = None


@router.get("/history")
def drift_history(
    state: CurrentState, limit: Annotated[int, Query(ge=1, le=1000)] = 100, symbol: MarketQuery = None
) -> list[dict[str, Any]]:
    """12. The newest drift reports, as data.drift_detected tells of them; severity NONE is among them."""
    chosen = [symbol_named(state, symbol)] if symbol else [*state.settings.symbols]
    reports = [report for name in chosen for report in drift_page(state, name, limit)["items"]]
    reports.sort(key=lambda report: (report["day"], report["symbol"]), reverse=True)
    return [_drift(state, report) for report in reports[:limit]]


def _drift(state: State, report: dict[str, Any]) -> dict[str, Any]:
    drifted = [row for row in report["rows"] if row["severity"] != "NONE"]
    return {
        "drift_type": ", ".join(sorted({row["kind"] for row in drifted})) or "feature",
        "severity": report["severity"],
        "psi_score": max((row["psi"] for row in drifted or report["rows"] if row["psi"] is not None), default=None),
        "affected_models": [*state.settings.symbols[report["symbol"]].recipes] if drifted else [],
        "recommendation": " ".join(report["recommendation"]),
        "detected_at": report["as_of"],
        "symbol": report["symbol"],
    }


@router.get("/distributions")
def drift_distributions(state: CurrentState, symbol: MarketQuery = None) -> dict[str, Any]:
    """13. Current and reference distribution of each feature in the newest drift report, from the stored features."""
    return distributions(state, symbol_named(state, symbol))


@router.post("/check-feature")
def check_feature(state: CurrentState, body: FeatureBody) -> dict[str, Any]:
    """14. PSI of numbers that are sent, by the conventional limits of severity."""
    if body.reference is None:
        reference = feature_values(state, symbol_named(state, body.symbol), body.feature).reference
    else:
        reference = np.array(body.reference)
    if not len(reference):
        raise Problem(404, f"{body.feature} has no reference", "a PSI needs a reference", "send reference")
    bins = fit_bins(reference)
    counts = [
        week_counts(bins, values, np.zeros(len(values), int), 1)[0] for values in (np.array(body.current), reference)
    ]
    value = float(psi(shares(counts[0]), shares(counts[1])))
    severity = fixed(value)
    return {"feature": body.feature, "psi": value, "severity": severity.name, "drifted": severity > Severity.NONE}
