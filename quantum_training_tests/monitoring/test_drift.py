"""The drift report: drifted columns, their order, and the error rates on simulated markets."""

import importlib.util
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError
from scipy.stats import binom

from quantum_training.monitoring.calibration import ColumnMeasurement, measure
from quantum_training.monitoring.drift import assess_drift, q_values
from quantum_training.monitoring.drift_heatmap import html_page, markdown_heatmap, weekly_p
from quantum_training.monitoring.drift_policy import DriftPolicy
from quantum_training.monitoring.severity import Severity

CUT, WINDOW = pd.Timestamp("2024-01-01", tz="UTC"), pd.Timedelta(days=7)


@pytest.fixture(scope="module")
def rates():
    """The benchmark of error rates, as a module."""
    path = Path(__file__).parents[1] / "benchmarks" / "drift_rates.py"
    spec = importlib.util.spec_from_file_location("drift_rates", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def shifted():
    """Ten columns over 30 weeks; the first three move by a standard deviation three days into the last fortnight."""
    end = CUT + 2 * WINDOW
    times = pd.date_range(CUT - 30 * WINDOW, end, freq="h", inclusive="left")
    frame = pd.DataFrame(np.random.default_rng(0).standard_normal((len(times), 10)), times, [*"abcdefghij"])
    frame.loc[CUT + pd.Timedelta(days=3) :, ["a", "b", "c"]] += 1
    return measure(frame[frame.index < CUT], frame[frame.index >= CUT], CUT, end, DriftPolicy(), "feature")


def column(name, *p):
    weeks = np.array([*p, *[np.nan] * (8 - len(p))])
    return ColumnMeasurement(
        name, "feature", p=weeks, psi=weeks, ks=weeks, ks_p=weeks, reference_psi=np.ones(30), weeks=30
    )


def test_q_is_benjamini_and_hochbergs_per_week_over_the_columns_that_were_measured():
    """The example of Benjamini and Hochberg (1995), section 3.2: 15 p-values, four rejected at 5 %."""
    p = [0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344]
    p += [0.0459, 0.3240, 0.4262, 0.5719, 0.6528, 0.7590, 1.0]
    tested = [column(str(i), value, 0.04 if i == 3 else np.nan) for i, value in enumerate(p)]
    q = q_values(tested)
    assert [now < 0.05 for now, _ in q] == [True] * 4 + [False] * 11
    assert q[0][0] == pytest.approx(15 * 0.0001)
    assert [before for _, before in q] == [None, None, None, 0.04, *[None] * 11]


def test_drift_is_named_worst_first_with_the_bar_it_began_at(shifted):
    report = assess_drift(shifted, DriftPolicy())
    assert {row.column for row in report.rows[:3]} == {"a", "b", "c"}
    assert [row.drifted for row in report.rows] == [True] * 3 + [False] * 7
    assert report.severity == Severity.SEVERE
    assert report.reason.startswith("3 of 10 columns drifted, 3 the week before: ")
    look, first, act = report.recommendation
    assert all(f"{name} (PSI" in look for name in "abc")
    assert "trigger DRIFT_DETECTED" in act
    began = CUT + pd.Timedelta(days=3)
    for row in report.rows[:3]:
        assert abs(pd.Timestamp(row.first_bad_bar) - began) < pd.Timedelta("24h")
    assert str(min(row.first_bad_bar for row in report.rows[:3])) in first
    json.dumps(report.model_dump(mode="json"), allow_nan=False)
    assert report.model_dump(mode="json")["rows"][0]["severity"] == "MINOR"


def test_one_week_of_drift_is_minor_until_the_next_confirms_it():
    def severity(before):
        return assess_drift(
            [column(n, 1e-5, before) for n in "ab"] + [column(n, 0.5, 0.5) for n in "cdefghij"], DriftPolicy()
        )

    assert severity(0.5).severity == Severity.MINOR
    assert severity(1e-5).severity == Severity.MODERATE
    assert (
        assess_drift(
            [column(n, 1e-5, 1e-5) for n in "ab"] + [column(n, 0.5, 0.5) for n in "cdefghij"], DriftPolicy(), True
        ).severity
        == Severity.SEVERE
    )


def test_the_fixed_rule_calls_ordinary_weeks_of_a_slow_column_severe_and_the_calibrated_one_does_not(rates):
    world = next(rates.worlds(1, 54, 5))
    measured, reports = rates.reports(world, 2)
    assert max(m.psi[0] for m in measured) > 0.25
    assert (reports["calibrated"].severity, reports["fixed"].severity) == (Severity.NONE, Severity.SEVERE)


def test_nothing_measured_is_insufficient_with_have_and_need():
    report = assess_drift(
        [ColumnMeasurement("a", "feature", untested="12 of 26 windows of reference", have=12, need=26)], DriftPolicy()
    )
    assert (report.outcome, report.have, report.need, report.severity) == ("insufficient", 12, 26, Severity.NONE)
    assert report.reason == "insufficient: 12 of 26 windows of reference"
    assert assess_drift([], DriftPolicy()).outcome == "insufficient"


def test_the_heat_map_shows_the_newest_weeks_and_the_page_all_of_them(shifted):
    end = CUT + 2 * WINDOW
    p = weekly_p(shifted, CUT, end, WINDOW)
    assert list(p.index) == [CUT - (30 - n) * WINDOW for n in range(32)]
    assert (p.loc[CUT + WINDOW, ["a", "b", "c"]] < 0.001).all()
    report = assess_drift(shifted, DriftPolicy())
    small = markdown_heatmap(p, [row.column for row in report.rows]).splitlines()
    assert "01-08" in small[0]
    assert "█" in small[2] or "▓" in small[2]
    html = html_page("Drift of <X>", report, p, CUT)
    assert html == html_page("Drift of <X>", report, p, CUT)
    assert "Drift of &lt;X&gt;: SEVERE" in html
    assert report.recommendation[2] in html
    assert 'id="heatmap"' in html
    assert markdown_heatmap(weekly_p([], CUT, end, WINDOW), []) == "no week was measured"


@pytest.mark.parametrize(
    "wrong", [{"q": 0}, {"q": 0.5}, {"reference_weeks": 25}, {"rule": "psi"}, {"window_days": 10}, {"window_days": 28}]
)
def test_a_wrong_policy_is_refused(wrong):
    with pytest.raises(ValidationError):
        DriftPolicy(**wrong)


@pytest.mark.long
def test_error_rates_are_within_their_goals(rates):
    """A small run of the benchmark. Limits are what binomials of the goals' rates reach once in a thousand."""
    alarms = rates.false_alarms(40, seed=11)

    def allowed(rate, chances):
        return binom.isf(0.001, chances, rate)

    hits, chances = alarms["a week MINOR or worse, calibrated"]
    assert hits <= allowed(0.04, chances)
    hits, chances = alarms["a feature's week with p < 1 %"]
    assert hits <= allowed(0.015, chances)
    assert alarms["a week MODERATE or worse, calibrated"][0] <= allowed(0.005, 40)
    assert alarms["a week MODERATE or worse, fixed"][0] >= 35
    detections = rates.detections(rates.shift, 8, 2, seed=12)
    assert detections["MODERATE by week 2, calibrated"][0] >= 8 - allowed(0.1, 8)
    vol = rates.detections(rates.double_volatility, 8, 4, seed=13)
    assert vol["MODERATE by week 4, calibrated"][0] >= 8 - allowed(0.1, 8)


def test_intervals_of_rates_are_clopper_and_pearsons(rates):
    assert rates.interval(0, 2000) == pytest.approx((0, 1 - 0.025 ** (1 / 2000)))
