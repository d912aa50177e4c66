"""Recipe family `ensemble_stack`: a logistic regression on the members' positions, fitted out of sample only."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import numpy as np
import pandas as pd
from pydantic import Field

from quantum_training.features.windows import InsufficientData
from quantum_training.models.contract import TrainingContext
from quantum_training.models.ensemble import Ensemble, EnsembleWeights, Record
from quantum_training.models.ensemble import Options as EnsembleOptions

if TYPE_CHECKING:
    from quantum_training.features.windows import Window


class Options(EnsembleOptions):
    """As of any ensemble, and the penalties to choose from."""

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

    A member that decides nothing on a bar counts with its mean position in the record.
    """

    options_type = Options
    traits = replace(Ensemble.traits, build_packages=("scikit-learn",))

    @classmethod
    def _record(cls, context: TrainingContext) -> tuple[Record, Any]:
        window = context.window
        record, options = super()._record(context)
        bars = record.position.reindex(window.full_times).notna().sum()
        record = record.only(bars.index[bars >= options.min_bars], options.min_bars)
        _rows(record, window)
        return record, options

    @classmethod
    def _weigh(cls, record: Record, window: Window, options: Options) -> EnsembleWeights:
        held, centre, x, y, train, valid = _rows(record, window)
        losses = {p: _loss(_fit(x[train], y[train], p), x[valid], y[valid]) for p in options.penalties}
        penalty = min(losses, key=lambda p: (losses[p], -p))
        *slopes, intercept = _fit(x, y, penalty)
        base = [0.0] * x.shape[1] + [float(np.log(y[train].mean() / (1 - y[train].mean())))]
        report = {
            "penalty": penalty,
            "valid_logloss": losses[penalty],
            "valid_logloss_of_base_rate": _loss(base, x[valid], y[valid]),
            **{f"weight_{name}": float(slope) for name, slope in zip(held, slopes, strict=True)},
        }
        rule = {"centre": centre.to_dict(), "slopes": dict(zip(held, slopes, strict=True)), "intercept": intercept}
        return EnsembleWeights(rule, report, {})

    def _combine(self, held: pd.DataFrame, features: pd.DataFrame) -> np.ndarray:
        from scipy.special import expit

        names = list(held)
        centre, slopes = (np.array([self.rule[part][name] for name in names]) for part in ("centre", "slopes"))
        x = held.to_numpy() - centre
        logit = np.where(np.isnan(x), 0.0, x * slopes).sum(axis=1) + self.rule["intercept"]
        positions = self.sizing.positions(expit(logit))
        return np.where(held.notna().any(axis=1), positions, np.nan)


class _Rows(NamedTuple):
    """The record's bars with a label: positions and their means, positions less the means, labels, and the split."""

    held: pd.DataFrame
    centre: pd.Series
    x: np.ndarray
    y: np.ndarray
    train: np.ndarray
    valid: np.ndarray


def _rows(record: Record, window: Window) -> _Rows:
    """The newest share of the rows validates, as large as the window's; those train whose label was known by then.

    InsufficientData: one class of labels in the training part.
    """
    known = pd.DataFrame({"y": window.full_y, "end": window.full_ends}, window.full_times)
    held = record.position.reindex(window.full_times).dropna(how="all")
    centre = held.mean()
    x, times = (held - centre).fillna(0.0).to_numpy(), held.index.to_numpy("datetime64[ns]")
    y, ends = (known.loc[held.index, part].to_numpy() for part in ("y", "end"))
    split = len(y) - max(int(len(y) * len(window.valid_y) / len(window.full_y)), 1)
    train, valid = np.flatnonzero(ends[:split] <= times[split]), np.arange(split, len(y))
    if (classes := len(np.unique(y[train]))) < 2:
        raise InsufficientData(f"{classes} class of labels in {len(train)} bars out of sample, need 2", classes, 2)
    return _Rows(held, centre, x, y, train, valid)


def _fit(x: np.ndarray, y: np.ndarray, penalty: float) -> list[float]:
    """Slopes and intercept."""
    from sklearn.linear_model import LogisticRegression

    fitted = LogisticRegression(C=1 / penalty, tol=1e-8, max_iter=1000).fit(x, y)
    return [*map(float, fitted.coef_[0]), float(fitted.intercept_[0])]


def _loss(fitted: list[float], x: np.ndarray, y: np.ndarray) -> float:
    logit = x @ np.array(fitted[:-1]) + fitted[-1]
    return float(np.mean(np.logaddexp(0, logit) - y * logit))
