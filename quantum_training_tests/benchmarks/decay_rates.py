"""How often the decay rules are right: seeded champions of simulated markets, exact intervals.

    python -m quantum_training_tests.benchmarks.decay_rates [worlds] [folder]

Prints a Markdown table, and writes it as decay_rates.md into the folder. 2,000 worlds take some minutes on 2 cores.

A world is that of promotion_rates.py: hourly bars, fat tails, one GARCH volatility, recipes that share nine tenths of
their variance. A champion has a record, then 26 weeks in office. Where it was chosen, it is the recipe that the rule
`evidence` promotes over staying flat, in the week in which it does, so its record is the luckiest of its family.
"""

import sys
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.stats import binomtest

from quantum_training.monitoring.cusum import calibrate
from quantum_training.monitoring.decay_policy import TOLERANCE, DecayPolicy
from quantum_training.selection.paired_test import PairedReturns
from quantum_training.selection.rule import EvidenceRule, InterimAnalysis
from quantum_training_tests.benchmarks.promotion_rates import (
    BARS,
    CHUNK,
    DAY,
    FRACTIONS,
    OPEN,
    PERIODS,
    SHARPE,
    VOLATILITY,
    WEEK_BARS,
    WEEKS,
    shocks,
)

POLICY = DecayPolicy()
DAYS, DAY_BARS, DAYS_A_YEAR = WEEKS * 7, 24, 365
WINDOWS = {"4 weeks 10 % below": 4, "1 week 10 % below": 1}
RULES = ("CUSUM", *WINDOWS)
LIVES = {"no decay": None, "no decay, volatility x 2": None, "0": 0.0, "-.03": -0.03, "-.08": -0.08}
RULE = EvidenceRule(**OPEN)


class Case(NamedTuple):
    """Champions with records of `days` days that were not chosen or, with a family, the chosen of its recipes.

    skill: Sharpe ratio a bar of every recipe; None: each has its own, drawn with the policy's spread.
    """

    name: str
    skill: float | None = SHARPE
    family: int = 0
    days: int = DAYS


CASES = [
    Case("not chosen, 26 weeks of record"),
    Case("not chosen, 28 days of record", days=28),
    Case("best of 5", family=5),
    Case("best of 5, of half the skill", SHARPE / 2, family=5),
    Case("best of 5, skills drawn", None, family=5),
]


def champions(task: tuple[Case, int, int]) -> list[dict[tuple[str, str], int | None]]:
    """Of a chunk of worlds, for each champion the week of the alarm by live Sharpe ratio and rule."""
    case, seed, worlds = task
    rng = np.random.default_rng([seed, 3])
    recipes = max(case.family, 1)
    noise, volatility = shocks(rng, worlds, 2 * BARS, [0.0] * recipes)
    spread = POLICY.sharpe_spread / np.sqrt(PERIODS)
    results = []
    for world in range(worlds):
        skill = rng.normal(0, spread, recipes) if case.skill is None else np.full(recipes, case.skill)
        scale = VOLATILITY * volatility[world]
        returns = scale[:, None] * (noise[world] + skill)
        promotion = promoted(returns[:BARS]) if case.family else (0, BARS)
        if promotion is None:
            continue
        recipe, end = promotion
        record = returns[max(end - case.days * DAY_BARS, 0) : end, recipe]
        office = slice(end, end + BARS)
        live = {name: scale[office] * (noise[world, office, recipe] + ratio) for name, ratio in truths(skill[recipe])}
        live["no decay, volatility x 2"] *= 2
        results.append(alarms(record, live))
    return results


def truths(skill: float) -> list[tuple[str, float]]:
    """The live Sharpe ratios a bar of a champion of this skill."""
    return [(name, skill if ratio is None else ratio) for name, ratio in LIVES.items()]


def promoted(returns: np.ndarray) -> tuple[int, int] | None:
    """The first recipe that is shown to be better than staying flat, and the bar before which it was."""
    family = returns.shape[1]
    for week in range(2, WEEKS):
        rows = slice(0, (week + 1) * WEEK_BARS)
        look = InterimAnalysis(FRACTIONS[2 : week + 1], family, week == WEEKS - 1, PERIODS)
        flat = np.zeros(rows.stop)
        judged = [RULE.judge(PairedReturns(returns[rows, r], flat, DAY[rows]), look) for r in range(family)]
        better = [(judgement.z, r) for r, judgement in enumerate(judged) if judgement.verdict == "PROMOTE"]
        if better:
            return max(better)[1], rows.stop
    return None


def alarms(record: np.ndarray, live: dict[str, np.ndarray]) -> dict[tuple[str, str], int | None]:
    """The week of each rule's first alarm, by live Sharpe ratio and rule."""
    cusum = calibrate(record.reshape(-1, DAY_BARS).sum(axis=1), DAYS, DAYS_A_YEAR, POLICY)
    before = record.mean() / record.std(ddof=1)
    first_alarms: dict[tuple[str, str], int | None] = {}
    for name, net in live.items():
        above = cusum.sums(net.reshape(-1, DAY_BARS).sum(axis=1)) > cusum.limit
        first_alarms[name, "CUSUM"] = int(above.argmax()) // 7 + 1 if above.any() else None
        for rule, weeks in WINDOWS.items():
            recent = np.lib.stride_tricks.sliding_window_view(net, weeks * WEEK_BARS)[::WEEK_BARS]
            below = recent.mean(axis=1) / recent.std(axis=1, ddof=1) < before - TOLERANCE * abs(before)
            first_alarms[name, rule] = int(below.argmax()) + weeks if below.any() else None
    return first_alarms


def alarm_share(weeks: list[int | None]) -> str:
    """Share of alarms with its exact 95 % interval, and the median week."""
    hits = [week for week in weeks if week is not None]
    low, high = binomtest(len(hits), len(weeks)).proportion_ci(0.95, "exact")
    week = f", week {np.median(hits):.0f}" if hits else ""
    return f"{len(hits) / len(weeks):.1%} [{low:.1%}, {high:.1%}]{week}"


def main(worlds: int, folder: str | None) -> None:
    """All cases under all rules."""
    started, rows = time.perf_counter(), []
    with ProcessPoolExecutor(2) as pool:
        for case in CASES:
            tasks = [(case, seed, min(CHUNK, worlds - seed * CHUNK)) for seed in range(-(-worlds // CHUNK))]
            results = [champion for chunk in pool.map(champions, tasks) for champion in chunk]
            for live in LIVES:
                by_rule = {rule: alarm_share([champion[live, rule] for champion in results]) for rule in RULES}
                rows.append({"champion": case.name, "live Sharpe a bar": live, **by_rule, "champions": len(results)})
                print(rows[-1], file=sys.stderr, flush=True)
    table = pd.DataFrame(rows).to_markdown(index=False, disable_numparse=True)
    print(f"{table}\n\n{time.perf_counter() - started:.0f} s")
    if folder:
        Path(folder, "decay_rates.md").write_text(table + "\n")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 2000, sys.argv[2] if len(sys.argv) > 2 else None)
