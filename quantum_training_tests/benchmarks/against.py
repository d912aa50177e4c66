"""This build beside an earlier one, by turns in one run: one symbol's run, a batch, a universe, weeks of BTC and ETH.

    git worktree add ../before REVISION
    python -m quantum_training_tests.benchmarks.against ../before [rounds] [weeks]

Both builds run in this environment. What an earlier build needs besides can be named in PYTHONPATH. Needs the real
candles (QT_CANDLES_DIR, else ../shared/candles). Seconds are CPU seconds of the processes with their start, but where
the table says otherwise; MB is the peak of resident memory. Prints medians, the range of the rounds and the ratio.
"""

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import dagster as dg
import yaml

from quantum_training.partitions import RANGE_TAGS
from quantum_training_tests.benchmarks import universe, weekly_cycle
from quantum_training_tests.support.platforms import LOCATION, Platform, launch
from quantum_training_tests.support.processes import wait_for

HERE = Path(__file__).parents[2]
MONTHS = ("2026-09-01", "2026-11-01")
BATCH = 20


class Cost(NamedTuple):
    """What a process took."""

    seconds: float
    megabytes: float


class Build:
    """A checkout, and runs of its jobs over homes of their own."""

    def __init__(self, root: Path) -> None:
        self.root = root.resolve()

    def environment(self, home: Path) -> dict[str, str]:
        paths = [str(self.root), *filter(None, [os.environ.get("PYTHONPATH")])]
        config = {"DAGSTER_HOME": str(home), "QUANTUM_TRAINING_CONFIG": str(home / "settings.yaml")}
        return {**os.environ, **config, "PYTHONPATH": os.pathsep.join(paths), "PYTHONWARNINGS": "ignore"}

    def home(self, folder: str, settings: Mapping[str, Any]) -> Path:
        home = Path(tempfile.mkdtemp(dir=folder))
        (home / "settings.yaml").write_text(yaml.safe_dump({**settings}))
        shutil.copy(self.root / "dagster_home" / "dagster.yaml", home)
        return home

    def execute(self, home: Path, job: str, config: Mapping[str, Any] | None = None, **tags: str) -> Cost:
        """Execute a job in a process of its own. RuntimeError with the end of its log if it fails."""
        (home / "config.yaml").write_text(yaml.safe_dump({**(config or {})}))
        command = [sys.executable, "-m", "dagster", "job", "execute", "-m", LOCATION, "-j", job]
        command += ["-c", str(home / "config.yaml"), "--tags", json.dumps(tags)]
        with (home / "log.txt").open("w") as log:
            process = subprocess.Popen(command, cwd=self.root, env=self.environment(home), stdout=log, stderr=log)
            _, status, usage = os.wait4(process.pid, 0)
        if status:
            raise RuntimeError((home / "log.txt").read_text()[-3000:])
        return Cost(usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


def one_symbol(build: Build, folder: str) -> dict[str, float]:
    """One run of a symbol's week in a process of its own, and one that a code server launches; nothing to fit."""
    home = build.home(folder, universe.settings(1))
    build.execute(home, "market_data", **partitions("S00000", *MONTHS))
    first = build.execute(home, "weekly_cycle", **partitions("S00000", universe.WEEK, universe.WEEK))
    again = build.execute(home, "weekly_cycle", **partitions("S00000", universe.WEEK, universe.WEEK))
    return {
        "first week of a symbol, own process": first.seconds,
        "a week with nothing to fit, own process": again.seconds,
        "the same, MB": again.megabytes,
        "the same, launched by a code server, seconds to its end": launched_seconds(build, home),
    }


def launched_seconds(build: Build, home: Path, runs: int = 3) -> float:
    """Wall seconds from launch to end of a week with nothing to fit, median of those after the first."""
    tags = {"dagster/partition": f"S00000|{universe.WEEK}"}
    tags |= {"dagster/partition/symbol": "S00000", "dagster/partition/week": universe.WEEK}
    os.environ["DAGSTER_HOME"] = str(home)  # dagster.yaml names it
    with ExitStack() as stack, dg.DagsterInstance.from_config(str(home)) as instance:
        platform = Platform(home, stack)
        platform.start(build.environment(home))
        platform.ready()
        seconds = []
        for _ in range(runs + 1):
            run_id = launch(platform.url, LOCATION, "weekly_cycle", {}, tags)
            wait_for("end", lambda run_id=run_id: instance.get_run_by_id(run_id).is_finished, 120, platform.log_tails)
            (starting,) = instance.all_logs(run_id, of_type=dg.DagsterEventType.RUN_STARTING)
            seconds.append(instance.get_run_record_by_id(run_id).end_time - starting.timestamp)
    return statistics.median(seconds[1:])


def many_symbols(build: Build, folder: str) -> dict[str, float]:
    """Market data and first week of one symbol of many: in a batch, or in processes of its own.

    Another symbol goes before, as it measures the skill of the recipes once for all.
    """
    home = build.home(folder, universe.settings(1 + BATCH))
    ranges = {"market_data": MONTHS, "weekly_cycle": (universe.WEEK, universe.WEEK)}

    def own_processes(symbol: str) -> float:
        return sum(build.execute(home, job, **partitions(symbol, *ends)).seconds for job, ends in ranges.items())

    def batches() -> float:
        seconds = 0.0
        for job, (first, last) in ranges.items():
            numbers = range(1, BATCH + 1)
            runs = [{"key": f"{job}{n}", "symbol": f"S{n:05}", "first": first, "last": last} for n in numbers]
            config = {"ops": {f"{job}_of_symbols": {"config": {"runs": runs}}}}
            seconds += build.execute(home, f"{job}_batch", config).seconds
        return seconds / BATCH

    own_processes("S00000")
    has_batches = (build.root / "quantum_training" / "automation" / "jobs" / "batches.py").exists()
    return {f"market data and week of one of {BATCH} symbols": batches() if has_batches else own_processes("S00001")}


def further_symbol(build: Build, folder: str) -> dict[str, float]:
    """The build's own benchmark of a universe of ten symbols in one process."""
    command = [sys.executable, "quantum_training_tests/benchmarks/universe.py", "10"]
    output = subprocess.run(
        command, cwd=build.root, env={**build.environment(Path(folder))}, capture_output=True, text=True, check=True
    ).stdout
    market, weekly = (float(cell) for cell in output.splitlines()[-1].split("|")[4:6])
    return {"market data and week of each further symbol, one process": market + weekly}


def weeks_of_crypto(weeks: int) -> Callable[[Build, str], dict[str, float]]:
    """`clm_cycle` over weeks of BTC and ETH with two recipes."""

    def measure(build: Build, folder: str) -> dict[str, float]:
        home = build.home(folder, weekly_cycle.SETTINGS)
        cost = build.execute(home, "clm_cycle", {"ops": {"run_cycle": {"config": {"weeks": weeks}}}})
        return {f"{weeks} weeks of BTC and ETH": cost.seconds, f"{weeks} weeks of BTC and ETH, MB": cost.megabytes}

    return measure


def partitions(symbol: str, first: str, last: str) -> dict[str, str]:
    """The tags of a run over these partitions of a symbol."""
    return dict(zip(RANGE_TAGS, (f"{symbol}|{first}", f"{symbol}|{last}"), strict=True))


def main(before: str, rounds: int = 3, weeks: int = 16) -> None:
    """Print a Markdown table; a line per round goes to stderr as it is measured."""
    builds = {"before": Build(Path(before)), "now": Build(HERE)}
    measured: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    started = time.monotonic()
    for number in range(rounds):
        for scenario in (one_symbol, many_symbols, further_symbol, weeks_of_crypto(weeks)):
            for name, build in builds.items():
                with tempfile.TemporaryDirectory() as folder:
                    for what, value in scenario(build, folder).items():
                        measured[what][name].append(value)
                        line = f"{time.monotonic() - started:6.0f} s, round {number + 1}: {name}, {what}: {value:.2f}"
                        print(line, file=sys.stderr, flush=True)
    print("| | before | now | now / before |\n| --- | ---: | ---: | ---: |")
    for what, values in measured.items():
        cells = [f"{statistics.median(values[n]):.2f} ({min(values[n]):.2f} to {max(values[n]):.2f})" for n in builds]
        ratio = statistics.median(values["now"]) / statistics.median(values["before"])
        print(f"| {what} | {' | '.join(cells)} | {ratio:.2f} |", flush=True)


if __name__ == "__main__":
    main(sys.argv[1], *(int(argument) for argument in sys.argv[2:]))
