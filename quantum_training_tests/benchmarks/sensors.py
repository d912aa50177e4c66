"""Seconds of a tick of every sensor over 500 symbols with five years of weekly records and daily drift reports each.

    python -m quantum_training_tests.benchmarks.sensors [symbols [years]]

The calm tick finds nothing to do; in the storm every symbol has SEVERE drift, a decayed champion and new bars. The
goal is below 2 s at 500 symbols. Wall time and, behind it, CPU time.
"""

import os
import shutil
import sys
import tempfile
import time
from itertools import product
from pathlib import Path

import dagster as dg
import pandas as pd
import yaml

from quantum_training.definitions import build_defs
from quantum_training.market.periods import month_of
from quantum_training.resources.events.bus import EventBus
from quantum_training.resources.events.payloads import DriftSignal, event
from quantum_training.resources.store.store import Store
from quantum_training.settings import load_settings

NOW = pd.Timestamp.now("UTC")
RECIPES = ("xgboost", "lightgbm")
COLUMN = {
    **dict.fromkeys(("fault", "untested", "psi", "usual_psi", "p", "q", "ks", "ks_p", "previous_psi", "previous_q")),
    **{"kind": "feature", "severity": "NONE", "drifted": False, "drifted_before": False, "reference_windows": 52},
    **{"differenced": False, "missing_share": 0.0, "first_bad_bar": None},
}
SPAN = {"bars": 0, "first_bar": None, "last_bar": None, "end": f"{NOW}"}
DRIFT = {
    **{"severity": "NONE", "outcome": "measured", "reason": "benchmark", "have": None, "need": None, "tested": 20},
    **{"rows": [], "recommendation": [], "rule": "calibrated", "window": SPAN, "reference": SPAN},
    "predictions": {"recipe": None, "end": f"{NOW}", "reason": "benchmark"},
}
DECAY = {"status": "NONE", "reason": "benchmark", "recipe": "xgboost", "office": None, "rule": "cusum", "week": ""}


def settings_of(symbols: list[str], start: str) -> dict:
    """A live synthetic market for each symbol from `start` on, two recipes."""
    recipe = {"label": {"kind": "forward_return", "horizon": 2}}
    market = {"source": {"kind": "synthetic", "start": start}, "timeframe": "1h", "recipes": [*RECIPES]}
    return {
        "start": start,
        "symbols": dict.fromkeys(symbols, market),
        "recipes": {name: {"algorithm": name, **recipe} for name in RECIPES},
        "retraining": {"daily_budget": 1000, "recipes": {"xgboost": {"every_bars": 24}}},
    }


def fill(store: Store, symbols: list[str], years: int) -> None:
    """Records as so many years leave them; all calm, and no bar that a version has not seen.

    The first symbol's are written, the others' are links to them: a million writes would take longer than all ticks.
    """
    days = pd.date_range(end=NOW.normalize(), periods=365 * years, freq="D").strftime("%Y-%m-%d")
    mondays = pd.date_range(end=NOW.normalize(), periods=52 * years + 1, freq="W-MON").strftime("%Y-%m-%d")
    bars = pd.date_range(NOW.floor("D").replace(day=1), NOW, freq="h")
    frame = pd.DataFrame(0.0, bars, [f"feature_{i}" for i in range(20)])
    rows = [COLUMN | {"column": f"feature_{i}"} for i in range(20)]
    first, *others = symbols
    store.write_frame("features", first, month_of(NOW), frame, {"covered_until": f"{mondays[-1]}T00:00:00+00:00"})
    for asset, periods, record in (("drift_report", days, DRIFT | {"rows": rows}), ("decay_report", mondays, DECAY)):
        for period in periods:
            store.write_record(asset, first, period, record)
    for recipe, week in product(RECIPES, mondays):
        versions = [{"as_of": f"{week}T00:00:00+00:00", "model_id": f"{recipe}{week}"}]
        store.write_record(f"{recipe}_model", first, week, {"versions": versions})
    for folder in Path(store.root).glob(f"*/{first}"):
        for symbol in others:
            shutil.copytree(folder, folder.with_name(symbol), copy_function=os.link)


def storm(store: Store, bus: EventBus, symbols: list[str]) -> None:
    """Everything at once, for every symbol."""
    bars = pd.date_range(NOW.floor("D").replace(day=1), NOW, freq="h")
    frame = pd.DataFrame(0.0, bars, [f"feature_{i}" for i in range(20)])
    week = (NOW - pd.Timedelta(days=NOW.weekday())).strftime("%Y-%m-%d")
    day = (NOW + pd.Timedelta(days=1)).strftime("%Y-%m-%d")
    for symbol in symbols:
        store.write_frame("features", symbol, month_of(NOW), frame, {"covered_until": NOW.isoformat()})
        store.write_record("drift_report", symbol, day, DRIFT | {"severity": "SEVERE"})
        store.write_record("decay_report", symbol, week, DECAY | {"status": "DECAYED"})
        signal = DriftSignal(severity="SEVERE", reason="storm", observed_at=NOW + pd.Timedelta(days=1))
        bus.inbox.receive([event(symbol, signal, "storm").model_dump_json()])


def main(count: int = 500, years: int = 5) -> None:
    """Print a row per sensor and weather."""
    symbols = [f"S{n:05}" for n in range(count)]
    with tempfile.TemporaryDirectory() as folder, dg.DagsterInstance.local_temp(folder) as instance:
        file = Path(folder) / "settings.yaml"
        start = NOW - pd.Timedelta(weeks=52 * years)
        file.write_text(yaml.safe_dump(settings_of(symbols, f"{start:%Y-%m-%d}")))
        os.environ["QUANTUM_TRAINING_CONFIG"] = str(file)
        definitions = build_defs(load_settings())
        store, bus = Store(root=f"{folder}/store"), EventBus(database_url=f"sqlite:///{folder}/events.db")
        fill(store, symbols, years)
        repository = definitions.get_repository_def()
        print(f"{count} symbols, {years} years: seconds (CPU seconds) of a sensor's tick\n")
        print("| weather | sensor | first | again | requests |\n| --- | --- | ---: | ---: | ---: |", flush=True)
        for weather, sensor in product(("calm", "storm"), repository.sensor_defs):
            if weather == "storm" and sensor is repository.sensor_defs[0]:
                storm(store, bus, symbols)
            seconds = []
            for _ in range(2):
                with dg.build_sensor_context(
                    instance, repository_def=repository, resources={"store": store, "events": bus}
                ) as context:
                    wall, cpu = time.perf_counter(), time.process_time()
                    data = sensor.evaluate_tick(context)
                    seconds.append(f"{time.perf_counter() - wall:.2f} ({time.process_time() - cpu:.2f})")
            print(
                f"| {weather} | `{sensor.name}` | {' | '.join(seconds)} | {len(data.run_requests or [])} |", flush=True
            )


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
