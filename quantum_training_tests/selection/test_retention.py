"""Which versions may be removed: none that may decide or is named, and the number of the others is bounded."""

import numpy as np
import pandas as pd
from hypothesis import given
from hypothesis import strategies as st

from quantum_training.selection.retention import SPARE, Registered, VersionInfo, last_champions, needed, removable
from quantum_training.trading.scoring import Version, assign_versions

START = pd.Timestamp("2024-01-01", tz="UTC")
DAY = pd.Timedelta(days=1)


def infos(*days, refused=()):
    return [VersionInfo(START + day * DAY, f"v{day}", day not in refused) for day in days]


def registered(name, day):
    return Registered(name, day, f"run-{name}", START + day * DAY)


def test_versions_that_may_still_decide_and_the_newest_one_are_retained():
    weeks = {"a": infos(0, 7, 14, 21, 28, 35)}
    assert set(needed(weeks, {"a": START + 20 * DAY}, {})) == {"v7", "v14", "v21", "v28", "v35"}
    assert set(needed(weeks, {"a": START + 21 * DAY}, {})) == {"v14", "v21", "v28", "v35"}
    assert set(needed(weeks, {"a": START + 400 * DAY}, {})) == {"v28", "v35"}


def test_before_the_first_decision_all_accepted_versions_are_retained():
    assert set(needed({"a": infos(0, 7, refused={7})}, {}, {})) == {"v0"}


def test_refused_versions_and_earlier_fits_of_the_same_time_do_not_decide():
    twice = [
        VersionInfo(START, "first fit", True),
        VersionInfo(START, "second fit", True),
        *infos(7, 14, 21, refused={14}),
    ]
    assert set(needed({"a": twice}, {"a": START + 14 * DAY}, {})) == {"second fit", "v7", "v21"}


def test_versions_named_by_their_model_id_are_retained():
    assert needed({}, {}, {"old": "ledger"}) == {"old": "ledger"}


def test_the_last_champions_keep_their_last_version():
    weeks = [("a", "a1"), ("b", "b1"), ("a", "a2"), (None, None), ("a", "a3"), ("c", "c1"), ("d", "d1")]
    assert last_champions(weeks) == {"d1", "c1", "a3"}
    assert last_champions(weeks, 9) == {"d1", "c1", "a3", "b1"}
    assert last_champions([]) == set()


def test_only_old_versions_that_are_not_needed_are_removed():
    versions = [registered("young", 30), registered("needed", 1), registered("b", 3), registered("a", 2)]
    assert [v.model_id for v in removable(versions, {"needed"}, START + 30 * DAY)] == ["a", "b"]


days = st.integers(0, 400)


@given(
    versions=st.lists(st.tuples(days, st.booleans(), days), max_size=40),
    since=st.none() | days,
    named=st.sets(st.integers(0, 39), max_size=5),
    now=days,
    retention=st.integers(1, 100),
)
def test_a_version_that_can_still_be_used_is_never_removed(versions, since, named, now, retention):
    ordered = sorted(enumerate(versions), key=lambda pair: pair[1][0])
    entries = [VersionInfo(START + as_of * DAY, f"v{n}", accepted) for n, (as_of, accepted, _) in ordered]
    versions_in_registry = [registered(f"v{n}", created) for n, (_, _, created) in ordered]
    start = None if since is None else START + since * DAY
    why = needed({"a": entries}, {"a": start}, {f"v{n}": "alias" for n in named})
    removed = {v.model_id for v in removable(versions_in_registry, why, START + (now - retention) * DAY)}

    trades = [Version(e.as_of, e.model_id) for e in entries if e.accepted]
    bars = pd.date_range(START if start is None else start, START + 500 * DAY, freq="6h")
    deciding = {trades[n].model_id for n in np.unique(assign_versions(bars, trades)) if n >= 0} if trades else set()
    assert not removed & deciding, "what decides a bar that may be decided again"
    assert not removed & {f"v{n}" for n in named}
    assert not removed & {v.model_id for v in versions_in_registry if v.created >= START + (now - retention) * DAY}
    times = sorted({v.as_of for v in trades})
    newest = {[v.model_id for v in trades if v.as_of == time][-1] for time in times[-SPARE:]}
    assert not removed & newest
    earlier = [t for t in times if start is not None and t < max((t for t in times if t <= start), default=start)]
    if earlier:  # the parent of the version that decides the first bar
        assert [v.model_id for v in trades if v.as_of == earlier[-1]][-1] not in removed


@given(weeks=st.integers(1, 300), since=st.integers(0, 20))
def test_the_number_of_retained_versions_does_not_grow_with_time(weeks, since):
    entries = infos(*range(0, 7 * weeks, 7))
    start = START + 7 * max(0, weeks - 1 - since) * DAY
    assert len(needed({"a": entries}, {"a": start}, {})) <= since + SPARE + 1


def test_a_version_registered_by_hand_is_never_removed():
    assert removable([registered("", 1), registered("a", 2)], {}, START + 30 * DAY) == [registered("a", 2)]
