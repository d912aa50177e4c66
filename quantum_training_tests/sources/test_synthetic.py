"""The `synthetic` source: sound bars for any options, the same for any range, and the traits that it claims."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from datetime import date

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from quantum_training.market.schema import candle_schema
from quantum_training.market.timeframe import to_timedelta
from quantum_training.sources import source_from
from quantum_training.sources.synthetic import SIGNAL_MEMORY

BEFORE_EDGES = {
    0: [100.0, 100.11035186396005, 99.87968576517969, 100.00804699585049, 29549.367337751894],
    9000: [153.55373683120274, 154.77047627760453, 153.3866172043352, 154.73140348490116, 186788.86271782868],
    17543: [195.4290751669403, 195.62301344588556, 195.11880705707796, 195.4333326432326, 19662.56068147405],
}
"""Bars by number. Their last bits depend on the processor: findings/numpy_bits_depend_on_avx512.sh."""
FAR = pd.Timestamp("2060-01-01", tz="UTC")


def day(text: str) -> pd.Timestamp:
    return pd.Timestamp(text, tz="UTC")


def synthetic(**options):
    return source_from({"kind": "synthetic", **options})


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    timeframe=st.sampled_from(["5m", "1h", "4h", "1d"]),
    drift=st.floats(-1, 1),
    calm=st.floats(0.001, 2),
    turbulent=st.floats(0.001, 2),
    switch=st.floats(0, 0.5),
    edge=st.floats(0, 0.5),
    tail=st.floats(2.01, 100),
    price=st.floats(1e-3, 1e9),
)
def test_any_options_give_sound_candles(seed, timeframe, drift, calm, turbulent, switch, edge, tail, price):
    source = synthetic(
        seed=seed,
        start="2020-02-28",
        end="2020-03-09",
        start_price=price,
        annual_drift=drift,
        calm_volatility=calm,
        turbulent_volatility=turbulent,
        switch_probability=switch,
        edge=edge,
        tail_degrees_of_freedom=tail,
    )
    bars = source.fetch("S", timeframe, day("2020-01-01"), FAR, FAR)
    candle_schema().validate(bars)
    step = to_timedelta(timeframe)
    assert bars.index.equals(pd.date_range("2020-02-28", "2020-03-09", freq=step, inclusive="left", tz="UTC"))
    assert bars["open"].iloc[0] == price
    assert (bars["open"].to_numpy()[1:] == bars["close"].to_numpy()[:-1]).all()
    assert source.available_until("S", timeframe, FAR) == day("2020-03-09")


@settings(max_examples=25, deadline=None)
@given(
    timeframe=st.sampled_from(["15m", "1d"]),
    first=st.integers(0, 700),
    length=st.integers(1, 200),
    until=st.integers(0, 800),
)
def test_any_range_is_a_slice_of_the_whole(timeframe, first, length, until):
    live, start = synthetic(seed=3, start="2019-06-15"), day("2019-06-15")
    end, now = start + pd.Timedelta(days=first + length), start + pd.Timedelta(days=until)
    full_history = synthetic(seed=3, start="2019-06-15", end="2022-01-01").fetch("S", timeframe, start, FAR, FAR)
    part = live.fetch("S", timeframe, start + pd.Timedelta(days=first), end, now)
    step = to_timedelta(timeframe)
    expected = full_history.loc[start + pd.Timedelta(days=first) : min(end, now) - step]
    pd.testing.assert_frame_equal(part, expected, check_exact=True, check_freq=False)


def test_seed_symbol_and_timeframe_each_give_another_market():
    def closes(seed, symbol, timeframe):
        bars = synthetic(seed=seed).fetch(symbol, timeframe, day("2015-01-01"), day("2015-02-01"), FAR)
        return tuple(bars["close"].iloc[:20])

    assert closes(1, "A", "1h") == closes(1, "A", "1h")
    assert len({closes(1, "A", "1h"), closes(2, "A", "1h"), closes(1, "B", "1h"), closes(1, "A", "4h")}) == 4


def test_another_process_gives_the_same_bits():
    code = (
        "import pandas as pd; from quantum_training.sources.synthetic import Source\n"
        "a, b = pd.Timestamp('2015-01-01', tz='UTC'), pd.Timestamp('2015-03-01', tz='UTC')\n"
        "print(Source().fetch('A', '1h', a, b, b).to_numpy().tobytes().hex())"
    )
    there = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    here = synthetic().fetch("A", "1h", day("2015-01-01"), day("2015-03-01"), day("2015-03-01"))
    assert there.stdout.strip() == here.to_numpy().tobytes().hex()


@pytest.mark.parametrize("timeframe", ["1h", "1d"])
def test_moments_are_those_of_the_options(timeframe):
    options = {"seed": 5, "start": "1990-01-01", "end": "2020-01-01", "switch_probability": 0, "annual_drift": 0.1}
    bars = synthetic(**options, calm_volatility=0.3).fetch("S", timeframe, day("1980-01-01"), FAR, FAR)
    moves = np.log(bars["close"] / bars["open"])
    years = len(bars) * (to_timedelta(timeframe) / pd.Timedelta(days=365))
    assert moves.std() * np.sqrt(len(bars) / years) == pytest.approx(0.3, rel=0.05)
    assert moves.sum() / years == pytest.approx(0.1, abs=4 * 0.3 / np.sqrt(years))
    # Student t with 4 degrees of freedom leaves 0.62 % beyond 3.5 of its scaled deviations, the normal law 0.05 %.
    assert (abs(moves - moves.mean()) > 3.5 * moves.std()).mean() > 0.003


def test_the_range_of_a_bar_is_that_of_a_continuous_path():
    """Mean of log(high/low) of a Brownian path is sqrt(8/pi) standard deviations (Parkinson, 1980)."""
    options = {"seed": 5, "start": "1990-01-01", "end": "2020-01-01", "switch_probability": 0, "annual_drift": 0}
    source = synthetic(**options, calm_volatility=0.3, tail_degrees_of_freedom=100)
    bars = source.fetch("S", "1d", day("1980-01-01"), FAR, FAR)
    deviation = 0.3 / np.sqrt(365)
    assert np.log(bars["high"] / bars["low"]).mean() / deviation == pytest.approx(np.sqrt(8 / np.pi), rel=0.03)


def test_volatility_comes_in_spells():
    bars = synthetic(seed=1, start="1990-01-01", end="2020-01-01").fetch("S", "1d", day("1980-01-01"), FAR, FAR)
    size = np.log(bars["close"] / bars["open"]).abs()
    size = size.clip(upper=size.quantile(0.99))
    assert size.autocorr(1) > 0.1
    assert size.autocorr(10) > 0.05
    monthly = size.resample("30D").mean()
    assert monthly.quantile(0.9) > 2 * monthly.quantile(0.1)


def test_a_live_market_goes_on_with_now():
    source = synthetic(start="2020-01-01")
    now = day("2020-02-10 05:30")
    assert source.available_until("S", "1h", now) == now
    assert source.fetch("S", "1h", day("2020-02-01"), FAR, now).index[-1] == day("2020-02-10 04:00")
    assert source.fetch("S", "1h", day("2019-01-01"), day("2020-01-01"), now).empty


@pytest.mark.parametrize(
    "options",
    [
        {"seed": -1},
        {"start": "2020-01-02", "end": "2020-01-02"},
        {"start": "1960-01-01"},
        {"start_price": 0},
        {"calm_volatility": 0},
        {"turbulent_volatility": 3},
        {"switch_probability": 0.6},
        {"tail_degrees_of_freedom": 2},
        {"annual_drift": 2},
        {"annual_drift": float("nan")},
        {"edge": 0.6},
        {"edge": -0.1},
        {"edge": float("nan")},
        {"edge_until": "2020-01-01"},
        {"edge": 0.1, "edge_until": "2015-01-01"},
        {"wings": 2},
    ],
)
def test_wrong_options_are_refused_at_load(options):
    with pytest.raises(ValidationError):
        synthetic(**options)


def two_years(**options):
    return synthetic(**options).fetch("S", "1h", day("2015-01-01"), day("2017-01-01"), FAR)


def test_without_an_edge_every_bar_is_what_it_was_before_edges_existed():
    bars = two_years()
    for number, values in BEFORE_EDGES.items():
        assert bars.iloc[number].tolist() == pytest.approx(values, rel=1e-12)
    assert len(bars) == max(BEFORE_EDGES) + 1
    assert two_years(edge=0).equals(bars)


@pytest.mark.parametrize("edge", [0.05, 0.3, 0.5])
def test_the_edge_is_the_information_ratio_of_the_best_long_or_flat_position(edge):
    """The signal that no model sees is drawn again from its stream, the sixth."""
    options = {"seed": 5, "start": "1990-01-01", "end": "2020-01-01", "switch_probability": 0, "annual_drift": 0}
    bars = synthetic(**options, edge=edge).fetch("S", "1h", day("1990-01-01"), FAR, FAR)
    moves = np.log(bars["close"] / bars["open"]).to_numpy()
    signal = signal_of(5, "S", len(bars))
    earned = moves[1:] * (signal[:-1] > 0)
    assert earned.mean() / earned.std() == pytest.approx(edge, abs=8 / np.sqrt(len(earned)))  # the signal lasts
    assert moves.std() * np.sqrt(365 * 24) == pytest.approx(0.15, rel=0.02)
    assert signal.std() == pytest.approx(1, rel=0.02)
    assert np.corrcoef(signal[1:], signal[:-1])[0, 1] == pytest.approx(SIGNAL_MEMORY, abs=0.01)
    plain = synthetic(**options).fetch("S", "1h", day("1990-01-01"), FAR, FAR)
    assert (abs(moves) > 8 * moves.std()).any(), "the tails stay"
    assert np.log(bars["volume"]).corr(np.log(plain["volume"])) < 0.9


def signal_of(seed, symbol, n):
    root = np.frombuffer(hashlib.sha256(f"{symbol}|1h".encode()).digest(), "<u4").tolist()
    shocks = np.random.default_rng(np.random.SeedSequence([seed, *root]).spawn(6)[5]).standard_normal(n)
    signal = [shocks[0]]
    for shock in shocks[1:]:
        signal.append(SIGNAL_MEMORY * signal[-1] + np.sqrt(1 - SIGNAL_MEMORY**2) * shock)
    return np.array(signal)


def test_from_the_day_of_its_end_on_an_edge_is_gone_and_the_bars_before_are_the_same():
    options = {"seed": 5, "start": "1990-01-01", "end": "2020-01-01", "switch_probability": 0, "annual_drift": 0}
    until = "2005-01-01"
    ends = synthetic(**options, edge=0.3, edge_until=until).fetch("S", "1h", day("1990-01-01"), FAR, FAR)
    stays = synthetic(**options, edge=0.3).fetch("S", "1h", day("1990-01-01"), FAR, FAR)
    before = day(until) - pd.Timedelta("1h")
    pd.testing.assert_frame_equal(ends.loc[:before], stays.loc[:before], check_exact=True, check_freq=False)
    assert ends["close"].loc[until:].iloc[0] != stays["close"].loc[until:].iloc[0]
    held = pd.Series(signal_of(5, "S", len(ends)) > 0, ends.index).shift(1, fill_value=False)
    earned = (np.log(ends["close"] / ends["open"]) * held).loc[until:]
    assert earned.mean() / earned.std() == pytest.approx(0, abs=4 / np.sqrt(len(earned)))


def test_the_edge_belongs_to_the_identity_of_the_market():
    identities = [
        synthetic(**options).identity for options in ({}, {"edge": 0.1}, {"edge": 0.1, "edge_until": "2020-01-01"})
    ]
    assert [identity["edge"] for identity in identities] == [0.0, 0.1, 0.1]
    assert [identity["edge_until"] for identity in identities] == [None, None, "2020-01-01"]


def test_what_an_edge_is_known_to_earn_is_said_in_words():
    periods = 24 * 365
    assert synthetic().known_edge(periods) == "Sharpe 0 before costs"
    assert synthetic(edge=0.1).known_edge(periods) == "Sharpe 9.4 before costs"
    gone = synthetic(edge=0.1, edge_until="2020-01-01")
    assert gone.known_edge(periods) == "Sharpe 9.4 before costs until 2020-01-01, then 0"
    assert source_from({"kind": "sample", "dataset": "sp500"}).known_edge(252) == ""


def test_defaults_need_nothing():
    assert synthetic().start == date(2015, 1, 1)
