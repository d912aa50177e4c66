"""How unusual a column's newest weeks are among the weeks of its own reference. Data faults are found here, too.

A fixed limit of PSI takes the ordinary movement of a column with a memory for drift: so each column's own weeks are
its scale. Many columns at once and what follows: drift.py.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd

from quantum_training.monitoring.drift_policy import NEEDED_VALUES, NEEDED_WINDOWS, DriftPolicy
from quantum_training.monitoring.psi import (
    SMOOTHING,
    fit_bins,
    ks,
    leave_one_out_ks,
    leave_one_out_psi,
    psi,
    shares,
    week_counts,
)

Kind = Literal["feature", "prediction", "residual"]
Fault = Literal["missing_column", "not_numeric", "no_bars", "all_missing", "constant", "missing_values", "too_short"]

RECENT_WEEKS = 8
"""Newest weeks that are measured: two decide, all are drawn, and the first bad bar is looked for in them."""

MAX_AUTOCORRELATION = 0.98
"""Between neighbouring bars. Above, a column wanders so slowly that every week differs: its changes are compared."""

MISSING_MARGIN = 0.05
"""A window may miss so much more of its values than the reference does."""

CONSTANT_RUNS = 2
"""Times the longest run of one value in the reference: a feature that stands still for longer is broken. A prediction
is not: a model may stay flat."""

_TINY = 1e-12


@dataclass(frozen=True)
class ColumnMeasurement:
    """One column. The arrays are by recent week, the newest first, NaN where nothing was measured.

    `p` and `ks_p`: how probable so much PSI or KS is without drift. `reference_psi` and `reference_p`: of each week of
    the reference against its other weeks, the newest first. `changed`: see `change_point`, or where a fault begins.
    `untested` says why nothing was measured; where too little is there, `have` of `need`.
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


class Frames(NamedTuple):
    """The rows to compare, with the week of each, counted back from the end of its frame: 0 is the newest."""

    reference: pd.DataFrame
    reference_weeks: np.ndarray
    recent: pd.DataFrame
    recent_weeks: np.ndarray


def measure(
    reference: pd.DataFrame,
    recent: pd.DataFrame,
    reference_end: pd.Timestamp,
    end: pd.Timestamp,
    policy: DriftPolicy,
    kind: Kind,
) -> list[ColumnMeasurement]:
    """Measure every column of two frames of bars, indexed by open time.

    A week here is a window of the policy. The reference is the policy's number of them before `reference_end`; the
    recent ones are counted back from `end` and lie behind it. Nothing in the frames raises: what cannot be measured is
    a fault, or says why it is untested.
    """
    reference, recent = reference.sort_index(), recent.sort_index()
    old, new = (
        weeks_before(pd.DatetimeIndex(frame.index), last, policy.window)
        for frame, last in ((reference, reference_end), (recent, end))
    )
    kept_old = (old >= 0) & (old < policy.reference_windows)
    kept_new = (new >= 0) & (new < min(RECENT_WEEKS, (end - reference_end) // policy.window))
    frames = Frames(reference[kept_old], old[kept_old], recent[kept_new], new[kept_new])
    names = [*reference.columns, *recent.columns.difference(reference.columns, sort=False)]
    return [_measure(str(name), name, kind, frames, end - policy.window) for name in names]


def weeks_before(times: pd.DatetimeIndex, end: pd.Timestamp, week: pd.Timedelta) -> np.ndarray:
    """How many whole weeks of that length before `end` each time is; negative from `end` on."""
    return -1 - ((times - end) // week).to_numpy()


def _measure(name: str, label: Any, kind: Kind, frames: Frames, start: pd.Timestamp) -> ColumnMeasurement:
    def broken(fault: Fault, changed: pd.Timestamp | None, **known: Any) -> ColumnMeasurement:
        return ColumnMeasurement(name, kind, fault, f"data fault {fault}", changed=changed, **known)

    if label not in frames.recent:
        return broken("missing_column", start)
    new = numbers(frames.recent[label])
    if new is None:
        return broken("not_numeric", start)
    window = new[frames.recent_weeks == 0]
    if not len(window):
        return broken("no_bars", start)
    missing = float(np.isnan(window).mean())
    old = numbers(frames.reference[label]) if label in frames.reference else None
    if old is None or np.isnan(old).all():
        return ColumnMeasurement(name, kind, untested="the reference has no value of it", missing_share=missing)
    if missing == 1:
        return broken("all_missing", _since(frames.recent.index, ~np.isnan(new)), missing_share=missing)

    differenced = _autocorrelation(old) > MAX_AUTOCORRELATION
    compared = np.diff(old, prepend=np.nan) if differenced else old
    weeks = int(_whole(frames.reference_weeks[~np.isnan(compared)]).sum())
    known: dict[str, Any] = {"weeks": weeks, "missing_share": missing}
    if weeks < NEEDED_WINDOWS:
        return _insufficient(name, kind, weeks, NEEDED_WINDOWS, "windows of reference", known)
    values = window[~np.isnan(window)]
    if kind == "feature" and (values == values[0]).all() and len(values) > CONSTANT_RUNS * _longest_run(old):
        return broken("constant", _since(frames.recent.index, ~np.isnan(new) & (new != values[0])), **known)
    if missing > np.isnan(old).mean() + MISSING_MARGIN:
        first = frames.recent.index[(frames.recent_weeks == 0) & np.isnan(new)][0]
        return broken("missing_values", first, **known)
    if len(window) < _usual_size(frames.reference_weeks) / 2:
        return broken("too_short", start, **known)
    usual = int(_usual_size(frames.reference_weeks[~np.isnan(compared)]))
    if usual < NEEDED_VALUES:
        return _insufficient(name, kind, usual, NEEDED_VALUES, "values a window, raise window_days", known)
    if differenced:
        new = np.diff(new, prepend=np.nan)
    return _compare(ColumnMeasurement(name, kind, differenced=differenced, **known), compared, new, frames)


def _insufficient(name: str, kind: Kind, have: int, need: int, what: str, known: dict[str, Any]) -> ColumnMeasurement:
    return ColumnMeasurement(name, kind, untested=f"{have} of {need} {what}", have=have, need=need, **known)


def _compare(column: ColumnMeasurement, old: np.ndarray, new: np.ndarray, frames: Frames) -> ColumnMeasurement:
    """Fill in the measures of a column without faults."""
    order = np.argsort(old)[: np.count_nonzero(~np.isnan(old))]  # what is searched for in order is found faster
    values, weeks = old[order], frames.reference_weeks[order]
    recent, recent_weeks = new[~np.isnan(new)], frames.recent_weeks[~np.isnan(new)]
    sizes = np.bincount(recent_weeks, minlength=RECENT_WEEKS)
    whole, enough = _whole(weeks), sizes >= _usual_size(weeks) / 2
    if not enough[0]:
        return replace(column, untested="too few values in the window")
    bins = fit_bins(values)
    counts = week_counts(bins, values, weeks, len(whole))
    recent_counts = week_counts(bins, recent, recent_weeks, RECENT_WEEKS)
    expected = shares(counts.sum(axis=0))
    old_psi, now_psi = leave_one_out_psi(counts), psi(shares(recent_counts), expected)
    old_ks = leave_one_out_ks(values, weeks, len(whole))
    now_ks = ks(recent, recent_weeks, RECENT_WEEKS, values)

    def psi_p(measured: np.ndarray, of: np.ndarray) -> np.ndarray:
        independent = psi_sampling_p(measured, bins.number, len(values), of)
        return np.maximum(prediction_p(measured, old_psi[whole]), independent)

    ks_p = np.maximum(prediction_p(now_ks, old_ks[whole]), ks_sampling_p(now_ks, len(values), sizes))
    log_odds = np.log(shares(recent_counts[0]) / expected)[bins.codes(recent)]
    return replace(
        column,
        psi=np.where(enough, now_psi, np.nan),
        p=np.where(enough, psi_p(now_psi, sizes), np.nan),
        ks=np.where(enough, now_ks, np.nan),
        ks_p=np.where(enough, ks_p, np.nan),
        reference_psi=np.where(whole, old_psi, np.nan),
        reference_p=np.where(whole, psi_p(old_psi, counts.sum(axis=1)), np.nan),
        changed=change_point(frames.recent.index[~np.isnan(new)], log_odds),
    )


def psi_sampling_p(psi: np.ndarray, bins: int, reference_size: int, sizes: np.ndarray) -> np.ndarray:
    """Probability of so much PSI between independent draws: (1/n + 1/m) chi-square of bins - 1 (Yurdakul 2018).

    1/m is m / (m + bins / 2)^2 here, because the smoothing draws the shares of a small week together. Of weeks of
    5, 42 and 168 independent bars 0, 3.0 and 1.4 % fall below 1 % (ten bins, measured).

    Asked beside the reference's own weeks, because the weeks of a column that repeats itself, as the hour of the day,
    are so alike that one missing bar looks unusual. sizes: values of each week, shape (weeks,).
    """
    from scipy.special import chdtrc

    spread = sizes / (sizes + SMOOTHING * bins) ** 2
    return chdtrc(bins - 1, psi / (1 / reference_size + spread))


def ks_sampling_p(distance: np.ndarray, reference_size: int, sizes: np.ndarray) -> np.ndarray:
    """Probability of so much KS between independent draws: Kolmogorov's limit."""
    from scipy.special import kolmogorov

    return kolmogorov(distance * np.sqrt(reference_size * sizes / (reference_size + sizes)))


def prediction_p(value: np.ndarray, sample: np.ndarray) -> np.ndarray:
    """Probability that one more draw exceeds `value`, given a sample whose logarithms are normal, shape (weeks,).

    1 - T_{R-1}((ln value - mean) / (sd sqrt(1 + 1 / R))) with mean and sd of the sample's logarithms: the t interval
    for one more observation. NaN in, NaN out.
    """
    from scipy.special import stdtr

    logs = np.log(np.maximum(sample, _TINY))
    spread = max(float(np.std(logs, ddof=1)), _TINY) * np.sqrt(1 + 1 / len(logs))
    return stdtr(len(logs) - 1, (logs.mean() - np.log(np.maximum(value, _TINY))) / spread)


def change_point(times: pd.Index, log_odds: np.ndarray) -> pd.Timestamp:
    """The bar from which on the bars speak most for the new distribution: its maximum likelihood start.

    log_odds: of each bar, ln(new share / old share) of its bin, oldest first.
    """
    behind = np.cumsum(log_odds[::-1])[::-1]
    return times[int(np.argmax(behind))]


def numbers(column: pd.Series) -> np.ndarray | None:
    """The values as floats, NaN for what is missing or infinite; None where the column holds no numbers."""
    if not pd.api.types.is_numeric_dtype(column) or pd.api.types.is_complex_dtype(column):
        return None
    values = column.to_numpy("float64", na_value=np.nan).copy()
    values[~np.isfinite(values)] = np.nan
    return values


def _whole(weeks: np.ndarray) -> np.ndarray:
    """Which weeks have at least half of the usual number of rows, shape (newest to oldest week,)."""
    return np.bincount(weeks) >= _usual_size(weeks) / 2


def _usual_size(weeks: np.ndarray) -> float:
    """Median number of rows of the weeks that have any; 0 where none has."""
    sizes = np.bincount(weeks)
    return float(np.median(sizes[sizes > 0])) if sizes.any() else 0.0


def _longest_run(values: np.ndarray) -> int:
    """Most neighbouring bars with the same value; a missing value ends a run."""
    starts = np.flatnonzero(np.diff(values, prepend=np.nan) != 0)
    return int(np.diff(np.append(starts, len(values))).max())


def _autocorrelation(values: np.ndarray) -> float:
    """Lag-1 autocorrelation; NaN for a constant."""
    with np.errstate(all="ignore"):
        return float(pd.Series(values).autocorr())


def _since(times: pd.Index, sound: np.ndarray) -> pd.Timestamp:
    """The bar behind the last sound one."""
    last = np.flatnonzero(sound)
    return times[last[-1] + 1 if len(last) else 0]
