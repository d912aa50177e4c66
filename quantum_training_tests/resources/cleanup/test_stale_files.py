"""Counting and removing where other processes write and remove at the same time."""

import os
from pathlib import Path

import pandas as pd
import pytest
from dagster import DagsterInstance

from quantum_training.assets.storage_sizes import sizes
from quantum_training.resources.cleanup import stale_files as leftovers
from quantum_training.resources.cleanup.stale_files import folder_bytes, remove_states
from quantum_training.resources.registry.registry import ModelRegistry
from quantum_training.resources.store.store import Store


@pytest.fixture
def vanishing(monkeypatch):
    """A writer renames `.b.tmp` after it was listed and before it is looked at."""
    real = Path.is_file

    def is_file(self):
        found = real(self)
        if self.name == ".b.tmp":
            self.unlink(missing_ok=True)
        return found

    monkeypatch.setattr(Path, "is_file", is_file)


def test_a_file_that_vanishes_while_it_is_counted_counts_nothing(tmp_path, vanishing):
    home = tmp_path / "mlflow"
    for file in (tmp_path / "store" / "candles" / "a", home / "mlflow.db", home / "artifacts" / "c"):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("xx")
    (tmp_path / "store" / "candles" / ".b.tmp").write_text("xxx")
    with DagsterInstance.ephemeral() as instance:
        registry = ModelRegistry(tracking_uri=f"sqlite:///{home}/mlflow.db?timeout=30")
        found = sizes(Store(root=str(tmp_path / "store")), registry, instance)
    assert found == {"store": 2, "mlflow_database": 2, "mlflow_artifacts": 2}


def test_a_folder_that_vanishes_while_it_is_walked_stops_nothing(tmp_path, monkeypatch):
    state = tmp_path / "0123456789abcdef"
    (state / "seed").mkdir(parents=True)
    (state / "seed" / "a").write_text("x")
    real = os.scandir

    def scandir(path):
        if str(path).endswith("seed"):
            raise FileNotFoundError(path)
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    assert folder_bytes(state) == 0
    assert remove_states(tmp_path, pd.Timestamp.now("UTC") - leftovers.ABANDONED, dry_run=True).number == 0
