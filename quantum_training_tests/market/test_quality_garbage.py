"""The quality gate raises for no content of a frame; its messages and its limits."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from quantum_training.market.defects import Defect, QualityLimits, describe
from quantum_training.market.schema import COLUMNS, candle_schema, empty_candles, passes


def utc(text: str) -> pd.Timestamp:
    return pd.Timestamp(text, tz="UTC")


def errors(defects: list[Defect]) -> dict[str, Defect]:
    return {d.rule: d for d in defects if d.severity == "error"}


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_garbage_is_refused_and_never_raises(data, judge, walk):
    month = walk("24/7", "1h", "2023-02-01", "2023-02-10")
    cell = st.one_of(st.none(), st.floats(), st.integers(-(2**40), 2**40), st.text(max_size=3), st.booleans())
    column = data.draw(st.sampled_from(COLUMNS))
    values = data.draw(st.lists(cell, min_size=len(month), max_size=len(month)) | st.just([[1]] * len(month)))
    garbage = month.assign(**{column: pd.Series(values, index=month.index, dtype=object)})
    kind = data.draw(st.sampled_from([None, "float32", "int64", "str", "category", "complex128", "Float64", "bool"]))
    if kind:
        garbage = month.astype({column: kind})
    assert errors(judge(garbage, "2023-02-01", "2023-02-10"))


SHAPES = {
    "no time zone": lambda f: f.tz_localize(None),
    "another time zone": lambda f: f.tz_convert("America/New_York"),
    "microseconds": lambda f: f.set_axis(f.index.as_unit("us")),
    "a column missing": lambda f: f.drop(columns="close"),
    "a column too many": lambda f: f.assign(adj_close=f["close"]),
    "a column twice": lambda f: pd.concat([f, f[["open"]]], axis=1),
    "one name for all columns": lambda f: f.set_axis(["open"] * 5, axis=1),
    "columns without names": lambda f: f.set_axis([None] * 5, axis=1),
    "other column order": lambda f: f[list(reversed(COLUMNS))],
    "column levels": lambda f: f.set_axis(pd.MultiIndex.from_product([["TEST"], COLUMNS]), axis=1),
    "index levels": lambda f: f.set_axis(pd.MultiIndex.from_product([["TEST"], f.index])),
    "row numbers": lambda f: f.reset_index(drop=True),
    "dates as text": lambda f: f.set_axis(f.index.astype(str).rename("open_time")),
    "periods": lambda f: f.set_axis(f.index.tz_localize(None).to_period("h")),
    "all text": lambda f: f.astype(str),
    "nullable": lambda f: f.astype("Float64"),
    "no columns": lambda f: f[[]],
    "a missing stamp": lambda f: f.set_axis(f.index.where(np.arange(len(f)) != 3).rename("open_time")),
    "no rows": lambda f: f[:0],
    "nothing": lambda f: pd.DataFrame(),
}


@pytest.mark.parametrize("name", SHAPES)
def test_frames_of_the_wrong_shape_are_refused(name, judge, walk):
    defects_by_rule = errors(
        judge(SHAPES[name](walk("24/7", "1h", "2023-02-01", "2023-02-10")), "2023-02-01", "2023-02-10")
    )
    assert set(defects_by_rule) <= {"schema", "empty", "missing_value"}
    assert defects_by_rule


CELLS = [np.nan, np.inf, -np.inf, -1.0, 0.0, 1e-300, 1e300]


@pytest.mark.long
@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_the_quick_answer_is_the_schemas(data, walk):
    """One shape or none, then some cells and stamps changed: both find nothing, or both find something."""
    frame = walk("24/7", "1h", "2023-02-01", "2023-02-02")
    bars, columns = st.integers(0, len(frame) - 1), st.sampled_from(COLUMNS)
    for bar, column, value in data.draw(
        st.lists(st.tuples(bars, columns, st.sampled_from(CELLS) | st.floats(0.5, 2)), max_size=2)
    ):
        at = frame.columns.get_loc(column)
        frame.iloc[bar, at] = value * frame.iloc[bar, at] if 0.5 <= value <= 2 else value
    order = data.draw(st.just([]) | st.lists(bars, min_size=1, max_size=8))
    frame = frame.iloc[order] if order else frame
    shape = data.draw(st.sampled_from([None, None, *(name for name in SHAPES if name not in ("no rows", "nothing"))]))
    frame = SHAPES[shape](frame) if shape else frame
    try:
        candle_schema().validate(frame, lazy=True)
    except Exception:  # some shapes are beyond pandera
        assert not passes(frame)
    else:
        assert passes(frame)


def test_bars_are_bounded_and_counted(judge, walk):
    month = walk("24/7", "1h", "2023-02-01", "2023-03-01")
    defects_by_rule = errors(judge(month.assign(volume=-1.0), "2023-02-01", "2023-03-01"))["volume_not_negative"]
    assert len(defects_by_rule.bars) == 50
    assert (
        "672 bar(s), first 2023-02-01 00:00, 2023-02-01 01:00, 2023-02-01 02:00: volume -1.0" in defects_by_rule.message
    )


def test_judging_does_not_change_the_candles(judge, walk):
    month = walk("24/7", "1h", "2023-02-01", "2023-03-01")
    month.loc[month.index[3], "close"] = np.nan
    broken = month[::-1]
    before = broken.copy()
    judge(broken, "2023-02-01", "2023-03-01")
    pd.testing.assert_frame_equal(broken, before)


def test_the_schema_accepts_an_empty_frame():
    assert candle_schema().validate(empty_candles()).empty


def test_describe_lists_errors_first_in_a_table():
    bar = utc("2023-02-01 05:00")
    table = describe([Defect("missing_bars", "warning", (bar,), "a|b\nc"), Defect("empty", "error", (), "nothing")])
    assert table.splitlines()[2:] == [
        "| error | empty | | nothing |",
        "| warning | missing_bars | 2023-02-01 05:00 | a\\|b c |",
    ]
    assert describe([]) == "No defects."


@pytest.mark.parametrize(
    "limits", [{"max_missing_share": 1.5}, {"stale_bars": 1}, {"jump_sigma": 3}, {"split_tolerance": 0}]
)
def test_wrong_limits_are_refused(limits):
    with pytest.raises(ValidationError):
        QualityLimits.model_validate(limits)


def test_every_limit_is_described():
    assert all(f.description and f.metadata for f in QualityLimits.model_fields.values())
