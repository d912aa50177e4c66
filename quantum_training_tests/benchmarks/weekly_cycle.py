"""The weekly cycle on real hourly crypto against a bare loop of the same fits and MLflow logs, in one run.

    python -m quantum_training_tests.benchmarks.weekly_cycle [weeks]

Needs the real candles (QT_CANDLES_DIR, else ../shared/candles). Seconds are CPU seconds, those of the cycle with the
start of its process. Prints a Markdown table; nothing is asserted.
"""

import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pandas as pd
import yaml

from quantum_training.automation.jobs.full_cycle import CycleConfig, weeks_of
from quantum_training.features.indicators import FEATURES, compute_features
from quantum_training.features.labels import make_labels
from quantum_training.features.windows import WindowSize, build_window
from quantum_training.market.timeframe import known_at
from quantum_training.models.contract import TrainingContext, algorithm
from quantum_training.resources.registry.new_version import NewVersion
from quantum_training.resources.registry.registry import ModelRegistry
from quantum_training.settings import Settings, load_settings

ROOT = Path(__file__).parents[2]
CANDLES = Path(os.environ.get("QT_CANDLES_DIR") or ROOT.parent / "shared" / "candles")
SYMBOLS = ("BTC_USDT", "ETH_USDT")
RECIPE = {"label": {"kind": "forward_return", "horizon": 24}, "window_bars": 8760, "seed": 7}
SETTINGS = {
    "start": "2020-10-01",
    "symbols": {
        symbol: {
            "source": {
                "kind": "files",
                "path": str(CANDLES / "crypto_1h" / "{symbol}-1h.feather"),
                "columns": {"open_time": "date"},
            },
            "timeframe": "1h",
            "costs": {"fee_bps": 10, "slippage_bps": 2},
            "recipes": ["xgboost", "lightgbm"],
        }
        for symbol in SYMBOLS
    },
    "recipes": {
        "xgboost": {
            "algorithm": "xgboost",
            "params": {"max_depth": 6, "learning_rate": 0.05, "max_rounds": 300},
            **RECIPE,
        },
        "lightgbm": {
            "algorithm": "lightgbm",
            "params": {"num_leaves": 31, "learning_rate": 0.05, "max_rounds": 300},
            **RECIPE,
        },
    },
}


def platform(home: Path, weeks: int) -> float:
    """CPU seconds that the one line for CI takes for all symbols and weeks, process start included."""
    (home / "cycle.yaml").write_text(yaml.safe_dump({"ops": {"run_cycle": {"config": {"weeks": weeks}}}}))
    shutil.copy(ROOT / "dagster_home" / "dagster.yaml", home)
    command = [
        "dagster",
        "job",
        "execute",
        "-m",
        "quantum_training.definitions",
        "-j",
        "clm_cycle",
        "-c",
        str(home / "cycle.yaml"),
    ]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    with (home / "log.txt").open("w") as log:
        subprocess.run(
            [Path(sys.executable).with_name(command[0]), *command[1:]],
            env={**os.environ, "DAGSTER_HOME": str(home)},
            stdout=log,
            stderr=log,
            check=True,
        )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def bare_loop(home: Path, settings: Settings, weeks: int) -> tuple[float, float]:
    """CPU seconds of reading, features, fits and MLflow logs, without orchestration, store, scores; of it the fits."""
    registry = ModelRegistry(tracking_uri=f"sqlite:///{home}/bare.db")
    started, fits = time.process_time(), 0.0
    for name, symbol in settings.symbols.items():
        last = weeks_of(settings, name, CycleConfig(weeks=weeks))[1]
        start, end = pd.Timestamp(settings.start, tz="UTC"), pd.Timestamp(last, tz="UTC")
        candles = symbol.source.fetch(name, symbol.timeframe, start, end, pd.Timestamp.now("UTC"))
        features = compute_features(candles, start)
        for recipe_name in symbol.recipes:
            recipe = settings.recipes[recipe_name]
            for as_of in pd.date_range(end=end, periods=weeks, freq="7D"):
                past = known_at(candles, as_of, symbol.timeframe).tail(recipe.window_bars + recipe.label.span_bars)
                labels = make_labels(
                    past, recipe.label, symbol.costs.round_trip(past["close"].to_numpy(), symbol.account.capital)
                )
                options = {
                    "size": WindowSize(
                        max_rows=recipe.window_bars, validation_fraction=recipe.validation_fraction, min_rows=100
                    )
                }
                window = build_window(features.loc[past.index], labels, as_of=as_of, columns=FEATURES, **options)
                before = time.process_time()
                model = algorithm(recipe.algorithm).fit(
                    TrainingContext(window, recipe.params, sizing=recipe.sizing, seed=recipe.seed)
                )
                seconds = time.process_time() - before
                fits += seconds
                tags = {
                    "model_id": f"{name}-{recipe_name}-{as_of:%Y%m%d}",
                    "recipe": recipe_name,
                    "as_of": as_of.isoformat(),
                }
                example = pd.DataFrame(window.full_x, window.full_times, list(FEATURES))
                registry.register(
                    name, NewVersion(model, recipe.algorithm, example, tags=tags, params=recipe.params,
                    metrics={**model.report, "fit_seconds": seconds}, started=pd.Timestamp.now("UTC")),
                )  # fmt: skip
    return time.process_time() - started, fits


def main() -> None:
    """Run both and print the table."""
    weeks = int(sys.argv[1]) if len(sys.argv) > 1 else 52
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        (home / "settings.yaml").write_text(yaml.safe_dump(SETTINGS))
        os.environ["QUANTUM_TRAINING_CONFIG"] = str(home / "settings.yaml")
        bare, bare_fits = bare_loop(home, load_settings(), weeks)
        platform_seconds = platform(home, weeks)
        print(f"{len(SYMBOLS)} symbols 1h, {weeks} weeks, 2 recipes, window {RECIPE['window_bars']} bars")
        print("| bare loop, s | of it fits, s | clm_cycle, s | ratio |\n| ---: | ---: | ---: | ---: |")
        print(f"| {bare:.1f} | {bare_fits:.1f} | {platform_seconds:.1f} | {platform_seconds / bare:.2f} |")
        print("\n".join((home / "log.txt").read_text().splitlines()[-4:]))


if __name__ == "__main__":
    main()
