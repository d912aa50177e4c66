"""Leakage test of a recipe: its skill on synthetic markets where there is none to find, and whether a model's positions
change with later rows. It depends on code and recipe only, never on a real market.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from quantum_training.models.contract import Model
from quantum_training.monitoring.feature_leakage import first_difference
from quantum_training.monitoring.synthetic_training import RecipeUnderTest, SyntheticMarket, fit_on_synthetic

LIMIT = 0.05
"""Highest mean information coefficient on random walks that passes."""

FITS = 10
"""Markets, and so fits, per experiment. The spread of ten makes an interval; three experiments stay within seconds."""

WALK_BARS, PLANTED_BARS = 20_000, 4_000
"""Bars out of sample per fit. On walks they bring the standard error of the mean to 0.004, far below LIMIT. A planted
signal differs by market, so that more bars of one market would not help."""

DRIFT = 0.5
"""Planted drift in standard deviations a bar: strong, because the question is whether the test can see skill at all."""

CONFIDENCE = 0.999
"""Of the intervals: a recipe whose interval misses zero by chance stops a run."""

FIRST_SEEDS = {"unpredictable": 10_000, "planted": 20_000, "shuffled": 30_000}
"""First of each experiment's FITS consecutive seeds, apart so that no market is used twice. Over 600 seeds the default
recipes never reached an IC of 0.01 on walks; with shuffled labels one experiment in a thousand misses zero."""

SUMMARY_FIELDS = ("ic", "standard_error", "low", "high", "fits", "bars", "first_seed")
"""What is recorded of an experiment."""


def examine(recipe: RecipeUnderTest) -> dict[str, dict[str, float]]:
    """Fit the recipe on FITS synthetic markets per experiment and measure its information coefficient (IC).

    The IC is the correlation of score and label, without costs, on bars after the fit. The experiments:
    `unpredictable`, random walks; `planted`, markets whose drift persists; `shuffled`, the same markets with the labels
    of the fit permuted, and their bars, too, for an algorithm that learns by trading.
    Each gives the mean `ic` over the fits, its `standard_error` and t interval `low`, `high` at CONFIDENCE, `fits`,
    `bars` out of sample per fit, and `first_seed`. Deterministic; figures are rounded to six decimals.

    InsufficientData: the labels leave too little to fit on a walk. ValueError: the algorithm refuses its parameters, or
    returns no positions.
    """
    return {
        name: _summary([_skill(recipe, name, seed) for seed in range(first, first + FITS)], name, first)
        for name, first in FIRST_SEEDS.items()
    }


def _skill(recipe: RecipeUnderTest, experiment: str, seed: int) -> float:
    """The IC of one fit; 0 if it gives every bar the same score and so tells no bar from another."""
    new_bars = WALK_BARS if experiment == "unpredictable" else PLANTED_BARS
    drift = 0.0 if experiment == "unpredictable" else DRIFT
    market = SyntheticMarket.of(recipe, drift, seed, new_bars, shuffled=experiment == "shuffled")
    model = fit_on_synthetic(recipe, market, seed)
    new = market.candles.index[market.start : market.start + new_bars]
    inputs = market.features.loc[new].join(market.candles[["open", "close"]])
    score, outcome = model.positions(inputs).to_numpy(), market.outcomes["label"].loc[new].to_numpy()
    complete = ~np.isnan(score) & ~np.isnan(outcome)
    if not complete.any():
        raise ValueError(
            f"{recipe.algorithm} decides nothing on bars with complete features; positions must be numbers"
        )
    score, outcome = score[complete] - score[complete].mean(), outcome[complete] - outcome[complete].mean()
    scale = np.sqrt(np.mean(score**2) * np.mean(outcome**2))
    return float(np.mean(score * outcome) / scale) if scale > 1e-12 else 0.0


def _summary(ics: list[float], experiment: str, first_seed: int) -> dict[str, float]:
    from scipy.special import stdtrit

    mean, error = float(np.mean(ics)), float(np.std(ics, ddof=1) / np.sqrt(len(ics)))
    half = float(stdtrit(len(ics) - 1, (1 + CONFIDENCE) / 2)) * error
    bars = WALK_BARS if experiment == "unpredictable" else PLANTED_BARS
    figures = (round(figure, 6) for figure in (mean, error, mean - half, mean + half))
    return dict(zip(SUMMARY_FIELDS, (*figures, len(ics), bars, first_seed), strict=True))


def leak_findings(record: Mapping[str, Mapping[str, float]]) -> list[str]:
    """The leaks that a result of `examine` shows, in words; empty if there are none."""
    findings = []
    walk, shuffled = record["unpredictable"], record["shuffled"]
    if walk["ic"] > LIMIT:
        findings.append(
            f"it predicts random walks: information coefficient {walk['ic']:.3f} +- {walk['standard_error']:.3f}, at "
            f"most {LIMIT} is allowed; look for a feature, label or model that knows later bars"
        )
    if not shuffled["low"] <= 0 <= shuffled["high"]:
        findings.append(
            f"its skill survives shuffled labels: information coefficient {shuffled['ic']:.3f}, interval "
            f"{shuffled['low']:.3f} to {shuffled['high']:.3f} misses zero; look for skill that was not learnt"
        )
    return findings


def inconclusive_reason(record: Mapping[str, Mapping[str, float]]) -> str | None:
    """Why the shuffled labels prove nothing about this recipe; None if it has skill to lose."""
    planted = record["planted"]
    if planted["low"] > 0:
        return None
    return (
        f"it learns nothing from a planted trend (information coefficient {planted['ic']:.3f}, interval "
        f"{planted['low']:.3f} to {planted['high']:.3f}), so that its shuffled labels prove nothing; see its features "
        "and params"
    )


def moved_position(model: Model, features: pd.DataFrame, other: pd.DataFrame, cut: pd.Timestamp) -> str | None:
    """The first row up to `cut` whose position changes if later rows become those of `other`, or are cut off.

    `features` and `other` are feature frames that agree up to `cut`. None if no position changes in any bit.
    """
    positions = _positions(model, features).loc[:cut]
    for name, rows in (("other", other), ("no", features.loc[:cut])):
        if difference := first_difference(positions, _positions(model, rows).loc[:cut]):
            return f"with {name} rows after {cut}, {difference}"
    return None


def _positions(model: Model, features: pd.DataFrame) -> pd.DataFrame:
    return model.positions(features).rename("position").to_frame()
