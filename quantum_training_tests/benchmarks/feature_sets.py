"""Feature sets: 100 columns beside pandas-ta-classic and FreqAI, a month of a set, a week's window beside its fit.

    python -m quantum_training_tests.benchmarks.feature_sets [PYTHON]

PYTHON: of an environment that has pandas-ta-classic, freqtrade with datasieve, or both, besides pyarrow; without it, no
peer is measured. What each calls is in feature_peers.py: here TA-Lib on arrays, as a set of one's own may. CPU seconds,
medians of five; fails if a column differs from a peer's.

The months: hourly synthetic bars, and beside TA-Lib's columns 300 of pandas windows on three timeframes. The window
has a year of them, LightGBM its defaults.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import yaml

from quantum_training.features.sets.feature_set import FeatureSet
from quantum_training.lifecycle.ingestion import compute_month_features, ingest_month
from quantum_training.lifecycle.training.training_window import training_window
from quantum_training.market.periods import Key
from quantum_training.models.contract import TrainingContext
from quantum_training.models.fitting import fit_model
from quantum_training.resources.store.store import Store
from quantum_training.settings import load_settings
from quantum_training_tests.benchmarks import feature_peers

BARS = 43_800
START, END = pd.Timestamp("2022-06-01", tz="UTC"), pd.Timestamp("2023-12-04", tz="UTC")
PERIODS = list(range(2, 102))
INDICATORS = {"module": "bench_indicators", "param_grid": {"bars": [*feature_peers.PERIODS]}}
TOLERANCE = 1e-6
SETS = {
    "default": "the default features",
    "ta": "indicators of TA-Lib",
    "grid": "pandas windows, one column a call, on three timeframes",
}
RECIPE = {"algorithm": "lightgbm", "label": {"kind": "forward_return", "horizon": 24}, "window_bars": 8760}


def module() -> ModuleType:
    """A set of one column: the close against its mean, in standard deviations."""
    made = ModuleType("bench_features")

    def compute(candles: pd.DataFrame, bars: int) -> pd.DataFrame:
        close = np.log(candles["close"])
        window = close.rolling(bars)
        return pd.DataFrame({"z": (close - window.mean()) / window.std().replace(0.0, np.nan)})

    vars(made).update(COLUMNS={"z": "standard deviations from the mean"}, WARMUP_BARS=PERIODS[-1], compute=compute)
    return made


def indicators() -> ModuleType:
    """A set of the ten indicators of feature_peers.py by TA-Lib."""
    made = ModuleType("bench_indicators")

    def compute(candles: pd.DataFrame, bars: int) -> pd.DataFrame:
        import talib

        high, low, close = (candles[name].to_numpy() for name in ("high", "low", "close"))
        upper, middle, lower = talib.BBANDS(close, bars)
        columns = (
            talib.ROC(close, bars),
            talib.MOM(close, bars),
            talib.SMA(close, bars),
            talib.EMA(close, bars),
            talib.WMA(close, bars),
            talib.RSI(close, bars),
            talib.ATR(high, low, close, bars),
            talib.STDDEV(close, bars),
            100 * (upper - lower) / middle,
            talib.WILLR(high, low, close, bars),
        )
        return pd.DataFrame(dict(zip(feature_peers.INDICATORS, columns, strict=True)), candles.index)

    columns = dict.fromkeys(feature_peers.INDICATORS, "as TA-Lib has it")
    vars(made).update(COLUMNS=columns, WARMUP_BARS=lambda bars: 20 * bars, compute=compute)
    return made


def candles() -> pd.DataFrame:
    """Five years of hourly bars of a random walk."""
    rng = np.random.default_rng(0)
    close = 1000 * np.exp(np.cumsum(rng.normal(0, 0.005, BARS)))
    first = np.append(1000.0, close[:-1])
    high, low = np.maximum(first, close), np.minimum(first, close)
    up, down = np.exp(rng.exponential(0.001, (2, BARS)))
    bars = {"open": first, "high": high * up, "low": low / down, "close": close, "volume": rng.lognormal(5, 1, BARS)}
    return pd.DataFrame(bars, pd.date_range("2019-01-01", periods=BARS, freq="h", tz="UTC", name="open_time"))


def print_peers(python: str | None) -> None:
    """The columns of five years at once, beside what the peers of an environment take for the same ones."""
    bars, chosen = candles(), FeatureSet.model_validate(INDICATORS)
    ours = chosen.compute("ta", bars, bars.index[0], "1h")
    ours.columns = ours.columns.str.removeprefix("ta__").str.replace("_bars_", "_")
    spent = seconds(lambda: chosen.compute("ta", bars, bars.index[0], "1h"))
    print(f"| {ours.shape[1]} columns of {BARS:,} bars | CPU seconds | ours / it | differs by at most |")
    print(f"| --- | ---: | ---: | ---: |\n| a feature set that calls TA-Lib | {spent:.3f} | 1 | |")
    with tempfile.TemporaryDirectory() as folder:
        bars.to_parquet(f"{folder}/candles.parquet")
        command = [python or sys.executable, feature_peers.__file__, folder]
        output = subprocess.run(
            command, capture_output=True, text=True, check=False, env=os.environ | {"PYTHONPATH": ""}
        )
        if output.returncode:
            raise RuntimeError(output.stderr[-3000:])
        measured: dict[str, list[float]] = json.loads(output.stdout)
        for name, rounds in measured.items():
            apart = difference(ours, pd.read_parquet(f"{folder}/{name}.parquet"))
            theirs = statistics.median(rounds)
            print(f"| {name} | {theirs:.3f} | {spent / theirs:.2f} | {apart:.0e} |")
            assert apart < TOLERANCE, f"{name}: its columns are not ours"
    for package in ("pandas-ta-classic", "freqtrade"):
        if not any(package in name for name in measured):
            print(f"\n{package} was not measured: {command[0]} does not have it; name the Python of one that does")
    print()


def difference(ours: pd.DataFrame, theirs: pd.DataFrame) -> float:
    """The largest difference of two frames after the warm-up, as a share of the column's largest value."""
    known = ours.dropna()
    apart = (known - theirs.loc[known.index]).abs() / known.abs().max()
    return float(apart.to_numpy().max())  # NaN if they have no value where we have one


def settings() -> dict[str, Any]:
    """One market with three recipes: the default features, with 300 columns more, and 100 of TA-Lib."""
    grid = {"module": "bench_features", "param_grid": {"bars": PERIODS}, "timeframes": ["4h", "1d"]}
    source = {"kind": "synthetic", "start": f"{START:%Y-%m-%d}", "end": f"{END:%Y-%m-%d}"}
    return {
        "start": f"{START:%Y-%m-%d}",
        "symbols": {"AAA": {"source": source, "timeframe": "1h", "recipes": ["plain", "wide", "indicators"]}},
        "features": {"grid": grid, "ta": INDICATORS},
        "recipes": {
            "plain": RECIPE,
            "wide": {**RECIPE, "features": ["default", "grid"]},
            "indicators": {**RECIPE, "features": ["ta"]},
        },
    }


def seconds(work: Callable[[], Any]) -> float:
    """CPU seconds of a call, the median of five."""
    spent = []
    for _ in range(5):
        began = time.process_time()
        work()
        spent.append(time.process_time() - began)
    return statistics.median(spent)


def main(python: str | None) -> None:
    sys.modules |= {"bench_features": module(), "bench_indicators": indicators()}
    print_peers(python)
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "settings.yaml").write_text(yaml.safe_dump(settings()))
        os.environ["QUANTUM_TRAINING_CONFIG"] = f"{folder}/settings.yaml"
        loaded, store = load_settings(), Store(root=f"{folder}/store")
        months = [Key("AAA", month) for month in pd.date_range(START, END, freq="MS")]
        for key in months:
            ingest_month(store, loaded, key, END)
            for name in SETS:
                compute_month_features(store, loaded, key, name)
        print("| a month of a set, stored | columns | CPU seconds |\n| --- | ---: | ---: |")
        for name, what in SETS.items():
            columns = compute_month_features(store, loaded, months[-2], name).features.shape[1]
            spent = seconds(lambda n=name: compute_month_features(store, loaded, months[-2], n))
            print(f"| {what} | {columns} | {spent:.3f} |")
        print("\n| a week of a recipe | columns | window, CPU seconds | fit | window / fit |")
        print("| --- | ---: | ---: | ---: | ---: |")
        for name in ("plain", "wide"):
            recipe = loaded.recipes[name]
            window = seconds(lambda r=recipe: training_window(store, loaded, "AAA", r, END))
            context = TrainingContext(training_window(store, loaded, "AAA", recipe, END), recipe.params, seed=7)
            fit = seconds(lambda c=context: fit_model("lightgbm", c))
            print(f"| {name} | {len(recipe.columns)} | {window:.3f} | {fit:.3f} | {window / fit:.0%} |")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else None)
