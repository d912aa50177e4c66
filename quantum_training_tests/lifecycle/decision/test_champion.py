"""The champion asset and the ledger, on stored score records: what is written once, what stands, who wins a race."""

import json
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
import pytest

from quantum_training.assets.metadata.decision import decision_metadata
from quantum_training.lifecycle.decision.champion import decide
from quantum_training.lifecycle.decision.manual_actions import ManualAction, record_action
from quantum_training.lifecycle.market_history import MarketHistory
from quantum_training.resources.events.bus import EventBus
from quantum_training.resources.ledger import Ledger
from quantum_training.resources.registry.errors import RegistryError
from quantum_training.selection.hash_chain import Entry

WEEKS = pd.date_range("2020-01-06", periods=10, freq="7D").strftime("%Y-%m-%d").tolist()
BARS = 42


def scores(week, seed=0, **skill):
    """A score record as trading.scoring.score writes it: each recipe with that Sharpe ratio per bar."""
    start = pd.Timestamp(week, tz="UTC") - pd.Timedelta(days=7)
    index = pd.date_range(start, periods=BARS, freq="4h", name="open_time")
    rng = np.random.default_rng([seed, int(start.timestamp())])
    frames = []
    for name, ratio in {**skill, "buy_and_hold": 0.0}.items():
        noise = rng.normal(size=BARS)
        net = 0.01 * ((noise - noise.mean()) / noise.std() + ratio)
        columns = {"strategy": name, "model_id": "" if name == "buy_and_hold" else f"m-{name}", "target": 1.0}
        frames.append(pd.DataFrame({**columns, "net_return": net, "turnover": 0.1}, index))
    return pd.concat(frames)


class Long:
    """All in on every bar, as the scores say."""

    lookback_bars = 0

    def positions(self, features):
        return pd.Series(1.0, features.index)


def loads(model_id):
    return Long()


def features(store):
    """One feature of four months of bars, as the market's asset stores it."""
    times = pd.date_range("2019-12-01", "2020-04-01", freq="4h", tz="UTC", inclusive="left", name="open_time")
    frame = pd.DataFrame({"return_1": 0.0}, times)
    for month, part in frame.groupby(frame.index.strftime("%Y-%m-01")):
        until = pd.Timestamp(month, tz="UTC") + pd.DateOffset(months=1)
        for asset in ("candles", "features"):  # of candles only the times are read
            store.write_frame(asset, "AAA", month, part, {"covered_until": until.isoformat()})


@pytest.fixture
def project(build_project, small):
    """Ten weeks in which xgboost is far better, and a version of each recipe; no model was ever trained."""
    small["promotion"] = {"rule": "evidence", "min_dsr": 0.0, "max_spa_p": 1.0}
    built = build_project(small)
    features(built.store)
    for week in WEEKS:
        built.store.write_frame("shadow_scores", "AAA", week, scores(week, xgboost=0.4, lightgbm=0.0))
        for recipe in ("xgboost", "lightgbm"):
            version = {"as_of": f"{week}T00:00:00+00:00", "model_id": f"{recipe}-{week}"}
            built.store.write_record(f"{recipe}_model", "AAA", week, {"versions": [version]})
    return built


def history(project):
    return MarketHistory(project.store, project.settings, "AAA")


def run(project, last=WEEKS[-1], load=loads):
    return decide(history(project), project.ledger, last, load)


def events(project):
    bus = EventBus(database_url=project.settings.database_url)
    return [json.loads(d.text) for d in bus.outbox.queue().read("test", 100)]


def test_each_week_is_one_ledger_row_and_a_promotion_is_published_once(project):
    records = run(project)
    rows = project.ledger.rows("AAA")
    assert [row.payload["week"] for row in rows] == WEEKS
    promoted = next(week for week in WEEKS if records[week].champion)
    assert [row.payload["week"] for row in rows if row.kind == "promotion"] == [promoted]
    row = next(row for row in rows if row.kind == "promotion")
    assert row.payload["judgements"]["xgboost"]["z"] >= row.payload["judgements"]["xgboost"]["boundary"]
    assert row.payload["model_id"] == f"xgboost-{promoted}"
    assert row.actor == "rule evidence"
    (event,) = events(project)
    assert event["type"] == "model.promoted"
    assert event["payload"]["new_version"] == f"xgboost-{promoted}"
    assert event["payload"]["old_version"] is None
    assert run(project) == records
    assert project.ledger.rows("AAA") == rows
    assert events(project) == [event]


def test_a_proposed_promotion_is_in_the_partition_and_no_promotion_of_the_ledger(project, build_project, small):
    by_itself = run(project)
    promoted = next(week for week in WEEKS if by_itself[week].champion)
    assert "proposed" not in by_itself[promoted].model_dump(mode="json"), "stored bytes are those of earlier releases"
    small["promotion"] = {"rule": "evidence", "min_dsr": 0.0, "max_spa_p": 1.0, "automatic": False}
    other = build_project(small)
    features(other.store)
    for week in WEEKS:
        other.store.write_frame("shadow_scores", "AAA", week, project.store.read_frame("shadow_scores", "AAA", week))
        for recipe in ("xgboost", "lightgbm"):
            record = project.store.read_record(f"{recipe}_model", "AAA", week)
            other.store.write_record(f"{recipe}_model", "AAA", week, record)
    records = run(other)
    assert (records[promoted].champion, records[promoted].proposed) == (None, "xgboost")
    shown = decision_metadata(records, promoted, other.registry, "AAA")
    assert (shown["champion"], shown["waits_for_promote"]) == ("none", "xgboost")
    assert "xgboost has won its campaign and waits for a person: run the job promote." in shown["summary"]
    assert {row.kind for row in other.ledger.rows("AAA")} == {"look"}
    assert events(other) == []
    assert run(other) == records
    action = ManualAction("promote", "AAA", "ann", "agreed", "promote/1", recipe="xgboost")
    week = record_action(action, other.settings, other.store, other.ledger, pd.Timestamp("2020-03-12", tz="UTC"))
    assert run(other)[week].champion == "xgboost"
    assert [event["type"] for event in events(other)] == ["model.promoted"]


def test_single_weeks_and_a_range_leave_the_same_ledger_chain(project, build_project, small):
    small["promotion"] = {"rule": "evidence", "min_dsr": 0.0, "max_spa_p": 1.0}
    other = build_project(small)
    features(other.store)
    for week, frame in ((w, project.store.read_frame("shadow_scores", "AAA", w)) for w in WEEKS):
        other.store.write_frame("shadow_scores", "AAA", week, frame)
        for recipe in ("xgboost", "lightgbm"):
            record = project.store.read_record(f"{recipe}_model", "AAA", week)
            other.store.write_record(f"{recipe}_model", "AAA", week, record)
        run(other, week)
    run(project)
    assert other.ledger.head("AAA") == project.ledger.head("AAA")


def test_revised_scores_change_no_decision_and_the_record_says_so(project):
    before = run(project)
    rows = project.ledger.rows("AAA")
    for week in WEEKS[:6]:
        project.store.write_frame("shadow_scores", "AAA", week, scores(week, seed=3, xgboost=0.0, lightgbm=0.0))
    after = run(project)
    assert [after[w].champion for w in WEEKS] == [before[w].champion for w in WEEKS]
    assert [after[w].model_id for w in WEEKS] == [before[w].model_id for w in WEEKS]
    assert any(after[w].disagreement for w in WEEKS[:6])
    assert project.ledger.rows("AAA") == rows


def test_a_week_scored_after_later_ones_were_decided_gets_no_row(project):
    first = project.store.read_frame("shadow_scores", "AAA", WEEKS[0])
    run(project, WEEKS[5])
    rows = project.ledger.rows("AAA")
    early = "2019-12-30"
    project.store.write_frame("shadow_scores", "AAA", early, first.set_axis(first.index - pd.Timedelta(days=7)))
    records = run(project, WEEKS[5])
    assert project.ledger.rows("AAA") == rows
    assert early in records


def test_concurrent_runs_promote_once(project):
    with ThreadPoolExecutor(4) as pool:
        done = list(pool.map(lambda _: run(project), range(8)))
    assert all(records == done[0] for records in done)
    assert [row.payload["week"] for row in project.ledger.rows("AAA")] == WEEKS
    project.ledger.verify("AAA")
    assert [e["type"] for e in events(project)] == ["model.promoted"]


def test_a_decision_during_a_manual_action_is_made_again(project, monkeypatch):
    """The pin arrives between reading the ledger and writing to it."""
    run(project, WEEKS[0])
    pin = Entry(
        symbol="AAA",
        key="pin/1",
        kind="pin",
        effective=pd.Timestamp(WEEKS[0], tz="UTC"),
        actor="ann",
        reason="hands off",
        payload={"week": WEEKS[0]},
    )
    rows, calls = type(project.ledger).rows, []

    def meddling(self, *args):
        stored_rows = rows(self, *args)
        if not calls:
            calls.append(True)
            project.ledger.append([pin])
        return stored_rows

    monkeypatch.setattr(type(project.ledger), "rows", meddling)
    records = run(project)
    assert {records[w].champion for w in WEEKS} == {None}
    assert all(records[w].pinned for w in WEEKS)
    assert [row.kind for row in rows(project.ledger, "AAA")] == ["look", "pin", *["look"] * 9]


def test_a_champion_whose_model_is_missing_is_rolled_back_once_and_the_decision_stays(project):
    records = run(project, WEEKS[6])
    assert records[WEEKS[6]].champion == "xgboost"

    def lost(model_id):
        if model_id.startswith("xgboost"):
            raise RegistryError(f"{model_id} is gone")
        return Long()

    records = run(project, WEEKS[7], lost)
    record = records[WEEKS[7]]
    assert (record.verdict, record.former, record.champion) == ("ROLLBACK", "xgboost", None)
    assert record.reason.startswith(
        f"xgboost back to no champion: operational fault: xgboost cannot be loaded: xgboost-{WEEKS[7]} is gone"
    )
    row = project.ledger.rows("AAA")[-1]
    assert (row.kind, row.payload["faults"]) == ("rollback", record.faults)
    assert [e["type"] for e in events(project)] == ["model.promoted", "model.regressed"]
    regressed = events(project)[-1]["payload"]
    assert (regressed["failed_version"], regressed["rolled_back_to"]) == (f"xgboost-{WEEKS[7]}", None)
    head = project.ledger.head("AAA")
    assert run(project, WEEKS[7]) == records, "the model is back; what was found in that week stands"
    assert project.ledger.head("AAA") == head
    assert len(events(project)) == 2


def test_a_challenger_whose_positions_do_not_reproduce_is_not_promoted(project):
    promoted = next(week for week, record in run(project, WEEKS[5]).items() if record.champion)

    class Short(Long):
        def positions(self, features):
            return -super().positions(features)

    other = project.store.read_frame("shadow_scores", "AAA", promoted)
    assert set(other["target"]) == {1.0}
    new_ledger = Ledger(url=project.settings.database_url.replace(".db", "_2.db"))
    records = decide(history(project), new_ledger, promoted, lambda m: Short())
    assert records[promoted].champion is None
    assert records[promoted].verdict == "CONTINUE"
    first = other.index[0]
    assert (
        f"held back, 42 of 42 positions of xgboost do not reproduce, the first at {first}: 1 is stored, -1 comes out"
        in records[promoted].reason
    )


def without(project, recipe):
    """The history of the project whose symbol has the recipe no longer; its newest week is not scored for it."""
    market = project.settings.symbols["AAA"]
    recipes = tuple(r for r in market.recipes if r != recipe)
    symbols = {"AAA": market.model_copy(update={"recipes": recipes})}
    project.store.write_frame("shadow_scores", "AAA", WEEKS[-1], scores(WEEKS[-1], lightgbm=0.0))
    return MarketHistory(project.store, project.settings.model_copy(update={"symbols": symbols}), "AAA")


def test_a_champion_whose_recipe_was_removed_leaves_office_with_a_ledger_row_and_an_event(project):
    recorded = run(project, WEEKS[-2])
    assert recorded[WEEKS[-2]].champion == "xgboost"
    removed = without(project, "xgboost")
    decisions = decide(removed, project.ledger, WEEKS[-1], loads)
    row = project.ledger.rows("AAA")[-1]
    assert (row.kind, row.key) == ("rollback", f"week/{WEEKS[-1]}")
    assert row.reason.startswith("xgboost back to no champion: recipe no longer configured")
    assert (row.payload["former"], row.payload["champion"]) == ("xgboost", None)
    event = events(project)[-1]
    assert event["type"] == "model.regressed"
    assert event["payload"]["model_type"] == "xgboost"
    assert event["payload"]["failed_version"] == f"xgboost-{WEEKS[-1]}"
    assert event["payload"]["rolled_back_to"] is None
    assert "recipe no longer configured" in event["payload"]["regression_reason"]
    assert {week: decisions[week] for week in recorded} == recorded
    assert decide(removed, project.ledger, WEEKS[-1], loads) == decisions
    assert len(project.ledger.rows("AAA")) == len(WEEKS)


def test_fits_of_removed_recipes_and_of_more_seeds_in_the_past_stay_trials(project, monkeypatch):
    project.store.write_record(
        "xgboost_model",
        "AAA",
        WEEKS[0],
        {"versions": [{"as_of": f"{WEEKS[0]}T00:00:00+00:00", "model_id": "x", "seeds": 7}]},
    )
    policies = []

    def decide_nothing(scores, recipes, policy, *others):
        policies.append(policy)
        return iter(())

    monkeypatch.setattr("quantum_training.lifecycle.decision.champion.decide_weeks", decide_nothing)
    decide(without(project, "xgboost"), project.ledger, WEEKS[-1], loads)
    assert policies[0].seeds == {"lightgbm": 1, "xgboost": 7}
