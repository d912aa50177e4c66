"""Recipe family `ensemble_regime`: the members' weights depend on the volatility and the trend at the bar."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from pydantic import Field

from quantum_training.models.ensemble import Ensemble, EnsembleWeights, weighted_mean
from quantum_training.models.ensemble_record import MemberRecord
from quantum_training.models.ensemble_vote import Options as VoteOptions
from quantum_training.models.ensemble_vote import inverse_risk
from quantum_training.trading.metrics import NOISE

if TYPE_CHECKING:
    from quantum_training.features.windows import Window

REGIMES = ("calm falling", "calm rising", "wild falling", "wild rising")
MAX_T = 3.0
"""Bound of a t-statistic: beyond it, luck in one regime would leave a single member."""


class Options(VoteOptions):
    """Those of the vote, and the features that define the regimes."""

    volatility: str = Field("volatility_60", description="Feature above whose median in the window a bar is wild.")
    trend: str = Field("trend_60", description="Feature above whose median in the window a bar is rising.")


class Model(Ensemble):
    """The vote's weights, in each regime times exp(t n / (n + prior)) and scaled to 1.

    t is the t-statistic of the member's mean net return on the n bars of the regime. The fewer bars a regime has, the
    closer its weights are to the vote's. The bounds are the medians of the window's bars, which lie before as_of.
    """

    options_type = Options
    traits = replace(Ensemble.traits, sources=(*Ensemble.traits.sources, "quantum_training.models.ensemble_vote"))

    @classmethod
    def _weigh(cls, record: MemberRecord, window: Window, options: Options) -> EnsembleWeights:
        names = [options.volatility, options.trend]
        if missing := [name for name in names if name not in window.columns]:
            raise ValueError(
                f"ensemble_regime: unknown feature {', '.join(missing)}; choose from {', '.join(window.columns)}"
            )
        features = pd.DataFrame(window.full_x, window.full_times, list(window.columns))[names]
        bounds = features.median()
        rule: dict[str, Any] = {"features": names, "bounds": bounds.tolist()}
        regime = _regime(features, bounds.to_numpy()).reindex(record.position.index)
        vote = inverse_risk(record.net_return, options.prior_bars)
        rule["weights"] = [
            _tilted(vote, record.net_return[regime == number], options.prior_bars).to_dict()
            for number in range(len(REGIMES))
        ]
        share = regime.value_counts(normalize=True).reindex(range(len(REGIMES)), fill_value=0.0)
        table = pd.DataFrame(rule["weights"], list(REGIMES))
        mean = share.to_numpy() @ table.to_numpy()
        report = {f"weight_{name}": float(weight) for name, weight in zip(table, mean, strict=True)}
        return EnsembleWeights(rule, report, {"weights_by_regime": table})

    def _combine(self, positions: pd.DataFrame, features: pd.DataFrame) -> np.ndarray:
        regime = _regime(features[self.rule["features"]], np.array(self.rule["bounds"]))
        table = np.array([[weights[name] for name in positions] for weights in self.rule["weights"]])
        rows = regime.notna().to_numpy()
        weights = np.zeros((len(regime), positions.shape[1]))
        weights[rows] = table[regime[rows].to_numpy("int64")]
        return weighted_mean(positions.to_numpy(), weights, self.sizing.step)

    def _rule_columns(self) -> tuple[str, ...]:
        return tuple(self.rule["features"])


def _regime(values: pd.DataFrame, bounds: np.ndarray) -> pd.Series:
    """Number of each row's regime in REGIMES; NaN if a feature is."""
    above = values.to_numpy() > bounds
    return pd.Series(2 * above[:, 0] + above[:, 1], values.index, dtype="float64").where(values.notna().all(axis=1))


def _tilted(vote: pd.Series, net_return: pd.DataFrame, prior_bars: int) -> pd.Series:
    bars, deviation = net_return.count(), net_return.std(ddof=1)
    defined = (bars > 1) & (deviation > NOISE)
    t: pd.Series = (net_return.mean() / (deviation / np.sqrt(bars))).where(defined, 0.0).clip(-MAX_T, MAX_T)
    weights = vote * np.exp(t * bars / (bars + prior_bars))
    return weights / weights.sum()
