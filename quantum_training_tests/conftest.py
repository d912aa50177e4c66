"""Fixtures for every test."""

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml

from quantum_training.definitions import build_defs
from quantum_training.partitions import RANGE_TAGS
from quantum_training.resources.registry import ModelRegistry
from quantum_training.resources.store import Store
from quantum_training.settings import Settings, load_settings


@pytest.fixture(scope="session")
def candles_dir() -> Path:
    """Folder of the real candles: QT_CANDLES_DIR, else ../shared/candles beside the repository."""
    beside = Path(__file__).parents[2] / "shared" / "candles"
    folder = Path(os.environ.get("QT_CANDLES_DIR") or beside)
    if not folder.is_dir():
        pytest.skip(f"no real candles at {folder}; set QT_CANDLES_DIR to their folder")
    return folder


@dataclass(frozen=True)
class Project:
    """The whole project over settings of a test: its own store, MLflow and Dagster instance."""

    home: Path
    settings: Settings
    definitions: dg.Definitions
    store: Store
    registry: ModelRegistry
    instance: dg.DagsterInstance

    def run(self, job: str, first: str, last: str | None = None, **options: Any) -> dg.ExecuteInProcessResult:
        """Run a partitioned job over one partition or a range, as `--tags` does."""
        tags = dict(zip(RANGE_TAGS, (first, last), strict=True)) if last else {"dagster/partition": first}
        tags |= options.pop("tags", {})
        job_def = self.definitions.resolve_job_def(job)
        return job_def.execute_in_process(instance=self.instance, tags=tags, raise_on_error=False, **options)

    def market_data(self, symbol: str = "AAA", first: str = "2019-09-01", last: str = "2020-02-01") -> "Project":
        """Candles and features of these months, or an assertion error."""
        assert self.run("market_data", f"{symbol}|{first}", f"{symbol}|{last}").success
        return self

    def stored(self) -> dict[str, bytes]:
        """Every byte of the store by file."""
        root = Path(self.store.root)
        return {str(f.relative_to(root)): f.read_bytes() for f in sorted(root.rglob("*")) if f.is_file()}


@pytest.fixture(scope="session")
def empty_mlflow(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An MLflow database without runs, to copy: creating its tables takes a second and a half."""
    database = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    ModelRegistry(tracking_uri=f"sqlite:///{database}").aliases("nobody")
    return database


@pytest.fixture
def project(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch, empty_mlflow: Path
) -> Iterator[Callable[..., Project]]:
    """Build projects from settings given as a dict; each call gives one with a home of its own."""
    with ExitStack() as stack:

        def build(settings: dict[str, Any]) -> Project:
            home = tmp_path_factory.mktemp("home")
            shutil.copy(empty_mlflow, home)
            store = Store(root=str(home / "store"))
            registry = ModelRegistry(tracking_uri=f"sqlite:///{home}/mlflow.db")
            (home / "settings.yaml").write_text(yaml.safe_dump(settings))
            monkeypatch.setenv("QUANTUM_TRAINING_CONFIG", str(home / "settings.yaml"))
            loaded = load_settings()
            definitions = build_defs(loaded, {"store": store, "registry": registry})
            instance = stack.enter_context(dg.DagsterInstance.local_temp(str(home)))
            return Project(home, loaded, definitions, store, registry, instance)

        yield build


@pytest.fixture
def small() -> dict[str, Any]:
    """Settings of a small 24/7 market of 4h bars that ends on 2020-03-01, with both boosters kept short."""
    recipe = {"label": {"kind": "forward_return", "horizon": 2}, "window_bars": 150}
    market = {
        "source": {"kind": "synthetic", "seed": 3, "start": "2019-09-01", "end": "2020-03-01"},
        "timeframe": "4h",
        "recipes": ["xgboost", "lightgbm"],
    }
    return {
        "start": "2019-09-01",
        "symbols": {"AAA": market, "BBB": deepcopy(market)},
        "recipes": {
            "xgboost": {"algorithm": "xgboost", "params": {"max_rounds": 20, "max_depth": 3}, **recipe},
            "lightgbm": {"algorithm": "lightgbm", "params": {"max_rounds": 20, "num_leaves": 5}, **recipe},
        },
        "promotion": {"min_predictions": 20, "window_weeks": 4},
        "backtest_weeks": 4,
    }
