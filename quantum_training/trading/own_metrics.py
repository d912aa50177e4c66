"""Metrics of one's own: functions of an account's returns and positions that `metrics` of the settings names.

They are shown beside the metrics of metrics.py and decide nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

import numpy as np

from quantum_training.trading.desk_metrics import DESK_METRICS

OwnMetric = Callable[[np.ndarray, np.ndarray, float], float | None]
"""Takes the net returns of the bars, the invested share of equity at each close, both (bars,), and bars in a year."""
MAX_REASON = 300


def add_own_metrics(
    values: dict[str, Any], metrics: Mapping[str, str], net: np.ndarray, position: np.ndarray, periods: float
) -> None:
    """Add the metrics of one strategy to `values`, whose `reasons` say why one is None: it is undefined or it failed.

    metrics: the dotted path of a function by name. ValueError if a metric of the project has the name.
    """
    for name, path in metrics.items():
        if name in values or name in DESK_METRICS.values():
            raise ValueError(f"metrics.{name}: the project has a metric of this name; take another one")
        value, reason = _measured(path, net, position, periods)
        values[name] = value
        if reason is not None:
            values["reasons"][name] = reason


def own_metric(path: str) -> OwnMetric:
    """The function at a dotted path. ValueError if it cannot be imported."""
    module, _, name = path.rpartition(".")
    try:
        metric: OwnMetric = getattr(import_module(module), name)
    except Exception as error:  # a module of one's own raises what it likes
        raise ValueError(
            f"{path} cannot be imported: {type(error).__name__}: {error}; put its folder on PYTHONPATH, or mend it"
        ) from error
    return metric


def _measured(path: str, net: np.ndarray, position: np.ndarray, periods: float) -> tuple[float | None, str | None]:
    try:
        value = own_metric(path)(net.copy(), position.copy(), periods)
        number = None if value is None else float(value)
    except Exception as error:  # it decides nothing, so its error stops nothing
        return None, f"{type(error).__name__}: {error}"[:MAX_REASON]
    if number is None:
        return None, "undefined"
    return (number, None) if math.isfinite(number) else (None, "not_finite")
