"""A pooled training window: the windows of several symbols as one. The window of a single symbol is windows.py."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from quantum_training.features.windows import InsufficientData, Normaliser, Window

SYMBOL = "symbol"


@dataclass(frozen=True, eq=False)
class Pool(Window):
    """A window over all symbols: rows in time order, features as z-scores of their symbol, and a last column SYMBOL.

    That column is the symbol's place in `normalisers`, which are fitted on each symbol's training rows; `normaliser`,
    fitted on all of them, is for symbols outside the pool.
    """

    normalisers: Mapping[str, Normaliser]


def pool(windows: Mapping[str, Window], validation_fraction: float) -> Pool:
    """Join windows of the same columns.

    The newest `validation_fraction` of all rows validates, from one instant on for all symbols. The rows whose label
    was known by then train. A symbol without a training row is left out. InsufficientData if no symbol has one, or if
    the training rows have a single class.
    """
    times = {name: window.full_times.to_numpy("datetime64[ns]") for name, window in windows.items()}
    together = np.sort(np.concatenate(list(times.values())))
    split = together[min(len(together) - int(len(together) * validation_fraction), len(together) - 1)]
    trains = {name: window.full_ends <= split for name, window in windows.items()}
    names = [name for name in windows if trains[name].any()]
    if not names:
        raise InsufficientData(f"no row of {len(windows)} symbols ends before the validation starts, need 1", 0, 1)
    normalisers = {name: Normaliser.fit(windows[name].full_x[trains[name]]) for name in names}
    common = Normaliser.fit(np.concatenate([windows[name].full_x[trains[name]] for name in names]))
    parts = [
        np.column_stack([normalisers[name].transform(windows[name].full_x), np.full(len(times[name]), float(number))])
        for number, name in enumerate(names)
    ]
    time = np.concatenate([times[name] for name in names])
    order = np.argsort(time, kind="stable")
    x, time = np.ascontiguousarray(np.concatenate(parts)[order]), time[order]
    y, ends = (
        np.concatenate([getattr(windows[name], part) for name in names])[order] for part in ("full_y", "full_ends")
    )
    train, valid = ends <= split, time >= split
    if (classes := len(np.unique(y[train]))) < 2:
        raise InsufficientData(f"{classes} class of labels in {train.sum()} training rows, need 2", classes, 2)
    bars = pd.DatetimeIndex(time).tz_localize("UTC")
    first = windows[names[0]]
    digest = hashlib.sha256("\0".join([*first.columns, SYMBOL, *names]).encode())
    for name in names:
        digest.update(windows[name].content_hash.encode())
    return Pool(
        as_of=max(window.as_of for window in windows.values()),
        columns=(*first.columns, SYMBOL),
        train_x=x[train],
        train_y=y[train],
        train_times=bars[train],
        valid_x=x[valid],
        valid_y=y[valid],
        valid_times=bars[valid],
        full_x=x,
        full_y=y,
        full_times=bars,
        full_ends=ends,
        normaliser=common,
        content_hash=digest.hexdigest(),
        normalisers=normalisers,
    )
