"""The setting that chooses the executor. Steps on a real cluster: test_ray_steps.py."""

import os
import subprocess
import sys

import dagster as dg
import pytest

from quantum_training.automation.execution.executor import build_executor, in_process
from quantum_training.settings import environment, load_settings
from quantum_training.settings.paths import SettingsError


@pytest.fixture
def settings(monkeypatch, tmp_path):
    def load(name):
        monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
        monkeypatch.setenv("QUANTUM_TRAINING_EXECUTOR", name)
        return load_settings()

    return load


def test_the_setting_switches_the_executor_of_every_job(settings):
    assert build_executor(settings("in_process")) is in_process
    assert in_process.name == dg.in_process_executor.name
    assert build_executor(settings("ray")).name == "ray"
    with pytest.raises(SettingsError, match=r"executor = 'celery': .*'in_process' or 'ray'"):
        settings("celery")


@pytest.mark.parametrize(("name", "loaded"), [("in_process", "set()"), ("ray", "{'dagster_ray'}")])
def test_the_definitions_never_import_ray_itself(name, loaded):
    code = (
        "import sys; import quantum_training.definitions as d;"
        f"assert d.defs.executor.name == {name!r};"
        "print({'ray', 'dagster_ray'} & sys.modules.keys())"
    )
    process = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        env={**os.environ, "QUANTUM_TRAINING_EXECUTOR": name, "DAGSTER_HOME": "/nowhere"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert process.stdout.strip() == loaded, process.stderr


def test_a_missing_ray_package_is_an_error_that_names_the_extra(settings, monkeypatch):
    monkeypatch.setitem(sys.modules, "dagster_ray", None)
    monkeypatch.setitem(sys.modules, "dagster_ray.core.executor", None)
    monkeypatch.delitem(sys.modules, "quantum_training.automation.execution.ray_steps", raising=False)
    with pytest.raises(SettingsError, match=r"pip install 'quantum_training\[ray\]'"):
        build_executor(settings("ray"))


def test_a_step_gets_the_environment_variables_of_the_settings_and_no_others(monkeypatch):
    secret = ("AWS_SECRET_ACCESS_KEY", "PGPASSWORD")
    for name in ("QUANTUM_TRAINING_CONFIG", "TRAINING_BATCH_SIZE", "DAGSTER_HOME", *secret):
        monkeypatch.setenv(name, "1")
    variables = environment()
    assert {"QUANTUM_TRAINING_CONFIG", "TRAINING_BATCH_SIZE", "DAGSTER_HOME"} <= set(variables)
    assert not {*secret, "PATH"} & set(variables)


def test_an_unreachable_cluster_is_an_error_with_its_address(monkeypatch):
    from quantum_training.automation.execution.ray_steps import job_client

    monkeypatch.setenv("RAY_ADDRESS", "http://127.0.0.1:9")
    message = r"no Ray job server at RAY_ADDRESS = http://127.0.0.1:9: .*start the cluster"
    with pytest.raises(ConnectionError, match=message):
        job_client()
