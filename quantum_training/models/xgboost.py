"""Recipe family `xgboost`: the native booster, stored as UBJSON. What boosters share is booster.py."""

from __future__ import annotations

import re
import warnings
from pathlib import Path
from threading import get_ident
from typing import TYPE_CHECKING, Any, Literal
from weakref import WeakKeyDictionary

import numpy as np

from quantum_training.models.booster import EARLY_STOPPING_ROUNDS, Booster

if TYPE_CHECKING:
    from xgboost import DMatrix

    from quantum_training.features.windows import Window


_FIXED = {"objective": "binary:logistic", "eval_metric": "logloss", "tree_method": "hist", "nthread": 1}
_TWO_NAMES = (("eta", "learning_rate"), ("gamma", "min_split_loss"), ("lambda", "reg_lambda"), ("alpha", "reg_alpha"))
"""Parameters with two names. Given both, XGBoost 3.2 takes the second and says nothing."""
_RESERVED = {*_FIXED, "n_jobs", "seed", "random_state", "verbosity", "validate_parameters"}
_MATRICES: WeakKeyDictionary[Window, dict[tuple[str, int], DMatrix]] = WeakKeyDictionary()


def _rows(window: Window, part: Literal["train", "valid", "full"]) -> DMatrix:
    """A part of a window as XGBoost reads it: the same object as long as the window lives, so that its bins are made
    once for all fits on it in a thread. A fit with another `max_bin` makes them anew, also those that others read."""
    import xgboost

    matrices, key = _MATRICES.setdefault(window, {}), (part, get_ident())
    if key not in matrices:
        x, y = getattr(window, f"{part}_x"), getattr(window, f"{part}_y")
        matrices[key] = xgboost.DMatrix(x, y, feature_names=list(window.columns), nthread=1)
    return matrices[key]


def _params(params: dict[str, Any], seed: int) -> dict[str, Any]:
    return {**params, **_FIXED, "seed": seed, "verbosity": 0}


class Model(Booster):
    """XGBoost. `params` are those of `xgboost.train`, plus `max_rounds`."""

    packages = ("xgboost",)

    @classmethod
    def _search(cls, window: Window, params: dict[str, Any], seed: int, max_rounds: int) -> tuple[int, float]:
        import xgboost

        if reserved := _RESERVED & params.keys():
            raise ValueError(
                f"xgboost: {', '.join(sorted(reserved))} is set by the recipe family; remove it from the recipe's "
                "params"
            )
        if both := next((names for names in _TWO_NAMES if {*names} <= params.keys()), None):
            raise ValueError(f"xgboost: {' and '.join(both)} are one parameter; remove one from the recipe's params")
        library_params = {**_params(params, seed), "verbosity": 1, "validate_parameters": True}
        with warnings.catch_warnings(record=True) as warned:  # an unknown parameter is only warned of
            warnings.simplefilter("always")
            booster = xgboost.train(
                library_params,
                _rows(window, "train"),
                max_rounds,
                evals=[(_rows(window, "valid"), "valid")],
                early_stopping_rounds=EARLY_STOPPING_ROUNDS,
                verbose_eval=False,
            )
        for message in (str(w.message) for w in warned):
            if "are not used" in message:
                unknown = ", ".join(re.findall(r'"(.+?)"', message))
                raise ValueError(f"xgboost has no use for parameter {unknown}; correct the recipe's params")
        return booster.best_iteration + 1, float(booster.best_score)

    @classmethod
    def _train(cls, window: Window, params: dict[str, Any], seed: int, rounds: int) -> Any:
        import xgboost

        return xgboost.train(_params(params, seed), _rows(window, "full"), rounds)

    def _probability(self, x: np.ndarray) -> np.ndarray:
        self.core.set_param({"nthread": 1})
        return np.asarray(self.core.inplace_predict(x, validate_features=False), "float64")

    def _gains(self) -> list[float]:
        gains = self.core.get_score(importance_type="total_gain")
        return [float(gains.get(column, 0.0)) for column in self.columns]

    def _write(self, folder: Path) -> None:
        self.core.save_model(folder / "model.ubj")

    @classmethod
    def _read(cls, folder: Path) -> Any:
        import xgboost

        return xgboost.Booster(params={"nthread": 1}, model_file=folder / "model.ubj")
