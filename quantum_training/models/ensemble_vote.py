"""Recipe family `ensemble_vote`: weights inverse to each member's measured risk. Fitting and deciding: ensemble.py."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from pydantic import Field

from quantum_training.models.ensemble import Ensemble, EnsembleWeights, weighted_mean
from quantum_training.models.ensemble import Options as EnsembleOptions
from quantum_training.models.ensemble_record import MemberRecord
from quantum_training.trading.metrics import NOISE

if TYPE_CHECKING:
    from quantum_training.features.windows import Window


class Options(EnsembleOptions):
    """Those of any ensemble, and how fast evidence counts."""

    prior_bars: int = Field(
        250, ge=1, description="Bars of the members' mean variance that each member's own is mixed with."
    )


class Model(Ensemble):
    """Fixed weights, see `inverse_risk`; the mean position is rounded to the sizing's step."""

    options_type = Options

    @classmethod
    def _weigh(cls, record: MemberRecord, window: Window, options: Options) -> EnsembleWeights:
        weights = inverse_risk(record.net_return, options.prior_bars)
        return EnsembleWeights({"weights": weights.to_dict()}, {f"weight_{name}": w for name, w in weights.items()}, {})

    def _combine(self, positions: pd.DataFrame, features: pd.DataFrame) -> np.ndarray:
        weights = np.array([self.rule["weights"][name] for name in positions])
        return weighted_mean(positions.to_numpy(), weights, self.sizing.step)


def inverse_risk(net_return: pd.DataFrame, prior_bars: int) -> pd.Series:
    """Weights that sum to 1, each in proportion to one over the member's shrunk standard deviation.

    The variance of n bars is shrunk to the members' mean variance v as (n s^2 + prior v) / (n + prior). A member that
    took no risk gets the mean variance. If no member took any, the weights are equal.
    """
    variance, bars = net_return.var(ddof=0), net_return.count()
    has_risk = variance > NOISE**2
    if not has_risk.any():
        return pd.Series(1 / len(variance), variance.index)
    mean = variance[has_risk].mean()
    shrunk = (bars * variance.where(has_risk, mean) + prior_bars * mean) / (bars + prior_bars)
    weights: pd.Series = 1 / np.sqrt(shrunk)
    return weights / weights.sum()
