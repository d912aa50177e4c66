"""How a history is put together from pages without a hidden hole, whatever the server does. No HTTP, no exchange.

One thing is trusted: an answer leaves out no bar between its first and its last. Where two pages meet, a bar of the
first one is asked for again, so that nothing is lost between them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

import pandas as pd

Rows = list[list[Any]]
_FEW = 8  # bars of a request that finds out whether a server minds how many are asked for


class PagingError(Exception):
    """The server's answers contradict each other: a history made of them would have holes that the market had not."""


class PageRequest(Protocol):
    """One request: up to `bars` rows [stamp, ...] from `since` on, none after `until`; in order, if all is well.

    bars: None leaves their number to the server.
    """

    def __call__(self, since: int, bars: int | None, until: int | None = None) -> Rows: ...


class History(NamedTuple):
    """Rows [stamp, ...], oldest first. oldest: stamp of the first bar that the server gives, if it keeps no older."""

    rows: Rows
    oldest: int | None = None


@dataclass
class Pager:
    """Reads one history of rows [stamp, ...] page by page. Stamps are in Unix ms.

    request: sends one request. step: time from bar to bar in ms. limit: bars per page; it shrinks if the server gives
    fewer. now: the current time. attempts: how often a request is sent before an empty answer is accepted. earliest:
    no request is made for older bars.
    """

    request: PageRequest
    step: int
    limit: int
    now: int
    attempts: int
    earliest: int = 0
    _way: int = field(default=0, init=False)  # how a page is asked for, see _ask
    _oldest: int | None = field(default=None, init=False)
    _stop: int = field(default=0, init=False)

    def fetch(self, start: int, stop: int) -> History:
        """All rows from `start` until at least `stop`; later rows may follow.

        Each page is asked for from one bar earlier than is needed: some servers leave out the bar at the start. After
        an empty answer the next page is requested: some servers answer for a window of time, and an outage may be
        longer than that. Raises PagingError if the server leaves out bars that it has.
        """
        rows: Rows = []
        cursor, self._stop = start, stop
        while cursor < stop:
            expected = rows[-1][0] + self.step if rows else start
            since = max(cursor - self.step, self.earliest)
            answer = self._first_answer(lambda since=since: self._ask(since))  # type: ignore[misc]
            page = self._following(answer, since, expected, bool(rows))
            cursor = since + max(2, self.limit) * self.step
            if not page and cursor >= stop:
                page = self._at_the_end(expected)
            if page:
                rows += page
                cursor = page[-1][0] + self.step
        return History(rows, self._oldest)

    def _at_the_end(self, expected: int) -> Rows:
        """The rows from `expected` on, if the answers without any were for shorter times than were asked for."""
        if self._stop - expected <= self.limit // 4 * self.step:
            return []
        answer, _ = self._between(expected, self._stop)
        return [row for row in answer if row[0] >= expected]

    def _ask(self, since: int, way: int | None = None) -> Rows:
        """One page from `since` on: by their number, with an end as well, or by start and end alone."""
        since, way = max(since, self.earliest), self._way if way is None else way
        until = since + self.limit * self.step - 1
        if way == 0:
            return _sorted(self.request(since, self.limit))
        return _sorted(self.request(since, self.limit if way == 1 else None, until))

    def _first_answer(self, request: Callable[[], Rows]) -> Rows:
        """The first answer that is not empty; an empty one after so many attempts."""
        return next((rows for _ in range(self.attempts) if (rows := request())), [])

    def _following(self, answer: Rows, since: int, expected: int, has_known: bool) -> Rows:
        """The rows from `expected` on, without a hole before or between them; none if the market has none there.

        has_known: the bar before `expected` is known, so an answer that begins before it has it.
        """
        newer = [row for row in answer if row[0] >= expected]
        if not newer:
            if answer and answer[0][0] < since:
                self._require_newest(answer[-1][0], expected, has_known)
            return []
        if answer[0][0] > expected:
            return self._after_gap(answer, since, expected, has_known)
        last_bar = expected - self.step
        if has_known and answer[0][0] <= last_bar and all(row[0] != last_bar for row in answer):
            raise PagingError(f"the bar of {_utc(last_bar)} that it gave is missing from its next answer")
        return newer

    def _require_newest(self, last: int, expected: int, has_known: bool) -> None:
        """PagingError if a page of bars before the asked ones may come from a server that ignores what is asked.

        Some servers give the last bars before an end, however old they are: then `last` is also the last of a few.
        Others give their newest bars whatever is asked.
        """
        few = min(_FEW, self.limit)
        again = self._first_answer(lambda: _sorted(self.request(last - self.step, few)))
        is_newest = last + self.limit * self.step >= self.now if len(again) > few else again and again[-1][0] == last
        if not is_newest or (has_known and last != expected - self.step):
            raise PagingError(
                f"asked for bars from {_utc(expected)} on it gives a page of older ones, up to {_utc(last)}"
            )

    def _after_gap(self, answer: Rows, since: int, expected: int, has_known: bool) -> Rows:
        """The rows to go on with if an answer begins after `expected`: those left out, or its own if there are none."""
        first = answer[0][0]
        if shorter := self._shorter_page(answer, since):
            return self._following(shorter, since, expected, has_known)
        around = self._ask(expected - self.limit // 2 * self.step)
        if around and around[0][0] < expected and any(expected <= row[0] <= first for row in around):
            return self._following(around, around[0][0], expected, has_known)
        missing, ignores_until = self._between(expected, min(first, self._stop))
        begins = next((row[0] for row in missing if row[0] >= expected), None)
        if missing and (missing[0][0] < expected or begins == expected):
            self._way = max(self._way, 1)  # it gave with an end what it left out without one
            return [row for row in missing if row[0] >= expected]
        is_newest = ignores_until and answer[-1][0] + self.limit * self.step >= self.now
        if begins is None and not is_newest:
            return answer
        if self._finds_another_way(first):
            again = self._first_answer(lambda: self._ask(since))
            return self._following(again, since, expected, has_known)
        if begins is not None or has_known:
            asked_again = f" and, asked again, with {_utc(begins)}" if begins is not None else ", its newest ones"
            raise PagingError(f"asked for bars from {_utc(expected)} on it begins with {_utc(first)}{asked_again}")
        self._oldest = first
        return answer

    def _shorter_page(self, answer: Rows, since: int) -> Rows:
        """The page again, of as many bars as came; empty unless it now begins earlier, and then pages stay so short.

        So it is if a server cuts the beginning of a page that is too long for it.
        """
        limit, count = self.limit, len(answer)
        if not 2 <= count < limit:
            return []
        self.limit = count
        again = self._ask(since)
        if again and again[0][0] < answer[0][0]:
            return again
        self.limit = limit
        return []

    def _between(self, start: int, end: int) -> tuple[Rows, bool]:
        """The answer of the first request for a part of [start, end) that has a bar of it; does it ignore the end?"""
        at = start
        while at < end:
            since = max(at - self.step, self.earliest)
            bars = min(self.limit, -(-(end - since) // self.step))
            until, count = min(end, since + bars * self.step) - 1, bars if self._way < 2 else None
            answer = self._first_answer(lambda s=since, b=count, u=until: _sorted(self.request(s, b, u)))  # type: ignore[misc]
            if any(start <= row[0] < end for row in answer):
                return answer, False
            if any(row[0] >= end for row in answer):
                return [], True
            at = since + max(2, bars) * self.step
        return [], False

    def _finds_another_way(self, first: int) -> bool:
        """Whether asking for pages in another way gives bars before `first`; then it is kept."""
        since = first - self.limit * self.step
        for way in range(self._way + 1, 3):
            answer = self._first_answer(lambda way=way: self._ask(since, way))  # type: ignore[misc]
            if any(since <= row[0] < first for row in answer):
                self._way = way
                return True
        return False


def _sorted(rows: Rows) -> Rows:
    return sorted(rows, key=lambda row: row[0])


def _utc(stamp: int) -> str:
    return f"{pd.Timestamp(stamp, unit='ms'):%Y-%m-%d %H:%M}"
