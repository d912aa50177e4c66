"""The instance for Kubernetes and Ray: run_monitoring leaves nested runs to the run around them.

The launcher is Dagster's own for Kubernetes. A web server on loopback answers as a cluster does about the jobs of runs.
"""

import http.server
import logging
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import ClassVar

import dagster as dg
import pytest
import yaml
from dagster._core.remote_origin import InProcessCodeLocationOrigin, RemoteJobOrigin, RemoteRepositoryOrigin
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import EmptyWorkspaceTarget
from dagster._daemon.monitoring import execute_run_monitoring_iteration

from quantum_training.automation.run_launcher import LAUNCHER_OVER
from quantum_training.resources.run_origin import LAUNCHED_BY

NESTED_RUNS = {"instance_class": {"module": "quantum_training.automation.instance", "class": "NestedRunsInstance"}}
STARTED = dg.DagsterRunStatus.STARTED
LOCATION = InProcessCodeLocationOrigin(LoadableTargetOrigin(module_name="quantum_training.definitions"))
LAUNCHED = RemoteJobOrigin(RemoteRepositoryOrigin(LOCATION, "__repository__"), "nothing")
JOB = dg.GraphDefinition("nothing").to_job()


class Jobs(http.server.BaseHTTPRequestHandler):
    """A Kubernetes API whose only jobs are those of these runs."""

    runs: ClassVar[set[str]] = set()

    def do_GET(self) -> None:
        if not any(run_id in self.path for run_id in self.runs):
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(b'{"status": {"active": 1}}')

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def build_instance(tmp_path: Path) -> Iterator[Callable[[dict], dg.DagsterInstance]]:
    """An instance whose runs are Kubernetes jobs. options: more of its dagster.yaml."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Jobs)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    cluster = {"name": "c", "cluster": {"server": f"http://127.0.0.1:{server.server_port}"}}
    context = {"name": "c", "context": {"cluster": "c", "user": "u"}}
    access = {
        "clusters": [cluster],
        "contexts": [context],
        "current-context": "c",
        "users": [{"name": "u", "user": {}}],
    }
    (tmp_path / "access.yaml").write_text(yaml.safe_dump(access))
    kubernetes = {
        "service_account_name": "dagster",
        "instance_config_map": "dagster-instance",
        "load_incluster_config": False,
        "kubeconfig_file": str(tmp_path / "access.yaml"),
    }
    settings = {
        "telemetry": {"enabled": False},
        "run_monitoring": {"enabled": True},
        "run_launcher": {"module": "dagster_k8s", "class": "K8sRunLauncher", "config": kubernetes},
    }
    built = []

    def build(options: dict) -> dg.DagsterInstance:
        (tmp_path / "dagster.yaml").write_text(yaml.safe_dump({**settings, **options}))
        built.append(dg.DagsterInstance.from_config(str(tmp_path)))
        return built[-1]

    yield build
    for instance in built:
        instance.dispose()
    server.shutdown()
    server.server_close()


def launch(instance: dg.DagsterInstance, **tags: str) -> str:
    """The id of a run that goes on as a Kubernetes job."""
    run = instance.create_run_for_job(JOB, status=STARTED, tags=tags, remote_job_origin=LAUNCHED)
    Jobs.runs.add(run.run_id)
    return run.run_id


def nest(instance: dg.DagsterInstance, around: str) -> str:
    """The id of a run that goes on in the process of another one."""
    return instance.create_run_for_job(JOB, status=STARTED, tags={LAUNCHED_BY: around}).run_id


def monitor(instance: dg.DagsterInstance) -> None:
    """One round of run_monitoring, as the daemon does it."""
    with WorkspaceProcessContext(instance, EmptyWorkspaceTarget()) as process:
        errors = [*execute_run_monitoring_iteration(process, logging.getLogger("test"))]
    assert not [error for error in errors if error]


def states(instance: dg.DagsterInstance, *run_ids: str) -> list[str]:
    return [instance.get_run_by_id(run_id).status.value for run_id in run_ids]


def test_a_nested_run_is_alive_as_long_as_the_run_around_it(build_instance):
    instance = build_instance(NESTED_RUNS)
    around, ended = launch(instance), launch(instance)
    inside, left = nest(instance, around), nest(instance, ended)
    instance.report_run_failed(instance.get_run_by_id(ended))
    monitor(instance)
    assert states(instance, around, inside, left) == ["STARTED", "STARTED", "FAILURE"]
    (failure,) = instance.all_logs(left, of_type=dg.DagsterEventType.RUN_FAILURE)
    assert LAUNCHER_OVER in failure.message


def test_a_run_without_a_job_is_dead_also_if_a_person_executed_a_nested_run_again(build_instance):
    instance = build_instance(NESTED_RUNS)
    around = launch(instance)
    alone, again, alive = launch(instance), launch(instance, **{LAUNCHED_BY: around}), launch(instance)
    Jobs.runs -= {alone, again}
    monitor(instance)
    assert states(instance, around, alone, again, alive) == ["STARTED", "FAILURE", "FAILURE", "STARTED"]


def test_a_nested_run_is_not_stopped_alone(build_instance):
    instance = build_instance(NESTED_RUNS)
    around = launch(instance)
    inside = nest(instance, around)
    assert instance.run_launcher.terminate(inside) is False
    assert states(instance, around, inside) == ["STARTED", "STARTED"]
    (event,) = instance.all_logs(inside, of_type=dg.DagsterEventType.ENGINE_EVENT)
    assert f"Stop run {around}" in event.message


def test_without_it_dagster_fails_a_nested_run_that_goes_on(build_instance):
    """Why docker/helm-values.yaml and docs/production/scale_out.md name the class. Once this fails, it can go."""
    instance = build_instance({})
    around = launch(instance)
    inside = nest(instance, around)
    monitor(instance)
    assert states(instance, around, inside) == ["STARTED", "FAILURE"]


def test_the_rest_of_the_instance_is_as_without_it(build_instance):
    instance = build_instance({**NESTED_RUNS, "run_retries": {"enabled": True, "max_retries": 3}})
    assert instance.run_retries_max_retries == 3
    assert type(instance.run_launcher).__name__ == "K8sRunLauncher"
    with dg.DagsterInstance.from_ref(instance.get_ref()) as again:
        assert type(again) is type(instance)
