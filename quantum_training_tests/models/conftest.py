"""Windows with an easy rule: the label is 1 where feature `a` is positive; `b` and `c` are noise."""

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from quantum_training.features.windows import Window, build_window

COLUMNS = ("a", "b", "c")
MakeWindow = Callable[..., Window]


@pytest.fixture(scope="session")
def make_features() -> Callable[..., pd.DataFrame]:
    """`make_features(rows, seed)`: standard normal columns a, b, c by hour."""

    def make(rows: int = 400, seed: int = 0) -> pd.DataFrame:
        index = pd.date_range("2024-01-01", periods=rows, freq="h", tz="UTC", name="open_time")
        return pd.DataFrame(np.random.default_rng(seed).normal(size=(rows, 3)), index, list(COLUMNS))

    return make


@pytest.fixture(scope="session")
def make_window(make_features: Callable[..., pd.DataFrame]) -> MakeWindow:
    """`make_window(label=None, rows=400, features=None)`: `label(features)` gives 0.0 or 1.0 per row, default a > 0."""

    def make(
        label: Callable[[pd.DataFrame], pd.Series] | None = None, rows: int = 400, features: pd.DataFrame | None = None
    ) -> Window:
        features = make_features(rows) if features is None else features
        label = label or (lambda f: f["a"] > 0)
        ends = features.index + pd.Timedelta(hours=2)
        labels = pd.DataFrame({"label": label(features).astype("float64"), "label_end": ends}, features.index)
        return build_window(
            features,
            labels,
            as_of=features.index[-1] + pd.Timedelta(hours=2),
            columns=COLUMNS,
            max_rows=rows,
            validation_fraction=0.2,
            min_rows=50,
        )

    return make
