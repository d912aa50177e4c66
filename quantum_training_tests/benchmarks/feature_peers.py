"""The columns of feature_sets.py as pandas-ta-classic and FreqAI make them, in an environment that has them.

    PYTHON quantum_training_tests/benchmarks/feature_peers.py FOLDER

Reads candles.parquet in the folder, writes a Parquet file for each peer that is installed, and prints their CPU seconds
as JSON. It imports nothing of this project, so that PYTHON may be that of the peers.
"""

import json
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import pandas as pd

INDICATORS = ("roc", "mom", "sma", "ema", "wma", "rsi", "atr", "stdev", "bandwidth", "willr")
PERIODS = (5, 8, 10, 14, 20, 24, 30, 40, 50, 60)
ROUNDS = 5


def by_pandas_ta(candles: pd.DataFrame, talib: bool) -> pd.DataFrame:
    """pandas-ta-classic, with TA-Lib's functions where it knows them, or with its own."""
    import pandas_ta_classic as ta

    high, low, close = (candles[name] for name in ("high", "low", "close"))
    columns: dict[str, Any] = {}
    for n in PERIODS:
        bands = ta.bbands(close, n, 2.0, ddof=0, talib=talib)
        made = (
            ta.roc(close, n, talib=talib),
            ta.mom(close, n, talib=talib),
            ta.sma(close, n, talib=talib),
            ta.ema(close, n, talib=talib),
            ta.wma(close, n, talib=talib),
            ta.rsi(close, n, talib=talib),
            ta.atr(high, low, close, n, talib=talib),
            ta.stdev(close, n, ddof=0, talib=talib),
            bands.filter(regex="^BBB_").iloc[:, 0],
            ta.willr(high, low, close, n, talib=talib),
        )
        columns |= {f"{name}_{n}": column for name, column in zip(INDICATORS, made, strict=True)}
    return pd.DataFrame(columns)


def by_freqai(candles: pd.DataFrame) -> Callable[[], pd.DataFrame]:
    """FreqAI's expansion of a strategy that calls TA-Lib as its handbook does. Returns what is to be timed."""
    import talib.abstract as ta
    from freqtrade.freqai.data_kitchen import FreqaiDataKitchen
    from freqtrade.strategy import IStrategy

    class Strategy(IStrategy):
        def populate_indicators(self, dataframe: pd.DataFrame, metadata: Any) -> pd.DataFrame:
            return dataframe

        def feature_engineering_expand_all(
            self, dataframe: pd.DataFrame, period: int, metadata: Any, **kwargs: Any
        ) -> pd.DataFrame:
            bands = ta.BBANDS(dataframe, timeperiod=period)
            dataframe["%-roc"] = ta.ROC(dataframe, timeperiod=period)
            dataframe["%-mom"] = ta.MOM(dataframe, timeperiod=period)
            dataframe["%-sma"] = ta.SMA(dataframe, timeperiod=period)
            dataframe["%-ema"] = ta.EMA(dataframe, timeperiod=period)
            dataframe["%-wma"] = ta.WMA(dataframe, timeperiod=period)
            dataframe["%-rsi"] = ta.RSI(dataframe, timeperiod=period)
            dataframe["%-atr"] = ta.ATR(dataframe, timeperiod=period)
            dataframe["%-stdev"] = ta.STDDEV(dataframe, timeperiod=period)
            dataframe["%-bandwidth"] = 100 * (bands["upperband"] - bands["lowerband"]) / bands["middleband"]
            dataframe["%-willr"] = ta.WILLR(dataframe, timeperiod=period)
            return dataframe

    pair = "BTC/USDT"
    parameters = {"include_timeframes": ["1h"], "indicator_periods_candles": [*PERIODS], "include_shifted_candles": 0}
    config: Any = {
        "timeframe": "1h",
        "exchange": {"pair_whitelist": [pair]},
        "freqai": {"feature_parameters": parameters},
    }
    strategy = Strategy(config)
    bars = candles.reset_index(names="date")

    def make() -> pd.DataFrame:
        kitchen = FreqaiDataKitchen(config, live=True, pair=pair)
        return kitchen.use_strategy_to_populate_indicators(strategy, base_dataframes={"1h": bars}, pair=pair)

    return make


def peers(candles: pd.DataFrame) -> dict[str, Callable[[], pd.DataFrame]]:
    """What can be timed here, by name and version."""
    found: dict[str, Callable[[], pd.DataFrame]] = {}
    for package in ("pandas-ta-classic", "freqtrade"):
        try:
            name = f"{package} {version(package)}"
        except PackageNotFoundError:
            continue
        if package == "freqtrade":
            found[f"FreqAI of {name}"] = by_freqai(candles)
            continue
        found[name] = lambda: by_pandas_ta(candles, talib=False)
        with suppress(PackageNotFoundError):
            found[f"{name} with TA-Lib {version('TA-Lib')}"] = lambda: by_pandas_ta(candles, talib=True)
    return found


def main(folder: Path) -> None:
    candles = pd.read_parquet(folder / "candles.parquet")
    spent: dict[str, list[float]] = {}
    for name, make in peers(candles).items():
        make()
        for _ in range(ROUNDS):
            began = time.process_time()
            made = make()
            spent.setdefault(name, []).append(time.process_time() - began)
        names = {column: "_".join(column.removeprefix("%-").split("_")[:2]) for column in map(str, made)}
        made = made.rename(columns=names).set_axis(candles.index)
        made[[f"{indicator}_{n}" for n in PERIODS for indicator in INDICATORS]].to_parquet(folder / f"{name}.parquet")
    print(json.dumps(spent))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
