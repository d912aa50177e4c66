"""What changes something: the run that each request starts, once; who may; who and why is kept."""

import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from fastapi.testclient import TestClient

from quantum_training.resources.locks import exclusive_lock
from quantum_training.service.app import build_app
from quantum_training.service.dagster_client import Launch
from quantum_training.service.security.keys import make_key
from quantum_training.service.starting import launching
from quantum_training_tests.service.conftest import BASE_URL, WEEKS, resources
from quantum_training_tests.service.support import RecordingDagster

WHO = {"actor": "Ann", "reason": "a test"}


@pytest.fixture
def dagster():
    return RecordingDagster()


@pytest.fixture
def starter(recorded, dagster):
    """A client of a service whose Dagster is the stand-in."""
    app = build_app(recorded.settings, {**resources(recorded), "dagster": dagster})
    return TestClient(app, base_url=BASE_URL)


def champion(client):
    return client.get("/api/v2/symbols/AAA").json()["champion"]


@pytest.mark.parametrize(
    ("path", "body", "job", "config"),
    [
        ("symbols/AAA/train", {}, "retrain", {"recipes": [], "as_of": "", "episodes": 0}),
        (
            "symbols/AAA/train",
            {"recipes": ["xgboost"], "as_of": "2020-01-29T12:00:00Z", "episodes": 5},
            "retrain",
            {"recipes": ["xgboost"], "as_of": "2020-01-29T12:00:00+00:00", "episodes": 5},
        ),
        ("symbols/AAA/demote", {}, "demote", {}),
        ("symbols/AAA/pin", {}, "pin", {}),
        ("symbols/AAA/rollout", {"share": 0.05}, "rollout_ceiling", {"share": 0.05}),
        ("symbols/AAA/rollout", {"share": 0}, "rollout_reset", {}),
        ("symbols/AAA/ab_test", {"recipe": "xgboost", "share": 0.01, "weeks": 4}, "ab_test",
         {"recipe": "xgboost", "share": 0.01, "block_days": 1, "weeks": 4}),
        ("symbols/AAA/ab_stop", {}, "ab_stop", {}),
    ],
)  # fmt: skip
def test_a_change_of_a_symbol_starts_its_job_with_actor_and_reason(starter, dagster, path, body, job, config):
    response = starter.post(f"/api/v2/{path}", json={**WHO, **body})
    assert response.status_code == 202, response.text
    (launch,) = dagster.launches
    op = "retrain_recipes" if job == "retrain" else f"{job}_champion"
    assert (launch.job, launch.config) == (job, {"ops": {op: {"config": {"symbol": "AAA", **WHO, **config}}}})
    started = response.json()
    assert response.headers["location"] == started["address"] == f"/api/v2/runs/{dagster.stored[0]['runId']}"
    run = starter.get(started["address"]).json()
    assert (run["job"], run["status"], run["actor"], run["reason"]) == (job, "STARTED", "Ann", "a test")


def test_cycles_benchmarks_and_backtests_are_started_over_their_weeks(starter, dagster):
    body = {**WHO, "symbols": ["AAA"], "week": "2020-01-27", "weeks": 2}
    for path in ("cycle", "benchmark"):
        assert starter.post(f"/api/v2/{path}", json=body).status_code == 202
    assert starter.post("/api/v2/symbols/AAA/backtest", json=WHO).status_code == 202
    config = {"config": {"symbols": ["AAA"], "week": "2020-01-27", "weeks": 2}}
    assert [launch.job for launch in dagster.launches] == ["clm_cycle", "benchmark", "weekly_cycle"]
    assert [launch.config for launch in dagster.launches[:2]] == [
        {"ops": {op: config}} for op in ("run_cycle", "run_benchmark")
    ]
    backtest = dagster.launches[-1]
    assert backtest.assets == ["backtest"]
    assert backtest.tags["dagster/partition"] == f"AAA|{WEEKS[-1]}"


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("symbols/BBB/train", {}),
        ("symbols/BBB/promote", {"recipe": "xgboost"}),
        ("symbols/BBB/ab_stop", {}),
        ("symbols/BBB/backtest", {"week": WEEKS[-1]}),
        ("cycle", {"symbols": ["AAA", "BBB"]}),
        ("benchmark", {"symbols": ["BBB"]}),
    ],
)
def test_a_symbol_without_recipes_is_refused_at_once(recorded, dagster, path, body):
    symbols = {**recorded.settings.symbols}
    symbols["BBB"] = symbols["BBB"].model_copy(update={"recipes": ()})
    settings = recorded.settings.model_copy(update={"symbols": symbols})
    client = TestClient(build_app(settings, {**resources(recorded), "dagster": dagster}), base_url=BASE_URL)
    answer = client.post(f"/api/v2/{path}", json={**WHO, **body})
    assert (answer.status_code, answer.json()["detail"]) == (409, "BBB has no recipes")
    assert answer.json()["remedy"] == "name some in symbols.BBB.recipes of the settings"
    assert not dagster.launches


def test_a_key_of_idempotency_starts_one_run(starter, dagster):
    headers = {"Idempotency-Key": "once"}
    answers = [starter.post("/api/v2/symbols/AAA/demote", json=WHO, headers=headers).json() for _ in range(3)]
    assert [answer["repeated"] for answer in answers] == [False, True, True]
    assert len({answer["run_id"] for answer in answers}) == len(dagster.launches) == 1
    other = starter.post("/api/v2/symbols/AAA/pin", json=WHO, headers=headers)
    assert other.status_code == 422
    assert "new key" in other.json()["remedy"]
    assert starter.post("/api/v2/symbols/AAA/demote", json=WHO).json()["repeated"] is False
    assert len(dagster.launches) == 2


def test_another_service_process_that_launches_is_waited_for(starter, dagster, recorded):
    with ThreadPoolExecutor(1) as pool:
        with exclusive_lock(recorded.settings.database_url, launching.LAUNCH_LOCK):
            answer = pool.submit(starter.post, "/api/v2/symbols/AAA/demote", json=WHO)
            time.sleep(0.5)
            assert not dagster.launches
        assert answer.result(20).status_code == 202


def test_a_run_whose_answer_was_lost_is_found(starter, dagster, monkeypatch):
    dagster.lost_answers = 1
    answer = starter.post("/api/v2/symbols/AAA/demote", json=WHO)
    assert answer.json()["run_id"] == dagster.stored[0]["runId"]
    monkeypatch.setattr(launching, "LOST_ANSWER_SECONDS", 0.0)
    dagster.lost_answers = 1
    monkeypatch.setattr(dagster, "runs", lambda *args, **options: [])
    answer = starter.post("/api/v2/symbols/AAA/demote", json=WHO)
    assert answer.status_code == 503


def test_what_is_so_already_is_said_and_starts_nothing(starter, dagster):
    response = starter.post("/api/v2/symbols/AAA/promote", json={**WHO, "recipe": champion(starter)})
    assert response.status_code == 409
    assert "already" in response.json()["detail"]
    assert starter.post("/api/v2/symbols/AAA/unpin", json=WHO).status_code == 409
    for path in ("demote", "rollout"):
        body = {**WHO, "share": 0.05} if path == "rollout" else WHO
        assert starter.post(f"/api/v2/symbols/BBB/{path}", json=body).status_code == 409
    assert not dagster.launches


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("symbols/ZZZ/train", {}, 404),
        ("symbols/AAA/train", {"recipes": ["nobody"]}, 404),
        ("symbols/AAA/train", {"recipes": "xgboost"}, 422),
        ("symbols/AAA/train", {"as_of": "2020-01-29"}, 422),
        ("symbols/AAA/train", {"episodes": -1}, 422),
        ("symbols/AAA/train", {"ops": {}}, 422),
        ("symbols/AAA/train", {"reason": ""}, 422),
        ("symbols/AAA/train", {"reason": "x" * 1001}, 422),
        ("symbols/AAA/train", {"actor": None}, 422),
        ("symbols/AAA/promote", {"recipe": "../../etc/passwd"}, 422),
        ("symbols/AAA/promote", {"recipe": "ensemble"}, 404),
        ("symbols/AAA/rollout", {"share": 1.5}, 422),
        ("symbols/AAA/rollout", {"share": "NaN"}, 422),
        ("symbols/AAA/backtest", {"week": "2020-01-28"}, 422),
        ("symbols/AAA/backtest", {"week": "2021-01-04"}, 404),
        ("symbols/BBB/backtest", {}, 404),
        ("cycle", {"symbols": ["ZZZ"]}, 404),
        ("cycle", {"week": "latest; rm"}, 422),
        ("cycle", {"weeks": 521}, 422),
        ("runs/00000000-0000-0000-0000-000000000000/stop", {}, 404),
    ],
)
def test_a_wrong_change_starts_nothing(starter, dagster, path, body, status):
    response = starter.post(f"/api/v2/{path}", json={**WHO, **body})
    assert response.status_code == status, response.text
    assert response.json().keys() == {"title", "status", "detail", "rule", "remedy"}
    assert not dagster.launches


def test_a_body_that_is_no_json_is_a_problem(starter, dagster):
    for content in (b"", b"{", b"[]", b"null", b'"x"', b"\xff\xfe", b'{"reason": NaN}', b"[" * 5000):
        response = starter.post("/api/v2/symbols/AAA/train", content=content)
        assert response.status_code == 422, (content[:10], response.text)
    assert not dagster.launches


def test_roles_decide_who_starts_what_and_the_key_is_named(recorded, dagster, monkeypatch):
    keys = {role: make_key(f"the-{role}", role) for role in ("read", "operate", "admin")}
    monkeypatch.setenv("SERVICE_KEYS", "\n".join(line for _, line in keys.values()))
    app = build_app(recorded.settings, {**resources(recorded), "dagster": dagster})
    client = TestClient(app, base_url=BASE_URL)
    may = {
        "symbols/AAA/train": "operate",
        "cycle": "operate",
        "symbols/AAA/demote": "admin",
        "symbols/AAA/pin": "admin",
    }
    roles = [*keys]
    for path, needed in may.items():
        for role, (key, _) in keys.items():
            response = client.post(f"/api/v2/{path}", json={"reason": "a test"}, headers={"X-API-Key": key})
            assert (response.status_code == 202) == (roles.index(role) >= roles.index(needed)), (path, role)
    assert dagster.launches[0].config["ops"]["retrain_recipes"]["config"]["actor"] == "the-operate"
    client.post("/api/v2/symbols/AAA/train", json=WHO, headers={"X-API-Key": keys["admin"][0]})
    assert dagster.launches[-1].config["ops"]["retrain_recipes"]["config"]["actor"] == "Ann (key the-admin)"


def test_progress_result_and_stop_follow_the_run(starter, dagster):
    started = starter.post("/api/v2/symbols/AAA/train", json=WHO).json()
    dagster.lines = [
        "[9e9ea9ec][episode 45/100] step 4,500/10,000, policy loss -0.012, mean reward 1.5e-05, 2,000 steps/s, 3 s left"
    ]
    progress = starter.get(f"{started['address']}/progress").json()
    assert (progress["message"], progress["percent"], progress["step"]) == ("Episode 45/100", 45.0, 4500)
    assert progress["metrics"] == {"policy_loss": -0.012, "mean_reward": 1.5e-05}
    dagster.lines += ["another line", dagster.lines[0].replace("4,500", "5,000")]
    curve = starter.get(f"{started['address']}/progress").json()["curve"]
    assert [point["step"] for point in curve] == [4500, 5000]
    assert starter.get(f"{started['address']}/result").status_code == 409
    nested = dagster.launch(Launch("weekly_cycle", {}, {"clm/launched_by": started["run_id"]}))
    by_person = {"clm/launched_by": started["run_id"], "dagster/parent_run_id": nested}
    dagster.launch(Launch("weekly_cycle", {}, by_person))
    dagster.end(started["run_id"], "SUCCESS")
    result = starter.get(f"{started['address']}/result").json()
    assert [run["run_id"] for run in result["runs"]] == [nested]
    other = starter.post("/api/v2/symbols/AAA/train", json=WHO).json()
    stopped = starter.post(f"{other['address']}/stop", json=WHO).json()
    assert (stopped["status"], stopped["is_over"]) == ("CANCELED", True)
    assert starter.post(f"{other['address']}/stop", json=WHO).json()["status"] == "CANCELED"


def test_the_reason_of_a_failure_shows_no_password(starter, dagster):
    started = starter.post("/api/v2/symbols/AAA/train", json=WHO).json()
    dagster.end(started["run_id"], "FAILURE")
    run = starter.get(started["address"]).json()
    assert run["failure"].startswith("it failed")
    assert "secret" not in run["failure"]


def test_without_the_webserver_nothing_starts_and_the_remedy_is_named(starter, dagster):
    dagster.down = True
    response = starter.post("/api/v2/symbols/AAA/train", json=WHO)
    assert response.status_code == 503
    assert "make ui" in response.json()["remedy"]
