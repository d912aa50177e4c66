"""Several processes open an empty MLflow database at the same time: each finds its tables."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import sqlalchemy as sa

OPEN = """
import sys
from quantum_training.resources.registry.registry import ModelRegistry
print(ModelRegistry(tracking_uri=sys.argv[1]).prepare(sys.argv[2]))
"""


@pytest.mark.long
def test_processes_that_open_an_empty_database_together(url: str, tmp_path: Path) -> None:
    """As the batches of a first schedule do."""
    processes = [
        subprocess.Popen(
            [sys.executable, "-W", "ignore", "-c", OPEN, url, f"S{number}"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "DAGSTER_HOME": str(tmp_path), "PYTHONPATH": os.pathsep.join(sys.path)},
        )
        for number in range(3)
    ]
    answers = [process.communicate(timeout=240) for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0], answers
    assert len({out for out, _ in answers}) == 3
    with sa.create_engine(url, poolclass=sa.NullPool).connect() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM alembic_version").scalar_one() == 1
