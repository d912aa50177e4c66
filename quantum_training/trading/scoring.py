"""Shadow scores: what each strategy would have earned on bars after its training. The caller loads the models."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
import pandas as pd

from quantum_training.trading.account import Account
from quantum_training.trading.costs import Costs
from quantum_training.trading.liquidity import UNTRADED, last_fill, mark_untraded
from quantum_training.trading.simulator import Simulation, simulate


class Decider(Protocol):
    """What decides positions: models.contract.Model."""

    @property
    def lookback_bars(self) -> int: ...

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
    """A recipe's positions for each bar from the last one with trades before `start` on, whose position is held then.

    Each is decided at the close of the bar before.
    versions: oldest first; each bar is decided by the newest with as_of <= its open. load: a version by its
    model_id; a version for which it returns None decides nothing on its bars.
    """
    candles = mark_untraded(candles)
    filled = candles.index[max(last_fill(candles[candles.index < start], Costs()), 1) :]
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
    """The model's positions at the closes of `decided`, for the bars `filled` after them. All callers use it.

    A model with `lookback_bars` also receives the bars before, with open, close and, if nobody traded in some of them,
    UNTRADED. The positions of a model with an account depend on that account. So that a bar's position does not depend
    on how much history is passed, the account opens flat `lookback_bars` bars before the first decision for the UTC
    week (from Monday) of the filled bar.
    candles: up to the last of `decided`. NaN if a feature is, or if fewer than `lookback_bars` bars lie before.
    """
    if not model.lookback_bars:
        return model.positions(features.reindex(decided)).to_numpy()
    candles = mark_untraded(candles)

    def positions_from(first: Any, rows: np.ndarray) -> np.ndarray:
        bars = candles.iloc[first : candles.index.searchsorted(decided[rows[-1]]) + 1]
        names = ["open", "close", UNTRADED] if bars[UNTRADED].any() else ["open", "close"]
        inputs = features.reindex(bars.index).join(bars[names])
        return model.positions(inputs).reindex(decided[rows]).to_numpy()

    if not model.has_account:
        first = candles.index.searchsorted(decided[0]) - model.lookback_bars
        return positions_from(max(first, 0), np.arange(len(decided)))
    out = np.full(len(decided), np.nan)
    monday = (filled - pd.to_timedelta(filled.dayofweek, "D")).normalize()
    for week in monday.unique():
        rows = np.flatnonzero(monday == week)
        first = candles.index.searchsorted(week) - 1 - model.lookback_bars
        if first >= 0:
            out[rows] = positions_from(first, rows)
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
    the last bar before `start` in which orders are filled, so that a position held over it pays no cost and no earlier
    score has to be read.
    """
    candles = mark_untraded(candles)
    bars, earlier = candles.loc[start:], candles[candles.index < start]
    filled = last_fill(earlier, costs)
    in_force = earlier.index[filled] if filled >= 0 else None
    target = pd.DataFrame({name: p.reindex(bars.index) for name, p in positions.items()})
    start_positions = [p.get(in_force, np.nan) for p in positions.values()]
    return simulate(
        bars, target.fillna(0.0), costs, account, np.nan_to_num(start_positions), float(earlier["close"].iloc[-1])
    )


def score(
    candles: pd.DataFrame, start: pd.Timestamp, strategies: Mapping[str, Decisions], costs: Costs, account: Account
) -> pd.DataFrame:
    """The result of `trade` for every strategy's decisions; `target` stays NaN without one.

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
