"""How severe a drift is and what to do about it: rules on columns that are already tested."""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, PlainSerializer

from quantum_training.monitoring.column_faults import Fault, Kind


class Severity(IntEnum):
    """Ordered, so that the worst of several is their maximum."""

    NONE = 0
    MINOR = 1
    MODERATE = 2
    SEVERE = 3
    CRITICAL = 4


SeverityName = Annotated[
    Severity,
    BeforeValidator(lambda value: Severity[value] if isinstance(value, str) else value),
    PlainSerializer(lambda severity: severity.name),
]
"""A severity that a record stores by its name."""

FAULTS: dict[Fault, Severity] = {
    "missing_column": Severity.CRITICAL,
    "not_numeric": Severity.CRITICAL,
    "no_bars": Severity.CRITICAL,
    "all_missing": Severity.CRITICAL,
    "constant": Severity.CRITICAL,
    "missing_values": Severity.MODERATE,
    "too_short": Severity.MODERATE,
}

FIXED = ((0.25, Severity.SEVERE), (0.2, Severity.MODERATE), (0.1, Severity.MINOR))
"""Limits of PSI for the rule `fixed` and their severities: the conventional limits of credit scoring."""

FEW, MODERATE_SHARE, SEVERE_SHARE = 2, 0.1, 0.25
CRITICAL_SHARE, EXTREME_PSI = 0.5, 0.25

ACTIONS = {
    Severity.NONE: "Nothing to do.",
    Severity.MINOR: "Watch it: one week is no reason to act.",
    Severity.MODERATE: "Retrain as of today with the trigger DRIFT_DETECTED and let the shadow scores judge it; drift "
    "alone promotes nothing.",
    Severity.SEVERE: "Retrain as of today with the trigger DRIFT_DETECTED, raise no capital until its shadow scores "
    "are in, and look whether the market or its source has changed.",
    Severity.CRITICAL: "Stop the model: it sees what it was never trained on. Check the source and the features from "
    "the first bad bar on, then re-materialise candles and features.",
}


class ColumnDrift(BaseModel):
    """One column of a drift report; what is undefined is None, and `untested` says why.

    psi, ks: distance of the window from the reference; p, ks_p: how probable so much is without drift; q: p corrected
    for the number of columns. usual_psi: mean PSI of a reference week. drifted: in this week; drifted_before: in the
    week before. first_bad_bar: the first bar of the new distribution or of the data fault.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    column: str
    kind: Kind
    severity: SeverityName
    drifted: bool
    drifted_before: bool
    fault: Fault | None
    untested: str | None
    psi: float | None
    usual_psi: float | None
    p: float | None
    q: float | None
    ks: float | None
    ks_p: float | None
    previous_psi: float | None
    previous_q: float | None
    reference_windows: int
    differenced: bool
    missing_share: float | None
    first_bad_bar: str | None


def calibrated(tested: int, drifted: int, drifted_before: int, extreme: int, paired_harm: bool) -> Severity:
    """The severity if so many of the tested columns drifted this week and the week before.

    MINOR: one drifted. MODERATE: two, or a tenth of those tested, drifted in both weeks. SEVERE: a quarter of them
    drifted in both weeks, or MODERATE while the champion is shown to do harm on the same bars. CRITICAL: half of them
    drifted this week, each with EXTREME_PSI above its usual PSI.
    """
    in_both_weeks = min(drifted, drifted_before)
    if drifted and extreme >= CRITICAL_SHARE * tested:
        return Severity.CRITICAL
    if in_both_weeks and in_both_weeks >= SEVERE_SHARE * tested:
        return Severity.SEVERE
    if in_both_weeks and (in_both_weeks >= FEW or in_both_weeks >= MODERATE_SHARE * tested):
        return Severity.SEVERE if paired_harm else Severity.MODERATE
    return Severity.MINOR if drifted else Severity.NONE


def fixed(psi: float) -> Severity:
    """The severity of one column by the conventional limits."""
    return next((severity for limit, severity in FIXED if psi > limit), Severity.NONE)


def recommend(severity: Severity, rows: Sequence[ColumnDrift]) -> list[str]:
    """Sentences, root cause first: the columns to look at, the first bad bar, what to do. `rows`: worst first."""
    bad = [row for row in rows if row.severity > Severity.NONE]
    if not bad:
        return [ACTIONS[severity]]
    first = min((row for row in bad if row.first_bad_bar), key=lambda row: str(row.first_bad_bar), default=None)
    return [
        f"Look at {', '.join(described(row) for row in bad[:3])}" + (f" and {len(bad) - 3} more." if bad[3:] else "."),
        *([f"First bad bar: {first.first_bad_bar} ({first.column})."] if first else []),
        ACTIONS[severity],
    ]


def described(row: ColumnDrift) -> str:
    """A column in a few words: its fault, or its PSI beside the usual one."""
    if row.fault:
        return f"{row.column} ({row.fault})"
    return f"{row.column} (PSI {row.psi:.3f}, usually {row.usual_psi:.3f})"
