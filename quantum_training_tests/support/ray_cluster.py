"""A real Ray cluster on loopback whose nodes can be killed: a head without cores, and worker nodes."""

import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import psutil

from quantum_training_tests.support.processes import free_port

BIN = Path(sys.executable).parent


class Cluster:
    """A Ray head without cores, as KubeRay's should have none, so that all work is on the worker nodes."""

    def __init__(self, folder: Path, environment: Mapping[str, str], stack: ExitStack, ports: list[int]) -> None:
        self.folder, self.stack = folder, stack
        self.network = "127.{}.{}".format(*random.sample(range(1, 255), 2))  # Ray has fixed ports: one network for each
        self.gcs, self.jobs, *self.agents = ports
        self.address = f"http://127.0.0.1:{self.jobs}"
        self.environment = {**os.environ, **environment, "RAY_USAGE_STATS_ENABLED": "0"}

    def head(self) -> None:
        """Start the head."""
        places = ["--port", str(self.gcs), "--dashboard-host", "127.0.0.1", "--dashboard-port", str(self.jobs)]
        self.node("head", 0, ["--head", *places, "--temp-dir", str(self.folder), "--num-cpus", "0"])

    def worker(self, cpus: int = 2, number: int = 1) -> subprocess.Popen:
        """Start a worker node of so many cores; it may take the number of one that is gone."""
        options = ["--address", f"{self.network}.2:{self.gcs}", "--num-cpus", str(cpus)]
        return self.node(f"worker{number}", number, options)

    def node(self, name: str, number: int, options: list[str]) -> subprocess.Popen:
        """Start a node. A busy machine may not do it within Ray's fixed 30 s, so three attempts."""
        variables = [
            "--node-ip-address",
            f"{self.network}.{number + 2}",
            "--object-store-memory",
            "80000000",
            "--disable-usage-stats",
        ]
        agent = ["--dashboard-agent-listen-port", str(self.agents[number])]
        log = self.folder / f"{name}.log"
        for _ in range(3):
            node = subprocess.Popen(
                [str(BIN / "ray"), "start", "--block", *options, *variables, *agent],
                env=self.environment,
                cwd=self.folder,
                stdout=log.open("w"),
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            self.stack.callback(destroy, node)
            end = time.monotonic() + 120
            while node.poll() is None and time.monotonic() < end:
                if "will now block forever" in log.read_text():
                    return node
                time.sleep(0.5)
            destroy(node)
        raise AssertionError(f"{name} did not come up\n{log.read_text()}")


def destroy(node: subprocess.Popen) -> None:
    """SIGKILL to a node's processes and to what runs on it, all at once, as when its machine is gone."""
    with suppress(psutil.NoSuchProcess):
        family = [psutil.Process(node.pid), *psutil.Process(node.pid).children(recursive=True)]
        for process in family:
            with suppress(psutil.NoSuchProcess):
                process.suspend()
        for process in family:
            with suppress(psutil.NoSuchProcess):
                process.send_signal(signal.SIGKILL)
        psutil.wait_procs(family, timeout=20)
    node.wait(20)


@contextmanager
def ray_cluster(paths: list[str], workers: int = 1) -> Iterator[Cluster]:
    """A cluster with a head and without a worker yet, for so many of them; nothing of it is left afterwards.

    paths: what its processes import from. Sockets allow no long path, so it is not in a test's folder.
    """
    with (
        tempfile.TemporaryDirectory(prefix="qtr", dir="/tmp", ignore_cleanup_errors=True) as folder,
        ExitStack() as stack,
    ):
        programs = os.pathsep.join([str(BIN), os.environ["PATH"]])  # a job of a node is the command `dagster`
        environment = {"PATH": programs, "PYTHONPATH": os.pathsep.join(paths), "PYTHONWARNINGS": "ignore"}
        cluster = Cluster(Path(folder), environment, stack, [free_port() for _ in range(3 + workers)])
        cluster.head()
        yield cluster
