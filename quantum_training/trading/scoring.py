"""Shadow scores: what each strategy would have earned on bars its model had never seen. No model is loaded here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from quantum_training.trading.account import Account
from quantum_training.trading.costs import Costs
from quantum_training.trading.simulator import simulate


class Version(NamedTuple):
    """One trained version of a recipe."""

    as_of: pd.Timestamp
    model_id: str


class Decisions(NamedTuple):
    """Positions decided at each bar's close for the bar after it, and the version that decided ("" for none)."""

    position: pd.Series
    model_id: pd.Series


def assign_versions(bars: pd.DatetimeIndex, versions: Sequence[Version]) -> np.ndarray:
    """For each bar, the index of the newest version with as_of <= the bar's open, or -1. `versions` oldest first."""
    as_of = pd.DatetimeIndex([v.as_of for v in versions], tz="UTC").as_unit("ns")
    return as_of.searchsorted(bars, side="right") - 1


def score(
    candles: pd.DataFrame, start: pd.Timestamp, strategies: Mapping[str, Decisions], costs: Costs, account: Account
) -> pd.DataFrame:
    """Account for every strategy over the bars from `start` on.

    candles: bars up to the end of the scored week with at least one before `start`. Decisions are indexed by the bar
    that FILLS them. The week is entered with the account's capital and the position decided for the bar before it, so
    that a position held over the weekend pays no cost and no earlier score has to be read. A missing decision counts
    as flat; its `target` stays NaN.

    Returns rows by (strategy, open_time): index open_time; columns strategy, model_id and those of Simulation.frame.
    """
    week = candles.loc[start:]
    before = candles[candles.index < start].iloc[-1]
    target = pd.DataFrame({name: d.position.reindex(week.index) for name, d in strategies.items()})
    held = [d.position.get(before.name, np.nan) for d in strategies.values()]
    result = simulate(week, target.fillna(0.0), costs, account, np.nan_to_num(held), float(before["close"]))
    frames = []
    for name, decisions in strategies.items():
        frame = result.frame(name).assign(target=target[name])
        frame.insert(0, "strategy", name)
        frame.insert(1, "model_id", decisions.model_id.reindex(week.index).fillna(""))
        frames.append(frame)
    return pd.concat(frames)


def by_strategy(scores: pd.DataFrame, column: str) -> pd.DataFrame:
    """One column of a score record as open_time x strategy; bars without a decision are NaN."""
    decided = scores[scores["target"].notna()]
    return decided.pivot(columns="strategy", values=column).sort_index()  # noqa: PD010 - it refuses a bar that is there twice
