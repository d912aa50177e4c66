"""CPU time and memory of the source `files` on large files, beside the build before it read them by periods.

Every line is the work of one new process, after its imports: CPU seconds, and how much its peak memory grew.

    python -m quantum_training_tests.benchmarks.large_files [--before REVISION] [--tickers 500]
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd

ROOT = Path(__file__).parents[2]
BEFORE = "7b21169"
MINUTES, DAYS = 2_630_000, 2520
WORK = """
import json, resource, sys
import pandas as pd, pyarrow.csv, pyarrow.parquet
from quantum_training.sources import source_from
options, timeframe, period, symbols = json.loads(sys.argv[1])
def used():  # the peak of this process alone: ru_maxrss begins with that of its parent
    spent = resource.getrusage(resource.RUSAGE_SELF)
    peak = next(line for line in open("/proc/self/status") if line.startswith("VmHWM"))
    return spent.ru_utime + spent.ru_stime, int(peak.split()[1]) / 1024
now = pd.Timestamp("2026-01-01", tz="UTC")
before, bars = used(), 0
for symbol in symbols:
    source = source_from({"kind": "files", **options})
    until = source.available_until(symbol, timeframe, now)
    start, end = (until - pd.Timedelta("1D"), until) if period == "day" else map(pd.Timestamp, period)
    bars += len(source.fetch(symbol, timeframe, start, end, now))
after = used()
print(json.dumps([after[0] - before[0], after[1] - before[1], bars]))
"""


def minutes(count: int) -> pd.DataFrame:
    """Bars of a market that is always open, of eight decimals."""
    random = np.random.default_rng(0)
    price = 30_000 * np.exp(np.cumsum(random.normal(0, 5e-4, count)))
    times = pd.date_range("2019-01-01", periods=count, freq="min", tz="UTC", name="open_time")
    columns = {"open": price, "high": price * 1.0005, "low": price * 0.9995, "close": price * 1.0001}
    volume, trades = random.gamma(1.0, 3.0, count), random.integers(0, 900, count)
    return pd.DataFrame({**columns, "volume": volume, "trades": trades}, index=times).round(8)


def panel(tickers: int) -> pd.DataFrame:
    """Ten years of daily bars of many tickers, day by day."""
    days = pd.bdate_range("2014-01-01", periods=DAYS, name="open_time").repeat(tickers)
    price = np.random.default_rng(1).uniform(10, 100, len(days)).round(4)
    columns = {"ticker": np.tile([f"T{n:03}" for n in range(tickers)], DAYS), "open": price, "high": price + 1}
    return pd.DataFrame({**columns, "low": price - 1, "close": price + 0.5, "volume": 1000.0}, index=days)


def work(code: Path, home: Path, *task: object) -> tuple[float, float]:
    """CPU seconds and MiB of a task in a new process."""
    environment = {**os.environ, "PYTHONPATH": str(code), "DAGSTER_HOME": str(home), "PYTHONWARNINGS": "ignore"}
    done = subprocess.run(
        [sys.executable, "-c", WORK, json.dumps(task)], cwd=code, env=environment, capture_output=True, text=True
    )
    if done.returncode:
        raise RuntimeError(done.stderr[-2000:])
    cpu, memory, bars = json.loads(done.stdout.splitlines()[-1])
    assert bars, task
    return cpu, memory


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--before", default=BEFORE, help="the build to compare with")
    parser.add_argument("--tickers", type=int, default=500)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        here = Path(folder)
        old, home = here / "before", here / "home"
        old.mkdir()
        home.mkdir()
        archive = subprocess.run(
            ["git", "archive", arguments.before, "quantum_training"], cwd=ROOT, check=True, capture_output=True
        )
        subprocess.run(["tar", "-x", "-C", str(old)], input=archive.stdout, check=True)
        csv, parquet, many = here / "minutes.csv", here / "minutes.parquet", here / "panel.csv"
        bars, day = minutes(MINUTES), 1440
        bars.iloc[:-day].to_csv(csv)
        bars.to_parquet(parquet)
        panel(arguments.tickers).to_csv(many)
        print(f"minutes.csv {csv.stat().st_size / 1e6:.0f} MB, panel.csv {many.stat().st_size / 1e6:.0f} MB\n")
        print("| task | before: CPU s, MiB | now: CPU s, MiB | ratio |\n| --- | --- | --- | --- |")
        one, typed = {"path": str(csv)}, {"path": str(parquet)}
        february, march = ("2021-02-01T00:00Z", "2021-03-01T00:00Z"), ("2021-03-01T00:00Z", "2021-04-01T00:00Z")

        def compare(name: str, task: tuple[object, ...], then: tuple[float, float] | None = None) -> None:
            then = then or work(old, home, *task)
            now = work(ROOT, home, *task)
            ratio = f"1/{then[0] / now[0]:.1f}, 1/{then[1] / now[1]:.1f}"
            print(f"| {name} | {then[0]:.2f}, {then[1]:.0f} | {now[0]:.2f}, {now[1]:.0f} | {ratio} |", flush=True)

        compare("first read of the CSV", (one, "1m", "day", ["S"]))
        with csv.open("a") as file:
            bars.iloc[-day:].to_csv(file, header=False)
        compare("one new day of the CSV", (one, "1m", "day", ["S"]))
        compare("a month of the Parquet file", (typed, "1m", february, ["S"]))
        compare("a month in which a clock is set, of the Parquet file", (typed, "1m", march, ["S"]))
        of_many = {"path": str(many), "rows_where": {"ticker": "{symbol}"}}
        tickers = [f"T{n:03}" for n in range(arguments.tickers)]
        few = work(old, home, of_many, "1d", "day", tickers[:3])
        scaled = few[0] / 3 * len(tickers), few[1]
        name = f"a day of all {len(tickers)} tickers, one process (before: 3 of them, scaled)"
        compare(f"{name}, first", (of_many, "1d", "day", tickers), scaled)
        compare(f"{name}, next", (of_many, "1d", "day", tickers), scaled)


if __name__ == "__main__":
    main()
