"""The retraining sensors tick by tick over stored records: what starts, what is deferred, and nothing starts twice."""

import json
import sys

import dagster as dg
import pandas as pd
import pytest
import yaml

from quantum_training.automation.retraining import sensors
from quantum_training.definitions import build_defs
from quantum_training.lifecycle.records import write_record
from quantum_training.market.periods import month_of
from quantum_training.resources.events.bus import EventBus
from quantum_training.resources.events.payloads import DriftSignal, MetricsUpdated, RetrainRequest, event
from quantum_training.resources.store.store import Store
from quantum_training.settings import load_settings
from quantum_training_tests.support import records

NOW = pd.Timestamp("2024-01-10 15:30", tz="UTC")
"""The sensors' time in these tests: a Wednesday."""

UNTIL = NOW.floor("h")
TODAY = f"{NOW:%Y-%m-%d}"
MONDAY = (NOW - pd.Timedelta(days=NOW.weekday())).normalize()
LONG_AGO = (NOW - pd.Timedelta(days=30)).isoformat()


SYMBOLS = ("AAA", "BBB", "CCC", "DDD")
SENSORS = ("drift_sensor", "performance_decay_sensor", "market_data_sensor", "event_inbox_sensor")
COLUMN = {
    **dict.fromkeys(("untested", "psi", "usual_psi", "p", "q", "ks", "ks_p", "previous_psi", "previous_q")),
    **{"column": "a", "kind": "feature", "drifted": False, "drifted_before": False, "reference_windows": 30},
    **{"differenced": False, "missing_share": None, "first_bad_bar": None},
}
touched_paths = []


def record_access(event, arguments):
    """Record which files and folders are opened or listed, and every connection to a SQLite file."""
    if event in ("open", "os.listdir", "os.scandir", "sqlite3.connect"):
        touched_paths.append(str(arguments[0]))


sys.addaudithook(record_access)  # Python cannot remove it


class World:
    """Stored records that a test writes itself, for four symbols and two recipes, and the runs that were requested."""

    def __init__(self, home, instance, definitions, settings):
        self.home, self.instance, self.definitions, self.settings = home, instance, definitions, settings
        self.store = Store(root=str(home / "store"))
        self.bus = EventBus(database_url=f"sqlite:///{home}/events.db")
        self.cursors = {}
        self.policy()

    @property
    def file(self):
        return self.home / "settings.yaml"

    def store_versions(self, symbol="AAA", until=UNTIL, as_of=LONG_AGO):
        frame = pd.DataFrame({"a": [1.0]}, pd.DatetimeIndex([until - pd.Timedelta(hours=4)]))
        self.store.write_frame("features", symbol, month_of(NOW), frame, {"covered_until": until.isoformat()})
        for recipe in self.settings["recipes"]:
            version = {"as_of": as_of, "model_id": f"{recipe}@{as_of}"}
            self.store.write_record(f"{recipe}_model", symbol, "2020-01-06", {"versions": [version]})
        return self

    def drift(self, severity, symbol="AAA", day=TODAY, fault=None):
        rows = [COLUMN | {"severity": severity, "fault": fault}]
        write_record(self.store, symbol, day, records.drift(day, severity, reason="two columns", rows=rows))
        return self

    def decay(self, status, symbol="AAA", week=f"{MONDAY:%Y-%m-%d}"):
        write_record(self.store, symbol, week, records.decay(week, status, reason="CUSUM 9 of 8"))
        return self

    def policy(self, **retraining):
        self.file.write_text(yaml.safe_dump({**self.settings, "retraining": retraining}))
        return self

    def tick(self, name, launch=True, keep=True):
        """One tick with the cursor of the last one. The runs that it requests are added to the instance."""
        sensor = self.definitions.resolve_sensor_def(name)
        with dg.build_sensor_context(
            instance=self.instance,
            cursor=self.cursors.get(name),
            repository_def=self.definitions.get_repository_def(),
            resources={"store": self.store, "events": self.bus},
        ) as context:
            data = sensor.evaluate_tick(context)
        if keep and data.cursor is not None:
            self.cursors[name] = data.cursor
        for request in data.run_requests if launch else ():
            self.ran(request.tags, request.job_name)
        return data

    def ran(self, tags, job="weekly_cycle", status=dg.DagsterRunStatus.SUCCESS):
        run = dg.DagsterRun(job_name=job, tags=dict(tags), status=status)
        self.instance.run_storage.add_historical_run(run, NOW.to_pydatetime())

    def receive(self, payload, cause="1", symbol="AAA"):
        message = event(symbol, payload, cause)
        self.bus.inbox.receive([message.model_dump_json()])
        return str(message.event_id)


@pytest.fixture(scope="module")
def settings(small_settings):
    return {**small_settings, "symbols": dict.fromkeys(SYMBOLS, small_settings["symbols"]["AAA"])}


@pytest.fixture(scope="module")
def definitions(settings, tmp_path_factory):
    file = tmp_path_factory.mktemp("settings") / "settings.yaml"
    file.write_text(yaml.safe_dump(settings))
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("QUANTUM_TRAINING_CONFIG", str(file))
        return build_defs(load_settings())


@pytest.fixture(autouse=True)
def fixed_time(monkeypatch):
    """Every tick is at NOW, so that the tests do not depend on the hour or the day at which they run."""
    monkeypatch.setattr(sensors, "utc_now", lambda: NOW)


@pytest.fixture
def project(tmp_path, monkeypatch, definitions, settings):
    monkeypatch.setenv("QUANTUM_TRAINING_CONFIG", str(tmp_path / "settings.yaml"))
    with dg.DagsterInstance.ephemeral() as instance:
        yield World(tmp_path, instance, definitions, settings)


def keys(data):
    return [request.run_key for request in data.run_requests]


def test_severe_drift_trains_every_recipe_of_the_symbol_once(project):
    at = project.store_versions("AAA").store_versions("BBB").drift("SEVERE", "AAA").drift("MINOR", "BBB")
    (request,) = at.tick("drift_sensor").run_requests
    assert request.run_key == f"AAA|{TODAY}|SEVERE"
    assert request.tags["dagster/partition"] == f"AAA|{(UNTIL - pd.Timedelta(days=UNTIL.weekday())):%Y-%m-%d}"
    why = {
        "trigger": "DRIFT_DETECTED",
        "as_of": UNTIL.isoformat(),
        "reason": f"SEVERE drift on {TODAY}: two columns",
    }
    assert why.items() <= request.tags.items()
    assert request.tags["symbol"] == "AAA"
    assert request.tags["dagster/priority"] == "40"
    config = {"config": {**why, "episodes": 0}}
    assert request.run_config == {"ops": {f"{r}_model": config for r in ("xgboost", "lightgbm")}}
    assert [key.to_user_string() for key in request.asset_selection] == ["xgboost_model", "lightgbm_model"]
    again = at.tick("drift_sensor")
    assert (again.run_requests, again.skip_message) == ([], "nothing new")
    at.cursors.clear()
    assert keys(at.tick("drift_sensor")) == [], "without its cursor it knows by the run that was started"


def test_a_lost_tick_is_requested_again_with_the_same_key(project):
    at = project.store_versions().drift("SEVERE")
    lost = at.tick("drift_sensor", launch=False, keep=False)
    assert keys(lost) == keys(at.tick("drift_sensor")) == [f"AAA|{TODAY}|SEVERE"]


def test_drift_that_a_version_was_trained_on_starts_nothing(project):
    at = project.store_versions(as_of=f"{TODAY}T00:00:00+00:00").drift("SEVERE")
    assert keys(at.tick("drift_sensor")) == []
    assert json.loads(at.cursors["drift_sensor"]) == {"AAA": f"AAA|{TODAY}|SEVERE"}


@pytest.mark.parametrize(("days", "starts"), [(3, False), (5, True)])
def test_moderate_drift_trains_only_after_some_days(project, days, starts):
    as_of = (pd.Timestamp(TODAY, tz="UTC") - pd.Timedelta(days=days)).isoformat()
    at = project.policy(moderate_after_days=4).store_versions(as_of=as_of).drift("MODERATE")
    assert bool(keys(at.tick("drift_sensor"))) == starts


@pytest.mark.parametrize(
    ("severity", "fault", "starts"),
    [("NONE", None, False), ("MINOR", None, False), ("CRITICAL", None, True), ("CRITICAL", "constant", False)],
)
def test_minor_drift_and_data_faults_start_nothing(project, severity, fault, starts):
    at = project.store_versions().drift(severity, fault=fault)
    assert bool(keys(at.tick("drift_sensor"))) == starts


def test_the_cool_down_follows_a_training_unless_it_failed(project):
    yesterday = f"{NOW - pd.Timedelta(days=1):%Y-%m-%d}"
    later = f"{NOW + pd.Timedelta(days=2):%Y-%m-%d}"
    at = project.store_versions().drift("SEVERE", day=yesterday)
    assert keys(at.tick("drift_sensor")) == [f"AAA|{yesterday}|SEVERE"]
    waits = at.drift("SEVERE", day=later).tick("drift_sensor")
    assert waits.run_requests == []
    assert "cool-down 3 days" in waits.skip_message
    assert keys(at.policy(cool_down_hours=0).tick("drift_sensor")) == [f"AAA|{later}|SEVERE"]
    for run in at.instance.get_runs():
        at.instance.report_run_failed(run)
    at.policy(cool_down_hours=72)
    at.cursors.clear()
    assert keys(at.tick("drift_sensor")) == [f"AAA|{later}|SEVERE"]


def test_the_daily_budget_goes_to_the_most_severe_drift(project):
    at = project.policy(daily_budget=2)
    for symbol, severity in zip(SYMBOLS, ("SEVERE", "SEVERE", "CRITICAL", "CRITICAL"), strict=True):
        at.store_versions(symbol).drift(severity, symbol)
    assert [request.tags["symbol"] for request in at.tick("drift_sensor").run_requests] == ["CCC", "DDD"]
    rest = at.tick("drift_sensor")
    assert rest.run_requests == []
    assert "AAA" in rest.skip_message
    assert "the budget of 2 trainings a day is spent" in rest.skip_message
    assert len(keys(at.policy(daily_budget=4).tick("drift_sensor"))) == 2


def test_a_decayed_champion_trains_the_recipes_after_the_weekly_refresh(project):
    at = project.store_versions(as_of=MONDAY.isoformat(), until=max(UNTIL, MONDAY + pd.Timedelta(hours=1))).decay(
        "NONE"
    )
    assert keys(at.tick("performance_decay_sensor")) == []
    assert keys(at.policy(decay=False).decay("DECAYED").tick("performance_decay_sensor")) == []
    (request,) = at.policy().tick("performance_decay_sensor").run_requests
    assert request.tags["trigger"] == "PERFORMANCE_DECAY"
    assert "xgboost decayed in the week of" in request.tags["reason"]
    assert keys(at.tick("performance_decay_sensor")) == []


@pytest.mark.parametrize(
    ("training", "bars", "starts"),
    [
        ({"every_bars": 6}, 5, False),
        ({"every_bars": 6}, 6, True),
        ({"interval_minutes": 480}, 1, False),
        ({"interval_minutes": 480}, 2, True),
        ({"every_bars": 6, "enabled": False}, 6, False),
        ({}, 100, False),
    ],
)
def test_new_bars_train_the_recipes_with_an_interval(project, training, bars, starts):
    until = NOW.floor("4h")
    as_of = (until - bars * pd.Timedelta(hours=4)).isoformat()
    at = project.policy(recipes={"lightgbm": training}).store_versions(until=until, as_of=as_of)
    data = at.tick("market_data_sensor")
    assert bool(keys(data)) == starts
    for request in data.run_requests:
        assert [*request.run_config["ops"]] == ["lightgbm_model"]
        assert request.tags["trigger"] == "SCHEDULED"
        assert request.tags["reason"] == f"{bars} new bars for lightgbm"
        assert keys(at.tick("market_data_sensor")) == []


def test_without_new_bars_a_training_is_deferred_with_advice(project):
    at = project.drift("SEVERE")
    assert "run the job market_data" in at.tick("drift_sensor").skip_message
    early = pd.Timestamp("2019-09-02", tz="UTC")
    at.store_versions(until=early, as_of=early.isoformat())
    assert "no bar is stored after 2019-09-02" in at.tick("drift_sensor").skip_message
    assert keys(at.store_versions().tick("drift_sensor")) == [f"AAA|{TODAY}|SEVERE"]


def test_a_week_outside_the_settings_waits_and_stops_nobody_else(project):
    at = project.store_versions("BBB").drift("SEVERE", "AAA").drift("SEVERE", "BBB")
    at.store_versions("AAA", until=pd.Timestamp("2019-01-05", tz="UTC"), as_of="2018-12-01T00:00:00+00:00")
    data = at.tick("drift_sensor")
    assert keys(data) == [f"BBB|{TODAY}|SEVERE"]


def test_the_policy_is_read_at_every_tick_and_a_broken_file_keeps_the_last_good_one(project):
    at = project.policy(enabled=False).store_versions().drift("SEVERE")
    assert at.tick("drift_sensor").skip_message == "retraining.enabled is false"
    file = at.file
    good = file.read_text()
    file.write_text(good.replace("enabled: false", "enabled: perhaps"))
    broken = at.tick("drift_sensor")
    assert broken.run_requests == []
    assert "the last good retraining policy stays in force, because" in broken.skip_message
    assert "retraining.enabled = 'perhaps'" in broken.skip_message
    file.unlink()
    assert "no such settings file" in at.tick("drift_sensor").skip_message
    file.write_text(good.replace("enabled: false", "enabled: true"))
    assert keys(at.tick("drift_sensor")) == [f"AAA|{TODAY}|SEVERE"]
    settings = yaml.safe_load(file.read_text())
    settings["symbols"]["NEW"] = settings["symbols"]["AAA"]
    file.write_text(yaml.safe_dump(settings))
    assert "restart the code server" in at.tick("drift_sensor").skip_message


def test_a_manual_request_runs_once_and_is_acknowledged_after_its_launch(project):
    at = project.store_versions()
    retrain_request = RetrainRequest(recipes=("xgboost",), requested_by="ann", reason="new fees", requested_at=NOW)
    id_ = at.receive(retrain_request)
    assert at.policy(enabled=False).tick("event_inbox_sensor").skip_message == "retraining.enabled is false"
    lost = at.policy().tick("event_inbox_sensor", launch=False, keep=False)
    (request,) = at.tick("event_inbox_sensor").run_requests
    assert [request.run_key] == keys(lost) == [id_]
    assert request.job_name == "retrain"
    assert request.run_config["ops"]["retrain_recipes"]["config"] == {
        "symbol": "AAA",
        "actor": "ann",
        "reason": "new fees",
        "recipes": ["xgboost"],
    }
    assert {"trigger": "MANUAL", "reason": "ann: new fees", "symbol": "AAA"}.items() <= request.tags.items()
    assert len(at.bus.inbox.read("event_inbox_sensor")) == 1, "acknowledged only when the launch is on record"
    assert keys(at.tick("event_inbox_sensor")) == []
    assert at.bus.inbox.read("event_inbox_sensor") == []
    at.receive(retrain_request)
    assert keys(at.tick("event_inbox_sensor")) == [], "the same event again"


def test_a_long_reason_is_whole_in_the_run_config_and_cut_in_the_runs_tags(project):
    at, reason = project.store_versions(), "new fees " * 1_000
    at.receive(RetrainRequest(recipes=("xgboost",), requested_by="ann", reason=reason, requested_at=NOW))
    at.receive(DriftSignal(severity="SEVERE", reason=reason, observed_at=NOW))
    requests = at.tick("event_inbox_sensor").run_requests
    assert [request.job_name for request in requests] == ["retrain", "weekly_cycle"]
    for request in requests:
        assert len(request.tags["reason"].encode()) <= 2_000
        assert all(reason in op["config"]["reason"] for op in request.run_config["ops"].values())


def test_an_event_with_unknown_names_is_a_dead_letter_and_the_others_run(project):
    at = project.store_versions()
    retrain_request = RetrainRequest(requested_by="ann", reason="new fees", requested_at=NOW)
    at.receive(retrain_request, symbol="ZZZ")
    at.receive(retrain_request.model_copy(update={"recipes": ("ridge",)}), "2")
    at.receive(MetricsUpdated(model_type="ridge", metrics={}, measured_at=NOW))
    good = at.receive(retrain_request, "3")
    assert keys(at.tick("event_inbox_sensor")) == [good]
    assert [letter.reason.partition(";")[0] for letter in at.bus.inbox.dead_letters()] == [
        "symbol: unknown symbol ZZZ",
        "recipes: AAA: unknown recipes ridge",
        "model_type: AAA: unknown recipes ridge",
    ]


def test_a_severe_drift_signal_trains_and_the_next_one_waits_for_the_cool_down(project):
    at = project.store_versions()
    signal = DriftSignal(severity="MODERATE", reason="spreads", observed_at=NOW)
    at.receive(signal, "1")
    assert keys(at.tick("event_inbox_sensor")) == []
    at.tick("event_inbox_sensor")
    assert at.bus.inbox.read("event_inbox_sensor") == []
    severe = at.receive(signal.model_copy(update={"severity": "SEVERE"}), "2")
    (request,) = at.tick("event_inbox_sensor").run_requests
    assert (request.run_key, request.tags["trigger"]) == (severe, "DRIFT_DETECTED")
    met = at.receive(signal.model_copy(update={"severity": "CRITICAL"}), "3")
    at.tick("event_inbox_sensor")
    assert json.loads(at.cursors["event_inbox_sensor"]) == [met], "the training came after it was seen"
    later = signal.model_copy(update={"severity": "SEVERE", "observed_at": NOW + pd.Timedelta(days=2)})
    at.receive(later, "4")
    waits = at.tick("event_inbox_sensor")
    assert waits.run_requests == []
    assert "cool-down" in waits.skip_message
    assert len(at.bus.inbox.read("event_inbox_sensor")) == 1


def test_metrics_test_the_decay_at_most_once_an_hour(project):
    at = project.store_versions()
    metrics = MetricsUpdated(model_type="xgboost", metrics={"sharpe": 0.1}, measured_at=NOW)
    at.receive(metrics, "1")
    assert keys(at.tick("event_inbox_sensor")) == [], "no champion was ever judged"
    at.decay("NONE")
    ids = [at.receive(metrics, str(n)) for n in (2, 3)]
    (request,) = at.tick("event_inbox_sensor").run_requests
    assert (request.run_key, request.job_name) == (ids[-1], "decay")
    assert request.tags["dagster/partition"] == f"AAA|{MONDAY:%Y-%m-%d}"
    at.receive(metrics, "4")
    waits = at.tick("event_inbox_sensor")
    assert waits.run_requests == []
    assert "was tested within" in waits.skip_message


def test_retraining_sensors_are_off_by_default(project):
    statuses = {sensor.name: sensor.default_status for sensor in project.definitions.get_repository_def().sensor_defs}
    on = {"run_failure_sensor", "check_failure_sensor", "weekly_cycle_sensor"}
    assert {name for name, status in statuses.items() if status == dg.DefaultSensorStatus.STOPPED} == {*SENSORS}
    assert statuses.keys() - {*SENSORS} == on


def test_a_run_with_odd_tags_stops_no_sensor(project):
    project.store_versions().drift("SEVERE")
    project.ran({"trigger": "DRIFT_DETECTED", "dagster/partition": "zzz"})
    assert len(project.tick("drift_sensor").run_requests) == 1


@pytest.mark.parametrize("name", SENSORS)
def test_a_tick_reads_a_few_files_per_symbol_whatever_the_history(name, definitions, settings, tmp_path, monkeypatch):
    def count(symbols, weeks):
        """Files of the store and databases that a tick touches which trains all these symbols."""
        home = tmp_path / f"{symbols}-{weeks}"
        home.mkdir()
        monkeypatch.setenv("QUANTUM_TRAINING_CONFIG", str(home / "settings.yaml"))
        with dg.DagsterInstance.ephemeral() as instance:
            at = World(home, instance, definitions, settings)
            at.policy(daily_budget=100, recipes={"xgboost": {"every_bars": 1}})
            for symbol in SYMBOLS[:symbols]:
                at.store_versions(symbol).drift("SEVERE", symbol).decay("DECAYED", symbol)
                at.receive(DriftSignal(severity="SEVERE", reason="seen outside", observed_at=NOW), symbol, symbol)
                for ago in range(1, weeks):
                    at.drift("NONE", symbol, f"{NOW - pd.Timedelta(days=7 * ago):%Y-%m-%d}")
                    week = f"{MONDAY - pd.Timedelta(days=7 * ago):%Y-%m-%d}"
                    at.decay("NONE", symbol, week)
                    for recipe in settings["recipes"]:
                        versions = [{"as_of": LONG_AGO, "model_id": f"{recipe}@{week}"}]
                        at.store.write_record(f"{recipe}_model", symbol, week, {"versions": versions})
            touched_paths.clear()
            assert len(at.tick(name, launch=False).run_requests) == symbols
            return sum(str(home) in path for path in touched_paths)

    short = {symbols: count(symbols, 2) for symbols in (1, 2, 4)}
    assert short[4] == count(4, 40), "a longer history is no more work"
    each = short[2] - short[1]
    assert short[4] - short[2] == 2 * each, "twice the symbols are twice the work, no more"
    assert 0 < each <= 12
