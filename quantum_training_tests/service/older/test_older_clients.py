"""Clients as the documents of the older services describe them, against the service beside a real Dagster."""

from contextlib import ExitStack

import httpx
import pytest

from quantum_training_tests.service.older.conftest import SYMBOL
from quantum_training_tests.service.support import Platform
from quantum_training_tests.support.processes import wait_for

pytestmark = pytest.mark.long
SECONDS = 240


@pytest.fixture
def platform(own_agent_project, tmp_path):
    with ExitStack() as stack:
        platform = Platform(stack, own_agent_project, tmp_path)
        platform.serve()
        platform.wait_for_webserver()
        yield platform
        assert "Traceback" not in platform.log.read_text()


class Client:
    """What curl sends: a method, an address, a body as JSON or as a form."""

    def __init__(self, platform: Platform) -> None:
        self._http = httpx.Client(base_url=platform.url, timeout=90)
        self._log = platform.log

    def get(self, path):
        return self._answer(self._http.get(path))

    def post(self, path, **fields):
        return self._answer(self._http.post(path, json=fields))

    def post_form(self, path, **fields):
        return self._answer(self._http.post(path, data=fields))

    def poll(self, path, is_ready):
        """The answer of an address once it is ready."""
        return wait_for(path, lambda: (a := self.get(path)) and is_ready(a) and a, SECONDS, self._log.read_text)

    def _answer(self, response):
        assert response.status_code in (200, 202), response.text
        return response.json()


def test_the_three_clients_train_compare_and_decide(platform):
    client = Client(platform)
    train_by_form(client)
    train_and_promote(client)
    train_and_roll_out(client)


def train_by_form(client):
    """S2: its page starts a training, polls its progress every 5 s, picks the model and shows its backtest."""
    form = {"symbol": "BTC/USDT", "agent_type": "PPO", "start_date": "2020-01-01", "end_date": "2020-01-29"}
    started = client.post_form("/api/training/train", **form)
    assert (started["success"], started["data"]["status"]) == (True, "running")
    session = started["data"]["session_id"]
    is_over = client.poll(f"/api/training/progress/{session}", lambda a: a["data"]["status"] != "running")["data"]
    assert (is_over["status"], is_over["progress"]) == ("completed", 100)
    assert is_over["episode_rewards"]
    assert len(is_over["losses"]["value_loss"]) == len(is_over["episode_rewards"])
    models = client.get("/api/training/models?symbol=BTC/USDT&agent_type=PPO")["data"]
    assert models[-1]["model_id"].startswith(f"ppo_{SYMBOL}_v")
    assert models[-1]["created_at"].startswith("2020-01-29")
    tested = client.post("/api/training/backtest", model_id=models[-1]["model_id"], symbol="BTC/USDT")["data"]
    assert tested["portfolio_value"]
    assert client.get("/api/training/drift_status?symbol=BTC/USDT&days=30")["data"]["severity"]
    client.post("/api/training/config", name="mine", config={"timesteps": 50_000})
    assert client.get("/api/training/config/mine")["data"]["config"] == {"timesteps": 50_000}


def train_and_promote(client):
    """S0: trigger a training, follow it in the history, promote its model, see it as champion."""
    assert client.get("/api/training/health")["components"]["database"] == "up"
    told = client.post("/api/training/jobs/trigger", model_type="rl_ppo", trigger="MANUAL", reason="a look")
    history = client.poll(
        "/api/training/jobs/history?limit=50",
        lambda jobs: any(job["job_id"] == told["job_id"] and job["status"] == "completed" for job in jobs),
    )
    job = next(job for job in history if job["job_id"] == told["job_id"])
    assert (job["model_type"], job["trigger"]) == ("ppo", "MANUAL")
    ready = client.post("/api/training/shadow/evaluate", model_version=job["model_version"])
    assert isinstance(ready["ready_for_promotion"], bool)
    promoted = client.post("/api/training/shadow/promote", model_version=job["model_version"], reason="a look")
    assert (promoted["model_type"], promoted["new_version"]) == ("ppo", job["model_version"])
    address = f"/api/training/shadow/champion?symbol={SYMBOL}"
    champion = client.poll(address, lambda answer: answer["model_type"] == "ppo")
    assert champion["reason"]
    assert [row["actor"] for row in client.get(f"/api/v2/ledger/{SYMBOL}?limit=1")["items"]]


def train_and_roll_out(client):
    """S3: train for production, watch it, compare it, give it capital."""
    market = {"symbol": "BTC/USDT", "timeframe": "4h"}
    path = "/api/v1/rl/v3"
    started = client.post(f"{path}/train_production", **market, lookback_hours=720, num_episodes=20)
    assert (started["status"], started["message"]) == ("started", "Training started on BTC/USDT with 20 episodes")
    progress = client.poll(f"{path}/training_progress", lambda answer: not answer["active"])
    assert progress["progress"] == 100
    assert isinstance(progress["metrics"]["avg_reward"], float)
    compared = client.post(f"{path}/benchmark", **market, num_episodes=10)
    assert compared["winner"]
    client.post(f"{path}/rollout", capital_percentage=1, max_position_size=1_000_000, enable_risk_guard=True)
    status = client.poll(f"{path}/rollout/status", lambda answer: answer["configured"])
    assert status["config"]["stage"]
    assert client.get(f"{path}/status")["experiences_collected"] > 0
    assert client.get(f"{path}/experiences?limit=10")[0]["state"]
