"""A week's training window of a recipe with ranks within a universe, beside one with the same columns unranked.

    python -m quantum_training_tests.benchmarks.cross_section [SYMBOLS]

Hourly synthetic bars, a year in the window, ten columns, one process as in a batch. CPU seconds.
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

from quantum_training.features.windows import Window
from quantum_training.lifecycle import cross_section
from quantum_training.lifecycle.evaluation.leakage import perturbed_stores
from quantum_training.lifecycle.ingestion import compute_month_features, ingest_month
from quantum_training.lifecycle.training.training_window import training_window
from quantum_training.market.periods import Key
from quantum_training.resources.store.store import Store
from quantum_training.settings import Settings, load_settings

START, END = pd.Timestamp("2022-10-01", tz="UTC"), pd.Timestamp("2023-12-04", tz="UTC")
PERIODS = [2, 3, 6, 12, 24, 48, 72, 96, 120, 168]
RECIPE = {"algorithm": "lightgbm", "label": {"kind": "forward_return", "horizon": 24}, "window_bars": 8760}
FURTHER = 5


def module() -> ModuleType:
    """A set of one column: the log return of some bars."""
    made = ModuleType("bench_momentum")

    def compute(candles: pd.DataFrame, bars: int) -> pd.DataFrame:
        return pd.DataFrame({"move": np.log(candles["close"]).diff(bars)})

    vars(made).update(COLUMNS={"move": "log return"}, WARMUP_BARS=PERIODS[-1], compute=compute)
    return made


def settings(folder: str, symbols: int) -> dict[str, Any]:
    """Markets of one universe with two recipes: the columns, and their ranks."""
    source = {"kind": "synthetic", "start": f"{START:%Y-%m-%d}", "end": f"{END:%Y-%m-%d}"}
    names = [f"S{n:03d}" for n in range(symbols)]
    market = {"timeframe": "1h", "recipes": ["plain", "ranked"]}
    columns = {"module": "bench_momentum", "param_grid": {"bars": PERIODS}}
    rows = [f"{name},{START:%Y-%m-%d}," for name in names]
    Path(folder, "members.csv").write_text("\n".join(["symbol,from,to", *rows, ""]))
    return {
        "start": f"{START:%Y-%m-%d}",
        "symbols": {name: {**market, "source": {**source, "seed": n}} for n, name in enumerate(names)},
        "universes": {"all": {"path": f"{folder}/members.csv"}},
        "features": {"own": columns, "rank": {**columns, "within": "all"}},
        "recipes": {"plain": {**RECIPE, "features": ["own"]}, "ranked": {**RECIPE, "features": ["rank"]}},
    }


def seconds(work: Callable[[], Any]) -> float:
    """CPU seconds of this process."""
    began = time.process_time()
    work()
    return time.process_time() - began


def only(loaded: Settings, recipe: str) -> Settings:
    """The settings with one recipe."""
    symbols = {name: market.model_copy(update={"recipes": (recipe,)}) for name, market in loaded.symbols.items()}
    return loaded.model_copy(update={"symbols": symbols})


def window(store: Store, loaded: Settings, recipe: str, symbol: str) -> Window:
    return training_window(store, loaded, symbol, loaded.recipes[recipe], END)


def examine(store: Store, loaded: Settings, symbol: str) -> None:
    """The windows that a leak check compares."""
    for view in perturbed_stores(store, loaded, "ranked", symbol, END, 200):
        window(view, loaded, "ranked", symbol)


def main(symbols: int) -> None:
    sys.modules["bench_momentum"] = module()
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "settings.yaml").write_text(yaml.safe_dump(settings(folder, symbols)))
        os.environ["QUANTUM_TRAINING_CONFIG"] = f"{folder}/settings.yaml"
        loaded, store = load_settings(), Store(root=f"{folder}/store")
        for symbol in loaded.symbols:
            for month in pd.date_range(START, END, freq="MS"):
                ingest_month(store, loaded, Key(symbol, month), END)
                for name in ("default", "own", "rank"):
                    compute_month_features(store, loaded, Key(symbol, month), name)
        plain, ranked = only(loaded, "plain"), only(loaded, "ranked")
        first, *further = [*loaded.symbols][: FURTHER + 1]
        window(store, plain, "plain", first)
        own = [seconds(lambda s=s: window(store, plain, "plain", s)) for s in further]
        once = seconds(lambda: window(store, ranked, "ranked", first))
        kept = [seconds(lambda s=s: window(store, ranked, "ranked", s)) for s in further]
        again = []
        for symbol in further:
            cross_section._PANELS.clear()
            again.append(seconds(lambda s=symbol: window(store, ranked, "ranked", s)))
        examined = [seconds(lambda s=symbol: examine(store, ranked, s)) for symbol in further]  # type: ignore[misc]
        print(f"{symbols} symbols, unranked: each symbol {statistics.median(own):.2f} s")
        print(f"ranked: first symbol {once:.2f} s, each further one {statistics.median(kept):.2f} s")
        print(f"ranked, if each symbol made the ranks anew: {statistics.median(again):.2f} s")
        print(f"leak check: first symbol {examined[0]:.2f} s, each further one {statistics.median(examined[1:]):.2f} s")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 40)
