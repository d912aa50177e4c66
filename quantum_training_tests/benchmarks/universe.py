"""One weekly cycle over 10, 30 and 100 synthetic symbols with two recipes: time and memory per symbol.

    python -m quantum_training_tests.benchmarks.universe [symbols ...]

Each universe is one `clm_cycle` in a process of its own, over a fresh SQLite home, as the line for CI runs it. Time is
CPU time, so that a busy machine changes little; memory is the process's resident set after each symbol's runs.
"""

import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path

import dagster as dg
import yaml

ROOT = Path(__file__).parents[2]
RECIPES = ("xgboost", "lightgbm")
START, WEEK = "2026-09-01", "2026-11-16"
JOBS = ("market_data", "weekly_cycle")


def settings(symbols: int) -> dict:
    """Hourly bars of so many synthetic symbols, two recipes at their defaults on 500 bars."""
    source = {"kind": "synthetic", "start": START, "end": WEEK}
    market = {"source": source, "timeframe": "1h", "recipes": [*RECIPES]}
    recipe = {"label": {"kind": "forward_return", "horizon": 2}, "window_bars": 500}
    return {
        "start": START,
        "symbols": {f"S{n:05}": market for n in range(symbols)},
        "recipes": {name: {"algorithm": name, **recipe} for name in RECIPES},
    }


def resident() -> float:
    """Memory of this process now, in MB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


def cycle() -> dict:
    """Run the settings in force. CPU seconds of each symbol by job, and MB after each run."""
    from quantum_training.automation.jobs import full_cycle
    from quantum_training.definitions import defs

    seconds, memory = defaultdict(list), defaultdict(list)
    inner = full_cycle.run_nested

    def measured(context, job, run):
        started = time.process_time()
        inner(context, job, run)
        seconds[job.name].append(time.process_time() - started)
        memory[job.name].append(resident())

    full_cycle.run_nested = measured
    started = time.process_time()
    with dg.DagsterInstance.get() as instance:
        config = {"ops": {"run_cycle": {"config": {"week": WEEK}}}}
        result = defs.resolve_job_def("clm_cycle").execute_in_process(instance=instance, run_config=config)
        assert result.success
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"whole": time.process_time() - started, "seconds": seconds, "memory": memory, "peak": peak}


def child(symbols: int) -> dict:
    """What a process of its own measures over a fresh home."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        (home / "settings.yaml").write_text(yaml.safe_dump(settings(symbols)))
        (home / "dagster.yaml").write_text((ROOT / "dagster_home" / "dagster.yaml").read_text())
        env = {**os.environ, "DAGSTER_HOME": folder, "QUANTUM_TRAINING_CONFIG": str(home / "settings.yaml")}
        command = [sys.executable, "-W", "ignore", __file__, "child"]
        done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(done.stderr[-3000:])
        return json.loads(done.stdout.splitlines()[-1])


def main(sizes: list[int]) -> None:
    """Print a table with a row per universe. The first symbol pays for imports, compilers and the leak sentinel."""
    print("CPU seconds, and MB resident\n")
    heads = (
        "symbols",
        "whole",
        "first symbol",
        *(f"{job} of each other" for job in JOBS),
        "of the last ten",
        "peak MB",
    )
    print("| " + " | ".join(heads) + " |\n|" + " ---: |" * len(heads), flush=True)
    for size in sizes:
        measurement = child(size)
        market, weekly = (measurement["seconds"][job] for job in JOBS)
        numbers = (
            measurement["whole"],
            market[0] + weekly[0],
            *(statistics.mean(spent[1:]) for spent in (market, weekly)),
            statistics.mean(weekly[-10:] if size > 10 else weekly[1:]),
        )
        row = " | ".join(f"{number:.2f}" for number in numbers)
        print(f"| {size} | {row} | {measurement['peak']:.0f} |", flush=True)
        if "--raw" in sys.argv:
            print(json.dumps(measurement))


if __name__ == "__main__":
    if sys.argv[1:2] == ["child"]:
        print(json.dumps(cycle()))
    else:
        main([int(size) for size in sys.argv[1:] if size.isdigit()] or [10, 30, 100])
