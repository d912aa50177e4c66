"""How a history is put together from pages without a silent hole, whatever the server does. No HTTP, no exchange."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Protocol

import pandas as pd

Rows = list[list[Any]]


class PagingError(Exception):
    """The server's answers contradict each other: a history made of them would have holes that the market had not."""


class Ask(Protocol):
    """One request: up to `bars` rows [stamp, ...] from `since` on, none after `until`; in order, if all is well."""

    def __call__(self, since: int, bars: int, until: int | None = None) -> Rows: ...


def fetch_pages(ask: Ask, start: int, stop: int, step: int, limit: int, now: int, doubts: int) -> Rows:
    """All rows from `start` until at least `stop` (stamps in Unix ms, `step` in ms); later rows may follow.

    Every round moves on by a bar at least, so there are never more rounds than bars. An empty answer is believed when
    it is given `doubts` times; then the next page is asked for, because some servers answer for a window of time and an
    outage may be longer than that. A page that does not begin where the last one ended is checked before it is
    believed. PagingError where the server ignores `since` or leaves out bars that it has.
    """
    rows: Rows = []
    have = since = start
    while since < stop:
        page = _insist(doubts, partial(_page, ask, since, limit))
        if not page:
            since += limit * step
            continue
        if page[0][0] > have:
            page = _after_gap(ask, page, have, step, limit, now, doubts)
        rows += page
        have = since = page[-1][0] + step
    return rows


def _insist(times: int, ask: Callable[[], Rows]) -> Rows:
    """The first answer that is not empty; none after so many."""
    return next((rows for _ in range(times) if (rows := ask())), [])


def _page(ask: Ask, since: int, limit: int) -> Rows:
    """The rows of one answer that are not older than `since`: a server may repeat some of the page before."""
    answer = _sorted(ask(since, limit))
    page = [row for row in answer if row[0] >= since]
    if not page and len(answer) >= limit:
        raise PagingError(
            f"asked for bars from {_utc(since)} on it gives a page of older ones, up to {_utc(answer[-1][0])}"
        )
    return page


def _after_gap(ask: Ask, page: Rows, have: int, step: int, limit: int, now: int, doubts: int) -> Rows:
    """The page to go on with where `page` leaves out bars from `have` on: itself, if the market has none there.

    The missing bars are asked for by themselves.
    """
    first = page[0][0]
    bars = min(limit, -(-(first - have) // step))
    probe = _sorted(_insist(doubts, partial(ask, have, bars, first - 1)))
    inside = [row for row in probe if have <= row[0] < first]
    if inside and inside[0][0] == have:
        return inside
    if inside:
        found = f"it begins with {_utc(first)} and, asked again, with {_utc(inside[0][0])}"
        raise PagingError(f"asked for bars from {_utc(have)} on {found}")
    if any(row[0] >= first for row in probe) and page[-1][0] + limit * step >= now:
        # It also ignores `until`, and these are its newest bars: what one that ignores `since` always answers.
        raise PagingError(f"asked for bars from {_utc(have)} on it gives only its newest, from {_utc(first)} on")
    return page


def _sorted(rows: Rows) -> Rows:
    return sorted(rows, key=lambda row: row[0])


def _utc(stamp: int) -> str:
    return f"{pd.Timestamp(stamp, unit='ms'):%Y-%m-%d %H:%M}"
