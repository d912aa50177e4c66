"""What a tick of the weekly schedule asks for and what may start: late data, missed weeks, several ticks a week."""

import pandas as pd
import pytest

from quantum_training.lifecycle.records import ModelVersion, write_record
from quantum_training.lifecycle.stored_sets import DEFINITION
from quantum_training.lifecycle.surveillance.scheduled_trainings import (
    RunState,
    first_tick,
    newest_close,
    next_training,
    trainings_due,
)
from quantum_training.market.periods import month_of
from quantum_training.models.feature_set_hash import definition_hash
from quantum_training.settings.retraining import RetrainingPolicy
from quantum_training.settings.schema import Symbol
from quantum_training_tests.support.records import decay, model_record

THREE_A_DAY = "0 2,14,22 * * *"
MONDAY = pd.Timestamp("2020-02-10", tz="UTC")


def at(time):
    return pd.Timestamp(time, tz="UTC")


@pytest.fixture
def world(workspace, small):
    """Two markets of 4-hour bars; features and finished weeks come with `cover` and `finish`."""
    return World(workspace({**small, "start": "2019-09-02"}))


class World:
    def __init__(self, project):
        self.store, self.settings = project.store, project.settings
        self.runs = RunState(set(), set(), at("2020-02-10 02:00"))

    def with_settings(self, **changes):
        self.settings = self.settings.model_copy(update=changes)
        return self

    def cover(self, until, symbol="AAA"):
        bar = at(until) - pd.Timedelta(hours=4)
        frame = pd.DataFrame({"a": [1.0]}, pd.DatetimeIndex([bar]))
        self.store.write_frame("features", symbol, month_of(bar), frame, {"covered_until": at(until).isoformat()})
        return self

    def finish(self, *weeks, symbol="AAA"):
        for week in weeks:
            write_record(self.store, symbol, week, decay(week))
        return self

    def due(self, tick, symbol="AAA", **policy):
        trainings = trainings_due(self.store, self.settings, RetrainingPolicy(**policy), symbol, at(tick))
        return [(f"{t.as_of:%m-%d %H}", *t.recipes) for t in trainings]

    def next(self, tick, symbol="AAA"):
        trainings = trainings_due(self.store, self.settings, RetrainingPolicy(), symbol, at(tick))
        return next_training(self.store, self.settings, trainings, self.runs)

    def start(self, tick, symbol="AAA", ends=True):
        """Start what is next, as Dagster would; returns its as_of."""
        chosen = self.next(tick, symbol)
        if chosen.training:
            key = chosen.training.key_without_data if chosen.without_data else chosen.training.key
            self.runs.started.add(key)
            if not ends:
                self.runs.running.add(symbol)
        return f"{chosen.training.as_of:%m-%d %H}" if chosen.training else None


def test_the_only_tick_of_a_week_asks_for_the_week_in_progress(world):
    assert world.due("2020-02-10 02:00") == [("02-10 00",)]
    assert world.finish("2020-02-10").due("2020-02-10 02:00") == [], "it was run by hand"
    sundays = world.with_settings(training_cron_schedule="59 23 * * 0")
    assert sundays.due("2020-02-23 23:59") == [("02-17 00",)]


def test_a_symbol_whose_data_are_late_waits_and_the_others_go_on(world):
    world.cover("2020-02-09 20:00").cover("2020-02-10 01:00", "BBB")
    late = world.next("2020-02-10 02:00")
    assert late.training is None
    assert "AAA has features until 2020-02-09 20:00" in late.waits
    assert world.start("2020-02-10 02:00", "BBB") == "02-10 00"
    assert world.cover("2020-02-10 04:00").start("2020-02-10 02:00") == "02-10 00", "as soon as they are there"
    assert world.next("2020-02-10 02:00") == world.next("2020-02-10 02:00", "BBB") == (None, False, ""), "and only once"


@pytest.mark.parametrize("late", ["wait", "missing"])
def test_a_symbol_waits_for_the_bars_of_another_that_it_reads(workspace, small, late):
    module = "quantum_training_tests.support.feature_modules"
    context = {"module": module, "params": {"function": "honest"}, "of": "BBB", "late": late}
    small |= {"start": "2019-09-02", "features": {"context": context}}
    small["recipes"]["xgboost"]["features"] = ["context"]
    world = World(workspace(small)).cover("2020-02-10 01:00")
    waits = world.next("2020-02-10 02:00").waits
    expected = "waits: features_context of BBB is needed until 2020-02-10 00:00:00+00:00, but of 2020-02-01 it is not"
    assert (expected in waits) == (late == "wait")
    definition = {DEFINITION: definition_hash(world.settings.features["context"])}
    for until, starts in (("2020-02-09 20:00", late == "missing"), ("2020-02-10 00:00", True)):
        frame = pd.DataFrame({"a": [1.0]}, pd.DatetimeIndex([at(until) - pd.Timedelta(hours=4)]))
        covered = {"covered_until": at(until).isoformat(), **definition}
        for asset in ("candles", "features_context"):
            world.store.write_frame(asset, "BBB", "2020-02-01", frame, covered)
        assert (world.next("2020-02-10 02:00").training is not None) == starts


def test_a_symbol_without_any_data_waits(world):
    assert "AAA has no features" in world.next("2020-02-10 02:00").waits


def test_after_a_day_a_week_is_run_without_its_data_once_and_again_when_they_come(world):
    world.cover("2020-02-09 20:00").runs = world.runs._replace(now=at("2020-02-11 01:59"))
    assert world.start("2020-02-10 02:00") is None
    world.runs = world.runs._replace(now=at("2020-02-11 02:00"))
    assert world.next("2020-02-10 02:00").without_data
    assert world.start("2020-02-10 02:00") == "02-10 00"
    assert world.start("2020-02-10 02:00") is None
    assert world.cover("2020-02-13 20:00").next("2020-02-10 02:00").without_data is False
    assert world.start("2020-02-10 02:00") == "02-10 00"
    assert world.start("2020-02-10 02:00") is None


def test_a_week_that_failed_with_its_data_is_not_run_again(world):
    assert world.cover("2020-02-10 04:00").start("2020-02-10 02:00") == "02-10 00"
    assert world.start("2020-02-10 02:00") is None
    assert world.cover("2020-02-17 04:00").start("2020-02-17 02:00") == "02-17 00"


def test_missed_weeks_are_run_first_one_after_the_other(world):
    world.cover("2020-02-10 04:00").finish("2020-01-13")
    assert world.due("2020-02-10 02:00") == [("01-20 00",), ("01-27 00",), ("02-03 00",), ("02-10 00",)]
    assert world.start("2020-02-10 02:00", ends=False) == "01-20 00"
    assert "another training of AAA has not ended" in world.next("2020-02-10 02:00").waits
    world.runs.running.clear()
    world.finish("2020-01-20")
    assert world.start("2020-02-10 02:00") == "01-27 00"
    assert world.start("2020-02-10 02:00") == "02-03 00", "the one before failed"


def test_at_most_four_missed_weeks_are_made_up_for(world):
    assert [as_of for (as_of,) in world.finish("2019-10-07").due("2020-02-10 02:00")] == [
        *("01-13 00", "01-20 00", "01-27 00", "02-03 00", "02-10 00")
    ]


@pytest.mark.parametrize(("field", "value"), [("start", "2020-02-11"), ("end", "2020-02-09")])
def test_outside_the_partitions_nothing_is_due(world, field, value):
    world.with_settings(**{field: pd.Timestamp(value).date()})
    assert world.due("2020-02-10 02:00") == []


def test_three_ticks_a_day_train_three_times_each_as_of_its_newest_bar(world):
    world.with_settings(training_cron_schedule=THREE_A_DAY).cover("2020-03-01")
    ticks = [f"2020-02-{day} {hour}:00" for day in (10, 11) for hour in ("02", "14", "22")]
    assert [world.start(tick) for tick in ticks] == [
        *("02-10 00", "02-10 12", "02-10 20", "02-11 00", "02-11 12", "02-11 20")
    ]
    assert [world.start(tick) for tick in ticks] == [None] * 6, "the same ticks again start nothing"


def test_a_training_inside_the_week_names_its_recipes_and_the_weekly_cycle_none(world):
    world.with_settings(training_cron_schedule=THREE_A_DAY).finish("2020-02-10")
    assert world.due("2020-02-10 02:00") == []
    assert world.due("2020-02-10 14:00") == [("02-10 12", "xgboost", "lightgbm")]
    disabled = {"recipes": {"xgboost": {"enabled": False}}}
    assert world.due("2020-02-10 14:00", **disabled) == [("02-10 12", "lightgbm")]
    rests = world.settings.recipes["lightgbm"].model_copy(update={"every_weeks": 2})
    world.with_settings(recipes={**world.settings.recipes, "lightgbm": rests})
    assert world.due("2020-02-10 14:00") == [("02-10 12", "xgboost")], "a recipe of every second week is not trained"
    assert world.due("2020-02-10 14:00", **disabled) == []


def test_what_a_trigger_has_trained_already_is_not_trained_again(world):
    world.with_settings(training_cron_schedule=THREE_A_DAY).finish("2020-02-10")
    version = ModelVersion(as_of=at("2020-02-10 12:00").isoformat(), model_id="1")
    write_record(world.store, "AAA", "2020-02-10", model_record(version), "xgboost_model")
    assert world.due("2020-02-10 14:00") == [("02-10 12", "lightgbm")]


def test_a_training_inside_the_week_waits_for_its_bars_and_for_the_run_before_it(world):
    world.with_settings(training_cron_schedule=THREE_A_DAY).cover("2020-02-10 08:01")
    assert world.start("2020-02-10 02:00", ends=False) == "02-10 00"
    world.cover("2020-02-10 12:01")
    assert "another training of AAA has not ended" in world.next("2020-02-10 14:00").waits
    world.runs.running.clear()
    assert "features until 2020-02-10 12:01" in world.next("2020-02-10 22:00").waits, "the newest tick counts"
    assert world.cover("2020-02-10 20:01").start("2020-02-10 22:00") == "02-10 20"


def test_a_first_tick_that_was_missed_is_made_up_for_by_the_next(world):
    world.with_settings(training_cron_schedule=THREE_A_DAY).cover("2020-03-01").finish("2020-02-03")
    assert world.start("2020-02-12 14:00") == "02-10 00"
    assert world.finish("2020-02-10").start("2020-02-12 14:00") == "02-12 12"


@pytest.mark.parametrize(
    ("timeframe", "calendar", "time", "close"),
    [
        ("1h", "24/7", "2020-02-10 14:00", "2020-02-10 14:00"),
        ("1h", "24/7", "2020-02-10 14:59", "2020-02-10 14:00"),
        ("1d", "24/7", "2020-02-10 22:00", "2020-02-10 00:00"),
        ("1d", "24/7", "2020-02-11 02:00", "2020-02-11 00:00"),
        ("1d", "XNYS", "2020-02-10 22:00", "2020-02-10 00:00"),
        ("1d", "XNYS", "2020-02-16 22:00", "2020-02-15 00:00"),
        ("1h", "XNYS", "2020-02-10 14:00", "2020-02-10 00:00"),
        ("1h", "XNYS", "2020-02-10 15:45", "2020-02-10 15:30"),
        ("1h", "XNYS", "2020-02-11 02:00", "2020-02-10 21:30"),
    ],
)
def test_the_newest_close_of_the_week_follows_the_calendar(timeframe, calendar, time, close):
    source = {"kind": "sample", "dataset": "sp500"}
    market = Symbol(source=source, timeframe=timeframe, calendar=calendar, recipes=("xgboost",))
    assert newest_close(market, at(time)) == at(close)


@pytest.mark.parametrize(
    ("cron", "first"),
    [("0 2 * * 1", "2020-02-10 02:00"), (THREE_A_DAY, "2020-02-10 02:00"), ("0 0 * * *", "2020-02-10 00:00")],
)
def test_the_first_tick_of_a_week(world, cron, first):
    assert first_tick(world.with_settings(training_cron_schedule=cron).settings, MONDAY) == at(first)
