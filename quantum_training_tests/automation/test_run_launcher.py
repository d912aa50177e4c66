"""The run launcher with a real code server: run_monitoring learns of a run that died together with its server."""

import signal
import time

import dagster as dg
import psutil
import pytest
import yaml
from dagster._cli.job import _create_run
from dagster._core.launcher import WorkerStatus
from dagster._core.remote_origin import InProcessCodeLocationOrigin, RemoteJobOrigin, RemoteRepositoryOrigin
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import GrpcServerTarget

from quantum_training.automation.run_launcher import WatchfulRunLauncher
from quantum_training.resources.run_origin import LAUNCHED_BY
from quantum_training_tests.support.processes import free_port, wait_for

SLEEPER = """
import time
import dagster as dg

@dg.op
def sleeps():
    time.sleep(600)

@dg.job
def sleeper():
    sleeps()

defs = dg.Definitions(jobs=[sleeper])
"""
LAUNCHER = {"module": "quantum_training.automation.run_launcher", "class": "WatchfulRunLauncher"}


@pytest.fixture
def instance(tmp_path, monkeypatch):
    (tmp_path / "sleeper.py").write_text(SLEEPER)
    (tmp_path / "dagster.yaml").write_text(yaml.safe_dump({"telemetry": {"enabled": False}, "run_launcher": LAUNCHER}))
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    with dg.DagsterInstance.from_config(str(tmp_path)) as built:
        yield built


def test_a_nested_run_is_alive_as_long_as_its_surrounding_run(instance):
    job = dg.GraphDefinition("nothing").to_job()
    parent = instance.create_run_for_job(job, status=dg.DagsterRunStatus.STARTED)
    child = instance.create_run_for_job(job, status=dg.DagsterRunStatus.STARTED, tags={LAUNCHED_BY: parent.run_id})
    launcher = instance.run_launcher
    assert isinstance(launcher, WatchfulRunLauncher)
    assert launcher.supports_check_run_worker_health
    assert launcher.check_run_worker_health(child).status == WorkerStatus.RUNNING
    assert launcher.check_run_worker_health(parent).status == WorkerStatus.RUNNING
    instance.report_run_failed(parent)
    assert launcher.check_run_worker_health(child).status == WorkerStatus.FAILED
    origin = RemoteJobOrigin(
        RemoteRepositoryOrigin(InProcessCodeLocationOrigin(LoadableTargetOrigin()), "r"), "nothing"
    )
    again = instance.create_run_for_job(job, status=child.status, tags=child.tags, remote_job_origin=origin)
    assert launcher.check_run_worker_health(again).status == WorkerStatus.RUNNING, "a run of its own"


@pytest.mark.soak
def test_a_run_whose_code_server_died_is_reported_as_dead(instance, platform, tmp_path):
    """Alive; then the server is gone and is waited for; then it is back and does not know the run."""
    named = ["-m", "sleeper", "-d", str(tmp_path), "--location-name", "sleeper"]

    def serve():
        address = ["-h", "127.0.0.1", "-p", str(platform.code_port)]
        platform.run("code-server", ["dagster", "api", "grpc", *named, *address], {})

    def answers():
        try:
            with WorkspaceProcessContext(instance, target) as process:
                return process.create_request_context().get_code_location("sleeper")
        except Exception:
            return None

    platform.code_port = free_port()
    target = GrpcServerTarget("127.0.0.1", platform.code_port, None, "sleeper")
    serve()
    wait_for("code server", answers, 120, platform.log_tails)
    with WorkspaceProcessContext(instance, target) as process:
        workspace = process.create_request_context()
        location = workspace.get_code_location("sleeper")
        repository = location.get_repository("__repository__")
        of = {"code_location": location, "remote_repo": repository, "remote_job": repository.get_full_job("sleeper")}
        run = _create_run(instance=instance, run_config={}, tags={}, op_selection=None, run_id=None, **of)
        instance.launch_run(run.run_id, workspace)
    started = lambda: instance.get_run_by_id(run.run_id).status == dg.DagsterRunStatus.STARTED  # noqa: E731
    wait_for("run", started, 120, platform.log_tails)
    health = lambda: instance.run_launcher.check_run_worker_health(instance.get_run_by_id(run.run_id)).status  # noqa: E731
    assert health() == WorkerStatus.RUNNING
    server = platform.processes["code-server"]
    for process in [*psutil.Process(server.pid).children(recursive=True), psutil.Process(server.pid)]:
        process.send_signal(signal.SIGKILL)
    server.wait(10)
    time.sleep(1)
    assert started(), "nobody has told Dagster"
    assert health() == WorkerStatus.RUNNING, "its server may be back at once"
    serve()
    wait_for("code server again", answers, 120, platform.log_tails)
    assert health() == WorkerStatus.FAILED
