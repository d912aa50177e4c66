"""One week of a pooled recipe: what a training and its leak check take for the first symbol, and for each further one.

    python -m quantum_training_tests.benchmarks.pools [SYMBOLS]

Hourly synthetic bars, a year in the window, one process as in a batch. CPU seconds.
"""

import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any

import pandas as pd
import yaml

from quantum_training.lifecycle.evaluation.leakage import version_report
from quantum_training.lifecycle.ingestion import compute_month_features, ingest_month
from quantum_training.lifecycle.services import Services
from quantum_training.lifecycle.training.train_week import train_week
from quantum_training.market.periods import Key
from quantum_training.settings import load_settings

START, END, WEEK = (pd.Timestamp(day, tz="UTC") for day in ("2023-01-01", "2024-03-01", "2024-02-26"))
RECIPE = "pooled"
FURTHER = 5


def settings(folder: str, symbols: int) -> dict[str, Any]:
    """Markets of different prices that share one recipe."""
    source = {"kind": "synthetic", "start": f"{START:%Y-%m-%d}", "end": f"{END:%Y-%m-%d}"}
    market = {"timeframe": "1h", "recipes": [RECIPE]}
    label = {"kind": "forward_return", "horizon": 2}
    return {
        "start": f"{START:%Y-%m-%d}",
        "store_root": f"{folder}/store",
        "database_url": f"sqlite:///{folder}/project.db",
        "mlflow_tracking_uri": f"sqlite:///{folder}/mlflow.db",
        "symbols": {f"S{n:03d}": {**market, "source": {**source, "seed": n}} for n in range(symbols)},
        "recipes": {
            RECIPE: {
                "algorithm": "pooled_lightgbm",
                "label": label,
                "window_bars": 8760,
                "params": {"max_rounds": 20, "num_leaves": 5},
            }
        },
    }


def seconds(work: Callable[[], Any]) -> float:
    """CPU seconds of this process."""
    began = time.process_time()
    work()
    return time.process_time() - began


def main(symbols: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        os.environ |= {"DAGSTER_HOME": folder, "QUANTUM_TRAINING_CONFIG": f"{folder}/settings.yaml"}
        with open(f"{folder}/settings.yaml", "w") as file:
            yaml.safe_dump(settings(folder, symbols), file)
        loaded = load_settings()
        services = Services.of(loaded)
        for symbol in loaded.symbols:
            for month in pd.date_range(START, END, freq="MS", inclusive="left"):
                ingest_month(services.store, loaded, Key(symbol, month), END)
                compute_month_features(services.store, loaded, Key(symbol, month))
        keys = [Key(symbol, WEEK) for symbol in list(loaded.symbols)[: FURTHER + 1]]
        trained = [seconds(lambda key=key: train_week(services, RECIPE, key)) for key in keys]  # type: ignore[misc]
        examined = [
            seconds(lambda key=key: version_report(services.store, services.registry, loaded, RECIPE, key))  # type: ignore[misc]
            for key in keys
        ]
        for name, values in (("training", trained), ("leak check", examined)):
            print(f"{name}: first symbol {values[0]:.2f} s, each further one {statistics.median(values[1:]):.2f} s")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 40)
