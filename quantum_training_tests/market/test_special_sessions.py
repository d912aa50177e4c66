"""The corrections of exchange_calendars: still needed, right, and no ground to refuse a source that has them not."""

import pandas as pd
import pytest

from quantum_training.market.calendars import expected_open_times
from quantum_training.market.special_sessions import USUAL_HOURS, special_sessions
from quantum_training.market.trading_hours import day_session

ROWS = [*special_sessions().itertuples(index=False, name=None)]
DAY = pd.Timedelta(days=1)
SLOW_IN_THE_LIBRARY = {"XTAE", "BVMF", "XKRX", "XTAI", "XPHS"}  # 3 to 11 s each


def utc(text: str) -> pd.Timestamp:
    return pd.Timestamp(text, tz="UTC")


def marked(calendar: str, *values: str):
    return pytest.param(calendar, *values, marks=pytest.mark.long if calendar in SLOW_IN_THE_LIBRARY else ())


def on_day(calendar: str, timeframe: str, day: str, **options: bool) -> pd.DatetimeIndex:
    return expected_open_times(calendar, timeframe, utc(day), utc(day) + DAY, **options)


@pytest.mark.parametrize(("calendar", "day", "hours"), [marked(*row[:3]) for row in ROWS])
def test_the_library_still_has_this_session_wrong_and_we_have_it_right(calendar, day, hours):
    """If it fails after an upgrade of exchange_calendars, remove the row from special_sessions.tsv."""
    listed, ours = (on_day(calendar, "1m", day, as_listed=as_listed) for as_listed in (True, False))
    assert not listed.equals(ours), "the library is right now: remove the row"
    assert len(on_day(calendar, "1d", day)) == (hours != "closed")
    spans = day_session(f"{day} {hours}").hours
    if spans:
        assert len(ours) == sum(span.closes - span.opens for span in spans)
    else:
        assert (len(ours) > 0) == (hours == "usual")


def test_every_row_has_a_source_and_the_rows_are_in_order():
    table = special_sessions()
    assert list(table.columns) == ["calendar", "date", "hours", "source"]
    assert table["source"].str.len().gt(15).all()
    assert [*table[["calendar", "date"]].itertuples(index=False)] == sorted(
        table[["calendar", "date"]].itertuples(index=False)
    )


@pytest.mark.parametrize("calendar", [marked(calendar) for calendar in USUAL_HOURS])
def test_the_library_still_has_these_usual_hours_wrong(calendar):
    """If it fails after an upgrade of exchange_calendars, remove the calendar from USUAL_HOURS."""
    listed, ours = (on_day(calendar, "1m", "2024-06-19", as_listed=as_listed) for as_listed in (True, False))
    assert not listed.equals(ours)


@pytest.mark.parametrize(
    ("calendar", "day", "zone", "hours"),
    [
        marked("CMES", "2024-10-02", "America/Chicago", "00-15 17-23"),
        marked("us_futures", "2024-10-02", "America/New_York", "00-16 18-23"),
        marked("XSES", "2024-10-02", "Asia/Singapore", "09-11 13-16"),
        marked("XSES", "2017-11-10", "Asia/Singapore", "09-16"),
        marked("BVMF", "2024-10-02", "America/Sao_Paulo", "10-16"),
        marked("BVMF", "2024-12-02", "America/Sao_Paulo", "10-17"),
        marked("XTAE", "2024-10-01", "Asia/Tel_Aviv", "10-17"),
    ],
)
def test_usual_hours_are_the_markets_own(calendar, day, zone, hours):
    bars = expected_open_times(calendar, "1h", utc(day) - DAY, utc(day) + 2 * DAY).tz_convert(zone)
    expected = [hour for span in hours.split() for hour in range(int(span[:2]), int(span[3:]) + 1)]
    assert [bar.hour for bar in bars if f"{bar:%Y-%m-%d}" == day] == expected


@pytest.mark.parametrize("as_listed", [True, False])
@pytest.mark.parametrize(
    ("calendar", "timeframe", "month"),
    [
        marked("XBOM", "1d", "2024-03-01"),
        marked("XBOM", "1h", "2024-11-01"),
        marked("XHKG", "1d", "2023-09-01"),
        marked("XHKG", "1h", "2023-10-01"),
        marked("XKRX", "1h", "2023-11-01"),
        marked("XTAI", "1d", "2024-10-01"),
        marked("XPHS", "1d", "2024-07-01"),
        marked("CMES", "1h", "2024-10-01"),
        marked("XSES", "1h", "2024-10-01"),
        marked("FX", "1h", "2024-12-01"),
        marked("FX", "1d", "2024-12-01"),
        marked("BVMF", "1h", "2024-10-01"),
        marked("XTAE", "1h", "2024-10-01"),
    ],
)
def test_sources_that_have_the_special_sessions_and_those_that_have_not_are_accepted(
    judge, walk, calendar, timeframe, month, as_listed
):
    start = utc(month)
    end = start + pd.offsets.MonthBegin(1)
    bars = expected_open_times(calendar, timeframe, start - 40 * DAY, end, as_listed=as_listed)
    prices = walk("24/7", "1h", "2020-01-01", "2021-01-01").iloc[: len(bars)].set_axis(bars)
    defects = judge(prices[bars >= start], month, f"{end:%Y-%m-%d}", timeframe, calendar, prices[bars < start])
    assert not [d.message for d in defects if d.severity == "error"]


def test_a_lost_day_beside_a_special_one_is_missed(judge, walk):
    bars = expected_open_times("XBOM", "1d", utc("2024-01-01"), utc("2024-04-01"))
    prices = walk("24/7", "1h", "2020-01-01", "2021-01-01").iloc[: len(bars)].set_axis(bars).drop(utc("2024-03-04"))
    month = prices[prices.index >= utc("2024-03-01")]
    defects = judge(month, "2024-03-01", "2024-04-01", "1d", "XBOM", prices[prices.index < utc("2024-03-01")])
    assert [(d.rule, d.severity, f"{d.bars[0]:%m-%d}") for d in defects] == [("missing_bars", "error", "03-04")]
