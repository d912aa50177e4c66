"""The quality gate's answer to accepted bars: their defects refuse no month any more, and say who accepted them.

What a person accepts is accepted_bars.py, which rules there are rules.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from quantum_training.market.accepted_bars import NEVER_ACCEPTED, AcceptedBars
from quantum_training.market.defects import Defect
from quantum_training.market.periods import MarketPeriod
from quantum_training.market.timeframe import to_timedelta

MISSING = "missing_bars"
LISTED_ONE_BY_ONE = 3


def accept_missing(
    accepted: Iterable[AcceptedBars], missing: pd.DatetimeIndex, period: MarketPeriod
) -> tuple[pd.DatetimeIndex, list[Defect]]:
    """The bars that are missing and accepted, as when the market was closed, and a defect for each acceptance."""
    accepted_bars, defects = missing[:0], []
    for acceptance in accepted:
        bars = missing[acceptance.covers(missing, MISSING)]
        if len(bars):
            accepted_bars = accepted_bars.union(bars)
            message = f"{period.symbol} {period.timeframe} {MISSING}: {len(bars)} bar(s) from {bars[0]} {acceptance}"
            defects.append(Defect(MISSING, "accepted", tuple(bars), message, acceptances=(acceptance,)))
    return accepted_bars, defects


def settle(defects: Sequence[Defect], accepted: Sequence[AcceptedBars], period: MarketPeriod) -> list[Defect]:
    """The defects after the acceptances: those of which every bar is accepted have the severity `accepted`.

    The other errors say how they can be accepted, or why not. An acceptance that matches nothing is a warning.
    """
    settled = [_settle(defect, accepted, period) for defect in defects]
    return settled + [d for acceptance in accepted if (d := _unused(acceptance, defects, period))]


def _settle(defect: Defect, accepted: Sequence[AcceptedBars], period: MarketPeriod) -> Defect:
    if defect.severity == "accepted":
        return defect
    bars = defect.every_bar
    uncovered, used = np.ones(len(bars), dtype=bool), []
    for acceptance in accepted:
        covered = acceptance.covers(bars, defect.rule)
        if (covered & uncovered).any():
            used.append(acceptance)
            uncovered &= ~covered
    if defect.rule in NEVER_ACCEPTED:
        if not used:
            return defect
        return replace(defect, message=f"{defect.message} It cannot be accepted: {NEVER_ACCEPTED[defect.rule]}.")
    if used and not uncovered.any():
        words = "; ".join(map(str, used))
        return replace(defect, severity="accepted", acceptances=tuple(used), message=f"{defect.message} {words}")
    if defect.severity == "error" and len(bars):
        return replace(defect, message=f"{defect.message} {_how_to_accept(defect.rule, bars[uncovered], period)}")
    return defect


def _how_to_accept(rule: str, bars: pd.DatetimeIndex, period: MarketPeriod) -> str:
    if len(bars) <= LISTED_ONE_BY_ONE:
        which = f"bars: [{', '.join(f'{bar:%Y-%m-%dT%H:%MZ}' for bar in bars)}]"
    else:
        after = bars.max() + to_timedelta(period.timeframe)
        which = f"from: {bars.min():%Y-%m-%dT%H:%MZ}, until: {after:%Y-%m-%dT%H:%MZ}"
    entry = f"{{{which}, rule: {rule}, reason: ..., by: ...}}"
    return f"If this really happened, add to symbols.{period.symbol}.accepted_bars: {entry}."


def _unused(acceptance: AcceptedBars, defects: Sequence[Defect], period: MarketPeriod) -> Defect | None:
    """A warning if named bars of this period, or an accepted period that begins in it, match no defect."""
    named = pd.DatetimeIndex(acceptance.bars or [acceptance.since]).as_unit("ns")
    unused = named[(named >= period.start) & (named < period.end)]
    for defect in defects:
        bars = defect.every_bar
        matched = bars[acceptance.covers(bars, defect.rule)]
        unused = unused.difference(matched) if acceptance.bars or not len(matched) else unused[:0]
    if unused.empty:
        return None
    message = (
        f"{period.symbol} {period.timeframe} acceptance_unused: {', '.join(map(str, unused[:3]))}, {acceptance}: "
        f"no bar there breaks {acceptance.rule or 'a rule'}. Mend or remove the entry of accepted_bars."
    )
    return Defect("acceptance_unused", "warning", tuple(unused), message)
