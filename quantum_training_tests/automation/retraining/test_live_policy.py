"""The policy that a tick reads: from the settings, and from RL_TRAINING_* for agents without an entry."""

import pytest
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
