"""The benchmark's table: a symbol with few bars says how many are needed, and before the training if that is known."""

import numpy as np
import pandas as pd
import pytest

from quantum_training.lifecycle.evaluation.benchmark_table import as_markdown, benchmark_rows, shortage, write
from quantum_training.settings.schema import Symbol
from quantum_training.trading.episodes import Market
from quantum_training.trading.evaluation import evaluate


def market(timeframe, calendar):
    source = {"kind": "synthetic", "seed": 3, "start": "2019-09-01", "end": "2020-03-01"}
    return Symbol(source=source, timeframe=timeframe, calendar=calendar, recipes=("xgboost",))


@pytest.fixture
def table_of(workspace, small):
    """`table_of(bars)`: the table of a market of that many bars."""
    settings = workspace(small).settings

    def build(bars):
        index = pd.date_range("2020-01-01", periods=bars, freq="4h", tz="UTC", name="open_time")
        close = 100 * np.exp(np.random.default_rng(1).normal(0, 0.01, bars).cumsum())
        candles = pd.DataFrame(dict.fromkeys(("open", "high", "low", "close"), close) | {"volume": 1.0}, index)
        targets = pd.DataFrame({"xgboost": np.resize([0.0, 1.0, 1.0], bars), "buy_and_hold": 1.0}, index)
        options = settings.symbols["AAA"]
        traded = Market(candles, options.costs, options.account)
        return benchmark_rows(settings, "AAA", evaluate(traded, targets, ["xgboost"], 2190.0))

    return build


@pytest.mark.parametrize("bars", [1, 2, 19])
def test_fewer_than_20_bars_are_in_the_table_beside_the_number_needed(table_of, tmp_path, bars):
    rows, enough = table_of(bars), table_of(20).assign(symbol="BBB")
    table = pd.concat([rows, enough], ignore_index=True)
    write(table, tmp_path)
    lines = (tmp_path / "benchmark.md").read_text().splitlines()
    passive = next(line for line in lines if "AAA" in line and "buy_and_hold" in line)
    assert (f"[{bars} of 20 bars]" in passive) == (bars > 1), "one bar has no Sharpe ratio at all"
    assert "nan" not in as_markdown(table).lower()
    assert "of 20 bars" not in "".join(line for line in lines if "BBB" in line)


def test_a_shortage_is_known_from_the_calendar(workspace):
    assert shortage(market("4h", "24/7"), "2020-02-24", "2020-02-24") is None
    assert shortage(market("1d", "XNYS"), "2020-02-03", "2020-03-02") is None
    assert shortage(market("1d", "XNYS"), "2020-02-10", "2020-02-24") == (
        "insufficient: the weeks 2020-02-10 to 2020-02-24 have 14 bars, 20 are needed; take 5 weeks or more"
    )
