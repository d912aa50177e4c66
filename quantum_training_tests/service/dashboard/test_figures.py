"""The figures of the dashboard hold what the records say, gaps as None."""

import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantum_training.lifecycle.records import BacktestRecord, WeeklyDecision
from quantum_training.service.dashboard import figures
from quantum_training.service.dashboard.training_figures import training_figures
from quantum_training.service.reading.events import Training


def lines(figure):
    return {line["name"]: [*zip(line["x"], line["y"], strict=True)] for line in figure["data"]}


@pytest.mark.parametrize("bars", [1, 2, 599, 600, 601, 1_200, 4_368])
def test_equity_is_thinned_and_ends_with_the_last_bar(bars):
    index = pd.date_range("2020-01-01", periods=bars, freq="h", tz="UTC")
    frame = pd.DataFrame({"buy_and_hold": np.linspace(1, 2, bars), "xgboost": 1.0, "flat": 1.0}, index)
    drawn = lines(figures.equity(frame))
    assert {*drawn} == {"buy_and_hold", "xgboost"}
    points = drawn["buy_and_hold"]
    assert 1 <= len(points) <= 2 * figures.MOST_POINTS
    assert points[0][0] == "2020-01-01 00:00"
    assert points[-1] == (f"{index[-1]:%Y-%m-%d %H:%M}", pytest.approx(frame["buy_and_hold"].iloc[-1]))
    assert len({time for time, _ in points}) == len(points)


def backtest(**sharpes):
    metrics = {name: {"sharpe": sharpe} for name, sharpe in sharpes.items()}
    fixed = {"verdict": {"text": ""}, "probability_of_overfitting": None, "probability_of_overfitting_reason": None}
    return BacktestRecord(metrics=metrics, **fixed, periods_per_year=252.0, first_week="2020-01-06", missing_weeks=())


def test_a_recipe_that_came_later_and_an_undefined_ratio_are_gaps():
    records = {"2020-01-06": backtest(a=1.0, buy_and_hold=None), "2020-01-13": backtest(a=2.0, b=3.0, buy_and_hold=0.5)}
    assert lines(figures.sharpe_over_weeks(records)) == {
        "a": [("2020-01-06", 1.0), ("2020-01-13", 2.0)],
        "b": [("2020-01-06", None), ("2020-01-13", 3.0)],
        "buy_and_hold": [("2020-01-06", None), ("2020-01-13", 0.5)],
    }


def test_the_newest_ratio_of_each_recipe_has_its_interval():
    weeks = {"2020-01-06": backtest(a=1.0, b=1.0), "2020-01-13": backtest(a=2.0, b=3.0)}
    weeks["2020-01-13"].metrics["a"] |= {"sharpe_low": -1.0, "sharpe_high": 4.0}
    traces = {trace["name"]: trace for trace in figures.sharpe_over_weeks(weeks)["data"]}
    assert [*traces] == ["a", "a, 95 %", "b"], "an undefined interval is left out"
    interval = traces["a, 95 %"]
    assert (interval["x"], interval["y"]) == (["2020-01-13"], [2.0])
    assert (interval["error_y"]["array"], interval["error_y"]["arrayminus"]) == ([2.0], [3.0])
    assert interval["marker"]["color"] == traces["a"]["line"]["color"] != traces["b"]["line"]["color"]


def training(recipe, day, seconds=1.0, status="succeeded", **metrics):
    nothing = dict.fromkeys(("trigger", "reason", "model_id", "started_at"))
    over = {"completed_at": f"{day}T12:00:00Z", "duration_seconds": seconds, "status": status, "metrics": metrics}
    return Training(job_id="j", run_id="r", symbol="AAA", recipe=recipe, **nothing, **over)


def test_durations_rewards_and_successes_are_those_of_the_trainings():
    trainings = [
        training("ppo", "2020-01-15", 3.0, final_reward=0.5),
        training("ppo", "2020-01-12", 2.0, "failed"),
        training("xgboost", "2020-01-06", None),
    ]
    drawn = training_figures(trainings)
    assert drawn["Duration of the trainings"]["data"][0]["x"] == [3.0, 2.0]
    assert lines(drawn["Duration over time"]) == {"ppo": [("2020-01-12 12:00:00", 2.0), ("2020-01-15 12:00:00", 3.0)]}
    (bars,) = drawn["Trainings that succeeded, by week"]["data"]
    assert (bars["x"], bars["y"], bars["text"]) == (["2020-01-06", "2020-01-13"], [50.0, 100.0], ["of 2", "of 1"])
    (rewards,) = drawn["Final reward of agents"]["data"]
    assert (rewards["name"], rewards["x"]) == ("ppo", [0.5])


def test_without_a_training_that_is_over_nothing_is_drawn():
    assert training_figures([]) == {}
    running = training("ppo", "2020-01-15").model_copy(update={"status": "running"})
    assert training_figures([running]) == {}


def decision(week, **z):
    judgements = {
        recipe: {"verdict": "CONTINUE", "reason": "r", "bars": 1, "blocks": 1, "z": value, "boundary": 3.0}
        for recipe, value in z.items()
    }
    fields = {"verdict": "CONTINUE", "reason": "r", "champion": None, "former": None, "missing_weeks": []}
    evidence = {"evidence_hash": "", "evidence_weeks": []}
    return WeeklyDecision.model_validate({"week": week, "judgements": judgements, **fields, **evidence})


def test_z_of_each_challenger_stands_beside_what_is_needed():
    decisions = {week: decision(week, **z) for week, z in (("2020-01-06", {"a": 1.0}), ("2020-01-13", {}))}
    assert lines(figures.evidence(decisions)) == {
        "a": [("2020-01-06", 1.0), ("2020-01-13", None)],
        "needed": [("2020-01-06", 3.0), ("2020-01-13", None)],
    }


def test_returns_by_week_are_per_cent():
    returns = pd.DataFrame({"a": [0.01, np.nan], "b": [-0.02, 0.0]}, ["2020-01-06", "2020-01-13"])
    (heat_map,) = figures.weekly_returns(returns)["data"]
    assert (heat_map["x"], heat_map["y"]) == (["2020-01-06", "2020-01-13"], ["a", "b"])
    assert heat_map["z"] == [[1.0, None], [-2.0, 0.0]]


@given(st.lists(st.floats(width=32), min_size=1, max_size=20))
def test_every_figure_is_json_without_nan_or_infinity(values):
    frame = pd.DataFrame({"a": values}, pd.date_range("2020-01-01", periods=len(values), freq="h"))
    json.dumps(figures.equity(frame), allow_nan=False)
    json.dumps(figures.weekly_returns(frame.set_axis([str(n) for n in range(len(values))])), allow_nan=False)
