"""The default promotion rule: one sequential test against the champion, staying flat and Buy & Hold, at equal risk."""

from __future__ import annotations

from functools import lru_cache
from typing import Annotated, Literal

import numpy as np
from pydantic import Discriminator, Field, Tag

from quantum_training.selection.boundary import boundaries
from quantum_training.selection.paired_test import MarketReturns, PairedReturns, PairedTest, daily, paired_test
from quantum_training.selection.rule import EvidenceRule, ImprovementRule, InterimAnalysis, SequentialRule
from quantum_training.trading.baselines import BUY_AND_HOLD

NODES = 64
"""Of the Gauss-Hermite quadrature over what challengers share."""


class JointRule(SequentialRule):
    """The test at Dunnett's level for correlated challengers, with what the market did in years before the campaign.

    A challenger must beat the champion at `alpha`, and staying flat and Buy & Hold at `passive_alpha`, all at one look:
    an intersection-union test (Berger 1982), so promoting one that is no better than the champion has at most `alpha`.
    The market's days before the campaign say what a position of its mean size earns (selection.paired_test). If it has
    more risk than the rival, its returns are tested scaled down to the rival's risk.
    """

    rule: Literal["joint"] = "joint"
    passive_alpha: float = Field(
        0.2, gt=0, lt=0.5, description="Error of the tests that it is better than staying flat and than Buy & Hold."
    )
    max_ratio: float = Field(1.25, ge=1, le=10, description="Turnover may be at most this multiple of the champion's.")

    def level(self, look: InterimAnalysis) -> float:
        """Dunnett's, with the least correlation of two challengers."""
        return dunnett_level(self.alpha, look.family, look.correlation)

    def test(self, pair: PairedReturns) -> PairedTest:
        """At no more than the incumbent's risk."""
        return paired_test(self._at_equal_risk(pair))

    def unbeaten(self, pair: PairedReturns, look: InterimAnalysis) -> tuple[dict[str, float | str | None], list[str]]:
        """Staying flat and Buy & Hold, if the challenger is not shown to be better."""
        bound = boundaries(self.passive_alpha, look.fractions)[-1]
        nothing = np.zeros(len(pair.day))
        flat = pair._replace(incumbent=nothing, incumbent_position=nothing)
        rivals = {BUY_AND_HOLD: flat._replace(incumbent=_market(pair).bars, incumbent_position=nothing + 1)}
        if pair.incumbent.any():
            rivals["flat"] = flat
        numbers: dict[str, float | str | None] = {"passive_boundary": bound if np.isfinite(bound) else None}
        missing = []
        for name, rival in rivals.items():
            z = numbers[f"z_{name}"] = self.test(rival).z
            if z is None or z < bound:
                shown = "no variance" if z is None else f"z {z:.2f}"
                missing.append(f"not shown to be better than {name}: {shown} of {bound:.2f} needed")
        return numbers, missing

    @staticmethod
    def _at_equal_risk(pair: PairedReturns) -> PairedReturns:
        """The pair, the challenger scaled down to the rival's risk if it has more.

        A rival that is flat has no risk to compare; what is above 0 is so at any scale.
        """
        ours = _risk(pair.challenger, pair.position, pair)
        theirs = _risk(pair.incumbent, pair.incumbent_position, pair)
        if theirs == 0 or ours <= theirs:
            return pair
        scale = theirs / ours
        return pair._replace(challenger=pair.challenger * scale, position=pair.position * scale)


PromotionRule = Annotated[
    Annotated[JointRule, Tag("joint")]
    | Annotated[EvidenceRule, Tag("evidence")]
    | Annotated[ImprovementRule, Tag("improvement")],
    Discriminator(lambda value: str(value.get("rule", "joint") if isinstance(value, dict) else value.rule)),
]


@lru_cache(maxsize=1024)
def dunnett_level(alpha: float, family: int, correlation: float) -> float:
    """The one-sided error of each of `family` tests that have `alpha` together, Dunnett (1955).

    correlation: of each two of their normal statistics; a smaller one than the true one is safe (Slepian's inequality),
    and one below 0 counts as 0.
    """
    from scipy.optimize import brentq
    from scipy.special import ndtr, ndtri

    if family == 1:
        return alpha
    shared, weights = np.polynomial.hermite_e.hermegauss(NODES)
    common = np.sqrt(max(correlation, 0.0)) * shared
    own = np.sqrt(1 - max(correlation, 0.0))

    def excess(critical: float) -> float:
        return float(1 - weights @ ndtr((critical - common) / own) ** family / np.sqrt(2 * np.pi) - alpha)

    return float(ndtr(-brentq(excess, 0.0, 1 - ndtri(alpha / family))))


def least_correlation(differences: list[np.ndarray], day: np.ndarray) -> float:
    """The smallest correlation of two series' daily sums, rounded down to twentieths; 0 if there are no two.

    One that does not vary is left out: it cannot be promoted. Rounded, so that the boundaries of most weeks are those
    of the weeks before.
    """
    sums = [sums for difference in differences if (sums := daily(difference, day)).std() > 0]
    if len(sums) < 2:
        return 0.0
    return min(max(float(np.floor(np.corrcoef(sums).min() * 20) / 20), 0.0), 0.95)


def _market(pair: PairedReturns) -> MarketReturns:
    if pair.market is None:
        raise ValueError("the joint rule needs the market's returns; give them in the pair")
    return pair.market


def _risk(net: np.ndarray, position: np.ndarray, pair: PairedReturns) -> float:
    """Standard deviation of the daily net return, as if the market moved as in all its days.

    The variance of what the position's timing earned is that of its bars, as in realized volatility (Andersen and
    Bollerslev 1998). Daily sums would tell the ratio of two risks with more noise, by the square root of the bars of a
    day, and half of the noise scales a challenger down that takes no more risk.
    """
    usual = position.mean()
    timed = net - usual * _market(pair).bars
    days = daily(_market(pair).bars, pair.day)
    every_day = np.concatenate([_market(pair).before, days])
    return float(np.sqrt(timed.var() * len(timed) / len(days) + usual**2 * every_day.var()))
