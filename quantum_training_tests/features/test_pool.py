"""The pool: rows of each symbol, their normalisation, and symbols that are left out."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from quantum_training.features.pool import SYMBOL, pool
from quantum_training.features.windows import InsufficientData, Normaliser, WindowSize, build_window

COLUMNS = ("a", "b")


def window_of(days, scale=1.0, days_to_outcome=2, first="2024-01-01", label=None):
    """Days of features around `scale`; the outcome is known `held` days later, 1 on even days."""
    index = pd.date_range(first, periods=days, freq="D", tz="UTC", name="open_time")
    rng = np.random.default_rng(days)
    features = pd.DataFrame(scale * (1 + rng.random((days, 2))), index, list(COLUMNS))
    outcome = (index.day % 2 == 0).astype(float) if label is None else np.full(days, label)
    labels = pd.DataFrame({"label": outcome, "label_end": index + pd.Timedelta(days=days_to_outcome)}, index)
    return build_window(
        features,
        labels,
        as_of=pd.Timestamp("2024-02-01", tz="UTC"),
        columns=COLUMNS,
        size=WindowSize(max_rows=100, validation_fraction=0.25, min_rows=5),
    )


def test_rows_are_in_time_order_and_split_at_one_instant_for_all():
    windows = {"one": window_of(20), "two": window_of(12, 50.0, days_to_outcome=5, first="2024-01-09")}
    joint = pool(windows, 0.25)
    assert joint.columns == ("a", "b", SYMBOL)
    assert joint.full_times.is_monotonic_increasing
    assert len(joint.full_y) == 32
    opens = joint.valid_times[0]
    assert (joint.valid_times >= opens).all()
    assert len(joint.valid_y) == (joint.full_times >= opens).sum()
    ends = pd.DatetimeIndex(joint.full_ends).tz_localize("UTC")
    assert joint.train_times.equals(joint.full_times[ends <= opens])
    last = {n: joint.train_times[joint.train_x[:, 2] == n].max() for n in (0, 1)}
    assert last == {0: opens - pd.Timedelta(days=2), 1: opens - pd.Timedelta(days=5)}, "each by its own labels"


def test_features_are_in_units_of_their_symbols_training_rows():
    windows = {"one": window_of(20), "two": window_of(15, 50.0)}
    joint = pool(windows, 0.25)
    assert list(joint.normalisers) == ["one", "two"]
    for number, (name, window) in enumerate(windows.items()):
        of_symbol = joint.train_x[joint.train_x[:, 2] == number][:, :2]
        assert of_symbol.mean(axis=0) == pytest.approx([0, 0], abs=1e-12)
        assert of_symbol.std(axis=0) == pytest.approx([1, 1])
        rows = joint.full_x[joint.full_x[:, 2] == number]
        assert np.array_equal(rows[:, :2], joint.normalisers[name].transform(window.full_x))
        assert np.array_equal(joint.full_y[joint.full_x[:, 2] == number], window.full_y)
    raw = np.concatenate([w.full_x[w.full_times.isin(joint.train_times)] for w in windows.values()])
    assert joint.normaliser.mean == pytest.approx(Normaliser.fit(raw).mean)


def test_the_validation_changes_no_unit_and_every_window_counts_for_the_hash():
    windows = {"one": window_of(20), "two": window_of(15, 50.0)}
    joint = pool(windows, 0.25)
    x = windows["two"].full_x.copy()
    x[windows["two"].full_times >= joint.valid_times[0]] *= 9
    other = pool({**windows, "two": replace(windows["two"], full_x=x, content_hash="other")}, 0.25)
    for name in windows:
        assert np.array_equal(other.normalisers[name].mean, joint.normalisers[name].mean)
    assert np.array_equal(other.train_x, joint.train_x)
    assert other.content_hash != joint.content_hash
    assert pool(windows, 0.25).content_hash == joint.content_hash
    assert pool({"one": windows["one"]}, 0.25).content_hash != joint.content_hash


def test_a_symbol_without_a_training_row_is_left_out_and_one_class_is_too_little():
    windows = {"old": window_of(28), "young": window_of(6, first="2024-01-25")}
    assert list(pool(windows, 0.3).normalisers) == ["old"]
    with pytest.raises(InsufficientData, match="1 class of labels"):
        pool({"one": replace(window_of(20), full_y=np.ones(20))}, 0.25)
