"""Recipe family `lightgbm`: the native booster, stored as text. What boosters share is booster.py."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from quantum_training.features.pool import SYMBOL
from quantum_training.models.booster import EARLY_STOPPING_ROUNDS, Booster

if TYPE_CHECKING:
    from quantum_training.features.windows import Window


_FIXED = {
    "objective": "binary",
    "metric": "binary_logloss",
    "num_threads": 1,
    "verbosity": -1,
    "deterministic": True,
    "force_row_wise": True,
}
_RESERVED = {*_FIXED, "seed", "force_col_wise", "num_iterations", "early_stopping_round"}


def _params(params: dict[str, Any], seed: int) -> dict[str, Any]:
    return {**params, **_FIXED, "seed": seed}


def _check(params: dict[str, Any]) -> None:
    """ValueError for a parameter that LightGBM does not know (it only warns) or that a recipe may not set."""
    from lightgbm.basic import _ConfigAliases  # the library's own table of names; there is no public way to it

    table = _ConfigAliases._get_all_param_aliases()
    names = {alias: name for name, aliases in table.items() for alias in (name, *aliases)}
    if unknown := [name for name in params if name not in names]:
        raise ValueError(f"lightgbm has no parameter {', '.join(unknown)}; correct the recipe's params")
    meant = [names[name] for name in params]
    if both := [name for name in params if meant.count(names[name]) > 1]:
        raise ValueError(f"lightgbm: {' and '.join(both)} are one parameter; remove one from the recipe's params")
    if reserved := [name for name in params if names[name] in _RESERVED]:
        raise ValueError(
            f"lightgbm: {', '.join(reserved)} is set by the recipe family; remove it from the recipe's params"
        )


def _dataset(x: np.ndarray, y: np.ndarray, columns: tuple[str, ...], params: dict[str, Any]) -> Any:
    import lightgbm

    categories = [column for column in columns if column == SYMBOL]
    return lightgbm.Dataset(x, y, feature_name=list(columns), categorical_feature=categories, params=params)


class Model(Booster):
    """LightGBM. `params` are those of `lightgbm.train`, plus `max_rounds`."""

    packages = ("lightgbm",)

    @classmethod
    def _search(cls, window: Window, params: dict[str, Any], seed: int, max_rounds: int) -> tuple[int, float]:
        import lightgbm

        _check(params)
        library_params = _params(params, seed)
        train = _dataset(window.train_x, window.train_y, window.columns, library_params)
        valid = lightgbm.Dataset(window.valid_x, window.valid_y, reference=train, params=library_params)
        stop = lightgbm.early_stopping(EARLY_STOPPING_ROUNDS, verbose=False)
        booster = lightgbm.train(library_params, train, max_rounds, [valid], ["valid"], callbacks=[stop])
        return booster.best_iteration, float(booster.best_score["valid"]["binary_logloss"])

    @classmethod
    def _train(cls, window: Window, params: dict[str, Any], seed: int, rounds: int) -> Any:
        import lightgbm

        library_params = _params(params, seed)
        rows = _dataset(window.full_x, window.full_y, window.columns, library_params)
        return lightgbm.train(library_params, rows, rounds)

    def _probability(self, x: np.ndarray) -> np.ndarray:
        return np.asarray(self.core.predict(x, num_threads=1), "float64")

    def _gains(self) -> list[float]:
        return [float(gain) for gain in self.core.feature_importance("gain")]

    def _write(self, folder: Path) -> None:
        self.core.save_model(str(folder / "model.txt"))

    @classmethod
    def _read(cls, folder: Path) -> Any:
        import lightgbm

        return lightgbm.Booster(model_file=str(folder / "model.txt"))
