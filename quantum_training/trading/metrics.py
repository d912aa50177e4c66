"""Numbers of a return series. An undefined value is None with a reason; inf and NaN never leave this module.

Returns are net simple returns per bar, flat bars included; `periods` is the number of bars in a year.
"""

from __future__ import annotations

from typing import Any

import numpy as np

CONFIDENCE = 0.95


def summarise(net: np.ndarray, position: np.ndarray, periods: float) -> dict[str, Any]:
    """All metrics of one strategy: `net` returns and invested share `position` at each close, both of shape (bars,).

    Keys: bars, sharpe, sharpe_low, sharpe_high, sharpe_reason, total_return, max_drawdown, trades, win_rate, exposure.
    """
    if not np.isfinite(net).all():
        raise ValueError(f"return {int(np.argmin(np.isfinite(net)))} of {len(net)} is not finite")
    trades = trade_returns(net, position)
    decided = trades[trades != 0]
    return {
        "bars": len(net),
        **sharpe_interval(net, periods),
        "total_return": float(np.prod(1 + net) - 1),
        "max_drawdown": max_drawdown(net),
        "trades": len(trades),
        "win_rate": float((decided > 0).mean()) if len(decided) else None,
        "exposure": float((position > 0).mean()) if len(net) else None,
    }


def sharpe(net: np.ndarray, periods: float) -> tuple[float | None, str | None]:
    """Annualised Sharpe ratio, mean / std(ddof=1) * sqrt(periods), or None and the reason."""
    if len(net) < 2:
        return None, f"{len(net)} bars, 2 needed"
    spread = float(np.std(net, ddof=1))
    if spread <= 1e-12 * max(1.0, float(np.abs(net).max())):
        return None, "returns do not vary"
    return float(np.mean(net)) / spread * float(np.sqrt(periods)), None


def sharpe_interval(net: np.ndarray, periods: float) -> dict[str, Any]:
    """Annualised Sharpe ratio with its two-sided 95 % interval: sharpe, sharpe_low, sharpe_high, sharpe_reason.

    Standard error per bar sqrt((1 - g3 SR + (g4 - 1)/4 SR^2) / (T - 1)) with skew g3 and kurtosis g4 (Mertens 2002;
    Bailey and Lopez de Prado 2012). It assumes independent bars, so on real returns it is somewhat narrow.
    """
    from scipy.stats import kurtosis, norm, skew

    value, reason = sharpe(net, periods)
    if value is None:
        return {"sharpe": None, "sharpe_low": None, "sharpe_high": None, "sharpe_reason": reason}
    per_bar = value / np.sqrt(periods)
    variance = 1 - skew(net) * per_bar + (kurtosis(net, fisher=False) - 1) / 4 * per_bar**2
    half = norm.ppf(0.5 + CONFIDENCE / 2) * np.sqrt(max(variance, 0.0) / (len(net) - 1) * periods)
    return {
        "sharpe": value,
        "sharpe_low": value - float(half),
        "sharpe_high": value + float(half),
        "sharpe_reason": None,
    }


def max_drawdown(net: np.ndarray) -> float:
    """Deepest fall of equity below its running maximum, as a number <= 0; equity starts at 1 before the first bar."""
    equity = np.concatenate([[1.0], np.cumprod(1 + net)])
    return float((equity / np.maximum.accumulate(equity) - 1).min())


def trade_returns(net: np.ndarray, position: np.ndarray) -> np.ndarray:
    """Compounded net return of each trade: from the bar that enters to the bar that leaves, both included.

    A position that the series starts with counts as entered on the first bar; one still open at the end is marked.
    """
    before = np.concatenate([[0.0], position[:-1]])
    held = (before > 0) | (position > 0)
    number = np.cumsum((before == 0) & (position > 0))
    if not held.any():
        return np.empty(0)
    growth = np.ones(number.max() + 1)
    np.multiply.at(growth, number[held], 1 + net[held])  # no logarithm: a total loss is a number too
    return growth[1:] - 1
