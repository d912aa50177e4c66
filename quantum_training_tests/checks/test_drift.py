"""The checks on a drift report: which drift passes, warns or is an error, and which symbol counts."""

import dagster as dg
import pandas as pd
import pytest

from quantum_training.checks.drift import check_column, check_report, monitored_columns
from quantum_training.market.periods import Key
from quantum_training_tests.support.records import drift

DAY = "2020-02-20"
KEYS = [Key(symbol, pd.Timestamp(DAY, tz="UTC")) for symbol in "ABC"]
ROW = {
    **dict.fromkeys(("fault", "untested", "usual_psi", "p", "q", "ks", "ks_p", "previous_psi", "previous_q")),
    "column": "rsi_14",
    "kind": "feature",
    "severity": "MINOR",
    "psi": 0.3,
    "drifted": True,
    "drifted_before": True,
    "reference_windows": 30,
    "differenced": False,
    "missing_share": 0.0,
    "first_bad_bar": "2020-02-13T00:00:00+00:00",
}


def report(worst="MINOR", rule="calibrated", **row):
    """A report of this severity with one column, `rsi_14`."""
    return drift(DAY, worst, rule=rule, rows=[{**ROW, **row}])


def test_of_several_symbols_the_worst_counts():
    reports = dict(zip(KEYS, (report(psi=0.9, drifted_before=False), drift(DAY), report()), strict=True))
    check = check_column("rsi_14", reports)
    assert (check.passed, check.severity, check.metadata["psi"].value) == (False, dg.AssetCheckSeverity.WARN, 0.3)
    assert check.description == f"C|{DAY} MINOR: drift, the week before too, PSI 0.300"
    assert check.metadata["first_bad_bar"].value == pd.Timestamp("2020-02-13", tz="UTC").timestamp()


@pytest.mark.parametrize(
    ("row", "passed"),
    [({}, False), ({"drifted_before": False}, True), ({"fault": "too_short", "severity": "MODERATE"}, False)],
)
def test_drift_in_two_weeks_and_faults_warn_but_a_first_week_passes(row, passed):
    check = check_column("rsi_14", {KEYS[0]: report(**row)})
    assert (check.passed, check.severity) == (passed, dg.AssetCheckSeverity.WARN)


def test_a_critical_fault_is_an_error_with_its_name():
    check = check_column("rsi_14", {KEYS[0]: report("CRITICAL", severity="CRITICAL", fault="constant")})
    assert (check.passed, check.severity) == (False, dg.AssetCheckSeverity.ERROR)
    assert check.metadata["fault"].value == "constant"


def test_persistent_drift_counts_only_with_the_calibrated_rule():
    assert check_column("rsi_14", {KEYS[0]: report(rule="fixed")}).passed


@pytest.mark.parametrize(
    ("column", "reason"), [("rsi_14", "the champion does not learn from it"), ("prediction", "no champion")]
)
def test_a_column_that_was_not_measured_passes_with_the_reason(column, reason):
    check = check_column(column, {KEYS[0]: drift(DAY)})
    assert (check.passed, check.description) == (True, f"A|{DAY} not measured: {reason}")


@pytest.mark.parametrize(
    ("severity", "passed", "level"), [("MINOR", True, "WARN"), ("MODERATE", False, "WARN"), ("SEVERE", False, "ERROR")]
)
def test_the_whole_report_warns_from_moderate_and_is_an_error_from_severe(severity, passed, level):
    check = check_report(report(severity))
    assert (check.passed, check.severity) == (passed, dg.AssetCheckSeverity[level])
    assert check.metadata == {"rsi_14": "MINOR"}


def test_only_features_that_recipes_use_are_monitored(build_project, small):
    recipes = {name: {**recipe, "features": ["rsi_14"]} for name, recipe in small["recipes"].items()}
    settings = build_project(small | {"recipes": recipes}).settings
    assert monitored_columns(settings) == ["rsi_14", "prediction", "residual"]
