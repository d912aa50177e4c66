"""Paging: for every kind of server either the full history or an error, with a bounded number of requests."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantum_training.sources.paging import Pager, PagingError

STEP = 60_000
NOW = 400 * STEP


@dataclass
class Server:
    """Bars at these multiples of STEP, answered in the manner of some venue."""

    bars: list[int]
    cap: int = 1000
    windowed: bool = False
    honours_until: bool = True
    backwards: bool = False
    faults: list[str] = field(default_factory=list)
    requests: list[tuple[int, int, int | None]] = field(default_factory=list)

    def __call__(self, since: int, bars: int, until: int | None = None) -> list[list[int]]:
        self.requests.append((since, bars, until))
        if self.faults and self.faults.pop(0) == "empty":
            return []
        count = min(bars, self.cap)
        stamps = [t for t in self.bars if t >= since]
        if until is not None and self.honours_until:
            stamps = [t for t in stamps if t <= until]
        if self.windowed:
            stamps = [t for t in stamps if t < since + count * STEP]
        return [[t] for t in stamps[:count]][:: -1 if self.backwards else 1]


def read(request, start=0, stop=NOW, limit=10, attempts=2):
    history = Pager(request, STEP, limit, NOW, attempts).fetch(start, stop)
    return [row[0] for row in history.rows], history.oldest


def run(request, *span, **pages):
    return read(request, *span, **pages)[0]


histories = st.lists(st.tuples(st.integers(1, 40), st.integers(1, 60)), min_size=1, max_size=6).map(
    lambda spells: [
        STEP * (sum(a + b for a, b in spells[:i]) + gap + k) for i, (gap, n) in enumerate(spells) for k in range(n)
    ]
)


@settings(max_examples=200, deadline=None)
@given(
    bars=histories,
    limit=st.integers(2, 25),
    cap=st.integers(2, 30),
    windowed=st.booleans(),
    backwards=st.booleans(),
    start=st.integers(0, 100).map(lambda k: k * STEP),
    length=st.integers(1, 300).map(lambda k: k * STEP),
    attempts=st.integers(1, 4),
)
def test_the_whole_history_is_found_whatever_its_gaps(bars, limit, cap, windowed, backwards, start, length, attempts):
    # A venue that answers for a window of time declares its own limit, so that pages are as long as it.
    cap = limit if windowed else cap
    server = Server([t for t in bars if t < NOW], cap, windowed, backwards=backwards)
    stop = min(start + length, NOW)
    expected = [t for t in server.bars if start <= t < stop]
    assert [t for t in run(server, start, stop, limit, attempts) if t < stop] == expected
    assert len(server.requests) <= (3 * attempts + 2) * (length // STEP + 1)


@settings(max_examples=100, deadline=None)
@given(faults=st.lists(st.sampled_from(["empty", "truth"]), max_size=12), limit=st.integers(2, 25))
def test_lone_empty_answers_lose_nothing(faults, limit):
    faults = [fault for pair in zip(faults, ["truth"] * len(faults), strict=True) for fault in pair]
    assert run(Server(list(range(0, NOW, STEP)), faults=faults), limit=limit) == list(range(0, NOW, STEP))


def test_two_false_empty_answers_in_a_row_lose_nothing_either():
    server = Server(list(range(0, NOW, STEP)), faults=["truth", "empty", "empty"])
    assert run(server, limit=100) == list(range(0, NOW, STEP))


def test_an_empty_answer_is_confirmed_as_often_as_configured():
    server = Server([*range(0, NOW, STEP)], faults=["truth", *["empty"] * 4, "truth", *["empty"] * 4])
    assert run(server, limit=100, attempts=5) == server.bars
    assert len(server.requests) == 5 + 8


def test_windows_that_are_shorter_than_asked_for_hide_no_bars():
    bars = list(range(60 * STEP, NOW, STEP))

    def half(since, bars_asked, until=None):
        window = since + bars_asked // 2 * STEP if until is None else until + 1
        return [[t] for t in bars if since <= t < window][: bars_asked // 2]

    assert run(half, stop=80 * STEP, limit=100)[:20] == bars[:20]


def test_bars_lost_at_the_beginning_of_pages_are_asked_for_again():
    complete = Server(list(range(0, NOW, STEP)))

    def loses_ten(since, bars, until=None):
        return complete(since, bars, until)[0 if until else 10 :]

    assert run(loses_ten, limit=100) == complete.bars


@pytest.mark.parametrize("attempts", [1, 2, 10])
def test_no_bars_at_all_end_after_so_many_requests_a_page(attempts):
    server = Server([])
    assert run(server, limit=100, attempts=attempts) == []
    assert len(server.requests) == 2 * attempts * (NOW // STEP // 100 + 1)


def test_a_history_without_gaps_costs_one_request_a_page():
    server = Server(list(range(0, NOW, STEP)))
    assert run(server, start=100 * STEP, stop=350 * STEP, limit=100) == list(range(100 * STEP, 397 * STEP, STEP))
    assert server.requests == [(first * STEP, 100, None) for first in (99, 198, 297)]


@pytest.mark.parametrize("honours_number", [True, False])
def test_a_server_that_always_gives_its_newest_tells_how_far_they_reach(honours_number):
    def newest(since, bars, until=None):
        return [[t] for t in range(0, NOW, STEP)[-(bars if bars and honours_number else 50) :]]

    oldest = NOW - 50 * STEP
    assert read(newest, stop=oldest)[1] == oldest
    assert read(newest) == (list(range(oldest, NOW, STEP)), oldest)
    # Its newest bars are all that is needed if they begin early enough.
    assert read(newest, start=NOW - 10 * STEP) == (list(range(NOW - 10 * STEP, NOW, STEP)), None)


def test_a_server_that_gives_the_newest_before_an_end_is_told_the_end():
    def newest(since, bars, until=NOW):
        return [[t] for t in range(0, NOW, STEP) if since <= t <= until][-bars:]

    assert read(newest) == (list(range(0, NOW, STEP)), None)


def test_a_server_that_ignores_start_and_end_if_a_number_is_given_is_told_none():
    def newest(since, bars, until=None):
        stamps = list(range(0, NOW, STEP))
        return [[t] for t in (stamps[-bars:] if bars else [t for t in stamps if since <= t <= until])]

    assert read(newest) == (list(range(0, NOW, STEP)), None)
    hole = [t for t in range(0, NOW, STEP) if not 100 <= t // STEP < 150]

    def with_hole(since, bars, until=None):
        return [[t] for t in (hole[-bars:] if bars else [t for t in hole if since <= t <= until])]

    assert read(with_hole) == (hole, None)


def test_a_server_that_keeps_the_newest_of_a_window_is_asked_for_shorter_pages():
    """Asked for 100 bars it gives the last 30 of them: 70 would be missing from every page."""
    requests = []

    def late(since, bars, until=None):
        requests.append(since)
        window = [t for t in range(0, NOW, STEP) if since <= t < since + bars * STEP and (until is None or t <= until)]
        return [[t] for t in window[-30:]]

    assert run(late, limit=100) == list(range(0, NOW, STEP))
    assert len(requests) == 1 + -(-400 // 29)


@pytest.mark.parametrize("lost", [1, 2])
def test_a_start_that_is_exclusive_loses_no_bar(lost):
    honest = Server(list(range(0, NOW, STEP)))

    def exclusive(since, bars, until=None):
        return honest(since + lost * STEP, bars, until)

    assert run(exclusive, start=10 * STEP) == honest.bars[10:]


def test_an_answer_without_a_bar_that_it_should_repeat_is_refused():
    def without_the_asked(since, bars, until=None):
        return [[t] for t in range(0, NOW, STEP) if since - 5 * STEP <= t != since][:15]

    with pytest.raises(PagingError, match=r"the bar of .* that it gave is missing from its next answer"):
        run(without_the_asked)


@pytest.mark.parametrize("honours_until", [True, False])
def test_a_gap_at_the_edge_of_a_page_is_no_reason_to_refuse_history(honours_until):
    bars = [t for t in range(0, NOW, STEP) if not 50 <= t // STEP < 150]
    assert run(Server(bars, honours_until=honours_until), limit=50) == bars


def test_a_server_that_always_gives_the_oldest_is_refused():
    def oldest(since, bars, until=None):
        return [[t] for t in range(0, NOW, STEP)][:bars]

    with pytest.raises(PagingError, match="asked for bars from 1970-01-01 00:10 on it gives a page of older ones"):
        run(oldest)


def test_a_server_that_repeats_its_last_bar_at_the_end_has_no_more():
    def sticky(since, bars, until=None):
        return [[t] for t in range(0, 50 * STEP, STEP) if t >= min(since, 49 * STEP)][:bars]

    assert run(sticky) == list(range(0, 50 * STEP, STEP))
