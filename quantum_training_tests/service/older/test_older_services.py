"""The addresses of the four older services, with the fields that their documents promise, on the state of an agent.

The table is that of ../shared/reference/service.md: S0's 14 and its demotion, S1's one, S2's seven, S3's seven.
"""

import json
from typing import Any, NamedTuple

import pytest
from fastapi.testclient import TestClient

from quantum_training.service.app import build_app
from quantum_training.service.older.names import model_names
from quantum_training_tests.service.conftest import BASE_URL, resources
from quantum_training_tests.service.older.conftest import SYMBOL, WEEKS
from quantum_training_tests.service.support import RecordingDagster

pytestmark = pytest.mark.long
RUN = "00000000-0000-4000-8000-000000000000"


class Endpoint(NamedTuple):
    """An address of an older service. fields: those of its answer, dotted if they lie deeper."""

    number: str
    method: str
    path: str
    body: dict[str, Any] | None
    status: int
    fields: tuple[str, ...]


METRICS = ("sharpe_ratio", "total_return", "max_drawdown", "win_rate")
JOB = ("job_id", "model_type", "trigger", "reason", "status", "metrics", "model_version", "started_at", "completed_at",
       "duration_seconds")  # fmt: skip
SHADOW = ("model_version", "model_type", "status", "registered_at", "prediction_count", "sharpe", "win_rate",
          "sharpe_diff", "win_rate_diff", "allocation")  # fmt: skip
EIGHT = ("sharpe_ratio", "sortino_ratio", "max_drawdown", "win_rate", "profit_factor", "total_return", "calmar_ratio",
         "alpha")  # fmt: skip
FIVE = (*METRICS, "avg_return")
S0, S3 = "/api/training", "/api/v1/rl/v3"
ENDPOINTS = [
    Endpoint("S0.1", "GET", f"{S0}/health", None, 200,
             ("status", "components.redis", "components.database", "components.mlflow", "components.scheduler",
              "components.data_source", "uptime", "last_training_job.job_id", "last_training_job.completed_at")),
    Endpoint("S0.2", "GET", f"{S0}/jobs/history?limit=50", None, 200, tuple(f"0.{field}" for field in JOB)),
    Endpoint("S0.3", "GET", f"{S0}/jobs/current", None, 200, ()),
    Endpoint("S0.4", "POST", f"{S0}/jobs/trigger", {"model_type": "rl_ppo", "trigger": "MANUAL", "reason": "a"}, 202,
             ("status", "job_id", "model_version", "metrics", "duration_seconds")),
    Endpoint("S0.5", "GET", f"{S0}/clm/status", None, 200,
             ("ppo.last_retrain", "ppo.needs_retrain", "ppo.interval_hours", "ppo.next_due")),
    Endpoint("S0.6", "POST", f"{S0}/clm/run-cycle", None, 202, ("status", "job_ids.0")),
    Endpoint("S0.7", "GET", f"{S0}/shadow/models", None, 200, tuple(f"0.{field}" for field in SHADOW)),
    Endpoint("S0.8", "GET", f"{S0}/shadow/champion", None, 200,
             ("model_version", "model_type", "promoted_at", "reason", "metrics")),
    Endpoint("S0.9", "POST", f"{S0}/shadow/register", {"model_type": "rl_ppo", "model_version": "MODEL"}, 200, SHADOW),
    Endpoint("S0.10", "POST", f"{S0}/shadow/evaluate", {"model_version": "MODEL"}, 200,
             ("ready_for_promotion", "reason", "sharpe_diff", "win_rate_diff")),
    Endpoint("S0.11", "POST", f"{S0}/shadow/promote", {"model_version": "MODEL", "reason": "a test"}, 202,
             ("model_type", "old_version", "new_version", "promotion_reason", "improvement_pct", "promoted_at")),
    Endpoint("S0.12", "GET", f"{S0}/drift/history?limit=100", None, 200,
             tuple(f"0.{f}" for f in ("drift_type", "severity", "psi_score", "affected_models", "recommendation",
                                      "detected_at"))),
    Endpoint("S0.13", "GET", f"{S0}/drift/distributions", None, 200,
             ("features.rsi_14.edges", "features.rsi_14.current", "features.rsi_14.reference")),
    Endpoint("S0.14", "POST", f"{S0}/drift/check-feature", {"feature": "rsi_14", "current": [40, 50, 60.5]}, 200,
             ("psi", "severity", "drifted")),
    Endpoint("S0.15", "POST", f"{S0}/shadow/demote", {"reason": "a test"}, 202,
             ("failed_version", "rolled_back_to", "regression_reason", "regressed_at")),
    Endpoint("S1", "GET", "/api/v1/rl-v3/dashboard/training-summary", None, 200,
             ("enabled", "interval_minutes", "episodes_per_run", "total_runs", "success_rate", "last_run_at",
              "last_error", *(f"recent_runs.0.{f}" for f in ("timestamp", "episodes", "duration_seconds", "success",
                                                             "avg_reward", "final_reward")))),
    Endpoint("S2.1", "POST", f"{S0}/train", {"symbol": "BTC/USDT", "params": {"agent_type": "PPO"}}, 200,
             ("data.session_id", "data.status")),
    Endpoint("S2.2", "GET", f"{S0}/progress/RUN", None, 200,
             ("data.status", "data.progress", "data.steps", "data.episodes", "data.episode_rewards", "data.losses")),
    Endpoint("S2.3", "POST", f"{S0}/stop", {"session_id": "RUN"}, 200, ("data.stopped",)),
    Endpoint("S2.4", "GET", f"{S0}/models?agent_type=PPO", None, 200,
             (*(f"data.0.{f}" for f in ("model_id", "agent_type", "symbol", "version", "created_at", "config")),
              *(f"data.0.metrics.{f}" for f in METRICS))),
    Endpoint("S2.5", "POST", f"{S0}/backtest", {"model_id": "NAME", "symbol": "BTC/USDT"}, 200,
             (*(f"data.agent_metrics.{f}" for f in EIGHT), *(f"data.buy_and_hold_metrics.{f}" for f in EIGHT),
              "data.trades.0.date", "data.trades.0.action", "data.trades.0.price", "data.portfolio_value.0",
              "data.comparison.sharpe_improvement", "data.comparison.return_improvement")),
    Endpoint("S2.6", "GET", f"{S0}/drift_status?symbol=BTC/USDT&days=30", None, 200,
             ("data.severity", "data.features.rsi_14.ks", "data.features.rsi_14.psi", "data.alert")),
    Endpoint("S2.7", "POST", f"{S0}/config", {"name": "mine", "config": {"timesteps": 50000}}, 200,
             ("data.config.timesteps",)),
    Endpoint("S2.7", "GET", f"{S0}/config/mine", None, 200, ("data.config.timesteps",)),
    Endpoint("S3.1", "POST", f"{S3}/train_production",
             {"symbol": "BTC/USDT", "timeframe": "4h", "lookback_hours": 720, "num_episodes": 100}, 202,
             ("status", "message")),
    Endpoint("S3.2", "GET", f"{S3}/training_progress", None, 200,
             ("active", "progress", "message", "started_at", "metrics.current_reward", "metrics.avg_reward",
              "metrics.policy_loss", "metrics.value_loss")),
    Endpoint("S3.3", "POST", f"{S3}/benchmark", {"symbol": "BTC/USDT", "timeframe": "4h", "num_episodes": 10}, 200,
             (*(f"{of}.{f}" for f in FIVE for of in ("rl_v3_metrics", "buy_hold_metrics", "moving_avg_metrics",
                                                     "random_metrics")), "winner")),
    Endpoint("S3.4", "POST", f"{S3}/rollout",
             {"capital_percentage": 5, "max_position_size": 50000, "enable_risk_guard": True}, 202,
             ("status", "message", "config.capital_percentage", "config.max_position_size", "config.enable_risk_guard",
              "config.configured_at", "config.stage")),
    Endpoint("S3.5", "GET", f"{S3}/rollout/status", None, 200, ("configured", "config.capital_percentage")),
    Endpoint("S3.6", "GET", f"{S3}/status", None, 200, ("active", "shadow_mode", "experiences_collected")),
    Endpoint("S3.7", "GET", f"{S3}/experiences?limit=10", None, 200, ("0.state.rsi_14", "0.action", "0.reward")),
]  # fmt: skip


@pytest.fixture
def dagster():
    return RecordingDagster()


@pytest.fixture
def older(agent_project, dagster):
    """A client of the service over `agent_project`."""
    app = build_app(agent_project.settings, {**resources(agent_project), "dagster": dagster})
    return TestClient(app, base_url=BASE_URL)


def value_at(answer: Any, field: str) -> Any:
    """What lies at a dotted field; KeyError or IndexError if nothing does."""
    for part in field.split("."):
        answer = answer[int(part)] if isinstance(answer, list) else answer[part]
    return answer


def ask(client: TestClient, endpoint: Endpoint, words: dict[str, str]) -> Any:
    """The answer to an endpoint's request, with what its path and body stand for."""

    def filled(value: Any) -> Any:
        return words.get(value, value) if isinstance(value, str) else value

    body = {name: filled(value) for name, value in endpoint.body.items()} if endpoint.body is not None else None
    path = endpoint.path.replace("RUN", words["RUN"])
    response = client.request(endpoint.method, path, json=body)
    assert response.status_code == endpoint.status, (endpoint.number, response.text)
    return response.json()


def test_the_table_holds_every_endpoint():
    assert len({endpoint.number for endpoint in ENDPOINTS}) == 30  # 29 of the reference, and the demotion


@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=lambda endpoint: f"{endpoint.number} {endpoint.method}")
def test_an_endpoint_answers_with_its_fields(older, agent_project, dagster, endpoint):
    challenger = next(row for row in older.get("/api/v2/leaderboard/BTC_USDT").json()["rows"]
                      if row["strategy"] in ("ppo", "xgboost") and not row["is_champion"])  # fmt: skip
    name = next(name for name, recipe, _ in model_names(_state(older), SYMBOL) if recipe == "ppo")
    run_id = older.post(f"{S0}/train", json={"agent_type": "PPO"}).json()["data"]["session_id"]
    older.post(f"{S0}/config", json={"name": "mine", "config": {"timesteps": 1}})
    answer = ask(older, endpoint, {"MODEL": challenger["model_id"], "NAME": name, "RUN": run_id})
    for field in endpoint.fields:
        value_at(answer, field)
    if endpoint.path.startswith(
        tuple(f"{S0}/{p}" for p in ("train", "progress", "stop", "models", "backtest", "conf"))
    ):
        assert (answer["success"], answer["error"]) == (True, "")


def _state(client):
    return client.app.state.service


def test_errors_of_the_training_module_are_in_its_envelope(older):
    for method, path, body in (
        ("GET", f"{S0}/progress/{RUN}", None),
        ("GET", f"{S0}/progress/x", None),
        ("POST", f"{S0}/train", {"symbol": "ETH/USDT"}),
        ("POST", f"{S0}/backtest", {"model_id": "ppo_BTC_USDT_v999_20200101"}),
        ("GET", f"{S0}/models?symbol=../..", None),
        ("GET", f"{S0}/config/..", None),
        ("GET", f"{S0}/config/none", None),
    ):
        response = older.request(method, path, json=body)
        assert response.status_code in (404, 422), (path, response.text)
        if path != f"{S0}/config/..":  # which is another address
            assert response.json().keys() == {"success", "data", "error"}
            assert response.json()["success"] is False


def test_names_of_markets_and_models_are_understood(older, dagster):
    for symbol in ("BTC/USDT", "btc-usdt", "BTC_USDT", None):
        older.post(f"{S3}/train_production", json={"symbol": symbol, "num_episodes": 100})
    configs = [launch.config["ops"]["retrain_recipes"]["config"] for launch in dagster.launches]
    assert {config["symbol"] for config in configs} == {SYMBOL}
    assert all((config["recipes"], config["episodes"]) == (["ppo"], 100) for config in configs)
    answer = older.post(f"{S3}/train_production", json={"symbol": "BTC/USDT", "num_episodes": 100}).json()
    assert answer["message"] == "Training started on BTC/USDT with 100 episodes"
    assert older.post(f"{S3}/train_production", json={"timeframe": "1h"}).status_code == 422
    assert older.post(f"{S0}/jobs/trigger", json={"model_type": "patchtst", "reason": "x"}).status_code == 404


def test_a_form_starts_a_training_too(older, dagster):
    response = older.post(f"{S0}/train", data={"symbol": "BTC/USDT", "agent_type": "PPO", "end_date": "2020-01-29"})
    assert response.json()["data"]["recipe"] == "ppo"
    config = dagster.launches[0].config["ops"]["retrain_recipes"]["config"]
    assert config["as_of"] == "2020-01-29T00:00:00+00:00"
    assert "client of /api/training/train" in config["actor"]


def test_a_rollout_that_the_platform_does_not_keep_is_refused(older, dagster):
    body = {"capital_percentage": 5, "max_position_size": 50_000, "enable_risk_guard": True}
    assert older.post(f"{S3}/rollout", json={**body, "enable_risk_guard": False}).status_code == 422
    assert older.post(f"{S3}/rollout", json={**body, "max_position_size": 100}).status_code == 422
    answer = older.post(f"{S3}/rollout", json=body).json()
    assert answer["message"] == "Rollout configured: Stage 2: Confidence Building (5%)"
    (launch,) = dagster.launches
    assert launch.config["ops"]["rollout_ceiling_champion"]["config"]["share"] == 0.05


def test_rewards_of_agents_are_told_by_their_events(older):
    summary = older.get("/api/v1/rl-v3/dashboard/training-summary").json()
    assert (summary["total_runs"], summary["success_rate"]) == (len(WEEKS), 1.0)
    run = summary["recent_runs"][0]
    assert run["success"]
    assert run["episodes"] > 0
    assert isinstance(run["avg_reward"], float)
    assert isinstance(run["final_reward"], float)


def test_numbers_that_are_sent_are_compared(older):
    same = [float(n) for n in range(100)]
    body = {"feature": "mine", "current": same, "reference": same}
    assert older.post(f"{S0}/drift/check-feature", json=body).json()["drifted"] is False
    body["current"] = [n + 60 for n in same]
    assert older.post(f"{S0}/drift/check-feature", json=body).json()["severity"] == "SEVERE"
    for wrong in ({"current": []}, {"current": ["x"]}, {"current": [1e999]}, {"feature": "../x"}, {"reference": []}):
        content = {**body, **wrong}
        response = older.post(f"{S0}/drift/check-feature", content=json.dumps(content))
        assert response.status_code == 422, (wrong, response.text)
