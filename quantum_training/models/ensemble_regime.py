"""Recipe family `ensemble_regime`: weights of the members that depend on the volatility and the trend at the bar."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from pydantic import Field

from quantum_training.models.ensemble import Ensemble, EnsembleWeights, Record, weighted
from quantum_training.models.ensemble_vote import Options as VoteOptions
from quantum_training.models.ensemble_vote import inverse_risk
from quantum_training.trading.metrics import NOISE

if TYPE_CHECKING:
    from quantum_training.features.windows import Window

REGIMES = ("calm falling", "calm rising", "wild falling", "wild rising")
MOST = 3.0
"""A t-statistic counts up to here: beyond, one regime's luck would leave a single member."""


class Options(VoteOptions):
    """As of the vote, and what tells the regimes apart."""

    volatility: str = Field("volatility_60", description="Feature above whose median in the window a bar is wild.")
    trend: str = Field("trend_60", description="Feature above whose median in the window a bar is rising.")


class Model(Ensemble):
    """The vote's weights, in each regime times exp(t n / (n + prior)) and scaled to 1.

    t is the t-statistic of the member's mean net return on the n bars of the regime, so a regime with few bars weighs
    as the vote does. The bounds are the medians of the window's bars, which lie before as_of.
    """

    options_type = Options
    traits = replace(Ensemble.traits, sources=(*Ensemble.traits.sources, "quantum_training.models.ensemble_vote"))

    @classmethod
    def _weigh(cls, record: Record, window: Window, options: Options) -> EnsembleWeights:
        named = (options.volatility, options.trend)
        if missing := [name for name in named if name not in window.columns]:
            raise ValueError(
                f"ensemble_regime: unknown feature {', '.join(missing)}; choose from {', '.join(window.columns)}"
            )
        seen = pd.DataFrame(window.full_x, window.full_times, list(window.columns))[list(named)]
        bounds = seen.median()
        rule: dict[str, Any] = {"features": list(named), "bounds": bounds.tolist()}
        at = _regime(seen, bounds.to_numpy()).reindex(record.position.index)
        vote = inverse_risk(record.net_return, options.prior_bars)
        rule["weights"] = [
            (_tilted(vote, record.net_return[at == number], options.prior_bars)).to_dict()
            for number in range(len(REGIMES))
        ]
        share = at.value_counts(normalize=True).reindex(range(len(REGIMES)), fill_value=0.0)
        table = pd.DataFrame(rule["weights"], list(REGIMES))
        mean = share.to_numpy() @ table.to_numpy()
        report = {f"weight_{name}": float(weight) for name, weight in zip(table, mean, strict=True)}
        return EnsembleWeights(rule, report, {"weights_by_regime": table})

    def _combine(self, held: pd.DataFrame, features: pd.DataFrame) -> np.ndarray:
        at = _regime(features[self.rule["features"]], np.array(self.rule["bounds"]))
        table = np.array([[weights[name] for name in held] for weights in self.rule["weights"]])
        rows = at.notna().to_numpy()
        weights = np.zeros((len(at), held.shape[1]))
        weights[rows] = table[at[rows].to_numpy("int64")]
        return weighted(held.to_numpy(), weights, self.sizing.step)

    def _reads(self) -> tuple[str, ...]:
        return tuple(self.rule["features"])


def _regime(values: pd.DataFrame, bounds: np.ndarray) -> pd.Series:
    """Number of each row's regime in REGIMES, NaN where a feature is."""
    above = values.to_numpy() > bounds
    return pd.Series(2 * above[:, 0] + above[:, 1], values.index, dtype="float64").where(values.notna().all(axis=1))


def _tilted(vote: pd.Series, net_return: pd.DataFrame, prior_bars: int) -> pd.Series:
    bars, deviation = net_return.count(), net_return.std(ddof=1)
    known = (bars > 1) & (deviation > NOISE)
    t: pd.Series = (net_return.mean() / (deviation / np.sqrt(bars))).where(known, 0.0).clip(-MOST, MOST)
    weights = vote * np.exp(t * bars / (bars + prior_bars))
    return weights / weights.sum()
