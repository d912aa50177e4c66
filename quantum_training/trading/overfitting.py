"""Was the best of several strategies picked by luck? Combinatorially symmetric cross-validation."""

from __future__ import annotations

from itertools import combinations

import numpy as np

from quantum_training.trading.metrics import NOISE, Number, finite

MANY, FEW = 16, 8
ROWS_PER_BLOCK = 30


def probability_of_overfitting(returns: np.ndarray, blocks: int | None = None) -> Number:
    """Probability that the strategy best in one half of the time is no better than the median in the other half.

    returns: (bars, strategies) net returns of the same bars. The bars are cut into `blocks` (even; default 16 with at
    least 480 bars, else 8) equal blocks, left-over bars at the start dropped; for each choice of half of them the
    strategy with the highest Sharpe ratio there is ranked by Sharpe ratio in the rest (ties share their mean rank, a
    strategy without variance has 0). The probability is the share of choices with rank / (strategies + 1) <= 1/2.
    Without any skill it is about 1/2.

    Source: Bailey, Borwein, Lopez de Prado and Zhu (2017), The probability of backtest overfitting. None with
    too_few_strategies (2 needed) or too_few_bars (2 per block). ValueError if `blocks` is odd.
    """
    values = finite(returns, "net return")
    if values.ndim != 2 or values.shape[1] < 2:
        return None, "too_few_strategies"
    count = blocks or (MANY if len(values) >= MANY * ROWS_PER_BLOCK else FEW)
    if count % 2:
        raise ValueError(f"{count} blocks cannot be halved; give an even number")
    rows = len(values) // count
    if rows < 2:
        return None, "too_few_bars"
    cut = values[len(values) - rows * count :].reshape(count, rows, -1)
    centre = values.mean(axis=0)
    sums, squares = (cut - centre).sum(axis=1), ((cut - centre) ** 2).sum(axis=1)
    inside = np.zeros((len(chosen := list(combinations(range(count), count // 2))), count))
    np.put_along_axis(inside, np.array(chosen), 1.0, axis=1)
    in_sample, out_of_sample = (
        _sharpe(half @ sums, half @ squares, centre, rows * count // 2) for half in (inside, 1 - inside)
    )
    best = in_sample.argmax(axis=1)
    own = out_of_sample[np.arange(len(out_of_sample)), best][:, None]
    rank = (out_of_sample < own).sum(axis=1) + ((out_of_sample == own).sum(axis=1) + 1) / 2
    return float((rank / (values.shape[1] + 1) <= 0.5).mean()), None


def _sharpe(sums: np.ndarray, squares: np.ndarray, centre: np.ndarray, bars: int) -> np.ndarray:
    """From sums over `bars` returns less `centre`, which keeps the variance of a constant at 0."""
    beside = sums / bars
    spread = np.sqrt(np.maximum(squares / bars - beside**2, 0.0))
    return np.divide(centre + beside, spread, out=np.zeros_like(beside), where=spread > NOISE)
