"""Metrics against hand-made oracles, another library, and the inputs that break such libraries."""

import json

import empyrical
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import optimize, stats

from quantum_training.trading.metrics import max_drawdown, sharpe, sharpe_interval, summarise, trade_returns

SIX = np.array([0.02, -0.01, 0.03, -0.02, 0.0, 0.01])


def year_series():
    """The 756 days of reference/evaluation.md, section 2.2."""
    return np.random.default_rng(42).standard_t(5, 756) * 0.01 / np.sqrt(5 / 3) + 0.0005


def test_six_returns_by_hand():
    got = summarise(SIX, np.ones(6), 252)
    assert got["bars"] == 6
    assert got["sharpe"] == pytest.approx(4.242641, abs=1e-6)
    assert got["total_return"] == pytest.approx(0.0294850, abs=1e-7)
    assert got["max_drawdown"] == pytest.approx(-0.02, abs=1e-12)
    assert got["exposure"] == 1
    each = [summarise(np.array([r, 0.0]), np.array([1.0, 0.0]), 252)["win_rate"] for r in SIX]
    assert each == [1, 0, 1, 0, None, 1]


def test_trades_of_the_six_returns_give_the_win_rate_by_hand():
    """Each return is a trade of one bar, left at the next bar's open for nothing: 3 wins, 2 losses, one of nothing."""
    net, position = np.zeros(12), np.tile([1.0, 0.0], 6)
    net[::2] = SIX
    got = summarise(net, position, 252)
    np.testing.assert_allclose(trade_returns(net, position), SIX, atol=1e-15)
    assert (got["trades"], got["win_rate"], got["exposure"]) == (6, 0.6, 0.5)


def test_three_years_of_days_give_the_known_figures():
    got = summarise(year_series(), np.ones(756), 252)
    assert got["sharpe"] == pytest.approx(0.30304, abs=5e-6)
    assert got["max_drawdown"] == pytest.approx(-0.171016, abs=5e-7)
    assert (1 + got["total_return"]) ** (252 / 756) - 1 == pytest.approx(0.037078, abs=5e-7)


def test_hours_of_crypto_are_annualised_by_their_own_calendar():
    hourly, daily = (sharpe(year_series(), periods)[0] for periods in (8760, 252))
    assert hourly / daily == pytest.approx(5.90, abs=0.005)


@given(
    st.lists(st.floats(-0.5, 0.5).map(lambda r: round(r, 6)), min_size=2, max_size=60), st.sampled_from([52, 252, 8760])
)
def test_equal_to_empyrical(returns, periods):
    net = np.array(returns)
    got = summarise(net, np.ones(len(net)), periods)
    assert got["max_drawdown"] == pytest.approx(empyrical.max_drawdown(net), abs=1e-9)
    assert got["total_return"] == pytest.approx(empyrical.cum_returns_final(net), rel=1e-9, abs=1e-9)
    if got["sharpe"] is None:
        assert np.ptp(net) < 1e-11
    else:
        assert got["sharpe"] == pytest.approx(empyrical.sharpe_ratio(net, annualization=periods), rel=1e-9, abs=1e-9)


@pytest.mark.parametrize(
    ("net", "expected"),
    [
        (
            [],
            {
                "sharpe": None,
                "sharpe_reason": "0 bars, 2 needed",
                "total_return": 0,
                "max_drawdown": 0,
                "exposure": None,
            },
        ),
        ([0.1], {"sharpe": None, "sharpe_reason": "1 bars, 2 needed", "total_return": 0.1, "win_rate": 1.0}),
        ([0.0] * 9, {"sharpe": None, "sharpe_reason": "returns do not vary", "max_drawdown": 0, "win_rate": None}),
        (
            [0.001] * 9,
            {"sharpe": None, "sharpe_low": None, "sharpe_high": None, "sharpe_reason": "returns do not vary"},
        ),
        ([0.01, 0.02, 0.03], {"max_drawdown": 0, "win_rate": 1.0, "sharpe_reason": None}),
        ([-0.5, -0.9, -0.8], {"max_drawdown": -0.99, "win_rate": 0.0, "total_return": -0.99}),
        ([-0.1, 0.05, 0.05], {"max_drawdown": -0.1}),
        ([0.5, -1.0, 0.2], {"max_drawdown": -1, "total_return": -1, "win_rate": 0.0}),
        ([0.1, -1.5, 0.1], {"max_drawdown": -1.55, "total_return": -1.605}),
        ([1.5, 1.2, 1.1, 1.3], {"max_drawdown": 0, "total_return": 2.5 * 2.2 * 2.1 * 2.3 - 1}),
    ],
)
@pytest.mark.filterwarnings("error")
def test_inputs_that_break_other_libraries(net, expected):
    got = summarise(np.array(net, "float64"), np.ones(len(net)), 252)
    json.dumps(got, allow_nan=False)
    assert {k: got[k] for k in expected} == pytest.approx(expected, abs=1e-12)


@given(st.lists(st.tuples(st.floats(-1, 5), st.sampled_from([0.0, 0.25, 1.0])), max_size=40))
def test_no_metric_is_ever_infinite_or_nan(bars):
    net, position = (np.array([b[i] for b in bars], "float64") for i in (0, 1))
    got = summarise(net, position, 252)
    json.dumps(got, allow_nan=False)
    assert (got["sharpe"] is None) == (got["sharpe_reason"] is not None)
    if got["sharpe"] is not None:
        assert got["sharpe_low"] <= got["sharpe"] <= got["sharpe_high"]
    trades, before = trade_returns(net, position), np.r_[0.0, position[:-1]]
    idle = net[(position == 0) & (before == 0)]
    assert np.prod(1 + trades) * np.prod(1 + idle) == pytest.approx(1 + got["total_return"], rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_return_that_is_no_number_is_refused_with_its_place(bad):
    with pytest.raises(ValueError, match="return 2 of 4"):
        summarise(np.array([0.1, 0.2, bad, 0.1]), np.ones(4), 252)


@pytest.mark.parametrize(
    ("position", "trades"),
    [
        ([0, 1, 1, 0, 0, 1], [1.1 * 1.2 * 1.3 - 1, 0.5]),  # the bar that leaves still bears the gap and the cost
        ([1, 0, 0, 0, 0, 0], [1.01 * 1.1 - 1]),
        ([1, 1, 1, 1, 1, 1], [1.01 * 1.1 * 1.2 * 1.3 * 1.4 * 1.5 - 1]),
        ([0, 0.5, 0.25, 1, 0, 0], [1.1 * 1.2 * 1.3 * 1.4 - 1]),  # a change of size is no new trade
        ([1, 0, 1, 0, 1, 0], [1.01 * 1.1 - 1, 1.2 * 1.3 - 1, 1.4 * 1.5 - 1]),
        ([0, 0, 0, 0, 0, 0], []),
    ],
)
def test_trades_by_hand(position, trades):
    net = np.array([0.01, 0.1, 0.2, 0.3, 0.4, 0.5])
    np.testing.assert_allclose(trade_returns(net, np.array(position, "float64")), trades, atol=1e-12)


def test_the_drawdown_counts_a_fall_from_the_first_bar_and_from_the_peak():
    assert max_drawdown(np.array([-0.1, -0.1, 0.5])) == pytest.approx(-0.19)
    assert max_drawdown(np.array([1.0, -0.5, 0.2, -0.5])) == pytest.approx(1 / 2 * 1.2 * 0.5 - 1)


def series(n, ratio, skewness, kurt):
    """n values with exactly these moments: normal quantiles bent by a sinh-arcsinh curve, shifted and scaled."""
    normal = stats.norm.ppf((np.arange(n) + 0.5) / n)

    def bent(shape):
        return np.sinh((np.arcsinh(normal) + shape[0]) / np.exp(shape[1]))

    def miss(shape):
        return stats.skew(bent(shape)) - skewness, stats.kurtosis(bent(shape), fisher=False) - kurt

    solved = optimize.root(miss, [0.0, 0.0], tol=1e-12)
    assert solved.success
    values = bent(solved.x)
    return (values - values.mean()) / values.std(ddof=1) * 0.01 + ratio * 0.01


@pytest.mark.parametrize(
    ("n", "ratio", "skewness", "kurt", "error"),
    [(134, 0.7079, -0.2250, 2.9570, 0.1028), (134, 0.8183, -1.4455, 7.0497, 0.1550)],
)
def test_the_standard_error_of_the_sharpe_ratio_is_the_published_one(n, ratio, skewness, kurt, error):
    got = sharpe_interval(series(n, ratio, skewness, kurt), 12)
    assert got["sharpe"] == pytest.approx(ratio * np.sqrt(12), rel=1e-9)
    half = (got["sharpe_high"] - got["sharpe_low"]) / 2
    assert half / (1.959964 * np.sqrt(12)) == pytest.approx(error, abs=5e-5)


def test_on_normal_returns_the_interval_covers_the_truth_in_95_percent():
    """1,000 samples: 95 % plus or minus 2 % is three standard errors of that share."""
    draws = np.random.default_rng(1).normal(0.1, 1.0, (1000, 250))
    found = [sharpe_interval(draw, 1) for draw in draws]
    covered = np.mean([f["sharpe_low"] <= 0.1 <= f["sharpe_high"] for f in found])
    assert 0.93 < covered < 0.97
