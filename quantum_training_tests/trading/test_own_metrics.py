"""Metrics of one's own: what they are given, and that an error or an undefined value has its reason."""

import numpy as np
import pytest

from quantum_training.trading.own_metrics import add_own_metrics, own_metric

NET, POSITION = np.array([0.01, -0.02, 0.03]), np.array([1.0, 0.5, 0.0])
HERE = __name__


def share_invested(net, position, periods):
    return np.mean(position > 0) + 0 * periods


def returns_of_a_year(net, position, periods):
    net *= periods  # a copy: nothing else sees it
    return net.sum()


def undefined(net, position, periods):
    return None


def infinite(net, position, periods):
    return np.inf


def failing(net, position, periods):
    raise KeyError("no such bar")


def measured(name, function):
    values = {"sharpe": 1.0, "reasons": {}}
    add_own_metrics(values, {name: f"{HERE}.{function}"}, NET, POSITION, 8760.0)
    return values[name], values["reasons"].get(name)


def test_a_metric_is_a_function_of_returns_positions_and_periods():
    before = NET.copy()
    assert measured("invested", "share_invested") == (pytest.approx(2 / 3), None)
    assert measured("yearly", "returns_of_a_year") == (pytest.approx(0.02 * 8760), None)
    np.testing.assert_array_equal(NET, before)


@pytest.mark.parametrize(
    ("function", "reason"),
    [("undefined", "undefined"), ("infinite", "not_finite"), ("failing", "KeyError: 'no such bar'")],
)
def test_a_value_that_is_none_has_its_reason(function, reason):
    assert measured("mine", function) == (None, reason)


def test_a_metric_that_cannot_be_imported_stops_nothing_and_says_why():
    value, reason = measured("mine", "gone")
    assert value is None
    assert reason.startswith("ValueError: ")
    assert "gone cannot be imported" in reason
    assert "PYTHONPATH" in reason
    assert own_metric(f"{HERE}.failing") is failing


@pytest.mark.parametrize("name", ["sharpe", "sharpe_ratio"])
def test_the_name_of_a_metric_of_the_project_is_refused(name):
    with pytest.raises(ValueError, match=f"metrics.{name}: the project has a metric of this name"):
        measured(name, "infinite")
