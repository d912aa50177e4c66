"""Shadow scores: what each strategy would have earned on bars its model had never seen. Models come from the caller."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
import pandas as pd

from quantum_training.trading.account import Account
from quantum_training.trading.costs import Costs
from quantum_training.trading.simulator import Simulation, simulate


class Decider(Protocol):
    """What decides positions: models.contract.Model."""

    @property
    def memory(self) -> int: ...

    @property
    def has_account(self) -> bool: ...

    def positions(self, features: pd.DataFrame) -> pd.Series: ...


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


def decisions(
    candles: pd.DataFrame,
    features: pd.DataFrame,
    versions: Sequence[Version],
    start: pd.Timestamp,
    load: Callable[[str], Decider | None],
) -> Decisions:
    """A recipe's positions for each bar from the one before `start` on, decided at the close of the bar before each.

    versions: oldest first; each bar is decided by the newest with as_of <= its open. load: a version by its
    model_id; one that it gives no model for decides nothing on its bars.
    """
    filled = candles.index[max(candles.index.searchsorted(start) - 1, 1) :]
    decided = deciding_bars(candles.index, filled)
    chosen = assign_versions(pd.DatetimeIndex(filled), versions)
    position = pd.Series(np.nan, filled)
    model_id = pd.Series("", filled)
    for number in np.unique(chosen[chosen >= 0]):
        mask = chosen == number
        version = versions[number].model_id
        if (model := load(version)) is not None:
            position[mask] = positions_at(model, candles, features, decided[mask], pd.DatetimeIndex(filled[mask]))
        model_id[mask] = version
    return Decisions(position, model_id)


def positions_at(
    model: Decider, candles: pd.DataFrame, features: pd.DataFrame, decided: pd.DatetimeIndex, filled: pd.DatetimeIndex
) -> np.ndarray:
    """The model's positions at the closes of `decided`, for the bars `filled` after them; the one way to ask a model.

    A model with a memory is given the bars before, too. One that has an account of its own depends on how that stands.
    So that a bar's position is the same whenever and with whatever history it is asked for, that account is opened flat
    `memory` bars before the first decision for the UTC week (from Monday) of the filled bar, and lived through.
    candles: up to the last of `decided`. NaN where a feature is, and where fewer than `memory` bars are given before.
    """
    if not model.memory:
        return model.positions(features.reindex(decided)).to_numpy()

    def lived(first: Any, rows: np.ndarray) -> np.ndarray:
        bars = candles.iloc[first : candles.index.searchsorted(decided[rows[-1]]) + 1]
        seen = features.reindex(bars.index).join(bars[["open", "close"]])
        return model.positions(seen).reindex(decided[rows]).to_numpy()

    if not model.has_account:
        first = candles.index.searchsorted(decided[0]) - model.memory
        return lived(max(first, 0), np.arange(len(decided)))
    out = np.full(len(decided), np.nan)
    monday = (filled - pd.to_timedelta(filled.dayofweek, "D")).normalize()
    for week in monday.unique():
        rows = np.flatnonzero(monday == week)
        first = candles.index.searchsorted(week) - 1 - model.memory
        if first >= 0:
            out[rows] = lived(first, rows)
    return out


def deciding_bars(bars: pd.Index, filled: pd.Index) -> pd.DatetimeIndex:
    """The bar before each of `filled`, at whose close its position is decided. Every bar must have one before it."""
    return pd.DatetimeIndex(bars[bars.searchsorted(filled) - 1])


def trade(
    candles: pd.DataFrame, start: pd.Timestamp, positions: Mapping[str, pd.Series], costs: Costs, account: Account
) -> Simulation:
    """Account for every strategy over the bars from `start` on; a column each, in their order.

    candles: up to the end of what is traded, with at least one bar before `start`. Positions are indexed by the bar
    that FILLS them; a missing one counts as flat. The account is entered with its capital and the position decided for
    the bar before `start`, so that a position held over it pays no cost and no earlier score has to be read.
    """
    bars = candles.loc[start:]
    before = candles[candles.index < start].iloc[-1]
    target = pd.DataFrame({name: p.reindex(bars.index) for name, p in positions.items()})
    held = [p.get(before.name, np.nan) for p in positions.values()]
    return simulate(bars, target.fillna(0.0), costs, account, np.nan_to_num(held), float(before["close"]))


def score(
    candles: pd.DataFrame, start: pd.Timestamp, strategies: Mapping[str, Decisions], costs: Costs, account: Account
) -> pd.DataFrame:
    """What `trade` makes of every strategy's decisions; where one is missing, `target` stays NaN.

    Returns rows by (strategy, open_time): index open_time; columns strategy, model_id and those of Simulation.frame.
    """
    result = trade(candles, start, {name: d.position for name, d in strategies.items()}, costs, account)
    frames = []
    for name, decided in strategies.items():
        frame = result.frame(name).assign(target=decided.position.reindex(result.index))
        frame.insert(0, "strategy", name)
        frame.insert(1, "model_id", decided.model_id.reindex(result.index).fillna(""))
        frames.append(frame)
    return pd.concat(frames)


def by_strategy(scores: pd.DataFrame, column: str) -> pd.DataFrame:
    """One column of a score record as open_time x strategy; bars without a decision are NaN."""
    decided = scores[scores["target"].notna()]
    return decided.pivot(columns="strategy", values=column).sort_index()  # noqa: PD010 - it refuses a bar that is there twice
