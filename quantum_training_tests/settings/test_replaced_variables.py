"""Environment variables of the replaced systems: each one is followed or refused by its name, none is ignored."""

import pytest
import yaml

from quantum_training.settings import config_path, environment, load_settings
from quantum_training.settings.paths import SettingsError

DEFAULTS = {
    "RL_TRAINING_REDIS_HOST": "redis",
    "RL_TRAINING_DATABASE_URL": "postgresql://quantum@db/quantum_trader",
    "RL_TRAINING_RL_RETRAIN_INTERVAL_HOURS": "168",
    "RL_TRAINING_CLM_RETRAIN_INTERVAL_HOURS": "168",
    "RL_TRAINING_DRIFT_CHECK_INTERVAL_HOURS": "24",
    "RL_TRAINING_AUTO_PROMOTION_ENABLED": "true",
    "RL_TRAINING_MIN_IMPROVEMENT_FOR_PROMOTION": "0.02",
    "ML_TRAINING_DEBUG": "false",
}


def setting_after(monkeypatch, name, value, path):
    monkeypatch.setenv(name, value)
    found = load_settings()
    for part in path.split("."):
        found = getattr(found, part)
    return found


@pytest.mark.parametrize(
    ("name", "value", "path", "meant"),
    [
        ("RL_TRAINING_REDIS_HOST", "redis", "event_bus_url", "redis://redis:6379/0"),
        ("RL_TRAINING_REDIS_HOST", "10.0.0.7:6380", "event_bus_url", "redis://10.0.0.7:6380/0"),
        ("RL_TRAINING_DATABASE_URL", "postgresql://u@db/x", "database_url", "postgresql+psycopg2://u@db/x"),
        ("RL_TRAINING_DATABASE_URL", "postgresql+asyncpg://u@db/x", "database_url", "postgresql+psycopg2://u@db/x"),
        ("RL_TRAINING_DATABASE_URL", "sqlite:///x.db", "database_url", "sqlite:///x.db"),
        ("RL_TRAINING_RL_RETRAIN_INTERVAL_HOURS", "12", "rl_training_interval_minutes", 720),
        ("RL_TRAINING_CLM_RETRAIN_INTERVAL_HOURS", "168", "training_cron_schedule", "0 2 * * 1"),
        ("RL_TRAINING_CLM_RETRAIN_INTERVAL_HOURS", "24", "training_cron_schedule", "0 2 * * *"),
        ("RL_TRAINING_CLM_RETRAIN_INTERVAL_HOURS", "8", "training_cron_schedule", "0 2,10,18 * * *"),
        ("RL_TRAINING_DRIFT_CHECK_INTERVAL_HOURS", "24", "drift_cron_schedule", "0 1 * * *"),
        ("RL_TRAINING_DRIFT_CHECK_INTERVAL_HOURS", "168", "drift_cron_schedule", "0 1 * * 1"),
        ("RL_TRAINING_AUTO_PROMOTION_ENABLED", "false", "promotion.automatic", False),
        ("RL_TRAINING_AUTO_PROMOTION_ENABLED", "True", "promotion.automatic", True),
        ("RL_TRAINING_MIN_IMPROVEMENT_FOR_PROMOTION", "0.05", "promotion.min_improvement", 0.05),
        ("ML_TRAINING_DEBUG", "true", "log_level", "DEBUG"),
        ("ML_TRAINING_DEBUG", "0", "log_level", "INFO"),
        ("rl_training_auto_promotion_enabled", "off", "promotion.automatic", False),
    ],
)
def test_a_variable_sets_the_field_that_it_means(monkeypatch, name, value, path, meant):
    assert setting_after(monkeypatch, name, value, path) == meant
    assert name in environment(), "a step on another machine needs it, too"


def test_the_defaults_of_the_replaced_system_together(monkeypatch):
    for name, value in DEFAULTS.items():
        monkeypatch.setenv(name, value)
    settings = load_settings()
    assert settings.promotion == type(settings.promotion)()
    assert (settings.training_cron_schedule, settings.drift_cron_schedule) == ("0 2 * * 1", "0 1 * * *")
    assert settings.log_level == "INFO"


def test_only_the_named_field_of_a_section_changes(monkeypatch, tmp_path):
    file = tmp_path / "settings.yaml"
    settings = yaml.safe_load(config_path().read_text())
    file.write_text(yaml.safe_dump({**settings, "promotion": {"rule": "improvement", "campaign_weeks": 9}}))
    monkeypatch.setenv("QUANTUM_TRAINING_CONFIG", str(file))
    monkeypatch.setenv("QUANTUM_TRAINING_PROMOTION__MIN_PREDICTIONS", "50")
    monkeypatch.setenv("RL_TRAINING_AUTO_PROMOTION_ENABLED", "false")
    rule = load_settings().promotion
    assert (rule.rule, rule.campaign_weeks, rule.min_predictions, rule.automatic) == ("improvement", 9, 50, False)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("RL_TRAINING_REDIS_HOST", "redis://redis", "allowed: HOST or HOST:PORT; set QUANTUM_TRAINING_EVENT_BUS_URL"),
        (
            "RL_TRAINING_DATABASE_URL",
            "mysql://u:secret@db/x",  # pragma: allowlist secret
            "set QUANTUM_TRAINING_DATABASE_URL instead",
        ),
        ("RL_TRAINING_RL_RETRAIN_INTERVAL_HOURS", "1.5", "a whole number of hours from 1 on"),
        ("RL_TRAINING_RL_RETRAIN_INTERVAL_HOURS", "0", "set RL_TRAINING_INTERVAL_MINUTES instead"),
        ("RL_TRAINING_CLM_RETRAIN_INTERVAL_HOURS", "100", "set TRAINING_CRON_SCHEDULE instead"),
        ("RL_TRAINING_DRIFT_CHECK_INTERVAL_HOURS", "6", "set QUANTUM_TRAINING_DRIFT_CRON_SCHEDULE instead"),
        ("RL_TRAINING_AUTO_PROMOTION_ENABLED", "perhaps", "set QUANTUM_TRAINING_PROMOTION__AUTOMATIC instead"),
        ("RL_TRAINING_MIN_IMPROVEMENT_FOR_PROMOTION", "2 %", "set QUANTUM_TRAINING_PROMOTION__MIN_IMPROVEMENT inst"),
        ("ML_TRAINING_DEBUG", "much", "set LOG_LEVEL instead"),
        ("RL_TRAINING_MLFLOW_TRACKING_URI", "http://mlflow", "no option; set QUANTUM_TRAINING_MLFLOW_TRACKING_URI ins"),
        ("ML_TRAINING_BATCH_SIZE", "1000", "no option; set TRAINING_BATCH_SIZE instead"),
        ("RL_TRAINING_COLOUR", "blue", "no option; unset it; docs/settings.md lists the options"),
    ],
)
def test_a_variable_that_cannot_be_followed_is_refused_by_name(monkeypatch, name, value, message):
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError) as error:
        load_settings()
    assert name in str(error.value)
    assert message in str(error.value)
    assert "secret" not in str(error.value)


@pytest.mark.parametrize("own", ["TRAINING_CRON_SCHEDULE", "QUANTUM_TRAINING_EVENT_BUS_URL"])
def test_two_variables_for_one_field_are_refused(monkeypatch, own):
    for name, value in DEFAULTS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv(own, "0 5 * * *" if "CRON" in own else "redis://other/0")
    with pytest.raises(SettingsError, match=f"{own} is set, too, and one of them would be ignored"):
        load_settings()
    monkeypatch.setenv(own, "")
    if "CRON" not in own:
        assert load_settings().event_bus_url == "redis://redis:6379/0", "an empty one, as Compose sets it, is none"
