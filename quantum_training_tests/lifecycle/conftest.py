"""Fixtures for use cases without Dagster."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from quantum_training.resources.events.bus import EventBus
from quantum_training.resources.ledger import Ledger
from quantum_training.resources.registry.registry import ModelRegistry
from quantum_training.resources.store.store import Store
from quantum_training.settings import Settings, load_settings


@dataclass(frozen=True)
class Workspace:
    """Settings with a store, registry, ledger and event bus of their own, and no Dagster."""

    home: Path
    settings: Settings
    store: Store
    registry: ModelRegistry
    ledger: Ledger
    events: EventBus

    def stored(self) -> dict[str, bytes]:
        """Every byte of the store by file."""
        root = Path(self.store.root)
        return {str(f.relative_to(root)): f.read_bytes() for f in sorted(root.rglob("*")) if f.is_file()}


@pytest.fixture
def workspace(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, empty_mlflow: Path
) -> Callable[[dict[str, Any]], Workspace]:
    """`workspace(settings)`: a workspace over settings given as a dict."""

    def build(settings: dict[str, Any]) -> Workspace:
        database = f"sqlite:///{tmp_path}/quantum_training.db"
        places = {"database_url": database, "training_state_root": str(tmp_path / "training_state")}
        (tmp_path / "settings.yaml").write_text(yaml.safe_dump({**places, **settings}))
        monkeypatch.setenv("QUANTUM_TRAINING_CONFIG", str(tmp_path / "settings.yaml"))
        shutil.copy(empty_mlflow, tmp_path)
        return Workspace(
            tmp_path,
            load_settings(),
            Store(root=str(tmp_path / "store")),
            ModelRegistry(tracking_uri=f"sqlite:///{tmp_path}/mlflow.db"),
            Ledger(url=database),
            EventBus(database_url=database),
        )

    return build
