"""Asset `decay_report` as Dagster runs it: what it reads of decisions, scores and events, and what a person sees."""

from dataclasses import replace

import dagster as dg
import numpy as np
import pandas as pd
import pytest

from quantum_training.lifecycle.records import write_record
from quantum_training.lifecycle.surveillance import decay
from quantum_training.market.periods import Key
from quantum_training.monitoring.decay_policy import DecayPolicy
from quantum_training.partitions import RANGE_TAGS
from quantum_training.resources.events.bus import EventBus
from quantum_training.resources.events.payloads import MetricsUpdated, event
from quantum_training_tests.support import records

WEEKS = [f"{week:%Y-%m-%d}" for week in pd.date_range("2019-10-07", periods=16, freq="7D")]
TOOK_OFFICE, FELL, LAST = WEEKS[7], WEEKS[8], WEEKS[-1]
HARM = records.harm(z=1.1)


@pytest.fixture
def world(project, small):
    """A project whose store holds 16 weeks of scores: a takes office in the eighth and loses from the ninth on."""
    world = project(small)
    champions(world, {week: "a" if week >= TOOK_OFFICE else None for week in WEEKS})
    rng = np.random.default_rng(0)
    for week in WEEKS:
        scores(world, week, -0.3 if week > FELL else 0.2, rng)
    return world


def champions(world, who, symbol="AAA", harm=None):
    for week, champion in who.items():
        write_record(world.store, symbol, week, records.decision(week, champion, harm=harm))


def scores(world, week, ratio, rng):
    """A score record in which a has that Sharpe ratio a bar, b none, and in the first week no decision on a day."""
    times = pd.date_range(pd.Timestamp(week, tz="UTC") - pd.Timedelta(days=7), periods=42, freq="4h", name="open_time")
    frames = []
    for name, skill in {"a": ratio, "b": 0.0}.items():
        target = np.where((week == WEEKS[0]) & (np.arange(42) < 6), np.nan, 1.0)
        net = np.where(np.isnan(target), 0.0, 0.004 * (rng.normal(size=42) + skill))
        frames.append(pd.DataFrame({"strategy": name, "target": target, "net_return": net}, times))
    world.store.write_frame("shadow_scores", "AAA", week, pd.concat(frames))


def run(world, first, last=None, symbol="AAA"):
    tags = dict(zip(RANGE_TAGS, (f"{symbol}|{first}", f"{symbol}|{last or first}"), strict=True))
    job = world.definitions.resolve_job_def("decay")
    return job.execute_in_process(instance=world.instance, tags=tags, raise_on_error=False)


def reports(world, *weeks):
    """The records of these weeks of AAA, without Dagster."""
    bus = EventBus(database_url=world.settings.database_url)
    keys = [Key("AAA", pd.Timestamp(week, tz="UTC")) for week in weeks]
    return [*decay.reports_of(world.store, bus, world.settings, "AAA", keys).values()]


def measure(world, at, metrics, recipe="a", symbol="AAA"):
    """An outside measurement arrives."""
    said = MetricsUpdated(model_type=recipe, metrics=metrics, measured_at=pd.Timestamp(at, tz="UTC"))
    bus = EventBus(database_url=world.settings.database_url)
    bus.inbox.receive([event(symbol, said, f"{at} {recipe} {metrics}").model_dump_json()])
    return bus


def test_decay_is_recorded_shown_and_warned_of_without_blocking(world):
    result = run(world, TOOK_OFFICE, LAST)
    assert result.success
    found = world.store.read_records("decay_report", "AAA")
    assert list(found) == WEEKS[7:]
    statuses = [r["status"] for r in found.values()]
    decayed = statuses.count("DECAYED")
    assert statuses == ["INSUFFICIENT", *["NONE"] * (8 - decayed), *["DECAYED"] * decayed]
    assert 2 <= decayed <= 6
    first, newest = found[TOOK_OFFICE], found[LAST]
    assert (first["reason"], first["baseline"]["days"], first["live"]["bars"]) == (
        "a takes office this very week",
        55,  # 8 weeks without the first day, on which it had no decision
        0,
    )
    assert (newest["recipe"], newest["office"], newest["week"]) == ("a", TOOK_OFFICE, LAST)
    assert newest["statistic"] > newest["limit"] > 0
    assert WEEKS[-decayed - 1] <= newest["first_alarm"] < WEEKS[-decayed]
    assert (newest["live"]["bars"], newest["live"]["days"]) == (8 * 42, 56)
    shown = {e.partition: e.materialization.metadata for e in result.get_asset_materialization_events()}[f"AAA|{LAST}"]
    trends = {name: shown[name].value for name in ("cusum", "limit", "sharpe_live", "sharpe_baseline")}
    expected = (newest["statistic"], newest["limit"], newest["live"]["sharpe"], newest["baseline"]["sharpe"])
    assert tuple(trends.values()) == expected
    assert (shown["status"].value, shown["reason"].value) == ("DECAYED", newest["reason"])
    assert "before office" in shown["records"].value
    (check,) = result.get_asset_check_evaluations()
    assert (check.check_name, check.passed, check.severity, check.blocking) == (
        "no_decay",
        False,
        dg.AssetCheckSeverity.WARN,
        False,
    )
    assert check.description == f"AAA|{LAST} DECAYED: {newest['reason']}"


def test_a_range_single_weeks_and_running_again_give_the_same_bytes(world):
    weeks = [TOOK_OFFICE, WEEKS[10], LAST]
    passed = [run(world, week).get_asset_check_evaluations()[0].passed for week in weeks]
    assert passed == [True, True, False]
    stored = {file: data for file, data in world.stored().items() if file.startswith("decay_report")}
    assert len(stored) == 3
    assert run(world, TOOK_OFFICE, LAST).success
    assert {file: world.stored()[file] for file in stored} == stored


def test_later_scores_decisions_and_measurements_change_nothing_before_them(world):
    week = WEEKS[9]
    measure(world, week, {"sharpe": 2.0, "bars": 84})
    before = reports(world, week)
    champions(world, {WEEKS[10]: "b"})
    scores(world, WEEKS[10], -5.0, np.random.default_rng(1))
    measure(world, WEEKS[10], {"sharpe": -90.0, "bars": 84})
    assert reports(world, week) == before
    assert reports(world, week, WEEKS[10])[:1] == before
    assert before[0]["reported"]["metrics"] == {"sharpe": 2.0, "bars": 84}


def test_a_measurement_inside_the_week_counts(world):
    week = WEEKS[9]  # 2019-12-09
    assert reports(world, week)[0]["status"] == "NONE"
    for other in (("2019-11-24", "a", "AAA"), ("2019-12-11", "b", "AAA"), ("2019-12-11", "a", "BBB")):
        measure(world, other[0], {"sharpe": -90.0, "bars": 500}, *other[1:])
    assert reports(world, week)[0]["reported"] is None, "of another recipe, symbol or time"
    measure(world, "2019-12-12", {"sharpe": 3.0, "bars": 100})
    bus = measure(world, "2019-12-12 06:00", {"sharpe": -30.0, "bars": 100, "win_rate": None})
    measure(world, "2019-12-11", {"sharpe": 3.0})
    (found,) = reports(world, week)
    assert found["status"] == "DECAYED"
    assert found["reason"].startswith("live Sharpe -30.00 reported up to 2019-12-12")
    assert found["reported"]["z"] > found["reported"]["limit"]
    assert len(bus.inbox.read("somebody")) == 6, "the report took events from their readers"


def test_of_two_measurements_of_the_same_instant_the_last_to_come_in_counts():
    at = pd.Timestamp("2024-01-01", tz="UTC")
    twice = [MetricsUpdated(model_type="a", metrics={"sharpe": s}, measured_at=at) for s in (1.0, 2.0)]
    assert decay.newest_measured(twice, "a", at, at + decay.WEEK) is twice[1]
    assert decay.newest_measured(twice, "a", at - decay.WEEK, at) is None


def test_office_is_the_present_champions_and_its_harm_is_told(world):
    champions(world, {WEEKS[11]: "b", WEEKS[12]: "a", WEEKS[15]: None})
    champions(world, {WEEKS[14]: "a"}, harm=HARM)
    (world.home / "store" / "champion" / "AAA" / f"{WEEKS[13]}.json").unlink()  # never decided: a went on
    other, again, nobody = reports(world, WEEKS[11], WEEKS[14], WEEKS[15])
    assert other["reason"] == "b takes office this very week"
    assert (again["office"], again["live"]["days"], again["baseline"]["days"]) == (WEEKS[12], 14, 90)
    assert (again["harm"], again["harm_is_building"]) == (HARM.model_dump(), True)
    assert (nobody["status"], nobody["reason"], nobody["harm_is_building"]) == ("INSUFFICIENT", "no champion", False)
    assert nobody["recipe"] is nobody["office"] is nobody["statistic"] is nobody["limit"] is None


def test_each_office_is_calibrated_once(world, monkeypatch):
    calls = []
    start_tenure = decay.start_tenure
    monkeypatch.setattr(decay, "start_tenure", lambda *given: calls.append(given[:2]) or start_tenure(*given))
    champions(world, dict.fromkeys(WEEKS[12:], "b"))
    reports(world, *WEEKS[7:])
    assert [recipe for recipe, _ in calls] == ["a", "b"]


def test_the_plain_rule_is_an_option(world):
    policy = DecayPolicy(rule="below_baseline", window_weeks=2)
    plain = replace(world, settings=world.settings.model_copy(update={"decay": policy}))
    early, found = reports(plain, WEEKS[8], LAST)
    assert (early["status"], early["reason"]) == ("INSUFFICIENT", "1 of 2 weeks in office")
    assert (found["rule"], found["status"]) == ("below_baseline", "DECAYED")
    assert found["statistic"] < found["limit"] == pytest.approx(0.9 * found["baseline"]["sharpe"])


def test_a_week_without_a_decision_stops_the_run_and_says_what_to_do(world):
    result = run(world, "2020-02-03")
    assert not result.success
    said = str([e.step_failure_data.error for e in result.all_events if e.is_step_failure])
    assert "AAA|2020-02-03 has no champion record; materialise champion of this week first" in said
