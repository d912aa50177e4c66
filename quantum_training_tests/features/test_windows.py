"""Windows: which rows a fit sees, in exact dates; the normaliser; the hash."""

import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from quantum_training.features.windows import InsufficientData, Normaliser, WindowSize, build_window

COLUMNS = ("a", "b")


def day(number):
    return pd.Timestamp("2024-01-01", tz="UTC") + pd.Timedelta(days=number - 1)


def frames(days=20, days_to_outcome=3):
    """Features and labels of January's first days; an outcome is known `held` days later, 1 on even days."""
    index = pd.DatetimeIndex([day(n) for n in range(1, days + 1)], name="open_time")
    numbers = index.day.to_numpy(float)
    features = pd.DataFrame({"a": numbers, "b": -(numbers**2), "unused": 0.0}, index=index)
    labels = pd.DataFrame(
        {"label": (numbers % 2 == 0).astype(float), "label_end": index + pd.Timedelta(days=days_to_outcome)},
        index=index,
    )
    return features, labels


def build(features, labels, **changes):
    size = WindowSize(max_rows=100, validation_fraction=0.25, min_rows=5)
    options = {"as_of": day(20), "columns": COLUMNS, **changes}
    size = size._replace(**{name: options.pop(name) for name in size._fields if name in options})
    return build_window(features, labels, size=size, **options)


def dates(times):
    return times.day.tolist()


def spans(window):
    return [(t[0], t[-1]) for t in map(dates, (window.full_times, window.train_times, window.valid_times))]


@pytest.mark.parametrize(
    ("days_to_outcome", "changes", "full", "train", "valid"),
    [
        # 17 outcomes are known on the 20th; 4 validate from the 14th on; training labels end by then.
        (3, {}, (1, 17), (1, 11), (14, 17)),
        (1, {}, (1, 19), (1, 15), (16, 19)),  # the label of the 15th ends as the validation opens
        (6, {}, (1, 14), (1, 6), (12, 14)),
        (3, {"as_of": day(15)}, (1, 12), (1, 7), (10, 12)),
        (3, {"as_of": day(15) - pd.Timedelta(seconds=1)}, (1, 11), (1, 7), (10, 11)),
        (3, {"as_of": day(15).tz_convert("Asia/Tokyo")}, (1, 12), (1, 7), (10, 12)),
        (3, {"max_rows": 8}, (10, 17), (10, 13), (16, 17)),
        (3, {"validation_fraction": 0.5}, (1, 17), (1, 7), (10, 17)),
    ],
)
def test_purge_in_exact_dates(days_to_outcome, changes, full, train, valid):
    assert spans(build(*frames(days_to_outcome=days_to_outcome), **changes)) == [full, train, valid]


def test_labels_of_different_length_are_purged_one_by_one():
    features, labels = frames()
    labels.loc[day(5), "label_end"] = day(15)  # reaches into the validation, which starts on the 14th
    labels.loc[day(9), "label_end"] = day(21)  # not known on the 20th
    window = build(features, labels)
    assert dates(window.full_times) == [*range(1, 9), *range(10, 18)]
    assert dates(window.valid_times) == [14, 15, 16, 17]
    assert dates(window.train_times) == [1, 2, 3, 4, 6, 7, 8, 10, 11]


def test_incomplete_rows_and_bars_of_one_side_are_left_out():
    features, labels = frames()
    features.loc[day(2), "b"] = np.nan
    features.loc[day(3), "unused"] = np.nan
    labels.loc[day(4), "label"] = np.nan
    labels.loc[day(5), "label_end"] = pd.NaT
    window = build(features.drop(day(6)), labels.drop(day(7)))
    assert dates(window.full_times) == [1, 3, *range(8, 18)]
    np.testing.assert_array_equal(window.full_x[:, 0], dates(window.full_times))


def test_arrays_are_what_models_expect():
    window = build(*frames(), columns=("b", "a"))
    assert window.columns == ("b", "a")
    for part in ("train", "valid", "full"):
        x, y, times = (getattr(window, f"{part}_{name}") for name in ("x", "y", "times"))
        assert x.dtype == y.dtype == np.float64
        assert x.flags.c_contiguous
        assert x.shape == (len(times), 2)
        assert y.shape == (len(times),)
        assert times.dtype == "datetime64[ns, UTC]"
        assert times.name == "open_time"
        np.testing.assert_array_equal(x, np.c_[-(times.day.to_numpy() ** 2), times.day])
        np.testing.assert_array_equal(y, times.day.to_numpy() % 2 == 0)


def test_the_normaliser_is_fitted_on_the_training_part_only():
    window = build(*frames())
    np.testing.assert_array_equal(window.normaliser.mean, window.train_x.mean(axis=0))
    z = window.normaliser.transform(window.train_x)
    np.testing.assert_allclose(z.mean(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(z.std(axis=0), 1)
    assert abs(window.normaliser.transform(window.valid_x).mean()) > 1


@pytest.mark.parametrize(
    ("days", "changes", "have", "need", "message"),
    [
        (7, {"as_of": day(7)}, 4, 5, "4 labelled rows"),
        (0, {"as_of": day(7)}, 0, 5, "0 labelled rows"),
        (20, {"validation_fraction": 0.01}, 0, 1, "no validation row"),
        (20, {"validation_fraction": 0.9}, 0, 1, "no training row"),
    ],
)
def test_too_few_rows_are_refused_with_the_numbers(days, changes, have, need, message):
    with pytest.raises(InsufficientData, match=message) as caught:
        build(*frames(days), **changes)
    assert (caught.value.have, caught.value.need) == (have, need)


def test_one_class_in_training_is_too_little():
    features, labels = frames()
    labels.loc[: day(11), "label"] = 1.0
    with pytest.raises(InsufficientData, match="1 class of labels in 11 training rows") as caught:
        build(features, labels)
    assert (caught.value.have, caught.value.need) == (1, 2)


def test_an_unknown_column_is_named():
    with pytest.raises(ValueError, match=r"unknown feature c, d; choose .* from a, b, unused"):
        build(*frames(), columns=("a", "c", "d"))


@pytest.mark.parametrize("side", [0, 1])
def test_bars_out_of_order_are_refused(side):
    for broken in (lambda f: f.iloc[::-1], lambda f: f.iloc[[0, 0, 1]]):
        both = list(frames())
        both[side] = broken(both[side])
        with pytest.raises(ValueError, match="not strictly increasing"):
            build(*both)


def test_different_data_have_different_hashes():
    features, labels = frames()
    window = build(features, labels)
    assert build(features.copy(), labels.copy()).content_hash == window.content_hash
    assert len(window.content_hash) == 64

    other_value, other_label, shifted, renamed = features.copy(), labels.copy(), *frames()
    other_value.loc[day(3), "a"] += 1e-12
    other_label.loc[day(3), "label"] = 0.0 if labels.loc[day(3), "label"] else 1.0
    hour = pd.Timedelta(hours=1)
    different = [
        build(other_value, labels),
        build(features, other_label),
        build(features.shift(freq=hour), labels.shift(freq=hour)),
        build(shifted.rename(columns={"a": "c"}), renamed, columns=("c", "b")),
        build(features, labels, max_rows=10),
        build(features, labels, columns=("b", "a")),
    ]
    assert len({window.content_hash, *(w.content_hash for w in different)}) == 7
    # Later rows that as_of does not let in leave no trace.
    features.loc[day(18) :, "a"] = 99.0
    assert build(features, labels).content_hash == window.content_hash


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_no_training_row_has_an_outcome_after_its_cut_off(data):
    rows = data.draw(st.integers(40, 80))
    hours_to_outcome = np.array(data.draw(st.lists(st.integers(1, 15), min_size=rows, max_size=rows)))
    index = pd.date_range("2024-01-01", periods=rows, freq="h", tz="UTC", name="open_time")
    features = pd.DataFrame({"a": np.arange(rows, dtype=float)}, index=index)
    labels = pd.DataFrame(
        {"label": np.arange(rows) % 2.0, "label_end": index + hours_to_outcome * pd.Timedelta(hours=1)}, index
    )
    as_of = index[data.draw(st.integers(25, rows - 1))]
    options = {"as_of": as_of, "columns": ("a",), "size": WindowSize(max_rows=60, validation_fraction=0.3, min_rows=2)}
    end = labels["label_end"]
    try:
        window = build_window(features, labels, **options)
    except InsufficientData:
        assume(False)
    assert (end[window.full_times] <= as_of).all()
    assert (end[window.train_times] <= window.valid_times[0]).all()
    assert window.train_times[-1] < window.valid_times[0]
    assert window.full_times.is_monotonic_increasing
    # Nothing that could be used is thrown away.
    usable = index[end <= as_of][-60:]
    assert window.full_times.equals(usable.rename("open_time"))
    before_validation = usable[usable < window.valid_times[0]]
    assert window.train_times.equals(
        before_validation[end[before_validation] <= window.valid_times[0]].rename("open_time")
    )


def test_normaliser_leaves_a_constant_column_in_its_unit():
    x = np.c_[np.full(10, 0.1), np.arange(10.0), np.full(10, 1e12)]
    normaliser = Normaliser.fit(x)
    assert normaliser.scale[[0, 2]].tolist() == [1, 1]
    assert (normaliser.transform(x)[:, [0, 2]] == 0).all()
    assert normaliser.transform(np.array([[0.6, 4.5, np.nan]])).tolist()[0][:2] == [0.5, 0.0]
    assert np.isnan(normaliser.transform(np.array([[0.6, 4.5, np.nan]]))[0, 2])


def test_normaliser_survives_json_exactly():
    x = np.random.default_rng(0).normal(size=(50, 3))
    normaliser = Normaliser.fit(x)
    again = Normaliser.from_dict(json.loads(json.dumps(normaliser.to_dict())))
    np.testing.assert_array_equal(again.transform(x), normaliser.transform(x))
