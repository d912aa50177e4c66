"""Calendars as the settings change them: other sessions, hours, breaks and bars."""

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from quantum_training.market.calendar_settings import CalendarSetting, calendar_from
from quantum_training.market.calendars import expected_open_times, known_until, periods_per_year, session_close

SETTING = TypeAdapter(CalendarSetting)
DAY = pd.Timedelta(days=1)


def utc(text: str) -> pd.Timestamp:
    return pd.Timestamp(text, tz="UTC")


def local(calendar, zone: str, first: str, last: str, timeframe: str = "1h") -> list[str]:
    """The bars from one day to another, by the exchange's clock."""
    bars = expected_open_times(calendar, timeframe, utc(first) - DAY, utc(last) + 2 * DAY).tz_convert(zone)
    return [f"{bar:%m-%d %H:%M}" for bar in bars if first <= f"{bar:%Y-%m-%d}" <= last]


def dates(calendar, first: str, until: str) -> list[str]:
    return [f"{bar:%m-%d}" for bar in expected_open_times(calendar, "1d", utc(first), utc(until))]


def test_sessions_are_added_and_dropped():
    changed = calendar_from({"name": "XNYS", "add": ["2024-06-01"], "drop": ["2024-06-04"]})
    assert dates("XNYS", "2024-06-01", "2024-06-08") == ["06-03", "06-04", "06-05", "06-06", "06-07"]
    assert dates(changed, "2024-06-01", "2024-06-08") == ["06-01", "06-03", "06-05", "06-06", "06-07"]
    usual = local(changed, "America/New_York", "2024-06-03", "2024-06-03")
    assert [bar[6:] for bar in local(changed, "America/New_York", "2024-06-01", "2024-06-01")] == [b[6:] for b in usual]


def test_a_session_has_other_hours_with_a_pause_or_late():
    saturday, late = "2024-06-01 09:15-10:00 11:30-12:30", "2024-06-03 18:00-19:00"
    changed = calendar_from({"name": "XNYS", "add": [saturday, late]})
    assert local(changed, "America/New_York", "2024-06-01", "2024-06-03") == [
        "06-01 09:15",
        "06-01 11:30",
        "06-03 18:00",
    ]
    assert session_close(changed, utc("2024-06-03")) == pd.Timestamp("2024-06-03 19:00", tz="America/New_York")


def test_extended_hours_end_earlier_after_a_half_day():
    extended = calendar_from({"name": "XNYS", "hours": "04:00-20:00"})
    usual, half = (local(extended, "America/New_York", day, day) for day in ("2024-11-27", "2024-11-29"))
    assert (usual[0], usual[-1], len(usual)) == ("11-27 04:00", "11-27 19:00", 16)
    assert (half[0], half[-1]) == ("11-29 04:00", "11-29 16:00")
    assert periods_per_year(extended, "1h") == 252 * 16


def test_shorter_hours_leave_a_half_day_as_it_is():
    shorter = calendar_from({"name": "XNYS", "hours": "10:00-15:00"})
    assert local(shorter, "America/New_York", "2024-11-29", "2024-11-29") == [f"11-29 {h}:00" for h in (10, 11, 12)]


def test_a_daily_break_takes_out_its_bars_and_the_next_begin_with_its_end():
    paused = calendar_from({"name": "24/5", "breaks": ["21:00-22:30"]})
    bars = local(paused, "UTC", "2024-10-01", "2024-10-01")
    assert bars[-3:] == ["10-01 20:00", "10-01 22:30", "10-01 23:30"]
    assert len(bars) == 23


def test_a_break_of_a_session_that_opened_on_the_day_before_lies_in_it():
    paused = calendar_from({"name": "FX", "breaks": ["23:00-01:00"]})
    assert {bar[6:8] for bar in local(paused, "America/New_York", "2024-10-01", "2024-10-02")}.isdisjoint({"23", "00"})


@pytest.mark.parametrize(
    ("calendar", "zone", "timeframe", "bars"),
    [
        ({"name": "XNYS", "align": "clock"}, "America/New_York", "1h", [f"{hour:02}:00" for hour in range(9, 16)]),
        ({"name": "XNYS", "align": "clock"}, "America/New_York", "4h", ["08:00", "12:00"]),
        ({"name": "XNYS", "align": "utc"}, "UTC", "4h", ["12:00", "16:00"]),
        ({"name": "XBOM", "align": "clock"}, "Asia/Kolkata", "1h", [f"{hour:02}:00" for hour in range(9, 16)]),
        ({"name": "XBOM", "align": "utc"}, "UTC", "1h", [f"{hour:02}:00" for hour in range(3, 10)]),
    ],
)
def test_bars_begin_on_the_hours_of_the_exchanges_clock_or_of_utc(calendar, zone, timeframe, bars):
    assert local(calendar_from(calendar), zone, "2024-06-03", "2024-06-03", timeframe) == [f"06-03 {b}" for b in bars]


@pytest.mark.parametrize(
    ("week", "open_", "close"), [("2024-06-02", "21:00", "21:00"), ("2024-12-01", "22:00", "22:00")]
)
def test_the_fx_week_is_sunday_to_friday_17_new_york(week, open_, close):
    bars = expected_open_times("FX", "1h", utc(week), utc(week) + 7 * DAY)
    assert (f"{bars[0]:%a %H:%M}", f"{bars[-1] + pd.Timedelta(hours=1):%a %H:%M}") == (f"Sun {open_}", f"Fri {close}")
    assert len(bars) == 120


def test_daily_fx_bars_are_one_a_session_or_one_a_day_of_a_clock():
    days = {align: calendar_from({"name": "FX", "align": align}) for align in ("session", "clock", "utc")}
    by_day = [f"06-{day:02}" for day in (2, 3, 4, 5, 6, 7)]
    assert dates(days["session"], "2024-06-01", "2024-06-09") == by_day[1:]
    assert dates(days["clock"], "2024-06-01", "2024-06-09") == by_day
    assert dates(days["utc"], "2024-06-01", "2024-06-09") == by_day
    assert dates(days["clock"], "2024-03-09", "2024-03-12") == ["03-10", "03-11"]  # the clock changes on that Sunday


@settings(max_examples=40, deadline=None)
@given(
    options=st.fixed_dictionaries(
        {"name": st.sampled_from(["XNYS", "FX", "24/5"])},
        optional={
            "align": st.sampled_from(["session", "clock", "utc"]),
            "breaks": st.lists(st.sampled_from(["11:00-12:00", "16:00-17:15", "23:00-01:00"]), max_size=2),
            "hours": st.sampled_from(["04:00-20:00", "10:00-15:30", "18:00-17:00"]),
            "add": st.just(["2024-06-01 10:00-11:00", "2024-06-08"]),
            "drop": st.just(["2024-06-05"]),
        },
    ),
    timeframe=st.sampled_from(["15m", "1h", "4h", "1d"]),
    hours=st.lists(st.integers(0, 24 * 30), min_size=3, max_size=3).map(sorted),
)
def test_windows_of_any_calendar_add_up(options, timeframe, hours):
    calendar = calendar_from(options)
    a, b, c = (utc("2024-05-25") + pd.Timedelta(hours=hour) for hour in hours)
    whole = expected_open_times(calendar, timeframe, a, c)
    parts = [expected_open_times(calendar, timeframe, *window) for window in ((a, b), (b, c))]
    assert parts[0].append(parts[1]).equals(whole)
    assert whole.is_monotonic_increasing
    assert whole.is_unique
    assert not dates(calendar, "2024-06-05", "2024-06-06") or "drop" not in options or options.get("align")


def test_a_changed_calendar_is_hashed_once_and_knows_how_far_its_sessions_are_known():
    one, other = (calendar_from({"name": "XNYS", "add": ["2024-06-01"]}) for _ in range(2))
    assert (one, hash(one)) == (other, hash(other))
    assert {one: 1}[other] == 1
    assert known_until(one, utc("2024-01-01"), utc("2024-02-01")) > utc("2024-02-01")


@pytest.mark.parametrize(
    ("setting", "identity"),
    [
        ({"name": "XBOM"}, "XBOM"),
        ({"name": "XBOM", "add": ["2024-03-02"], "drop": ["2024-03-04"]}, "XBOM"),
        ({"name": "XNYS", "align": "clock", "drop": ["2024-03-04"]}, {"name": "XNYS", "align": "clock"}),
        ({"name": "CMES", "breaks": ["16:00-17:00"]}, {"name": "CMES", "breaks": ["16:00-17:00"]}),
    ],
)
def test_single_sessions_make_no_other_market_and_other_hours_do(setting, identity):
    assert SETTING.validate_python(setting).identity == identity


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"name": "XMOON"}, "unknown calendar 'XMOON'"),
        ({"name": "XNYS", "hours": "9:30-16:00"}, "'9:30-16:00' are no hours; allowed: local times"),
        ({"name": "XNYS", "hours": "09:30-24:30"}, "a day ends at 24:00"),
        ({"name": "XNYS", "add": ["2024-02-30"]}, "begins with no date"),
        ({"name": "XNYS", "add": ["2024-02-01 10"]}, "'10' are no hours"),
        ({"name": "XNYS", "drop": ["x"]}, "drop"),
        ({"name": "XNYS", "holidays": []}, "holidays"),
        (["XNYS"], "is no calendar; allowed: a name"),
        (5, "is no calendar; allowed: a name"),
    ],
)
def test_wrong_calendars_are_refused_with_what_is_allowed(setting, message):
    with pytest.raises(ValidationError, match=message):
        SETTING.validate_python(setting)
