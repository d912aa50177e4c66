"""How unusual a column's newest weeks are among the weeks of its own reference.

A fixed limit of PSI mistakes the ordinary movement of an autocorrelated column for drift. So the column's own weeks are
its scale. What many columns show together: drift.py. Data faults: column_faults.py.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from quantum_training.monitoring.column_faults import Fault, Kind, bar_after, is_stuck, misses_values, numbers
from quantum_training.monitoring.drift_policy import NEEDED_VALUES, NEEDED_WINDOWS, DriftPolicy
from quantum_training.monitoring.psi import (
    fit_bins,
    ks,
    leave_one_out_ks,
    leave_one_out_psi,
    psi,
    shares,
    week_counts,
)
from quantum_training.monitoring.significance import change_point, ks_sampling_p, prediction_p, psi_sampling_p

RECENT_WEEKS = 8
"""Newest weeks that are measured: two decide, all are drawn, and the first bad bar is searched in them."""

MAX_AUTOCORRELATION = 0.98
"""Between neighbouring bars. Above it a column wanders so slowly that every week differs: its changes are compared."""


@dataclass(frozen=True)
class ColumnMeasurement:
    """One column. The arrays are by recent week, the newest first, NaN where nothing was measured.

    `p` and `ks_p`: how probable so much PSI or KS is without drift. `reference_psi` and `reference_p`: of each week of
    the reference against its other weeks, the newest first. `changed`: see `change_point`, or the first bar of a fault.
    `untested` says why nothing was measured; if there is too little data, there are `have` of `need`.
    """

    name: str
    kind: Kind
    fault: Fault | None = None
    untested: str | None = None
    have: int | None = None
    need: int | None = None
    weeks: int = 0
    differenced: bool = False
    missing_share: float | None = None
    changed: pd.Timestamp | None = None
    psi: np.ndarray | None = None
    p: np.ndarray | None = None
    ks: np.ndarray | None = None
    ks_p: np.ndarray | None = None
    reference_psi: np.ndarray | None = None
    reference_p: np.ndarray | None = None

    def with_fault(self, fault: Fault, changed: pd.Timestamp) -> ColumnMeasurement:
        """The same column with a data fault that begins at the bar `changed`."""
        return replace(self, fault=fault, untested=f"data fault {fault}", changed=changed)

    def with_too_little(self, have: int, need: int, unit: str) -> ColumnMeasurement:
        """The same column, untested because there are only `have` of the `need` units."""
        return replace(self, untested=f"{have} of {need} {unit}", have=have, need=need)


class Span(NamedTuple):
    """A span of bars to compare: it ends before `end` and holds `weeks` windows of the policy."""

    end: pd.Timestamp
    weeks: int


class Frames(NamedTuple):
    """The rows to compare, with the week of each, counted back from the end of its frame: 0 is the newest.

    window_start: start of the newest week, which is tested.
    """

    reference: pd.DataFrame
    reference_weeks: np.ndarray
    recent: pd.DataFrame
    recent_weeks: np.ndarray
    window_start: pd.Timestamp


def measure(
    reference: pd.DataFrame,
    recent: pd.DataFrame,
    reference_end: pd.Timestamp,
    end: pd.Timestamp,
    policy: DriftPolicy,
    kind: Kind,
) -> list[ColumnMeasurement]:
    """Measure every column of two frames of bars, indexed by open time.

    A week here is a window of the policy. The reference is the policy's number of weeks before `reference_end`; the
    recent weeks are counted back from `end` and begin after it. No content of the frames raises an error: a column
    that cannot be measured has a fault, or a reason why it is untested.
    """
    recent_weeks = min(RECENT_WEEKS, (end - reference_end) // policy.window)
    old, old_weeks = _rows(reference, Span(reference_end, policy.reference_windows), policy.window)
    new, new_weeks = _rows(recent, Span(end, recent_weeks), policy.window)
    frames = Frames(old, old_weeks, new, new_weeks, end - policy.window)
    names = [*reference.columns, *recent.columns.difference(reference.columns, sort=False)]
    return [_measure(ColumnMeasurement(str(name), kind), name, frames) for name in names]


def weeks_before(times: pd.DatetimeIndex, end: pd.Timestamp, week: pd.Timedelta) -> np.ndarray:
    """How many whole weeks of that length before `end` each time is; negative from `end` on."""
    return -1 - ((times - end) // week).to_numpy()


def _rows(frame: pd.DataFrame, span: Span, week: pd.Timedelta) -> tuple[pd.DataFrame, np.ndarray]:
    """The rows of a span in order of time, and the week of each."""
    frame = frame.sort_index()
    weeks = weeks_before(pd.DatetimeIndex(frame.index), span.end, week)
    in_span = (weeks >= 0) & (weeks < span.weeks)
    return frame[in_span], weeks[in_span]


def _measure(column: ColumnMeasurement, label: Any, frames: Frames) -> ColumnMeasurement:
    """Measure a column if it has numbers in the window and in the reference."""
    if label not in frames.recent:
        return column.with_fault("missing_column", frames.window_start)
    recent = numbers(frames.recent[label])
    if recent is None:
        return column.with_fault("not_numeric", frames.window_start)
    window = recent[frames.recent_weeks == 0]
    if not len(window):
        return column.with_fault("no_bars", frames.window_start)
    missing_share = float(np.isnan(window).mean())
    column = replace(column, missing_share=missing_share)
    reference = numbers(frames.reference[label]) if label in frames.reference else None
    if reference is None or np.isnan(reference).all():
        return replace(column, untested="the reference has no value of it")
    if missing_share == 1:
        return column.with_fault("all_missing", bar_after(frames.recent.index, ~np.isnan(recent)))
    return _measure_numbers(column, reference, recent, frames)


def _measure_numbers(
    column: ColumnMeasurement, reference: np.ndarray, recent: np.ndarray, frames: Frames
) -> ColumnMeasurement:
    """Measure a column unless a fault or too little data prevents it."""
    window = recent[frames.recent_weeks == 0]
    differenced = _autocorrelation(reference) > MAX_AUTOCORRELATION
    compared = np.diff(reference, prepend=np.nan) if differenced else reference
    compared_weeks = frames.reference_weeks[~np.isnan(compared)]
    weeks = int(_has_enough(compared_weeks).sum())
    column = replace(column, weeks=weeks)
    if weeks < NEEDED_WINDOWS:
        return column.with_too_little(weeks, NEEDED_WINDOWS, "windows of reference")
    if column.kind == "feature" and is_stuck(window, reference):
        value = window[~np.isnan(window)][0]
        return column.with_fault("constant", bar_after(frames.recent.index, ~np.isnan(recent) & (recent != value)))
    if misses_values(window, reference):
        first = frames.recent.index[(frames.recent_weeks == 0) & np.isnan(recent)][0]
        return column.with_fault("missing_values", first)
    if len(window) < _usual_size(frames.reference_weeks) / 2:
        return column.with_fault("too_short", frames.window_start)
    usual = int(_usual_size(compared_weeks))
    if usual < NEEDED_VALUES:
        return column.with_too_little(usual, NEEDED_VALUES, "values a window, raise window_days")
    if differenced:
        recent = np.diff(recent, prepend=np.nan)
    return _compare(replace(column, differenced=differenced), compared, recent, frames)


def _compare(column: ColumnMeasurement, old: np.ndarray, new: np.ndarray, frames: Frames) -> ColumnMeasurement:
    """Fill in the measures of a column without faults."""
    order = np.argsort(old)[: np.count_nonzero(~np.isnan(old))]  # searching in sorted values is faster
    values, weeks = old[order], frames.reference_weeks[order]
    recent, recent_weeks = new[~np.isnan(new)], frames.recent_weeks[~np.isnan(new)]
    sizes = np.bincount(recent_weeks, minlength=RECENT_WEEKS)
    usable, enough = _has_enough(weeks), sizes >= _usual_size(weeks) / 2
    if not enough[0]:
        return replace(column, untested="too few values in the window")
    bins = fit_bins(values)
    counts = week_counts(bins, values, weeks, len(usable))
    recent_counts = week_counts(bins, recent, recent_weeks, RECENT_WEEKS)
    expected = shares(counts.sum(axis=0))
    old_psi, now_psi = leave_one_out_psi(counts), psi(shares(recent_counts), expected)
    old_ks = leave_one_out_ks(values, weeks, len(usable))
    now_ks = ks(recent, recent_weeks, RECENT_WEEKS, values)

    def psi_p(distance: np.ndarray, number_of_values: np.ndarray) -> np.ndarray:
        independent = psi_sampling_p(distance, bins.number, len(values), number_of_values)
        return np.maximum(prediction_p(distance, old_psi[usable]), independent)

    ks_p = np.maximum(prediction_p(now_ks, old_ks[usable]), ks_sampling_p(now_ks, len(values), sizes))
    log_odds = np.log(shares(recent_counts[0]) / expected)[bins.codes(recent)]
    return replace(
        column,
        psi=np.where(enough, now_psi, np.nan),
        p=np.where(enough, psi_p(now_psi, sizes), np.nan),
        ks=np.where(enough, now_ks, np.nan),
        ks_p=np.where(enough, ks_p, np.nan),
        reference_psi=np.where(usable, old_psi, np.nan),
        reference_p=np.where(usable, psi_p(old_psi, counts.sum(axis=1)), np.nan),
        changed=change_point(frames.recent.index[~np.isnan(new)], log_odds),
    )


def _has_enough(weeks: np.ndarray) -> np.ndarray:
    """Which weeks have at least half of the usual number of rows, shape (newest to oldest week,)."""
    return np.bincount(weeks) >= _usual_size(weeks) / 2


def _usual_size(weeks: np.ndarray) -> float:
    """Median number of rows of the weeks that have any; 0 if none has."""
    sizes = np.bincount(weeks)
    return float(np.median(sizes[sizes > 0])) if sizes.any() else 0.0


def _autocorrelation(values: np.ndarray) -> float:
    """Lag-1 autocorrelation; NaN for a constant."""
    with np.errstate(all="ignore"):
        return float(pd.Series(values).autocorr())
