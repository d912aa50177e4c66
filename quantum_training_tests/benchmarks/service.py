"""The service under load: answer times of its reads, start, memory, and the rate beside Dagster's GraphQL.

`python -m quantum_training_tests.benchmarks.service DEMO_HOME`: the DAGSTER_HOME that `make demo` left. Its records are
copied into a store of 100 symbols and 156 weeks, which a real process serves to 50 clients on the same machine.
Dagster's webserver answers for the demo itself, which is a hundredth of that.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import pandas as pd
import yaml

from quantum_training_tests.support.processes import free_port, healthy, wait_for

SYMBOLS, WEEKS, CLIENTS, REQUESTS = 100, 156, 50, 2_000
FIRST_WEEK = pd.Timestamp("2016-01-04")
MODEL, ASSETS = "SYNTHETIC", ("backtest", "champion", "decay_report", "rollout", "xgboost_hourly_model")
READS = (
    "symbols?limit=20",
    "symbols/{}",
    "champions/{}",
    "leaderboard/{}",
    "metrics/{}",
    "rollout/{}",
    "ledger/{}",
    "signals",
)
QUERY = """{ assetOrError(assetKey: {path: ["champion"]}) { ... on Asset {
  assetMaterializations(limit: 1, partitions: ["SP500|2018-12-31"]) { metadataEntries { label description } } } } }"""


def main() -> None:
    demo = Path(sys.argv[1]).absolute()
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        home = Path(folder)
        names = copied_records(demo, home)
        url, seconds, process = stack.enter_context(serving(home, home / "settings.yaml"))
        print(f"{SYMBOLS} symbols x {WEEKS} weeks, {CLIENTS} clients, {REQUESTS} requests of each address")
        print(f"start {seconds:.1f} s; idle memory {memory(process):.0f} MB")
        for address in READS:
            first = asked(f"{url}/api/v2/{address.format(names[0])}")
            times, rate = load([f"{url}/api/v2/{address.format(name)}" for name in names])
            cuts = statistics.quantiles(times, n=100)
            quick, slow = cuts[49] * 1e3, cuts[98] * 1e3
            print(f"{address:18} first {first * 1e3:6.0f} ms, p50 {quick:6.1f}, p99 {slow:6.1f}; {rate:5.0f} a second")
        print(f"memory afterwards {memory(process):.0f} MB")
        _, ours = load([f"{url}/api/v2/champions/{names[0]}?limit=1"])
        theirs = stack.enter_context(dagster(demo))
        _, dagsters = load([theirs], 200, body={"query": QUERY})
        print(f"one decision: {ours:.0f} a second, Dagster's GraphQL {dagsters:.0f}: {ours / dagsters:.0f} times")


def copied_records(demo: Path, home: Path) -> list[str]:
    """A store of many symbols, each with the demo's records again and again, and its settings. Returns their names."""
    names = [f"S{number:03}" for number in range(SYMBOLS)]
    weeks = [f"{FIRST_WEEK + pd.Timedelta(weeks=n):%Y-%m-%d}" for n in range(WEEKS)]
    for asset in ASSETS:
        sources = sorted((demo / "store" / asset / MODEL).glob("*.json"))
        for name in names:
            folder = home / "store" / asset / name
            folder.mkdir(parents=True)
            for number, week in enumerate(weeks):
                record = json.loads(sources[number % len(sources)].read_text())
                (folder / f"{week}.json").write_text(
                    json.dumps({**record, **({"week": week} if "week" in record else {})})
                )
    for asset in ("candles", "features", "signals"):
        for name in names:
            shutil.copytree(demo / "store" / asset / MODEL, home / "store" / asset / name)
    settings = yaml.safe_load((demo / "demo_settings.yaml").read_text())
    (home / "settings.yaml").write_text(
        yaml.safe_dump({**settings, "symbols": dict.fromkeys(names, settings["symbols"][MODEL])})
    )
    return names


@contextmanager
def serving(home: Path, settings: Path) -> Iterator[tuple[str, float, int]]:
    """The service over a home: its address, the seconds until it answered, and its process."""
    port, begun = free_port(), time.perf_counter()
    unlimited = {"QUANTUM_TRAINING_SERVICE__REQUESTS_PER_MINUTE": "1000000"}
    environment = {**os.environ, "DAGSTER_HOME": str(home), "QUANTUM_TRAINING_CONFIG": str(settings), **unlimited}
    command = [sys.executable, "-m", "quantum_training.service", "--port", str(port)]
    process = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
    try:
        wait_for("the service", lambda: healthy(f"http://127.0.0.1:{port}/alive"), 60)
        yield f"http://127.0.0.1:{port}", time.perf_counter() - begun, process.pid
    finally:
        process.terminate()
        process.wait(30)


@contextmanager
def dagster(home: Path) -> Iterator[str]:
    """Dagster's webserver over a home: the address of its GraphQL."""
    port = free_port()
    environment = {**os.environ, "DAGSTER_HOME": str(home), "QUANTUM_TRAINING_CONFIG": str(home / "demo_settings.yaml")}
    program = str(Path(sys.executable).with_name("dagster-webserver"))
    command = [program, "-m", "quantum_training.definitions", "-h", "127.0.0.1", "-p", str(port)]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_for("the webserver", lambda: healthy(f"http://127.0.0.1:{port}/server_info"), 90)
        yield f"http://127.0.0.1:{port}/graphql"
    finally:
        process.terminate()
        process.wait(30)


def asked(url: str) -> float:
    """Seconds until the first answer, which nobody has asked for before."""
    begun = time.perf_counter()
    httpx.get(url, timeout=60).raise_for_status()
    return time.perf_counter() - begun


def load(urls: list[str], requests: int = REQUESTS, body: dict[str, str] | None = None) -> tuple[list[float], float]:
    """The seconds of each answer after one round that is not counted, and answers a second."""

    def ask(number: int) -> list[float]:
        times = []
        with httpx.Client(timeout=60) as client:
            for turn in range(requests // CLIENTS):
                url, begun = urls[(number + turn * CLIENTS) % len(urls)], time.perf_counter()
                answer = client.post(url, json=body) if body else client.get(url)
                answer.raise_for_status()
                times.append(time.perf_counter() - begun)
        return times

    for url in urls:
        httpx.request("POST" if body else "GET", url, json=body, timeout=60)
    begun = time.perf_counter()
    with ThreadPoolExecutor(CLIENTS) as pool:
        times = [seconds for of_client in pool.map(ask, range(CLIENTS)) for seconds in of_client]
    return times, len(times) / (time.perf_counter() - begun)


def memory(process: int) -> float:
    """Resident memory in MB."""
    (line,) = [line for line in Path(f"/proc/{process}/status").read_text().split("\n") if line.startswith("VmRSS")]
    return int(line.split()[1]) / 1024


if __name__ == "__main__":
    main()
