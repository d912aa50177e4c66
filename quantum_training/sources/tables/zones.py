"""Zones of stamps: IANA names, and the clocks of brokers' servers, which run some hours ahead of one.

Clock times become instants here. One that a clock shows twice or never cannot be told and stays without an instant.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple
from zoneinfo import ZoneInfo, available_timezones

import numpy as np
import pandas as pd

_SHIFTED = re.compile(r"(.+)([+-]\d{1,2})h")


class Zone(NamedTuple):
    """A clock: `ahead` of the one that the IANA zone `name` has."""

    name: str
    ahead: pd.Timedelta


@lru_cache(maxsize=64)
def as_zone(text: str) -> Zone:
    """The zone that a text as UTC, America/New_York or America/New_York+7h names. ValueError if it names none."""
    shifted = _SHIFTED.fullmatch(text)
    name, hours = (shifted[1], int(shifted[2])) if shifted else (text, 0)
    if (name != "UTC" and name not in available_timezones()) or abs(hours) > 14:  # the list of all takes a while
        raise ValueError(
            f"{text!r} is no time zone; allowed: an IANA name, as UTC or America/New_York, also with hours ahead of "
            "it, as America/New_York+7h"
        )
    return Zone(name, pd.Timedelta(hours=hours))


def instants(
    clock_times: pd.DatetimeIndex, zone: Zone, groups: np.ndarray | None = None, descending: bool = False
) -> pd.DatetimeIndex:
    """UTC instants of what a clock shows; NaT if it shows that time never, or twice and the file has it once.

    A time that the file has twice came first before the clock was set back. groups: a number per row, one for each
    symbol of the file. descending: the file is newest first.
    """
    local = clock_times - zone.ahead
    if zone.name == "UTC":
        return local.tz_localize("UTC")
    first = local.tz_localize(zone.name, ambiguous=np.ones(len(local), bool), nonexistent="NaT")
    second = local.tz_localize(zone.name, ambiguous=np.zeros(len(local), bool), nonexistent="NaT")
    twice = np.asarray(first != second) & np.asarray(first.notna())
    if not twice.any():
        return first.tz_convert("UTC")
    rows = pd.DataFrame({"time": local, "group": 0 if groups is None else groups})
    later = rows.duplicated(keep="last" if descending else "first").to_numpy()
    alone = ~rows.duplicated(keep=False).to_numpy()
    times = first.tz_convert("UTC").to_series().reset_index(drop=True)
    times[twice & later] = second.tz_convert("UTC")[twice & later]
    times = times.mask(twice & alone)
    return pd.DatetimeIndex(times)


def clock_changes(zone: str, start: pd.Timestamp, end: pd.Timestamp) -> dict[pd.Timestamp, int]:
    """The instants in [start, end) at which the clock of an IANA zone is set, and by how many hours."""
    days = pd.date_range(start.floor("D"), end.ceil("D"), freq="D", tz="UTC")
    offsets = np.array([_offset(zone, day) for day in days])
    changes = {}
    for at in np.flatnonzero(np.diff(offsets)).tolist():
        hours = pd.date_range(days[at], days[at + 1], freq="h")
        hour = next(hour for hour in hours if _offset(zone, hour) != offsets[at])
        if start <= hour < end:
            changes[hour] = round((offsets[at + 1] - offsets[at]) / 3600)
    return changes


def _offset(zone: str, time: pd.Timestamp) -> float:
    offset = time.to_pydatetime().astimezone(ZoneInfo(zone)).utcoffset()
    return offset.total_seconds() if offset else 0.0
