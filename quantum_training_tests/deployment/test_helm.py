"""docker/helm-values.yaml by what of it needs no chart: Dagster's schemas of run launcher and instance, our settings.

The chart's values.schema.json is not here to be copied; docs/production/kubernetes.md says which one was read.
"""

import re
import tomllib
from pathlib import Path

import pytest
import yaml
from dagster._cli import create_dagster_cli
from dagster._config import validate_config
from dagster._core.instance.config import dagster_instance_config_schema
from dagster._serdes.config_class import class_from_code_pointer
from dagster_k8s import K8sRunLauncher
from dagster_k8s.container_context import K8sContainerContext
from dagster_k8s.job import UserDefinedDagsterK8sConfig

from quantum_training.automation.instance import NestedRunsInstance
from quantum_training.settings import Settings

DOCKER = Path(__file__).parents[2] / "docker"
TEXT = (DOCKER / "helm-values.yaml").read_text()
VALUES = yaml.safe_load(TEXT)
(CODE,) = VALUES["dagster-user-deployments"]["deployments"]
DAEMON = VALUES["dagsterDaemon"]


def snake(value):
    """Keys as the chart's templates write them into dagster.yaml."""
    if isinstance(value, dict):
        return {re.sub(r"([A-Z])", lambda m: f"_{m[1].lower()}", key): snake(v) for key, v in value.items()}
    return [snake(v) for v in value] if isinstance(value, list) else value


def valid(schema, config):
    result = validate_config(schema, config)
    assert result.success, [error.message for error in result.errors]


def test_the_image_can_launch_runs():
    extras = tomllib.loads((DOCKER.parent / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    named = re.search(r"EXTRAS=([\w,]+)", (DOCKER.parent / "docs/production/kubernetes.md").read_text())[1].split(",")
    assert "dagster-k8s" in [package for extra in named for package in extras[extra]]


def run_k8s_config():
    """`runK8sConfig` with the names that the chart writes."""
    config = VALUES["runLauncher"]["config"]["k8sRunLauncher"]["runK8sConfig"]
    return {re.sub(r"([A-Z])", lambda m: f"_{m[1].lower()}", key): value for key, value in config.items()}


def test_a_run_without_tags_gets_the_resources_of_the_code_server():
    """The chart gives runs the deployment's context, which goes over the launcher's."""
    launcher = K8sContainerContext(run_k8s_config=UserDefinedDagsterK8sConfig.from_dict(run_k8s_config()))
    run = launcher.merge(K8sContainerContext.create_from_config({"k8s": {"resources": CODE["resources"]}}))
    assert run.run_k8s_config.container_config["resources"] == CODE["resources"]
    assert run.run_k8s_config.pod_spec_config["security_context"]["run_as_user"] == 10001


def test_the_run_launcher_takes_its_configuration():
    values = VALUES["runLauncher"]["config"]["k8sRunLauncher"]
    config = {
        "service_account_name": "dagster",
        "instance_config_map": "dagster-instance",
        "dagster_home": VALUES["global"]["dagsterHome"],
        "image_pull_policy": values["imagePullPolicy"],
        "run_k8s_config": run_k8s_config(),
    }
    valid(K8sRunLauncher.config_type(), config)
    assert set(values) <= {"imagePullPolicy", "runK8sConfig"}, "map what is new here, too"


def test_the_instance_takes_what_the_chart_makes_of_the_values():
    retention = {name: snake(VALUES["retention"][name]) for name in ("schedule", "sensor")}
    config = {
        **VALUES["additionalInstanceConfig"],
        "run_monitoring": snake(DAEMON["runMonitoring"]),
        "run_retries": snake(DAEMON["runRetries"]),
        "retention": retention,
        "telemetry": VALUES["telemetry"],
    }
    valid(dagster_instance_config_schema(), config)
    named = config["instance_class"]
    assert class_from_code_pointer(named["module"], named["class"]) is NestedRunsInstance
    compose = yaml.safe_load((DOCKER / "dagster.yaml").read_text())
    same = ("schedule", "sensor")
    assert {name: compose["retention"][name] for name in same} == retention
    limits = [config["concurrency"]["runs"]["tag_concurrency_limits"] for config in (config, compose)]
    assert limits[0] == limits[1]
    assert not DAEMON["runCoordinator"]["enabled"], "with its limits, those of `concurrency` are refused"


def test_the_environment_of_runs_is_what_the_settings_read():
    names = {variable["name"] for variable in CODE["env"]}
    fields = {name.upper().removeprefix("QUANTUM_TRAINING_") for name in Settings.model_fields} | {"CONFIG"}
    config = {name.removeprefix("QUANTUM_TRAINING_") for name in names if name.startswith("QUANTUM_TRAINING_")}
    assert config <= fields
    assert {"CONFIG", "STORE_ROOT", "TRAINING_STATE_ROOT", "DATABASE_URL", "MLFLOW_TRACKING_URI"} <= config
    assert CODE["includeConfigInLaunchedRuns"]["enabled"]
    mounted = {mount["name"] for mount in CODE["volumeMounts"]}
    assert mounted == {volume["name"] for volume in CODE["volumes"]}


def test_the_code_servers_arguments_are_those_of_its_command():
    command = create_dagster_cli().commands["code-server"].commands["start"]
    options = {option for parameter in command.params for option in parameter.opts}
    assert {argument for argument in CODE["codeServerArgs"] if argument.startswith("-")} <= options


def test_the_file_holds_no_secret_and_publishes_no_port():
    assert not re.search(r"(?i)password\s*:\s*\S|secret_access_key\s*[:=]", TEXT.replace("PGPASSWORD", ""))
    assert not VALUES["generatePostgresqlPasswordSecret"]
    assert VALUES["dagsterWebserver"]["service"]["type"] == "ClusterIP"
    assert "ingress" not in VALUES
    assert "NodePort" not in TEXT
    assert "LoadBalancer" not in TEXT


@pytest.mark.parametrize("part", ["dagsterWebserver", "dagsterDaemon"])
def test_webserver_and_daemon_have_the_image_and_a_memory_limit(part):
    assert VALUES[part]["image"] == CODE["image"]
    assert VALUES[part]["resources"]["limits"]["memory"]
