"""Recipe family `ensemble_stack`: a logistic regression on the members' positions, fitted out of sample only."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import numpy as np
import pandas as pd
from pydantic import Field

from quantum_training.features.windows import InsufficientData
from quantum_training.models.contract import TrainingContext
from quantum_training.models.ensemble import Ensemble, EnsembleWeights
from quantum_training.models.ensemble import Options as EnsembleOptions
from quantum_training.models.ensemble_record import MemberRecord

if TYPE_CHECKING:
    from quantum_training.features.windows import Window


class Options(EnsembleOptions):
    """Those of any ensemble, and the penalties to choose from."""

    min_bars: int = Field(
        100, ge=20, description="Bars with a label that a member must have decided on out of sample to take part."
    )
    penalties: tuple[Annotated[float, Field(gt=0)], ...] = Field(
        (1.0, 10.0, 100.0, 1000.0),
        min_length=1,
        description="Weights of the squared coefficients against the summed log loss; the newest purged slice of the "
        "record chooses.",
    )


class Model(Ensemble):
    """Probability of the recipe's label from the members' positions; `Sizing` makes a position of it.

    If a member decides nothing on a bar, its mean position in the record takes its place.
    """

    options_type = Options
    traits = replace(Ensemble.traits, build_packages=("scikit-learn",))

    @classmethod
    def _record(cls, context: TrainingContext) -> tuple[MemberRecord, Any]:
        window = context.window
        record, options = super()._record(context)
        bars = record.position.reindex(window.full_times).notna().sum()
        record = record.only(bars.index[bars >= options.min_bars], options.min_bars)
        _rows(record, window)
        return record, options

    @classmethod
    def _weigh(cls, record: MemberRecord, window: Window, options: Options) -> EnsembleWeights:
        positions, centre, x, y, train, valid = _rows(record, window)
        losses = {p: _loss(_fit(x[train], y[train], p), x[valid], y[valid]) for p in options.penalties}
        penalty = min(losses, key=lambda p: (losses[p], -p))
        *slopes, intercept = _fit(x, y, penalty)
        base = [0.0] * x.shape[1] + [float(np.log(y[train].mean() / (1 - y[train].mean())))]
        report = {
            "penalty": penalty,
            "valid_logloss": losses[penalty],
            "valid_logloss_of_base_rate": _loss(base, x[valid], y[valid]),
            **{f"weight_{name}": float(slope) for name, slope in zip(positions, slopes, strict=True)},
        }
        rule = {"centre": centre.to_dict(), "slopes": dict(zip(positions, slopes, strict=True)), "intercept": intercept}
        return EnsembleWeights(rule, report, {})

    def _combine(self, positions: pd.DataFrame, features: pd.DataFrame) -> np.ndarray:
        from scipy.special import expit

        names = list(positions)
        centre, slopes = (np.array([self.rule[part][name] for name in names]) for part in ("centre", "slopes"))
        x = positions.to_numpy() - centre
        logit = np.where(np.isnan(x), 0.0, x * slopes).sum(axis=1) + self.rule["intercept"]
        combined = self.sizing.positions(expit(logit))
        return np.where(positions.notna().any(axis=1), combined, np.nan)


class _Rows(NamedTuple):
    """The record's bars with a label: positions, their means, centred positions, labels, and the split in time."""

    positions: pd.DataFrame
    centre: pd.Series
    x: np.ndarray
    y: np.ndarray
    train: np.ndarray
    valid: np.ndarray


def _rows(record: MemberRecord, window: Window) -> _Rows:
    """Split the rows in time as the window is: the newest validate, and those train whose label was known by then.

    InsufficientData: one class of labels in the training part.
    """
    labels = pd.DataFrame({"y": window.full_y, "end": window.full_ends}, window.full_times)
    positions = record.position.reindex(window.full_times).dropna(how="all")
    centre = positions.mean()
    x, times = (positions - centre).fillna(0.0).to_numpy(), positions.index.to_numpy("datetime64[ns]")
    y, ends = (labels.loc[positions.index, part].to_numpy() for part in ("y", "end"))
    split = len(y) - max(int(len(y) * len(window.valid_y) / len(window.full_y)), 1)
    train, valid = np.flatnonzero(ends[:split] <= times[split]), np.arange(split, len(y))
    if (classes := len(np.unique(y[train]))) < 2:
        raise InsufficientData(f"{classes} class of labels in {len(train)} bars out of sample, need 2", classes, 2)
    return _Rows(positions, centre, x, y, train, valid)


def _fit(x: np.ndarray, y: np.ndarray, penalty: float) -> list[float]:
    """Slopes and intercept."""
    from sklearn.linear_model import LogisticRegression

    regression = LogisticRegression(C=1 / penalty, tol=1e-8, max_iter=1000).fit(x, y)
    return [*map(float, regression.coef_[0]), float(regression.intercept_[0])]


def _loss(coefficients: list[float], x: np.ndarray, y: np.ndarray) -> float:
    logit = x @ np.array(coefficients[:-1]) + coefficients[-1]
    return float(np.mean(np.logaddexp(0, logit) - y * logit))
