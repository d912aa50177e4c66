"""Housekeeping over a real store, MLflow, ledger and Dagster: what is old goes, and no week comes out otherwise."""

import os
import shutil
from dataclasses import replace
from pathlib import Path

import dagster as dg
import pandas as pd
import pytest

from quantum_training.assets import housekeeping
from quantum_training.assets.housekeeping import ASSET, CleanupTargets, run_config, tidy
from quantum_training.lifecycle.cleanup.retention import needed_versions
from quantum_training.lifecycle.evaluation import leakage
from quantum_training.lifecycle.training.versions import entries_of
from quantum_training.models.contract import TrainingContext, algorithm
from quantum_training.resources.cleanup.removal_count import RemovalCount
from quantum_training.resources.events.bus import EventBus
from quantum_training.resources.registry import removal as registry_removal
from quantum_training.resources.registry.removal import registered
from quantum_training.resources.store.store import StoreError
from quantum_training.selection.retention import Registered, removable

WEEKS = [f"{week:%Y-%m-%d}" for week in pd.date_range("2020-01-06", periods=7, freq="7D")]
LATER = pd.Timedelta(days=31)


@pytest.fixture
def unexamined(monkeypatch):
    """Without the leak sentinels, which train each recipe several times more."""
    monkeypatch.setattr(leakage, "measure_skill", lambda recipe, code: {"insufficient": "not asked for"})


def places(world):
    bus = EventBus(database_url=world.settings.database_url)
    return CleanupTargets(world.settings, world.store, world.registry, world.ledger, bus, world.instance)


def cycle(world, first, last=None, **options):
    assert world.run("weekly_cycle", f"AAA|{first}", f"AAA|{last}" if last else None, **options).success
    return world


def tidied(world, dry_run=False, later=LATER):
    found = tidy(places(world), pd.Timestamp.now("UTC") + later, dry_run)
    assert found.failed == {}
    return found


def files(world):
    """What is under a project's home, by folder of its first two levels."""
    return {str(f.relative_to(world.home)) for f in (world.home / "artifacts").rglob("*") if f.is_file()}


def kept_of_store(world):
    """The store without HTML, which housekeeping removes."""
    return {file: data for file, data in world.stored().items() if not file.endswith(".html")}


def ids(versions):
    return {version.model_id for version in versions}


def traders(world):
    """The model_id behind each alias."""
    numbers = {v.number: v.model_id for v in registered(world.registry, "AAA")}
    return {alias: numbers[number] for alias, number in world.registry.aliases("AAA").items()}


@pytest.mark.soak
def test_later_weeks_and_old_ones_again_come_out_as_if_nothing_had_been_removed(project, small, unexamined):
    small["promotion"]["campaign_weeks"] = 1  # else the campaign keeps all of these weeks
    tidy_one, hoarder = project(small).market_data(), project(small)
    shutil.copytree(tidy_one.store.root, hoarder.store.root)
    for world in (tidy_one, hoarder):
        cycle(world, WEEKS[0], WEEKS[-2])
    known = registered(tidy_one.registry, "AAA")
    champion = [row.payload["model_id"] for row in tidy_one.ledger.rows("AAA")]
    stored, on_disk = tidy_one.stored(), files(tidy_one)

    told = tidied(tidy_one, dry_run=True)
    assert (tidy_one.stored(), files(tidy_one), registered(tidy_one.registry, "AAA")) == (stored, on_disk, known)
    done = tidied(tidy_one)
    assert done == told, "the dry run told something else"
    left = registered(tidy_one.registry, "AAA")
    gone = {v.model_id for v in known} - {v.model_id for v in left}
    assert len(gone) == done.removed["versions"].number > 0
    assert done.removed["versions"].size > 10_000
    assert not gone & {*champion, *traders(tidy_one).values()}
    assert len(files(tidy_one)) < len(on_disk)
    assert sum(done.kept.values()) == len(left)
    assert kept_of_store(tidy_one) == {f: d for f, d in stored.items() if not f.endswith(".html")}
    for version in left:
        tidy_one.registry.load("AAA", version.model_id)
    assert not any(one.number for one in tidied(tidy_one).removed.values()), "there was more to remove"

    def same():
        assert kept_of_store(tidy_one) == kept_of_store(hoarder)
        assert tidy_one.ledger.head("AAA") == hoarder.ledger.head("AAA")
        assert traders(tidy_one) == traders(hoarder)

    for world in (tidy_one, hoarder):
        cycle(world, WEEKS[-1])
    same()
    evidence = [dg.AssetKey(asset) for asset in ("shadow_scores", "backtest", "champion", "decay_report", "rollout")]
    cycle(tidy_one, WEEKS[0], WEEKS[2], asset_selection=evidence)
    cycle(hoarder, WEEKS[0], WEEKS[2], asset_selection=evidence)
    same()
    cycle(tidy_one, WEEKS[0], WEEKS[2])
    same()
    again = {v.model_id for v in registered(tidy_one.registry, "AAA")}
    old = {e["model_id"] for r in ("xgboost", "lightgbm") for e in entries_of(tidy_one.store, "AAA", r, WEEKS[2])}
    assert gone & old
    assert gone & old <= again, "what was trained again is what was removed"
    tidy_one.ledger.verify("AAA")

    tidied(tidy_one)
    before = kept_of_store(tidy_one)
    month = tidy_one.store.read_frame("features", "AAA", "2020-01-01")
    covered = {"covered_until": tidy_one.store.attributes("features", "AAA", "2020-01-01")["covered_until"]}
    tidy_one.store.write_frame("features", "AAA", "2020-01-01", month * 1.01, covered)
    result = tidy_one.run("weekly_cycle", f"AAA|{WEEKS[2]}", asset_selection=evidence[:1])
    assert not result.success, "versions that are gone decided on revised features"
    said = str([e.step_failure_data.error for e in result.all_events if e.is_step_failure])
    assert "its scores stand until the partitions of their models have run again" in said
    scores = f"shadow_scores/AAA/{WEEKS[2]}.parquet"
    assert kept_of_store(tidy_one)[scores] == before[scores]


@pytest.fixture
def trained(project, small, make_window, make_features):
    """Four versions of one model, as four weeks would register them, the newest with an alias."""
    world = project(small)
    model = algorithm("xgboost").fit(TrainingContext(make_window(), {"max_rounds": 2}, seed=7))
    for week in WEEKS[:4]:
        tags = {"model_id": f"version-{week}", "recipe": "xgboost", "as_of": f"{week}T00:00:00+00:00"}
        started = pd.Timestamp.now("UTC")
        world.registry.register(
            "AAA", model, "xgboost", make_features(20), tags=tags, params={}, metrics={"loss": 0.5}, started=started
        )
    world.registry.set_aliases("AAA", {"shadow-xgboost": f"version-{WEEKS[3]}"})
    return world, registered(world.registry, "AAA")


def test_a_kill_between_any_two_removals_leaves_what_the_next_time_removes(trained, monkeypatch):
    world, found = trained
    registry, going, later = world.registry, found[:3], pd.Timestamp.now("UTC") + LATER
    client = registry.client()
    steps = [
        (type(client), "delete_model_version_tag"),
        (type(client), "delete_model_version"),
        (registry_removal._Artefacts, "remove"),
        (registry_removal, "_drop"),
    ]
    for place, name in steps:
        whole, calls = getattr(place, name), []

        def killed(*args, whole=whole, calls=calls, **options):
            if calls:
                raise KeyboardInterrupt
            calls.append(args)
            return whole(*args, **options)

        left = [v for v in going if v in registered(registry, "AAA")]
        with monkeypatch.context() as patch:
            patch.setattr(place, name, killed)
            with pytest.raises(KeyboardInterrupt):
                registry_removal.remove(registry, "AAA", left, later, dry_run=False)
        for version in registered(registry, "AAA"):  # whatever is still registered is whole
            registry.load("AAA", version.model_id)
    left = [v for v in going if v in registered(registry, "AAA")]
    registry_removal.remove(registry, "AAA", left, later, dry_run=False)
    (only,) = registered(registry, "AAA")
    assert only == found[3]
    experiment = client.get_experiment_by_name("AAA").experiment_id
    assert [run.info.run_id for run in client.search_runs([experiment], run_view_type=3)] == [only.run_id]
    assert [model.source_run_id for model in client.search_logged_models([experiment])] == [only.run_id]
    folders = world.home / "artifacts" / "AAA"
    assert [f.name for f in folders.iterdir() if f.name != "models"] in ([only.run_id], [])
    assert len([*(folders / "models").iterdir()]) == 1


def test_an_alias_that_moved_meanwhile_and_runs_of_people_are_left_alone(trained):
    world, found = trained
    registry, client = world.registry, world.registry.client()
    experiment = client.get_experiment_by_name("AAA").experiment_id
    by_hand = client.create_run(experiment, start_time=0).info.run_id
    killed = client.create_run(experiment, start_time=0, tags={"model_id": "never registered"}).info.run_id
    of_person = client.create_run(experiment, start_time=0)
    client.create_model_version("AAA", f"{of_person.info.artifact_uri}/model", of_person.info.run_id)
    registry.set_aliases("AAA", {"kept": found[0].model_id})
    later = pd.Timestamp.now("UTC") + LATER
    for dry_run in (True, False):
        removed = registry_removal.remove(registry, "AAA", found[:2], later, dry_run)
        assert removed["versions"].number == (2 if dry_run else 1)
        assert removed["unregistered_runs"].number == 1
    held = registered(registry, "AAA")
    assert ids(held) == ids(found) - {found[1].model_id} | {""}
    assert [(v.recipe, v.run_id) for v in removable(held, {}, later)] == [("xgboost", v.run_id) for v in held[:-1]]
    runs = {run.info.run_id for run in client.search_runs([experiment], run_view_type=3)}
    assert {by_hand, of_person.info.run_id} <= runs
    assert killed not in runs
    registry.load("AAA", found[0].model_id)


def test_old_reports_leave_the_runs_of_versions_that_stay(trained):
    world, found = trained
    registry, later = world.registry, pd.Timestamp.now("UTC") + LATER
    for week in ("2020-01-06", "2020-01-13", f"{later:%Y-%m-%d}"):
        registry.log_report("AAA", found[0].model_id, f"backtest/{week}.html", "<p>")
    registry.log_report("AAA", found[3].model_id, "backtest/2020-01-27.html", "<p>")
    assert registry_removal.remove(registry, "AAA", [], later, dry_run=True)["reports_in_mlflow"] == RemovalCount(2, 6)
    assert registry_removal.remove(registry, "AAA", [], later, dry_run=False)["reports_in_mlflow"] == RemovalCount(2, 6)
    client = registry.client()
    left = [f.path for v in (found[0], found[3]) for f in client.list_artifacts(v.run_id, "backtest")]
    assert left == [f"backtest/{later:%Y-%m-%d}.html", "backtest/2020-01-27.html"], (
        "the newest version keeps its report"
    )


def test_the_campaign_the_window_of_an_ensemble_and_undecided_weeks_keep_their_versions(project, small):
    small["recipes"]["vote"] = {**small["recipes"]["xgboost"], "algorithm": "ensemble_vote", "window_bars": 150}
    small["recipes"]["vote"] |= {"members": ["xgboost"], "params": {}}
    small["symbols"]["AAA"]["recipes"] = ["xgboost", "lightgbm", "vote"]
    world = project(small)
    mondays = [f"{day:%Y-%m-%d}" for day in pd.date_range("2020-01-06", periods=40, freq="7D")]
    for recipe in ("xgboost", "lightgbm", "vote"):
        for week in mondays:
            version = {"as_of": f"{week}T00:00:00+00:00", "model_id": f"{recipe} {week}"}
            world.store.write_record(f"{recipe}_model", "AAA", week, {"versions": [version]})

    def oldest():
        kept = needed_versions(world.store, world.ledger, world.settings, "AAA", {}, [])
        return {r: min(m.split()[1] for m in kept if m.startswith(r)) for r in ("xgboost", "lightgbm", "vote")}

    assert oldest() == dict.fromkeys(("xgboost", "lightgbm", "vote"), mondays[0]), "nothing is decided yet"

    def decided(week, campaign):
        frame = pd.DataFrame({"strategy": ["xgboost"], "net_return": [0.0]})
        world.store.write_frame("shadow_scores", "AAA", week, frame)
        record = {"champion": None, "model_id": None, "former": None, "campaign": campaign}
        world.store.write_record("champion", "AAA", week, record)
        look = {"week": week, "verdict": "CONTINUE", "champion": None, "model_id": None}
        world.ledger.append([entry(week, look)])

    decided(mondays[30], None)
    # from week 29 on 154 bars of 4h, which is 26 days, reach into June; its first week is decided by the version of
    # mondays[20], and one is spare
    assert oldest() == {"xgboost": mondays[19], "lightgbm": mondays[28], "vote": mondays[28]}
    decided(mondays[31], {"opened": mondays[20], "challengers": ["lightgbm"]})
    assert oldest()["lightgbm"] == mondays[18]
    assert oldest()["vote"] == mondays[29]


def entry(week, payload):
    from quantum_training.selection.ledger import Entry

    effective = pd.Timestamp(week, tz="UTC")
    return Entry(
        symbol="AAA", key=f"week/{week}", kind="look", effective=effective, actor="rule", reason="", payload=payload
    )


def test_reports_states_and_temporary_files_go_by_their_age(project, small):
    world = project(small)
    now = pd.Timestamp.now("UTC")
    month_ago = (now - LATER).timestamp()

    def written(path, text="x" * 100, old=True):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        if old:
            os.utime(path, (month_ago, month_ago))
        return path

    root, states = Path(world.store.root), Path(world.settings.training_state_root)
    for asset, suffix in (("backtest", "html"), ("drift_report", "html"), ("drift_report", "evidently.html")):
        for n, week in enumerate(WEEKS[:4]):
            written(root / asset / "AAA" / f"{week}.{suffix}", old=n != 1)
            written(root / asset / "AAA" / f"{week}.json")
    written(root / "candles" / "AAA" / ".2020-01-01.parquet.abc.tmp")
    written(root / "candles" / "AAA" / ".2020-02-01.parquet.abc.tmp", old=False)
    written(root / "candles" / "AAA" / "2019-01-01.parquet")
    reports = world.registry.artifacts_folder() / "AAA" / "0f" / "artifacts" / "backtest"
    written(reports / ".artifact.uploading.a1b2")
    written(reports / ".artifact.uploading.c3d4", old=False)
    written(reports / "2020-01-06.html")
    old, young = "0" * 16, "f" * 16
    for name in (old, young, "somebody's", f"{old}0"):
        os.utime(written(states / name / "state.safetensors").parent, (month_ago, month_ago))
    resumable = states / young
    written(resumable / "seed", old=False)

    told = tidy(places(world), now, dry_run=True).removed
    done = tidy(places(world), now, dry_run=False).removed
    assert done == told
    assert done["reports"] == RemovalCount(6, 600), "the newest and the young of each kind stay"
    assert done["temporary_files"] == RemovalCount(2, 200), (
        "a day is long for any writer; MLflow's are hidden in its lists"
    )
    assert {f.name for f in reports.iterdir()} == {".artifact.uploading.c3d4", "2020-01-06.html"}
    assert done["training_states"] == RemovalCount(1, 100)
    assert sorted(f.name for f in states.iterdir()) == [f"{old}0", young, "somebody's"]
    left = {str(f.relative_to(root)) for f in root.rglob("*") if f.is_file()}
    assert {f for f in left if f.startswith("backtest") and f.endswith("html")} == {
        f"backtest/AAA/{week}.html" for week in (WEEKS[1], WEEKS[3])
    }
    assert len([f for f in left if f.endswith(".json")]) == 8
    assert {f for f in left if f.startswith("candles")} == {
        "candles/AAA/.2020-02-01.parquet.abc.tmp",
        "candles/AAA/2019-01-01.parquet",
    }


def test_by_hand_it_only_tells_and_the_schedule_removes(project, small):
    world = project(small)
    stale = Path(world.store.root) / "candles" / ".x.tmp"
    stale.parent.mkdir(parents=True)
    stale.write_text("half")
    os.utime(stale, (0, 0))

    def ran(**options):
        result = world.definitions.resolve_job_def("housekeeping").execute_in_process(
            instance=world.instance, **options
        )
        (told,) = result.asset_materializations_for_node(ASSET)
        return {name: value.value for name, value in told.metadata.items()}

    told = ran()
    assert stale.exists()
    assert (told["dry_run"], told["temporary_files_removed"], told["temporary_files_bytes"]) == (True, 1, 4)
    done = ran(run_config=run_config(dry_run=False))
    assert not stale.exists()
    assert (done["dry_run"], done["bytes_removed"], done["before_store_bytes"], done["after_store_bytes"]) == (
        False,
        4,
        4,
        0,
    )
    schedule = world.definitions.resolve_schedule_def("housekeeping_schedule")
    assert schedule.default_status is dg.DefaultScheduleStatus.STOPPED
    at = pd.Timestamp("2024-01-06 04:00", tz="UTC").to_pydatetime()
    with dg.build_schedule_context(world.instance, at) as context:
        (request,) = schedule.evaluate_tick(context).run_requests
    assert request.run_config == run_config(dry_run=False)


def test_a_place_that_cannot_be_tidied_is_named_and_stops_no_other(project, small):
    world = project(small)
    stale = Path(world.store.root) / ".x.tmp"
    stale.parent.mkdir(parents=True, exist_ok=True)
    stale.write_text("half")
    os.utime(stale, (0, 0))
    world = replace(world, registry=type(world.registry)(tracking_uri="sqlite:////proc/none/mlflow.db"))
    found = tidy(places(world), pd.Timestamp.now("UTC"), dry_run=False)
    assert set(found.failed) == {"versions of AAA", "versions of BBB"}
    assert not stale.exists()
    assert entries_of(world.store, "AAA", "xgboost") == []


def test_a_silent_mlflow_is_asked_for_one_symbol_only(project, small, monkeypatch):
    world, asked = project(small), []

    def silent(registry, symbol):
        asked.append(symbol)
        raise ConnectionError("no answer")

    monkeypatch.setattr(housekeeping, "registered", silent)
    found = tidy(places(world), pd.Timestamp.now("UTC"), dry_run=False)
    assert asked == ["AAA"]
    assert found.failed == {
        "versions of AAA": "ConnectionError: no answer",
        "versions of BBB": "RegistryOutage: not asked for: the versions of AAA met an outage",
    }


def test_sizes_that_cannot_be_told_stop_nothing_and_hide_nothing(project, small, monkeypatch):
    world = project(small)
    stale = Path(world.store.root) / ".x.tmp"
    stale.parent.mkdir(parents=True, exist_ok=True)
    stale.write_text("half")
    os.utime(stale, (0, 0))

    def vanished(*_):
        raise FileNotFoundError("it went while it was looked at")

    monkeypatch.setattr(housekeeping, "sizes", vanished)
    monkeypatch.setattr(housekeeping, "registered", vanished)
    job = world.definitions.resolve_job_def("housekeeping")
    result = job.execute_in_process(instance=world.instance, run_config=run_config(False), raise_on_error=False)
    assert not stale.exists()
    (event,) = [e for e in result.all_events if e.is_step_failure]
    said = event.step_failure_data.user_failure_data.description
    for place in ("sizes before", "sizes after", "versions of AAA", "versions of BBB"):
        assert f"\n{place}: FileNotFoundError: it went" in said


def test_a_store_that_is_not_mounted_is_no_store_that_needs_nothing(project, small):
    world = project(small)
    old = pd.Timestamp("2020-01-06", tz="UTC")
    held = [Registered(f"{name} 1", number, "run", old, name) for number, name in enumerate(("xgboost", "retired"), 1)]

    def kept():
        return needed_versions(world.store, world.ledger, world.settings, "AAA", {}, held)

    with pytest.raises(
        StoreError, match=r"^no records of xgboost_model for AAA in .*: is the store mounted\? nothing of"
    ):
        kept()
    version = {"as_of": "2020-01-06T00:00:00+00:00", "model_id": "xgboost 2"}
    world.store.write_record("xgboost_model", "AAA", "2020-01-06", {"versions": [version]})
    assert kept() == {"xgboost 2": "may_decide", "retired 1": "no_record"}
    world.store.write_record("retired_model", "AAA", "2020-01-06", {"versions": []})
    assert kept() == {"xgboost 2": "may_decide"}, "what the store knows goes by its rule"
