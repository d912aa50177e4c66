"""All recipes of the zoo over eight weeks of BTC 1h and AAPL daily as one backfill: time and memory of each.

    python -m quantum_training_tests.benchmarks.zoo [weeks]

Needs the real candles (../shared/candles) and takes about 12 minutes. The recipes are those of docs/zoo and the agents.
Prints Markdown tables; nothing is asserted. A recipe's row is one more training in a process of its own, as of the
Wednesday of the last week: with candles and features read, members and record gathered, registered in MLflow and judged
against the version before it.
"""

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import contextmanager
from pathlib import Path

import dagster as dg
import yaml

ROOT = Path(__file__).parents[2]
SYMBOLS = {"BTC_USDT": "2025-09-15", "AAPL": "2020-12-07"}
AGENTS = ("ppo", "sac")
NEXT_BAR = {"kind": "forward_return", "horizon": 1}
spent: Counter[str] = Counter()
inside: list[str] = []


def settings(home: Path) -> None:
    """The settings of docs/zoo with both agents on both symbols, in force from now on."""
    config = yaml.safe_load((ROOT / "docs/zoo/settings.yaml").read_text())
    for symbol, suffix, bars in (("BTC_USDT", "1h", 8760), ("AAPL", "1d", 1000)):
        agent_recipes = {
            f"{kind}_{suffix}": {"algorithm": kind, "label": NEXT_BAR, "window_bars": bars} for kind in AGENTS
        }
        config["recipes"] |= agent_recipes
        config["symbols"][symbol] = {
            **config["symbols"][symbol],
            "recipes": [*config["symbols"][symbol]["recipes"], *agent_recipes],
        }
    config["recipes"]["stack_1d"]["params"] = {"min_bars": 20}  # eight weeks of daily bars are no more
    (home / "settings.yaml").write_text(yaml.safe_dump(config))
    (home / "dagster.yaml").write_text("telemetry: {enabled: false}\npython_logs: {python_log_level: WARNING}\n")


@contextmanager
def timed(what: str):
    """Count the seconds inside; nested calls belong to the outermost."""
    inside.append(what)
    started = time.perf_counter()
    try:
        yield
    finally:
        inside.pop()
        if not inside:
            spent[what] += time.perf_counter() - started


def watch(names: set[str]) -> None:
    """Time all fits and all positions of these algorithms. The leak sentinel's thirty fits, once per recipe and code,
    are left out.
    """
    from quantum_training.lifecycle.evaluation import leakage
    from quantum_training.models.contract import algorithm

    leakage.measure_skill = lambda recipe, timeframe, code: {
        "code_hash": code,
        "insufficient": "left out of the benchmark",
    }
    for cls in {algorithm(name) for name in names}:
        fit, positions = cls.fit.__func__, cls.positions

        def timed_fit(cls, *args, _fit=fit):
            with timed("fit"):
                return _fit(cls, *args)

        def timed_positions(self, rows, _positions=positions):
            with timed("predict"):
                return _positions(self, rows)

        cls.fit, cls.positions = classmethod(timed_fit), timed_positions


def run(job: str, **options) -> None:
    """Run a job of the settings in force, in this process and its instance."""
    from quantum_training.definitions import defs

    with dg.DagsterInstance.get() as instance:
        assert defs.resolve_job_def(job).execute_in_process(instance=instance, **options).success


def cycle(weeks: int) -> dict[str, float]:
    """The full cycle over the last weeks of both symbols; seconds of its parts and the process's peak."""
    from quantum_training.settings import load_settings

    watch({recipe.algorithm for recipe in load_settings().recipes.values()})
    started = time.perf_counter()
    run("clm_cycle", run_config={"ops": {"run_cycle": {"config": {"symbols": [*SYMBOLS], "weeks": weeks}}}})
    return {"whole": time.perf_counter() - started, **spent, "peak_mb": peak()}


def one(symbol: str, recipe: str) -> dict[str, float]:
    """One more training of a recipe, alone in this process."""
    import pandas as pd

    from quantum_training.settings import load_settings

    watch({r.algorithm for r in load_settings().recipes.values()})
    as_of = f"{pd.Timestamp(SYMBOLS[symbol]) + pd.Timedelta('2D')}"
    config = {"as_of": as_of, "trigger": "MANUAL", "reason": "benchmark"}
    started = time.perf_counter()
    run(
        "weekly_cycle",
        tags={"dagster/partition": f"{symbol}|{SYMBOLS[symbol]}"},
        asset_selection=[dg.AssetKey(f"{recipe}_model")],
        run_config={"ops": {f"{recipe}_model": {"config": config}}},
    )
    return {"whole": time.perf_counter() - started, **spent, "peak_mb": peak()}


def peak() -> float:
    """Most memory of this process so far, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def child(home: Path, *arguments: str) -> dict[str, float]:
    """What a process of its own measures."""
    env = {**os.environ, "DAGSTER_HOME": str(home), "QUANTUM_TRAINING_CONFIG": str(home / "settings.yaml")}
    command = [sys.executable, "-W", "ignore", __file__, *arguments]
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr[-3000:])
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    """Run all and print the tables."""
    weeks = sys.argv[1] if len(sys.argv) > 1 else "8"
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        settings(home)
        config = yaml.safe_load((home / "settings.yaml").read_text())
        measurement = child(home, "cycle", weeks)
        outside = measurement["whole"] - measurement["fit"] - measurement["predict"]
        print(f"{' and '.join(SYMBOLS)}, {weeks} weeks, {len(config['symbols']['AAPL']['recipes'])} recipes each")
        print("| | seconds | share |\n| --- | ---: | ---: |")
        parts = {"fit": measurement["fit"], "predict": measurement["predict"], "everything else": outside}
        for name, seconds in parts.items():
            print(f"| {name} | {seconds:.0f} | {seconds / measurement['whole']:.0%} |")
        print(f"| whole | {measurement['whole']:.0f} | |\n\npeak of the process {measurement['peak_mb']:.0f} MB\n")
        print("| symbol | recipe | fit s | predict s | whole s | peak MB |\n| --- | --- | ---: | ---: | ---: | ---: |")
        for symbol in SYMBOLS:
            for recipe in config["symbols"][symbol]["recipes"]:
                row = child(home, "one", symbol, recipe)
                seconds = " | ".join(f"{row.get(name, 0.0):.1f}" for name in ("fit", "predict", "whole"))
                print(f"| {symbol} | {recipe} | {seconds} | {row['peak_mb']:.0f} |", flush=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["cycle"]:
        print(json.dumps(cycle(int(sys.argv[2]))))
    elif sys.argv[1:2] == ["one"]:
        print(json.dumps(one(*sys.argv[2:])))
    else:
        main()
