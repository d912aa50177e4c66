"""Leak sentinels of a recipe: how much skill it shows where there is none to be had, and whether a model's decisions
move with later rows. They depend on code and recipe only, never on a market. What becomes of a finding: checks.py.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from quantum_training.models.contract import Model
from quantum_training.monitoring import synthetic_training as rehearsal
from quantum_training.monitoring.feature_sentinel import first_difference
from quantum_training.monitoring.synthetic_training import Stage, Trial, fit_on_synthetic

SOURCE_HASH = hashlib.sha256(b"".join(Path(file).read_bytes() for file in (__file__, rehearsal.__file__))).hexdigest()
"""Of this module and rehearsal.py: outcomes that were measured another way are not to be reused."""

LIMIT = 0.05
"""Highest mean information coefficient on random walks that passes."""

FITS = 10
"""Markets, and so fits, per experiment. The spread of ten makes an interval; three experiments stay within seconds."""

WALK_BARS, PLANTED_BARS = 20_000, 4_000
"""Bars out of sample per fit. On walks they bring the standard error of the mean to 0.004, far below LIMIT; a planted
signal differs by market, so that more bars of one would not help."""

DRIFT = 0.5
"""Planted drift in standard deviations a bar: strong, as the question is whether the sentinel sees at all."""

CONFIDENCE = 0.999
"""Of the intervals, because a recipe whose interval misses zero by chance stops a run."""

SEEDS = {"unpredictable": 10_000, "planted": 20_000, "shuffled": 30_000}
"""First of each experiment's FITS consecutive seeds, apart so that no market is used twice. Over 600 seeds the default
recipes never reached an IC of 0.01 on walks; with shuffled labels one experiment in a thousand misses zero."""

FIGURES = ("ic", "standard_error", "low", "high", "fits", "bars", "first_seed")
"""What is kept of an experiment."""


def examine(trial: Trial) -> dict[str, dict[str, float]]:
    """Fit the recipe on FITS synthetic markets per experiment and measure its information coefficient (IC).

    The IC is the correlation of score and label (net of no cost) on bars after the fit. Experiments: `unpredictable`,
    random walks; `planted`, markets whose drift persists; `shuffled`, the same with the labels of the fit permuted, and
    for an algorithm that learns by trading the bars.
    For each: mean `ic` over the fits, its `standard_error` and t interval `low`, `high` at CONFIDENCE, `fits`, `bars`
    out of sample per fit, `first_seed`. Deterministic; figures are rounded to six decimals.

    InsufficientData: the labels leave too little to fit on a walk. ValueError: the algorithm refuses its parameters,
    or decides nothing.
    """
    return {
        name: _summary([_skill(trial, name, seed) for seed in range(first, first + FITS)], name, first)
        for name, first in SEEDS.items()
    }


def _skill(trial: Trial, experiment: str, seed: int) -> float:
    """The IC of one fit; 0 where it gives every bar the same score, which tells no bar from another."""
    new_bars = WALK_BARS if experiment == "unpredictable" else PLANTED_BARS
    drift = 0.0 if experiment == "unpredictable" else DRIFT
    stage = Stage.of(trial, drift, seed, new_bars, shuffled=experiment == "shuffled")
    model = fit_on_synthetic(trial, stage, seed)
    new = stage.candles.index[stage.start : stage.start + new_bars]
    seen = stage.features.loc[new].join(stage.candles[["open", "close"]])
    score, outcome = model.positions(seen).to_numpy(), stage.outcomes["label"].loc[new].to_numpy()
    known = ~np.isnan(score) & ~np.isnan(outcome)
    if not known.any():
        raise ValueError(f"{trial.algorithm} decides nothing on bars with complete features; positions must be numbers")
    score, outcome = score[known] - score[known].mean(), outcome[known] - outcome[known].mean()
    scale = np.sqrt(np.mean(score**2) * np.mean(outcome**2))
    return float(np.mean(score * outcome) / scale) if scale > 1e-12 else 0.0


def _summary(ics: list[float], experiment: str, first_seed: int) -> dict[str, float]:
    from scipy.special import stdtrit

    mean, error = float(np.mean(ics)), float(np.std(ics, ddof=1) / np.sqrt(len(ics)))
    half = float(stdtrit(len(ics) - 1, (1 + CONFIDENCE) / 2)) * error
    bars = WALK_BARS if experiment == "unpredictable" else PLANTED_BARS
    measured = (round(figure, 6) for figure in (mean, error, mean - half, mean + half))
    return dict(zip(FIGURES, (*measured, len(ics), bars, first_seed), strict=True))


def leaks(record: Mapping[str, Mapping[str, float]]) -> list[str]:
    """What an outcome of `examine` convicts the recipe of; empty where it is fair."""
    found = []
    walk, shuffled = record["unpredictable"], record["shuffled"]
    if walk["ic"] > LIMIT:
        found.append(
            f"it predicts random walks: information coefficient {walk['ic']:.3f} +- {walk['standard_error']:.3f}, at "
            f"most {LIMIT} is allowed; look for a feature, label or model that knows later bars"
        )
    if not shuffled["low"] <= 0 <= shuffled["high"]:
        found.append(
            f"its skill survives shuffled labels: information coefficient {shuffled['ic']:.3f}, interval "
            f"{shuffled['low']:.3f} to {shuffled['high']:.3f} misses zero; look for skill that was not learnt"
        )
    return found


def blind(record: Mapping[str, Mapping[str, float]]) -> str | None:
    """Why the shuffled labels prove nothing about this recipe, or None where it has skill to lose."""
    planted = record["planted"]
    if planted["low"] > 0:
        return None
    return (
        f"it learns nothing from a planted trend (information coefficient {planted['ic']:.3f}, interval "
        f"{planted['low']:.3f} to {planted['high']:.3f}), so that its shuffled labels prove nothing; see its features "
        "and params"
    )


def moved_position(model: Model, features: pd.DataFrame, other: pd.DataFrame, cut: pd.Timestamp) -> str | None:
    """The first row up to `cut` whose position moves when later rows change to those of `other`, or are cut off.

    `features` and `other` are feature frames that agree up to `cut`; None where no position moves in any bit.
    """
    known = _positions(model, features).loc[:cut]
    for what, rows in (("other", other), ("no", features.loc[:cut])):
        if found := first_difference(known, _positions(model, rows).loc[:cut]):
            return f"with {what} rows after {cut}, {found}"
    return None


def _positions(model: Model, features: pd.DataFrame) -> pd.DataFrame:
    return model.positions(features).rename("position").to_frame()
