"""Seconds of a tick of every sensor over 100 symbols with three years of weeks and a year of drift reports each.

    python quantum_training_tests/benchmarks/sensors.py [symbols]

The calm tick finds nothing to do; in the storm every symbol has SEVERE drift, a decayed champion and new bars. The
goal is below 1 s at 100 symbols.
"""

import os
import sys
import tempfile
import time
from pathlib import Path

import dagster as dg
import pandas as pd
import yaml

from quantum_training.assets.loop import month_of
from quantum_training.definitions import build_defs
from quantum_training.resources.events.bus import EventBus
from quantum_training.resources.events.payloads import DriftSignal, event
from quantum_training.resources.store import Store
from quantum_training.settings import load_settings

NOW = pd.Timestamp.now("UTC")
RECIPES = ("xgboost", "lightgbm")


def settings_of(symbols: list[str]) -> dict:
    recipe = {"label": {"kind": "forward_return", "horizon": 2}}
    market = {"source": {"kind": "synthetic", "start": "2023-01-01"}, "timeframe": "1h", "recipes": [*RECIPES]}
    return {
        "start": "2023-01-01",
        "symbols": dict.fromkeys(symbols, market),
        "recipes": {name: {"algorithm": name, **recipe} for name in RECIPES},
        "retraining": {"daily_budget": 1000, "recipes": {"xgboost": {"every_bars": 24}}},
    }


def fill(store: Store, symbols: list[str]) -> None:
    """Records as three years leave them; all calm, and no bar that a version has not seen."""
    days = pd.date_range(end=NOW.normalize(), periods=365, freq="D").strftime("%Y-%m-%d")
    mondays = pd.date_range(end=NOW.normalize(), periods=157, freq="W-MON").strftime("%Y-%m-%d")
    bars = pd.date_range(NOW.floor("D").replace(day=1), NOW, freq="h")
    frame = pd.DataFrame(0.0, bars, [f"feature_{i}" for i in range(20)])
    rows = [{"column": f"feature_{i}", "fault": None, "severity": "NONE"} for i in range(20)]
    for symbol in symbols:
        store.write_frame("features", symbol, month_of(NOW), frame, {"covered_until": f"{mondays[-1]}T00:00:00+00:00"})
        for day in days:
            store.write_record("drift_report", symbol, day, {"severity": "NONE", "reason": "calm", "rows": rows})
        for week in mondays:
            store.write_record("decay_report", symbol, week, {"status": "NONE", "reason": "calm", "recipe": "xgboost"})
            for recipe in RECIPES:
                versions = [{"as_of": f"{week}T00:00:00+00:00", "model_id": f"{recipe}{week}"}]
                store.write_record(f"{recipe}_model", symbol, week, {"versions": versions})


def storm(store: Store, bus: EventBus, symbols: list[str]) -> None:
    """Everything at once, for every symbol."""
    bars = pd.date_range(NOW.floor("D").replace(day=1), NOW, freq="h")
    frame = pd.DataFrame(0.0, bars, [f"feature_{i}" for i in range(20)])
    week = (NOW - pd.Timedelta(days=NOW.weekday())).strftime("%Y-%m-%d")
    day = (NOW + pd.Timedelta(days=1)).strftime("%Y-%m-%d")
    report = {"severity": "SEVERE", "reason": "storm", "rows": []}
    for symbol in symbols:
        store.write_frame("features", symbol, month_of(NOW), frame, {"covered_until": NOW.isoformat()})
        store.write_record("drift_report", symbol, day, report)
        store.write_record("decay_report", symbol, week, {"status": "DECAYED", "reason": "storm", "recipe": "xgboost"})
        signal = DriftSignal(severity="SEVERE", reason="storm", observed_at=NOW + pd.Timedelta(days=1))
        bus.receive([event(symbol, signal, "storm").model_dump_json()])


def main() -> None:
    symbols = [f"S{n:03}" for n in range(int(sys.argv[1]) if len(sys.argv) > 1 else 100)]
    with tempfile.TemporaryDirectory() as folder, dg.DagsterInstance.local_temp(folder) as instance:
        file = Path(folder) / "settings.yaml"
        file.write_text(yaml.safe_dump(settings_of(symbols)))
        os.environ["QUANTUM_TRAINING_CONFIG"] = str(file)
        definitions = build_defs(load_settings())
        store, bus = Store(root=f"{folder}/store"), EventBus(database_url=f"sqlite:///{folder}/events.db")
        fill(store, symbols)
        sensors = definitions.get_repository_def().sensor_defs
        print(f"{len(symbols)} symbols      {'first':>8} {'again':>8} s   requests")
        for weather in ("calm", "storm"):
            if weather == "storm":
                storm(store, bus, symbols)
            for sensor in sensors:
                seconds = []
                for _ in range(2):
                    with dg.build_sensor_context(
                        instance,
                        repository_def=definitions.get_repository_def(),
                        resources={"store": store, "events": bus},
                    ) as context:
                        started = time.perf_counter()
                        data = sensor(context)
                        seconds.append(time.perf_counter() - started)
                requests = len(getattr(data, "run_requests", None) or [])
                print(f"{weather:6} {sensor.name:26} {seconds[0]:8.3f} {seconds[1]:8.3f}     {requests}")


if __name__ == "__main__":
    main()
