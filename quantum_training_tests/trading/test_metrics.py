"""Metrics against hand-made oracles, another library, and the inputs that break such libraries."""

import json
import re
from typing import get_args

import empyrical
import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from quantum_training.trading.metrics import Reason, max_drawdown, return_metrics, sharpe

SIX = np.array([0.02, -0.01, 0.03, -0.02, 0.0, 0.01])
DAILY = 252
HOURLY = 8760
RETURNS = st.floats(-0.5, 0.5).map(lambda r: round(r, 6))


def year_series():
    """The 756 days of reference/evaluation.md, section 2.2."""
    return np.random.default_rng(42).standard_t(5, 756) * 0.01 / np.sqrt(5 / 3) + 0.0005


def measure(net, periods=DAILY, freq="D", **others):
    net = np.array(net, "float64")
    others = {name: np.array(values, "float64") for name, values in others.items()}
    return return_metrics(net, pd.date_range("2020-01-01", periods=len(net), freq=freq, tz="UTC"), periods, **others)


def test_six_returns_by_hand():
    got = measure(SIX)
    expected = {
        "bars": 6,
        "sharpe": np.sqrt(18),  # mean 0.005, sum of squared deviations 0.00175: 4.242641
        "sortino": np.sqrt(75.6),  # sum of squared losses 0.0005: 8.694826
        "total_return": 1.02 * 0.99 * 1.03 * 0.98 * 1.01 - 1,  # 0.0294850
        "max_drawdown": -0.02,
        "average_drawdown": -0.015,
        "max_drawdown_bars": 3,  # the loss of 2 %, the flat bar and the gain of 1 % that does not make up for it
        "max_drawdown_days": 3,
        "average_drawdown_bars": 2,
        "volatility": np.sqrt(0.00175 / 5 * DAILY),
    }
    assert {k: got[k] for k in expected} == pytest.approx(expected, rel=1e-12)
    assert (got["sharpe"], got["total_return"]) == pytest.approx((4.242641, 0.0294850), abs=5e-7)


def test_three_years_of_days_give_the_published_figures():
    net = year_series()
    got = return_metrics(net, pd.bdate_range("2020-01-01", periods=756, tz="UTC"), DAILY)
    assert got["sharpe"] == pytest.approx(0.30304, abs=5e-6)
    assert got["sortino"] == pytest.approx(0.42638, abs=5e-6)
    assert got["calmar"] == pytest.approx(0.216809, abs=5e-7)
    assert got["max_drawdown"] == max_drawdown(net) == pytest.approx(-0.171016, abs=5e-7)
    assert got["cagr"] == pytest.approx(0.037078, abs=5e-7)
    assert (got["max_drawdown_bars"], got["max_drawdown_days"]) == (150, 210)  # 30 weeks of 5 sessions


def test_hours_of_crypto_are_annualised_by_their_own_calendar():
    hourly, daily = (measure(year_series(), periods, "h") for periods in (HOURLY, DAILY))
    for name in ("sharpe", "sortino", "volatility"):
        assert hourly[name] / daily[name] == pytest.approx(5.90, abs=0.005)
    assert 1 + hourly["cagr"] == pytest.approx((1 + daily["cagr"]) ** (HOURLY / DAILY))
    assert hourly["total_return"] == daily["total_return"]
    assert (hourly["max_drawdown_bars"], hourly["max_drawdown_days"]) == (150, pytest.approx(150 / 24))


def agree_with_empyrical(got, net, benchmark, periods):
    options = {"annualization": periods}
    alpha, beta = empyrical.alpha_beta_aligned(net, benchmark, **options)
    theirs = {
        "total_return": empyrical.cum_returns_final(net),
        "cagr": empyrical.annual_return(net, **options),
        "volatility": empyrical.annual_volatility(net, **options),
        "sharpe": empyrical.sharpe_ratio(net, **options),
        "sortino": empyrical.sortino_ratio(net, **options),
        "calmar": empyrical.calmar_ratio(net, **options),
        "max_drawdown": empyrical.max_drawdown(net),
        "beta": beta,
    }
    assert {k: got[k] for k in theirs if k not in got["reasons"]} == pytest.approx(
        {k: v for k, v in theirs.items() if k not in got["reasons"]}, rel=1e-9, abs=1e-9
    )
    if got["alpha"] is not None and abs(got["alpha"]) < 10:  # empyrical compounds it, and overflows beyond
        assert (1 + got["alpha"] / periods) ** periods - 1 == pytest.approx(alpha, rel=1e-9, abs=1e-9)


@pytest.mark.filterwarnings("ignore:overflow encountered")  # by empyrical
@given(st.lists(st.tuples(RETURNS, RETURNS), min_size=2, max_size=60), st.sampled_from([52, DAILY, HOURLY]))
def test_equal_to_empyrical(pairs, periods):
    net, benchmark = np.array(pairs).T
    got = measure(net, periods, benchmark=benchmark)
    agree_with_empyrical(got, net, benchmark, periods)
    assert got["excess_return"] == pytest.approx(np.prod(1 + net) - np.prod(1 + benchmark), rel=1e-9, abs=1e-9)
    undefined = {
        "sharpe": np.ptp(net) < 1e-11,
        "sortino": not (net < 0).any(),
        "average_drawdown": not (net < 0).any(),
        "beta": np.ptp(benchmark) < 1e-11,
    }
    assert {k: got[k] is None for k in undefined} == undefined


@pytest.mark.candles
def test_equal_to_empyrical_on_years_of_real_hours(candles_dir):
    prices = [pd.read_feather(candles_dir / "crypto_1h" / f"{s}_USDT-1h.feather")["close"] for s in ("BTC", "ETH")]
    net, benchmark = (p.pct_change().iloc[-3 * HOURLY :].to_numpy() for p in prices)
    got = measure(net, HOURLY, "h", benchmark=benchmark)
    agree_with_empyrical(got, net, benchmark, HOURLY)
    assert got["reasons"].keys() == {"exposure", "turnover"}


def test_alpha_beta_exposure_and_turnover_by_hand():
    market = np.array([0.01, -0.02, 0.03, 0.0])
    position, turnover = [0.5, 0, -0.5, 0.5], [0.5, 0.5, 0.5, 1.0]
    got = measure(0.001 + 0.5 * market, 100, benchmark=market, position=position, turnover=turnover)
    assert got["beta"] == pytest.approx(0.5)
    assert got["alpha"] == pytest.approx(0.1)  # 0.001 a bar, not compounded to 0.105
    assert got["excess_return"] == pytest.approx(1.006 * 0.991 * 1.016 * 1.001 - 1.01 * 0.98 * 1.03, abs=1e-12)
    assert (got["exposure"], got["turnover"]) == (0.75, 62.5)
    assert got["reasons"] == {}


def test_a_metric_without_its_input_has_a_reason():
    missing = dict.fromkeys(("alpha", "beta", "excess_return"), "no_benchmark")
    assert measure(SIX)["reasons"] == {**missing, "exposure": "no_position", "turnover": "no_turnover"}
    flat = measure(SIX, benchmark=np.zeros(6))
    assert (flat["reasons"]["alpha"], flat["reasons"]["beta"]) == ("no_variance", "no_variance")
    assert flat["excess_return"] == flat["total_return"]


NO_FALL = {"max_drawdown": 0, "average_drawdown": None, "max_drawdown_bars": 0, "max_drawdown_days": 0, "calmar": None}


@pytest.mark.parametrize(
    ("net", "expected", "reasons"),
    [
        (
            [],
            {**NO_FALL, "bars": 0, "total_return": 0, "exposure": None},
            dict.fromkeys(("cagr", "calmar", "volatility", "sharpe", "sortino", "exposure"), "too_few_bars"),
        ),
        (
            [-0.1],
            {"total_return": -0.1, "max_drawdown": -0.1, "max_drawdown_bars": 1, "exposure": 1},
            dict.fromkeys(("volatility", "sharpe", "sortino", "max_drawdown_days"), "too_few_bars"),
        ),
        (
            [0.0] * 9,
            {**NO_FALL, "total_return": 0, "cagr": 0, "volatility": 0},
            {"sharpe": "no_variance", "sortino": "no_loss", "calmar": "no_drawdown", "average_drawdown": "no_drawdown"},
        ),
        (
            [0.003] * 3,  # whose standard deviation is 5e-19
            {**NO_FALL, "cagr": 1.003**DAILY - 1},
            {"sharpe": "no_variance", "sortino": "no_loss", "average_drawdown_bars": "no_drawdown"},
        ),
        ([0.01, 0.02, 0.03], NO_FALL, {"sortino": "no_loss", "calmar": "no_drawdown"}),
        (
            [-0.5, -0.9, -0.8],
            {"max_drawdown": -0.99, "average_drawdown": -0.99, "max_drawdown_bars": 3, "total_return": -0.99},
            {},
        ),
        (
            [-0.1, 0.05, 0.05, 0.05],
            {"max_drawdown": -0.1, "max_drawdown_bars": 3, "max_drawdown_days": 3, "average_drawdown": -0.1},
            {},
        ),
        ([0.5, -1.0, 0.2], {"max_drawdown": -1, "total_return": -1, "cagr": -1, "calmar": -1}, {}),
        ([0.1, -1.5, 0.1], {"max_drawdown": -1.5, "total_return": -1.55, "cagr": -1, "calmar": -1 / 1.5}, {}),
        ([-1.5, -1.5], {"total_return": -1.5, "cagr": -1}, {}),  # multiplied on, the debt would become a fortune
        ([1.5, 1.2, 1.1, 1.3], {**NO_FALL, "total_return": 2.5 * 2.2 * 2.1 * 2.3 - 1}, {"calmar": "no_drawdown"}),
        ([9.0, -0.1], {"total_return": 8, "calmar": None}, {"cagr": "overflow", "calmar": "overflow"}),
        ([0.1, -2e-16, 0.1], NO_FALL, {"sortino": "no_loss"}),  # rounding is no risk
    ],
)
@pytest.mark.filterwarnings("error")
def test_edge_cases_give_a_number_or_a_reason(net, expected, reasons):
    got = measure(net, DAILY, position=np.ones(len(net)))
    json.dumps(got, allow_nan=False)
    assert {k: got[k] for k in expected} == pytest.approx(expected, abs=1e-12)
    assert {k: got["reasons"].get(k) for k in reasons} == reasons
    assert ("too_few_bars" in got["reasons"].values()) == (len(net) < 2)
    assert sharpe(np.array(net), DAILY) == (got["sharpe"], got["reasons"].get("sharpe"))


@given(
    st.lists(
        st.tuples(st.floats(-2, 5), st.floats(-2, 5) | st.just(0.0), st.sampled_from([0.0, -0.25, 1.0])), max_size=60
    ),
    st.sampled_from([12, DAILY, 525_600]),
)
@pytest.mark.filterwarnings("error")
def test_every_number_is_finite_or_has_a_reason(rows, periods):
    net, benchmark, position = np.array(rows, "float64").reshape(-1, 3).T
    got = measure(net, periods, benchmark=benchmark, position=position, turnover=np.abs(position))
    json.dumps(got, allow_nan=False)
    reasons = got.pop("reasons")
    assert {k for k, v in got.items() if v is None} == reasons.keys()
    assert set(reasons.values()) <= {*get_args(Reason)}
    assert got["max_drawdown"] <= 0
    assert got["max_drawdown_bars"] <= len(net)
    if got["average_drawdown"] is not None:
        assert got["max_drawdown"] <= got["average_drawdown"] < 0
        assert 1 <= got["average_drawdown_bars"] <= got["max_drawdown_bars"]


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), max_size=20))
@pytest.mark.filterwarnings("error")
def test_numbers_that_cannot_be_returns_are_refused_or_still_give_finite_ones(net):
    refused = ""
    try:
        json.dumps(measure(net, benchmark=net), allow_nan=False)
    except ValueError as error:
        refused = str(error)
    if refused:
        assert re.match(rf"net return \d+ of {len(net)} ", refused)
        assert max(map(abs, net)) > 1e4  # the 20th power of less is below 1e100


@given(st.lists(RETURNS, min_size=1, max_size=40))
def test_drawdowns_equal_those_counted_bar_by_bar(net):
    equity = peak = 1.0
    falls, depth, length = [], 0.0, 0
    for r in [*net, None]:
        equity *= 1 + (r or 0.0)
        if r is not None and equity / peak - 1 < -1e-12:
            depth, length = min(depth, equity / peak - 1), length + 1
        elif length:
            falls.append((depth, length))
            depth, length = 0.0, 0
        peak = max(peak, equity)
    got = measure(net)
    assume(falls)
    depths, lengths = zip(*falls, strict=True)
    assert got["average_drawdown"] == pytest.approx(np.mean(depths), rel=1e-12)
    assert got["max_drawdown_bars"] == max(lengths)
    assert got["average_drawdown_bars"] == pytest.approx(np.mean(lengths))


@pytest.mark.parametrize(
    ("net", "days"),
    [
        ([0.1, -0.1, 0.2, 0.1], 3),  # Friday's loss is made up on Monday
        ([0.1, 0.1, 0.1, -0.1], 1),  # Tuesday's is still open when the data ends
        ([-0.1, -0.1, 0.01, 0.01], 6),
    ],
)
def test_a_drawdown_lasts_through_the_weekend(net, days):
    times = pd.DatetimeIndex(["2024-01-04", "2024-01-05", "2024-01-08", "2024-01-09"], tz="America/New_York")
    assert return_metrics(np.array(net), times, DAILY)["max_drawdown_days"] == pytest.approx(days)
    nanoseconds = return_metrics(np.array(net), times.as_unit("ns"), DAILY)
    assert nanoseconds == return_metrics(np.array(net), times.as_unit("s"), DAILY)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_value_that_is_no_number_is_refused_with_its_place(bad):
    wrong = np.array([0.1, 0.2, bad, 0.1])
    for call in (measure, max_drawdown, lambda net: sharpe(net, DAILY)):
        with pytest.raises(ValueError, match="net return 2 of 4 is"):
            call(wrong)
    for name, called in {"benchmark": "benchmark return", "position": "position", "turnover": "turnover"}.items():
        with pytest.raises(ValueError, match=f"{called} 2 of 4 is"):
            measure(np.zeros(4), **{name: wrong})


@pytest.mark.parametrize("pairs", [200, 500])  # the latter overflow float64 too
@pytest.mark.filterwarnings("error")
def test_percentages_of_a_long_series_are_refused(pairs):
    percent = np.append(np.tile([2.0, 1.0], pairs), -1.0)  # 128 pairs are 4e99
    with pytest.raises(ValueError, match=r"net return 256 of \d+ takes equity beyond 1e\+100; give .* fractions"):
        measure(percent)
    with pytest.raises(ValueError, match="benchmark return 256 of"):
        measure(np.zeros(len(percent)), benchmark=percent)


def test_arguments_that_do_not_belong_together_are_refused():
    times = pd.date_range("2020-01-01", periods=6, tz="UTC")
    with pytest.raises(ValueError, match="5 values of times for 6 net returns"):
        return_metrics(SIX, times[:5], DAILY)
    for name in ("benchmark", "position", "turnover"):
        with pytest.raises(ValueError, match=f"5 values of {name} for 6 net returns"):
            measure(SIX, **{name: np.ones(5)})
    for wrong in (times[::-1], times[[0, 1, 2, 2, 3, 4]]):
        with pytest.raises(ValueError, match="times do not increase"):
            return_metrics(SIX, wrong, DAILY)
    for periods in (0, -252, np.nan, np.inf):
        with pytest.raises(ValueError, match="number of bars in a year"):
            measure(SIX, periods)
        with pytest.raises(ValueError, match="number of bars in a year"):
            sharpe(SIX, periods)


def test_the_drawdown_counts_a_fall_from_the_first_bar_and_from_the_peak():
    assert max_drawdown(np.array([-0.1, -0.1, 0.5])) == pytest.approx(-0.19)
    assert max_drawdown(np.array([1.0, -0.5, 0.2, -0.5])) == pytest.approx(1 / 2 * 1.2 * 0.5 - 1)
    assert max_drawdown(np.empty(0)) == 0
