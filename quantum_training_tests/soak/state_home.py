"""A home in the default layout, with older copies of it and other homes of the symbol, so that its parts can be lost.

Its runs are processes of their own. In SECOND a challenger becomes champion by the rule, after THIRD a person replaces
it, and NEXT is the week that is run over the broken state.
"""

import hashlib
import json
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from quantum_training_tests.soak.worker import Worker, range_tags

SYMBOL = "SP500"
"""A symbol of the default settings, too, which count if the variable with the settings' file is lost."""

FIRST_MONTH, LAST_MONTH = "2019-09-01", "2020-01-01"
FIRST, SECOND, THIRD, NEXT = "2020-01-06", "2020-01-13", "2020-01-20", "2020-01-27"
PARTS = {
    "store": "store",
    "ledger": "quantum_training.db",
    "registry": "mlflow",
    "artefacts": "mlflow/artifacts",
    "settings": "settings.yaml",
}
"""Where each part of the state lies in the home."""

OLDER, DECIDED, NEWEST, AFTER = "older", "decided", "newest", "after"
"""Copies of the home: after FIRST, after THIRD, after what a person did then, and after an undisturbed NEXT."""

OTHER_MARKET, OTHER_DECISIONS = "other_market", "other_decisions"
"""Other homes of the symbol up to THIRD: of another market, and of the same one if a person had acted otherwise."""

PLACES = {
    "store": ("QUANTUM_TRAINING_STORE_ROOT", "{}"),
    "ledger": ("QUANTUM_TRAINING_DATABASE_URL", "sqlite:///{}"),
    "registry": ("QUANTUM_TRAINING_MLFLOW_TRACKING_URI", "sqlite:///{}/mlflow.db"),
    "settings": ("QUANTUM_TRAINING_CONFIG", "{}"),
}
"""The variable that says where a part is, and how."""


class Ended(NamedTuple):
    """How a run ended: its exit status, and what it printed."""

    code: int
    log: str


class StateHome:
    """The home at `folder`, its copies, and the program that runs its jobs."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.copies, self.log = folder / "home", folder / "copies", folder / "workers.log"
        self.environment = {
            "DAGSTER_HOME": str(self.folder),
            "QUANTUM_TRAINING_CONFIG": str(self.folder / PARTS["settings"]),
            "WORLD": str(self.folder),
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "LOG_LEVEL": "ERROR",
            "OMP_NUM_THREADS": "1",
        }
        self.worker = Worker(self.environment, self.log)

    def build(self) -> None:
        """Make the home and its copies. The program begins with the other market, in a folder that is then gone."""
        self._begin(seed=4)
        months, weeks = range_tags(SYMBOL, FIRST_MONTH, LAST_MONTH), range_tags(SYMBOL, FIRST, THIRD)
        elsewhere = self.folder.with_name(OTHER_MARKET)
        self.folder.rename(elsewhere)
        self.worker.environment = self.located(elsewhere)
        self.worker.start([("market_data", months), ("weekly_cycle", weeks)])
        elsewhere.rename(self.copies / OTHER_MARKET)
        self._begin(seed=3)
        self.must_run("market_data", months)
        self.must_run("weekly_cycle", range_tags(SYMBOL, FIRST))
        self.keep(OLDER)
        self.must_run("weekly_cycle", range_tags(SYMBOL, SECOND, THIRD))
        self.keep(DECIDED)
        for name, recipe in ((OTHER_DECISIONS, "lightgbm"), (NEWEST, "xgboost")):
            self.reset(DECIDED)
            self.must_run("promote", {}, config=by_ann("promote_champion", symbol=SYMBOL, recipe=recipe))
            self.must_run("trading_signals", {"dagster/partition": SYMBOL})
            self.keep(name)
        assert self.next_week().code == 0, self.log.read_text()[-3000:]
        self.keep(AFTER)

    def _begin(self, seed: int) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        self.copies.mkdir(exist_ok=True)
        (self.folder / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
        self.write_settings(settings(seed))

    def write_settings(self, values: dict[str, Any]) -> None:
        """Write the settings file of the home."""
        (self.folder / PARTS["settings"]).write_text(yaml.safe_dump(values))

    def located(self, folder: Path) -> dict[str, str]:
        """The environment of the home if it lay in another folder."""
        return {name: value.replace(str(self.folder), str(folder)) for name, value in self.environment.items()}

    def keep(self, name: str) -> None:
        """Copy the home."""
        shutil.copytree(self.folder, self.copies / name)

    def reset(self, name: str = NEWEST) -> None:
        """Put everything back to a copy."""
        for folder in (self.folder, self.folder.with_name("elsewhere")):
            shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(self.copies / name, self.folder)

    def replace(self, part: str, copy: str) -> None:
        """Put one part back to that of a copy."""
        self.lose(part)
        for source in (self.copies / copy).glob(f"{PARTS[part]}*"):  # and SQLite's files beside a database
            target = self.folder / source.relative_to(self.copies / copy)
            shutil.copytree(source, target) if source.is_dir() else shutil.copy2(source, target)

    def lose(self, part: str) -> None:
        """Remove a part."""
        for path in self.folder.glob(f"{PARTS[part]}*"):
            shutil.rmtree(path) if path.is_dir() else path.unlink()

    def move(self, part: str) -> dict[str, Any]:
        """Move a part to a folder of its own. Returns the variables that say so; a moved home says it by DAGSTER_HOME.

        The artefacts move with their home, since MLflow keeps their absolute addresses.
        """
        elsewhere = self.folder.with_name("elsewhere")
        shutil.rmtree(elsewhere, ignore_errors=True)
        if part == "artefacts":
            self.folder.rename(elsewhere)
            return self.located(elsewhere)
        elsewhere.mkdir()
        for path in self.folder.glob(f"{PARTS[part]}*"):
            path.rename(elsewhere / path.name)
        name, form = PLACES[part]
        return {name: form.format(elsewhere / PARTS[part])}

    def run(self, job: str, tags: dict[str, str], config: dict[str, Any] | None = None, **variables: Any) -> Ended:
        """Run a job in a process of its own. variables: of its environment; None unsets one."""
        size = self.log.stat().st_size
        order = {"job": job, "tags": tags, "config": config, "environment": {**self.environment, **variables}}
        (ended,) = self.worker.do(order)
        return Ended(int(ended["code"]), self.log.read_bytes()[size:].decode())

    def must_run(self, job: str, tags: dict[str, str], config: dict[str, Any] | None = None) -> None:
        """Run a job that succeeds."""
        ended = self.run(job, tags, config)
        assert ended.code == 0, f"{job}: {ended.log[-3000:]}"

    def next_week(self, **variables: Any) -> Ended:
        """The weekly cycle of NEXT, and a signal for its champion."""
        ended = self.run("weekly_cycle", range_tags(SYMBOL, NEXT), **variables)
        return ended if ended.code else self.run("trading_signals", {"dagster/partition": SYMBOL}, **variables)

    def state(self) -> dict[str, Any]:
        """Store, ledger, events, versions and aliases, without ids of runs and times, wherever they have moved."""
        homes = (self.folder, self.folder.with_name("elsewhere"))
        places = {part: next((h / p for h in homes if (h / p).exists()), homes[0] / p) for part, p in PARTS.items()}
        mlflow = places["registry"] / "mlflow.db"
        versions = rows(mlflow, VERSIONS)
        ids = {number: model_id for number, model_id, _ in versions}
        return {
            "store": files(places["store"]),
            "ledger": [ledger_row(*row) for row in rows(places["ledger"], LEDGER)],
            "events": sorted(rows(places["ledger"], EVENTS)),
            "versions": sorted(model_id for _, model_id, _ in versions),
            "aliases": {alias: ids[number] for alias, number in rows(mlflow, ALIASES)},
            "artefacts": {
                model_id: files(places["registry"] / "artifacts" / SYMBOL / "models" / source / "artifacts" / "model")
                for _, model_id, source in versions
            },
        }


LEDGER = "SELECT key, kind, actor, payload FROM ledger ORDER BY number"
EVENTS = "SELECT type, symbol, event_id FROM outbox WHERE type != 'model.training_started'"  # it has the run's id
ALIASES = "SELECT alias, version FROM registered_model_aliases"
VERSIONS = (
    "SELECT v.version, t.value, replace(v.source, 'models:/', '') FROM model_versions v "
    "JOIN model_version_tags t ON t.version = v.version AND t.name = v.name AND t.key = 'model_id' "
    "WHERE v.current_stage != 'Deleted_Internal'"
)


def settings(seed: int) -> dict[str, Any]:
    """Settings with everything where it is by default."""
    recipe = {"label": {"kind": "forward_return", "horizon": 2}, "window_bars": 150}
    source = {"kind": "synthetic", "seed": seed, "start": "2019-09-01", "end": "2020-03-01"}
    return {
        "start": "2019-09-01",
        "symbols": {SYMBOL: {"source": source, "timeframe": "4h", "recipes": ["xgboost", "lightgbm"]}},
        "recipes": {
            "xgboost": {**recipe, "algorithm": "xgboost", "params": {"max_rounds": 20, "max_depth": 3}},
            "lightgbm": {**recipe, "algorithm": "lightgbm", "params": {"max_rounds": 20, "num_leaves": 5}},
        },
        "promotion": {"rule": "improvement", "min_predictions": 20, "campaign_weeks": 4},
        "backtest_weeks": 4,
    }


def by_ann(op: str, **fields: Any) -> dict[str, Any]:
    """Run config of a job of a person."""
    return {"ops": {op: {"config": {"actor": "Ann", "reason": "a trial", **fields}}}}


def rows(database: Path, query: str) -> list[tuple[Any, ...]]:
    """The rows of a query; none if the database or its table is not there."""
    if not database.exists():
        return []
    with closing(sqlite3.connect(database)) as connection:
        try:
            return connection.execute(query).fetchall()
        except sqlite3.OperationalError:
            return []


def ledger_row(key: str, kind: str, actor: str, payload: str) -> tuple[str, str, str, dict[str, Any]]:
    """A row of the ledger, without where it was restored from."""
    return key, kind, actor, {name: value for name, value in json.loads(payload).items() if name != "restored"}


def files(folder: Path) -> dict[str, str]:
    """SHA-256 of each file below a folder."""
    found = sorted(f for f in folder.rglob("*") if f.is_file())
    return {str(f.relative_to(folder)): hashlib.sha256(f.read_bytes()).hexdigest() for f in found}
