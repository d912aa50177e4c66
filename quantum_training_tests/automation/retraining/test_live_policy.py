"""The policy that a tick reads: from the settings, and from RL_TRAINING_* for agents without an entry."""

import time

import pytest
import redis
import yaml

from quantum_training.automation.retraining.live_policy import LivePolicy
from quantum_training.settings import load_settings
from quantum_training.settings.paths import SettingsError
from quantum_training.settings.retraining import RecipeTraining


@pytest.fixture
def settings_file(small, tmp_path, monkeypatch):
    """A file with a booster and two agents, one of which has an entry of its own; a function that changes it."""
    path = tmp_path / "settings.yaml"
    monkeypatch.setenv("QUANTUM_TRAINING_CONFIG", str(path))
    label = {"kind": "forward_return", "horizon": 1}
    small["recipes"] |= {name: {"algorithm": name, "label": label} for name in ("ppo", "sac")}
    small["retraining"] = {"recipes": {"sac": {"every_bars": 9}}}

    def write(**changes):
        path.write_text(yaml.safe_dump({**small, **changes}))

    write()
    return write


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, RecipeTraining()),
        ({"RL_TRAINING_ENABLED": "false"}, RecipeTraining(enabled=False)),
        ({"RL_TRAINING_INTERVAL_MINUTES": "720"}, RecipeTraining(interval_minutes=720)),
        ({"RL_TRAINING_EPISODES_PER_RUN": "50"}, RecipeTraining(episodes_per_run=50)),
    ],
)
def test_rl_training_variables_apply_to_agents_without_an_entry(settings_file, monkeypatch, variables, expected):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    policy, warning = LivePolicy(load_settings(), load_settings).read()
    assert not warning
    assert policy.training("ppo") == expected
    assert policy.training("sac") == RecipeTraining(every_bars=9)
    assert policy.training("xgboost") == RecipeTraining()


def test_an_edit_applies_and_an_invalid_file_keeps_the_last_policy(settings_file, monkeypatch):
    monkeypatch.setenv("RL_TRAINING_EPISODES_PER_RUN", "50")
    live = LivePolicy(load_settings(), load_settings)
    settings_file(retraining={"daily_budget": 3})
    policy, _ = live.read()
    assert (policy.daily_budget, policy.training("sac").episodes_per_run) == (3, 50)
    settings_file(retraining={"daily_budget": "many"})
    policy_in_force, warning = live.read()
    assert policy_in_force == policy
    assert "daily_budget" in warning


@pytest.mark.parametrize(("name", "value"), [("RL_TRAINING_INTERVAL_MINUTES", "0"), ("RL_TRAINING_ENABLED", "maybe")])
def test_an_invalid_variable_is_refused_when_settings_load(settings_file, monkeypatch, name, value):
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError, match=name.lower()):
        load_settings()


@pytest.fixture
def client(redis_server):
    with redis.Redis.from_url(redis_server.url) as client:
        yield client


def test_keys_of_redis_apply_at_once_to_agents_without_an_entry(settings_file, monkeypatch, redis_server, client):
    monkeypatch.setenv("RL_TRAINING_EPISODES_PER_RUN", "50")
    settings_file(event_bus_url=redis_server.url)
    live = LivePolicy(load_settings(), load_settings)
    assert live.read()[0].training("ppo") == RecipeTraining(episodes_per_run=50)
    client.set("rl_v3.training.enabled", "false")
    client.set("rl_v3.training.interval_minutes", "60")
    policy, warning = live.read()
    assert not warning
    assert policy.training("ppo") == RecipeTraining(enabled=False, interval_minutes=60, episodes_per_run=50)
    assert policy.training("sac") == RecipeTraining(every_bars=9)
    assert policy.training("xgboost") == RecipeTraining()
    client.delete("rl_v3.training.enabled")
    assert live.read()[0].training("ppo").enabled


def test_a_wrong_key_is_left_aside_and_named(settings_file, redis_server, client):
    settings_file(event_bus_url=redis_server.url)
    client.set("rl_v3.training.interval_minutes", "0")
    client.set("rl_v3.training.episodes_per_run", "4")
    policy, warning = LivePolicy(load_settings(), load_settings).read()
    assert policy.training("ppo") == RecipeTraining(episodes_per_run=4)
    assert "rl_v3.training.interval_minutes" in warning


def test_an_outage_of_redis_keeps_the_last_keys_and_is_not_waited_for_again(settings_file, redis_server, client):
    settings_file(event_bus_url=redis_server.url)
    client.set("rl_v3.training.episodes_per_run", "4")
    live = LivePolicy(load_settings(), load_settings)
    live.read()
    redis_server.kill()
    policy, warning = live.read()
    assert policy.training("ppo").episodes_per_run == 4
    assert "stays in force" in warning
    began = time.monotonic()
    assert live.read()[0] == policy
    assert time.monotonic() - began < 1
