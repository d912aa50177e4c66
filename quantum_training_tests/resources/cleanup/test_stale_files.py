"""Counting and removing where other processes write and remove at the same time."""

import os
from pathlib import Path

import pandas as pd
import pytest

from quantum_training.resources.cleanup import stale_files
from quantum_training.resources.cleanup.stale_files import folder_bytes, remove_checkpoints
from quantum_training.resources.cleanup.storage_sizes import storage_sizes
from quantum_training.resources.registry.registry import ModelRegistry
from quantum_training.resources.store.store import Store


@pytest.fixture
def vanishing(monkeypatch):
    """A writer renames `.b.tmp` after it was listed and before it is looked at."""
    real = Path.is_file

    def is_file(self):
        result = real(self)
        if self.name == ".b.tmp":
            self.unlink(missing_ok=True)
        return result

    monkeypatch.setattr(Path, "is_file", is_file)


def test_a_file_that_vanishes_while_it_is_counted_counts_nothing(tmp_path, vanishing):
    home = tmp_path / "mlflow"
    for file in (tmp_path / "store" / "candles" / "a", home / "mlflow.db", home / "artifacts" / "c"):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("xx")
    (tmp_path / "store" / "candles" / ".b.tmp").write_text("xxx")
    registry = ModelRegistry(tracking_uri=f"sqlite:///{home}/mlflow.db?timeout=30")
    assert storage_sizes(Store(root=str(tmp_path / "store")), registry) == {
        "store": 2,
        "mlflow_database": 2,
        "mlflow_artifacts": 2,
    }


def test_a_folder_that_vanishes_while_it_is_walked_stops_nothing(tmp_path, monkeypatch):
    checkpoint = tmp_path / "0123456789abcdef"
    (checkpoint / "seed").mkdir(parents=True)
    (checkpoint / "seed" / "a").write_text("x")
    real = os.scandir

    def scandir(path):
        if str(path).endswith("seed"):
            raise FileNotFoundError(path)
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    assert folder_bytes(checkpoint) == 0
    assert remove_checkpoints(tmp_path, pd.Timestamp.now("UTC") - stale_files.ABANDONED, dry_run=True).number == 0
