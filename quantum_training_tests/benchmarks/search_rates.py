"""How often a search leads to a promotion, on markets without any edge and on one that only another depth can learn.

    python -m quantum_training_tests.benchmarks.search_rates [markets] [folder] [processes]

Writes a row for each market into search_rates.jsonl of the folder, goes on with what is not in it yet, and prints a
Markdown table, which it writes as search_rates.md. The markets are search_worlds.py. In each market a search sees the
bars up to AS_OF. Then three ways to trade go through the same year: the recipe as it was and the recipe that the search
found, each as the challenger of its own campaigns, and the latter live at once. Each week is trained, scored and
decided by the functions that the assets call, without Dagster, MLflow and store.
"""

import json
import os
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import binomtest

from quantum_training.lifecycle.search.counted import whole
from quantum_training.models.contract import Model
from quantum_training.selection.champion import decide_weeks
from quantum_training.selection.decision import Decision
from quantum_training.selection.joint_rule import JointRule, PromotionRule
from quantum_training.selection.rule import EvidenceRule
from quantum_training.trading.metrics import max_drawdown, sharpe
from quantum_training.trading.scoring import Version
from quantum_training_tests.benchmarks.edge_life import (
    World,
    accepted_versions,
    fitted_versions,
    policy_of,
    share,
    weekly_scores,
)
from quantum_training_tests.benchmarks.search_worlds import AS_OF, DEFAULT, EDGES, search, world_of

SEARCHED = "searched"
LIVE, CHAMPION = "searched, live at once", "searched, champion"
ORDERS = ((SEARCHED, DEFAULT), (DEFAULT, SEARCHED))
RULES: dict[str, PromotionRule] = {"joint": JointRule(), "evidence": EvidenceRule()}


def row_of(task: tuple[str, int]) -> dict[str, Any]:
    """What the search finds in the market of a kind and seed, and what becomes of each way to trade in the year after.

    Sharpe ratios are annual. promoted: by challengers and rule, the week of the first promotion.
    """
    kind, seed = task
    world = world_of(EDGES[kind], seed)
    found, numbers = search(world)
    recipes = {**world.settings.recipes, SEARCHED: found}
    world = world._replace(settings=world.settings.model_copy(update={"recipes": recipes}))
    scores = scores_after(world)
    policy = policy_of(world)._replace(seeds={SEARCHED: 1 + whole(numbers["effective"])})
    promoted: dict[str, int | None] = {}
    net = {name: column(scores, name, "net_return") for name in (DEFAULT, SEARCHED, LIVE)}
    turnover = {name: column(scores, name, "turnover") for name in net}
    for challengers in ((DEFAULT,), (SEARCHED,), (DEFAULT, SEARCHED)):
        records = {week: frame[~frame["strategy"].isin({*net} - {*challengers})] for week, frame in scores.items()}
        for name, rule in RULES.items():
            decided = [*decide_weeks(records, challengers, policy._replace(rule=rule))]
            weeks = (number for number, decision in enumerate(decided, 1) if decision.verdict == "PROMOTE")
            promoted[f"{' and '.join(challengers)}, {name}"] = next(weeks, None)
            if (challengers, name) == ((SEARCHED,), "joint"):
                bars = in_office(decided, scores)
                net[CHAMPION], turnover[CHAMPION] = net[SEARCHED] * bars, turnover[SEARCHED] * bars
    return {
        "kind": kind,
        "seed": seed,
        **numbers,
        "in_sample": numbers["in_sample"] * policy.periods**0.5,
        "promoted": promoted,
        "sharpe": {name: sharpe(returns, policy.periods)[0] or 0.0 for name, returns in net.items()},
        "total": {name: float(np.prod(1 + returns) - 1) for name, returns in net.items()},
        "turnover": {name: float(traded.sum()) for name, traded in turnover.items()},
        "drawdown": {name: max_drawdown(returns) for name, returns in net.items()},
    }


def scores_after(world: World) -> dict[str, pd.DataFrame]:
    """The score record of each week of the year: both recipes by their accepted versions, LIVE by every version."""
    strategies: dict[str, dict[Version, Model]] = {}
    for recipe in (DEFAULT, SEARCHED):
        of_recipe = world._replace(recipe=recipe)
        fitted = fitted_versions(of_recipe)
        strategies[recipe] = {version: fitted[version][0] for version in accepted_versions(of_recipe, fitted)}
    strategies[LIVE] = {version: model for version, (model, _) in fitted.items()}
    scores = weekly_scores(world, strategies)
    return {week: frame for week, frame in scores.items() if week > f"{AS_OF:%Y-%m-%d}"}


def column(scores: dict[str, pd.DataFrame], strategy: str, name: str) -> np.ndarray:
    """A strategy's column of all records, (bars,)."""
    return np.concatenate([frame.loc[frame["strategy"] == strategy, name] for frame in scores.values()])


def in_office(decided: Sequence[Decision], scores: dict[str, pd.DataFrame]) -> np.ndarray:
    """Is there a champion in each bar of the records, (bars,)? The decision of a week is for the bars of the next."""
    follows = [False, *(decision.champion is not None for decision in decided[:-1])]
    return np.repeat(follows, [frame.index.nunique() for frame in scores.values()])


def page(rows: pd.DataFrame) -> str:
    """The table of all kinds of markets. rows: of `row_of`, with nested keys joined by a point."""
    kinds = {kind: rows[rows["kind"] == kind] for kind in EDGES}
    lines = pd.DataFrame({kind: summary(of_kind) for kind, of_kind in kinds.items()})
    last = kinds[[*EDGES][-1]]
    only, lost = (
        int((last[ours].notna() & last[theirs].isna()).sum())
        for ours, theirs in ((f"promoted.{a}, joint", f"promoted.{b}, joint") for a, b in ORDERS)
    )
    low = binomtest(only, len(last)).proportion_ci(0.975, "exact").low
    high = binomtest(lost, len(last)).proportion_ci(0.975, "exact").high
    return (
        f"{lines.to_markdown(disable_numparse=True)}\n\nShares with exact 95 % intervals; else the mean and, in "
        f"brackets, the 5 and 95 % quantiles. By `joint`, {only} of {len(last)} markets with the edge promote only the "
        f"searched recipe and {lost} only the default one: {100 * (only - lost) / len(last):.0f} points more, at least "
        f"{100 * (low - high):.0f} at 95 %.\n"
    )


def summary(rows: pd.DataFrame) -> dict[str, str]:
    """A column of the table."""
    count = len(rows)

    def spread(name: str, unit: str = ".1f") -> str:
        low, high = np.percentile(rows[name], [5, 95])
        return f"{rows[name].mean():{unit}} [{low:{unit}}, {high:{unit}}]"

    lines = {
        "markets": f"{count}",
        "effective trials, of 200": spread("effective", ".0f"),
        "probability of overfitting": spread("overfitting", ".0%"),
        "annual Sharpe ratio of the best trial, in sample": spread("in_sample"),
        "of its recipe in the year after": spread(f"sharpe.{SEARCHED}"),
        "of the default recipe in that year": spread(f"sharpe.{DEFAULT}"),
    }
    for challengers in (DEFAULT, SEARCHED, f"{DEFAULT} and {SEARCHED}"):
        for rule in RULES:
            hits = int(rows[f"promoted.{challengers}, {rule}"].notna().sum())
            lines[f"{challengers}: promoted within the year, `{rule}`"] = share(hits, count)
    for name in (LIVE, CHAMPION):
        lines |= {
            f"{name}: annual Sharpe ratio": spread(f"sharpe.{name}"),
            f"{name}: return of the year": spread(f"total.{name}", ".1%"),
            f"{name}: markets in which it loses": share(int((rows[f"total.{name}"] < 0).sum()), count),
            f"{name}: turnover of the year, times the equity": spread(f"turnover.{name}", ".0f"),
            f"{name}: deepest drawdown of all": f"{rows[f'drawdown.{name}'].min():.1%}",
        }
    return lines


def main(markets: int, folder: Path, processes: int) -> None:
    """All markets that the folder has no row of yet, and the page of all."""
    os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"
    file = folder / "search_rates.jsonl"
    done = {(row["kind"], row["seed"]) for row in read(file)}
    tasks = [(kind, seed) for kind in EDGES for seed in range(1, markets + 1) if (kind, seed) not in done]
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool, file.open("a") as out:
        for row in pool.map(row_of, tasks):
            out.write(json.dumps(row) + "\n")
            out.flush()
    text = page(pd.json_normalize(read(file)))
    print(text)
    (folder / "search_rates.md").write_text(text)


def read(file: Path) -> list[dict[str, Any]]:
    """The rows of a file, none if it is not there."""
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


if __name__ == "__main__":
    given = sys.argv[1:]
    main(
        int(given[0]) if given else 100,
        Path(given[1] if len(given) > 1 else "."),
        int(given[2]) if len(given) > 2 else 2,
    )
