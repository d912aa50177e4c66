"""How much 20 viewers of the dashboard slow a weekly cycle: the same cycle by turns with and without them.

    python -m quantum_training_tests.benchmarks.viewers

Each cycle runs the weeks of SYNTHETIC, of the demo's settings, in a home of its own that the service shows; it runs
beside every cycle. A viewer opens the overview and the symbol's page every 10 s.
"""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import yaml

from quantum_training_tests.benchmarks.http_load import open_loop, request_to
from quantum_training_tests.benchmarks.service import serving
from quantum_training_tests.support.processes import program

ROOT = Path(__file__).parents[2]
VIEWERS, EVERY_SECONDS, PAGES, PAIRS, WEEKS = 20, 10, 2, 3, 6
CONFIG = {"ops": {"run_cycle": {"config": {"symbols": ["SYNTHETIC"], "week": "latest", "weeks": WEEKS}}}}


def main() -> None:
    print(f"load of the machine {os.getloadavg()[0]:.1f}")
    cycle(viewers=0)  # imports and compiled kernels are read from the disk
    seconds: dict[int, list[float]] = {0: [], VIEWERS: []}
    for _ in range(PAIRS):
        for viewers, runs in seconds.items():
            runs.append(cycle(viewers))
    for viewers, runs in seconds.items():
        print(f"{viewers:2} viewers: {', '.join(f'{run:.1f}' for run in runs)} s; median {statistics.median(runs):.1f}")
    alone, beside = (statistics.median(runs) for runs in seconds.values())
    print(f"slower by {beside / alone - 1:.1%}; the runs without viewers differ by {_spread(seconds[0]):.1%}")


def cycle(viewers: int) -> float:
    """The seconds of a cycle in a new home."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        shutil.copy(ROOT / "dagster_home/dagster.yaml", home)
        settings, config = home / "settings.yaml", home / "cycle.yaml"
        shutil.copy(ROOT / "dagster_home/demo_settings.yaml", settings)
        config.write_text(yaml.safe_dump(CONFIG))
        environment = {**os.environ, "DAGSTER_HOME": str(home), "QUANTUM_TRAINING_CONFIG": str(settings)}
        command = [program("dagster"), "job", "execute", "-m", "quantum_training.definitions", "-j", "clm_cycle"]
        ended: list[float] = []
        with serving(home, settings) as (url, _, _), ThreadPoolExecutor(1) as pool:
            begun = time.perf_counter()
            run = pool.submit(subprocess.run, [*command, "-c", str(config)], env=environment, capture_output=True)
            run.add_done_callback(lambda _: ended.append(time.perf_counter()))
            while viewers and not run.done():
                look(url)
            run.result().check_returncode()
            return ended[0] - begun


def look(url: str) -> None:
    """What all viewers ask in two seconds."""
    requests, rate = [request_to(f"{url}/"), request_to(f"{url}/symbols/SYNTHETIC")], VIEWERS * PAGES / EVERY_SECONDS
    open_loop(url, requests, 4, round(2 * rate), rate)


def _spread(runs: list[float]) -> float:
    return (max(runs) - min(runs)) / statistics.median(runs)


if __name__ == "__main__":
    main()
