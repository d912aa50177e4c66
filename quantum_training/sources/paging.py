"""How a history is put together from pages without a hidden hole, whatever the server does. No HTTP, no exchange."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import pandas as pd

Rows = list[list[Any]]


class PagingError(Exception):
    """The server's answers contradict each other: a history made of them would have holes that the market had not."""


class PageRequest(Protocol):
    """One request: up to `bars` rows [stamp, ...] from `since` on, none after `until`; in order, if all is well."""

    def __call__(self, since: int, bars: int, until: int | None = None) -> Rows: ...


@dataclass(frozen=True)
class Pager:
    """Reads a history of rows [stamp, ...] page by page. Stamps are in Unix ms.

    request: sends one request. step: time from bar to bar in ms. limit: bars per page. now: the current time.
    attempts: how often a request is sent before an empty answer is accepted.
    """

    request: PageRequest
    step: int
    limit: int
    now: int
    attempts: int

    def fetch(self, start: int, stop: int) -> Rows:
        """All rows from `start` until at least `stop`; later rows may follow.

        Every round moves on by a bar at least, so there are never more rounds than bars. After an empty answer the next
        page is requested: some servers answer for a window of time, and an outage may be longer than that. A page that
        does not begin where the last one ended is checked before it is accepted. Raises PagingError if the server
        ignores `since` or leaves out bars that it has.
        """
        rows: Rows = []
        expected = since = start
        while since < stop:
            page = self._first_answer(partial(self._page, since))
            if not page:
                since += self.limit * self.step
                continue
            if page[0][0] > expected:
                page = self._checked_gap(page, expected)
            rows += page
            expected = since = page[-1][0] + self.step
        return rows

    def _first_answer(self, request: Callable[[], Rows]) -> Rows:
        """The first answer that is not empty; an empty one after so many attempts."""
        return next((rows for _ in range(self.attempts) if (rows := request())), [])

    def _page(self, since: int) -> Rows:
        """The rows of one answer that are not older than `since`: a server may repeat some of the page before."""
        answer = _sorted(self.request(since, self.limit))
        page = [row for row in answer if row[0] >= since]
        if not page and len(answer) >= self.limit:
            raise PagingError(
                f"asked for bars from {_utc(since)} on it gives a page of older ones, up to {_utc(answer[-1][0])}"
            )
        return page

    def _checked_gap(self, page: Rows, expected: int) -> Rows:
        """The page to go on with if `page` leaves out bars from `expected` on: itself, if the market has none there.

        The missing bars are requested by themselves.
        """
        first = page[0][0]
        bars = min(self.limit, -(-(first - expected) // self.step))
        answer = _sorted(self._first_answer(partial(self.request, expected, bars, first - 1)))
        missing = [row for row in answer if expected <= row[0] < first]
        if missing and missing[0][0] == expected:
            return missing
        if missing:
            contradiction = f"it begins with {_utc(first)} and, asked again, with {_utc(missing[0][0])}"
            raise PagingError(f"asked for bars from {_utc(expected)} on {contradiction}")
        if any(row[0] >= first for row in answer) and page[-1][0] + self.limit * self.step >= self.now:
            # It also ignores `until`, and these are its newest bars: what a server that ignores `since` always answers.
            raise PagingError(
                f"asked for bars from {_utc(expected)} on it gives only its newest, from {_utc(first)} on"
            )
        return page


def _sorted(rows: Rows) -> Rows:
    return sorted(rows, key=lambda row: row[0])


def _utc(stamp: int) -> str:
    return f"{pd.Timestamp(stamp, unit='ms'):%Y-%m-%d %H:%M}"
