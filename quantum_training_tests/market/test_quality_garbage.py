"""The gate never raises for what is in a frame; how it words its findings and checks its limits."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from quantum_training.market.defects import Defect, QualityLimits, describe
from quantum_training.market.schema import COLUMNS, candle_schema, empty_candles


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
    found = errors(judge(SHAPES[name](walk("24/7", "1h", "2023-02-01", "2023-02-10")), "2023-02-01", "2023-02-10"))
    assert set(found) <= {"schema", "empty", "missing_value"}
    assert found


def test_bars_are_bounded_and_counted(judge, walk):
    month = walk("24/7", "1h", "2023-02-01", "2023-03-01")
    found = errors(judge(month.assign(volume=-1.0), "2023-02-01", "2023-03-01"))["volume_not_negative"]
    assert len(found.bars) == 50
    assert "672 bar(s), first 2023-02-01 00:00, 2023-02-01 01:00, 2023-02-01 02:00: volume -1.0" in found.message


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
