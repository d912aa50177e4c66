"""The guardrails: what a challenger must also pass once its evidence has crossed the boundary. Pure numbers."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
import pandas as pd

from quantum_training.selection.rule import EvidenceRule, ImprovementRule
from quantum_training.trading.baselines import BUY_AND_HOLD
from quantum_training.trading.metrics import max_drawdown, sharpe
from quantum_training.trading.uncertainty import deflated_sharpe

SEED = 7
RESAMPLES = 1000
BROKEN = "CRITICAL"
"""The severity of drift that means broken data."""


class Guardrails(NamedTuple):
    """What was measured, and a sentence for each guardrail that failed."""

    numbers: dict[str, float | str | None]
    failures: list[str]


def guardrails(
    rule: EvidenceRule,
    challenger: str,
    incumbent: str | None,
    campaign: pd.DataFrame,
    turnover: pd.DataFrame,
    record: Mapping[str, np.ndarray],
    seeds: Mapping[str, int] = MappingProxyType({}),
) -> Guardrails:
    """Drawdown, turnover, deflated Sharpe ratio and superior predictive ability of a challenger.

    campaign, turnover: net returns and turnover per bar of the campaign, a column per strategy with buy_and_hold.
    record: net returns per bar of each recipe since its first decision: the trials, each as often as `seeds` says that
    it is fitted. Without an incumbent there is no turnover to compare, and the drawdown is held against Buy & Hold's.
    """
    rival = incumbent or BUY_AND_HOLD
    net = {name: campaign[name].to_numpy() for name in {challenger, rival, BUY_AND_HOLD}}
    numbers: dict[str, float | str | None] = {}
    failures = []

    own, theirs = (abs(max_drawdown(net[name])) for name in (challenger, rival))
    numbers |= {"drawdown": own, "drawdown_rival": theirs}
    if own > rule.max_ratio * theirs:
        failures.append(f"drawdown {own:.1%} is above {rule.max_ratio:g} x the {theirs:.1%} of {rival}")
    if incumbent:
        traded, usual = (float(turnover[name].mean()) for name in (challenger, incumbent))
        numbers |= {"turnover": traded, "turnover_rival": usual}
        if traded > rule.max_ratio * usual:
            failures.append(f"turnover {traded:.4f} a bar is above {rule.max_ratio:g} x the {usual:.4f} of {incumbent}")
    if rule.min_dsr > 0:
        ratios = [r for net_returns in record.values() if (r := sharpe(net_returns, 1.0)[0]) is not None]
        spread = float(np.var(ratios, ddof=1)) if len(ratios) > 1 else 0.0
        trials = sum(seeds.get(recipe, 1) for recipe in record)
        dsr, why = deflated_sharpe(record[challenger], trials, spread)
        numbers["dsr"] = dsr
        if dsr is None or dsr < rule.min_dsr:
            found = why if dsr is None else f"{dsr:.3f}"
            failures.append(f"deflated Sharpe ratio {found} of {rule.min_dsr:g} needed, {trials} trials")
    if rule.max_spa_p < 1:
        rivals = {rival: net[rival], BUY_AND_HOLD: net[BUY_AND_HOLD], "flat": np.zeros(len(campaign))}
        for name, returns in rivals.items():
            p = numbers[f"spa_p_{name}"] = spa_p(net[challenger], returns)
            if p > rule.max_spa_p:
                failures.append(f"not shown to be better than {name}: SPA p {p:.3f}, needed at most {rule.max_spa_p:g}")
    return Guardrails(numbers, failures)


def whole(rule: EvidenceRule | ImprovementRule, undecided: float, drift: str | None) -> Guardrails:
    """Are the data whole that a challenger crossed the boundary on? No rule promotes on broken ones.

    undecided: share of its bars without a decision. drift: worst severity of the last week's data; CRITICAL means that
    they are broken, None that nobody measured, which is said and holds nothing back: markets without drift reports have
    campaigns too.
    """
    numbers: dict[str, float | str | None] = {"undecided": undecided, "drift": drift or "not measured"}
    failures = []
    if undecided > rule.max_undecided:
        failures.append(f"no decision on {undecided:.2%} of its bars, at most {rule.max_undecided:.2%} may lack one")
    if drift == BROKEN:
        failures.append(f"the data of the week are broken: drift {drift}")
    return Guardrails(numbers, failures)


def spa_p(challenger: np.ndarray, rival: np.ndarray) -> float:
    """p-value of Hansen's (2005) consistent SPA test that `rival` is not beaten; 1 where both returns are the same."""
    from arch.bootstrap import SPA

    if not (challenger != rival).any():
        return 1.0
    test = SPA(-rival, -challenger, reps=RESAMPLES, seed=SEED)
    test.compute()
    return float(test.pvalues["consistent"])
