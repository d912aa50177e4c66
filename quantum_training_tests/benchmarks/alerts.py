"""Processor seconds of a tick of both sensors of failures, with a day's checks of many symbols and a storm of runs.

    python -m quantum_training_tests.benchmarks.alerts [symbols] [checks of each]

The calm tick finds nothing new; in the day every symbol's checks have passed but for one in fifty; in the storm every
symbol's run failed of the same cause. The goal is below 2 s a tick with 500 symbols.
"""

import logging
import os
import sys
import tempfile
import time
from pathlib import Path

import dagster as dg
import yaml
from dagster._core.definitions.asset_checks.asset_check_evaluation import AssetCheckEvaluation
from dagster._core.events import DagsterEvent
from dagster._core.events.log import EventLogEntry
from dagster._core.instance import RUNLESS_JOB_NAME, RUNLESS_RUN_ID

from quantum_training.automation.failures import sensors
from quantum_training.resources.events.bus import EventBus
from quantum_training.settings import load_settings


def settings_of(symbols: list[str], folder: str) -> dict:
    market = {"source": {"kind": "synthetic", "start": "2023-01-01"}, "timeframe": "1h", "recipes": ["xgboost"]}
    return {
        "start": "2023-01-01",
        "symbols": dict.fromkeys(symbols, market),
        "recipes": {"xgboost": {"algorithm": "xgboost", "label": {"kind": "forward_return", "horizon": 2}}},
        "database_url": f"sqlite:///{folder}/alerts.db",
    }


def evaluate(instance: dg.DagsterInstance, symbols: list[str], checks: int) -> None:
    """A day's evaluations, as they lie in Dagster's index of events; written by one connection, to have them soon."""
    storage = instance.event_log_storage
    with storage.index_connection() as connection:
        for number, symbol in enumerate(symbols):
            for check in range(checks):
                evaluation = AssetCheckEvaluation(
                    asset_key=dg.AssetKey("candles"),
                    check_name=f"check_{check}",
                    passed=(number + check) % 50 > 0,
                    metadata={f"figure_{i}": float(i) for i in range(10)},
                    partition=f"{symbol}|2026-01-05",
                    description=f"{symbol}|2026-01-05: figure {number} is out of bounds; materialise candles again",
                )
                kind = dg.DagsterEventType.ASSET_CHECK_EVALUATION
                event = DagsterEvent(kind.value, RUNLESS_JOB_NAME, event_specific_data=evaluation)
                entry = EventLogEntry(
                    None, logging.INFO, "", RUNLESS_RUN_ID, time.time() - 60, None, RUNLESS_JOB_NAME, event
                )
                connection.execute(storage.prepare_insert_event(entry))


def fail(instance: dg.DagsterInstance, symbols: list[str]) -> None:
    for symbol in symbols:
        run = dg.DagsterRun(job_name="weekly_cycle", tags={"symbol": symbol}, status=dg.DagsterRunStatus.STARTED)
        instance.run_storage.add_run(run)
        instance.report_run_failed(run, "Exceeded maximum runtime of 3600 seconds.")


def main() -> None:
    symbols = [f"S{n:03}" for n in range(int(sys.argv[1]) if len(sys.argv) > 1 else 500)]
    checks = int(sys.argv[2]) if len(sys.argv) > 2 else 25
    sensors.SETTLE_SECONDS = 0
    with tempfile.TemporaryDirectory() as folder, dg.DagsterInstance.local_temp(folder) as instance:
        file = Path(folder) / "settings.yaml"
        file.write_text(yaml.safe_dump(settings_of(symbols, folder)))
        os.environ["QUANTUM_TRAINING_CONFIG"] = str(file)
        settings = load_settings()
        bus, cursors = EventBus(database_url=settings.database_url), dict[str, str | None]()

        def ticks(when: str) -> None:
            for sensor in sensors.build_failure_sensors(settings):
                seconds, summary = [], ""
                while summary not in ("nothing new", sensors.FIRST_TICK):
                    with dg.build_sensor_context(
                        instance, cursor=cursors.get(sensor.name), resources={"events": bus}
                    ) as context:
                        started = time.process_time()
                        data = sensor.evaluate_tick(context)
                        seconds.append(time.process_time() - started)
                    moved = data.cursor != cursors.get(sensor.name)
                    cursors[sensor.name] = data.cursor
                    summary = data.skip_message if not moved or data.skip_message == sensors.FIRST_TICK else ""
                print(f"{when:6} {sensor.name:22} {len(seconds):3} ticks, the longest {max(seconds):6.3f} s")

        print(f"{len(symbols)} symbols x {checks} checks")
        ticks("first")
        ticks("calm")
        evaluate(instance, symbols, checks)
        ticks("day")
        fail(instance, symbols)
        ticks("storm")
        ticks("calm")


if __name__ == "__main__":
    main()
