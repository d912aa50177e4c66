"""The guardrails: what a challenger must also pass once its evidence has crossed the boundary. Pure numbers."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
import pandas as pd

from quantum_training.selection.joint_rule import JointRule
from quantum_training.selection.rule import EvidenceRule, Rule
from quantum_training.trading.baselines import BUY_AND_HOLD
from quantum_training.trading.metrics import max_drawdown, sharpe
from quantum_training.trading.uncertainty import deflated_sharpe

SEED = 7
RESAMPLES = 1000
BROKEN = "CRITICAL"
"""The severity of drift that means broken data."""


class ScoredReturns(NamedTuple):
    """The returns that the guardrails measure. net, turnover: per bar of the campaign, a column per strategy with
    buy_and_hold. trials: net returns per bar of each recipe since its first decision. seeds: fits per version of each
    recipe, 1 if it is not named; each fit is a trial.
    """

    net: pd.DataFrame
    turnover: pd.DataFrame
    trials: Mapping[str, np.ndarray]
    seeds: Mapping[str, int] = MappingProxyType({})


class Guardrails(NamedTuple):
    """What was measured, and a sentence for each guardrail that failed."""

    numbers: dict[str, float | str | None]
    failures: list[str]


def guardrails(
    rule: EvidenceRule | JointRule, challenger: str, incumbent: str | None, returns: ScoredReturns
) -> Guardrails:
    """Turnover of a challenger; under `evidence` also drawdown, deflated Sharpe ratio and predictive ability.

    Without an incumbent there is no turnover to compare, and the drawdown is compared with that of Buy & Hold.
    """
    parts = []
    if isinstance(rule, EvidenceRule):
        parts.append(_drawdown(rule, challenger, incumbent or BUY_AND_HOLD, returns.net))
    if incumbent:
        parts.append(_turnover(rule, challenger, incumbent, returns.turnover))
    if isinstance(rule, EvidenceRule):
        if rule.min_dsr > 0:
            parts.append(_deflated_sharpe(rule, challenger, returns))
        if rule.max_spa_p < 1:
            parts.append(_predictive_ability(rule, challenger, incumbent or BUY_AND_HOLD, returns.net))
    numbers = {name: value for part in parts for name, value in part.numbers.items()}
    return Guardrails(numbers, [failure for part in parts for failure in part.failures])


def _drawdown(rule: EvidenceRule, challenger: str, rival: str, net: pd.DataFrame) -> Guardrails:
    ours, theirs = (abs(max_drawdown(net[name].to_numpy())) for name in (challenger, rival))
    failures = []
    if ours > rule.max_ratio * theirs:
        failures.append(f"drawdown {ours:.1%} is above {rule.max_ratio:g} x the {theirs:.1%} of {rival}")
    return Guardrails({"drawdown": ours, "drawdown_rival": theirs}, failures)


def _turnover(rule: EvidenceRule | JointRule, challenger: str, incumbent: str, turnover: pd.DataFrame) -> Guardrails:
    ours, theirs = (float(turnover[name].mean()) for name in (challenger, incumbent))
    failures = []
    if ours > rule.max_ratio * theirs:
        failures.append(f"turnover {ours:.4f} a bar is above {rule.max_ratio:g} x the {theirs:.4f} of {incumbent}")
    return Guardrails({"turnover": ours, "turnover_rival": theirs}, failures)


def _deflated_sharpe(rule: EvidenceRule, challenger: str, returns: ScoredReturns) -> Guardrails:
    ratios = [ratio for net in returns.trials.values() if (ratio := sharpe(net, 1.0)[0]) is not None]
    spread = float(np.var(ratios, ddof=1)) if len(ratios) > 1 else 0.0
    trials = sum(returns.seeds.get(recipe, 1) for recipe in returns.trials)
    dsr, reason = deflated_sharpe(returns.trials[challenger], trials, spread)
    failures = []
    if dsr is None or dsr < rule.min_dsr:
        value = reason if dsr is None else f"{dsr:.3f}"
        failures.append(f"deflated Sharpe ratio {value} of {rule.min_dsr:g} needed, {trials} trials")
    return Guardrails({"dsr": dsr}, failures)


def _predictive_ability(rule: EvidenceRule, challenger: str, rival: str, net: pd.DataFrame) -> Guardrails:
    rivals = {name: net[name].to_numpy() for name in dict.fromkeys((rival, BUY_AND_HOLD))}
    numbers: dict[str, float | str | None] = {}
    failures = []
    for name, returns in {**rivals, "flat": np.zeros(len(net))}.items():
        p = numbers[f"spa_p_{name}"] = spa_p(net[challenger].to_numpy(), returns)
        if p > rule.max_spa_p:
            failures.append(f"not shown to be better than {name}: SPA p {p:.3f}, needed at most {rule.max_spa_p:g}")
    return Guardrails(numbers, failures)


def data_is_complete(rule: Rule, undecided: float, drift: str | None) -> Guardrails:
    """Are the data complete on which a challenger crossed the boundary? No rule promotes on broken data.

    undecided: share of its bars without a decision. drift: worst severity of the last week's data. CRITICAL means that
    they are broken. None means not measured; that is recorded and blocks nothing, because markets without drift reports
    have campaigns, too.
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
