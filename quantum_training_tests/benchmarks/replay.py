"""Three years of BTC 1h replayed as one range and again week by week: the same ledger, the same bytes. Then one chart.

    python -m quantum_training_tests.benchmarks.replay [weeks] [folder]

Needs the real candles (QT_CANDLES_DIR, else ../shared/candles). Writes replay.png and replay.md to the folder, default
docs/learning_loop. It fails where the two replays differ. The third replay decides the same scores by another rule.
"""

import os
import shutil
import sys
import tempfile
import time
from concurrent.futures import Future, ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

import dagster as dg
import numpy as np
import pandas as pd
import yaml

from quantum_training.automation.jobs.full_cycle import CycleConfig, weeks_of
from quantum_training.definitions import build_defs
from quantum_training.lifecycle.market_history import first_month_for_week
from quantum_training.market.calendars import periods_per_year
from quantum_training.partitions import RANGE_TAGS
from quantum_training.resources.ledger import Ledger
from quantum_training.resources.store.store import Store
from quantum_training.settings import Settings, load_settings
from quantum_training.trading.metrics import max_drawdown, sharpe

ROOT = Path(__file__).parents[2]
CANDLES = Path(os.environ.get("QT_CANDLES_DIR") or ROOT.parent / "shared" / "candles")
SYMBOL, WEEKS = "BTC_USDT", 157
QUIET = {"loggers": {"console": {"config": {"log_level": "ERROR"}}}}
RULES = ("evidence", "improvement")
BOOSTERS = {
    "xgboost": {"max_depth": 6, "learning_rate": 0.05, "max_rounds": 300},
    "lightgbm": {"num_leaves": 31, "learning_rate": 0.05, "max_rounds": 300},
}
LABELS = {
    "xgboost": {"kind": "forward_return", "horizon": 24},
    "lightgbm": {"kind": "triple_barrier", "horizon": 24, "take_profit": 1, "stop_loss": 1, "volatility_bars": 168},
}
WINDOWS = {"": 8760, "_short": 2190}
RECIPES = {
    name + suffix: {"algorithm": name, "label": LABELS[name], "window_bars": bars, "params": BOOSTERS[name]}
    for name in BOOSTERS
    for suffix, bars in WINDOWS.items()
}
COLOURS = {"buy_and_hold": "black", "xgboost": "tab:blue", "lightgbm": "tab:orange"}
COLOURS |= {"xgboost_short": "tab:cyan", "lightgbm_short": "tab:olive"}
VERDICTS = {
    "INSUFFICIENT": "whitesmoke",
    "CONTINUE": "lightsteelblue",
    "REJECT": "tab:purple",
    "EXPIRED": "grey",
    "PROMOTE": "tab:green",
    "ROLLBACK": "tab:red",
}


class World(NamedTuple):
    """One DAGSTER_HOME, everything in it fresh."""

    home: Path
    settings: Settings
    definitions: dg.Definitions
    store: Store
    ledger: Ledger

    @classmethod
    def at(cls, home: Path, rule: str = "evidence") -> "World":
        """The world of this folder, created if it does not exist."""
        home.mkdir(exist_ok=True)
        path = str(CANDLES / "crypto_1h" / "{symbol}-1h.feather")
        market = {"source": {"kind": "files", "path": path, "columns": {"open_time": "date"}}, "timeframe": "1h"}
        market |= {"costs": {"fee_bps": 10, "slippage_bps": 2}, "recipes": list(RECIPES)}
        settings = {"start": "2020-10-01", "symbols": {SYMBOL: market}, "recipes": RECIPES, "promotion": {"rule": rule}}
        (home / "settings.yaml").write_text(yaml.safe_dump(settings))
        os.environ.update(DAGSTER_HOME=str(home), QUANTUM_TRAINING_CONFIG=str(home / "settings.yaml"))
        loaded = load_settings()
        url = f"sqlite:///{home}/quantum_training.db"
        return cls(home, loaded, build_defs(loaded), Store(root=str(home / "store")), Ledger(url=url))

    def run(self, job: str, first: str, last: str, assets: tuple[str, ...] = ()) -> None:
        """One recorded run of a job over a range of periods, in this process. RuntimeError if it fails."""
        tags = dict(zip(RANGE_TAGS, (f"{SYMBOL}|{first}", f"{SYMBOL}|{last}"), strict=True))
        with dg.DagsterInstance.local_temp(str(self.home)) as instance:
            self.definitions.resolve_job_def(job).execute_in_process(
                instance=instance, tags=tags, run_config=QUIET, asset_selection=[dg.AssetKey(a) for a in assets] or None
            )

    def files(self) -> dict[str, bytes]:
        """The bytes of every weekly record and frame by name; a report is one for each run, so it is left out."""
        root = self.home / "store"
        monthly = ("candles", "features")
        paths = (f for f in root.rglob("*") if f.suffix in (".json", ".parquet") and f.relative_to(root).parts[0])
        return {str(f.relative_to(root)): f.read_bytes() for f in paths if f.relative_to(root).parts[0] not in monthly}


def replay(home: Path, periods: tuple[str, ...], step: int) -> float:
    """Market data, then the weekly cycle over the weeks, `step` weeks a run. Returns seconds."""
    started = time.perf_counter()
    world = World.at(home)
    last_month = (pd.Timestamp(periods[-1]) - pd.Timedelta("1ns")).strftime("%Y-%m-01")
    first = max(first_month_for_week(world.settings, SYMBOL, periods[0]), world.settings.start.strftime("%Y-%m-01"))
    world.run("market_data", first, last_month)
    for at in range(0, len(periods), step):
        part = periods[at : at + step]
        world.run("weekly_cycle", part[0], part[-1])
    return time.perf_counter() - started


def wait_for(running: dict[str, Future], homes: dict[str, Path], weeks: int) -> dict[str, float]:
    """Wait for both replays and say each minute how far they are."""
    started = time.perf_counter()
    while not all(future.done() for future in running.values()):
        time.sleep(1 if any(f.done() and f.exception() for f in running.values()) else 30)
        at = {
            name: " ".join(f"{a} {len(list((home / 'store' / a / SYMBOL).glob('*')))}" for a in PROGRESS)
            for name, home in homes.items()
        }
        print(f"{time.perf_counter() - started:5.0f} s of {weeks} weeks: {at}", flush=True)
    return {name: future.result() for name, future in running.items()}


PROGRESS = (*(f"{recipe}_model" for recipe in RECIPES), "shadow_scores", "champion")


class Story(NamedTuple):
    """What a rule did: its records by week and the net returns of its champion by bar, 0 while there was none."""

    records: dict[str, dict[str, Any]]
    net: pd.Series


def tell(world: World, net: pd.DataFrame) -> Story:
    """Read the champion's record back; the champion of week W trades the bars from W on."""
    records = world.store.read_records("champion", SYMBOL)
    weeks = pd.to_datetime(list(records), utc=True)
    at = weeks.searchsorted(net.index, side="right") - 1
    champions = np.array([None, *(record["champion"] for record in records.values())], dtype=object)[at + 1]
    traded = [0.0 if c is None else net[c].iloc[row] for row, c in enumerate(champions)]
    return Story(records, pd.Series(traded, net.index))


def returns(world: World, periods: tuple[str, ...]) -> pd.DataFrame:
    """Net return of every strategy by bar, as the shadow scores hold it."""
    frames = [world.store.read_frame("shadow_scores", SYMBOL, week) for week in periods]
    return pd.concat([f.pivot(columns="strategy", values="net_return") for f in frames]).fillna(0.0)  # noqa: PD010


def changes(story: Story) -> list[tuple[str, str, str]]:
    """Week, verdict and reason of each change of the champion."""
    return [(w, r["verdict"], r["reason"]) for w, r in story.records.items() if r["decided"] != r["former"]]


def draw(net: pd.DataFrame, stories: dict[str, Story], target: Path) -> None:
    """Equity, verdicts and evidence over the same weeks, in one picture."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt
    from matplotlib.patches import Patch

    figure, (top, strip, below) = plt.subplots(
        3, 1, figsize=(12, 10), sharex=True, layout="constrained", height_ratios=[5, 1, 3]
    )
    for name, colour in COLOURS.items():
        top.plot((1 + net[name]).cumprod().resample("D").last(), color=colour, lw=0.8, label=name)
    for rule, style in zip(RULES, ("-", "--"), strict=True):
        champion = (1 + stories[rule].net).cumprod().resample("D").last()
        top.plot(champion, color="tab:red", lw=2, ls=style, label=f"champion by the rule {rule}")
    top.set(
        yscale="log", ylabel="equity, start = 1 (log)", title=f"{SYMBOL} 1h: {len(stories[RULES[0]].records)} weeks"
    )
    top.legend(loc="upper left", fontsize=8, ncols=2)
    for row, rule in enumerate(RULES):
        for week, record in stories[rule].records.items():
            strip.barh(
                row, pd.Timedelta(days=7), left=pd.Timestamp(week), color=VERDICTS[record["verdict"]], height=0.9
            )
        for week, verdict, _ in changes(stories[rule]):
            colour = VERDICTS.get(verdict, "black")
            top.axvline(pd.Timestamp(week), color=colour, lw=0.9, ls="-" if row == 0 else ":")
    strip.set_yticks(range(len(RULES)), RULES)
    strip.legend(
        handles=[Patch(color=c, label=v) for v, c in VERDICTS.items()], fontsize=7, ncols=6, loc="lower center"
    )
    strip.set_ylim(-1.6, len(RULES) - 0.4)
    draw_evidence(stories["evidence"], below)
    for week in last_campaign_weeks(stories["evidence"]):
        for axis in (top, below):
            axis.axvline(week, color="grey", lw=0.7, ls=":")
    figure.savefig(target, dpi=100)


def draw_evidence(story: Story, axis: Any) -> None:
    """The z of every recipe and the boundary over the weeks, by the rule `evidence`."""
    judged = story.records
    times = pd.to_datetime(list(judged))
    for recipe in RECIPES:
        z = [r["judgements"].get(recipe, {}).get("z") for r in judged.values()]
        axis.plot(times, np.array(z, dtype=float), color=COLOURS[recipe], lw=1, label=f"z of {recipe}")
    bounds = [[j["boundary"] for j in r["judgements"].values() if j["boundary"]] for r in judged.values()]
    axis.plot(times, [min(b, default=np.nan) for b in bounds], color="black", lw=1.2, label="boundary")
    axis.set(ylabel="z of the campaign (rule evidence)", ylim=(-5, 8))
    axis.axhline(0, color="black", lw=0.5)
    axis.legend(loc="upper left", fontsize=8, ncols=3)


def last_campaign_weeks(story: Story) -> list[pd.Timestamp]:
    """The Mondays on which a campaign had its last look."""
    campaigns = {week: record["campaign"] for week, record in story.records.items() if record["campaign"]}
    return [pd.Timestamp(week) for week, campaign in campaigns.items() if campaign["week"] == campaign["weeks"]]


def table(net: pd.DataFrame, stories: dict[str, Story], periods: float) -> str:
    """Return, Sharpe ratio and drawdown of every line of the chart."""
    lines = {f"champion, rule {rule}": story.net for rule, story in stories.items()}
    lines |= {name: net[name] for name in COLOURS}
    rows = ["| | total return | Sharpe | deepest drawdown |", "| --- | --- | --- | --- |"]
    for name, series in lines.items():
        values = series.to_numpy()
        ratio, why = sharpe(values, periods)
        ratio_text = f"{ratio:.2f}" if ratio is not None else f"none ({why})"
        rows.append(f"| {name} | {np.prod(1 + values) - 1:+.0%} | {ratio_text} | {max_drawdown(values):.0%} |")
    return "\n".join(rows)


def counts(story: Story) -> str:
    """How often each verdict was reached."""
    verdicts = pd.Series([record["verdict"] for record in story.records.values()]).value_counts()
    return ", ".join(f"{count} {verdict}" for verdict, count in verdicts.items())


TEXT = """# A replay of {weeks} weeks of BTC/USDT 1h

{symbol}, weeks {first} to {last}, with {recipes} recipes: {names}. `_short` sees 2,190 bars, the others 8,760; fee 10
and slippage 2 basis points. `python -m quantum_training_tests.benchmarks.replay {weeks}` made this page.

![equity, verdicts and evidence](replay.png)

The full red line is the champion's record at full size by the rule `evidence`; the dashed one that by
`improvement`, decided on the same scores. Upright lines are changes of the champion (dotted: by `improvement`) and, in
grey, the last week of a campaign. What a change of champion costs is not in these lines: each strategy is scored in an
account of its own.

{table}

By `evidence`: {evidence}. Changes of the champion: {evidence_changes}.
By `improvement`: {improvement}. Changes of the champion: {improvement_changes}.

{promotions}

**The same twice.** As one range, in one run, the ledger's head is `{head}`; week by week, each its own run in a fresh
DAGSTER_HOME, it is `{again}`. All {files:,} weekly files (versions, scores, backtests, champions, decay
reports, rollouts) are the same in every byte. The range took {range_seconds:.0f} s, the weeks one by one
{weekly_seconds:.0f} s, side by side on {cores} cores.
"""


def main() -> None:
    """Replay, compare, draw and write."""
    weeks = int(sys.argv[1]) if len(sys.argv) > 1 else WEEKS
    target = Path(sys.argv[2]) if len(sys.argv) > 2 else ROOT / "docs" / "learning_loop"
    with tempfile.TemporaryDirectory() as folder:
        homes = {name: Path(folder) / name for name in ("range", "weekly")}
        settings = World.at(Path(folder) / "asked").settings
        first, last = weeks_of(settings, SYMBOL, CycleConfig(weeks=weeks))
        periods = tuple(pd.date_range(first, last, freq="7D").strftime("%Y-%m-%d"))
        with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
            steps = {"range": len(periods), "weekly": 1}
            running = {name: pool.submit(replay, homes[name], periods, steps[name]) for name in homes}
            seconds = wait_for(running, homes, weeks)
        worlds = {name: World.at(home) for name, home in homes.items()}
        heads = {name: world.ledger.head(SYMBOL) for name, world in worlds.items()}
        one, other = (world.files() for world in worlds.values())
        different = [name for name in one.keys() | other.keys() if one.get(name) != other.get(name)]
        assert len(set(heads.values())) == 1, heads
        assert not different, f"{len(different)} of {len(one)} files differ: {sorted(different)[:5]}"
        assert sum(name.startswith("champion/") for name in one) == weeks
        for world in worlds.values():
            world.ledger.verify(SYMBOL)

        contrast = Path(folder) / "contrast"
        shutil.copytree(homes["range"], contrast)
        for asset in ("champion", "rollout"):
            shutil.rmtree(contrast / "store" / asset)
        for database in contrast.glob("quantum_training.db*"):
            database.unlink()
        other_world = World.at(contrast, "improvement")
        other_world.run("weekly_cycle", first, last, assets=("champion", "rollout"))
        net = returns(worlds["range"], periods)
        stories = {"evidence": tell(worlds["range"], net), "improvement": tell(other_world, net)}
    target.mkdir(parents=True, exist_ok=True)
    draw(net, stories, target / "replay.png")
    moved = {rule: changes(story) for rule, story in stories.items()}
    promotions = [f"- {rule}, {w} {verdict}: {reason}" for rule in RULES for w, verdict, reason in moved[rule]]
    text = TEXT.format(
        weeks=weeks, symbol=SYMBOL, first=first, last=last, recipes=len(RECIPES), names=", ".join(RECIPES),
        table=table(net, stories, periods_per_year("24/7", "1h")), files=len(one),
        evidence=counts(stories["evidence"]), improvement=counts(stories["improvement"]),
        evidence_changes=len(moved["evidence"]), improvement_changes=len(moved["improvement"]),
        promotions="\n".join(promotions) or "Nobody was promoted by either rule.",
        head=heads["range"], again=heads["weekly"], cores=os.cpu_count(),
        range_seconds=seconds["range"], weekly_seconds=seconds["weekly"],
    )  # fmt: skip
    (target / "replay.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
