"""SIGKILL of the run worker, the daemon and the code server of a real platform, and two daemons by mistake.

Nobody helps: run_monitoring notices, run_retries goes on; what was killed is started again, as a container is. A run
that the platform gives up, since its code server was not back when its retry was due, is started again as an operator
does and counted. `make soak` runs 12 points here; POINTS=3 and the like run fewer.
"""

import os
import random
import signal
import time
from contextlib import ExitStack, suppress
from pathlib import Path

import dagster as dg
import psutil
import pytest
import yaml
from dagster._cli.job import _create_run
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import GrpcServerTarget

from quantum_training_tests.support.platforms import LOCATION, Platform
from quantum_training_tests.support.processes import is_run_worker, wait_for

KINDS = ("run worker", "daemon", "code server", "code server, its runs live on")
GIVEN_UP_SECONDS = 30
DAGSTER_YAML = Path(__file__).parents[2] / "dagster_home" / "dagster.yaml"
MONITORING = {"enabled": True, "poll_interval_seconds": 2, "start_timeout_seconds": 60}


@pytest.fixture(scope="module")
def reference(world):
    """By symbol: what an undisturbed run leaves."""
    end_states = {}
    for symbol in world.symbols:
        world.reset()
        (ended,) = world.do(world.cycle(symbol))
        assert ended["code"] == 0, world.log.read_text()[-3000:]
        end_states[symbol] = world.state()
    return end_states


class Real:
    """Code server and daemon over the world's project, and the runs sent to them."""

    def __init__(self, world, platform, instance, environment):
        self.world, self.platform, self.instance = world, platform, instance
        self.environment, self.by_hand = environment, 0

    def submit(self, symbol):
        """Queue the weekly cycle of a symbol; the id of its run."""
        target = GrpcServerTarget("127.0.0.1", self.platform.code_port, None, LOCATION)
        with WorkspaceProcessContext(self.instance, target) as process:
            workspace = process.create_request_context()
            location = workspace.get_code_location(LOCATION)
            repository = location.get_repository("__repository__")
            job = repository.get_full_job("weekly_cycle")
            of = {"code_location": location, "remote_repo": repository, "remote_job": job, "op_selection": None}
            tags = self.world.cycle(symbol)["tags"]
            run = _create_run(instance=self.instance, run_config={}, tags=tags, run_id=None, **of)
            self.instance.submit_run(run.run_id, workspace)
            return run.run_id

    def family(self, run_id):
        """The run and its retries, oldest first."""
        group = self.instance.get_run_group(run_id)
        return sorted(group[1], key=lambda r: self.instance.get_run_record_by_id(r.run_id).create_timestamp)

    def through(self, run_id, symbol, seconds=420):
        """Wait until the run or a retry has succeeded and none is at work; start it by hand where it is given up."""
        ids, failed_at = [run_id], None
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            runs = [run for i in ids for run in self.family(i)]
            if all(run.is_finished for run in runs):
                if runs[-1].status == dg.DagsterRunStatus.SUCCESS:
                    return runs
                failed_at = failed_at or time.monotonic()
                if time.monotonic() - failed_at > GIVEN_UP_SECONDS:
                    ids.append(self.submit(symbol))
                    self.by_hand, failed_at = self.by_hand + 1, None
            else:
                failed_at = None
            time.sleep(0.5)
        raise AssertionError(f"{[(r.run_id, r.status) for r in runs]} after {seconds} s\n{self.platform.log_tails()}")

    def kill(self, kind, pause):
        """Kill that, and start it again after so many seconds where nobody else does."""
        processes = self.platform.processes
        if kind == "run worker":
            for worker in self.workers():
                with suppress(psutil.NoSuchProcess):
                    worker.kill()
        elif kind == "daemon":
            os.killpg(processes["daemon"].pid, signal.SIGKILL)
            processes["daemon"].wait(10)
            time.sleep(pause)
            self.platform.daemon(self.environment)
        else:
            server, spared = processes["code-server"], self.workers() if "live on" in kind else []
            for process in [psutil.Process(server.pid), *psutil.Process(server.pid).children(recursive=True)]:
                if process not in spared:
                    with suppress(psutil.NoSuchProcess):
                        process.kill()
            server.wait(10)
            time.sleep(pause)
            self.platform.code_server(self.environment)

    def workers(self):
        """The processes of runs that the code server has launched."""
        server = psutil.Process(self.platform.processes["code-server"].pid)
        return [child for child in server.children(recursive=True) if is_run_worker(child)]

    def quiet(self):
        """Wait until no process of a run is left, whoever its parent is now."""
        home = self.world.environment["QUANTUM_TRAINING_CONFIG"]

        def working():
            pids = []
            for process in psutil.process_iter(["environ"]):
                of_home = (process.info["environ"] or {}).get("QUANTUM_TRAINING_CONFIG") == home
                if of_home and is_run_worker(process):
                    pids.append(process.pid)
            return pids

        wait_for("end of all run workers", lambda: not working(), 300)


@pytest.fixture(scope="module")
def real(world, reference, tmp_path_factory):
    with ExitStack() as stack, pytest.MonkeyPatch.context() as patch:
        platform = Platform(tmp_path_factory.mktemp("platform"), stack)
        environment = {**world.environment, "DAGSTER_HOME": str(platform.home)}
        for name, value in environment.items():
            patch.setenv(name, value)
        shipped = yaml.safe_load(DAGSTER_YAML.read_text())
        (platform.home / "dagster.yaml").write_text(yaml.safe_dump({**shipped, "run_monitoring": MONITORING}))
        instance = stack.enter_context(dg.DagsterInstance.from_config(str(platform.home)))
        instance.get_runs(limit=1)
        platform.code_server(environment)
        platform.daemon(environment)
        yield Real(world, platform, instance, environment)


def check(real, symbol, reference):
    state, expected = real.world.state(), dict(reference[symbol])
    assert set(state.pop("runs_without_version")) <= {"KILLED"}
    for part in ("materialised", "runs_without_version"):  # the instance is another one
        expected.pop(part)
    for part, value in expected.items():
        assert state[part] == value, part
    assert list(real.world.folder.rglob("*.tmp")) == []


@pytest.mark.soak
def test_the_platform_brings_back_what_was_killed(real, reference):
    rng = random.Random(11)
    kill_points = [
        (kind, symbol, rng.random(), 3 * rng.random()) for kind in KINDS for symbol in (*real.world.symbols, "AAA")
    ]
    wrong, length = [], None
    for kind, symbol, share, pause in kill_points[: int(os.environ.get("POINTS", len(kill_points)))]:
        real.world.reset()
        if length is None:
            began = time.monotonic()
            real.through(real.submit(symbol), symbol)
            length = time.monotonic() - began
            real.quiet()
            real.world.reset()
        by_hand, began = real.by_hand, time.monotonic()
        run_id = real.submit(symbol)
        time.sleep(share * length)
        real.kill(kind, pause)
        runs = real.through(run_id, symbol)
        real.quiet()
        try:
            check(real, symbol, reference)
            outcome = "as undisturbed"
        except AssertionError as error:
            wrong.append(f"{kind} {symbol} at {share:.2f}: {str(error)[:2000]}")
            outcome = f"WRONG {wrong[-1]}"
        hand = ", started again by hand" if real.by_hand > by_hand else ""
        took = time.monotonic() - began
        print(
            f"{kind} {symbol} at {share:.2f} of {length:.0f} s: {len(runs)} runs{hand}, {took:.0f} s, {outcome}",
            flush=True,
        )
    assert not wrong, "\n".join(wrong)


@pytest.mark.soak
def test_a_second_daemon_starts_no_run_twice(real, reference):
    real.world.reset()
    real.platform.daemon(real.environment, "second-daemon")
    ids = [real.submit("AAA") for _ in range(4)]
    for run_id in ids:
        (run,) = real.through(run_id, "AAA")
        starts = real.instance.all_logs(run.run_id, of_type=dg.DagsterEventType.RUN_START)
        print(f"run {run.run_id}: started {len(starts)} times", flush=True)
    real.quiet()
    check(real, "AAA", reference)
