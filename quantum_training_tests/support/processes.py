"""Real processes on loopback for tests: each is stopped, with all its children, when its stack closes."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import psutil


def wait_for(what: str, ready: Callable[[], Any], seconds: float, hint: Callable[[], str] = str) -> Any:
    """The first true answer of `ready`, asked five times a second; AssertionError with `hint` after so many seconds."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if answer := ready():
            return answer
        time.sleep(0.2)
    raise AssertionError(f"no {what} within {seconds:g} s\n{hint()}")


def free_port() -> int:
    """A port of loopback that nobody listens on now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def listens(port: int) -> bool:
    """Does anybody listen on that port of loopback?"""
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


def healthy(url: str) -> bool:
    """Does that address answer with 200?"""
    with suppress(OSError), urllib.request.urlopen(url, timeout=5) as response:
        return response.status == 200
    return False


def is_run_worker(process: psutil.Process) -> bool:
    """Does the process carry out a run? Its command line is that of the code server's child that it is a copy of."""
    with suppress(psutil.NoSuchProcess):
        parent = process.parent()
        of_code_server = parent is not None and "grpc" in parent.cmdline()
        return "multiprocessing.forkserver" in " ".join(process.cmdline()) and not of_code_server
    return False


def program(name: str) -> str:
    """A command of the virtual environment that runs the tests."""
    return str(Path(sys.executable).with_name(name))


def start(
    stack: ExitStack, command: list[str], log: Path, environment: dict[str, str], cwd: Path, **options: Any
) -> subprocess.Popen:
    """A process in a group of its own that adds what it says to `log`; the stack stops it."""
    process = subprocess.Popen(
        command,
        env=environment,
        cwd=cwd,
        stdout=stack.enter_context(log.open("a")),
        stderr=subprocess.STDOUT,
        start_new_session=True,
        **options,
    )
    stack.callback(stop, process)
    return process


def stop(process: subprocess.Popen) -> None:
    """End the process and every process of its group: politely, then for sure."""
    for signal_, seconds in ((signal.SIGTERM, 10), (signal.SIGKILL, 10)):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal_)
        with suppress(subprocess.TimeoutExpired):
            process.wait(seconds)
