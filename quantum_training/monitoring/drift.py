"""The drift report: which columns differ from their reference, corrected for their number, and how severe that is.

How one column is measured: calibration.py. The rules: severity.py. Which data: lifecycle/surveillance/drift.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict

from quantum_training.monitoring.calibration import ColumnMeasurement
from quantum_training.monitoring.drift_policy import DriftPolicy
from quantum_training.monitoring.severity import (
    EXTREME_PSI,
    FAULTS,
    ColumnDrift,
    Severity,
    SeverityName,
    calibrated,
    described,
    fixed,
    recommend,
)


class DriftReport(BaseModel):
    """What drifted, worst first. `insufficient`: nothing could be tested, because there are only `have` of `need`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    severity: SeverityName
    outcome: Literal["measured", "insufficient"]
    reason: str
    have: int | None
    need: int | None
    tested: int
    rows: list[ColumnDrift]
    recommendation: list[str]


def assess_drift(
    measurements: Sequence[ColumnMeasurement], policy: DriftPolicy, paired_harm: bool = False
) -> DriftReport:
    """Test all columns as one family and grade the result. `paired_harm`: the champion is shown to do harm."""
    tested = [m for m in measurements if m.p is not None]
    q = {m.name: values for m, values in zip(tested, q_values(tested), strict=True)}
    rows = [_row(m, q.get(m.name, (None, None)), policy) for m in measurements]
    rows.sort(key=_sort_key)
    longest = None if tested else max(measurements, key=lambda m: (m.need is not None, m.weeks), default=None)
    severity = _severity(rows, len(tested), policy, paired_harm)
    return DriftReport(
        severity=severity,
        outcome="measured" if tested else "insufficient",
        reason=_reason(rows, len(tested), longest, paired_harm),
        have=longest.have if longest else None,
        need=longest.need if longest else None,
        tested=len(tested),
        rows=rows,
        recommendation=recommend(severity, rows),
    )


def q_values(tested: Sequence[ColumnMeasurement]) -> list[tuple[float | None, float | None]]:
    """For each column, p of the newest week and of the week before, corrected over the columns of that week.

    Benjamini and Hochberg (1995): if all columns with q below a limit are called drifted, the expected share of false
    ones among them is at most that limit. None for a week that was not measured.
    """
    from scipy.stats import false_discovery_control

    out = np.full((len(tested), 2), np.nan)
    for week in (0, 1):
        p = np.array([m.p[week] for m in tested if m.p is not None])
        is_measured = ~np.isnan(p)
        if is_measured.any():
            out[is_measured, week] = false_discovery_control(p[is_measured])
    return [(_number(now), _number(before)) for now, before in out]


def _row(m: ColumnMeasurement, q: tuple[float | None, float | None], policy: DriftPolicy) -> ColumnDrift:
    def at(values: np.ndarray | None, week: int) -> float | None:
        return None if values is None else _number(values[week])

    psi, previous = at(m.psi, 0), at(m.psi, 1)
    if policy.rule == "fixed":
        grades = [Severity.NONE if value is None else fixed(value) for value in (psi, previous)]
    else:
        grades = [Severity.MINOR if value is not None and value < policy.q else Severity.NONE for value in q]
    drifted = grades[0] > Severity.NONE
    return ColumnDrift(
        column=m.name,
        kind=m.kind,
        severity=FAULTS[m.fault] if m.fault else grades[0],
        drifted=drifted,
        drifted_before=grades[1] > Severity.NONE,
        fault=m.fault,
        untested=m.untested,
        psi=psi,
        usual_psi=None if m.reference_psi is None else float(np.nanmean(m.reference_psi)),
        p=at(m.p, 0),
        q=q[0],
        ks=at(m.ks, 0),
        ks_p=at(m.ks_p, 0),
        previous_psi=previous,
        previous_q=q[1],
        reference_windows=m.weeks,
        differenced=m.differenced,
        missing_share=m.missing_share,
        first_bad_bar=m.changed.isoformat() if m.changed is not None and (m.fault or drifted) else None,
    )


def _sort_key(row: ColumnDrift) -> tuple[float, ...]:
    excess = 0.0 if row.psi is None or row.usual_psi is None else row.psi - row.usual_psi
    return (
        -row.severity,
        -row.drifted_before,
        1.0 if row.q is None else row.q,
        1.0 if row.p is None else row.p,
        -excess,
    )


def _severity(rows: Sequence[ColumnDrift], tested: int, policy: DriftPolicy, paired_harm: bool) -> Severity:
    worst = max((row.severity for row in rows), default=Severity.NONE)
    if policy.rule == "fixed":
        return worst
    drifted = [row for row in rows if row.drifted]
    extreme = [row for row in drifted if (row.psi or 0.0) - (row.usual_psi or 0.0) > EXTREME_PSI]
    before = sum(row.drifted_before for row in rows)
    return max(worst, calibrated(tested, len(drifted), before, len(extreme), paired_harm))


def _reason(rows: Sequence[ColumnDrift], tested: int, longest: ColumnMeasurement | None, paired_harm: bool) -> str:
    faults = [row for row in rows if row.fault]
    drifted = [row for row in rows if row.drifted]
    before = sum(row.drifted_before for row in rows)
    parts = []
    if faults:
        parts.append(f"{len(faults)} of {len(rows)} columns have a data fault: {_listed(faults)}")
    if not tested and not faults:
        parts.append(f"insufficient: {longest.untested}" if longest else "insufficient: no column to test")
    if tested:
        counts = f"{len(drifted)} of {tested} columns drifted, {before} the week before"
        parts.append(counts + (f": {_listed(drifted)}" if drifted else ""))
    if paired_harm:
        parts.append("the champion is shown to do harm on the same bars")
    return "; ".join(parts)


def _listed(rows: Sequence[ColumnDrift]) -> str:
    return ", ".join(described(row) for row in rows[:3]) + (f" and {len(rows) - 3} more" if rows[3:] else "")


def _number(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
