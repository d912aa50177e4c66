"""Fixtures of whole projects: settings, store, MLflow, ledger and Dagster instance of a test, in a home of its own."""

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from copy import deepcopy
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any
from uuid import uuid4

import dagster as dg
import pytest
import yaml

from quantum_training.definitions import build_defs
from quantum_training.lifecycle.evaluation import leakage
from quantum_training.monitoring import model_leakage
from quantum_training.partitions import RANGE_TAGS
from quantum_training.resources.ledger import Ledger
from quantum_training.resources.registry.registry import ModelRegistry
from quantum_training.resources.store.store import Store
from quantum_training.settings import Settings, load_settings
from quantum_training.settings.schema import Recipe
from quantum_training.sources import synthetic

MARKET_DATA = ("candles", "features")
MEASURE_SKILL = leakage.measure_skill


@dataclass(frozen=True)
class Project:
    """The whole project over settings of a test: its own store, MLflow and Dagster instance."""

    home: Path
    settings: Settings
    definitions: dg.Definitions
    store: Store
    registry: ModelRegistry
    ledger: Ledger
    instance: dg.DagsterInstance
    market_data_cache: Path
    """Market data of the projects that this test run built before, to copy."""

    def run(self, job: str, first: str, last: str | None = None, **options: Any) -> dg.ExecuteInProcessResult:
        """Run a partitioned job over one partition or a range, as `--tags` does."""
        tags = dict(zip(RANGE_TAGS, (first, last), strict=True)) if last else {"dagster/partition": first}
        tags |= options.pop("tags", {})
        job_def = self.definitions.resolve_job_def(job)
        return job_def.execute_in_process(instance=self.instance, tags=tags, raise_on_error=False, **options)

    def market_data(self, symbol: str = "AAA", first: str = "2019-09-01", last: str = "2020-02-01") -> "Project":
        """Candles and features of these months, or an assertion error.

        A new project on a disk copies what another one of the same synthetic recording has stored: its Dagster has no
        record of a run.
        """
        root, market = Path(self.store.root), self.settings.symbols[symbol]
        parts = [
            market.source,
            self.settings.quality,
        ]  # a field is dumped as its declared type: dump each itself
        identity = [symbol, first, last, str(self.settings.start), market.timeframe, market.calendar]
        identity += [part.model_dump_json() for part in parts]
        cached = self.market_data_cache / sha256(json.dumps(identity).encode()).hexdigest()
        recording = isinstance(market.source, synthetic.Source) and market.source.end is not None
        new = (
            recording
            and "://" not in self.store.root
            and not any((root / asset / symbol).exists() for asset in MARKET_DATA)
        )
        if new and cached.exists():
            for asset in MARKET_DATA:
                shutil.copytree(cached / asset / symbol, root / asset / symbol)
            return self
        assert self.run("market_data", f"{symbol}|{first}", f"{symbol}|{last}").success
        if new:
            for asset in MARKET_DATA:
                shutil.copytree(root / asset / symbol, cached / asset / symbol)
        return self

    def stored(self) -> dict[str, bytes]:
        """Every byte of the store by file."""
        root = Path(self.store.root)
        return {str(f.relative_to(root)): f.read_bytes() for f in sorted(root.rglob("*")) if f.is_file()}


def versions_of_aaa(project: Project) -> dict[tuple[str, str], Any]:
    """The registered versions of AAA in MLflow, by recipe and week."""
    found = project.registry.client().search_model_versions("name = 'AAA'")
    return {(v.tags["recipe"], v.tags["week"]): v for v in found}


def failed_step(result: dg.ExecuteInProcessResult) -> tuple[str, str]:
    """The only step of a run that failed, and its error."""
    (step,) = [e for e in result.all_events if e.is_step_failure]
    return str(step.step_key), str(step.step_failure_data.error)


@pytest.fixture(scope="session")
def empty_mlflow(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An MLflow database without runs, to copy: creating its tables takes a second and a half."""
    database = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    ModelRegistry(tracking_uri=f"sqlite:///{database}").aliases.of("nobody")
    return database


@pytest.fixture(scope="session")
def market_data_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the market data that `Project.market_data` has stored."""
    return tmp_path_factory.mktemp("market_data")


@pytest.fixture
def build_project(
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
    empty_mlflow: Path,
    market_data_cache: Path,
) -> Iterator[Callable[..., Project]]:
    """Build projects from settings given as a dict; each project has a home of its own, deleted after the test."""
    with project_builder(tmp_path_factory, monkeypatch, empty_mlflow, market_data_cache) as build:
        yield build


@contextmanager
def project_builder(
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
    empty_mlflow: Path,
    market_data_cache: Path,
) -> Iterator[Callable[..., Project]]:
    """What `build_project` gives, for fixtures of a larger scope."""
    with ExitStack() as stack:

        def build(settings: dict[str, Any]) -> Project:
            # pytest reuses the number of a deleted folder, and engines are cached by path
            home = tmp_path_factory.mktemp(f"home-{uuid4()}", numbered=False)
            stack.callback(shutil.rmtree, home, ignore_errors=True)
            shutil.copy(empty_mlflow, home)
            store = Store(root=str(home / "store"))
            registry = ModelRegistry(tracking_uri=f"sqlite:///{home}/mlflow.db")
            places = {
                "database_url": f"sqlite:///{home}/quantum_training.db",
                "training_state_root": str(home / "training_state"),
            }
            (home / "settings.yaml").write_text(yaml.safe_dump({**places, **settings}))
            monkeypatch.setenv("QUANTUM_TRAINING_CONFIG", str(home / "settings.yaml"))
            loaded = load_settings()
            definitions = build_defs(loaded, {"store": store, "registry": registry})
            # not entered: if a test closed another instance in between, Dagster would go on asking that one
            instance = dg.DagsterInstance.ephemeral(tempdir=str(home))
            stack.callback(instance.dispose)
            ledger = Ledger(url=loaded.database_url)
            return Project(home, loaded, definitions, store, registry, ledger, instance, market_data_cache)

        yield build


@pytest.fixture
def cycled_project(
    build_project: Callable[..., Project], tmp_path_factory: pytest.TempPathFactory, templates: dict[str, Path]
) -> Callable[..., Project]:
    """`cycled_project(settings, first, last, symbol="AAA")`: a project whose weekly cycle has run over these weeks.

    The first one of a test run really runs; the others are copies of its home, and their Dagster has no runs.
    """

    return partial(cycle, build_project, tmp_path_factory, templates)


def cycle(
    build_project: Callable[..., Project],
    tmp_path_factory: pytest.TempPathFactory,
    templates: dict[str, Path],
    settings: dict[str, Any],
    first: str,
    last: str,
    symbol: str = "AAA",
    first_month: str = "2019-09-01",
) -> Project:
    """What `cycled_project` gives, for fixtures of a larger scope."""
    project = build_project(settings)
    identity = json.dumps([settings, first, last, symbol], sort_keys=True)
    if identity in templates:
        restore(templates[identity], project.home)
        return project
    assert project.market_data(symbol, first_month).run("weekly_cycle", f"{symbol}|{first}", f"{symbol}|{last}").success
    templates[identity] = tmp_path_factory.mktemp("template") / project.home.name
    shutil.copytree(project.home, templates[identity], ignore=shutil.ignore_patterns("settings.yaml"))
    return project


@pytest.fixture(scope="session")
def templates() -> dict[str, Path]:
    """Copies of projects' homes, each with the folder name of its original, by settings, weeks and symbol."""
    return {}


def restore(template: Path, home: Path) -> None:
    """Copy a project's state to another home, before its MLflow is opened."""
    shutil.copytree(template, home, dirs_exist_ok=True)


@pytest.fixture
def small(small_settings: dict[str, Any]) -> dict[str, Any]:
    """`small_settings`, to change."""
    return deepcopy(small_settings)


def needing(bars: int, settings: dict[str, Any]) -> dict[str, Any]:
    """The settings with this minimum of labelled bars, and windows that could hold them."""
    recipes = {name: {**recipe, "window_bars": 2 * bars} for name, recipe in settings["recipes"].items()}
    return {**settings, "min_training_data_points": bars, "recipes": recipes}


@pytest.fixture(scope="session")
def small_settings() -> dict[str, Any]:
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
        "promotion": {"rule": "improvement", "min_predictions": 20, "campaign_weeks": 4},
        "backtest_weeks": 4,
    }


@pytest.fixture(scope="session", autouse=True)
def skill_measured_once() -> Iterator[None]:
    """What a recipe can do on synthetic markets, which takes seconds, is measured once for all projects of a process.

    A test that measures otherwise replaces `leakage.measure_skill`, and so leaves nothing here for the tests after it.
    """
    measured: dict[tuple[str, ...], dict[str, Any]] = {}

    def once(recipe: Recipe, timeframe: str, code: str) -> dict[str, Any]:
        parts = recipe.model_dump_json(exclude=leakage.FIELDS_NOT_IN_SKILL), repr(leakage.own_code(recipe))
        key = (*parts, timeframe, code)
        if key not in measured:
            measured[key] = MEASURE_SKILL(recipe, timeframe, code)
        return deepcopy(measured[key])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(leakage, "measure_skill", once)
        yield


@pytest.fixture
def skill_not_measured(monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict[str, Any]]:
    """Leak checks without recipes' skill on synthetic markets. Returns the function that measures."""
    measure = leakage.measure_skill
    monkeypatch.setattr(leakage, "measure_skill", lambda recipe, timeframe, code: {"insufficient": "not asked for"})
    return measure


def measure_skill_on_few_bars(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leak checks with two short synthetic markets, measured anew for each project."""
    monkeypatch.setattr(leakage, "measure_skill", MEASURE_SKILL)
    monkeypatch.setattr(model_leakage, "FITS", 2)
    monkeypatch.setattr(model_leakage, "WALK_BARS", 500)
