"""Daily bars that begin elsewhere than at 00:00 UTC of their date."""

import pandas as pd
import pytest

from quantum_training.market.calendar_settings import calendar_from
from quantum_training.market.calendars import expected_open_times
from quantum_training.market.daily_bars import bar_ends, with_dates

DAY = pd.Timedelta(days=1)


def utc(text: str) -> pd.Timestamp:
    return pd.Timestamp(text, tz="UTC")


def stamped(stamps) -> pd.DataFrame:
    return pd.DataFrame({"close": range(len(stamps))}, index=pd.DatetimeIndex(stamps).as_unit("ns").rename("open_time"))


def sessions(calendar: str, first: str = "2024-02-20", last: str = "2024-04-20") -> pd.DatetimeIndex:
    return expected_open_times(calendar, "1d", utc(first), utc(last))


def at(dates: pd.DatetimeIndex, zone: str, clock: str, days: int = 0) -> pd.DatetimeIndex:
    """The wall clock's time on these dates."""
    return (dates.tz_localize(None) + pd.Timedelta(clock) + days * DAY).tz_localize(zone).tz_convert("UTC")


@pytest.mark.parametrize(
    ("zone", "clock", "days", "late"),
    [
        ("UTC", "16h", -1, "-8h"),  # htx
        ("UTC", "8h", 0, "8h"),  # deribit
        ("America/Chicago", "0h", 0, "5h"),  # alpaca
        ("Asia/Seoul", "0h", 0, "-9h"),
        ("UTC", "12h", 0, "12h"),
        ("UTC", "0h", 0, "0h"),
    ],
)
def test_the_day_of_a_market_that_never_closes_is_the_one_in_which_most_of_the_bar_lies(zone, clock, days, late):
    dates = sessions("24/7")
    dated, lateness = with_dates(stamped(at(dates, zone, clock, days)), "24/7")
    assert (dated.index.equals(dates), lateness) == (True, pd.Timedelta(late))


@pytest.mark.parametrize(
    ("calendar", "zone", "clock", "days"),
    [
        ("XNYS", "America/New_York", "0h", 0),  # yfinance to_csv, polygon
        ("XNYS", "America/New_York", "9h30m", 0),  # tradingview
        ("XNYS", "America/New_York", "16h", 0),
        ("XNYS", "UTC", "22h", -1),  # a midnight of the wrong season
        ("XTKS", "Asia/Tokyo", "0h", 0),
        ("XTKS", "Asia/Tokyo", "9h", 0),
        ("CMES", "America/Chicago", "17h", -1),
        ("CMES", "America/Chicago", "0h", 0),
        ("FX", "America/New_York", "17h", -1),  # mt5
        ("FX", "America/New_York", "0h", 0),
    ],
)
def test_a_daily_bar_of_an_exchange_is_of_its_session_however_it_is_stamped(calendar, zone, clock, days):
    dates = sessions(calendar)
    stamps = at(dates, zone, clock, days)
    if clock == "22h":
        stamps = at(dates, "Etc/GMT+4", "0h")[10:20]  # 04:00 UTC, in winter too: 23:00 of the evening before
        dates = dates[10:20]
    dated, _ = with_dates(stamped(stamps), calendar)
    assert dated.index.equals(dates)


def test_a_late_open_is_still_its_sessions():
    late = calendar_from({"name": "XNYS", "add": ["2024-03-05 13:30-16:00"]})
    dates = sessions("XNYS", "2024-03-01", "2024-03-10")
    stamps = at(dates, "America/New_York", "9h30m").where(dates != utc("2024-03-05"), utc("2024-03-05 18:30"))
    assert with_dates(stamped(stamps), late)[0].index.equals(dates)
    assert not with_dates(stamped(stamps), "XNYS")[0].index.equals(dates)


def test_days_of_a_clock_are_dated_by_it():
    fx = calendar_from({"name": "FX", "align": "clock"})
    dates = expected_open_times(fx, "1d", utc("2024-03-01"), utc("2024-03-20"))
    assert with_dates(stamped(at(dates, "America/New_York", "0h")), fx)[0].index.equals(dates)


@pytest.mark.parametrize("calendar", ["24/7", "XNYS"])
def test_bars_that_are_not_stamped_alike_keep_their_stamps(calendar):
    dates = sessions(calendar)
    stamps = dates.where(dates < dates[20], dates + pd.Timedelta(hours=7))
    dated, late = with_dates(stamped(stamps), calendar)
    assert (dated.index.equals(stamps), late) == (True, pd.Timedelta(0))


def test_the_newest_bar_says_how_late_the_days_begin_now():
    dates = sessions("XNYS", "2024-03-01", "2024-03-20")  # summer time begins on the 10th
    assert with_dates(stamped(at(dates, "America/New_York", "0h")), "XNYS")[1] == pd.Timedelta(hours=4)


@pytest.mark.parametrize(
    ("calendar", "stamp", "end"),
    [
        ("XNYS", "2024-06-12 13:30", "2024-06-13"),  # the session's open
        ("XNYS", "2024-06-12 04:00", "2024-06-13"),  # midnight in New York
        ("XNYS", "2024-06-12", "2024-06-13"),
        ("24/7", "2024-06-12 08:00", "2024-06-13 08:00"),
    ],
)
def test_a_sessions_bar_is_known_at_the_end_of_its_date_and_others_a_day_after_their_stamp(calendar, stamp, end):
    assert bar_ends(pd.DatetimeIndex([utc(stamp)]), "1d", calendar)[0] == utc(end)


def test_an_empty_frame_and_one_with_a_missing_stamp_stay_as_they_are():
    for bars in (stamped([]), stamped(pd.DatetimeIndex([pd.NaT, utc("2024-03-01 16:00")]))):
        assert with_dates(bars, "24/7")[0] is bars
