"""Decay reports without Dagster: which decisions, scores and events they use, and what later ones cannot change."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from quantum_training.lifecycle.surveillance import decay
from quantum_training.lifecycle.surveillance.decay import decay_reports, newest_measurement
from quantum_training.market.periods import WEEK, Key
from quantum_training.monitoring.decay_policy import DecayPolicy
from quantum_training.resources.events.payloads import MetricsUpdated, event
from quantum_training_tests.support.decay_market import (
    LAST,
    TOOK_OFFICE,
    WEEKS,
    write_decaying_champion,
    write_decisions,
    write_scores,
)
from quantum_training_tests.support.records import harm


@pytest.fixture
def project(workspace, small):
    """A store in which the champion a takes office in the eighth of 16 weeks and loses from the tenth on."""
    project = workspace(small)
    write_decaying_champion(project.store)
    return project


def reports(project, *weeks):
    keys = [Key("AAA", pd.Timestamp(week, tz="UTC")) for week in weeks]
    return [*decay_reports(project.store, project.events, project.settings, "AAA", keys).values()]


def measure(project, at, metrics, recipe="a", symbol="AAA"):
    """A live measurement by others arrives."""
    payload = MetricsUpdated(model_type=recipe, metrics=metrics, measured_at=pd.Timestamp(at, tz="UTC"))
    project.events.inbox.receive([event(symbol, payload, f"{at} {recipe} {metrics}").model_dump_json()])


def test_a_champion_that_loses_decays_weeks_after_it_took_office(project):
    by_week = dict(zip(WEEKS[7:], reports(project, *WEEKS[7:]), strict=True))
    statuses = [report.status for report in by_week.values()]
    decayed = statuses.count("DECAYED")
    assert statuses == ["INSUFFICIENT", *["NONE"] * (8 - decayed), *["DECAYED"] * decayed]
    assert 2 <= decayed <= 6
    first, newest = by_week[TOOK_OFFICE], by_week[LAST]
    assert (first.reason, first.live.bars) == ("a takes office this very week", 0)
    assert first.baseline.days == 55, "8 weeks without the first day, on which it had no decision"
    assert (newest.recipe, newest.office, newest.week) == ("a", TOOK_OFFICE, LAST)
    assert newest.statistic > newest.limit > 0
    assert WEEKS[-decayed - 1] <= newest.first_alarm < WEEKS[-decayed]
    assert (newest.live.bars, newest.live.days) == (8 * 42, 56)


def test_later_scores_decisions_and_measurements_do_not_change_a_report(project):
    week = WEEKS[9]
    measure(project, week, {"sharpe": 2.0, "bars": 84})
    before = reports(project, week)
    write_decisions(project.store, {WEEKS[10]: "b"})
    write_scores(project.store, WEEKS[10], -5.0, np.random.default_rng(1))
    measure(project, WEEKS[10], {"sharpe": -90.0, "bars": 84})
    assert reports(project, week) == before
    assert reports(project, week, WEEKS[10])[:1] == before
    assert before[0].reported.metrics == {"sharpe": 2.0, "bars": 84}


def test_a_measurement_of_the_champion_inside_the_week_counts(project):
    week = WEEKS[9]  # 2019-12-09
    assert reports(project, week)[0].status == "NONE"
    for at, recipe, symbol in (("2019-11-24", "a", "AAA"), ("2019-12-11", "b", "AAA"), ("2019-12-11", "a", "BBB")):
        measure(project, at, {"sharpe": -90.0, "bars": 500}, recipe, symbol)
    assert reports(project, week)[0].reported is None, "of another recipe, symbol or time"
    measure(project, "2019-12-12", {"sharpe": 3.0, "bars": 100})
    measure(project, "2019-12-12 06:00", {"sharpe": -30.0, "bars": 100, "win_rate": None})
    measure(project, "2019-12-11", {"sharpe": 3.0})
    (report,) = reports(project, week)
    assert report.status == "DECAYED"
    assert report.reason.startswith("live Sharpe -30.00 reported up to 2019-12-12")
    assert report.reported.z > report.reported.limit
    assert len(project.events.inbox.read("another reader")) == 6, "the report took events from their readers"


def test_of_two_measurements_of_the_same_instant_the_last_to_arrive_counts():
    at = pd.Timestamp("2024-01-01", tz="UTC")
    both = [MetricsUpdated(model_type="a", metrics={"sharpe": s}, measured_at=at) for s in (1.0, 2.0)]
    assert newest_measurement(both, "a", at, at + WEEK) is both[1]
    assert newest_measurement(both, "a", at - WEEK, at) is None


def test_the_tenure_is_the_current_champions_and_its_harm_is_recorded(project):
    write_decisions(project.store, {WEEKS[11]: "b", WEEKS[12]: "a", WEEKS[15]: None})
    write_decisions(project.store, {WEEKS[14]: "a"}, harm=harm(1.1))
    (project.home / "store" / "champion" / "AAA" / f"{WEEKS[13]}.json").unlink()  # never decided: a remained
    other, returned, vacant = reports(project, WEEKS[11], WEEKS[14], WEEKS[15])
    assert other.reason == "b takes office this very week"
    assert (returned.office, returned.live.days, returned.baseline.days) == (WEEKS[12], 14, 90)
    assert (returned.harm, returned.harm_is_building) == (harm(1.1), True)
    assert (vacant.status, vacant.reason, vacant.harm_is_building) == ("INSUFFICIENT", "no champion", False)
    assert vacant.recipe is vacant.office is vacant.statistic is vacant.limit is None


def test_each_tenure_is_calibrated_once(project, monkeypatch):
    calls, start_tenure = [], decay.start_tenure
    monkeypatch.setattr(decay, "start_tenure", lambda *args: calls.append(args[0]) or start_tenure(*args))
    write_decisions(project.store, dict.fromkeys(WEEKS[12:], "b"))
    reports(project, *WEEKS[7:])
    assert calls == ["a", "b"]


def test_the_rule_below_baseline_can_be_set(project):
    policy = DecayPolicy(rule="below_baseline", window_weeks=2)
    project = replace(project, settings=project.settings.model_copy(update={"decay": policy}))
    early, late = reports(project, WEEKS[8], LAST)
    assert (early.status, early.reason) == ("INSUFFICIENT", "1 of 2 weeks in office")
    assert (late.rule, late.status) == ("below_baseline", "DECAYED")
    assert late.statistic < late.limit == pytest.approx(0.9 * late.baseline.sharpe)


def test_a_week_without_a_champion_record_is_an_error(project):
    with pytest.raises(ValueError, match=r"^AAA\|2020-02-03 has no champion record; materialise champion of this week"):
        reports(project, "2020-02-03")
