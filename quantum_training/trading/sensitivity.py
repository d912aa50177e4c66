"""How much a strategy's return depends on costs: the same positions under other fees."""

from __future__ import annotations

import numpy as np
import pandas as pd

from quantum_training.trading.account import Account
from quantum_training.trading.costs import Costs
from quantum_training.trading.metrics import Number
from quantum_training.trading.simulator import Simulation, simulate

FEES_BPS = (0.0, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0)
LARGEST_FEE_BPS = 1000.0
PRECISION_BPS = 0.01


def cost_sensitivity(candles: pd.DataFrame, targets: pd.DataFrame, costs: Costs, account: Account) -> pd.DataFrame:
    """Total return by fee: index fee_bps, a column per strategy of `targets`. Slippage and commission stay."""
    fees = np.array(FEES_BPS)
    repeated = targets.iloc[:, np.tile(np.arange(targets.shape[1]), len(fees))]
    growth = _growth(candles, repeated, np.repeat(fees, targets.shape[1]), costs, account)
    table = pd.DataFrame(growth.reshape(len(fees), -1) - 1, columns=targets.columns)
    return table.set_index(pd.Index(fees, name="fee_bps"))


def break_even_fees(candles: pd.DataFrame, targets: pd.DataFrame, costs: Costs, account: Account) -> dict[str, Number]:
    """The fee in basis points per fill above which each strategy loses money, to 0.01; or None and why not.

    Slippage and commission stay as they are. Found by bisection over simulations of the same targets. Reasons:
    no_trades; loses_without_fee; survives_largest_fee (1,000 bp).
    """
    low, high = np.zeros(targets.shape[1]), np.full(targets.shape[1], LARGEST_FEE_BPS)
    free = _accounts(candles, targets, low, costs, account)
    dearest = _growth(candles, targets, high, costs, account)
    while (high - low).max(initial=0) > PRECISION_BPS:
        middle = (low + high) / 2
        survives = _growth(candles, targets, middle, costs, account) > 1
        low, high = np.where(survives, middle, low), np.where(survives, high, middle)
    fees_by_strategy: dict[str, Number] = {}
    for at, name in enumerate(targets.columns):
        if not free.units[:, at].any():
            fees_by_strategy[name] = None, "no_trades"
        elif free.equity[-1, at] <= account.capital:
            fees_by_strategy[name] = None, "loses_without_fee"
        elif dearest[at] > 1:
            fees_by_strategy[name] = None, "survives_largest_fee"
        else:
            fees_by_strategy[name] = round(float(low[at]), 2), None
    return fees_by_strategy


def _growth(
    candles: pd.DataFrame, targets: pd.DataFrame, fees: np.ndarray, costs: Costs, account: Account
) -> np.ndarray:
    """Final equity over capital, one fee per column."""
    growth: np.ndarray = _accounts(candles, targets, fees, costs, account).equity[-1] / account.capital
    return growth


def _accounts(
    candles: pd.DataFrame, targets: pd.DataFrame, fees: np.ndarray, costs: Costs, account: Account
) -> Simulation:
    return simulate(candles, targets, [costs.model_copy(update={"fee_bps": float(fee)}) for fee in fees], account)
