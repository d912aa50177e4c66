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


def run(request, start=0, stop=NOW, limit=10, attempts=2):
    return [row[0] for row in Pager(request, STEP, limit, NOW, attempts).fetch(start, stop)]


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
    assert len(server.requests) <= (2 * attempts + 1) * (length // STEP + 1)


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
    assert len(server.requests) == 4 + 8


def test_a_gap_after_a_page_is_accepted_after_as_many_empty_answers():
    complete = Server([*range(0, NOW, STEP)], faults=["empty"] * 4)
    late = Server([t for t in complete.bars if not 100 <= t // STEP < 110])

    def leaves_out(since, bars, until=None):
        return (late if until is None else complete)(since, bars, until)

    assert run(leaves_out, limit=100, attempts=5) == complete.bars


@pytest.mark.parametrize("attempts", [1, 2, 10])
def test_no_bars_at_all_end_after_so_many_requests_a_page(attempts):
    server = Server([])
    assert run(server, limit=100, attempts=attempts) == []
    assert len(server.requests) == attempts * NOW // STEP // 100


def test_a_history_without_gaps_costs_one_request_a_page():
    server = Server(list(range(0, NOW, STEP)))
    assert run(server, start=100 * STEP, stop=350 * STEP, limit=100) == list(range(100 * STEP, NOW, STEP))
    assert server.requests == [(first * STEP, 100, None) for first in (100, 200, 300)]


@pytest.mark.parametrize("honours_limit", [True, False])
def test_a_server_that_ignores_since_is_refused(honours_limit):
    def newest(since, bars, until=None):
        stamps = list(range(0, NOW, STEP))[-(bars if honours_limit else 50) :]
        return [[t] for t in stamps if t >= since]

    with pytest.raises(PagingError, match="asked for bars from 1970-01-01 00:00 on it gives only its newest"):
        run(newest, stop=100 * STEP)
    # Its newest bars are accepted if they begin where the request does.
    assert run(newest, start=NOW - 10 * STEP) == list(range(NOW - 10 * STEP, NOW, STEP))


def test_a_server_that_ignores_since_but_not_until_is_refused():
    def newest(since, bars, until=NOW):
        return [[t] for t in range(0, NOW, STEP) if since <= t <= until][-bars:]

    with pytest.raises(PagingError, match="asked again"):
        run(newest)


def test_a_server_that_keeps_the_newest_of_a_window_is_refused():
    """Asked for 100 bars it gives the last 30 of them: 70 would be missing from every page."""

    def late(since, bars, until=None):
        window = [t for t in range(0, NOW, STEP) if since <= t < since + bars * STEP and (until is None or t <= until)]
        return [[t] for t in window[-30:]]

    with pytest.raises(PagingError):
        run(late, limit=100)


@pytest.mark.parametrize("honours_until", [True, False])
def test_a_gap_at_the_edge_of_a_page_is_no_reason_to_refuse_history(honours_until):
    bars = [t for t in range(0, NOW, STEP) if not 50 <= t // STEP < 150]
    assert run(Server(bars, honours_until=honours_until), limit=50) == bars


def test_a_server_that_always_gives_the_oldest_is_refused():
    def oldest(since, bars, until=None):
        return [[t] for t in range(0, NOW, STEP)][:bars]

    with pytest.raises(PagingError, match="gives a page of older ones, up to 1970-01-01 00:09"):
        run(oldest)


def test_a_server_that_repeats_its_last_bar_at_the_end_has_no_more():
    def sticky(since, bars, until=None):
        return [[t] for t in range(0, 50 * STEP, STEP) if t >= min(since, 49 * STEP)][:bars]

    assert run(sticky) == list(range(0, 50 * STEP, STEP))
