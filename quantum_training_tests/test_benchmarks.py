"""Benchmarks run only when somebody measures: those that no longer load are found here before that."""

import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = sorted(file.stem for file in Path(__file__).with_name("benchmarks").glob("*.py"))
IN_ANOTHER_ENVIRONMENT = "feature_peers"
"""feature_sets.py runs it by its path in the environment of another tool, whose packages it imports."""


@pytest.mark.long
def test_every_benchmark_loads():
    own = [f"import quantum_training_tests.benchmarks.{name}" for name in BENCHMARKS if name != IN_ANOTHER_ENVIRONMENT]
    done = subprocess.run([sys.executable, "-c", "\n".join(own)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
