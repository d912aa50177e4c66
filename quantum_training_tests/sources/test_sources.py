"""How a source is found by its kind, and what importing all of them costs."""

from __future__ import annotations

import subprocess
import sys

import pytest

from quantum_training.sources import CandleSource, kinds, source_from


def test_every_kind_is_a_module_of_its_own():
    assert kinds() == ["ccxt", "files", "sample", "synthetic", "yfinance"]


@pytest.mark.parametrize(
    "options",
    [
        {"kind": "ccxt", "market": "BTC/USDT"},
        {"kind": "files", "path": "x.csv"},
        {"kind": "sample", "dataset": "sp500"},
        {"kind": "synthetic"},
        {"kind": "yfinance", "ticker": "AAPL"},
    ],
)
def test_the_documented_minimum_of_options_is_enough(options):
    source = source_from(options)
    assert isinstance(source, CandleSource)
    assert type(source).__module__.endswith(options["kind"])
    assert source_from(source) is source
    # Every option has a description.
    assert all(option.description for option in type(source).model_fields.values())


@pytest.mark.parametrize("wrong", [{"kind": "oracle"}, {"kind": "base"}, {"kind": "retry"}, {}, "sample", None])
def test_an_unknown_kind_is_refused_with_those_that_exist(wrong):
    with pytest.raises(ValueError, match=r"unknown source kind .*; allowed: ccxt, files, sample, synthetic, yfinance"):
        source_from(wrong)


def test_making_sources_imports_none_of_their_libraries():
    code = (
        "import sys\n"
        "from quantum_training.sources import source_from\n"
        "source_from({'kind': 'ccxt', 'market': 'BTC/USDT'})\n"
        "source_from({'kind': 'yfinance', 'ticker': 'AAPL'})\n"
        "source_from({'kind': 'sample', 'dataset': 'sp500'})\n"
        "assert not {'ccxt', 'yfinance', 'curl_cffi', 'arch', 'scipy', 'pandera'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
