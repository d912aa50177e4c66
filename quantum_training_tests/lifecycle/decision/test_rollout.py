"""Asset `rollout` as Dagster runs it: what it reads of decisions, scores, drift reports and the ledger."""

import dagster as dg
import numpy as np
import pandas as pd
import pytest

from quantum_training.lifecycle.decision.rollout import daily_returns
from quantum_training.lifecycle.evaluation.model_health import worst_drift_of_week
from quantum_training.lifecycle.records import write_record
from quantum_training.partitions import RANGE_TAGS
from quantum_training.resources.ledger import Ledger
from quantum_training.resources.store.store import Store
from quantum_training.selection.hash_chain import Entry
from quantum_training_tests.support import records

WEEKS = ["2020-01-06", "2020-01-13", "2020-01-20", "2020-01-27", "2020-02-03"]


@pytest.fixture
def project(build_project, small):
    """A project whose store holds decisions, scores and drift reports of five calm weeks of champion a."""
    project = build_project(small)
    office(project, dict.fromkeys(WEEKS, "a"))
    for week in WEEKS:
        project.store.write_frame("shadow_scores", "AAA", week, scores(week))
    for day in pd.date_range("2019-12-30", WEEKS[-1]):
        drift(project, f"{day:%Y-%m-%d}", "NONE")
    return project


def office(project, champions, symbol="AAA"):
    for week, champion in champions.items():
        write_record(project.store, symbol, week, records.decision(week, champion))


def drift(project, day, severity):
    write_record(project.store, "AAA", day, records.drift(day, severity))


def scores(week, **net):
    """A score record in which each strategy earns the same on all 42 bars."""
    times = pd.date_range(pd.Timestamp(week, tz="UTC") - pd.Timedelta(days=7), periods=42, freq="4h", name="open_time")
    frames = [pd.DataFrame({"strategy": s, "net_return": r}, times) for s, r in {"a": 0.0, "b": 0.0, **net}.items()]
    return pd.concat(frames)


def ledger(project):
    return Ledger(url=project.settings.database_url)


def roll(project, first, last=None, symbol="AAA"):
    """Materialise one partition, or all to `last`."""
    asset = project.definitions.resolve_assets_def("rollout")
    tags = dict(zip(RANGE_TAGS, (f"{symbol}|{first}", f"{symbol}|{last or first}"), strict=True))
    return dg.materialize([asset], instance=project.instance, tags=tags, raise_on_error=False)


def shares(project, symbol="AAA"):
    return [record["share"] for record in project.store.read_records("rollout", symbol).values()]


def test_the_share_climbs_and_is_in_the_metadata(project):
    result = roll(project, WEEKS[0], WEEKS[-1])
    assert result.success
    assert shares(project) == [0.0, 0.01, 0.05, 0.05, 0.10]
    metadata_by_week = {e.partition: e.materialization.metadata for e in result.get_asset_materialization_events()}
    newest = {name: value.value for name, value in metadata_by_week[f"AAA|{WEEKS[3]}"].items()}
    assert (newest["share"], newest["stage"], newest["days_in_stage"], newest["drawdown"]) == (0.05, 2, 7, 0.0)
    assert "may use 5 % of the capital: stays at 5 %: 7 of 14 days. Next: 10 % from 2020-02-03 on" in newest["summary"]
    assert newest["next_step"].startswith("10 % from 2020-02-03 on")


def test_a_range_single_weeks_and_running_again_give_the_same_bytes(project):
    for week in WEEKS[:3]:
        assert roll(project, week).success
    stored = project.stored()
    assert roll(project, WEEKS[0], WEEKS[2]).success
    assert project.stored() == stored


def test_later_decisions_scores_and_drift_change_nothing_at_a_week(project):
    assert roll(project, WEEKS[2]).success
    before = project.store.read_record("rollout", "AAA", WEEKS[2])
    office(project, {WEEKS[3]: "b"})
    project.store.write_frame("shadow_scores", "AAA", WEEKS[3], scores(WEEKS[3], a=-0.1))
    drift(project, WEEKS[2], "CRITICAL")
    assert roll(project, WEEKS[2]).success
    assert project.store.read_record("rollout", "AAA", WEEKS[2]) == before


def test_losses_stop_the_champion_until_a_manual_action_resumes_it(project):
    project.store.write_frame("shadow_scores", "AAA", WEEKS[2], scores(WEEKS[2], a=-0.03))
    assert roll(project, WEEKS[0], WEEKS[-1]).success
    assert shares(project) == [0.0, 0.01, 0.0, 0.0, 0.0]
    assert "lost 16.7% on 2020-01-13" in project.store.read_record("rollout", "AAA", WEEKS[2])["stopped"]
    order = Entry(
        symbol="AAA",
        key="order-1",
        kind="rollout_reset",
        effective=pd.Timestamp("2020-01-21", tz="UTC"),
        actor="ann",
        reason="the market was closed by error",
        payload={"week": WEEKS[2], "recipe": "a"},
    )
    ledger(project).append([order])
    assert roll(project, WEEKS[0], WEEKS[-1]).success
    assert shares(project) == [0.0, 0.01, 0.0, 0.01, 0.05]
    reason = project.store.read_record("rollout", "AAA", WEEKS[2])["reason"]
    assert reason == "reset ordered by ann: the market was closed by error"


def test_an_invalid_manual_action_fails_the_run_and_is_named(project):
    wrong = {"kind": "rollout_ceiling", "effective": pd.Timestamp(WEEKS[0], tz="UTC"), "actor": "ann", "reason": ""}
    ledger(project).append([Entry(symbol="AAA", key="1", payload={"week": WEEKS[0], "recipe": "a"}, **wrong)])
    result = roll(project, WEEKS[0])
    assert not result.success
    assert "a ceiling needs a share" in str([e.step_failure_data.error for e in result.all_events if e.is_step_failure])


def test_a_week_without_a_decision_is_refused(project):
    result = roll(project, "2020-02-10")
    assert not result.success
    errors = str([e.step_failure_data.error for e in result.all_events if e.is_step_failure])
    assert "materialise champion of this week first" in errors


def test_symbols_are_independent(project):
    office(project, {WEEKS[0]: None}, "BBB")
    assert roll(project, WEEKS[0], symbol="BBB").success
    assert shares(project, "BBB") == [0.0]
    assert shares(project) == []


@pytest.mark.parametrize(
    ("changes", "worst"),
    [
        ({}, "NONE"),
        ({"2020-01-13": ("SEVERE", "measured")}, "SEVERE"),
        ({"2020-01-19": ("MINOR", "measured"), "2020-01-15": ("MODERATE", "measured")}, "MODERATE"),
        ({"2020-01-12": ("CRITICAL", "measured"), "2020-01-20": ("CRITICAL", "measured")}, "NONE"),
        ({"2020-01-19": ("NONE", "insufficient")}, None),
        ({"2020-01-19": ("CRITICAL", "insufficient")}, "CRITICAL"),
        ({"2020-01-14": ("NONE", "insufficient")}, "NONE"),
    ],
)
def test_the_worst_report_of_the_seven_days_before_counts(tmp_path, changes, worst):
    store = Store(root=str(tmp_path))
    calm = {f"{day:%Y-%m-%d}": ("NONE", "measured") for day in pd.date_range("2020-01-13", "2020-01-19")}
    for day, (severity, outcome) in {**calm, **changes}.items():
        write_record(store, "AAA", day, records.drift(day, severity, outcome=outcome))
    assert worst_drift_of_week(store, "AAA", WEEKS[2]) == worst


def test_without_the_report_of_the_sunday_the_week_was_not_measured(tmp_path):
    store = Store(root=str(tmp_path))
    for day, severity in (("2020-01-12", None), ("2020-01-18", None), ("2020-01-19", "NONE")):
        write_record(store, "AAA", day, records.drift(day))
        assert worst_drift_of_week(store, "AAA", WEEKS[2]) == severity


def test_daily_returns_compound_the_bars_of_the_champion_at_the_time():
    champions = dict(zip(WEEKS, [None, "a", "b", "b", "a"], strict=True))
    del champions[WEEKS[3]]  # never decided: b went on
    record = {week: scores(week, a=0.01, b=-0.02) for week in WEEKS}
    returns = daily_returns(champions, record)
    assert list(returns.index) == list(pd.date_range("2020-01-13", "2020-02-02", tz="UTC"))
    expected = np.repeat([1.01**6 - 1, 0.98**6 - 1, 0.98**6 - 1], 7)
    np.testing.assert_allclose(returns, expected, rtol=1e-12)
    assert daily_returns({WEEKS[0]: None}, record).empty
