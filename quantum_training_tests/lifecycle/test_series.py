"""A series in the store: what became known in each month, revisions beside what they replace, nothing wrong at all."""

from typing import ClassVar

import numpy as np
import pandas as pd
import pytest
from pydantic import ConfigDict

from quantum_training.lifecycle.other_markets import StoredColumns
from quantum_training.lifecycle.series import SERIES, ingest_series, publications
from quantum_training.lifecycle.series_columns import columns_known_before
from quantum_training.market.periods import Key
from quantum_training.resources.store.store import StoreError
from quantum_training.settings.series import Series
from quantum_training.sources import SourceError
from quantum_training.sources.series import SeriesSource, series_frame


def utc(text):
    return pd.Timestamp(text, tz="UTC")


@pytest.fixture
def world(workspace, small, tmp_path):
    return World(workspace, small, tmp_path / "rates.csv")


class Listed(SeriesSource):
    """A source that lists what a test says, and revises nothing."""

    model_config = ConfigDict(arbitrary_types_allowed=True)
    revises = False
    rows: pd.DataFrame
    shown: ClassVar[list[pd.DataFrame]] = []

    def model_post_init(self, context):
        self.shown[:] = [self.rows]

    @property
    def identity(self):
        return {"kind": "listed"}

    def fetch(self, name, since, until):
        rows = self.shown[0]
        return rows[(rows["known_at"] < until) & (True if since is None else rows["known_at"] >= since)]


class World:
    """Settings with the series `rate`, of a file whose values are published a day after."""

    def __init__(self, workspace, small, file):
        self.file, self.build, self.settings_of = file, workspace, small
        self.options(delay="1d")

    def options(self, **options):
        source = {"kind": "file", "path": str(self.file), "time": "date", "value": "rate", **options}
        self.settings_of["series"] = {"rate": {"source": source, "max_age": "40d"}}
        project = self.build(self.settings_of)
        self.store, self.settings = project.store, project.settings

    def write(self, **values):
        rows = "".join(f"{date.replace('_', '-')[1:]},{value}\n" for date, value in values.items())
        self.file.write_text(f"date,rate\n{rows}")
        return self

    def ingest(self, month, now):
        return ingest_series(self.store, self.settings, Key("rate", utc(month)), utc(now))

    def known(self, until):
        rows = publications(self.store, "rate", utc(until))
        return [
            (f"{time:%m-%d}", f"{known:%m-%d}", value)
            for time, known, value in zip(rows["time"], rows["known_at"], rows["value"], strict=True)
        ]


JANUARY = {"_2020_01_01": 1.0, "_2020_01_15": 2.0}


def test_a_month_holds_what_became_known_in_it_and_the_first_one_all_before(world):
    world.write(_2019_12_30=0.5, **JANUARY, _2020_01_31=3.0, _2020_02_03=4.0)
    january = world.ingest("2020-01-01", "2020-02-20")
    assert (january.covered_until, january.revised) == (utc("2020-02-01"), 0)
    assert january.rows["value"].tolist() == [0.5, 1.0, 2.0]
    assert world.ingest("2020-02-01", "2020-02-20").rows["value"].tolist() == [3.0, 4.0]
    assert world.known("2020-02-02") == [
        ("12-30", "12-31", 0.5),
        ("01-01", "01-02", 1.0),
        ("01-15", "01-16", 2.0),
        ("01-31", "02-01", 3.0),
    ]


def test_a_month_in_progress_goes_on_and_is_the_same_if_run_again(world):
    world.write(**JANUARY)
    assert world.ingest("2020-01-01", "2020-01-10").rows["value"].tolist() == [1.0]
    first = world.ingest("2020-01-01", "2020-01-20")
    assert first.rows["value"].tolist() == [1.0, 2.0]
    again = world.ingest("2020-01-01", "2020-01-20")
    assert (again.written.changed, again.revised) == (False, 0)


def test_a_value_that_the_source_replaces_keeps_its_former_one(world):
    world.write(**JANUARY).ingest("2020-01-01", "2020-01-20")
    world.write(_2020_01_01=1.5, _2020_01_15=2.0).ingest("2020-01-01", "2020-01-20 12:00")
    assert world.known("2020-01-20") == [("01-01", "01-02", 1.0), ("01-15", "01-16", 2.0)]
    assert world.known("2020-01-21")[-1] == ("01-01", "01-20", 1.5)
    assert world.ingest("2020-01-01", "2020-01-25").revised == 0, "it is told once"
    world.write(_2020_01_01=1.0, _2020_01_15=2.0)
    assert world.ingest("2020-01-01", "2020-01-26").revised == 1, "and back"


def test_what_is_replaced_after_its_month_is_known_in_the_month_in_progress(world):
    world.write(**JANUARY).ingest("2020-01-01", "2020-02-03")
    world.ingest("2020-02-01", "2020-02-03")
    world.write(_2020_01_01=1.5, _2020_01_15=2.0, _2020_01_20=7.0)
    assert world.ingest("2020-01-01", "2020-02-10").rows["value"].tolist() == [1.0, 2.0], "a whole month stays"
    february = world.ingest("2020-02-01", "2020-02-10")
    assert february.revised == 2
    assert february.rows["value"].tolist() == [1.5, 7.0]
    assert (february.rows.index == utc("2020-02-10")).all()


def test_a_month_whose_run_was_missed_is_made_up_for_in_the_next(world):
    world.write(**JANUARY).ingest("2020-01-01", "2020-01-10")
    february = world.ingest("2020-02-01", "2020-02-05")
    assert february.rows["value"].tolist() == [2.0]
    world.ingest("2020-01-01", "2020-02-06")
    assert world.known("2020-02-06") == [("01-01", "01-02", 1.0), ("01-15", "01-16", 2.0)], "and not twice"


@pytest.mark.parametrize(
    ("rows", "problem"),
    [
        ("2020-01-05,1,2020-01-02\n", "the value of 2020-01-05 .* is said to be known at 2020-01-02"),
        ("2020-01-01,1,2020-01-02\n2020-01-01,2,2020-01-02\n", "is there twice, with different values"),
        ("2020-01-01,one,2020-01-02\n", "rate of row 1 is no number: 'one'"),
        ("", "it gives no value that was known before 2020-01-20"),
    ],
)
def test_wrong_values_are_refused_and_nothing_is_stored(world, rows, problem):
    world.options(known_at="published")
    world.file.write_text(f"date,rate,published\n{rows}")
    with pytest.raises(SourceError, match=problem):
        world.ingest("2020-01-01", "2020-01-20")
    assert world.store.periods(SERIES, "rate") == []


def test_a_month_that_has_not_begun_and_another_source_are_refused(world):
    world.write(**JANUARY).ingest("2020-01-01", "2020-01-20")
    with pytest.raises(SourceError, match="2020-02 has not begun"):
        world.ingest("2020-02-01", "2020-01-20")
    world.options(delay="2d")
    with pytest.raises(StoreError, match="rate: its stored values are of another source"):
        world.ingest("2020-01-01", "2020-01-21")


def test_a_set_of_the_series_is_not_stored_before_the_series(world):
    with pytest.raises(StoreError, match=r"rate: no values are stored until .*; run the job series_data"):
        publications(world.store, "rate", utc("2020-01-01"))


def test_a_row_has_what_was_known_before_its_close_and_read_by_then_and_not_too_old(world):
    times = [utc(t) for t in ("2020-01-02", "2020-01-16", "2020-03-01 06:00")]
    columns = pd.DataFrame({"value": [1.0, 2.0, 3.0]}, pd.DatetimeIndex(times))
    rows = pd.DataFrame({"time": times, "known_at": times, "value": [1.0, 2.0, 3.0]})
    covered = {"2020-01-01": utc("2020-02-01"), "2020-02-01": utc("2020-03-01"), "2020-03-01": utc("2020-03-02")}
    stored = StoredColumns(columns, covered)
    closed = {
        "2020-01-01 12:00": np.nan,  # nothing was known
        "2020-01-02 00:00": np.nan,  # it became known at that moment
        "2020-01-02 00:01": 1.0,
        "2020-01-16 00:00": 1.0,
        "2020-02-01 00:00": 2.0,
        "2020-02-25 00:00": 2.0,  # 40 days
        "2020-02-25 00:01": np.nan,
        "2020-03-01 06:01": 3.0,
        "2020-03-02 00:00": 3.0,
        "2020-03-02 00:01": np.nan,  # the series was not read up to then
    }
    times = pd.DatetimeIndex([utc(time) for time in closed])
    values = columns_known_before(world.settings, "rate", stored, times, rows)
    np.testing.assert_array_equal(values[:, 0], [*closed.values()])
    without = StoredColumns(columns, {month: until for month, until in covered.items() if month != "2020-02-01"})
    assert np.isnan(columns_known_before(world.settings, "rate", without, times[4:6] + pd.Timedelta("1h"), rows)).all()


def test_the_revision_of_an_old_value_makes_the_newest_no_younger(world):
    rows = [("2020-01-01", "2020-01-02", 1.0), ("2020-01-15", "2020-01-16", 2.0), ("2020-01-01", "2020-02-21", 1.5)]
    rows = pd.DataFrame([(utc(t), utc(k), v) for t, k, v in rows], columns=["time", "known_at", "value"])
    columns = pd.DataFrame({"value": [1.0, 2.0, 2.0]}, pd.DatetimeIndex(rows["known_at"]))
    stored = StoredColumns(columns, {"2020-02-01": utc("2020-03-01")})
    closed = pd.DatetimeIndex([utc("2020-02-22"), utc("2020-02-26")])
    values = columns_known_before(world.settings, "rate", stored, closed, rows)[:, 0]
    np.testing.assert_array_equal(values, [2.0, np.nan])


def test_after_a_revision_the_next_months_are_read_on_with_the_clock_of_the_system(world):
    """The clock has microseconds; what is stored has nanoseconds."""
    now = pd.Timestamp.now("UTC")
    month = now.normalize().replace(day=1)
    before = month - pd.offsets.MonthBegin(1)
    dates = [(before + pd.Timedelta(days=day)) for day in (1, 5)]
    for value in (1.0, 9.0):
        text = "".join(f"{date:%Y-%m-%d},{v}\n" for date, v in zip(dates, (value, 2.0), strict=True))
        world.file.write_text(f"date,rate\n{text}")
        for start in (before, month):
            found = ingest_series(world.store, world.settings, Key("rate", start), pd.Timestamp.now("UTC"))
    assert found.revised == 1
    rows = publications(world.store, "rate", now + pd.Timedelta("1D"))
    assert rows["value"].tolist() == [1.0, 2.0, 9.0]
    again = ingest_series(world.store, world.settings, Key("rate", month), pd.Timestamp.now("UTC"))
    assert (again.revised, again.rows.index.dtype) == (0, found.rows.index.dtype)


def test_a_value_that_was_listed_late_is_known_since_it_was_seen(world):
    """As a funding rate that the exchange lists minutes after it was paid."""
    late = series_frame([utc("2020-01-10 08:00")], [utc("2020-01-10 08:01")], [3.0])
    early = series_frame([utc("2020-01-10 00:00")], [utc("2020-01-10 00:01")], [2.0])
    listed = Listed(rows=early)
    world.settings = world.settings.model_copy(update={"series": {"rate": Series(source=listed, max_age="9h")}})
    world.ingest("2020-01-01", "2020-01-10 08:01:05")
    listed.shown[0] = pd.concat([early, late], ignore_index=True)
    assert world.ingest("2020-01-01", "2020-01-10 09:01").revised == 1
    rows = publications(world.store, "rate", utc("2020-01-11"))
    assert rows["known_at"].tolist() == [utc("2020-01-10 00:01"), utc("2020-01-10 09:01")]


def test_a_month_that_was_skipped_and_older_ones_brought_later_have_what_was_known_then(world):
    world.write(**JANUARY).ingest("2020-01-01", "2020-02-03")
    world.write(_2020_01_01=1.0, _2020_01_15=9.0, _2020_02_20=5.0)
    march = world.ingest("2020-03-01", "2020-03-10")
    assert march.revised == 1
    assert world.known("2020-03-01") == [
        ("01-01", "01-02", 1.0),
        ("01-15", "01-16", 2.0),
        ("02-20", "02-21", 5.0),
    ]
    assert world.ingest("2020-02-01", "2020-03-10").rows["value"].tolist() == [5.0], "it is in the file of March, too"
    assert world.known("2020-02-25")[-1] == ("02-20", "02-21", 5.0)
    before = world.known("2020-04-01")
    world.write(_2020_01_01=7.0, _2020_01_15=9.0, _2020_02_20=5.0, _2019_12_05=4.0)
    december = world.ingest("2019-12-01", "2020-03-11")
    assert december.rows.empty, "what is in the file now was not known then"
    assert world.known("2020-04-01") == before


def test_a_month_before_all_others_takes_what_they_hold_of_it(world):
    world.write(**JANUARY, _2020_02_20=5.0).ingest("2020-02-01", "2020-03-01")
    world.write(_2020_01_01=7.0, _2020_01_15=2.0, _2020_02_20=5.0)
    assert world.ingest("2020-01-01", "2020-03-11").rows["value"].tolist() == [1.0, 2.0]


def test_a_file_may_be_moved_but_not_read_otherwise(world, tmp_path):
    world.write(**JANUARY).ingest("2020-01-01", "2020-01-20")
    moved = tmp_path / "moved.csv"
    world.file.rename(moved)
    world.file = moved
    world.options(delay="1d")
    assert world.ingest("2020-01-01", "2020-01-21").revised == 0
    world.options(delay="2d")
    with pytest.raises(StoreError, match="of another source: delay was 1d, now 2d; give the series another name"):
        world.ingest("2020-01-01", "2020-01-22")
