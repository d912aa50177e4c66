"""Every test: one BLAS thread, temporary files in memory, the longest modules first. Fixtures are in support/."""

import os

os.environ["OPENBLAS_NUM_THREADS"] = "1"  # as many test processes as cores: further threads would only wait

import shutil
from pathlib import Path

import pytest
from hypothesis import settings as hypothesis_settings

pytest_plugins = [
    "quantum_training_tests.support.databases",
    "quantum_training_tests.support.market_data",
    "quantum_training_tests.support.projects",
]

hypothesis_settings.register_profile("compiled", deadline=None)  # a first example may wait for the compiler
hypothesis_settings.load_profile("compiled")

MEMORY = Path("/dev/shm")
ROOM_BYTES = 4 * 2**30


def pytest_configure() -> None:
    """Keep temporary files in memory where there is room: on a disk the tests wait for SQLite's thousands of fsyncs."""
    if os.access(MEMORY, os.W_OK) and shutil.disk_usage(MEMORY).free > ROOM_BYTES:
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(MEMORY))


LONGEST = ("test_readme.py", "test_zoo.py", "test_learning_loop.py", "test_daemon.py")
"""Modules of the longest tests, those of processes, which wait more than they work, beside those that work."""


@pytest.hookimpl(trylast=True)  # of those that are left
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the longest modules, by turns in the first and in the second half: each of the two processes is handed
    one half, and a long module begun last would keep a single one busy for minutes."""
    rest = [item for item in items if item.path.name not in LONGEST]
    first, second = ([item for name in LONGEST[half::2] for item in items if item.path.name == name] for half in (0, 1))
    room = max(0, len(items) // 2 - len(first))
    items[:] = [*first, *rest[:room], *second, *rest[room:]]
