"""How often the promotion and rollback rules are right: seeded campaigns of simulated recipes, exact intervals.

    python -m quantum_training_tests.benchmarks.promotion_rates [worlds] [folder]

Prints a Markdown table, and writes it as promotion_rates.md into the folder. The rules beside the default one are
simulated in a part of the worlds; Hansen's test, a guardrail of `evidence`, takes long. The worlds are
promotion_worlds.py.
"""

import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import binomtest

from quantum_training.selection.guardrails import ScoredReturns, guardrails
from quantum_training.selection.harm import RollbackPolicy, drawdown_limit, monitor_harm
from quantum_training.selection.joint_rule import JointRule, PromotionRule, least_correlation
from quantum_training.selection.paired_test import MarketReturns, PairedReturns
from quantum_training.selection.rule import EvidenceRule, ImprovementRule, InterimAnalysis
from quantum_training_tests.benchmarks.promotion_worlds import (
    BARS,
    DAY,
    PERIODS,
    SHARPE,
    SPREAD,
    VOLATILITY,
    WEEK_BARS,
    WEEKS,
    Case,
    World,
    ratio_of_equal_days,
    shocks,
    worlds_of,
)

FRACTIONS = tuple((w + 1) / WEEKS for w in range(WEEKS))
CHUNK = 50
OPEN = {"min_dsr": 0.0, "max_spa_p": 1.0}
POLICY = RollbackPolicy()

FALSE, FOUND = "at most 5 %", "at least 85 %"
MARKETS = ("volatility regimes", "day and night", "rare crashes")
CASES = [
    Case("equal skill", (0.0,), FALSE),
    Case("equal skill, family of 5", (0.0,) * 5, FALSE),
    Case("equal skill, AR(.5) differences", (0.0,), "at most 6.5 %", memory=0.5),
    *(
        Case(
            f"equal skill by day, AR({memory:.1f}) of the challenger".replace("0.", "."),
            (ratio_of_equal_days(memory),),
            FALSE,
            memory=memory,
            champion_memory=0.0,
        )
        for memory in (0.1, 0.5)
    ),
    *(Case(f"{kind}, no skill, against flat", (0.0,) * 3, FALSE, market=kind, champion=False) for kind in MARKETS),
    *(Case(f"{kind}, no skill", (0.0,) * 2, FALSE, market=kind) for kind in MARKETS),
    Case("worse by .02 Sharpe a bar", (-0.02 / SPREAD,), "at most 0.5 %"),
    Case("equal skill at twice the risk", (0.0,), FALSE, leverage=2.0),
    Case("champion loses .05 a bar, challenger earns 0", (0.05 / SPREAD,), "", champion_sharpe=-0.05),
    Case("IR .10, by week 12", (0.10,), "at least 99 %", weeks=12),
    Case("IR .05, by week 26", (0.05,), FOUND),
    Case("IR .05 and 4 of equal skill, by week 26", (0.05, 0, 0, 0, 0), "at least 75 %"),
    *(Case(f"{kind}, IR .05, against flat", (0.05,), FOUND, market=kind, champion=False) for kind in MARKETS),
    *(Case(f"{kind}, IR .05", (0.05,), FOUND, market=kind) for kind in MARKETS),
]
RULES: dict[str, PromotionRule] = {
    "joint": JointRule(),
    "evidence, no guardrails": EvidenceRule(**OPEN),
    "evidence": EvidenceRule(),
    "improvement": ImprovementRule(),
}
SHARE_OF_WORLDS = {"joint": 1.0, "evidence, no guardrails": 0.25, "evidence": 0.1, "improvement": 0.25}
DECAYS = [
    Case("rollback, no decay", (SHARPE,), "at most 6 %"),
    Case("rollback, live Sharpe 0 a bar", (0.0,), "none set"),
    Case("rollback, live Sharpe -.08 a bar, by week 8", (-0.08,), "at least 99 %", weeks=8),
]


def campaign(rule: PromotionRule, world: World, weeks: int) -> int | None:
    """The week in which any challenger is promoted."""
    family = world.net.shape[1] - 1
    waiting = set(range(1, family + 1))
    for week in range(2, weeks):
        pairs = dict(enumerate(_pairs(world, slice(0, (week + 1) * WEEK_BARS)), 1))
        correlation = least_correlation([p.challenger - p.incumbent for p in pairs.values()], pairs[1].day)
        look = InterimAnalysis(FRACTIONS[2 : week + 1], family, week == WEEKS - 1, PERIODS, correlation)
        for recipe in sorted(waiting):
            verdict = rule.judge(pairs[recipe], look).verdict
            if verdict == "PROMOTE" and not _blocked_by_guardrails(rule, world, recipe, len(pairs[1].day)):
                return week + 1
            if verdict == "REJECT":
                waiting.discard(recipe)
    return None


def _pairs(world: World, rows: slice) -> Iterator[PairedReturns]:
    market = MarketReturns(world.market[rows], world.before)
    net, position = world.net[rows], world.position[rows]
    for recipe in range(1, net.shape[1]):
        yield PairedReturns(net[:, recipe], net[:, 0], DAY[rows], market, position[:, recipe], position[:, 0])


def _blocked_by_guardrails(rule: PromotionRule, world: World, recipe: int, bars: int) -> bool:
    """Do the guardrails of `evidence` hold it back? All trade as often."""
    if not isinstance(rule, EvidenceRule) or rule.min_dsr == 0:
        return False
    names = ["champion", *(f"r{i}" for i in range(1, world.net.shape[1]))]
    net = pd.DataFrame(world.net[:bars], columns=names).assign(buy_and_hold=world.market[:bars])
    incumbent = "champion" if net["champion"].any() else None
    trials = {name: net[name].to_numpy() for name in names if name != "champion" or incumbent}
    returns = ScoredReturns(net, net * 0 + 0.1, trials)
    return bool(guardrails(rule, names[recipe], incumbent, returns).failures)


def promotions(task: tuple[Case, str, int, int]) -> list[int | None]:
    """Outcome of one chunk of worlds."""
    case, name, seed, worlds = task
    return [campaign(RULES[name], world, case.weeks) for world in worlds_of(case, seed, worlds)]


def rollbacks(task: tuple[Case, str, int, int]) -> list[int | None]:
    """The week of the rollback in each of a chunk of worlds: 26 weeks of record, then 26 weeks in office."""
    case, _, seed, worlds = task
    rng = np.random.default_rng([seed, 2])
    noise, volatility = shocks(rng, worlds, 2 * BARS, [case.memory] * 2)
    rollback_weeks: list[int | None] = []
    for world in range(worlds):
        scale = VOLATILITY * volatility[world]
        record = scale[:BARS] * (noise[world, :BARS, 1] + SHARPE)
        limit = drawdown_limit(record.reshape(-1, 24).sum(axis=1), WEEKS * 7, POLICY.drawdown_quantile)
        former = scale[BARS:] * (noise[world, BARS:, 0] + SHARPE)
        live = scale[BARS:] * (noise[world, BARS:, 1] + case.ratios[0])
        rollback_weeks.append(None)
        for week in range(case.weeks):
            rows = slice(0, (week + 1) * WEEK_BARS)
            looks = FRACTIONS[2 : week + 1]
            if monitor_harm(POLICY, PairedReturns(former[rows], live[rows], DAY[rows]), looks, limit, "former").reason:
                rollback_weeks[-1] = week + 1
                break
    return rollback_weeks


def decays(task: tuple[Case, str, int, int]) -> list[int | None]:
    """The first week whose Sharpe ratio is more than 10 % below the baseline: the plain decay rule, same worlds."""
    case, _, seed, worlds = task
    noise, volatility = shocks(np.random.default_rng([seed, 2]), worlds, 2 * BARS, [case.memory] * 2)
    live = VOLATILITY * volatility[:, BARS:] * (noise[:, BARS:, 1] + case.ratios[0])
    weekly = live.reshape(worlds, WEEKS, WEEK_BARS)
    low = weekly.mean(axis=2) / weekly.std(axis=2) < 0.9 * SHARPE
    return [int(row.argmax()) + 1 if row[: case.weeks].any() else None for row in low]


def row(pool: ProcessPoolExecutor, work, case: Case, rule: str, worlds: int) -> dict[str, str]:
    """One line of the table: rate with its exact 95 % interval and the median week."""
    tasks = [(case, rule, seed, min(CHUNK, worlds - seed * CHUNK)) for seed in range(-(-worlds // CHUNK))]
    outcomes = [week for chunk in pool.map(work, tasks) for week in chunk]
    hits = [week for week in outcomes if week is not None]
    low, high = binomtest(len(hits), len(outcomes)).proportion_ci(0.95, "exact")
    line = {
        "truth": case.name,
        "rule": rule,
        "changes the champion": f"{len(hits) / len(outcomes):.1%} [{low:.1%}, {high:.1%}]",
        "median week": f"{np.median(hits):.0f}" if hits else "-",
        "worlds": str(len(outcomes)),
        "goal": case.goal if rule in ("joint", "harm or drawdown") else "",
    }
    print(line, file=sys.stderr, flush=True)
    return line


def main(worlds: int, folder: str | None) -> None:
    """All cases under all rules."""
    started, rows = time.perf_counter(), []
    with ProcessPoolExecutor(2) as pool:
        for case in CASES:
            for rule in RULES:
                rows.append(row(pool, promotions, case, rule, max(int(worlds * SHARE_OF_WORLDS[rule]), 1)))
        for case in DECAYS:
            for work, rule in ((rollbacks, "harm or drawdown"), (decays, "week's Sharpe 10 % below")):
                rows.append(row(pool, work, case, rule, worlds))
    table = pd.DataFrame(rows).to_markdown(index=False, disable_numparse=True)
    print(f"{table}\n\n{time.perf_counter() - started:.0f} s")
    if folder:
        Path(folder, "promotion_rates.md").write_text(table + "\n")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 2000, sys.argv[2] if len(sys.argv) > 2 else None)
