"""The `sample` source: the candles that ship with the arch package."""

from __future__ import annotations

import subprocess
import sys

import pandas as pd
import pytest

from quantum_training.market.schema import candle_schema
from quantum_training.sources import SourceError, source_from

LONG_AGO, FAR = pd.Timestamp("1990-01-01", tz="UTC"), pd.Timestamp("2030-01-01", tz="UTC")


@pytest.mark.parametrize(("dataset", "last_close"), [("sp500", 2506.850098), ("nasdaq", 6635.279785)])
def test_the_full_history_passes_the_quality_rules(dataset, last_close):
    source = source_from({"kind": "sample", "dataset": dataset})
    bars = source.fetch("X", "1d", LONG_AGO, FAR, FAR)
    candle_schema().validate(bars)
    assert len(bars) == 5031
    assert bars.index[0] == pd.Timestamp("1999-01-04", tz="UTC")
    assert bars.index[-1] == pd.Timestamp("2018-12-31", tz="UTC")
    assert bars["close"].iloc[-1] == last_close
    assert source.available_until("X", "1d", FAR) == pd.Timestamp("2019-01-01", tz="UTC")


def test_prices_are_those_of_the_package():
    from arch.data import sp500

    bars = source_from({"kind": "sample", "dataset": "sp500"}).fetch("X", "1d", LONG_AGO, FAR, FAR)
    theirs = sp500.load()[["Open", "High", "Low", "Close", "Volume"]]
    assert (bars.to_numpy() == theirs.to_numpy()).all()


def test_a_month_and_a_now_inside_it():
    source = source_from({"kind": "sample", "dataset": "sp500"})
    start, end = pd.Timestamp("2008-10-01", tz="UTC"), pd.Timestamp("2008-11-01", tz="UTC")
    assert len(source.fetch("X", "1d", start, end, FAR)) == 23
    now = pd.Timestamp("2008-10-10", tz="UTC")
    assert source.fetch("X", "1d", start, end, now).index[-1] == pd.Timestamp("2008-10-09", tz="UTC")
    assert source.available_until("X", "1d", now) == now


def test_other_timeframes_are_refused():
    source = source_from({"kind": "sample", "dataset": "nasdaq"})
    with pytest.raises(SourceError, match=r"IXIC: source sample nasdaq: it has no 1h bars\. Set timeframe: 1d"):
        source.fetch("IXIC", "1h", LONG_AGO, FAR, FAR)


def test_fetching_imports_no_arch():
    code = (
        "import sys, pandas as pd\n"
        "from quantum_training.sources.sample import Source\n"
        "now = pd.Timestamp('2020-01-01', tz='UTC')\n"
        "assert len(Source(dataset='sp500').fetch('X', '1d', now - pd.Timedelta('1000D'), now, now))\n"
        "assert not {'arch', 'scipy', 'statsmodels'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
