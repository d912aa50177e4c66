"""The file of a universe: who is a member when, and what is refused."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from quantum_training.market.universe import Universe


def utc(text):
    return pd.Timestamp(text, tz="UTC")


@pytest.fixture
def universe(tmp_path):
    """`universe(*rows)`: read from a file with these rows under symbol,from,to."""

    def read(*rows, header="symbol,from,to", **options):
        (tmp_path / "members.csv").write_text("\n".join([header, *rows, ""]))
        return Universe(path=str(tmp_path / "members.csv"), **options)

    return read


def test_a_member_is_one_from_its_first_bar_on_until_before_to(universe):
    read = universe("AAA,2020-01-01,2020-01-01 08:00", "BBB,2020-01-01T04:00:00+02:00,")
    opened = pd.date_range("2019-12-31 20:00", periods=5, freq="4h", tz="UTC")
    assert read.is_member("AAA", opened).tolist() == [False, True, True, False, False]
    assert read.is_member("BBB", opened).tolist() == [False, False, True, True, True]
    assert not read.is_member("CCC", opened).any()
    assert read.symbols == ("AAA", "BBB")


def test_a_symbol_may_come_back(universe):
    read = universe("AAA,2020-03-01,", "AAA,2020-01-01,2020-02-01")
    days = pd.DatetimeIndex([utc("2020-01-31"), utc("2020-02-01"), utc("2020-03-01")])
    assert read.is_member("AAA", days).tolist() == [True, False, True]
    assert [spell.line for spell in read.spells] == [3, 2]


def test_other_columns_and_a_byte_order_mark_may_stand_in_the_file(universe):
    assert universe("1,AAA,,2020-01-01", header="﻿weight,symbol,to,from").symbols == ("AAA",)


@pytest.mark.parametrize(
    ("rows", "problem"),
    [
        (["AAA,2020-01-01,2020-02-01", "AAA,2020-01-31,"], r"lines 2 and 3: AAA is a member twice at 2020-01-31"),
        (["AAA,2020-01-01,", "BBB,2020-01-01,", "AAA,2020-01-31,"], r"lines 2 and 4: AAA is a member twice"),
        (["AAA,2020-01-01,", "AAA,2020-01-01,"], r"lines 2 and 3: AAA is a member twice"),
        (["AAA,2020-01-01,2020-01-01"], r"line 2: to 2020-01-01 is not after from 2020-01-01"),
        (["AAA,2020-01-01,", ",2020-01-01,"], r"line 3: symbol and from may not be empty"),
        (["AAA,,2020-01-01"], r"line 2: symbol and from may not be empty"),
        (["AAA"], r"line 2: symbol and from may not be empty"),
        (["AAA,soon,"], r"line 2: 'soon' is no time; give a date as 2024-05-01"),
        (["AAA,2020-01-01,NaT"], r"line 2: 'NaT' is no time; .* leave `to` empty for who still is a member"),
        (["AAA,nan,"], r"line 2: 'nan' is no time"),
        (["AAA,2020-01-01,today"], r"line 2: 'today' is no time"),
        (["AAA,2020-01-01,9999-12-31"], r"line 2: '9999-12-31' is no time"),
        (["AAA,2020-01-01,,2021-01-01"], r"line 2: 4 cells, but 3 columns; put a text with a comma in quotes"),
        ([], r"has no row"),
    ],
)
def test_a_wrong_row_is_refused_with_its_line(universe, rows, problem):
    with pytest.raises(ValidationError, match=rf"members.csv.*{problem}"):
        universe(*rows)


def test_missing_columns_and_files_are_refused(universe, tmp_path):
    with pytest.raises(ValidationError, match=r"line 1: the columns from, to are missing; a universe has symbol, from"):
        universe("AAA,2020-01-01", header="symbol,since")
    with pytest.raises(ValidationError, match=r"line 1: the column from is there twice; keep one"):
        universe("AAA,2020-01-01,,2019-01-01", header="symbol,from,to,from")
    (tmp_path / "latin.csv").write_bytes("symbol,from,to\nÄAA,2020-01-01,\n".encode("latin-1"))
    with pytest.raises(ValidationError, match=r"latin.csv cannot be read: it is no UTF-8"):
        Universe(path=str(tmp_path / "latin.csv"))
    with pytest.raises(ValidationError, match=r"gone.csv cannot be read: No such file.* from the folder in which"):
        Universe(path=str(tmp_path / "gone.csv"))


def test_what_is_known_of_it_changes_only_with_what_happened_between_two_times(universe):
    first, as_of = utc("2020-01-01"), utc("2020-03-01")
    before = universe("AAA,2010-01-01,", "BBB,2020-02-01,").known_between(first, as_of)
    others = ("CCC,2020-03-01,", "DDD,2010-01-01,2020-01-01")
    later = universe("AAA,2012-01-01,2020-03-01", "BBB,2020-02-01,2021-01-01", *others)
    assert later.known_between(first, as_of) == before
    assert universe("AAA,2010-01-01,2020-02-29", "BBB,2020-02-01,").known_between(first, as_of) != before
    assert universe("AAA,2010-01-01,", "BBB,2020-02-02,").known_between(first, as_of) != before


@given(st.lists(st.tuples(st.integers(0, 40), st.integers(1, 9)), min_size=1, max_size=4))
def test_membership_is_that_of_a_plain_loop_over_the_rows(tmp_path_factory, lengths):
    """Spells one after another: each begins so many days after the end of the one before."""
    begin, rows = utc("2020-01-01"), []
    for gap, length in lengths:
        begin += pd.Timedelta(days=gap)
        rows.append((begin, begin + pd.Timedelta(days=length)))
        begin = rows[-1][1]
    path = tmp_path_factory.mktemp("universe") / "members.csv"
    path.write_text("symbol,from,to\n" + "".join(f"AAA,{start},{end}\n" for start, end in rows))
    days = pd.date_range(utc("2019-12-30"), begin + pd.Timedelta(days=3), freq="6h")
    expected = [any(start <= day < end for start, end in rows) for day in days]
    np.testing.assert_array_equal(Universe(path=str(path)).is_member("AAA", days), expected)
