"""What training and scoring work with: the settings of a project, its store, model registry and event bus."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from quantum_training.resources.events.bus import EventBus
from quantum_training.resources.registry.registry import ModelRegistry
from quantum_training.resources.store.store import Store
from quantum_training.settings import Settings


@dataclass(frozen=True)
class Services:
    """The settings of a project and the resources that belong to them."""

    settings: Settings
    store: Store
    registry: ModelRegistry
    events: EventBus

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """The resources at the places that the settings name."""
        return cls(
            settings,
            Store(root=settings.store_root),
            ModelRegistry(tracking_uri=settings.mlflow_tracking_uri, ui_url=settings.mlflow_ui_url),
            EventBus(database_url=settings.database_url, url=settings.event_bus_url),
        )
