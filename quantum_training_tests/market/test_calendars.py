import subprocess
import sys

import exchange_calendars
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from quantum_training.market.calendars import CalendarName, expected_open_times, known_until, periods_per_year

NAME = TypeAdapter(CalendarName)
WEEK = pd.Timedelta(days=7)


def utc(text: str) -> pd.Timestamp:
    return pd.Timestamp(text, tz="UTC")


@pytest.mark.parametrize("name", ["24/7", "FX", "XNYS", "NYSE", "XTKS"])
def test_known_calendars_are_accepted(name):
    assert NAME.validate_python(name) == name


@pytest.mark.parametrize("name", ["", "xnys", "NEW YORK", "24/8"])
def test_unknown_calendars_are_refused_with_what_is_allowed(name):
    with pytest.raises(
        ValidationError, match=r"allowed: '24/7' or a code of exchange_calendars, as XNYS.*get_calendar_names"
    ):
        NAME.validate_python(name)


def test_import_and_24_7_load_no_heavy_package():
    code = (
        "import sys\n"
        "from pydantic import TypeAdapter\n"
        "from quantum_training.market import quality\n"
        "from quantum_training.market.calendars import CalendarName, periods_per_year\n"
        "TypeAdapter(CalendarName).validate_python('24/7'); periods_per_year('24/7', '1h')\n"
        "print([m for m in ('exchange_calendars', 'pandera', 'dagster', 'mlflow') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("calendar", "timeframe", "start", "end", "first", "last", "count"),
    [
        ("24/7", "1h", "2024-02-01", "2024-03-01", "2024-02-01 00:00", "2024-02-29 23:00", 696),
        ("24/7", "4h", "2024-02-01 03:00", "2024-02-01 20:00", "2024-02-01 04:00", "2024-02-01 16:00", 4),
        ("24/7", "1d", "2024-02-01", "2024-03-01", "2024-02-01", "2024-02-29", 29),
        ("XNYS", "1d", "2020-01-01", "2020-02-01", "2020-01-02", "2020-01-31", 21),
        ("XNYS", "24h", "2020-01-01", "2020-02-01", "2020-01-02", "2020-01-31", 21),
        ("XNYS", "1d", "1990-01-01", "1990-02-01", "1990-01-02", "1990-01-31", 22),
        ("XNYS", "1d", "1973-01-24", "1973-01-27", "1973-01-24", "1973-01-26", 2),  # Thursday: funeral of L. B. Johnson
        ("XNYS", "1h", "2020-11-25", "2020-11-26", "2020-11-25 14:30", "2020-11-25 20:30", 7),
        ("XNYS", "1h", "2020-11-27", "2020-11-28", "2020-11-27 14:30", "2020-11-27 17:30", 4),  # half day
        ("XNYS", "1h", "2020-07-01", "2020-07-02", "2020-07-01 13:30", "2020-07-01 19:30", 7),  # summer time
        ("XNYS", "1h", "2020-07-01 15:00", "2020-07-01 17:30", "2020-07-01 15:30", "2020-07-01 16:30", 2),
        ("XHKG", "1h", "2020-11-27", "2020-11-28", "2020-11-27 01:30", "2020-11-27 07:00", 6),  # lunch 12:00 to 13:00
        ("CMES", "1d", "2020-11-23", "2020-11-24", "2020-11-23", "2020-11-23", 1),  # opens the evening before
        ("CMES", "1h", "2020-11-22", "2020-11-23", "2020-11-22 23:00", "2020-11-22 23:00", 1),
        ("XNYS", "1d", "2044-12-01", "2045-01-01", "2044-12-01", "2044-12-30", 21),
    ],
)
def test_expected_bars(calendar, timeframe, start, end, first, last, count):
    times = expected_open_times(calendar, timeframe, utc(start), utc(end))
    assert (times[0], times[-1], len(times)) == (utc(first), utc(last), count)
    assert times.dtype == "datetime64[ns, UTC]"


@pytest.mark.parametrize("calendar", ["XNYS", "XHKG", "XLON", "CMES", "24/5"])
@pytest.mark.parametrize("timeframe", ["15m", "1h", "2h"])
def test_intraday_agrees_with_the_library(calendar, timeframe):
    oracle = exchange_calendars.get_calendar(calendar, start="2019-06-03", end="2020-12-30")
    bars = oracle.trading_index(
        oracle.first_session, oracle.last_session, pd.Timedelta(timeframe), intervals=False, closed="left"
    )
    ours = expected_open_times(calendar, timeframe, oracle.opens.iloc[0], oracle.closes.iloc[-1], as_listed=True)
    assert ours.equals(bars)


@settings(max_examples=50, deadline=None)
@given(
    calendar=st.sampled_from(["24/7", "XNYS", "XHKG"]),
    timeframe=st.sampled_from(["15m", "1h", "4h", "1d"]),
    hours=st.lists(st.integers(0, 24 * 365 * 20), min_size=3, max_size=3).map(sorted),
)
def test_windows_add_up(calendar, timeframe, hours):
    a, b, c = (utc("1995-01-01") + pd.Timedelta(hours=min(h, hours[0] + 5000)) for h in hours)
    parts = [expected_open_times(calendar, timeframe, *window) for window in ((a, b), (b, c))]
    full_range = expected_open_times(calendar, timeframe, a, c)
    assert parts[0].append(parts[1]).equals(full_range)
    assert full_range.is_monotonic_increasing
    assert full_range.is_unique
    assert ((full_range >= a) & (full_range < c)).all()


def test_years_before_the_first_of_a_calendar_are_named():
    with pytest.raises(
        ValueError, match=r"XSHG: sessions of .* asked for, but exchange_calendars has them from 1990-12"
    ):
        expected_open_times("XSHG", "1d", utc("1990-10-01"), utc("1991-01-01"))


def last_session(calendar: str) -> pd.Timestamp:
    return exchange_calendars.get_calendar(calendar).bound_max()


@pytest.mark.parametrize(
    "calendar", ["XBOM", "XHKG", pytest.param("XKRX", marks=pytest.mark.long), "XSAU", "XSES", "XSHG"]
)
def test_after_the_last_session_that_the_library_knows_the_usual_week_goes_on(calendar):
    end = last_session(calendar).tz_localize("UTC") + pd.Timedelta(days=1)
    week = exchange_calendars.get_calendar(calendar).weekmask
    days = expected_open_times(calendar, "1d", end, end + pd.Timedelta(days=400))
    assert [*days] == [d for d in pd.date_range(end, periods=400) if week[d.weekday()] == "1"]


@pytest.mark.parametrize("calendar", ["XBOM", "XHKG", "XSES", "XSHG"])
@pytest.mark.parametrize("timeframe", ["15m", "1h"])
def test_the_bars_of_an_unknown_day_are_those_of_a_usual_one(calendar, timeframe):
    end = last_session(calendar).tz_localize("UTC") + pd.Timedelta(days=1)
    usual = end - pd.Timedelta(days=60)

    def clock(start: pd.Timestamp) -> set[str]:
        bars = expected_open_times(calendar, timeframe, start, start + pd.Timedelta(days=20))
        return {f"{bar:%H:%M}" for bar in bars}

    assert clock(end) == clock(usual)


@pytest.mark.parametrize("calendar", ["XBOM", "XSES", "XSHG"])
def test_windows_over_the_end_of_a_calendar_add_up(calendar):
    end = last_session(calendar).tz_localize("UTC") + pd.Timedelta(days=1)
    windows = [expected_open_times(calendar, "1h", end + a, end + b) for a, b in ((-WEEK, WEEK), (-WEEK, 0 * WEEK))]
    later = expected_open_times(calendar, "1h", end, end + WEEK)
    assert windows[0].equals(windows[1].append(later))
    assert known_until(calendar, end - WEEK, end + WEEK) == end


@pytest.mark.parametrize(
    ("calendar", "timeframe", "expected"),
    [
        ("24/7", "1h", 8760),
        ("24/7", "1d", 365),
        ("24/7", "5m", 105_120),
        ("XNYS", "1d", 252),
        ("XNYS", "1h", 252 * 7),
        ("XNYS", "30m", 252 * 13),
        ("XHKG", "1h", 252 * 6),
        ("24/5", "1h", 252 * 24),
        ("CMES", "1h", 252 * 23),
        ("FX", "1h", 252 * 24),
    ],
)
def test_periods_per_year(calendar, timeframe, expected):
    assert periods_per_year(calendar, timeframe) == expected
