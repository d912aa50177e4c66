"""The decay report: a champion's record in office against its own record before, and against what others measured live.

The CUSUM is in cusum.py. Losses against the FORMER champion are judged in selection/harm.py, not here.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

import pandas as pd
from pydantic import BaseModel, ConfigDict

from quantum_training.monitoring.cusum import CalibratedCusum, calibrate
from quantum_training.monitoring.decay_policy import NEEDED_DAYS, TOLERANCE, DecayPolicy
from quantum_training.monitoring.sharpe_interval import SharpeOf, daily_returns, sharpe_of
from quantum_training.trading.metrics import sharpe
from quantum_training.trading.uncertainty import standard_error

Status = Literal["NONE", "DECAYED", "INSUFFICIENT"]
WEEK = pd.Timedelta(days=7)
NANOSECOND = pd.Timedelta("1ns")


class LiveMeasurement(NamedTuple):
    """What others measured of the champion: annualised `sharpe` over `bars`, and more that is only shown."""

    measured_at: pd.Timestamp
    metrics: Mapping[str, float | None]


class Reported(BaseModel):
    """The newest live measurement and its test. z against limit; both None if it is untested, as `untested` says."""

    model_config = ConfigDict(frozen=True)

    measured_at: str
    metrics: dict[str, float | None]
    z: float | None = None
    limit: float | None = None
    untested: str | None = None


class Decay(BaseModel):
    """The finding of a week; if there is too little data, there are `have` of `need`.

    office: the week in which the recipe became champion. statistic against limit: with the rule cusum, the sum at the
    end of the week, and a decay if it was above the limit on a day of the week; with the rule below_baseline, the
    Sharpe ratio of the last weeks, and a decay if it is below. since: where the sum began. first_alarm: the first day
    from then on with the sum above the limit. expected_sharpe: annualised, what the baseline lets one expect.
    """

    model_config = ConfigDict(frozen=True)

    status: Status
    reason: str
    recipe: str | None
    office: str | None
    rule: str
    statistic: float | None = None
    limit: float | None = None
    first_alarm: str | None = None
    since: str | None = None
    have: int | None = None
    need: int | None = None
    expected_sharpe: float | None = None
    baseline: SharpeOf | None = None
    live: SharpeOf | None = None
    reported: Reported | None = None


class Calendar(NamedTuple):
    """Bars and days in a year, and days with bars in the policy's weeks from when the champion took office.

    lag: how long before a Monday bars must have opened to be known then; 0 unless they are of several days.
    """

    bars: float
    days: float
    horizon: int
    lag: pd.Timedelta = pd.Timedelta(0)


class Tenure(NamedTuple):
    """A champion's time in office: what stays the same from week to week. `cusum` is None without a baseline."""

    recipe: str
    since: pd.Timestamp
    calendar: Calendar
    baseline: SharpeOf
    cusum: CalibratedCusum | None


class _Finding(NamedTuple):
    status: Status
    reason: str
    numbers: dict[str, Any]


def start_tenure(recipe: str, since: pd.Timestamp, net: pd.Series, calendar: Calendar, policy: DecayPolicy) -> Tenure:
    """Calibrate on the champion's record before `since`. net: net returns by open time, from its first decision on."""
    record = net.loc[: since - calendar.lag - NANOSECOND]
    daily = daily_returns(record).to_numpy()
    has_baseline = len(daily) >= NEEDED_DAYS and sharpe(daily, 1.0)[0] is not None
    cusum = calibrate(daily, calendar.horizon, calendar.days, policy) if has_baseline else None
    return Tenure(recipe, since, calendar, sharpe_of(record, calendar.bars), cusum)


def assess_decay(
    tenure: Tenure, week: pd.Timestamp, net: pd.Series, policy: DecayPolicy, measurement: LiveMeasurement | None = None
) -> Decay:
    """The report of the champion in office at the start of a week.

    net: as for `start_tenure`; only bars before `week`, less the calendar's lag, count. measurement: the newest one by
    others. Either test alone makes a decay; each has its own `alpha`.
    """
    live = net.loc[tenure.since : week - tenure.calendar.lag - NANOSECOND]
    fields: dict[str, Any] = {
        "recipe": tenure.recipe,
        "office": f"{tenure.since:%Y-%m-%d}",
        "rule": policy.rule,
        "baseline": tenure.baseline,
        "live": sharpe_of(live, tenure.calendar.bars),
        "reported": None if measurement is None else _reported(tenure, measurement, policy),
    }
    if tenure.cusum is None:
        return Decay(status="INSUFFICIENT", **fields, **_missing_baseline(tenure.baseline))
    if tenure.since == week:
        return Decay(status="INSUFFICIENT", reason=f"{tenure.recipe} takes office this very week", **fields)
    if policy.rule == "cusum":
        finding = _cusum_finding(tenure, tenure.cusum, week, live, policy)
    else:
        finding = _below_baseline_finding(tenure, week, live, policy)
    finding = _with_reported(finding, fields["reported"], tenure.cusum)
    fields |= finding.numbers | {"expected_sharpe": tenure.cusum.sharpe}
    return Decay(status=finding.status, reason=finding.reason, **fields)


def no_champion(policy: DecayPolicy) -> Decay:
    """The report of a week without a champion."""
    return Decay(status="INSUFFICIENT", reason="no champion", recipe=None, office=None, rule=policy.rule)


def _missing_baseline(baseline: SharpeOf) -> dict[str, Any]:
    """Why the record before office is no baseline."""
    if baseline.days >= NEEDED_DAYS:
        return {"reason": "the returns before it took office do not vary"}
    reason = f"{baseline.days} of {NEEDED_DAYS} days of record before it took office"
    return {"reason": reason, "have": baseline.days, "need": NEEDED_DAYS}


def _cusum_finding(
    tenure: Tenure, cusum: CalibratedCusum, week: pd.Timestamp, live: pd.Series, policy: DecayPolicy
) -> _Finding:
    """The sum since the champion took office. It begins again after every `policy.weeks` weeks."""
    length = policy.weeks * WEEK
    since = tenure.since + ((week - tenure.since - NANOSECOND) // length) * length
    daily = daily_returns(live)
    if daily.loc[since:].empty:
        return _Finding("INSUFFICIENT", f"no bar of it was scored from {since:%Y-%m-%d} on", {})
    first = int(daily.index.searchsorted(since))
    sums = pd.Series(cusum.sums(daily.to_numpy(), first), daily.index[first:])
    above = sums[sums > cusum.limit]
    numbers = {
        "statistic": float(sums.iloc[-1]),
        "limit": cusum.limit,
        "since": f"{since:%Y-%m-%d}",
        "first_alarm": f"{above.index[0]:%Y-%m-%d}" if len(above) else None,
    }
    above_this_week = above.loc[week - tenure.calendar.lag - WEEK :]
    if len(above_this_week):
        reason = f"CUSUM {above_this_week.max():.1f} above {cusum.limit:.1f}, first on {above.index[0]:%Y-%m-%d}"
        return _Finding("DECAYED", reason, numbers)
    earlier = f", above it on {above.index[-1]:%Y-%m-%d} and better since" if len(above) else ""
    return _Finding("NONE", f"CUSUM {sums.iloc[-1]:.1f} of {cusum.limit:.1f}{earlier}", numbers)


def _below_baseline_finding(tenure: Tenure, week: pd.Timestamp, live: pd.Series, policy: DecayPolicy) -> _Finding:
    """Whether the Sharpe ratio of the last weeks is more than a tenth below the baseline's."""
    weeks, before = (week - tenure.since) // WEEK, tenure.baseline.sharpe
    if weeks < policy.window_weeks:
        count = {"have": weeks, "need": policy.window_weeks}
        return _Finding("INSUFFICIENT", f"{weeks} of {policy.window_weeks} weeks in office", count)
    first = week - tenure.calendar.lag - policy.window_weeks * WEEK
    recent = sharpe_of(live.loc[first:], tenure.calendar.bars)
    if recent.sharpe is None or before is None:
        return _Finding("INSUFFICIENT", f"no Sharpe ratio of {recent.bars} bars: {recent.undefined}", {})
    limit = before - TOLERANCE * abs(before)
    ratio = f"Sharpe {recent.sharpe:.2f} of the last {policy.window_weeks} weeks ({recent.bars} bars)"
    numbers = {"statistic": recent.sharpe, "limit": limit}
    if recent.sharpe < limit:
        return _Finding("DECAYED", f"{ratio}, more than 10 % below the baseline's {before:.2f}", numbers)
    return _Finding("NONE", f"{ratio}, the baseline's is {before:.2f}", numbers)


def _with_reported(finding: _Finding, reported: Reported | None, cusum: CalibratedCusum) -> _Finding:
    """The finding, as a decay if the live measurement alone shows one."""
    if reported is None or reported.z is None or reported.limit is None or reported.z <= reported.limit:
        return finding
    reason = f"live Sharpe {reported.metrics['sharpe']:.2f} reported up to {reported.measured_at[:10]}, "
    reason += f"{cusum.sharpe:.2f} expected: z {reported.z:.2f} above {reported.limit:.2f}; {finding.reason}"
    return finding._replace(status="DECAYED", reason=reason)


def _reported(tenure: Tenure, measurement: LiveMeasurement, policy: DecayPolicy) -> Reported:
    """Test a reported Sharpe ratio against the expected one, for normal returns.

    One-sided at alpha over the number of weeks, because there may be a measurement in every one of them (Bonferroni).
    """
    from scipy.stats import norm

    metrics, cusum = measurement.metrics, tenure.cusum
    fields: dict[str, Any] = {"measured_at": measurement.measured_at.isoformat(), "metrics": dict(metrics)}
    ratio, bars = metrics.get("sharpe"), metrics.get("bars")
    if ratio is None:
        return Reported(**fields, untested="it holds no `sharpe`, the annualised Sharpe ratio")
    if bars is None or bars < 2:
        return Reported(**fields, untested="it does not say over how many `bars`, at least 2, `sharpe` was measured")
    if cusum is None:
        return Reported(**fields, untested="there is no baseline")
    periods = tenure.calendar.bars
    error = math.sqrt(periods) * standard_error(ratio / math.sqrt(periods), bars)
    z = (cusum.sharpe - ratio) / math.hypot(error, cusum.sharpe_sd)
    return Reported(**fields, z=z, limit=float(norm.isf(policy.alpha / policy.weeks)))
