"""Fixtures for every test."""

import os

os.environ["OPENBLAS_NUM_THREADS"] = "1"  # as many test processes as cores: further threads would only wait

import json
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from copy import deepcopy
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any
from uuid import uuid4

import dagster as dg
import numpy as np
import pandas as pd
import pytest
import yaml
from hypothesis import settings as hypothesis_settings

from quantum_training.definitions import build_defs
from quantum_training.features.windows import Window, build_window
from quantum_training.market.schema import as_candles
from quantum_training.partitions import RANGE_TAGS
from quantum_training.resources.ledger import Ledger
from quantum_training.resources.registry.registry import ModelRegistry
from quantum_training.resources.store.store import Store
from quantum_training.settings.settings import Settings, load_settings
from quantum_training.sources import synthetic

hypothesis_settings.register_profile("compiled", deadline=None)  # a first example may wait for the compiler
hypothesis_settings.load_profile("compiled")


MARKET_DATA = ("candles", "features")
MEMORY = Path("/dev/shm")
ROOM_BYTES = 4 * 2**30


def pytest_configure() -> None:
    """Keep temporary files in memory where there is room: on a disk the tests wait for SQLite's thousands of fsyncs."""
    if os.access(MEMORY, os.W_OK) and shutil.disk_usage(MEMORY).free > ROOM_BYTES:
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(MEMORY))


LONGEST = ("test_readme.py", "test_zoo.py", "test_learning_loop.py", "test_daemon.py")
"""Modules of the longest tests, those of processes, which wait more than they work, beside those that work."""


@pytest.hookimpl(trylast=True)  # of those that are left
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the longest modules, by turns in the first and in the second half: each of the two processes is handed
    one half, and a long module begun last would keep a single one busy for minutes."""
    rest = [item for item in items if item.path.name not in LONGEST]
    first, second = ([item for name in LONGEST[half::2] for item in items if item.path.name == name] for half in (0, 1))
    room = max(0, len(items) // 2 - len(first))
    items[:] = [*first, *rest[:room], *second, *rest[room:]]


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
    ledger: Ledger
    instance: dg.DagsterInstance
    prepared: Path
    """Market data that projects of this test run had before, to copy."""

    def run(self, job: str, first: str, last: str | None = None, **options: Any) -> dg.ExecuteInProcessResult:
        """Run a partitioned job over one partition or a range, as `--tags` does."""
        tags = dict(zip(RANGE_TAGS, (first, last), strict=True)) if last else {"dagster/partition": first}
        tags |= options.pop("tags", {})
        job_def = self.definitions.resolve_job_def(job)
        return job_def.execute_in_process(instance=self.instance, tags=tags, raise_on_error=False, **options)

    def market_data(self, symbol: str = "AAA", first: str = "2019-09-01", last: str = "2020-02-01") -> "Project":
        """Candles and features of these months, or an assertion error.

        A new project on a disk copies what another one of the same synthetic recording has stored: its Dagster knows of
        no run.
        """
        root, market = Path(self.store.root), self.settings.symbols[symbol]
        parts = [market.source, self.settings.quality]  # each by itself: a field of it knows less
        made_of = [symbol, first, last, str(self.settings.start), market.timeframe, market.calendar]
        made_of += [part.model_dump_json() for part in parts]
        known = self.prepared / sha256(json.dumps(made_of).encode()).hexdigest()
        recording = isinstance(market.source, synthetic.Source) and market.source.end is not None
        new = (
            recording
            and "://" not in self.store.root
            and not any((root / asset / symbol).exists() for asset in MARKET_DATA)
        )
        if new and known.exists():
            for asset in MARKET_DATA:
                shutil.copytree(known / asset / symbol, root / asset / symbol)
            return self
        assert self.run("market_data", f"{symbol}|{first}", f"{symbol}|{last}").success
        if new:
            for asset in MARKET_DATA:
                shutil.copytree(root / asset / symbol, known / asset / symbol)
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


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the market data that `Project.market_data` has made."""
    return tmp_path_factory.mktemp("prepared")


@pytest.fixture
def project(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch, empty_mlflow: Path, prepared: Path
) -> Iterator[Callable[..., Project]]:
    """Build projects from settings given as a dict; each call gives one with a home of its own, gone after the test."""
    with ExitStack() as stack:

        def build(settings: dict[str, Any]) -> Project:
            # a number would be given again once its folder is gone, and engines are cached by path
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
            instance = stack.enter_context(dg.DagsterInstance.ephemeral(tempdir=str(home)))
            ledger = Ledger(url=loaded.database_url)
            return Project(home, loaded, definitions, store, registry, ledger, instance, prepared)

        yield build


@pytest.fixture
def cycled(
    project: Callable[..., Project], tmp_path_factory: pytest.TempPathFactory, templates: dict[str, Path]
) -> Callable[..., Project]:
    """`cycled(settings, first, last, symbol="AAA")`: a project whose weekly cycle has run over these weeks.

    The first one of a test run has really run; others are copies of what it left, and their Dagster knows of no run.
    """

    def build(settings: dict[str, Any], first: str, last: str, symbol: str = "AAA") -> Project:
        world = project(settings)
        known = json.dumps([settings, first, last, symbol], sort_keys=True)
        if known in templates:
            restore(templates[known], world.home)
            return world
        assert world.market_data(symbol).run("weekly_cycle", f"{symbol}|{first}", f"{symbol}|{last}").success
        templates[known] = tmp_path_factory.mktemp("template") / world.home.name
        shutil.copytree(world.home, templates[known], ignore=shutil.ignore_patterns("settings.yaml"))
        return world

    return build


@pytest.fixture(scope="session")
def templates() -> dict[str, Path]:
    """Copies of the homes of projects, each named as its original was, by what was run in them."""
    return {}


def restore(template: Path, home: Path) -> None:
    """Copy a project's state to another home; MLflow's database holds the addresses of its artefacts."""
    shutil.copytree(template, home, dirs_exist_ok=True)
    old, new = str(home.with_name(template.name)), str(home)
    with closing(sqlite3.connect(home / "mlflow.db")) as database, database:
        tables = [row[0] for row in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        for table in tables:
            for _, column, kind, *_ in database.execute(f"PRAGMA table_info('{table}')").fetchall():
                if kind.startswith(("VARCHAR", "TEXT")):
                    change = f'UPDATE \'{table}\' SET "{column}" = replace("{column}", ?, ?)'
                    database.execute(f'{change} WHERE instr("{column}", ?)', (old, new, old))


@pytest.fixture
def small(small_settings: dict[str, Any]) -> dict[str, Any]:
    """`small_settings`, to change."""
    return deepcopy(small_settings)


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


MakeCandles = Callable[..., pd.DataFrame]


@pytest.fixture(scope="session")
def make_candles() -> MakeCandles:
    """`make_candles(bars, seed=0, freq="1h")`: a valid random walk with gaps, wicks and some bars without trades."""

    def make(bars: int, seed: int = 0, freq: str = "1h") -> pd.DataFrame:
        rng = np.random.default_rng(seed)
        close = 100 * np.exp(np.cumsum(rng.standard_t(4, bars) * 0.005))
        open_ = np.r_[100.0, close[:-1]] * np.exp(rng.normal(0, 0.001, bars))
        high = np.maximum(open_, close) * np.exp(rng.exponential(0.002, bars))
        low = np.minimum(open_, close) * np.exp(-rng.exponential(0.002, bars))
        volume = rng.lognormal(3, 1, bars) * (rng.random(bars) > 0.02)
        index = pd.date_range("2024-01-01", periods=bars, freq=freq, tz="UTC")
        return as_candles(
            pd.DataFrame({"open": open_, "high": high, "low": low, "close": close, "volume": volume}, index=index)
        )

    return make


@pytest.fixture(scope="session")
def btc(candles_dir: Path) -> pd.DataFrame:
    """BTC/USDT 1h, 43,803 real bars."""
    return as_candles(pd.read_feather(candles_dir / "crypto_1h" / "BTC_USDT-1h.feather").set_index("date"))


@pytest.fixture(scope="session")
def aapl(candles_dir: Path) -> pd.DataFrame:
    """AAPL daily, split-adjusted, without the row that the file leaves empty."""
    frame = pd.read_csv(candles_dir / "equity_1d" / "AAPL.csv.gz", index_col="Date", parse_dates=True).dropna()
    return as_candles(frame.rename(columns=str.lower))


COLUMNS = ("a", "b", "c")
MakeWindow = Callable[..., Window]


@pytest.fixture(scope="session")
def make_features() -> Callable[..., pd.DataFrame]:
    """`make_features(rows, seed)`: standard normal columns a, b, c by hour."""

    def make(rows: int = 400, seed: int = 0) -> pd.DataFrame:
        index = pd.date_range("2024-01-01", periods=rows, freq="h", tz="UTC", name="open_time")
        return pd.DataFrame(np.random.default_rng(seed).normal(size=(rows, 3)), index, list(COLUMNS))

    return make


@pytest.fixture(scope="session")
def make_window(make_features: Callable[..., pd.DataFrame]) -> MakeWindow:
    """`make_window(label=None, rows=400, features=None)`: `label(features)` gives 0.0 or 1.0 per row, default a > 0.

    So the rule is easy: `b` and `c` are noise.
    """

    def make(
        label: Callable[[pd.DataFrame], pd.Series] | None = None, rows: int = 400, features: pd.DataFrame | None = None
    ) -> Window:
        features = make_features(rows) if features is None else features
        label = label or (lambda f: f["a"] > 0)
        ends = features.index + pd.Timedelta(hours=2)
        labels = pd.DataFrame({"label": label(features).astype("float64"), "label_end": ends}, features.index)
        return build_window(
            features,
            labels,
            as_of=features.index[-1] + pd.Timedelta(hours=2),
            columns=COLUMNS,
            max_rows=rows,
            validation_fraction=0.2,
            min_rows=50,
        )

    return make
