"""An A/B test between ledger and rollout: what a week sees of it, what ends it, and when it may begin."""

import numpy as np
import pandas as pd
import pytest

from quantum_training.assets.metadata.decision import ab_summary
from quantum_training.lifecycle.decision.ab_tests import ABPlan, ab_state, registration, running_test
from quantum_training.lifecycle.market_history import MarketHistory
from quantum_training.resources.store.store import Store
from quantum_training.selection.hash_chain import Entry, chain
from quantum_training.settings import load_settings
from quantum_training_tests.support import records

WEEKS = pd.date_range("2020-01-06", periods=10, freq="7D").strftime("%Y-%m-%d").tolist()
RECIPES = ("a", "b")
SP500 = load_settings().symbols["SP500"]
TEST = {
    "week": WEEKS[0],
    "champion": "a",
    "challenger": "b",
    "share": 0.05,
    "start": "2020-01-08T00:00:00+00:00",
    "block_days": 1,
    "blocks": 42,
    "pairs": 21,
}


def ledger(*entries):
    """Rows of (kind, effective, payload)."""
    rows = []
    for number, (kind, effective, payload) in enumerate(entries):
        fields = {"actor": "ann", "reason": "to see", "effective": pd.Timestamp(effective, tz="UTC")}
        entry = Entry(symbol="AAA", key=str(number), kind=kind, payload=payload, **fields)
        rows.append(chain(rows[-1] if rows else None, entry))
    return rows


BEGUN = ("ab_test", "2020-01-07 10:00", TEST)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """Scores of ten weeks, in which b is far better."""
    store = Store(root=str(tmp_path_factory.mktemp("store")))
    rng = np.random.default_rng(3)
    for week in WEEKS:
        times = pd.date_range(end=pd.Timestamp(week, tz="UTC"), periods=8, freq="D", inclusive="left", name="open_time")
        made = {"a": rng.normal(0, 0.01, 7), "b": rng.normal(0.02, 0.01, 7), "buy_and_hold": rng.normal(0, 0.01, 7)}
        frame = pd.concat([pd.DataFrame({"strategy": s, "net_return": net}, times) for s, net in made.items()])
        store.write_frame("shadow_scores", "AAA", week, frame)
    return store


def at(store, week, rows, champions=None, recipes=RECIPES):
    by_week = champions or dict.fromkeys(WEEKS, "a")
    decisions = {w: records.decision(w, champion) for w, champion in by_week.items() if w <= week}
    market = SP500.model_copy(update={"recipes": recipes})
    settings = load_settings().model_copy(update={"symbols": {"AAA": market}})
    return ab_state(MarketHistory(store, settings, "AAA"), rows, decisions, week)


def test_an_ab_test_is_part_of_the_weeks_from_its_registration_to_its_end(store):
    rows = ledger(BEGUN)
    states = [at(store, week, rows) for week in WEEKS]
    assert [state.report.pairs for state in states[:7]] == [0, 2, 6, 9, 13, 16, 20]
    assert [state.ended for state in states[:8]] == [None] * 7 + ["its blocks are over"]
    assert states[7].report.winner == "b"
    assert states[7].report.verdict.startswith("b is better: z ")
    assert states[8:] == [None, None]
    table = ab_summary(states[7])
    assert table["verdict"][0] == states[7].report.verdict
    assert table["share"][0] == 0.05


def test_an_earlier_week_does_not_see_a_later_registration_or_stop(store):
    rows = ledger(BEGUN, ("ab_stop", "2020-01-29", {"week": WEEKS[3]}))
    assert at(store, WEEKS[2], rows) == at(store, WEEKS[2], rows[:1])
    stopped = at(store, WEEKS[3], rows)
    assert stopped.ended == "stopped by ann: to see"
    assert at(store, WEEKS[4], rows).report.pairs == stopped.report.pairs == 9, "nothing counts after it"
    assert at(store, WEEKS[5], rows) is None
    late = {**TEST, "week": WEEKS[5], "start": "2020-02-12T00:00:00+00:00"}
    again = ledger(BEGUN, ("ab_stop", "2020-01-29", {"week": WEEKS[3]}), ("ab_test", "2020-02-11", late))
    assert at(store, WEEKS[5], again).ended is None
    assert at(store, WEEKS[4], again) == at(store, WEEKS[4], rows)


def test_a_new_champion_ends_the_ab_test_even_if_the_old_one_returns(store):
    office = dict(zip(WEEKS, ["a", "a", "a", "b", "a", *["a"] * 5], strict=True))
    rows = ledger(BEGUN)
    assert at(store, WEEKS[3], rows, office).ended == f"the champion is b since {WEEKS[3]}"
    assert at(store, WEEKS[4], rows, office) is None


def test_a_removed_challenger_has_no_ab_test(store):
    assert at(store, WEEKS[3], []) is None
    assert at(store, WEEKS[3], ledger(BEGUN), recipes=("a",)) is None


def test_a_plan_begins_at_the_next_midnight_and_counts_pairs_by_the_markets_calendar(store):
    market, now = load_settings().symbols["SP500"], pd.Timestamp("2020-01-07 10:00", tz="UTC")
    rollout = records.rollout(WEEKS[0], "a", ceiling=0.1)
    payload = registration(market, rollout, ABPlan("b", 0.1, 1, 12), now)
    assert (payload["start"], payload["blocks"]) == ("2020-01-08T00:00:00+00:00", 84)
    assert payload["pairs"] == 22, (
        "12 weeks have 42 pairs of days; weekends, Martin Luther King and Washington close 20"
    )
    assert registration(market, rollout, ABPlan("b", 0.1, 3, 24), now)["blocks"] == 56
    with pytest.raises(ValueError, match="20 needed"):
        registration(market, rollout, ABPlan("b", 0.1, 1, 8), now)
    with pytest.raises(ValueError, match="the champion is nobody"):
        registration(market, records.rollout(WEEKS[0], None), ABPlan("b", 0.1, 1, 12), now)


def test_a_test_runs_until_its_last_block_or_its_end(store):
    state = at(store, WEEKS[3], ledger(BEGUN))
    end = pd.Timestamp("2020-02-19", tz="UTC")
    week = records.rollout(WEEKS[3], "a", ab=state)
    assert running_test(week, end - pd.Timedelta("1s")) == state.test
    assert running_test(week, end) is None
    ended = records.rollout(WEEKS[3], "a", ab=state.model_copy(update={"ended": "stopped"}))
    assert running_test(ended, end - pd.Timedelta("1s")) is None
    assert running_test(records.rollout(WEEKS[3], "a"), end) is None
