"""Labels, the target of training: whether a long position pays off after costs, and when that becomes known.

Features are indicators.py; windows.py selects the labels that a fit may see.
"""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict, Field


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ForwardReturn(_Frozen):
    """Does a long position held for `horizon` bars pay off after costs?"""

    kind: Literal["forward_return"]
    horizon: int = Field(ge=1, le=1000, description="Bars that the position is held.")

    @property
    def span_bars(self) -> int:
        """Bars around a bar that its label reads."""
        return self.horizon + 2


class TripleBarrier(_Frozen):
    """Does a long position with take-profit, stop-loss and time limit pay off after costs?

    Barriers are in units of the expected move over the horizon: trailing one-bar volatility times sqrt(horizon).
    """

    kind: Literal["triple_barrier"]
    horizon: int = Field(ge=1, le=1000, description="Bars until the time barrier.")
    take_profit: float = Field(gt=0, le=100, description="Upper barrier, in expected moves over the horizon.")
    stop_loss: float = Field(gt=0, le=100, description="Lower barrier, in expected moves over the horizon.")
    volatility_bars: int = Field(ge=2, le=1000, description="Trailing bars that the volatility is measured on.")

    @property
    def span_bars(self) -> int:
        """Bars around a bar that its label reads."""
        return self.volatility_bars + self.horizon + 2


Label = Annotated[ForwardReturn | TripleBarrier, Field(discriminator="kind")]


def make_labels(candles: pd.DataFrame, label: Label, round_trip_cost: float | np.ndarray) -> pd.DataFrame:
    """Labels of every bar of a candle frame: columns `label` (float64) and `label_end` (datetime64[ns, UTC]).

    `label` is 1.0 if exit price / entry price - 1 > round_trip_cost (a fraction, for all bars or one per bar), else
    0.0, and NaN if the outcome lies beyond these candles. `label_end` is the instant at which it became known, else
    NaT.

    A decision at the close of bar t is filled at the open of t+1, and every exit is filled at an open too, as in the
    simulator. So both labels follow the path of opens: forward_return leaves at the open of t+1+horizon;
    triple_barrier leaves at the first open at which a barrier is passed, or at the open of t+1+horizon. Moves inside
    a bar do not count, because no fill of the simulator could use them, and so no bar can touch both barriers. The
    label is known the moment its exit bar opens: `label_end` is that bar's open_time.

    Volatility is the root mean square of the one-bar log returns of the closes up to t. If it is zero or not yet
    known there are no barriers, and the label is NaN.
    """
    opens = candles["open"].to_numpy()
    if isinstance(label, ForwardReturn):
        exits = _fixed_exits(len(opens[1:]), label.horizon)
    else:
        step = np.log(candles["close"]).diff()
        volatility = np.sqrt((step**2).rolling(label.volatility_bars).mean().clip(lower=0).to_numpy() * label.horizon)
        exits = triple_barrier(opens[1:], volatility[:-1], label.horizon, label.take_profit, label.stop_loss)[1]

    bars = np.flatnonzero(exits >= 0)
    exit_bars = exits[bars] + 1
    gain = opens[exit_bars] / opens[bars + 1] - 1
    outcome = np.full(len(opens), np.nan)
    outcome[bars] = np.where(np.isnan(gain), np.nan, gain > np.broadcast_to(round_trip_cost, len(opens))[bars])
    label_end = pd.Series(pd.NaT, candles.index, dtype="datetime64[ns, UTC]")
    label_end.iloc[bars] = candles.index[exit_bars]
    return pd.DataFrame({"label": outcome, "label_end": label_end}, index=candles.index)


def triple_barrier(
    close: np.ndarray, volatility: np.ndarray, horizon: int, take_profit: float, stop_loss: float
) -> tuple[np.ndarray, np.ndarray]:
    """First barrier that each entry's path passes, and where: (labels in {-1, 0, 1}, index into `close` or -1).

    Entry i is at close[i]. The outcome is 1 at the first j in (i, i + horizon] with
    close[j] / close[i] - 1 >= take_profit * volatility[i], -1 with <= -stop_loss * volatility[i], and 0 at
    j = i + horizon if neither is met. 0 with index -1: the path ends before an outcome, or the volatility is not
    a positive number. Arrays are 1-d of one length n; both results are int64 of length n.
    Source: M. Lopez de Prado, Advances in Financial Machine Learning (2018), section 3.4.
    """
    n = len(close)
    exits = _fixed_exits(n, horizon)
    labels = np.zeros(n, dtype=np.int64)
    usable = volatility > 0
    upper = np.where(usable, take_profit * volatility, np.inf)
    lower = np.where(usable, -stop_loss * volatility, -np.inf)
    # From the farthest step to the nearest, so that the first touch is written last.
    for step in range(min(horizon, n - 1), 0, -1):
        move = close[step:] / close[:-step] - 1
        up, down = move >= upper[:-step], move <= lower[:-step]
        touched = np.flatnonzero(up | down)
        labels[touched] = np.where(up[touched], 1, -1)
        exits[touched] = touched + step
    exits[~usable] = -1
    return labels, exits


def _fixed_exits(n: int, horizon: int) -> np.ndarray:
    """Index i + horizon for each of n entries; -1 beyond the end."""
    exits = np.arange(horizon, n + horizon)
    exits[exits >= n] = -1
    return exits
