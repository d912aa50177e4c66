"""Local trading hours, and the sessions of single days, as people and the table of special sessions write them."""

from __future__ import annotations

import re
from typing import NamedTuple

import pandas as pd

_HOURS = re.compile(r"([01]\d|2[0-4]):([0-5]\d)-([01]\d|2[0-4]):([0-5]\d)")
USUAL, CLOSED = "usual", "closed"


class Hours(NamedTuple):
    """Minutes after local midnight of a session's date; below zero on the day before."""

    opens: int
    closes: int


class DaySession(NamedTuple):
    """What a market does on a date. hours: its spans; none if it is closed; None for its usual ones."""

    date: pd.Timestamp
    hours: tuple[Hours, ...] | None


def hours_of(text: str) -> Hours:
    """Hours as `09:30-16:00`; those that end earlier than they begin, begin on the day before. ValueError if wrong."""
    if not (match := _HOURS.fullmatch(text.strip())):
        raise ValueError(f"{text!r} are no hours; allowed: local times of 24 hours, as 09:30-16:00")
    values = [*map(int, match.groups())]
    opens, closes = values[0] * 60 + values[1], values[2] * 60 + values[3]
    if max(opens, closes) > 24 * 60:
        raise ValueError(f"{text!r} are no hours: a day ends at 24:00")
    return Hours(opens - 24 * 60 if opens >= closes else opens, closes)


def day_session(text: str) -> DaySession:
    """A date alone, or with its hours, as `2024-11-01 18:00-19:00`. ValueError if wrong."""
    day, *rest = text.split()
    try:
        date = pd.Timestamp(day)
        if day != f"{date:%Y-%m-%d}":
            raise ValueError
    except ValueError:
        raise ValueError(f"{text!r} begins with no date; allowed: 2024-11-01, or 2024-11-01 18:00-19:00") from None
    if rest in ([], [USUAL]):
        return DaySession(date, None)
    return DaySession(date, () if rest == [CLOSED] else tuple(map(hours_of, rest)))
