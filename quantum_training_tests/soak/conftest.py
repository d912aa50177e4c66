"""A small project whose runs are real processes that can be killed anywhere, and put back to where they began."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from quantum_training_tests.soak.worker import Worker, range_tags

WEEK = "2020-01-13"
PPO = {"total_steps": 600, "environments": 16, "rollout_bars": 16, "batch_size": 64, "network": [8]}


class World:
    """A project with a week behind it. AAA promotes a challenger in week WEEK; BBB trains an agent."""

    def __init__(self, folder: Path, recipes: dict[str, list[str]]) -> None:
        self.folder, self.backup = folder / "world", folder / "backup"
        self.symbols = list(recipes)
        (self.folder / "home").mkdir(parents=True)
        settings = self.folder / "settings.yaml"
        settings.write_text(yaml.safe_dump(self.settings(recipes)))
        (self.folder / "home" / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
        self.environment = {
            "DAGSTER_HOME": str(self.folder / "home"),
            "QUANTUM_TRAINING_CONFIG": str(settings),
            "WORLD": str(self.folder),
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "LOG_LEVEL": "ERROR",
            "OMP_NUM_THREADS": "1",  # a pool of threads does not survive a fork
        }
        self.log = folder / "workers.log"
        self.worker = Worker(self.environment, self.log)
        self.do, self.stop = self.worker.do, self.worker.stop

    def settings(self, recipes: dict[str, list[str]]) -> dict[str, Any]:
        """Settings with everything below this folder."""
        base = {"label": {"kind": "forward_return", "horizon": 2}, "window_bars": 150}
        source = {"kind": "synthetic", "start": "2019-09-01", "end": "2020-03-01"}
        return {
            "start": "2019-09-01",
            "symbols": {
                symbol: {"source": {**source, "seed": 3}, "timeframe": "4h", "recipes": names}
                for symbol, names in recipes.items()
            },
            "recipes": {
                "xgboost": {**base, "algorithm": "xgboost", "params": {"max_rounds": 20, "max_depth": 3}},
                "lightgbm": {**base, "algorithm": "lightgbm", "params": {"max_rounds": 20, "num_leaves": 5}},
                "ppo": {**base, "algorithm": "ppo", "params": {**PPO, "save_seconds": 0.05}},
            },
            "promotion": {"rule": "improvement", "min_predictions": 20, "campaign_weeks": 4},
            "backtest_weeks": 4,
            "database_url": f"sqlite:///{self.folder}/quantum_training.db",
            "training_state_root": str(self.folder / "training_state"),
            "store_root": str(self.folder / "store"),
            "mlflow_tracking_uri": f"sqlite:///{self.folder}/mlflow/mlflow.db",
        }

    def start(self) -> None:
        """Make what every point begins with, and keep it."""
        runs = [("market_data", range_tags(s, "2019-09-01", "2020-01-01")) for s in self.symbols]
        runs += [("weekly_cycle", range_tags(s, "2020-01-06")) for s in self.symbols]
        self.worker.start(runs)
        shutil.copytree(self.folder, self.backup)

    def reset(self) -> None:
        """Put everything back to where it was kept, at the same place, since MLflow knows its artefacts by path."""
        for entry in self.folder.iterdir():
            shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
        shutil.copytree(self.backup, self.folder, dirs_exist_ok=True)

    def cycle(self, symbol: str, **more: Any) -> dict[str, Any]:
        """An order: the weekly cycle of WEEK for a symbol."""
        return {"job": "weekly_cycle", "tags": {**range_tags(symbol, WEEK), "symbol": symbol}, **more}

    def state(self) -> dict[str, Any]:
        """All that is stored now, without what differs between any two runs."""
        out = self.folder.parent / "state.json"
        (ended,) = self.do({"state": str(out)})
        assert ended["code"] == 0, self.log.read_text()[-3000:]
        return json.loads(out.read_text())

    def newest_run(self) -> tuple[str, str] | None:
        """Id and status of the newest run of the instance, read without Dagster."""
        import sqlite3

        with sqlite3.connect(self.folder / "home" / "history" / "runs.db") as connection:
            return connection.execute("SELECT run_id, status FROM runs ORDER BY id DESC LIMIT 1").fetchone()


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """AAA with both boosters, BBB with LightGBM and an agent that keeps its state."""
    built = World(tmp_path_factory.mktemp("kills"), {"AAA": ["xgboost", "lightgbm"], "BBB": ["ppo"]})
    try:
        built.start()
        yield built
    finally:
        built.stop()
