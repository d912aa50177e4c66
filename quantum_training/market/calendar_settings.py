"""Which trading hours a market has, as the settings say it: a calendar's name, or what differs from it."""

from __future__ import annotations

from datetime import date
from functools import cached_property
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, PlainValidator

from quantum_training.market.trading_hours import day_session, hours_of

ALWAYS_OPEN = "24/7"
FX_WEEK = "FX"


def _name(value: str) -> str:
    if value not in (ALWAYS_OPEN, FX_WEEK):
        from exchange_calendars import get_calendar_names

        if value not in get_calendar_names():
            raise ValueError(
                f"unknown calendar {value!r}; allowed: '24/7' or a code of exchange_calendars, as XNYS, XNAS, XLON, "
                "XETR, XTKS, CMES (all: python -c 'import exchange_calendars as c; print(c.get_calendar_names())'), or "
                "FX: Sunday 17:00 to Friday 17:00 New York"
            )
    return value


def _hours(value: str) -> str:
    hours_of(value)
    return value


def _session(value: str) -> str:
    day_session(value)
    return value


CalendarName = Annotated[str, AfterValidator(_name)]
HoursText = Annotated[str, AfterValidator(_hours)]
SessionText = Annotated[str, BeforeValidator(lambda value: str(value) if isinstance(value, date) else value)]


class CustomCalendar(BaseModel):
    """A calendar with what differs from it. Times are those of its exchange."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: CalendarName = Field(description="The calendar that it begins with, as XBOM.")
    add: tuple[Annotated[SessionText, AfterValidator(_session)], ...] = Field(
        (),
        description="Sessions that the calendar lacks, as 2024-03-02, or that have other hours than it says, as "
        "'2024-11-01 18:00-19:00'; with a pause as '2024-03-02 09:15-10:00 11:30-12:30'.",
    )
    drop: tuple[date, ...] = Field((), description="Sessions of the calendar that did not take place.")
    hours: HoursText | None = Field(
        None,
        description="The usual hours, as 04:00-20:00 for extended ones. A session that the calendar opens late or "
        "closes early does so by as much if the hours are longer than its own.",
    )
    breaks: tuple[HoursText, ...] = Field((), description="Daily breaks, as 16:00-17:00 for maintenance.")
    align: Literal["session", "clock", "utc"] = Field(
        "session",
        description="Where bars begin: counted from the session's open, or on the full hours of the exchange's clock "
        "(a bar of 9:00 for an open at 9:30), or of UTC. Daily bars: one a session, or one a day.",
    )

    @property
    def identity(self) -> str | dict[str, Any]:
        """What of it makes other bars; its name alone if only single sessions differ."""
        options = self.model_dump(mode="json", exclude={"add", "drop"}, exclude_defaults=True)
        return options if len(options) > 1 else self.name

    @cached_property
    def _text(self) -> str:
        options = self.model_dump(mode="json", exclude={"name"}, exclude_defaults=True)
        return f"{self.name} with {', '.join(options)}" if options else self.name

    @cached_property
    def _hash(self) -> int:
        return hash(self.model_dump_json())

    def __hash__(self) -> int:
        """Once per object: sessions are cached by their calendar, and asked for very often."""
        return self._hash

    def __str__(self) -> str:
        return self._text


Calendar = str | CustomCalendar


def calendar_from(value: Any) -> Calendar:
    """The calendar that the settings name or describe. ValueError says what is allowed."""
    if isinstance(value, CustomCalendar):
        return value
    if isinstance(value, dict):
        return CustomCalendar.model_validate(value)
    if not isinstance(value, str):
        raise ValueError(f"{value!r} is no calendar; allowed: a name, as XNYS, or {{name: XNYS, add: [...], ...}}")
    return _name(value)


CalendarSetting = Annotated[Calendar, PlainValidator(calendar_from)]


def name_of(calendar: Calendar) -> str:
    """The name of a calendar, or of the one that it begins with."""
    return calendar if isinstance(calendar, str) else calendar.name
