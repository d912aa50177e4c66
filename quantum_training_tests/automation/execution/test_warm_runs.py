"""Runs that begin with the libraries loaded: how Dagster's code server is told, and that the names are right.

That runs really begin so is shown by automation/test_killed_batch.py.
"""

import subprocess
import sys
from importlib.util import find_spec

import pytest

from quantum_training.automation.execution.warm_runs import LIBRARIES, start_runs_warm

NO_SERVER = """
import sys
from quantum_training.automation.execution.warm_runs import start_runs_warm
before = {*sys.modules}
start_runs_warm()
print({*sys.modules} - before)
"""


def test_a_code_server_that_runs_already_forks_its_runs(monkeypatch):
    from dagster._grpc.server import DagsterApiServer

    monkeypatch.setattr(DagsterApiServer, "_mp_ctx", None, raising=False)  # removed again after the test
    server = object.__new__(DagsterApiServer)
    server._mp_ctx = "spawn"
    start_runs_warm()
    assert server._mp_ctx.get_start_method() == "forkserver"
    server._mp_ctx = "spawn"
    assert server._mp_ctx.get_start_method() == "forkserver", "a server that begins later does, too"


def test_another_process_is_left_alone():
    process = subprocess.run([sys.executable, "-c", NO_SERVER], capture_output=True, text=True, timeout=60, check=True)
    assert process.stdout.strip() == "set()"


@pytest.mark.parametrize("name", LIBRARIES)
def test_every_library_has_that_name(name):
    assert find_spec(name)
