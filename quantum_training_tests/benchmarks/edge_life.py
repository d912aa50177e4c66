"""The life of a model on the demo's market with a known edge: how often each step comes, and in which week.

    python -m quantum_training_tests.benchmarks.edge_life [seeds] [folder]

Prints a Markdown table, and writes it as edge_life.md into the folder. A seed is one market of the demo's settings
(dagster_home/demo_settings.yaml, symbol SYNTHETIC), and the same market without its edge. Every week is trained, scored
and decided by the functions that the assets call, without Dagster, MLflow and store.
"""

import os
import sys
import time
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.stats import binomtest

from quantum_training.features.indicators import compute_features
from quantum_training.features.labels import make_labels
from quantum_training.features.windows import WindowSize, build_window
from quantum_training.lifecycle.decision.champion import days_before, decision_policy
from quantum_training.lifecycle.decision.rollout import daily_returns
from quantum_training.lifecycle.market_history import Bars, returns_by_day
from quantum_training.lifecycle.surveillance.decay import net_returns
from quantum_training.market.periods import WEEK
from quantum_training.market.timeframe import known_at
from quantum_training.models.contract import Model, TrainingContext, algorithm
from quantum_training.monitoring.decay import Calendar, assess_decay, start_tenure
from quantum_training.selection.champion import decide_weeks
from quantum_training.selection.decision import Decision, DecisionPolicy
from quantum_training.selection.refresh import RefreshComparison, judge_refresh
from quantum_training.selection.rollout import fold
from quantum_training.settings import Settings, load_settings
from quantum_training.settings.schema import Symbol
from quantum_training.trading.baselines import BASELINES, decide
from quantum_training.trading.scoring import Decisions, Version, decisions, score

SETTINGS = Path(__file__).parents[2] / "dagster_home" / "demo_settings.yaml"
SYMBOL, WEEKS = "SYNTHETIC", 30
PROMOTED, ROLLED_BACK, DECAYED = "champion promoted", "champion rolled back while the edge lasts", "decay alarm"
SHARES = {f"{share:.0%} of capital or more": share for share in (0.01, 0.05, 0.1)}
ENDED = "rolled back after the edge ended"
NO_CHAMPION, REFUSED = "no champion in the last week", "versions refused"


class World(NamedTuple):
    """One market and what is needed to run its weeks. weeks: Mondays, oldest first."""

    settings: Settings
    market: Symbol
    recipe: str
    bars: Bars
    weeks: pd.DatetimeIndex


def demo_settings() -> Settings:
    """The settings of `make demo`."""
    os.environ["QUANTUM_TRAINING_CONFIG"] = str(SETTINGS)
    os.environ.setdefault("DAGSTER_HOME", "unused")
    return load_settings()


def world_of(settings: Settings, seed: int, edge: bool) -> World:
    """The demo's market of another seed, with its edge or without."""
    market = settings.symbols[SYMBOL]
    changes = {"seed": seed} if edge else {"seed": seed, "edge": 0.0, "edge_until": None}
    source = market.source.model_copy(update=changes)
    start, last = pd.Timestamp(market.start, tz="UTC"), pd.Timestamp(market.end, tz="UTC") + pd.Timedelta(days=1)
    candles = source.fetch(SYMBOL, market.timeframe, start, last, last)
    newest = last.normalize() - pd.Timedelta(days=last.dayofweek)
    weeks = pd.date_range(end=newest, periods=WEEKS, freq=WEEK)
    (recipe,) = market.recipes
    return World(settings, market, recipe, Bars(candles, compute_features(candles, start)), weeks)


def fit(world: World, as_of: pd.Timestamp) -> tuple[Model, pd.Timestamp]:
    """The version of a week as train_week fits it, and the open of its first training bar."""
    recipe, market = world.settings.recipes[world.recipe], world.market
    past = known_at(world.bars.candles, as_of, market.timeframe).tail(recipe.window_bars + recipe.label.span_bars)
    costs = market.costs.round_trip(past["close"].to_numpy(), market.account.capital)
    size = WindowSize(max_rows=recipe.window_bars, validation_fraction=recipe.validation_fraction, min_rows=100)
    features = world.bars.features.loc[past.index]
    labels = make_labels(past, recipe.label, costs)
    window = build_window(features, labels, as_of=as_of, columns=recipe.columns, size=size)
    context = TrainingContext(window, recipe.params, sizing=recipe.sizing, seed=recipe.seed)
    return algorithm(recipe.algorithm).fit(context), window.full_times[0]


def fitted_versions(world: World) -> dict[Version, tuple[Model, pd.Timestamp]]:
    """What `fit` gives for each week but the last, oldest first."""
    return {Version(as_of, f"{as_of:%Y-%m-%d}"): fit(world, as_of) for as_of in world.weeks[:-1]}


def accepted_versions(world: World, fitted: dict[Version, tuple[Model, pd.Timestamp]]) -> list[Version]:
    """The versions that the refresh gate lets trade."""
    versions: list[Version] = []
    policy = world.settings.refresh
    for version, (model, first_bar) in fitted.items():
        if versions:
            known = Bars(*(known_at(frame, version.as_of, world.market.timeframe) for frame in world.bars))
            start = max(version.as_of - policy.weeks * WEEK, known.candles.index[1])
            older, newer = (
                decisions(*known, [Version(known.candles.index[0], "")], start, lambda _, m=m: m).position
                for m in (fitted[versions[-1]][0], model)
            )
            compared = RefreshComparison(known.candles, start, older, newer, (first_bar, versions[-1].as_of))
            if not judge_refresh(policy, compared, world.market.costs, world.market.account).accepted:
                continue
        versions.append(version)
    return versions


def weekly_scores(world: World, strategies: Mapping[str, Mapping[Version, Model]]) -> dict[str, pd.DataFrame]:
    """The score record of each week. strategies: the versions that decide, by name; the baselines are added."""
    candles, features = world.bars
    baselines = {name: decide(name, candles).shift(1) for name in BASELINES}
    nobody = pd.Series("", candles.index)
    scores = {}
    for week in world.weeks:
        start = week - WEEK
        until = candles[candles.index < week]
        decided = {}
        for name, models in strategies.items():
            load = {version.model_id: model for version, model in models.items()}.__getitem__
            decided[name] = decisions(until, features, [*models], start, load)
        decided |= {name: Decisions(position, nobody) for name, position in baselines.items()}
        scores[f"{week:%Y-%m-%d}"] = score(until, start, decided, world.market.costs, world.market.account)
    return scores


def shadow_scores(world: World) -> tuple[dict[str, pd.DataFrame], int]:
    """The score record of each week, and the number of refused versions."""
    fitted = fitted_versions(world)
    accepted = accepted_versions(world, fitted)
    scores = weekly_scores(world, {world.recipe: {version: fitted[version][0] for version in accepted}})
    return scores, len(fitted) - len(accepted)


def decay_weeks(world: World, scores: dict[str, pd.DataFrame], decided: dict[str, Decision]) -> list[str]:
    """The weeks whose decay report of the champion in office says DECAYED."""
    policy = decision_policy(world.settings, SYMBOL)
    record = net_returns(world.recipe, scores)
    alarms, tenure = [], None
    for week, decision in decided.items():
        monday = pd.Timestamp(week, tz="UTC")
        if decision.champion is None:
            tenure = None
            continue
        if tenure is None:
            horizon = policy.planned_days(monday, monday + world.settings.decay.weeks * WEEK)
            calendar = Calendar(policy.periods, 365.0, horizon)
            tenure = start_tenure(world.recipe, monday, record, calendar, world.settings.decay)
        if assess_decay(tenure, monday, record, world.settings.decay).status == "DECAYED":
            alarms.append(week)
    return alarms


def policy_of(world: World) -> DecisionPolicy:
    """What the world is decided by, with the days of its market."""
    by_day = returns_by_day(world.bars.candles["close"])
    return decision_policy(world.settings, SYMBOL)._replace(
        market_before=lambda week: days_before(by_day, pd.Timestamp(week, tz="UTC") - WEEK)
    )


def life(task: tuple[int, bool]) -> dict[str, int | None]:
    """By step, the number of the week in which it first came, from 1; None if it never did. Also what was refused."""
    settings = demo_settings()
    world = world_of(settings, *task)
    scores, refused = shadow_scores(world)
    policy = policy_of(world)
    decided = {d.week: d for d in decide_weeks(scores, [world.recipe], policy)}
    champions = {week: d.champion for week, d in decided.items()}
    stages = [*fold(decided, {}, daily_returns(champions, scores), settings.rollout)]
    weeks = list(decided)
    ended = str(settings.symbols[SYMBOL].source.edge_until)

    def first(chosen: list[str]) -> int | None:
        return weeks.index(min(chosen)) + 1 if chosen else None

    verdicts = {verdict: [w for w, d in decided.items() if d.verdict == verdict] for verdict in ("PROMOTE", "ROLLBACK")}
    return {
        PROMOTED: first(verdicts["PROMOTE"]),
        **{name: first([s.week for s in stages if s.share >= share]) for name, share in SHARES.items()},
        ROLLED_BACK: first([w for w in verdicts["ROLLBACK"] if w <= ended]),
        DECAYED: first(decay_weeks(world, scores, decided)),
        ENDED: first([w for w in verdicts["ROLLBACK"] if w > ended]),
        NO_CHAMPION: WEEKS if decided[weeks[-1]].champion is None else None,
        REFUSED: refused,
    }


def row(step: str, lives: list[dict[str, int | None]], without: list[dict[str, int | None]]) -> dict[str, str]:
    """One line of the table: how often a step came, with its exact 95 % interval, and when."""
    weeks = [week for life in lives if (week := life[step]) is not None]
    low, median, high = np.percentile(weeks, [5, 50, 95]) if weeks else [np.nan] * 3
    return {
        "step": step,
        "with the edge": share(len(weeks), len(lives)),
        "median week [5 %, 95 %]": f"{median:g} [{low:.0f}, {high:.0f}]" if weeks and step != NO_CHAMPION else "-",
        "without": share(sum(life[step] is not None for life in without), len(without)),
    }


def share(hits: int, of: int) -> str:
    """A share with its exact 95 % interval."""
    low, high = binomtest(hits, of).proportion_ci(0.95, "exact")
    return f"{hits / of:.1%} [{low:.1%}, {high:.1%}]"


def main(seeds: int, folder: str | None) -> None:
    """All seeds, with the edge and without."""
    started = time.perf_counter()
    tasks = [(seed, edge) for seed in range(1, seeds + 1) for edge in (True, False)]
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        lives = []
        for task, outcome in zip(tasks, pool.map(life, tasks), strict=True):
            lives.append(outcome)
            print(*task, outcome, file=sys.stderr, flush=True)
    text = page(lives[::2], lives[1::2])
    print(f"{text}\n{time.perf_counter() - started:.0f} s")
    if folder:
        Path(folder, "edge_life.md").write_text(text)


def page(lives: list[dict[str, int | None]], without: list[dict[str, int | None]]) -> str:
    """The table of these lives with the edge, and of those on the same seeds without it."""
    steps = [PROMOTED, *SHARES, ROLLED_BACK, DECAYED, ENDED, NO_CHAMPION]
    rows = pd.DataFrame([row(step, lives, without) for step in steps])
    refused = np.median([outcome[REFUSED] for outcome in lives])
    return (
        f"{rows.to_markdown(index=False, disable_numparse=True)}\n\n"
        f"{len(lives)} seeds, with exact 95 % intervals. The edge ends in week 17 of {WEEKS}. With it the refresh gate "
        f"refused a median of {refused:.0f} of {WEEKS - 1} versions.\n"
    )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 200, sys.argv[2] if len(sys.argv) > 2 else None)
