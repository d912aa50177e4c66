"""Asset `drift_report` as Dagster runs it: what is compared and why, what a person sees, what is never an exception."""

import json
import shutil
from pathlib import Path

import dagster as dg
import numpy as np
import pandas as pd
import pytest

from quantum_training.assets import drift
from quantum_training.checks.drift import of_column, watched
from quantum_training.features.indicators import FEATURES
from quantum_training.lifecycle.records import write_record
from quantum_training.market.periods import Key
from quantum_training.resources.events.bus import EventBus
from quantum_training_tests.support import records

DAY = "2020-02-20"
END = pd.Timestamp(DAY, tz="UTC")
WEEK = pd.Timedelta(days=7)


@pytest.fixture
def market(small):
    """Settings of one market of 4h bars that reaches back far enough for a reference."""
    market = small["symbols"]["AAA"] | {
        "source": {"kind": "synthetic", "seed": 3, "start": "2019-03-01", "end": "2020-03-01"}
    }
    return small | {"start": "2019-03-01", "symbols": {"AAA": market}, "drift": {"reference_weeks": 30, "html": False}}


@pytest.fixture(scope="module")
def market_data(tmp_path_factory):
    """A folder for the store's months of the market: computed by the first test, copied by the others."""
    return tmp_path_factory.mktemp("months") / "store"


@pytest.fixture
def build(project, market, market_data):
    """Build a project over the market whose candles and features are stored."""

    def build():
        world = project(market)
        if market_data.exists():
            shutil.copytree(market_data, world.store.root)
        else:
            shutil.copytree(world.market_data(first="2019-03-01").store.root, market_data)
        return world

    return build


@pytest.fixture
def world(build):
    return build()


def report(world, day=DAY, last=None):
    result = world.run("drift", f"AAA|{day}", f"AAA|{last}" if last else None)
    assert result.success
    return world.store.read_record("drift_report", "AAA", last or day), result


def metadata(result):
    return {e.partition: e.materialization.metadata for e in result.get_asset_materialization_events()}


def checks(result):
    return {check.check_name: check for check in result.get_asset_check_evaluations()}


def first_bad(record, column):
    return next(row["first_bad_bar"] for row in record["rows"] if row["column"] == column)


def change(world, breakage, since=END - 2 * WEEK):
    """Rewrite the stored features from `since` on."""
    for month in world.store.periods("features", "AAA"):
        if month >= f"{since:%Y-%m}-01":
            frame = world.store.read_frame("features", "AAA", month)
            kept = {"covered_until": world.store.attributes("features", "AAA", month)["covered_until"]}
            parts = [frame[frame.index < since], breakage(frame[frame.index >= since].copy())]
            broken = pd.concat([part for part in parts if len(part)])
            world.store.write_frame("features", "AAA", month, broken, kept)


def office(world, **champions):
    """Champion records: `week_2020_01_06="xgboost"`."""
    for name, recipe in champions.items():
        week = name.removeprefix("week_").replace("_", "-")
        write_record(world.store, "AAA", week, records.decision(week, recipe))


def scores(world, first, last, shift_from=None):
    """Shadow scores of xgboost and lightgbm for the weeks from `first` to `last`, moved from a week on."""
    rng = np.random.default_rng(7)
    for week in pd.date_range(first, last, freq="7D", tz="UTC"):
        times = pd.date_range(week - WEEK, week, freq="4h", inclusive="left", name="open_time")
        moved = 0.8 if shift_from and week >= pd.Timestamp(shift_from, tz="UTC") else 0.0
        frames = [
            pd.DataFrame(
                {"strategy": name, "target": rng.normal(moved, 0.3, 42), "gross_return": rng.normal(0, 0.01, 42)}, times
            )
            for name in ("xgboost", "lightgbm")
        ]
        world.store.write_frame("shadow_scores", "AAA", f"{week:%Y-%m-%d}", pd.concat(frames))


def test_an_ordinary_week_is_quiet_and_says_what_was_compared(world):
    record, result = report(world)
    assert (record["severity"], record["outcome"], record["tested"]) == ("NONE", "measured", 24)
    assert record["window"] == {
        "bars": 42,
        "first_bar": "2020-02-13T00:00:00+00:00",
        "last_bar": "2020-02-19T20:00:00+00:00",
        "end": "2020-02-20T00:00:00+00:00",
    }
    reference = record["reference"]
    assert reference["last_bar"] == "2020-02-05T20:00:00+00:00"
    assert reference["bars"] == 30 * 42
    assert "no version yet" in reference["why"]
    assert record["predictions"]["reason"].startswith("left out: no champion")
    shown = metadata(result)[f"AAA|{DAY}"]
    for row in record["rows"]:
        assert row["column"] in shown["columns"].value
        assert shown[f"psi_{row['column']}"].value == pytest.approx(row["psi"], abs=1e-4)
    assert shown["severity"].value == "NONE"
    assert "01-30" in shown["heat_map"].value
    assert "report" not in shown
    found = checks(result)
    assert set(found) == {"no_drift", *FEATURES, "prediction", "residual"}
    assert all(check.passed and not check.blocking for check in found.values())
    assert "not measured: left out: no champion" in found["prediction"].description
    (row,) = [row for row in record["rows"] if row["column"] == "rsi_14"]
    said = found["rsi_14"].metadata
    assert [said[name].value for name in ("psi", "q", "severity_level")] == [row["psi"], row["q"], 0]
    assert found["rsi_14"].description.startswith(f"AAA|{DAY} NONE: no drift, PSI ")


def test_a_range_and_single_days_give_the_same_bytes_and_so_does_running_again(build):
    world, single = build(), build()
    report(world, "2020-02-19", DAY)
    for day in ("2020-02-19", DAY):
        report(single, day)
    assert world.stored() == single.stored()
    stored = world.stored()
    report(world)
    assert world.stored() == stored


def test_bars_from_the_day_on_and_that_days_decision_change_nothing(world):
    monday = "2020-02-17"
    office(world, week_2020_02_10="xgboost")
    before, _ = report(world, monday)
    change(world, lambda f: f + 9, pd.Timestamp(monday, tz="UTC"))
    office(world, week_2020_02_17="lightgbm")
    scores(world, monday, monday)
    assert report(world, monday)[0] == before


def test_drift_of_many_features_is_found_named_and_fails_the_check_without_blocking(world):
    change(world, lambda f: f.assign(**{c: f[c] + 2 * f[c].std() for c in ("return_1", "rsi_14", "body_ratio")}))
    record, result = report(world)
    assert record["severity"] == "MODERATE"
    assert {r["column"] for r in record["rows"][:3]} == {"return_1", "rsi_14", "body_ratio"}
    found = checks(result)
    assert (found["no_drift"].passed, found["no_drift"].severity) == (False, dg.AssetCheckSeverity.WARN)
    assert not found["no_drift"].blocking
    assert "return_1 (PSI" in found["no_drift"].description
    moved = {r["column"] for r in record["rows"] if r["drifted"] and r["drifted_before"]}
    assert "return_1" in moved
    assert {name for name, check in found.items() if not check.passed} == {"no_drift", *moved}
    assert found["return_1"].severity == dg.AssetCheckSeverity.WARN
    assert "MINOR: drift, the week before too, PSI" in found["return_1"].description
    assert found["return_1"].metadata["first_bad_bar"].value == pd.Timestamp(first_bad(record, "return_1")).timestamp()
    report(world)
    (told,) = EventBus(database_url=world.settings.database_url).outbox.queue().read("test", 9)
    said = json.loads(told.text)
    assert (said["type"], said["payload"]["severity"]) == ("data.drift_detected", "MODERATE")
    assert said["payload"]["affected_models"] == ["xgboost", "lightgbm"]
    assert said["payload"]["psi_score"] == max(r["psi"] for r in record["rows"][:3])
    change(world, lambda f: f + 2 * f.std())
    record, result = report(world)
    assert record["severity"] in ("SEVERE", "CRITICAL")
    check = checks(result)["no_drift"]
    assert (check.passed, check.severity) == (False, dg.AssetCheckSeverity.ERROR)


def test_moderate_drift_is_severe_where_the_champion_does_harm(world):
    change(world, lambda f: f.assign(**{c: f[c] + 2 * f[c].std() for c in ("return_1", "rsi_14", "body_ratio")}))
    for z, expected in ((0.9, "MODERATE"), (1.0, "SEVERE")):
        write_record(world.store, "AAA", "2020-02-17", records.decision("2020-02-17", None, harm=records.harm(z)))
        assert report(world)[0]["severity"] == expected


@pytest.mark.parametrize(
    ("fault", "since", "breakage"),
    [
        ("missing_column", "2019-12-01", lambda f: f.drop(columns="rsi_14")),
        ("missing_column", "2020-02-01", lambda f: f.drop(columns="rsi_14")),
        ("not_numeric", "2020-02-01", lambda f: f.assign(rsi_14="?")),
        ("all_missing", "2020-02-13", lambda f: f.assign(rsi_14=np.nan)),
        ("constant", "2020-02-13", lambda f: f.assign(rsi_14=0.1)),
    ],
)
def test_broken_features_are_a_critical_report_not_a_failed_run(world, fault, since, breakage):
    change(world, breakage, pd.Timestamp(since, tz="UTC"))
    record, result = report(world)
    assert record["severity"] == "CRITICAL"
    found = record["rows"][0]
    assert (found["column"], found["fault"]) == ("rsi_14", fault)
    results = checks(result)
    assert results["no_drift"].severity == dg.AssetCheckSeverity.ERROR
    assert f"rsi_14 ({fault})" in results["no_drift"].description
    assert {name for name, check in results.items() if not check.passed} == {"no_drift", "rsi_14"}
    assert results["rsi_14"].severity == dg.AssetCheckSeverity.ERROR
    assert results["rsi_14"].metadata["fault"].value == fault


def test_one_week_of_drift_passes_its_check_and_says_so(world):
    change(world, lambda f: f.assign(return_1=f["return_1"] + 4 * f["return_1"].std()), END - WEEK)
    record, result = report(world)
    assert record["severity"] == "MINOR"
    check = checks(result)["return_1"]
    assert check.passed
    assert "MINOR: drift, PSI" in check.description


def test_one_check_can_be_run_alone_and_wants_its_report(world):
    report(world)
    job = world.definitions.resolve_job_def("drift")
    alone = {dg.AssetCheckKey(dg.AssetKey("drift_report"), "rsi_14")}

    def run(day):
        tags = {"dagster/partition": f"AAA|{day}"}
        return job.get_subset(asset_selection=set(), asset_check_selection=alone).execute_in_process(
            instance=world.instance, tags=tags, raise_on_error=False
        )

    assert list(checks(run(DAY))) == ["rsi_14"]
    (failed,) = [e for e in run("2020-02-21").all_events if e.is_step_failure]
    assert "AAA|2020-02-21: nothing is stored; materialise drift_report" in str(failed.step_failure_data.error)


def test_of_several_symbols_the_worst_is_told():
    row = dict.fromkeys(("fault", "untested", "usual_psi", "q", "previous_q", "first_bad_bar"))
    row |= {"column": "rsi_14", "severity": "MINOR", "psi": 0.3, "drifted": True, "drifted_before": True}
    is_permanent = {"rule": "calibrated", "rows": [row], "predictions": {"reason": "left out"}}
    first = {**is_permanent, "rows": [{**row, "psi": 0.9, "drifted_before": False}]}
    absent = {**is_permanent, "rows": []}
    keys = [Key(symbol, END) for symbol in "ABC"]
    worst = of_column("rsi_14", dict(zip(keys, (first, absent, is_permanent), strict=True)))
    assert (worst.passed, worst.metadata["psi"].value) == (False, 0.3)
    assert worst.description.startswith(f"C|{DAY} MINOR")
    assert of_column("rsi_14", {keys[0]: {**is_permanent, "rule": "fixed"}}).passed
    assert of_column("rsi_14", {keys[0]: absent}).description == f"A|{DAY} not measured: no such column"


def test_only_what_recipes_use_is_watched(project, small):
    recipes = {n: {**r, "features": ["rsi_14"]} for n, r in small["recipes"].items()}
    settings = project(small | {"recipes": recipes}).settings
    assert watched(settings) == ["rsi_14", "prediction", "residual"]


def test_the_reference_ends_where_the_champion_took_office(world):
    office(
        world, week_2019_12_02=None, week_2019_12_09="lightgbm", week_2019_12_23="xgboost", week_2020_01_06="xgboost"
    )
    record, _ = report(world)
    assert record["reference"]["end"] == "2019-12-23T00:00:00+00:00"
    assert record["reference"]["last_bar"] == "2019-12-22T20:00:00+00:00"
    assert "the champion xgboost took office on 2019-12-23" in record["reference"]["why"]
    assert "shadow_scores of 2020-02-17 are not stored" in record["predictions"]["reason"]
    office(world, week_2020_02_10="lightgbm")
    record, _ = report(world)
    assert record["reference"]["end"] == "2020-02-06T00:00:00+00:00"
    assert "two windows that are tested left out" in record["reference"]["why"]


def test_without_a_champion_the_newest_version_known_before_the_window_ends_the_reference(world):
    versions = [{"as_of": f"{day}T00:00:00+00:00", "model_id": day} for day in ("2020-01-27", "2020-02-17")]
    world.store.write_record("xgboost_model", "AAA", "2020-01-27", {"versions": versions[:1]})
    world.store.write_record("xgboost_model", "AAA", "2020-02-17", {"versions": versions[1:]})
    record, _ = report(world)
    assert record["reference"]["end"] == "2020-01-27T00:00:00+00:00"
    assert "no champion; the newest version is as of 2020-01-27" in record["reference"]["why"]


@pytest.mark.parametrize(("moved", "drifted"), [(None, False), ("2020-02-10", True)])
def test_the_champions_predictions_and_residuals_are_watched(world, moved, drifted):
    office(world, week_2020_01_20="xgboost")
    scores(world, "2019-06-03", "2020-02-17", moved)
    record, _ = report(world)
    rows = {row["kind"]: row for row in record["rows"] if row["kind"] != "feature"}
    assert set(rows) == {"prediction", "residual"}
    assert rows["prediction"]["drifted"] is drifted
    assert rows["residual"]["drifted"] is False
    assert record["predictions"]["end"] == "2020-02-17T00:00:00+00:00"
    assert record["predictions"]["reference"]["bars"] == 30 * 42


def test_too_little_history_is_insufficient_not_silent(world):
    record, result = report(world, "2019-10-20")
    assert (record["outcome"], record["severity"], record["need"]) == ("insufficient", "NONE", 26)
    assert 0 < record["have"] < 26
    assert record["reason"] == f"insufficient: {record['have']} of 26 windows of reference"
    found = checks(result)
    assert all(check.passed for check in found.values())
    assert "not tested: " in found["rsi_14"].description


def test_features_that_do_not_reach_the_day_stop_the_run_and_say_what_to_do(world):
    result = world.run("drift", "AAA|2020-03-05")
    assert not result.success
    said = str([e.step_failure_data.error for e in result.all_events if e.is_step_failure])
    assert "features are needed until 2020-03-05" in said
    assert "market_data" in said


@pytest.mark.long
def test_the_pages_of_the_last_day_hold_the_findings_and_evidentlys_view(build, market):
    market["drift"]["html"] = True
    world = build()
    record, result = report(world, "2020-02-19", DAY)
    shown = metadata(result)
    assert "report" not in shown["AAA|2020-02-19"]
    own, theirs = (Path(shown[f"AAA|{DAY}"][name].value) for name in ("report", "evidently"))
    assert record["reason"] in own.read_text()
    assert "rsi_14" in theirs.read_text()
    stored = world.stored()
    report(world)
    assert world.stored() == stored


def test_what_evidently_fails_with_is_said_and_loses_nothing(build, market, monkeypatch):
    def fails(current, reference):
        raise ImportError("no module named evidently")

    market["drift"]["html"] = True
    monkeypatch.setattr(drift, "evidently_html", fails)
    world = build()
    record, result = report(world)
    shown = metadata(result)[f"AAA|{DAY}"]
    assert shown["evidently_failed"].value == "ImportError: no module named evidently"
    assert Path(shown["report"].value).is_file()
    json.dumps(record, allow_nan=False)
