"""A recipe with 300 columns of its own: a month of them, and a week's training window beside the fit.

    python quantum_training_tests/benchmarks/feature_sets.py

Hourly synthetic bars, a year in the window, LightGBM at its defaults. CPU seconds, medians of five.
"""

import os
import statistics
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

from quantum_training.lifecycle.ingestion import compute_month_features, ingest_month
from quantum_training.lifecycle.training.training_window import training_window
from quantum_training.market.periods import Key
from quantum_training.models.contract import TrainingContext
from quantum_training.models.fitting import fit_model
from quantum_training.resources.store.store import Store
from quantum_training.settings import load_settings

START, END = pd.Timestamp("2022-06-01", tz="UTC"), pd.Timestamp("2023-12-04", tz="UTC")
PERIODS = list(range(2, 102))
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


def settings() -> dict[str, Any]:
    """One market with two recipes: the default features, and with 300 columns more."""
    grid = {"module": "bench_features", "param_grid": {"bars": PERIODS}, "timeframes": ["4h", "1d"]}
    source = {"kind": "synthetic", "start": f"{START:%Y-%m-%d}", "end": f"{END:%Y-%m-%d}"}
    return {
        "start": f"{START:%Y-%m-%d}",
        "symbols": {"AAA": {"source": source, "timeframe": "1h", "recipes": ["plain", "wide"]}},
        "features": {"grid": grid},
        "recipes": {"plain": RECIPE, "wide": {**RECIPE, "features": ["default", "grid"]}},
    }


def seconds(work: Callable[[], Any]) -> float:
    """CPU seconds of a call, the median of five."""
    spent = []
    for _ in range(5):
        began = time.process_time()
        work()
        spent.append(time.process_time() - began)
    return statistics.median(spent)


def main() -> None:
    sys.modules["bench_features"] = module()
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "settings.yaml").write_text(yaml.safe_dump(settings()))
        os.environ["QUANTUM_TRAINING_CONFIG"] = f"{folder}/settings.yaml"
        loaded, store = load_settings(), Store(root=f"{folder}/store")
        months = [Key("AAA", month) for month in pd.date_range(START, END, freq="MS")]
        for key in months:
            ingest_month(store, loaded, key, END)
            for name in ("default", "grid"):
                compute_month_features(store, loaded, key, name)
        print("| CPU seconds | default, 24 columns | with a set, 324 columns |\n| --- | ---: | ---: |")
        cells = [
            seconds(lambda n=name: compute_month_features(store, loaded, months[-2], n)) for name in ("default", "grid")
        ]
        print(f"| a month of the set | {cells[0]:.3f} | {cells[1]:.3f} |")
        windows, fits = [], []
        for name in ("plain", "wide"):
            recipe = loaded.recipes[name]
            windows.append(seconds(lambda r=recipe: training_window(store, loaded, "AAA", r, END)))
            context = TrainingContext(training_window(store, loaded, "AAA", recipe, END), recipe.params, seed=7)
            fits.append(seconds(lambda c=context: fit_model("lightgbm", c)))
        print(f"| a week's window | {windows[0]:.3f} | {windows[1]:.3f} |")
        print(f"| its fit | {fits[0]:.3f} | {fits[1]:.3f} |")
        print(f"| window / fit | {windows[0] / fits[0]:.0%} | {windows[1] / fits[1]:.0%} |")


if __name__ == "__main__":
    main()
