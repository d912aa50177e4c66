"""Series source `file`: when values were known, what is no value, and errors that name file, column and row."""

import pandas as pd
import pytest

from quantum_training.sources import SourceError
from quantum_training.sources.series import series_source_from

LATER = pd.Timestamp("2030-01-01", tz="UTC")


def utc(text):
    return pd.Timestamp(text, tz="UTC")


@pytest.fixture
def source(tmp_path):
    """`source(text, **options)`: of a CSV file with this text."""

    def build(text, name="rates.csv", **options):
        (tmp_path / name).write_text(text)
        named = {"time": "date", "value": "rate", **options}
        return series_source_from({"kind": "file", "path": str(tmp_path / name), **named})

    return build


def test_a_delay_says_when_values_are_known_in_their_own_zone(source):
    vix = source("date,rate\n2024-01-02,13.2\n2024-07-02,12.5\n", delay="16h15min", timezone="America/New_York")
    rows = vix.fetch("vix", None, LATER)
    assert rows["time"].tolist() == [utc("2024-01-02 05:00"), utc("2024-07-02 04:00")]
    assert rows["known_at"].tolist() == [utc("2024-01-02 21:15"), utc("2024-07-02 20:15")]
    assert rows["value"].tolist() == [13.2, 12.5]


def test_a_column_says_it_and_a_value_may_have_several_publications(source):
    text = "date;rate;published\n2024-01-01;3.1;2024-02-13T13:30:00Z\n2024-01-01;3.2;2024-03-12T12:30:00Z\n"
    cpi = source(text, known_at="published", separator=";")
    assert cpi.fetch("cpi", None, LATER)["value"].tolist() == [3.1, 3.2]
    assert cpi.fetch("cpi", utc("2024-03-01"), LATER)["value"].tolist() == [3.2]
    assert cpi.fetch("cpi", None, utc("2024-02-13 13:30")).empty, "known from then on, not before"


def test_rows_without_a_value_are_left_out(source):
    rows = source("date,rate\n2024-01-01,1\n2024-01-02,.\n2024-01-03,\n2024-01-04,4\n", delay="0s").fetch(
        "r", None, LATER
    )
    assert rows["value"].tolist() == [1.0, 4.0]


def test_other_forms_of_times(source):
    german = source("date,rate\n31.12.2023,1\n", delay="0s", datetime_format="%d.%m.%Y")
    assert german.fetch("r", None, LATER)["time"].tolist() == [utc("2023-12-31")]
    mixed = source("date,rate\n2024-01-01,1\n2024-01-02T08:00:00+01:00,2\n", delay="0s")
    with pytest.raises(SourceError, match="times of date cannot be read"):
        mixed.fetch("r", None, LATER)


def test_times_with_offsets_over_a_clock_change(source):
    text = "date,rate\n2024-03-08T16:00:00-05:00,1\n2024-03-11T16:00:00-04:00,2\n"
    rows = source(text, delay="0s").fetch("r", None, LATER)
    assert rows["time"].tolist() == [utc("2024-03-08 21:00"), utc("2024-03-11 20:00")]


def test_a_time_that_a_clock_change_doubles_asks_for_its_offset(source):
    doubled = source("date,rate\n2024-11-03 01:30,1\n", delay="0s", timezone="America/New_York")
    with pytest.raises(SourceError, match=r"none of America/New_York: .* Write them with their offset, or in UTC"):
        doubled.fetch("r", None, LATER)


def test_a_parquet_table_may_have_its_times_as_index(source, tmp_path):
    days = pd.date_range("2024-01-01", periods=2, tz="UTC", name="date")
    pd.DataFrame({"rate": [1.0, 2.0]}, days).to_parquet(tmp_path / "a.parquet")
    named = {"kind": "file", "path": str(tmp_path / "a.parquet"), "time": "date", "value": "rate", "delay": "1d"}
    assert series_source_from(named).fetch("r", None, LATER)["value"].tolist() == [1.0, 2.0]


def test_parquet_and_packed_and_several_files(source, tmp_path):
    frame = pd.DataFrame({"date": pd.date_range("2024-01-01", periods=3, tz="UTC"), "rate": [1.0, None, 3.0]})
    frame.to_parquet(tmp_path / "a.parquet")
    options = {"kind": "file", "time": "date", "value": "rate", "delay": "1h"}
    parquet = series_source_from({**options, "path": str(tmp_path / "a.parquet")})
    assert parquet.fetch("r", None, LATER)["value"].tolist() == [1.0, 3.0]
    frame.iloc[:1].to_csv(tmp_path / "part1.csv.gz", index=False)
    frame.iloc[2:].to_csv(tmp_path / "part2.csv.gz", index=False)
    parts = series_source_from({**options, "path": str(tmp_path / "part*.csv.gz")})
    assert parts.fetch("r", None, LATER)["value"].tolist() == [1.0, 3.0]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("day,rate\n2024-01-01,1\n", "has no column date, but day, rate"),
        ("date,rate\n2024-01-01,n/a\n", "rate of row 1 is no number: 'n/a'"),
        ("date,rate\n2024-01-01,1\n2024-01-02,inf\n", "rate of row 2 is no number: 'inf'"),
        ("date,rate\nyesterday,1\n", "times of date cannot be read"),
        ("date,rate\n,1\n", "times of date cannot be read"),
        ("date,rate\n1704067200,1\n", "times of date cannot be read"),
    ],
)
def test_what_cannot_be_read_is_named(source, text, problem):
    with pytest.raises(SourceError, match=problem) as error:
        source(text, delay="0s").fetch("rates", None, LATER)
    assert str(error.value).startswith("rates: source file ")


def test_a_file_that_is_not_there(tmp_path):
    gone = series_source_from(
        {"kind": "file", "path": str(tmp_path / "no.csv"), "time": "t", "value": "v", "delay": "0s"}
    )
    with pytest.raises(SourceError, match=r"it cannot be read: .* Check source\.path"):
        gone.fetch("r", None, LATER)


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({}, "give either known_at, a column, or delay"),
        ({"delay": "1h", "known_at": "published"}, "give either known_at"),
        ({"delay": "-1h"}, "is negative"),
        ({"delay": "soon"}, "delay"),
        ({"delay": "1h", "timezone": "Mars/Base"}, "timezone"),
    ],
)
def test_options_that_do_not_say_when_values_are_known_are_refused(options, problem):
    with pytest.raises(ValueError, match=problem):
        series_source_from({"kind": "file", "path": "x.csv", "time": "t", "value": "v", **options})


def test_an_unknown_kind_is_refused():
    with pytest.raises(ValueError, match="unknown kind of series 'files'; allowed: ccxt_funding, file"):
        series_source_from({"kind": "files"})
