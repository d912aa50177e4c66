"""Fixtures for use cases without Dagster."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

from quantum_training.lifecycle.decision.champion import move_aliases
from quantum_training.lifecycle.ingestion import compute_month_features, ingest_month
from quantum_training.lifecycle.records import write_record
from quantum_training.lifecycle.services import Services
from quantum_training.lifecycle.training.train_week import train_week, update_shadow_alias
from quantum_training.lifecycle.training.versions import versions_of
from quantum_training.market.periods import Key
from quantum_training.resources.events.bus import EventBus
from quantum_training.resources.ledger import Ledger
from quantum_training.resources.registry.registry import ModelRegistry
from quantum_training.resources.store.store import Store
from quantum_training.settings import Settings, load_settings
from quantum_training_tests.support.records import decision

MONTHS = ("2019-09-01", "2019-10-01", "2019-11-01", "2019-12-01", "2020-01-01", "2020-02-01")
WEEKS = ("2020-01-13", "2020-01-20", "2020-01-27")


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


@pytest.fixture
def market(workspace):
    """`market(settings, **months)`: services over these settings, with the months of AAA (all by default) in store.

    `BBB=("2020-01-01",)` ingests these months of BBB, too.
    """

    def build(settings, **months):
        home = workspace(settings)
        services = Services(home.settings, home.store, home.registry, home.events)
        for symbol, periods in {"AAA": MONTHS, **months}.items():
            for period in periods:
                key = Key(symbol, pd.Timestamp(period, tz="UTC"))
                assert ingest_month(home.store, home.settings, key, pd.Timestamp.now("UTC")).written
                compute_month_features(home.store, home.settings, key)
        return services

    return build


@pytest.fixture
def trained(
    market: Callable[..., Services],
    workspace: Callable[..., Workspace],
    small: dict[str, Any],
    templates: dict[str, Path],
    tmp_path_factory: pytest.TempPathFactory,
) -> Services:
    """AAA with versions of both boosters in WEEKS, all accepted, and a decision for xgboost in the second of them.

    The first one of a test run is trained; the others are copies of it.
    """
    settings = {**small, "refresh": {"max_change": 1, "margin": 10}}
    if "trained" in templates:
        home = workspace(settings)
        shutil.copytree(templates["trained"], home.home, dirs_exist_ok=True)
        return Services(home.settings, home.store, home.registry, home.events)
    services = market(settings)
    for week in WEEKS:
        for recipe in ("lightgbm", "xgboost"):
            train_week(services, recipe, Key("AAA", pd.Timestamp(week, tz="UTC")))
    for recipe in ("lightgbm", "xgboost"):
        update_shadow_alias(services, recipe, ["AAA"])
    champion = versions_of(services.store, "AAA", "xgboost", WEEKS[1])[-1].model_id
    write_record(services.store, "AAA", WEEKS[1], decision(WEEKS[1], "xgboost", model_id=champion))
    move_aliases(services.store, services.registry, services.settings, "AAA")
    templates["trained"] = tmp_path_factory.mktemp("template") / "trained"
    home = Path(services.store.root).parent
    shutil.copytree(home, templates["trained"], ignore=shutil.ignore_patterns("settings.yaml"))
    return services


@pytest.fixture
def lost_registry(trained: Services, empty_mlflow: Path, tmp_path: Path) -> Services:
    """The same state over an MLflow without versions."""
    (tmp_path / "empty").mkdir()
    shutil.copy(empty_mlflow, tmp_path / "empty")
    return replace(trained, registry=ModelRegistry(tracking_uri=f"sqlite:///{tmp_path}/empty/mlflow.db"))
