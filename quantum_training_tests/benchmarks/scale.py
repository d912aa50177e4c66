"""What 500 symbols with five years of weeks cost: definitions, ticks of schedules, the asset page in the Dagster UI.

    python -m quantum_training_tests.benchmarks.scale [--symbols 500] [--picture FILE.png]

The page is that of `champion`, with every one of its partitions materialised, as a real webserver answers what the UI
asks; the ticks go through the code server, as the daemon's do. CPU seconds are those of the processes asked, so that
a busy machine changes little. Ticks of sensors: sensors.py; the weekly cycle: universe.py. --picture: the page as
Chromium shows it.
"""

import argparse
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from contextlib import contextmanager
from pathlib import Path

import dagster as dg
import pandas as pd
import yaml
from dagster._core.storage.event_log.schema import SqlEventLogStorageTable

from quantum_training.definitions import build_defs
from quantum_training.market.periods import week_of
from quantum_training.settings import load_settings
from quantum_training_tests.benchmarks import sensors

ROOT = Path(__file__).parents[2]
YEARS = 5
ASSET = "champion"
LOAD = "import quantum_training.definitions as d; d.defs.get_repository_def()"
HEALTH = """query($key: AssetKeyInput!) { assetNodeOrError(assetKey: $key) { ... on AssetNode {
  partitionKeysByDimension { name type partitionKeys }
  assetPartitionStatuses { ... on MultiPartitionStatuses { primaryDimensionName ranges {
    primaryDimStartKey primaryDimEndKey secondaryDim {
      ... on TimePartitionStatuses { ranges { status startKey endKey } }
      ... on DefaultPartitionStatuses { materializedPartitions failedPartitions } } } } } } } }"""
OVERVIEW = """query($key: AssetKeyInput!) { assetNodeOrError(assetKey: $key) { ... on AssetNode {
  partitionStats { numPartitions numMaterialized numFailed }
  assetMaterializations(limit: 100) { partition timestamp metadataEntries { label } } } } }"""
SELECTOR = {"repositoryLocationName": "quantum_training.definitions", "repositoryName": "__repository__"}
SCHEDULE = """mutation($selector: ScheduleSelector!, $time: Float) {
  scheduleDryRun(selectorData: $selector, timestamp: $time) { __typename ... on PythonError { message }
    ... on DryRunInstigationTick { evaluationResult { runRequests { runKey } error { message } } } } }"""


def cpu_of(group: int) -> float:
    """CPU seconds so far of the living processes of a process group."""
    ticks = 0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:  # it has just ended
            continue
        if int(fields[2]) == group:
            ticks += sum(map(int, fields[11:15]))
    return ticks / os.sysconf("SC_CLK_TCK")


@contextmanager
def webserver(home: Path):
    """A webserver with its code server; gives `graphql(query, variables)` and the address."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    server = Path(sys.executable).with_name("dagster-webserver")
    command = [server, "-m", "quantum_training.definitions", "-p", str(port)]
    with (home / "webserver.log").open("w") as log:
        process = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log, start_new_session=True)
    address = f"http://127.0.0.1:{port}"

    def graphql(query: str, variables: dict) -> tuple[dict, str]:
        data = json.dumps({"query": query, "variables": variables}).encode()
        request = urllib.request.Request(f"{address}/graphql", data, {"Content-Type": "application/json"})
        wall, cpu = time.perf_counter(), cpu_of(process.pid)
        with urllib.request.urlopen(request, timeout=300) as answer:
            body = answer.read()
        seconds = f"{time.perf_counter() - wall:.2f} ({cpu_of(process.pid) - cpu:.2f})"
        answer = json.loads(body)
        if "errors" in answer:
            raise RuntimeError(answer["errors"])
        return answer["data"], seconds

    try:
        for _ in range(600):
            try:
                graphql("{ version }", {})
                break
            except (urllib.error.URLError, ConnectionError):
                time.sleep(0.5)
        yield graphql, address
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(30)


def materialise(instance: dg.DagsterInstance, keys: Sequence[dg.MultiPartitionKey]) -> None:
    """Store a materialisation of every partition, as so many runs would leave them.

    Dagster makes the first row; the others are its copies under other names, since 130,000 of them one by one would
    take longer than all that is measured.
    """
    storage, first = instance.event_log_storage, keys[0]
    metadata = {"verdict": "KEEP", "reason": "no challenger has crossed its boundary", "champion": "xgboost"}
    instance.report_runless_asset_event(dg.AssetMaterialization(ASSET, partition=first, metadata=metadata))
    with storage.index_connection() as connection:
        (row,) = connection.execute(SqlEventLogStorageTable.select()).mappings()
        columns = {name: value for name, value in row.items() if name != "id"}
        copies = [
            {**columns, "partition": str(key), "event": event_of(columns["event"], first, key)} for key in keys[1:]
        ]
        connection.execute(SqlEventLogStorageTable.insert(), copies)


def event_of(event: str, first: dg.MultiPartitionKey, key: dg.MultiPartitionKey) -> str:
    """A serialised event of one partition, as that of another."""
    for old, new in ((first, key), *zip(first.keys_by_dimension.values(), key.keys_by_dimension.values(), strict=True)):
        event = event.replace(f'"{old}"', f'"{new}"')
    return event


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--symbols", type=int, default=500)
    parser.add_argument("--picture", type=Path)
    arguments = parser.parse_args()
    symbols = [f"S{n:05}" for n in range(arguments.symbols)]
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        start = pd.Timestamp.now() - pd.Timedelta(weeks=52 * YEARS)
        (home / "settings.yaml").write_text(yaml.safe_dump(sensors.settings_of(symbols, f"{start:%Y-%m-%d}")))
        (home / "dagster.yaml").write_text((ROOT / "dagster_home" / "dagster.yaml").read_text())
        os.environ |= {
            "DAGSTER_HOME": folder,
            "QUANTUM_TRAINING_CONFIG": str(home / "settings.yaml"),
            "PYTHONWARNINGS": "ignore",
        }
        print(f"{arguments.symbols} symbols, {YEARS} years: seconds (CPU seconds)\n")
        print("| | first | again |\n| --- | ---: | ---: |", flush=True)
        seconds = []
        for _ in range(2):
            wall, cpu = time.perf_counter(), sum(os.times()[2:4])
            subprocess.run([sys.executable, "-c", LOAD], cwd=ROOT, check=True)
            seconds.append(f"{time.perf_counter() - wall:.2f} ({sum(os.times()[2:4]) - cpu:.2f})")
        print(f"| definitions load, a fresh process | {' | '.join(seconds)} |", flush=True)

        repository = build_defs(load_settings()).get_repository_def()
        keys = repository.assets_defs_by_key[dg.AssetKey(ASSET)].partitions_def.get_partition_keys()
        with dg.DagsterInstance.get() as instance:
            materialise(instance, keys)
        with webserver(home) as (graphql, address):
            monday = week_of(pd.Timestamp.now("UTC")).timestamp()
            for schedule in repository.schedule_defs:
                variables = {"selector": {**SELECTOR, "scheduleName": schedule.name}, "time": monday + 7200}
                answers = [graphql(SCHEDULE, variables) for _ in range(2)]
                requests = answers[0][0]["scheduleDryRun"]["evaluationResult"]["runRequests"]
                row = " | ".join(timing for _, timing in answers)
                print(f"| `{schedule.name}`, {len(requests)} runs | {row} |", flush=True)
            for name, query in (("partitions of", HEALTH), ("overview of", OVERVIEW)):
                answers = [graphql(query, {"key": {"path": [ASSET]}}) for _ in range(2)]
                row = " | ".join(timing for _, timing in answers)
                print(f"| {name} `{ASSET}`, {len(keys):,} keys | {row} |", flush=True)
            statistics = answers[0][0]["assetNodeOrError"]["partitionStats"]
            print(f"\n{statistics}", flush=True)
            if arguments.picture:
                browser = os.environ.get("QT_CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
                page = f"{address}/assets/{ASSET}?view=partitions"
                options = ["--headless", "--no-sandbox", "--disable-gpu", "--window-size=1400,900"]
                options += ["--virtual-time-budget=60000", f"--screenshot={arguments.picture}"]
                subprocess.run([browser, *options, page], check=True, capture_output=True, timeout=300)


if __name__ == "__main__":
    main()
