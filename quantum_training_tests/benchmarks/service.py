"""The service under load: answer times of its reads, start, memory, its pages, and its rate beside Dagster's GraphQL.

    python -m quantum_training_tests.benchmarks.service DEMO_HOME

DEMO_HOME is the DAGSTER_HOME that `make demo` left. A real process serves a home of 100 symbols and 156 weeks, made
of the demo's records, to 50 clients on the same machine. An answer is fresh if nobody has asked for it before, and
kept if somebody has. Open: each client asks once a second, for another symbol each time. Closed: each asks
as soon as it is answered, so a time is that of 50 answers in a row. Dagster's webserver answers for the demo itself.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx

from quantum_training_tests.benchmarks.http_load import closed_loop, open_loop, request_to
from quantum_training_tests.benchmarks.service_home import make_home
from quantum_training_tests.support.browser import chromium
from quantum_training_tests.support.processes import free_port, healthy, wait_for

SYMBOLS, WEEKS, CLIENTS, OPEN_RATE, ANSWERS = 100, 156, 50, 50, 200
ROWS = 200
"""Symbols of the overview."""
OF_SYMBOL = (
    "symbols",
    "champions",
    "leaderboard",
    "metrics",
    "equity",
    "trades",
    "drift",
    "decay",
    "rollout",
    "ledger",
)
WITH_SYMBOL = ("versions", "campaigns", "signals", "trainings", "events")
OF_ALL = ("symbols", "recipes", "versions", "champions", "campaigns", "drift", "decay", "rollout", "signals", "events",
          "trainings")  # fmt: skip
QUERY = """{ assetOrError(assetKey: {path: ["champion"]}) { ... on Asset {
  assetMaterializations(limit: 1, partitions: ["SP500|2018-12-31"]) { metadataEntries { label description } } } } }"""


def main() -> None:
    demo = Path(sys.argv[1]).absolute()
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        home = Path(folder)
        names = make_home(demo, home, SYMBOLS, WEEKS)
        url, seconds, process = stack.enter_context(serving(home, home / "settings.yaml"))
        print(f"{SYMBOLS} symbols x {WEEKS} weeks, {CLIENTS} clients; load of the machine {os.getloadavg()[0]:.1f}")
        print(f"start {seconds:.2f} s; idle memory {memory(process):.0f} MB")
        print(f"{'':20} fresh, ms   {OPEN_RATE} a second, ms        closed loop")
        print(f"{'GET /api/v2':20} p50   p99   p50   p99   kept p99     p99 ms  a second")
        addresses = [f"{name}/{{}}" for name in OF_SYMBOL] + [f"{name}?symbol={{}}" for name in WITH_SYMBOL]
        for address in (*addresses, *OF_ALL):
            row(url, address, [f"{url}/api/v2/{address.format(name)}" for name in names])
        for page in ("", "symbols/{}"):
            row(url, f"page /{page}", [f"{url}/{page.format(name)}" for name in names])
        print(f"memory afterwards {memory(process):.0f} MB")
        ours = closed_loop(url, [request_to(f"{url}/api/v2/champions/{names[0]}?limit=1")], CLIENTS, 5_000).rate
        theirs = stack.enter_context(dagster(demo))
        dagsters = closed_loop(theirs, [request_to(theirs, {"query": QUERY})], CLIENTS, 200).rate
        print(f"one decision: {ours:.0f} a second, Dagster's GraphQL {dagsters:.0f}: {ours / dagsters:.0f} times")
    overview(demo)


def row(url: str, title: str, urls: list[str]) -> None:
    """Measure an address and print its row."""
    requests = [request_to(address) for address in dict.fromkeys(urls)]
    fresh = closed_loop(url, requests, 1, len(requests))
    opened = open_loop(url, requests, CLIENTS, ANSWERS, OPEN_RATE)
    kept = open_loop(url, requests[:1], CLIENTS, ANSWERS, OPEN_RATE)
    closed = closed_loop(url, requests, CLIENTS, ANSWERS)
    times = [load.milliseconds(share) for load in (fresh, opened) for share in (0.5, 0.99)]
    numbers = " ".join(f"{value:5.0f}" if value >= 100 else f"{value:5.1f}" for value in times)
    print(f"{title:20} {numbers} {kept.milliseconds(0.99):8.1f} {closed.milliseconds(0.99):10.1f} {closed.rate:8.0f}")


def overview(demo: Path) -> None:
    """The overview of many symbols: its answer, and until Chromium has rendered it after that."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        make_home(demo, home, ROWS, 52)
        with serving(home, home / "settings.yaml") as (url, _, _):
            times = []
            for _ in range(2):
                begun = time.perf_counter()
                httpx.get(url, timeout=60).raise_for_status()
                times.append(time.perf_counter() - begun)
            print(f"overview of {ROWS} symbols: first answer {times[0]:.2f} s, then {times[1] * 1e3:.0f} ms", end="; ")
            with chromium(home / "profile") as page:
                page.open(f"{url}/")
                rendered = page.evaluate(
                    "performance.getEntriesByType('navigation').map(n => n.loadEventEnd - n.responseEnd)[0]"
                )
                print(f"rendered {rendered:.0f} ms after its answer")


@contextmanager
def serving(home: Path, settings: Path) -> Iterator[tuple[str, float, int]]:
    """The service over a home: its address, the seconds until it answered, and its process."""
    port, begun = free_port(), time.perf_counter()
    unlimited = {"QUANTUM_TRAINING_SERVICE__REQUESTS_PER_MINUTE": "100000000"}
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


def memory(process: int) -> float:
    """Resident memory in MB."""
    (line,) = [line for line in Path(f"/proc/{process}/status").read_text().split("\n") if line.startswith("VmRSS")]
    return int(line.split()[1]) / 1024


if __name__ == "__main__":
    main()
