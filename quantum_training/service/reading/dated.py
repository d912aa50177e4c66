"""Answers that say how old they are: up to when what they show knew the market."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, Generic, TypeVar

import pandas as pd
from pydantic import BaseModel, Field

Item = TypeVar("Item")
Time = str | datetime | pd.Timestamp | None


class Dated(BaseModel):
    """Up to when an answer knew the market, and how long ago that was."""

    as_of: datetime | None = Field(
        description="UTC time up to which the newest of what is shown knew the market; null if nothing is stored.",
        examples=["2020-02-10T00:00:00Z"],
    )
    age_seconds: float | None = Field(description="How long ago that was, in seconds.", examples=[3600.0])


class Page(Dated, Generic[Item]):
    """Items, and how many there are without a limit."""

    total: int = Field(description="Number of items without the limit.")
    items: list[Item]


def utc(time: Time) -> datetime | None:
    """A stored time as one of UTC. Dates are their 00:00."""
    if time is None:
        return None
    stamp = pd.Timestamp(time)
    return (stamp.tz_localize("UTC") if stamp.tz is None else stamp.tz_convert("UTC")).to_pydatetime(warn=False)


def utc_of_seconds(seconds: float | None) -> datetime | None:
    """A time of Dagster, in seconds since 1970."""
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)


def age(time: Time) -> dict[str, Any]:
    """The fields of Dated for a time."""
    as_of = utc(time)
    return {"as_of": as_of, "age_seconds": None if as_of is None else (datetime.now(UTC) - as_of).total_seconds()}


def newest(times: Iterable[Time]) -> datetime | None:
    """The newest of these times; None if there is none."""
    return max((known for time in times if (known := utc(time)) is not None), default=None)


def page(items: list[Any], as_of: Time, limit: int | None = None) -> dict[str, Any]:
    """The fields of a page of the first `limit` items."""
    return {**age(as_of), "total": len(items), "items": items[:limit]}
