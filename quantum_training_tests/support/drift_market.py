"""A market whose features drift or break, and a champion's shadow scores, for the tests of the drift report."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from quantum_training.lifecycle.records import FEATURES, SHADOW_SCORES, write_record
from quantum_training.resources.store.store import Store
from quantum_training_tests.support.records import decision

DAY = "2020-02-20"
END = pd.Timestamp(DAY, tz="UTC")
WEEK = pd.Timedelta(days=7)


def drift_settings(small: dict[str, Any]) -> dict[str, Any]:
    """Settings of one market of 4h bars that reaches back far enough for a reference of 30 weeks."""
    source = {"kind": "synthetic", "seed": 3, "start": "2019-03-01", "end": "2020-03-01"}
    market = small["symbols"]["AAA"] | {"source": source}
    return small | {"start": "2019-03-01", "symbols": {"AAA": market}, "drift": {"reference_weeks": 30, "html": False}}


def change_features(
    store: Store, change: Callable[[pd.DataFrame], pd.DataFrame], since: pd.Timestamp = END - 2 * WEEK
) -> None:
    """Rewrite the stored features from `since` on."""
    for month in store.periods(FEATURES, "AAA"):
        if month >= f"{since:%Y-%m}-01":
            frame = store.read_frame(FEATURES, "AAA", month)
            attributes = {"covered_until": store.attributes(FEATURES, "AAA", month)["covered_until"]}
            parts = [frame[frame.index < since], change(frame[frame.index >= since].copy())]
            changed = pd.concat([part for part in parts if len(part)])
            store.write_frame(FEATURES, "AAA", month, changed, attributes)


def shift_columns(*columns: str) -> Callable[[pd.DataFrame], pd.DataFrame]:
    """A change that moves these features by two standard deviations."""
    return lambda frame: frame.assign(**{name: frame[name] + 2 * frame[name].std() for name in columns})


def write_champions(store: Store, champions: dict[str, str | None]) -> None:
    """Champion records of AAA by week."""
    for week, champion in champions.items():
        write_record(store, "AAA", week, decision(week, champion))


def write_predictions(store: Store, first: str, last: str, shift_from: str | None = None) -> None:
    """Shadow scores of xgboost and lightgbm for the weeks from `first` to `last`; the targets shift from a week on."""
    rng = np.random.default_rng(7)
    for week in pd.date_range(first, last, freq="7D", tz="UTC"):
        times = pd.date_range(week - WEEK, week, freq="4h", inclusive="left", name="open_time")
        mean = 0.8 if shift_from and week >= pd.Timestamp(shift_from, tz="UTC") else 0.0
        frames = [
            pd.DataFrame(
                {"strategy": name, "target": rng.normal(mean, 0.3, 42), "gross_return": rng.normal(0, 0.01, 42)}, times
            )
            for name in ("xgboost", "lightgbm")
        ]
        store.write_frame(SHADOW_SCORES, "AAA", f"{week:%Y-%m-%d}", pd.concat(frames))
