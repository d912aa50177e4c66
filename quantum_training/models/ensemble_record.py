"""The out-of-sample record of an ensemble's members: what each decided and earned, and how alike the members are."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from quantum_training.features.windows import InsufficientData
from quantum_training.trading.episodes import Market
from quantum_training.trading.metrics import NOISE
from quantum_training.trading.scoring import trade

MIN_MEMBERS = 2
"""An ensemble combines at least this many members."""


@dataclass(frozen=True, eq=False)
class MemberRecord:
    """The members out of sample, indexed by the bar at whose close they decided; a column per member."""

    position: pd.DataFrame
    """What each member decided; NaN for no decision."""
    net_return: pd.DataFrame
    """What that earned on the next bar, after costs; NaN for no decision."""

    @classmethod
    def of(cls, positions: pd.DataFrame, market: Market, start: pd.Timestamp, min_bars: int) -> MemberRecord:
        """The record from `start` on of the members that decided on at least `min_bars` bars.

        positions: see TrainingContext.member_positions. InsufficientData: fewer than two such members.
        """
        decided = positions.loc[start:].dropna(how="all")
        bars = decided.notna().sum()
        members = bars.index[bars >= min_bars]
        _check_count(len(members), min_bars)
        targets = {str(name): decided[name] for name in members}
        trades = trade(market.candles, decided.index[0], targets, market.costs, market.account)
        decided = decided[members].reindex(trades.index)
        bar_before = market.candles.index[market.candles.index.searchsorted(trades.index) - 1]
        position = decided.set_axis(bar_before)
        net_return = pd.DataFrame(trades.net_return, bar_before, decided.columns).where(position.notna())
        return cls(position, net_return)

    def only(self, members: Iterable[Any], min_bars: int) -> MemberRecord:
        """The record of these members alone. InsufficientData: fewer than two."""
        names = list(members)
        _check_count(len(names), min_bars)
        return MemberRecord(self.position[names], self.net_return[names])


def _check_count(members: int, min_bars: int) -> None:
    if members < MIN_MEMBERS:
        raise InsufficientData(
            f"{members} members that decided on {min_bars} bars out of sample, need {MIN_MEMBERS}", members, MIN_MEMBERS
        )


def correlation(frame: pd.DataFrame, min_bars: int) -> pd.DataFrame:
    """Pearson correlations of the columns on the rows that all columns have.

    NaN for a column that does not vary there, and for all columns if there are fewer than `min_bars` such rows.
    """
    rows = frame.dropna()
    varies = (rows.std(ddof=0) > NOISE) & (len(rows) >= min_bars)
    return rows.loc[:, varies].corr().reindex(index=frame.columns, columns=frame.columns)


def effective_count(correlations: pd.DataFrame) -> float | None:
    """Number of independent columns that the columns are worth: the effective rank of their correlation matrix.

    exp of the entropy of its eigenvalues as shares of their sum; 1 if all columns are the same up to scale. Columns
    without a correlation count for nothing; None if no column has one.
    Source: O. Roy, M. Vetterli, The effective rank: a measure of effective dimensionality, EUSIPCO 2007.
    """
    defined = correlations.notna().any()
    if not defined.any():
        return None
    shares = np.linalg.eigvalsh(correlations.loc[defined, defined].to_numpy())
    shares = np.clip(shares, 0, None) / np.clip(shares, 0, None).sum()
    shares = shares[shares > NOISE]
    return float(np.exp(-np.sum(shares * np.log(shares))))
