"""A search on markets in which there is nothing to find: what its best trial shows in sample, and what becomes of it.

    python -m quantum_training_tests.benchmarks.search_without_edge [markets] [trials] [folder]

Prints a Markdown table, and writes it as search_without_edge.md into the folder. A market is one seed of the demo's
hourly market (dagster_home/demo_settings.yaml, symbol SYNTHETIC) without its edge. The search sees the bars up to
AS_OF; its best recipe is then trained, scored and decided every week by the functions that the assets call, without
Dagster, MLflow and store.
"""

import os
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd

from quantum_training.lifecycle.market_history import Bars
from quantum_training.lifecycle.search.counted import count_trials, whole
from quantum_training.lifecycle.search.known_market import Fold, KnownMarket
from quantum_training.lifecycle.search.study import TrialRunner, open_study
from quantum_training.market.periods import WEEK
from quantum_training.market.timeframe import known_at
from quantum_training.selection.champion import decide_weeks
from quantum_training.selection.joint_rule import PromotionRule
from quantum_training.selection.rule import EvidenceRule
from quantum_training.settings.schema import Recipe
from quantum_training.trading.metrics import sharpe
from quantum_training_tests.benchmarks.edge_life import World, demo_settings, policy_of, shadow_scores, share, world_of

AS_OF = pd.Timestamp("2018-06-25", tz="UTC")
FOUND, BARS, FOLDS = "found", 2000, 5
DECIDED = ("promoted", "by evidence", "by evidence, not counted")
SPACE = {
    "params.max_depth": {"low": 1, "high": 8},
    "params.learning_rate": {"low": 0.01, "high": 0.5, "log": True},
    "params.subsample": {"low": 0.5, "high": 1.0},
    "params.colsample_bytree": {"low": 0.3, "high": 1.0},
    "window_bars": {"low": 500, "high": 2000, "step": 500},
    "label.horizon": {"choices": [1, 3, 6, 12]},
}


def known_market(world: World) -> KnownMarket:
    """The market as the search sees it."""
    timeframe = world.market.timeframe
    bars = Bars(*(known_at(frame, AS_OF, timeframe) for frame in world.bars))
    scored = pd.DatetimeIndex(bars.candles.index[-BARS:])
    parts = np.array_split(np.arange(BARS), FOLDS)
    folds = tuple(Fold(scored[part[0]], int(part[0]), int(part[-1]) + 1) for part in parts)
    history: Any = SimpleNamespace(settings=world.settings, market=world.market)
    return KnownMarket(history, (bars,), scored, folds)


def search(world: World, trials: int) -> tuple[Recipe, dict[str, float | None]]:
    """The recipe of the best trial, and the numbers of the search."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    recipe = world.settings.recipes[world.recipe].model_dump(mode="json", exclude={"search"})
    settings = {"space": SPACE, "trials": trials, "bars": BARS, "folds": FOLDS}
    searched = Recipe.model_validate({**recipe, "search": settings})
    assert searched.search is not None
    study = open_study(optuna.storages.InMemoryStorage(), "search")
    with tempfile.TemporaryDirectory() as folder:
        runner = TrialRunner(known_market(world), searched, searched.search, study, Path(folder), lambda line: None)
        results = [trial for trial in runner.run() if trial.score is not None]
    best = max(results, key=lambda trial: (trial.score, -trial.number))
    count = count_trials(results, best)
    numbers = {
        "best_score": best.score,
        "effective_trials": count.effective.number,
        "overfitting": count.overfitting[0],
        "deflated_sharpe": count.deflated_sharpe[0],
    }
    return searched.with_values(best.chosen), numbers


def outcome(task: tuple[int, int]) -> dict[str, Any]:
    """What a search on the market of a seed finds, and what its best recipe earns in the 26 weeks after it."""
    seed, trials = task
    settings = demo_settings()
    world = world_of(settings, seed, edge=False)
    recipe, numbers = search(world, trials)
    recipes = {**settings.recipes, FOUND: recipe}
    weeks = pd.date_range(AS_OF, world.weeks[-1], freq=WEEK)
    after = world._replace(settings=settings.model_copy(update={"recipes": recipes}), recipe=FOUND, weeks=weeks)
    scores = {week: scored for week, scored in shadow_scores(after)[0].items() if week > f"{AS_OF:%Y-%m-%d}"}
    policy = policy_of(world)
    net = pd.concat([scored.loc[scored["strategy"] == FOUND, "net_return"] for scored in scores.values()])

    def promoted(rule: PromotionRule, trials_counted: int = 1) -> bool:
        decided = decide_weeks(scores, [FOUND], policy._replace(rule=rule, seeds={FOUND: trials_counted}))
        return any(decision.verdict == "PROMOTE" for decision in decided)

    year = policy.periods**0.5
    return {
        "seed": seed,
        "best in sample": f"{numbers['best_score'] * year:.1f}",
        "effective of trials": f"{numbers['effective_trials']:.0f} of {trials}",
        "overfitting": f"{numbers['overfitting']:.0%}",
        "deflated Sharpe": f"{numbers['deflated_sharpe']:.2f}",
        "26 weeks later": f"{(sharpe(net.to_numpy(), 1.0)[0] or 0.0) * year:.1f}",
        "promoted": promoted(settings.promotion),
        "by evidence": promoted(EvidenceRule(), 1 + whole(numbers["effective_trials"] or 0)),
        "by evidence, not counted": promoted(EvidenceRule()),
    }


def main(markets: int, trials: int, folder: str | None) -> None:
    """All markets, two at a time."""
    os.environ["OPENBLAS_NUM_THREADS"] = "1"
    began, rows = time.perf_counter(), []
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        for row in pool.map(outcome, [(seed, trials) for seed in range(1, markets + 1)]):
            rows.append(row)
            print(row, file=sys.stderr, flush=True)
    table = pd.DataFrame(rows)
    lines = [f"{name}: {share(int(table[name].sum()), markets)}" for name in DECIDED]
    text = (
        f"{table.to_markdown(index=False, disable_numparse=True)}\n\n{'; '.join(lines)}, of {markets} markets, with "
        "exact 95 % intervals. Sharpe ratios are annual.\n"
    )
    print(f"{text}\n{time.perf_counter() - began:.0f} s")
    if folder:
        Path(folder, "search_without_edge.md").write_text(text)


if __name__ == "__main__":
    given = sys.argv[1:]
    main(
        int(given[0]) if given else 10,
        int(given[1]) if len(given) > 1 else 200,
        given[2] if len(given) > 2 else None,
    )
