"""The decay report: a champion's record in office beside its own record before it, and what outsiders measured live.

The CUSUM is cusum.py; where records and events come from is assets/decay.py. A loss against the FORMER champion is
selection/harm.py; what it found is shown here, not judged again.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

import pandas as pd
from pydantic import BaseModel, ConfigDict

from quantum_training.monitoring.cusum import Watch, calibrate
from quantum_training.monitoring.decay_policy import NEEDED_DAYS, TOLERANCE, DecayPolicy
from quantum_training.trading.metrics import Reason, sharpe
from quantum_training.trading.uncertainty import MIN_BARS, standard_error

Status = Literal["NONE", "DECAYED", "INSUFFICIENT"]
WEEK = pd.Timedelta(days=7)
NANOSECOND = pd.Timedelta("1ns")
SURE = 1.96  # standard errors on either side of a 95 % interval


class SharpeOf(BaseModel):
    """An annualised Sharpe ratio over so many bars on so many UTC days; `undefined` says why there is none.

    low, high: 95 % interval by the standard error of Mertens (2002), from 20 bars on.
    """

    model_config = ConfigDict(frozen=True)

    bars: int
    days: int
    sharpe: float | None
    low: float | None
    high: float | None
    undefined: Reason | None


class Reported(BaseModel):
    """The newest live Sharpe ratio that came in as an event. z against limit, both None where `untested` says why."""

    model_config = ConfigDict(frozen=True)

    measured_at: str
    metrics: dict[str, float | None]
    z: float | None = None
    limit: float | None = None
    untested: str | None = None


class Decay(BaseModel):
    """What was found in a week; `have` of `need` where that is too little.

    office: the week in which the recipe took office. statistic against limit: by the rule cusum the sum at the end of
    the week, a decay where it was above the limit on a day of the week; by below_baseline the Sharpe ratio of the last
    weeks, a decay where it is below. first_alarm: first day on which the limit was passed, of those `since`.
    expected_sharpe: annualised, what the baseline lets one expect.
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
    """Bars and days in a year, and days with bars in the policy's weeks from when the champion took office."""

    bars: float
    days: float
    horizon: int


class Tenure(NamedTuple):
    """A champion in office: everything that stays the same from week to week. `watch` is None without a baseline."""

    recipe: str
    since: pd.Timestamp
    calendar: Calendar
    baseline: SharpeOf
    watch: Watch | None


class _Finding(NamedTuple):
    status: Status
    reason: str
    numbers: dict[str, Any]


def start_tenure(recipe: str, since: pd.Timestamp, net: pd.Series, calendar: Calendar, policy: DecayPolicy) -> Tenure:
    """Calibrate on the champion's record before `since`. net: net returns by open time, from its first decision on."""
    record = net.loc[: since - NANOSECOND]
    baseline, days = sharpe_of(record, calendar.bars), daily(record).to_numpy()
    enough = len(days) >= NEEDED_DAYS and sharpe(days, 1.0)[0] is not None
    return Tenure(
        recipe,
        since,
        calendar,
        baseline,
        calibrate(days, calendar.horizon, calendar.days, policy) if enough else None,
    )


def judge(
    office: Tenure,
    week: pd.Timestamp,
    net: pd.Series,
    policy: DecayPolicy,
    measured: tuple[pd.Timestamp, Mapping[str, float | None]] | None = None,
) -> Decay:
    """The report of the champion in office at the start of a week.

    net: as for `start_tenure`, of which bars before `week` count. measured: time and metrics of the newest outside
    measurement, annualised `sharpe` over `bars`. Either test alone makes a decay; each has its own `alpha`.
    """
    live = net.loc[office.since : week - NANOSECOND]
    told: dict[str, Any] = {
        "recipe": office.recipe,
        "office": f"{office.since:%Y-%m-%d}",
        "rule": policy.rule,
        "baseline": office.baseline,
        "live": sharpe_of(live, office.calendar.bars),
    }
    reported = None if measured is None else _reported(office, *measured, policy)
    if office.watch is None:
        return Decay(status="INSUFFICIENT", reported=reported, **told, **_no_baseline(office.baseline))
    if office.since == week:
        reason = f"{office.recipe} takes office this very week"
        return Decay(status="INSUFFICIENT", reason=reason, reported=reported, **told)
    found = (_cusum if policy.rule == "cusum" else _below)(office, office.watch, week, live, policy)
    if reported and reported.z is not None and reported.limit is not None and reported.z > reported.limit:
        said = f"live Sharpe {reported.metrics['sharpe']:.2f} reported up to {reported.measured_at[:10]}, "
        said += f"{office.watch.sharpe:.2f} expected: z {reported.z:.2f} above {reported.limit:.2f}; {found.reason}"
        found = found._replace(status="DECAYED", reason=said)
    told |= found.numbers | {"expected_sharpe": office.watch.sharpe}
    return Decay(status=found.status, reason=found.reason, reported=reported, **told)


def nobody(policy: DecayPolicy) -> Decay:
    """The report of a week without a champion."""
    return Decay(status="INSUFFICIENT", reason="no champion", recipe=None, office=None, rule=policy.rule)


def daily(net: pd.Series) -> pd.Series:
    """Net returns per bar summed by UTC day, as the promotion rules sum them."""
    return net.groupby(pd.DatetimeIndex(net.index).floor("D")).sum()


def sharpe_of(net: pd.Series, periods: float) -> SharpeOf:
    """The Sharpe ratio of net returns by open time; periods: bars in a year."""
    from scipy.stats import kurtosis, skew

    values = net.to_numpy()
    ratio, undefined = sharpe(values, periods)
    low = high = None
    if ratio is not None and len(values) >= MIN_BARS:
        a_bar = ratio / math.sqrt(periods)
        shape = float(skew(values)), float(kurtosis(values, fisher=False))
        error = SURE * math.sqrt(periods) * standard_error(a_bar, len(values), *shape)
        low, high = ratio - error, ratio + error
    days = pd.DatetimeIndex(net.index).floor("D").nunique()
    return SharpeOf(bars=len(values), days=days, sharpe=ratio, low=low, high=high, undefined=undefined)


def _no_baseline(baseline: SharpeOf) -> dict[str, Any]:
    """Why a record is none."""
    if baseline.days >= NEEDED_DAYS:
        return {"reason": "the returns before it took office do not vary"}
    reason = f"{baseline.days} of {NEEDED_DAYS} days of record before it took office"
    return {"reason": reason, "have": baseline.days, "need": NEEDED_DAYS}


def _cusum(office: Tenure, watch: Watch, week: pd.Timestamp, live: pd.Series, policy: DecayPolicy) -> _Finding:
    """The sum since the champion took office, begun again after every `policy.weeks` weeks."""
    length = policy.weeks * WEEK
    since = office.since + ((week - office.since - NANOSECOND) // length) * length
    days = daily(live)
    if days.loc[since:].empty:
        return _Finding("INSUFFICIENT", f"no bar of it was scored from {since:%Y-%m-%d} on", {})
    first = int(days.index.searchsorted(since))
    sums = pd.Series(watch.sums(days.to_numpy(), first), days.index[first:])
    above = sums[sums > watch.limit]
    numbers = {
        "statistic": float(sums.iloc[-1]),
        "limit": watch.limit,
        "since": f"{since:%Y-%m-%d}",
        "first_alarm": f"{above.index[0]:%Y-%m-%d}" if len(above) else None,
    }
    recent = above.loc[week - WEEK :]
    if len(recent):
        reason = f"CUSUM {recent.max():.1f} above {watch.limit:.1f}, first on {above.index[0]:%Y-%m-%d}"
        return _Finding("DECAYED", reason, numbers)
    earlier = f", above it on {above.index[-1]:%Y-%m-%d} and better since" if len(above) else ""
    return _Finding("NONE", f"CUSUM {sums.iloc[-1]:.1f} of {watch.limit:.1f}{earlier}", numbers)


def _below(office: Tenure, watch: Watch, week: pd.Timestamp, live: pd.Series, policy: DecayPolicy) -> _Finding:
    """Is the Sharpe ratio of the last weeks more than a tenth below the baseline's?"""
    served, before = (week - office.since) // WEEK, office.baseline.sharpe
    if served < policy.window_weeks:
        numbers = {"have": served, "need": policy.window_weeks}
        return _Finding("INSUFFICIENT", f"{served} of {policy.window_weeks} weeks in office", numbers)
    recent = sharpe_of(live.loc[week - policy.window_weeks * WEEK :], office.calendar.bars)
    if recent.sharpe is None or before is None:
        return _Finding("INSUFFICIENT", f"no Sharpe ratio of {recent.bars} bars: {recent.undefined}", {})
    limit = before - TOLERANCE * abs(before)
    said = f"Sharpe {recent.sharpe:.2f} of the last {policy.window_weeks} weeks ({recent.bars} bars)"
    told = {"statistic": recent.sharpe, "limit": limit}
    if recent.sharpe < limit:
        return _Finding("DECAYED", f"{said}, more than 10 % below the baseline's {before:.2f}", told)
    return _Finding("NONE", f"{said}, the baseline's is {before:.2f}", told)


def _reported(
    office: Tenure, measured_at: pd.Timestamp, metrics: Mapping[str, float | None], policy: DecayPolicy
) -> Reported:
    """Test a reported Sharpe ratio against the expected one, for normal returns.

    One-sided at alpha over the number of weeks, because there may be a measurement in every one of them (Bonferroni).
    """
    from scipy.stats import norm

    told: dict[str, Any] = {"measured_at": measured_at.isoformat(), "metrics": dict(metrics)}
    ratio, bars, watch = metrics.get("sharpe"), metrics.get("bars"), office.watch
    if ratio is None:
        return Reported(**told, untested="it holds no `sharpe`, the annualised Sharpe ratio")
    if bars is None or bars < 2:
        return Reported(**told, untested="it does not say over how many `bars`, at least 2, `sharpe` was measured")
    if watch is None:
        return Reported(**told, untested="there is no baseline")
    periods = office.calendar.bars
    error = math.sqrt(periods) * standard_error(ratio / math.sqrt(periods), bars)
    z = (watch.sharpe - ratio) / math.hypot(error, watch.sharpe_sd)
    return Reported(**told, z=z, limit=float(norm.isf(policy.alpha / policy.weeks)))
