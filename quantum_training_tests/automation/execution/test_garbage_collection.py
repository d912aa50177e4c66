"""Full garbage collections: how many there are while a process grows, and what they walk."""

import subprocess
import sys

import pytest

GROWTH = """
import gc
full = []
loaded = [[] for _ in range(300_000)]
{prepare}
gc.callbacks.append(lambda phase, info: full.append(phase) if info["generation"] == 2 else None)
kept = [[] for _ in range(600_000)]
print(len(full) // 2, gc.get_freeze_count() > 300_000, gc.get_threshold()[:2])
"""


@pytest.fixture
def grow():
    def run(prepare):
        command = [sys.executable, "-c", GROWTH.format(prepare=prepare)]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout.strip()

    return run


def test_a_process_that_grows_walks_its_objects_rarely_and_never_those_that_it_had_before(grow):
    usual, rare = (grow(p) for p in ("", "import quantum_training.automation.execution.garbage_collection"))
    assert int(usual.split()[0]) >= 2
    assert rare == "0 True (700, 10)"


def test_runs_begin_and_definitions_load_with_rare_collections():
    probe = "import gc, quantum_training.definitions as d; print(gc.get_threshold()[2])"
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", probe], capture_output=True, text=True, timeout=120)
    assert done.stdout.strip() == "100", done.stderr
