"""One column against its own weeks: calibrated probabilities, and faults that are named and never raise."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from quantum_training.monitoring.calibration import measure, weeks_before
from quantum_training.monitoring.drift import assess_drift
from quantum_training.monitoring.drift_policy import DriftPolicy
from quantum_training.monitoring.psi import psi, shares
from quantum_training.monitoring.severity import FAULTS, Severity
from quantum_training.monitoring.significance import change_point, prediction_p, psi_sampling_p

WEEKS, BARS, WINDOW = 30, 42, pd.Timedelta(days=7)
CUT = pd.Timestamp("2024-01-03 08:00", tz="UTC")
END = CUT + 2 * WINDOW


@pytest.fixture
def frames():
    """30 weeks of 4h bars of four columns, and the two weeks behind them."""
    times = pd.date_range(CUT - WEEKS * WINDOW, END, freq="4h", inclusive="left")
    values = np.random.default_rng(3).standard_normal((len(times), 4))
    frame = pd.DataFrame(values, times, ["a", "b", "c", "d"])
    return frame[frame.index < CUT], frame[frame.index >= CUT].copy()


def measure_all(reference, recent, kind="feature", **policy):
    return {m.name: m for m in measure(reference, recent, CUT, END, DriftPolicy(**policy), kind)}


def test_weeks_are_counted_back_from_the_end():
    times = pd.DatetimeIndex([END - pd.Timedelta("1us"), END - WINDOW, END - WINDOW - pd.Timedelta("1us"), END])
    assert weeks_before(times, END, WINDOW).tolist() == [0, 0, 1, -1]


def test_the_prediction_p_is_the_t_interval_for_one_more_observation():
    sample = np.exp(np.random.default_rng(0).normal(-2, 0.5, 40))
    logs = np.log(sample)
    for probability in (0.01, 0.05, 0.5):
        limit = logs.mean() + stats.t.isf(probability, 39) * logs.std(ddof=1) * np.sqrt(1 + 1 / 40)
        assert prediction_p(np.array([np.exp(limit)]), sample)[0] == pytest.approx(probability)


@pytest.mark.parametrize(("bars", "limit"), [(5, 0.012), (42, 0.035), (168, 0.016)])
def test_independent_weeks_of_any_size_are_seldom_called_unusual(bars, limit):
    """Chi-square is the limit of many bars; its docstring says by how much it errs with fewer."""
    rng = np.random.default_rng(bars)
    counts = rng.multinomial(bars, np.full(10, 0.1), 40_000)
    p = psi_sampling_p(psi(shares(counts), np.full(10, 0.1)), 10, 10**9, counts.sum(axis=1))
    assert (p < 0.01).mean() < limit
    assert psi_sampling_p(np.array([1.2]), 10, 10**9, np.array([bars]))[0] < 0.01


def test_reference_weeks_are_measured_against_the_others_and_recent_ones_against_all(frames):
    m = measure_all(*frames)["a"]
    assert (m.weeks, m.fault, m.untested, m.differenced) == (WEEKS, None, None, False)
    assert len(m.reference_psi) == WEEKS
    assert np.isfinite(m.psi[:2]).all()
    assert np.isnan(m.psi[2:]).all()


def test_the_policy_sets_the_number_of_reference_weeks(frames):
    assert measure_all(*frames, reference_weeks=26)["a"].weeks == 26


@pytest.mark.parametrize(
    ("fault", "breakage"),
    [
        ("missing_column", lambda f: f.drop(columns="b")),
        ("not_numeric", lambda f: f.assign(b="high")),
        ("not_numeric", lambda f: f.assign(b=f.index)),
        ("all_missing", lambda f: f.assign(b=np.nan)),
        ("all_missing", lambda f: f.assign(b=np.inf)),
        ("all_missing", lambda f: f.assign(b=pd.array([pd.NA] * len(f), "Float64"))),
        ("constant", lambda f: f.assign(b=0.3)),
        ("missing_values", lambda f: f.assign(b=f["b"].where(f.index.hour != 8))),
    ],
)
def test_a_broken_column_is_a_fault_with_its_severity_and_the_others_are_measured(frames, fault, breakage):
    reference, recent = frames
    report = assess_drift(measure(reference, breakage(recent), CUT, END, DriftPolicy(), "feature"), DriftPolicy())
    (row,) = [row for row in report.rows if row.column == "b"]
    assert (row.fault, row.severity) == (fault, FAULTS[fault])
    assert report.rows[0] == row
    assert report.severity == FAULTS[fault]
    assert report.tested == 3
    assert f"b ({fault})" in report.reason
    assert pd.Timestamp(row.first_bad_bar) >= CUT
    assert all(r.fault is None for r in report.rows[1:])


def test_a_window_without_bars_or_with_few_is_a_fault_of_every_column(frames):
    reference, recent = frames
    for rows, fault in ((recent[recent.index < END - WINDOW], "no_bars"), (recent.iloc[: BARS + 20], "too_short")):
        assert {m.fault for m in measure_all(reference, rows).values()} == {fault}


def test_the_first_bad_bar_of_a_fault_is_where_it_begins(frames):
    reference, recent = frames
    broken = recent.assign(
        b=recent["b"].where(np.arange(len(recent)) < 30), c=np.where(np.arange(len(recent)) < 40, recent["c"], 1.5)
    )
    columns = measure_all(reference, broken)
    assert columns["b"].changed == recent.index[30]
    assert columns["c"].changed == recent.index[40]


def test_a_feature_that_is_often_constant_and_a_flat_model_are_no_faults(frames):
    reference, recent = frames
    calm = reference.assign(b=np.repeat(np.arange(len(reference) / 30), 30)[: len(reference)])
    assert measure_all(calm, recent.assign(b=0.3))["b"].fault is None
    assert measure_all(reference, recent.assign(b=0.3), kind="prediction")["b"].fault is None


def test_too_short_a_reference_is_untested_with_a_reason(frames):
    reference, recent = frames
    column = measure_all(reference[reference.index >= CUT - 25 * WINDOW], recent)["a"]
    assert (column.p, column.fault, column.untested, column.weeks) == (None, None, "25 of 26 windows of reference", 25)
    new = measure_all(reference, recent.assign(e=1.0))["e"]
    assert (new.p, new.fault, new.untested) == (None, None, "the reference has no value of it")


def test_bars_of_a_day_need_a_window_of_several_weeks():
    times = pd.date_range(END - 112 * WINDOW, END, freq="B", inclusive="left")
    frame = pd.DataFrame({"a": np.random.default_rng(0).standard_normal(len(times))}, times)
    frame.loc[END - 4 * WINDOW :] += 2
    cut = END - 8 * WINDOW
    parts = frame[frame.index < cut], frame[frame.index >= cut]
    (week,) = measure(*parts, cut, END, DriftPolicy(), "feature")
    assert (week.p, week.have, week.need) == (None, 5, 10)
    assert week.untested == "5 of 10 values a window, raise window_days"
    (month,) = measure(*parts, cut, END, DriftPolicy(window_days=28, reference_weeks=104), "feature")
    assert month.p[0] < 0.001 < month.p[1]
    assert month.weeks == 26
    assert cut + 3 * WINDOW < month.changed < cut + 5 * WINDOW


def test_a_column_with_a_trend_is_differenced_and_then_shows_no_drift(frames):
    reference, recent = frames
    both = pd.concat([reference, recent]).cumsum()
    columns = measure_all(both.loc[reference.index], both.loc[recent.index])
    assert all(m.differenced for m in columns.values())
    assert all(m.p[0] > 0.001 for m in columns.values())


def test_a_week_that_repeats_itself_is_no_drift_though_a_bar_is_missing(frames):
    reference, recent = (f.assign(hour=f.index.hour, day=f.index.dayofweek) for f in frames)
    recent = recent.drop(recent.index[[50, 60, 70]])
    columns = measure_all(reference, recent)
    assert columns["hour"].p[0] > 0.5
    assert columns["day"].p[0] > 0.5


def test_a_new_value_of_a_constant_is_drift(frames):
    reference, recent = (f.assign(flag=0.0) for f in frames)
    assert measure_all(reference, recent)["flag"].p[0] > 0.1
    assert measure_all(reference, recent.assign(flag=1.0))["flag"].p[0] < 1e-4


def test_the_change_point_is_near_the_true_one():
    times = pd.date_range(CUT, periods=500, freq="h")
    rng = np.random.default_rng(5)
    codes = np.r_[rng.choice(2, 300, p=[0.8, 0.2]), rng.choice(2, 200, p=[0.3, 0.7])]
    bar = change_point(times, np.log(np.array([0.3, 0.7]) / np.array([0.8, 0.2]))[codes])
    assert abs(bar - times[300]) <= pd.Timedelta("24h")


ANYTHING = st.one_of(
    st.floats(allow_nan=True, allow_infinity=True), st.sampled_from([0.0, 1.0, np.nan]), st.floats(-3, 3)
)


@settings(max_examples=60, deadline=None)
@given(st.lists(ANYTHING, min_size=1, max_size=12), st.lists(ANYTHING, min_size=1, max_size=12), st.integers(0, 84))
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_no_values_raise_and_every_row_has_a_measure_or_a_reason(reference_cycle, recent_cycle, bars):
    old = pd.date_range(CUT - WEEKS * WINDOW, CUT, freq="4h", inclusive="left")
    new = pd.date_range(CUT, END, freq="4h", inclusive="left")[len(pd.date_range(CUT, END, freq="4h")) - 1 - bars :]
    reference = pd.DataFrame({"a": np.resize(reference_cycle, len(old))}, old)
    recent = pd.DataFrame({"a": np.resize(recent_cycle, len(new))}, new)
    (row,) = assess_drift(measure(reference, recent, CUT, END, DriftPolicy(), "feature"), DriftPolicy()).rows
    assert (row.p is None) == (row.untested is not None)
    if row.p is not None:
        assert 0 <= row.p <= 1
        assert row.psi >= 0
        assert 0 <= row.ks <= 1 + 1e-12
    if row.fault:
        assert row.severity > Severity.NONE
