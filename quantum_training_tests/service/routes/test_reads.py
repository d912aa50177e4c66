"""Every address that reads, on the state of a real project, on an empty home, and with hostile parameters."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from quantum_training.lifecycle.records import BacktestRecord, ModelRecord, WeeklyDecision, read_record, read_records
from quantum_training.resources.store.store import Store
from quantum_training.service.app import build_app
from quantum_training_tests.service.conftest import BASE_URL, DAY, WEEKS, resources

OF_SYMBOL = (
    "symbols",
    "champions",
    "leaderboard",
    "metrics",
    "equity",
    "trades",
    "drift",
    "decay",
    "rollout",
    "ledger",
)
OF_ALL = ("symbols", "recipes", "versions", "campaigns", "champions", "drift", "decay", "rollout", "signals", "events",
          "trainings", "health")  # fmt: skip


def read(client, path):
    response = client.get(f"/api/v2/{path}")
    assert response.status_code == 200, response.text
    return response.json()


def test_a_symbol_is_shown_as_its_newest_decision_says(client, recorded):
    decision = read_record(recorded.store, WeeklyDecision, "AAA", WEEKS[-1])
    backtest = read_record(recorded.store, BacktestRecord, "AAA", WEEKS[-1])
    row = read(client, "symbols")["items"][0]
    assert (row["symbol"], row["week"]) == ("AAA", WEEKS[-1])
    assert (row["champion"], row["verdict"]) == (decision.champion, decision.verdict)
    assert row["champion"] is not None
    assert row["champion_sharpe"]["sharpe"] == backtest.metrics[decision.champion]["sharpe"]
    assert row["as_of"] == "2020-03-01T00:00:00Z"
    assert row["age_seconds"] > 0
    detail = read(client, "symbols/AAA")
    assert detail["source"] == "synthetic"
    assert {line["strategy"] for line in detail["strategies"]} == {"xgboost", "lightgbm", "Buy & Hold"}
    assert decision.champion in detail["sentences"]["decision"]


def test_decisions_campaigns_and_ledger_are_those_that_were_recorded(client, recorded):
    decisions = read_records(recorded.store, WeeklyDecision, "AAA")
    answer = read(client, "champions/AAA")
    assert [item["week"] for item in answer["items"]] == WEEKS[::-1]
    assert answer["items"][0] == decisions[WEEKS[-1]].model_dump(mode="json")
    campaigns = read(client, "campaigns?symbol=AAA")["items"]
    assert sum(campaign["is_open"] for campaign in campaigns) <= 1
    evidence = [(week["week"], week["recipe"], week["sharpe"]) for c in campaigns for week in c["evidence"]]
    recorded_evidence = [(d.week, r, j.sharpe) for d in decisions.values() for r, j in d.judgements.items()]
    assert sorted(evidence) == sorted(recorded_evidence)
    rows = recorded.ledger.rows("AAA")
    assert [row["hash"] for row in read(client, "ledger/AAA")["items"]] == [row.hash for row in rows[::-1]]


def test_versions_have_their_run_in_mlflow(client, recorded):
    stored = read_record(recorded.store, ModelRecord, "AAA", WEEKS[-1], "xgboost_model")
    versions = read(client, "versions?symbol=AAA&recipe=xgboost")
    assert versions["total"] == len(WEEKS)
    assert versions["items"][0]["model_id"] == stored.versions[-1].model_id
    detail = read(client, f"versions/AAA/{stored.versions[-1].model_id}")
    assert detail["mlflow"]["run_id"] == recorded.registry.run_id("AAA", stored.versions[-1].model_id)
    assert detail["metrics"]["bars"] > 0


def test_evidence_is_what_was_scored(client, recorded):
    board = read(client, "leaderboard/AAA")
    assert [row["strategy"] for row in board["rows"] if row["is_champion"]] == [board["champion"]]
    champion = next(row for row in board["rows"] if row["is_champion"])
    assert champion["sharpe_difference"] == champion["win_rate_difference"] == 0
    stored = recorded.store.read_frame("backtest", "AAA", WEEKS[-1])
    equity = read(client, "equity/AAA")
    assert len(equity["times"]) == len(stored)
    assert equity["equity"]["buy_and_hold"][-1] == stored["buy_and_hold"].iloc[-1]
    scores = recorded.store.read_frame("shadow_scores", "AAA", WEEKS[-1])
    fills = read(client, "trades/AAA?strategy=xgboost&weeks=1&limit=1000")
    assert fills["total"] == int((scores[scores["strategy"] == "xgboost"]["turnover"] > 0).sum())
    assert {fill["side"] for fill in fills["items"]} <= {"BUY", "SELL"}
    weeks = {row["week"] for row in read(client, "metrics/AAA?weeks=2")["items"]}
    assert weeks == {*WEEKS[-2:]}


def test_drift_signal_and_events_are_those_that_were_recorded(client, recorded):
    drift = read(client, "drift/AAA")["items"][0]
    stored = recorded.store.read_record("drift_report", "AAA", DAY)
    assert (drift["day"], drift["severity"], len(drift["rows"])) == (DAY, stored["severity"], len(stored["rows"]))
    row = next(row for row in read(client, "signals")["items"] if row["symbol"] == "AAA")
    assert row["signal"] == recorded.store.read_record("signals", "AAA", "latest")
    assert row["as_of"] is not None
    assert {event["type"] for event in read(client, "events?type=model.promoted")["items"]} == {"model.promoted"}
    trainings = read(client, "trainings?symbol=AAA")
    assert trainings["total"] == 2 * len(WEEKS)
    assert {training["status"] for training in trainings["items"]} == {"succeeded"}


def test_reports_are_the_stored_pages_in_a_sandbox(client, recorded):
    for path, asset, symbol, period in (
        (f"AAA/{WEEKS[-1]}/tearsheet", "backtest", "AAA", WEEKS[-1]),
        (f"AAA/{DAY}/drift", "drift_report", "AAA", DAY),
        (f"weeks/{WEEKS[-1]}", "week_report", "all_symbols", WEEKS[-1]),
    ):
        response = client.get(f"/reports/{path}")
        assert response.text == recorded.store.read_text(asset, symbol, period, "html")
        assert response.headers["content-security-policy"].startswith("sandbox allow-scripts")
    assert client.get(f"/reports/AAA/{DAY}/evidently").status_code == 404


def test_health_names_the_parts_that_do_not_answer(client):
    parts = read(client, "health")["parts"]
    assert {name: part["status"] for name, part in parts.items()} == {
        "store": "up",
        "database": "up",
        "mlflow": "up",
        "redis": "off",
        "dagster": "down",
        "daemon": "down",
        "sources": "degraded",
    }


def test_runs_need_the_webserver_and_say_so(client):
    response = client.get("/api/v2/runs")
    assert response.status_code == 503
    assert "make ui" in response.json()["remedy"]


def test_an_empty_home_answers_everywhere_and_stores_nothing(empty_home, tmp_path):
    for path in [*OF_ALL, *(f"{name}/AAA" for name in OF_SYMBOL)]:
        response = empty_home.get(f"/api/v2/{path}")
        missing = path in ("leaderboard/AAA", "equity/AAA")
        assert response.status_code == (404 if missing else 200), (path, response.text)
        if missing:
            assert "clm_cycle" in response.json()["remedy"]
    assert not (tmp_path / "store").exists()


def test_an_answer_is_kept_until_what_it_shows_is_written(empty_home, recorded, tmp_path):
    def position():
        (row,) = read(empty_home, "signals?symbol=AAA")["items"]
        return row["signal"] and row["signal"]["position"]

    assert position() is None
    record = recorded.store.read_record("signals", "AAA", "latest")
    writer = Store(root=str(tmp_path / "store"))
    for written in (0.25, 0.5):
        writer.write_record("signals", "AAA", "latest", {**record, "position": written})
        assert position() == written
    os.utime(tmp_path / "store/signals/AAA", (0, 0))
    kept = empty_home.get("/api/v2/signals?symbol=AAA").content
    assert empty_home.get("/api/v2/signals?symbol=AAA").content == kept
    assert empty_home.get("/api/v2/signals?symbol=ZZZ").status_code == 404


@pytest.mark.parametrize(
    ("path", "status", "named"),
    [
        ("symbols/ZZZ", 404, "AAA, BBB"),
        ("symbols/..", 404, ""),
        ("symbols/%2e%2e%2fetc", 404, ""),
        ("symbols/AAA%00", 422, "symbol"),
        ("symbols/AAA' OR 1=1", 422, "symbol"),
        ("symbols/" + "A" * 65, 422, "symbol"),
        ("symbols?limit=1001", 422, "limit"),
        ("symbols?limit=0", 422, "limit"),
        ("symbols?offset=-1", 422, "offset"),
        ("versions?recipe=../x", 422, "recipe"),
        ("versions?recipe=nobody", 404, "lightgbm"),
        ("versions/AAA/..%2f..%2fpasswd", 404, ""),
        ("versions/AAA/deadbeefdeadbeef", 404, "version of AAA"),
        ("equity/AAA?week=2020-01-28", 422, "Monday"),
        ("equity/AAA?week=2019-01-07", 404, WEEKS[-1]),
        ("equity/AAA?week=2020-13-45", 422, "week"),
        ("equity/AAA?week=/etc/passwd", 422, "week"),
        ("trades/AAA?strategy=nobody", 404, "xgboost"),
        ("drift/AAA?days=NaN", 422, "days"),
        ("events?type=x", 404, "model.promoted"),
        ("runs?status=DONE", 422, "status"),
        ("runs/1", 422, "run_id"),
        ("../../reports/AAA/2020-01-27/tearsheet/../../x", 404, ""),
        ("nowhere", 404, "openapi"),
    ],
)
def test_hostile_parameters_get_a_problem_that_says_what_is_allowed(client, path, status, named):
    response = client.get(f"/api/v2/{path}")
    assert response.status_code == status, response.text
    problem = response.json()
    assert response.headers["content-type"] == "application/problem+json"
    assert problem.keys() == {"title", "status", "detail", "rule", "remedy"}
    assert named in str(problem)
    assert "Traceback" not in response.text
    assert "/dev/shm" not in response.text


def test_a_torn_record_is_a_problem_of_one_symbol(cycled_project, small):
    project = cycled_project(small, WEEKS[0], WEEKS[-1])
    torn = Path(project.store.root, "champion", "AAA", f"{WEEKS[-1]}.json")
    torn.write_text(torn.read_text()[:100])
    client = TestClient(build_app(project.settings, resources(project)), BASE_URL)
    response = client.get("/api/v2/champions/AAA")
    assert response.status_code == 503
    assert "doctor" in response.json()["remedy"]
    assert str(project.home) not in response.text
    assert client.get("/api/v2/champions/BBB").status_code == 200


def test_the_process_loads_no_heavy_package():
    heavy = "torch mlflow neuralforecast evidently dagster numba plotly xgboost lightgbm stable_baselines3"
    code = f"import sys, quantum_training.service.__main__; print([m for m in {heavy.split()} if m in sys.modules])"
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert process.stdout.strip() == "[]"
