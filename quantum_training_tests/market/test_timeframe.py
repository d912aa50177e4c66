from datetime import date, datetime

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from quantum_training.market.timeframe import (
    Timeframe,
    beginning_at,
    ceil,
    close_times,
    end_of_bars,
    floor,
    grid_origin,
    known_at,
    length_of,
    opens_before,
    to_timedelta,
)

TIMEFRAME = TypeAdapter(Timeframe)
LONG = ["1w", "1w from Thursday", "1w from Sunday 16:00", "3d", "3d from 1970-01-02", "3d from 1970-01-03 08:00"]


@pytest.mark.parametrize("value", LONG)
def test_three_days_and_a_week_are_accepted_with_the_day_on_which_they_begin(value):
    assert TIMEFRAME.validate_python(value) == value
    assert to_timedelta(value) == pd.Timedelta(days={"3d": 3, "1w": 7}[length_of(value)])
    assert beginning_at(value, grid_origin(value)) == value


@pytest.mark.parametrize("value", ["1m", "5m", "90m", "1h", "4h", "12h", "24h", "1d"])
def test_timeframes_that_divide_a_day_are_accepted(value):
    assert TIMEFRAME.validate_python(value) == value


@pytest.mark.parametrize(
    "value",
    [
        "3d from Thursday",
        "3d from 2026-02-30",
        "1d from Monday",
        "",
        "1",
        "h",
        "0h",
        "7h",
        "2d",
        "7d",
        "2w",
        "1W",
        "1w from",
        "1w from thursday",
        "1w from Thursday 24:00",
        "1H",
        " 1h",
        "1h ",
        "-1h",
        "1.5h",
        "9" * 40 + "m",
    ],
)
def test_other_timeframes_are_refused_with_what_is_allowed(value):
    with pytest.raises(ValidationError, match="divides a day, as 5m, 1h, 1d"):
        TIMEFRAME.validate_python(value)


def test_a_bar_is_known_when_it_has_closed():
    opens = pd.date_range("2024-01-01", periods=4, freq="h", tz="UTC")
    frame = pd.DataFrame({"close": range(4)}, index=opens)
    assert to_timedelta("1h") == pd.Timedelta(hours=1)
    assert close_times(opens, "1h")[0] == opens[1]
    assert list(known_at(frame, opens[2], "1h").index) == list(opens[:2])
    assert list(known_at(frame, opens[2] - pd.Timedelta(1, "ns"), "1h").index) == list(opens[:1])


def at(text):
    return pd.Timestamp(text, tz="UTC")


def test_weeks_begin_on_their_weekday_and_three_days_are_counted_from_1970():
    assert ceil(at("2026-11-03"), "1w") == at("2026-11-09") == floor(at("2026-11-15 23:59"), "1w")
    assert ceil(at("2026-11-03"), "1w from Thursday") == at("2026-11-05")
    assert floor(at("2026-11-03"), "1w from Sunday 16:00") == at("2026-11-01 16:00")
    assert (ceil(at("2026-11-01"), "3d") - at("1970-01-01")) % pd.Timedelta("3D") == pd.Timedelta(0)
    assert ceil(at("2026-11-01"), "3d from 2020-01-01") - at("2020-01-01") == 832 * pd.Timedelta("3D")
    stamps = pd.DatetimeIndex(["2026-11-03", "2026-11-09 00:01"], tz="UTC")
    assert [*floor(stamps, "1w")] == [at("2026-11-02"), at("2026-11-09")]


@given(st.sampled_from([*LONG, "1h", "90m", "1d"]), st.datetimes(datetime(1960, 1, 1), datetime(2100, 1, 1)))
def test_a_time_lies_in_one_bar_of_the_grid(timeframe, time):
    time, step = pd.Timestamp(time, tz="UTC"), to_timedelta(timeframe)
    start = floor(time, timeframe)
    assert start <= time < start + step
    assert ceil(time, timeframe) == (start if time == start else start + step)
    assert (start - grid_origin(timeframe)) % step == pd.Timedelta(0)


@given(st.sampled_from([*LONG, "1h", "1d"]), st.dates(date(1990, 1, 1), date(2100, 1, 1)))
def test_bars_that_open_before_the_bound_are_those_that_are_closed_then(timeframe, day):
    time, step = pd.Timestamp(day, tz="UTC"), to_timedelta(timeframe)
    opens = pd.date_range(floor(time, timeframe) - 3 * step, periods=7, freq=step)
    assert [*opens[opens < opens_before(time, timeframe)]] == [*opens[close_times(opens, timeframe) <= time]]


@given(st.sampled_from([*LONG, "1h", "1d"]), st.dates(date(1990, 1, 1), date(2100, 1, 1)))
def test_the_bars_of_a_month_end_with_the_close_of_the_last_that_opens_in_it(timeframe, day):
    start = pd.Timestamp(day, tz="UTC").replace(day=1)
    end = start + pd.DateOffset(months=1)
    last = floor(end - pd.Timedelta(1, "ns"), timeframe)
    assert end_of_bars(start, end, timeframe) == last + to_timedelta(timeframe) >= end
