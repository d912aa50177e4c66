"""The decay report of champions whose true returns are known, and the cases with too little data."""

import json

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm

from quantum_training.monitoring.decay import Calendar, LiveMeasurement, assess_decay, no_champion, start_tenure
from quantum_training.monitoring.decay_policy import DecayPolicy
from quantum_training.monitoring.sharpe_interval import sharpe_of

POLICY = DecayPolicy()
BEGAN = pd.Timestamp("2023-07-03", tz="UTC")
OFFICE = pd.Timestamp("2024-01-01", tz="UTC")
WEEK = pd.Timedelta(days=7)
CALENDAR = Calendar(bars=2190.0, days=365.0, horizon=182)


def net(*parts, seed=0):
    """Net returns of 4h bars from BEGAN on: (weeks, Sharpe ratio a bar) each, exact in every part."""
    rng = np.random.default_rng(seed)
    values = []
    for weeks, ratio in parts:
        noise = rng.normal(size=42 * weeks)
        values.append(0.004 * ((noise - noise.mean()) / noise.std(ddof=1) + ratio))
    values = np.concatenate(values)
    return pd.Series(values, pd.date_range(BEGAN, periods=len(values), freq="4h", name="open_time"))


def tenure(record, since=OFFICE, policy=POLICY):
    return start_tenure("a", since, record, CALENDAR, policy)


def report(record, weeks, policy=POLICY, measured=None, since=OFFICE):
    measurement = None if measured is None else LiveMeasurement(*measured)
    return assess_decay(tenure(record, since, policy), since + weeks * WEEK, record, policy, measurement)


@pytest.fixture(scope="module")
def fallen():
    """26 good weeks of record, 4 good ones in office, 8 of losses, 12 good ones."""
    return net((26, 0.1), (4, 0.1), (8, -0.25), (12, 0.25))


def test_a_champion_that_goes_on_as_before_has_not_decayed():
    decay = report(net((26, 0.1), (12, 0.1)), 12)
    assert (decay.status, decay.office, decay.recipe, decay.first_alarm) == ("NONE", "2024-01-01", "a", None)
    assert 0 <= decay.statistic < decay.limit
    assert decay.reason == f"CUSUM {decay.statistic:.1f} of {decay.limit:.1f}"
    assert (decay.baseline.bars, decay.baseline.days, decay.live.bars, decay.live.days) == (1092, 182, 504, 84)
    for interval in (decay.baseline, decay.live):
        assert interval.sharpe == pytest.approx(0.1 * np.sqrt(2190))
        assert interval.low < interval.sharpe < interval.high
    assert 0 < decay.expected_sharpe < decay.baseline.sharpe
    json.dumps(decay.model_dump(mode="json"), allow_nan=False)


def test_decay_is_reported_with_its_first_day_and_ends_when_the_champion_recovers(fallen):
    assert report(fallen, 4).status == "NONE"
    decay = report(fallen, 12)
    assert decay.status == "DECAYED"
    began = OFFICE + 4 * WEEK
    first = pd.Timestamp(decay.first_alarm, tz="UTC")
    assert began < first < began + 8 * WEEK
    assert decay.statistic > decay.limit
    assert f"above {decay.limit:.1f}, first on {decay.first_alarm}" in decay.reason
    weeks = int(np.ceil((first - OFFICE + pd.Timedelta(days=1)) / WEEK))
    assert [report(fallen, w).status for w in (weeks - 1, weeks)] == ["NONE", "DECAYED"]
    after = report(fallen, 24)
    assert (after.status, after.first_alarm) == ("NONE", decay.first_alarm)
    assert "and better since" in after.reason


def test_bars_from_the_week_on_change_nothing(fallen):
    for weeks in (3, 12):
        later = fallen.copy()
        later.loc[OFFICE + weeks * WEEK :] = -0.05
        assert report(later, weeks) == report(fallen, weeks)


def test_the_sum_begins_again_after_the_weeks_that_alpha_is_for(fallen):
    policy = DecayPolicy(weeks=12)
    assert report(fallen, 12, policy).status == "DECAYED"
    decay = report(fallen, 13, policy)
    assert (decay.status, decay.first_alarm, decay.since) == ("NONE", None, "2024-03-25")
    assert decay.statistic < report(fallen, 12, policy).statistic


@pytest.mark.parametrize(
    ("record", "weeks", "since", "reason", "have"),
    [
        (net((26, 0.1), (4, 0.1)), 4, BEGAN + 3 * WEEK, "21 of 28 days of record before it took office", 21),
        (net((26, 0.1)), 4, BEGAN, "0 of 28 days of record before it took office", 0),
        (net((26, 0.1)) * 0, 0, OFFICE, "the returns before it took office do not vary", None),
        (net((26, 0.1)), 0, OFFICE, "a takes office this very week", None),
        (net((26, 0.1)), 3, OFFICE, "no bar of it was scored from 2024-01-01 on", None),
    ],
)
def test_too_little_data_is_insufficient_with_a_reason(record, weeks, since, reason, have):
    decay = report(record, weeks, since=since)
    assert (decay.status, decay.reason, decay.have) == ("INSUFFICIENT", reason, have)
    assert decay.need == (None if have is None else 28)
    assert (decay.statistic, decay.limit) == (None, None)


def test_a_week_without_a_champion_is_insufficient():
    assert (no_champion(POLICY).status, no_champion(POLICY).reason) == ("INSUFFICIENT", "no champion")


@pytest.mark.parametrize(
    ("before", "live", "status"), [(0.1, 0.092, "NONE"), (0.1, 0.088, "DECAYED"), (-0.1, -0.108, "NONE")]
)
def test_the_plain_rule_is_a_tenth_below_the_baseline(before, live, status):
    policy = DecayPolicy(rule="below_baseline", window_weeks=3)
    record = net((26, before), (2, 0.5), (3, live))
    decay = report(record, 5, policy)
    assert (decay.status, decay.rule) == (status, "below_baseline")
    assert decay.statistic == pytest.approx(live * np.sqrt(2190))
    assert decay.limit == pytest.approx((before - 0.1 * abs(before)) * np.sqrt(2190))
    early = report(record, 2, policy)
    assert (early.status, early.reason, early.have, early.need) == ("INSUFFICIENT", "2 of 3 weeks in office", 2, 3)


def test_a_reported_sharpe_ratio_is_tested_against_the_expected_one():
    record, at = net((26, 0.1), (6, 0.1)), OFFICE + 5.5 * WEEK
    cusum = tenure(record).cusum
    bars = 1000
    limit = norm.isf(0.05 / 26)
    error = np.hypot(cusum.sharpe_sd, np.sqrt(2190 / (bars - 1)))  # of a ratio near 0
    for ratio, status in (
        (cusum.sharpe - limit * error * 0.9, "NONE"),
        (cusum.sharpe - limit * error * 1.1, "DECAYED"),
    ):
        decay = report(record, 6, measured=(at, {"sharpe": ratio, "bars": bars, "trades": None}))
        assert decay.status == status
        assert decay.reported.z == pytest.approx((cusum.sharpe - ratio) / error, rel=0.02)
        assert decay.reported.limit == pytest.approx(limit)
        assert ("reported up to 2024-02-08" in decay.reason) == (status == "DECAYED")
        assert "CUSUM" in decay.reason


@pytest.mark.parametrize(
    ("metrics", "reason"),
    [
        ({"sharpe": -50.0}, "over how many `bars`"),
        ({"sharpe": -50.0, "bars": 1}, "over how many `bars`"),
        ({"sharpe": -50.0, "bars": None}, "over how many `bars`"),
        ({"sharpe": None, "bars": 100}, "no `sharpe`"),
        ({}, "no `sharpe`"),
    ],
)
def test_an_incomplete_measurement_is_recorded_but_not_tested(metrics, reason):
    decay = report(net((26, 0.1), (6, 0.1)), 6, measured=(OFFICE, metrics))
    assert (decay.status, decay.reported.z, decay.reported.metrics) == ("NONE", None, metrics)
    assert reason in decay.reported.untested


def test_without_a_baseline_a_measurement_is_recorded_but_not_tested():
    record = net((26, 0.1))
    decay = report(record, 3, measured=(BEGAN, {"sharpe": -50.0, "bars": 99}), since=BEGAN)
    assert (decay.status, decay.reported.untested) == ("INSUFFICIENT", "there is no baseline")


def test_a_sharpe_ratio_of_few_or_flat_bars_has_no_interval():
    short = sharpe_of(net((1, 0.1)).iloc[:19], 2190)
    assert (short.low, short.high, short.days) == (None, None, 4)
    assert short.sharpe is not None
    flat = sharpe_of(net((1, 0.1)) * 0, 2190)
    assert (flat.sharpe, flat.undefined, flat.bars) == (None, "no_variance", 42)
