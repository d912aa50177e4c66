"""What the gate makes of a calendar that has ended. Its last session moves with the library, so nothing is dated."""

import pandas as pd
import pytest
from exchange_calendars.exchange_calendar_xbom import XBOMExchangeCalendar

DAY = pd.Timedelta(days=1)
END = XBOMExchangeCalendar.bound_max().tz_localize("UTC") + DAY  # the first day that is not known
MONTH_END = END + pd.offsets.MonthBegin(1)


@pytest.fixture
def bars(walk):
    """A year of daily bars before the end of XBOM, and two months of the usual week after it."""
    return walk("XBOM", "1d", f"{END - 365 * DAY:%Y-%m-%d}", f"{END + 60 * DAY:%Y-%m-%d}")


@pytest.fixture
def judged(bars, judge):
    """The defects of the first unknown month up to a day, without some of its days (counted from 0)."""

    def defects(closed=(), until=MONTH_END):
        month = bars[(bars.index >= END) & (bars.index < until)]
        month = month.drop(month.index[list(closed)])
        return judge(month, f"{END:%Y-%m-%d}", f"{until:%Y-%m-%d}", "1d", "XBOM", bars[bars.index < END])

    return defects


def test_a_month_after_the_end_of_a_calendar_is_accepted_with_a_warning_that_says_so(judged):
    (defect,) = judged()
    assert (defect.rule, defect.severity) == ("calendar", "warning")
    assert f"known until {END - DAY:%Y-%m-%d} only; later ones follow its usual week" in defect.message
    assert "Install a newer exchange_calendars" in defect.message


def test_days_without_a_bar_are_taken_for_holidays_and_named(judged, bars):
    (defect,) = judged(closed=(1, 7))
    days = bars.index[bars.index >= END][[1, 7]]
    assert (defect.severity, [*defect.bars]) == ("warning", [*days])
    assert all(f"{day:%Y-%m-%d}" in defect.message for day in days)


def test_more_days_than_any_holiday_takes_are_missing(judged):
    assert {(d.rule, d.severity) for d in judged(closed=range(1, 11))} == {
        ("calendar", "warning"),
        ("missing_bars", "error"),
    }


def test_the_last_day_of_a_complete_month_is_no_holiday_as_nothing_shows_that_the_source_went_on(judged):
    assert ("missing_bars", "error") in {(d.rule, d.severity) for d in judged(closed=(-1,))}


def test_the_newest_day_of_the_month_in_progress_may_be_a_holiday(judged):
    until = END + 20 * DAY
    assert {d.severity for d in judged(closed=(-1,), until=until)} == {"warning"}


def test_a_month_without_any_bar_is_refused(judge, bars):
    nothing = bars[:0]
    defects = judge(nothing, f"{END:%Y-%m-%d}", f"{MONTH_END:%Y-%m-%d}", "1d", "XBOM", bars[bars.index < END])
    assert ("empty", "error") in {(d.rule, d.severity) for d in defects}


def test_the_month_before_the_end_says_nothing(judge, bars):
    start = END - pd.offsets.MonthBegin(1)
    month = bars[(bars.index >= start) & (bars.index < END)]
    assert not judge(month, f"{start:%Y-%m-%d}", f"{END:%Y-%m-%d}", "1d", "XBOM", bars[bars.index < start])
