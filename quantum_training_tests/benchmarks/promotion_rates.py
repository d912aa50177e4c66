"""How often the promotion and rollback rules are right: seeded campaigns of simulated recipes, exact intervals.

    python quantum_training_tests/benchmarks/promotion_rates.py [worlds] [folder]

Prints a Markdown table, and writes it as promotion_rates.md into the folder. 2,000 worlds take some minutes on 2 cores.

A world is 26 weeks of hourly bars. All recipes share nine tenths of their variance, have Student's t shocks with 5
degrees of freedom and one GARCH(1,1) volatility of 0.5 % a bar, and a Sharpe ratio of 0.03 a bar. A challenger is
better or worse by its information ratio (IR) a bar: mean over standard deviation of its difference to the champion.
"""

import sys
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.signal import lfilter
from scipy.stats import binomtest

from quantum_training.selection.guardrails import ScoredReturns, guardrails
from quantum_training.selection.harm import RollbackPolicy, drawdown_limit, monitor_harm
from quantum_training.selection.rule import EvidenceRule, ImprovementRule, InterimAnalysis, PairedReturns

WEEKS, WEEK_BARS, PERIODS = 26, 168, 8760
BARS = WEEKS * WEEK_BARS
DAY = np.arange(BARS) // 24
FRACTIONS = tuple((w + 1) / WEEKS for w in range(WEEKS))
SHARPE, VOLATILITY, SHARED = 0.03, 0.005, 0.9
SPREAD = np.sqrt(2 * (1 - SHARED))  # of a difference of two recipes, in units of a recipe's volatility
CHUNK = 50
OPEN = {"min_dsr": 0.0, "max_spa_p": 1.0}
POLICY = RollbackPolicy()


class Case(NamedTuple):
    """Challengers of these information ratios against one champion; `weeks` until the outcome counts."""

    name: str
    ratios: tuple[float, ...]
    goal: str
    weeks: int = WEEKS
    memory: float = 0.0


CASES = [
    Case("equal skill", (0.0,), "at most 5 %"),
    Case("equal skill, family of 5", (0.0,) * 5, "at most 5 %"),
    Case("equal skill, AR(.5) differences", (0.0,), "at most 6.5 %", memory=0.5),
    Case("worse by .02 Sharpe a bar", (-0.02 / SPREAD,), "at most 0.5 %"),
    Case("IR .10, by week 12", (0.10,), "at least 99 %", weeks=12),
    Case("IR .05, by week 26", (0.05,), "at least 90 %"),
    Case("IR .05 and 4 of equal skill, by week 26", (0.05, 0, 0, 0, 0), "at least 80 %"),
]
RULES = {
    "evidence": EvidenceRule(**OPEN),
    "improvement, any look": ImprovementRule(),
    "improvement, once at 100 bars": ImprovementRule(),
}
DECAYS = [
    Case("rollback, no decay", (SHARPE,), "at most 6 %"),
    Case("rollback, live Sharpe 0 a bar", (0.0,), "none set"),
    Case("rollback, live Sharpe -.08 a bar, by week 8", (-0.08,), "at least 99 %", weeks=8),
]


def shocks(rng: np.random.Generator, worlds: int, bars: int, recipes: int, memory: float) -> np.ndarray:
    """Returns without skill, (worlds, bars, recipes), in units of a recipe's volatility; one variance path a world."""
    common = rng.standard_t(5, (worlds, bars)) / np.sqrt(5 / 3)
    idiosyncratic = rng.standard_t(5, (worlds, bars, recipes)) / np.sqrt(5 / 3)
    if memory:
        idiosyncratic = lfilter([np.sqrt(1 - memory**2)], [1, -memory], idiosyncratic, axis=1)
    variance, path = np.ones(worlds), np.empty((worlds, bars))
    for t in range(bars):
        path[:, t] = variance
        variance = 0.01 + 0.05 * variance * common[:, t] ** 2 + 0.94 * variance
    mixed = np.sqrt(SHARED) * common[..., None] + np.sqrt(1 - SHARED) * idiosyncratic
    return mixed, np.sqrt(path)


def campaign(
    rule: EvidenceRule | ImprovementRule, returns: np.ndarray, weeks: int, once: bool, gates: bool
) -> int | None:
    """The week in which any challenger is promoted; column 0 is the champion. `once`: one look at 100 bars."""
    family = returns.shape[1] - 1
    waiting = set(range(1, family + 1))
    for week in range(weeks):
        rows = slice(0, rule.min_predictions if once else (week + 1) * WEEK_BARS)
        look = InterimAnalysis(FRACTIONS[2 : week + 1], family, week == WEEKS - 1, PERIODS)
        for recipe in sorted(waiting):
            pair = PairedReturns(returns[rows, recipe], returns[rows, 0], DAY[rows])
            verdict = rule.judge(pair, look).verdict if once or look.fractions else "INSUFFICIENT"
            if verdict == "PROMOTE" and gates and _blocked_by_guardrails(rule, returns[rows], recipe):
                continue
            if verdict == "PROMOTE":
                return week + 1
            if verdict == "REJECT":
                waiting.discard(recipe)
        if once:
            return None
    return None


def _blocked_by_guardrails(rule: EvidenceRule, returns: np.ndarray, recipe: int) -> bool:
    """Do the guardrails of the default settings hold it back? Buy & Hold earns nothing on average here."""
    names = ["champion", *(f"r{i}" for i in range(1, returns.shape[1]))]
    table = pd.DataFrame(returns, columns=names)
    passive = np.random.default_rng(int(1e6 * abs(returns[0, 0]))).normal(0, VOLATILITY, len(table))
    net = table.assign(buy_and_hold=passive)
    default = rule.model_copy(update={"min_dsr": 0.95, "max_spa_p": 0.05})
    trials = {name: table[name].to_numpy() for name in names}
    return bool(guardrails(default, names[recipe], "champion", ScoredReturns(net, net * 0 + 0.1, trials)).failures)


def promotions(task: tuple[Case, str, int, int, bool]) -> list[int | None]:
    """Outcome of one chunk of worlds."""
    case, name, seed, worlds, gates = task
    rng = np.random.default_rng([seed, 1])
    skill = np.array([SHARPE, *(SHARPE + SPREAD * r for r in case.ratios)])
    noise, volatility = shocks(rng, worlds, BARS, len(skill), case.memory)
    once = "once" in name
    promotion_weeks = []
    for world in range(worlds):
        returns = VOLATILITY * volatility[world][:, None] * (noise[world] + skill)
        promotion_weeks.append(campaign(RULES[name], returns, case.weeks, once, gates))
    return promotion_weeks


def rollbacks(task: tuple[Case, str, int, int, bool]) -> list[int | None]:
    """The week of the rollback in each of a chunk of worlds: 26 weeks of record, then 26 weeks in office."""
    case, _, seed, worlds, _ = task
    rng = np.random.default_rng([seed, 2])
    noise, volatility = shocks(rng, worlds, 2 * BARS, 2, case.memory)
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


def decays(task: tuple[Case, str, int, int, bool]) -> list[int | None]:
    """The first week whose Sharpe ratio is more than 10 % below the baseline: the plain decay rule, same worlds."""
    case, _, seed, worlds, _ = task
    noise, volatility = shocks(np.random.default_rng([seed, 2]), worlds, 2 * BARS, 2, case.memory)
    live = VOLATILITY * volatility[:, BARS:] * (noise[:, BARS:, 1] + case.ratios[0])
    weekly = live.reshape(worlds, WEEKS, WEEK_BARS)
    low = weekly.mean(axis=2) / weekly.std(axis=2) < 0.9 * SHARPE
    return [int(row.argmax()) + 1 if row[: case.weeks].any() else None for row in low]


def row(pool: ProcessPoolExecutor, work, case: Case, rule: str, worlds: int, gates: bool = False) -> dict[str, str]:
    """One line of the table: rate with its exact 95 % interval and the median week."""
    tasks = [(case, rule, seed, min(CHUNK, worlds - seed * CHUNK), gates) for seed in range(-(-worlds // CHUNK))]
    outcomes = [week for chunk in pool.map(work, tasks) for week in chunk]
    hits = [week for week in outcomes if week is not None]
    low, high = binomtest(len(hits), len(outcomes)).proportion_ci(0.95, "exact")
    return {
        "truth": case.name,
        "rule": rule + (", with the guardrails" if gates else ""),
        "changes the champion": f"{len(hits) / len(outcomes):.1%} [{low:.1%}, {high:.1%}]",
        "median week": f"{np.median(hits):.0f}" if hits else "-",
        "worlds": str(len(outcomes)),
        "goal": case.goal if rule in ("evidence", "harm or drawdown") and not gates else "",
    }


def main(worlds: int, folder: str | None) -> None:
    """All cases under all rules."""
    started, rows = time.perf_counter(), []
    with ProcessPoolExecutor(2) as pool:
        for case in CASES:
            for rule in RULES:
                rows.append(row(pool, promotions, case, rule, worlds))
                print(rows[-1], file=sys.stderr, flush=True)
            rows.append(row(pool, promotions, case, "evidence", max(worlds // 10, 1), gates=True))
            print(rows[-1], file=sys.stderr, flush=True)
        for case in DECAYS:
            for work, rule in ((rollbacks, "harm or drawdown"), (decays, "week's Sharpe 10 % below")):
                rows.append(row(pool, work, case, rule, worlds))
                print(rows[-1], file=sys.stderr, flush=True)
    table = pd.DataFrame(rows).to_markdown(index=False, disable_numparse=True)
    print(f"{table}\n\n{time.perf_counter() - started:.0f} s")
    if folder:
        Path(folder, "promotion_rates.md").write_text(table + "\n")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 2000, sys.argv[2] if len(sys.argv) > 2 else None)
