"""The schedules: what a tick asks for at which hour, and that what it asks for is enough for the weekly run."""

from itertools import chain
from typing import ClassVar

import dagster as dg
import pandas as pd
import pytest
from croniter import croniter_range
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ConfigDict

from quantum_training.definitions import build_defs
from quantum_training.features.sets.feature_set import FeatureSet
from quantum_training.lifecycle.decision.signals import newest_bar
from quantum_training.lifecycle.ingestion import compute_month_features, ingest_month
from quantum_training.lifecycle.market_history import MarketHistory
from quantum_training.lifecycle.records import write_record
from quantum_training.market.calendars import expected_open_times
from quantum_training.market.periods import Key, month_of
from quantum_training.partitions import RANGE_TAGS, build_partitions, run_keys
from quantum_training.resources.store.store import Store
from quantum_training.settings import load_settings
from quantum_training.settings.schema import Symbol
from quantum_training.settings.series import Series
from quantum_training.sources.sample import Source as Sample
from quantum_training_tests.support.records import drift

LOADED = load_settings()
GOING_ON = {name: market.model_copy(update={"end": None}) for name, market in LOADED.symbols.items()}
DEFAULTS = LOADED.model_copy(update={"symbols": GOING_ON})
INSTANCES: list[dg.DagsterInstance] = []


class LiveSample(Sample):
    """The sample as a live market would have given it at the time `clock`."""

    clock: pd.Timestamp
    not_identifying: ClassVar = frozenset({"clock"})
    model_config = ConfigDict(arbitrary_types_allowed=True)

    def fetch(self, symbol, timeframe, start, end, now):
        return super().fetch(symbol, timeframe, start, end, self.clock)

    def available_until(self, symbol, timeframe, now):
        return self.clock


@pytest.fixture(scope="module", autouse=True)
def no_runs(tmp_path_factory):
    """A Dagster that has not run anything; the context of a schedule accepts no ephemeral one."""
    with dg.DagsterInstance.local_temp(str(tmp_path_factory.mktemp("dagster"))) as instance:
        INSTANCES.append(instance)
        yield
        INSTANCES.clear()


def tick(definitions, name, time):
    """The run requests of one tick, resolved against the partitions as the daemon resolves them."""
    schedule = definitions.resolve_schedule_def(name)
    time = pd.Timestamp(time, tz="UTC").to_pydatetime()
    with dg.build_schedule_context(INSTANCES[0], time, repository_def=definitions.get_repository_def()) as context:
        return schedule.evaluate_tick(context)


def cover(store, symbol, until):
    """Store candles and features of one bar that say that they reach `until`."""
    until = pd.Timestamp(until, tz="UTC")
    bar = until - pd.Timedelta("1ns")
    frame = pd.DataFrame({"a": [1.0]}, pd.DatetimeIndex([bar.normalize()]))
    for asset in ("candles", "features"):
        store.write_frame(asset, symbol, month_of(bar), frame, {"covered_until": until.isoformat()})


def build_over(root, until=None, **changes):
    """The definitions of the default settings with these changes over a store that reaches `until`."""
    for symbol in changes.get("symbols", DEFAULTS.symbols) if until else ():
        cover(Store(root=str(root)), symbol, until)
    return build_defs(DEFAULTS.model_copy(update={"store_root": str(root), **changes}))


def requested_keys(grid, data):
    """The partitions of each requested run, as the assets of that run will read them."""
    return [[str(k) for k in run_keys(grid, request.tags)] for request in data.run_requests]


@pytest.fixture(scope="module")
def defaults(tmp_path_factory):
    """Definitions over an empty store, and over one that always reaches far enough, with their partitions."""
    grids = build_partitions(list(DEFAULTS.symbols), DEFAULTS.start.isoformat())
    empty, full = (tmp_path_factory.mktemp(name) for name in ("empty", "full"))
    return build_over(empty), build_over(full, "2100-01-01"), grids


@pytest.mark.parametrize(
    ("time", "week"),
    [
        ("2024-01-08 02:00", "2024-01-08"),
        ("2024-01-08 00:00", "2024-01-08"),
        ("2024-01-10 15:00", "2024-01-08"),
        ("2024-01-14 23:59", "2024-01-08"),
        ("2024-07-01 02:00", "2024-07-01"),
        ("2024-02-01 02:00", "2024-01-29"),
        ("2023-01-01 02:00", "2022-12-26"),
    ],
)
def test_the_weekly_tick_requests_the_week_in_progress_of_every_symbol(defaults, time, week):
    _, definitions, grids = defaults
    data = tick(definitions, "weekly_cycle_schedule", time)
    assert requested_keys(grids.week, data) == [[f"SP500|{week}"], [f"NASDAQ|{week}"]]
    first = data.run_requests[0]
    assert first.tags["symbol"] == "SP500"
    assert first.tags["dagster/partition/symbol"] == "SP500"
    assert first.tags["dagster/partition/week"] == week


@pytest.mark.parametrize(
    ("time", "months"),
    [
        ("2024-03-20 00:30", ["2024-03-01"]),
        ("2024-03-31 00:30", ["2024-03-01"]),
        ("2024-04-01 00:30", ["2024-03-01"]),
        ("2024-04-02 00:30", ["2024-03-01", "2024-04-01"]),
        ("2024-04-07 23:30", ["2024-03-01", "2024-04-01"]),
        ("2024-04-08 00:30", ["2024-04-01"]),
        ("2024-01-01 00:30", ["2023-12-01"]),
        ("2024-01-02 00:30", ["2023-12-01", "2024-01-01"]),
    ],
)
def test_the_market_data_tick_requests_yesterdays_month_and_early_in_a_month_also_the_one_before(
    defaults, time, months
):
    definitions, _, grids = defaults
    data = tick(definitions, "market_data_schedule", time)
    assert requested_keys(grids.month, data) == [[f"{s}|{m}" for m in months] for s in ("SP500", "NASDAQ")]
    assert [r.tags["symbol"] for r in data.run_requests] == ["SP500", "NASDAQ"]


def test_market_data_runs_are_tagged_with_the_exchange_for_the_queue():
    sources = {
        "BTC-USDT": {"kind": "ccxt", "exchange": "kraken", "market": "BTC/USDT"},
        "AAPL": {"kind": "yfinance", "ticker": "AAPL"},
        "SP500": {"kind": "sample", "dataset": "sp500"},
    }
    symbols = {name: Symbol(source=source, recipes=("xgboost",)) for name, source in sources.items()}
    definitions = build_defs(DEFAULTS.model_copy(update={"symbols": symbols}))
    data = tick(definitions, "market_data_schedule", "2024-03-20 00:30")
    assert [r.tags.get("exchange") for r in data.run_requests] == ["kraken", "yahoo", None]


@pytest.mark.parametrize(("stored", "first"), [(None, "2024-03-01"), ("2024-02-20", "2024-02-01")])
def test_a_series_is_read_from_the_newest_month_on_that_is_not_whole(tmp_path, stored, first):
    series = Series(source={"kind": "file", "path": "r.csv", "time": "t", "value": "v", "delay": "1d"}, max_age="5d")
    settings, store = DEFAULTS.model_copy(update={"series": {"rate": series}}), Store(root=str(tmp_path))
    if stored:
        frame = pd.DataFrame({"value": [1.0]}, pd.DatetimeIndex([pd.Timestamp(stored, tz="UTC")]))
        store.write_frame("series", "rate", "2024-02-01", frame, {"covered_until": f"{stored}T00:00:00+00:00"})
    (run,) = tick(build_defs(settings, {"store": store}), "series_data_schedule", "2024-03-20 00:30").run_requests
    months = [run.tags[tag] for tag in RANGE_TAGS if tag in run.tags] or [run.tags["dagster/partition"]]
    assert (months[0], months[-1]) == (f"rate|{first}", "rate|2024-03-01")


def test_a_series_is_read_again_for_a_set_that_was_left_behind(tmp_path):
    """A run that was killed between the two at the end of a month."""
    series = Series(source={"kind": "file", "path": "r.csv", "time": "t", "value": "v", "delay": "1d"}, max_age="5d")
    sets = {"mine": FeatureSet(module="own.rates", series=("rate",))}
    settings = DEFAULTS.model_copy(update={"series": {"rate": series}, "features": sets})
    store = Store(root=str(tmp_path))
    for asset, month, until in (("series", "2024-03-01", "2024-03-20"), ("features_mine", "2024-02-01", "2024-02-28")):
        frame = pd.DataFrame({"value": [1.0]}, pd.DatetimeIndex([pd.Timestamp(month, tz="UTC")]))
        store.write_frame(asset, "rate", month, frame, {"covered_until": f"{until}T00:00:00+00:00"})
    (run,) = tick(build_defs(settings, {"store": store}), "series_data_schedule", "2024-03-20 00:30").run_requests
    assert [run.tags[tag] for tag in RANGE_TAGS] == ["rate|2024-02-01", "rate|2024-03-01"]


def test_market_data_of_a_symbol_that_others_read_come_first():
    """With bars of the same length, its bars are there when theirs are."""
    symbols = {name: Symbol(source={"kind": "synthetic"}, recipes=("xgboost",)) for name in ("AAA", "BBB")}
    sets = {"context": FeatureSet(module="own.context", of=("BBB",))}
    recipe = DEFAULTS.recipes["xgboost"].model_copy(update={"features": ("context",)})
    recipe.find_sets(sets)
    settings = DEFAULTS.model_copy(update={"symbols": symbols, "features": sets, "recipes": {"xgboost": recipe}})
    data = tick(build_defs(settings), "market_data_schedule", "2024-03-20 00:30")
    assert [r.tags["symbol"] for r in data.run_requests] == ["BBB", "AAA"]


@pytest.mark.parametrize("time", ["2024-03-20 01:00", "2024-03-20 00:00", "2024-03-20 23:59"])
def test_the_drift_tick_requests_the_day_in_progress_of_every_symbol(defaults, time):
    definitions, _, grids = defaults
    data = tick(definitions, "drift_schedule", time)
    assert requested_keys(grids.day, data) == [["SP500|2024-03-20"], ["NASDAQ|2024-03-20"]]


@pytest.mark.long
@settings(max_examples=25, deadline=None)
@given(st.datetimes(pd.Timestamp("1999-01-11").to_pydatetime(), pd.Timestamp("2026-06-30").to_pydatetime()))
def test_no_tick_requests_a_partition_that_does_not_exist(defaults, time):
    empty, full, grids = defaults
    time = pd.Timestamp(time).floor("min")
    schedules = {"weekly_cycle_schedule": full, "market_data_schedule": empty, "drift_schedule": empty}
    for (name, definitions), grid in zip(schedules.items(), (grids.week, grids.month, grids.day), strict=True):
        keys = list(chain(*requested_keys(grid, tick(definitions, name, time))))
        assert keys
        assert all(grid.has_partition_key(key) for key in keys)
        assert all(pd.Timestamp(key.split("|")[1]) <= time for key in keys)


@pytest.mark.parametrize(
    ("name", "too_early", "early_enough"),
    [
        ("weekly_cycle_schedule", "2024-01-14 02:00", "2024-01-15 02:00"),
        ("market_data_schedule", "2024-02-01 00:30", "2024-02-02 00:30"),
        ("drift_schedule", "2024-01-09 01:00", "2024-01-10 01:00"),
    ],
)
def test_a_period_before_the_start_is_skipped(tmp_path, name, too_early, early_enough):
    until = "2100-01-01" if name == "weekly_cycle_schedule" else None
    definitions = build_over(tmp_path, until, start=pd.Timestamp("2024-01-10").date())
    skipped = tick(definitions, name, too_early)
    assert not skipped.run_requests
    assert "2024-01-10" in skipped.skip_message
    assert len(tick(definitions, name, early_enough).run_requests) == 2


def test_each_signals_tick_requests_every_symbol(defaults):
    ticks = [tick(defaults[0], "signals_schedule", time) for time in ("2024-01-08 02:05", "2024-01-08 03:05")]
    for data in ticks:
        assert [r.partition_key for r in data.run_requests] == ["SP500", "NASDAQ"]
        assert [r.tags["symbol"] for r in data.run_requests] == ["SP500", "NASDAQ"]
    assert len({r.run_key for data in ticks for r in data.run_requests}) == 4


def test_for_a_symbol_without_recipes_market_data_alone_are_requested(tmp_path):
    read = DEFAULTS.symbols["SP500"].model_copy(update={"recipes": ()})
    definitions = build_over(tmp_path, "2024-05-06", symbols={**DEFAULTS.symbols, "SP500": read})
    requested = {
        name: {request.tags["symbol"] for request in tick(definitions, name, "2024-05-07 02:00").run_requests}
        for name in ("market_data_schedule", "weekly_cycle_schedule", "drift_schedule", "signals_schedule")
    }
    assert requested.pop("market_data_schedule") == {*DEFAULTS.symbols}
    assert all(symbols == {*DEFAULTS.symbols} - {"SP500"} for symbols in requested.values())


def test_one_tick_evaluated_twice_requests_one_run(defaults):
    times = ("2024-01-08 02:00", "2024-01-08 02:00", "2024-01-15 02:00")
    keys = [tick(defaults[1], "weekly_cycle_schedule", time).run_requests[0].run_key for time in times]
    assert keys[0] == keys[1] != keys[2]


def test_cron_variables_apply_and_schedules_are_off_by_default(monkeypatch):
    monkeypatch.setenv("TRAINING_CRON_SCHEDULE", "15 6 * * 2")
    monkeypatch.setenv("QUANTUM_TRAINING_MARKET_DATA_CRON_SCHEDULE", "5 * * * *")
    monkeypatch.setenv("QUANTUM_TRAINING_DRIFT_CRON_SCHEDULE", "45 3 * * *")
    definitions = build_defs(load_settings())
    assert definitions.resolve_schedule_def("drift_schedule").cron_schedule == "45 3 * * *"
    weekly, market_data = map(definitions.resolve_schedule_def, ("weekly_cycle_schedule", "market_data_schedule"))
    assert (weekly.cron_schedule, market_data.cron_schedule) == ("15 6 * * 2", "5 * * * *")
    assert {weekly.execution_timezone, market_data.execution_timezone} == {"UTC"}
    assert {weekly.default_status, market_data.default_status} == {dg.DefaultScheduleStatus.STOPPED}


HOURLY = Symbol(source={"kind": "synthetic"}, timeframe="1h", recipes=("xgboost",))
DAILY = Symbol(source={"kind": "sample", "dataset": "sp500"}, calendar="XNYS", recipes=("xgboost",))
QUARTERLY = HOURLY.model_copy(update={"timeframe": "15m"})


def requested_months(data):
    grid = build_partitions(["FAST", "SLOW"], DEFAULTS.start.isoformat()).month
    return {keys[0].split("|")[0]: [key.split("|")[1] for key in keys] for keys in requested_keys(grid, data)}


def test_hourly_markets_get_market_data_and_signals_each_hour(tmp_path):
    definitions = build_over(tmp_path, symbols={"FAST": HOURLY})
    crons = {s.name: s.cron_schedule for s in definitions.get_repository_def().schedule_defs}
    assert (crons["market_data_schedule"], crons["signals_schedule"]) == ("1 * * * *", "5 * * * *")
    store = Store(root=str(tmp_path))
    for hour in pd.date_range("2024-03-31 22:01", "2024-04-01 01:01", freq="h"):
        (months,) = requested_months(tick(definitions, "market_data_schedule", hour)).values()
        assert months[-1] == month_of(hour - pd.Timedelta("1h")), "also on the first day of a month"
        cover(store, "FAST", hour)
        assert not tick(definitions, "market_data_schedule", hour).run_requests


@pytest.mark.parametrize(
    ("crons", "fresh"), [({}, 8), ({"market_data_cron_schedule": "30 0 * * *"}, 0)], ids=["default", "once a day"]
)
def test_by_default_every_signal_of_an_hourly_market_is_of_the_newest_bar(tmp_path, crons, fresh):
    start, symbols = pd.Timestamp("2024-03-08"), {"FAST": HOURLY}
    settings = DEFAULTS.model_copy(update={"store_root": str(tmp_path), "symbols": symbols, **crons})
    definitions, store = build_over(tmp_path, symbols=symbols, **crons), Store(root=str(tmp_path))
    crons = {s.name: s.cron_schedule for s in definitions.get_repository_def().schedule_defs}
    ticks = [
        (time, name)
        for name in ("market_data_schedule", "signals_schedule")
        for time in croniter_range(start, start + pd.Timedelta("7h59min"), crons[name])
    ]
    read_while_valid = 0
    for time, name in sorted(ticks):
        now = pd.Timestamp(time, tz="UTC")
        if name == "market_data_schedule":
            for months in requested_months(tick(definitions, name, time)).values():
                for month in months:
                    key = Key("FAST", pd.Timestamp(month, tz="UTC"))
                    ingest_month(store, settings, key, now)
                    compute_month_features(store, settings, key)
        elif store.periods("features", "FAST"):
            read_while_valid += newest_bar(MarketHistory(store, settings, "FAST"), now).valid_until > now
    assert read_while_valid == fresh


def test_a_tick_without_a_cron_of_its_own_asks_only_for_the_symbols_that_lack_bars(tmp_path):
    definitions = build_over(tmp_path, "2024-03-20 00:01", symbols={"FAST": HOURLY, "SLOW": DAILY})
    assert "up to date" in tick(definitions, "market_data_schedule", "2024-03-20 00:59").skip_message
    assert {*requested_months(tick(definitions, "market_data_schedule", "2024-03-20 01:01"))} == {"FAST"}
    assert {*requested_months(tick(definitions, "market_data_schedule", "2024-03-21 00:01"))} == {"FAST", "SLOW"}
    assert {*requested_months(tick(definitions, "market_data_schedule", "2024-03-21 13:01"))} == {"FAST", "SLOW"}, (
        "what could not be fetched is asked for again"
    )


def test_a_cron_of_its_own_asks_for_every_symbol_at_each_tick(tmp_path):
    crons = {"market_data_cron_schedule": "*/5 * * * *", "signals_cron_schedule": "*/5 * * * *"}
    definitions = build_over(tmp_path, "2024-03-20 00:01", symbols={"FAST": QUARTERLY, "SLOW": DAILY}, **crons)
    for name in ("market_data_schedule", "signals_schedule"):
        assert len(tick(definitions, name, "2024-03-20 00:05").run_requests) == 2


def test_signals_of_hourly_and_longer_bars_are_made_once_an_hour_beside_shorter_ones(tmp_path):
    definitions = build_over(tmp_path, symbols={"FAST": QUARTERLY, "SLOW": DAILY})
    schedule = definitions.resolve_schedule_def("signals_schedule")
    assert schedule.cron_schedule == "5-59/15 * * * *"
    made = [
        {request.tags["symbol"] for request in tick(definitions, "signals_schedule", time).run_requests}
        for time in pd.date_range("2024-03-20 13:05", "2024-03-20 14:05", freq="15min")
    ]
    assert made == [{"FAST", "SLOW"}, {"FAST"}, {"FAST"}, {"FAST"}, {"FAST", "SLOW"}]


def test_after_a_long_outage_market_data_begin_with_the_newest_stored_month(tmp_path):
    definitions = build_over(tmp_path, "2024-01-20 00:30", symbols={"SLOW": DAILY})
    months = requested_months(tick(definitions, "market_data_schedule", "2024-03-20 00:30"))
    assert months == {"SLOW": ["2024-01-01", "2024-02-01", "2024-03-01"]}


@pytest.mark.parametrize(
    ("timeframe", "time", "first"),
    [
        ("1d", "2024-02-08 00:30", "2024-02-01"),
        ("3d", "2024-02-10 00:30", "2024-01-01"),
        ("3d", "2024-02-11 00:30", "2024-02-01"),
        ("1w", "2024-02-14 00:30", "2024-01-01"),
        ("1w from Thursday", "2024-02-15 00:30", "2024-02-01"),
    ],
)
def test_a_month_whose_last_bar_closes_in_the_next_is_asked_for_a_week_after_that(tmp_path, timeframe, time, first):
    market = DAILY.model_copy(update={"timeframe": timeframe})
    definitions = build_over(tmp_path, "2024-02-07 00:30", symbols={"SLOW": market})
    assert requested_months(tick(definitions, "market_data_schedule", time))["SLOW"][0] == first


def test_market_data_begin_with_the_first_day_of_a_younger_market(tmp_path):
    young = DAILY.model_copy(update={"start": pd.Timestamp("2024-04-03").date()})
    definitions = build_over(tmp_path, symbols={"FAST": young, "SLOW": DAILY})
    assert {*requested_months(tick(definitions, "market_data_schedule", "2024-03-31 00:30"))} == {"SLOW"}
    months = requested_months(tick(definitions, "market_data_schedule", "2024-04-04 00:30"))
    assert months == {"FAST": ["2024-04-01"], "SLOW": ["2024-03-01", "2024-04-01"]}


def test_a_broken_file_of_one_symbol_stops_no_other(tmp_path):
    definitions = build_over(tmp_path, "2024-03-18 00:30", symbols={"FAST": DAILY, "SLOW": DAILY})
    for file in tmp_path.glob("*/FAST/*"):
        file.write_bytes(b"broken")
    for name in ("market_data_schedule", "drift_schedule"):
        assert len(tick(definitions, name, "2024-03-19 00:30").run_requests) == 2
    weekly = tick(definitions, "weekly_cycle_schedule", "2024-03-18 02:00").run_requests
    assert [request.run_key for request in weekly] == [
        "FAST|2024-03-18T00:00:00+00:00 without data",  # long after that Monday
        "SLOW|2024-03-18T00:00:00+00:00",
    ]


def test_drift_ticks_that_were_missed_are_made_up_for(tmp_path):
    definitions = build_over(tmp_path, "2024-03-20 00:01", symbols={"SLOW": DAILY})
    store = Store(root=str(tmp_path))

    def days(time):
        return [
            r.tags["dagster/partition/utc_day"][-2:] for r in tick(definitions, "drift_schedule", time).run_requests
        ]

    assert days("2024-03-20 01:00") == ["20"], "a home without reports"
    write_record(store, "SLOW", "2024-03-17", drift("2024-03-17"))
    assert days("2024-03-20 01:00") == ["18", "19", "20"]
    assert days("2024-03-22 01:00") == ["18", "19", "20", "22"], "of the 21st there are no features yet"
    cover(store, "SLOW", "2024-04-01")
    assert days("2024-03-30 01:00") == ["24", "25", "26", "27", "28", "29", "30"]


@pytest.fixture
def live(build_project, small):
    """A project, and a function that runs a job or what a schedule asks for on a live market at a given time."""
    recipes = {name: {**recipe, "window_bars": 60} for name, recipe in small["recipes"].items()}
    market = {**small["symbols"]["AAA"], "timeframe": "1d", "calendar": "XNYS"}
    changes = {"start": "2014-01-01", "recipes": recipes, "symbols": {"AAA": market}, "min_training_data_points": 50}
    project = build_project({**small, **changes, "drift": {"html": False}})

    def at(time, name, tags=None):
        source = LiveSample(dataset="sp500", clock=pd.Timestamp(time, tz="UTC"))
        symbols = {"AAA": project.settings.symbols["AAA"].model_copy(update={"source": source})}
        settings = project.settings.model_copy(update={"symbols": symbols})
        definitions = build_defs(settings, {"store": project.store, "registry": project.registry})
        if tags is None:
            (request,) = tick(definitions, name, time).run_requests
            name, tags = definitions.resolve_schedule_def(name).job_name, dict(request.tags)
        job = definitions.resolve_job_def(name)
        return job.execute_in_process(instance=project.instance, tags=tags, raise_on_error=False)

    return project, at


@pytest.mark.long
@pytest.mark.parametrize(
    "week",
    [
        "2018-10-01",  # the first of a month
        "2018-09-03",  # the third and a holiday: still no bar of the new month
        "2017-01-02",  # the same at a year's start
    ],
)
def test_market_data_at_0030_suffice_for_the_weekly_cycle_at_0200(live, week):
    project, at = live
    monday = pd.Timestamp(week)
    early = monday - pd.Timedelta("4D")
    months = [f"AAA|{month:%Y-%m-01}" for month in (early - pd.DateOffset(months=24), early)]
    assert at(early, "market_data", dict(zip(RANGE_TAGS, months, strict=True))).success
    for day in pd.date_range(early, monday)[1:]:
        assert at(day + pd.Timedelta("30min"), "market_data_schedule").success
    assert at(monday + pd.Timedelta("1h"), "drift_schedule").success
    report = project.store.read_record("drift_report", "AAA", week)
    assert report["reason"].startswith("insufficient: 5 of 10 values a window")
    assert at(monday + pd.Timedelta("2h"), "weekly_cycle_schedule").success
    assert list(project.store.read_records("champion", "AAA")) == [week]
    for recipe in ("xgboost", "lightgbm"):
        versions = project.store.read_record(f"{recipe}_model", "AAA", week)["versions"]
        assert [v["as_of"] for v in versions] == [f"{week}T00:00:00+00:00"]
    scored = project.store.read_frame("shadow_scores", "AAA", week)
    expected = expected_open_times(
        "XNYS", "1d", *(pd.Timestamp(t, tz="UTC") for t in (monday - pd.Timedelta("7D"), monday))
    )
    assert list(scored.index.unique()) == list(expected)


def test_the_next_tick_completes_a_month_whose_last_run_failed(live):
    project, at = live
    assert at("2018-05-30 00:30", "market_data_schedule").success
    assert project.store.attributes("candles", "AAA", "2018-05-01")["covered_until"] == "2018-05-30T00:30:00+00:00"
    assert at("2018-06-02 00:30", "market_data_schedule").success  # the ticks of 31 May and 1 June never came
    assert project.store.attributes("candles", "AAA", "2018-05-01")["covered_until"] == "2018-06-01T00:00:00+00:00"
    assert str(project.store.read_frame("candles", "AAA", "2018-05-01").index[-1].date()) == "2018-05-31"
    assert len(project.store.read_frame("features", "AAA", "2018-06-01")) == 1


@pytest.mark.parametrize(
    "name", ["weekly_cycle_schedule", "market_data_schedule", "drift_schedule", "signals_schedule"]
)
def test_after_the_end_of_a_recording_a_tick_is_skipped_with_its_reason(name):
    data = tick(build_defs(load_settings()), name, "2024-01-08 02:00")
    assert not data.run_requests
    assert "1999-01-01 to 2018-12-31" in data.skip_message
