"""Training windows: the purged rows that a fit may see as of an instant, split in time, with a normaliser and a hash.

Features are computed in indicators.py, labels in labels.py; the models that are fitted are the package models.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import NamedTuple, Self

import numpy as np
import pandas as pd


class InsufficientData(ValueError):  # noqa: N818 - an expected outcome that is recorded, not a fault
    """Too little to train on: there are `have` of the `need` that the message names."""

    def __init__(self, message: str, have: int, need: int):
        super().__init__(message)
        self.have, self.need = have, need


@dataclass(frozen=True, eq=False)
class Normaliser:
    """Per-column z-score (x - mean) / scale; arrays of shape (columns,).

    `scale` is the standard deviation (ddof 0) of the fitted rows, or 1 for a constant column: its z-score is 0, and a
    later value that differs is measured in its own unit. `transform` keeps NaN.
    """

    mean: np.ndarray
    scale: np.ndarray

    @classmethod
    def fit(cls, x: np.ndarray) -> Self:
        """Measure rows x (rows, columns) without NaN."""
        mean, scale = x.mean(axis=0), x.std(axis=0)
        # The mean of equal floats can have a rounding error, which must not become the scale.
        constant = x.max(axis=0) == x.min(axis=0)
        return cls(np.where(constant, x[0], mean), np.where(constant, 1.0, scale))

    def transform(self, x: np.ndarray) -> np.ndarray:
        """Rows (rows, columns) in units of the fitted rows."""
        z: np.ndarray = (x - self.mean) / self.scale
        return z

    def to_dict(self) -> dict[str, list[float]]:
        """Plain lists that JSON keeps exactly."""
        return {"mean": self.mean.tolist(), "scale": self.scale.tolist()}

    @classmethod
    def from_dict(cls, values: dict[str, list[float]]) -> Self:
        """The normaliser that `to_dict` wrote."""
        return cls(np.array(values["mean"], dtype=np.float64), np.array(values["scale"], dtype=np.float64))


@dataclass(frozen=True, eq=False)
class Window:
    """The rows of one fit. x: C-contiguous float64 (rows, columns); y: float64 (rows,); times: open_time of the rows.

    `train` and `valid` are for early stopping and model choice, `full` for the refit: it holds all rows, also those
    purged between train and valid. `full_ends` (datetime64[ns], UTC) is when each row's label became known.
    `normaliser` is fitted on `train_x` alone. `content_hash` is the SHA-256 of the full rows, labels, times and column
    names: fits with equal hashes see the same data.
    """

    as_of: pd.Timestamp
    columns: tuple[str, ...]
    train_x: np.ndarray
    train_y: np.ndarray
    train_times: pd.DatetimeIndex
    valid_x: np.ndarray
    valid_y: np.ndarray
    valid_times: pd.DatetimeIndex
    full_x: np.ndarray
    full_y: np.ndarray
    full_times: pd.DatetimeIndex
    full_ends: np.ndarray
    normaliser: Normaliser
    content_hash: str


class WindowSize(NamedTuple):
    """How many rows a window holds, and how they are split."""

    max_rows: int
    min_rows: int
    validation_fraction: float
    """Share of the newest rows that validates, rounded down to rows."""


def build_window(
    features: pd.DataFrame, labels: pd.DataFrame, *, as_of: pd.Timestamp, columns: tuple[str, ...], size: WindowSize
) -> Window:
    """The newest `max_rows` complete rows whose outcome is known at `as_of`, split in time order; see WindowSize.

    `features` and `labels` (see `make_labels`) are joined on their bars. A row is kept if every feature and the
    label are known and label_end <= as_of. The newest `validation_fraction` of the rows (rounded down) validates. Of
    the older rows, those train whose label_end is not after the first validation bar's open_time.

    InsufficientData: fewer than `min_rows` rows, a part without rows, or a single class in the training part.
    ValueError: a column that `features` lacks, or bars that are not in strictly increasing order.
    """
    unknown = [column for column in columns if column not in features.columns]
    if unknown:
        available = ", ".join(map(str, features.columns))
        raise ValueError(f"unknown feature {', '.join(unknown)}; choose the recipe's features from {available}")
    for name, frame in (("features", features), ("labels", labels)):
        if not (frame.index.is_monotonic_increasing and frame.index.is_unique):
            raise ValueError(f"{name}: bars are not strictly increasing; sort them and remove repeats")

    max_rows, min_rows, validation_fraction = size
    x, y, ends, times = _complete_rows(features, labels, as_of, columns)
    x, y, ends, times = (part[max(len(y) - max_rows, 0) :] for part in (x, y, ends, times))
    if len(y) < min_rows:
        raise InsufficientData(f"{len(y)} labelled rows known at {as_of}, need {min_rows}", len(y), min_rows)

    split = len(y) - int(len(y) * validation_fraction)
    if split == len(y):
        raise InsufficientData(f"no validation row in {validation_fraction:g} of {len(y)} rows, need 1", 0, 1)
    train = np.flatnonzero(ends[:split] <= times[split])
    if not len(train):
        raise InsufficientData(f"no training row ends before the validation of {len(y)} rows starts, need 1", 0, 1)
    classes = len(np.unique(y[train]))
    if classes < 2:
        raise InsufficientData(f"{classes} class of labels in {len(train)} training rows, need 2", classes, 2)

    bars = pd.DatetimeIndex(times).tz_localize("UTC").rename(features.index.name)
    return Window(
        as_of=as_of,
        columns=columns,
        train_x=x[train],
        train_y=y[train],
        train_times=bars[train],
        valid_x=x[split:],
        valid_y=y[split:],
        valid_times=bars[split:],
        full_x=x,
        full_y=y,
        full_times=bars,
        full_ends=ends,
        normaliser=Normaliser.fit(x[train]),
        content_hash=_content_hash(x, y, times, columns),
    )


def _complete_rows(
    features: pd.DataFrame, labels: pd.DataFrame, as_of: pd.Timestamp, columns: tuple[str, ...]
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """x, y, label ends and open times (datetime64[ns], UTC) of the bars that are complete and known at `as_of`."""
    bars = features.index.intersection(labels.index)
    x = features.reindex(bars)[list(columns)].to_numpy(dtype=np.float64)
    outcomes = labels.reindex(bars)
    y, ends = outcomes["label"].to_numpy(dtype=np.float64), outcomes["label_end"].to_numpy(dtype="datetime64[ns]")
    # NaT compares False, so an outcome that never became known is dropped, too.
    keep = ~np.isnan(x).any(axis=1) & ~np.isnan(y) & (ends <= as_of.tz_convert("UTC").to_datetime64())
    return np.ascontiguousarray(x[keep]), y[keep], ends[keep], bars.to_numpy(dtype="datetime64[ns]")[keep]


def _content_hash(x: np.ndarray, y: np.ndarray, times: np.ndarray, columns: tuple[str, ...]) -> str:
    digest = hashlib.sha256("\0".join(columns).encode())
    for part in (x, y, times.view(np.int64)):
        digest.update(part.tobytes())
    return digest.hexdigest()
