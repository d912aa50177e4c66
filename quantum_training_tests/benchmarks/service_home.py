"""A home of many symbols and years for the benchmarks of the service: the demo's records again and again."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import sqlalchemy as sa
import yaml

from quantum_training.resources.database import TABLES, ledger, outbox

MODEL = "SP500"
DAY = re.compile(r"\d{4}-\d{2}-\d{2}")
BY_WEEK = ("backtest", "champion", "decay_report", "lightgbm_model", "rollout", "shadow_scores", "xgboost_model")
BY_DAY = ("drift_report",)
AS_THEY_ARE = ("candles", "features", "signals")


def make_home(demo: Path, home: Path, symbols: int, weeks: int) -> list[str]:
    """Fill a home from the DAGSTER_HOME of a demo; returns its symbols. Their files are links to those of the first."""
    names = [f"S{number:03}" for number in range(symbols)]
    for assets, periods, days in ((BY_WEEK, weeks, 7), (BY_DAY, 7 * weeks, 1)):
        for asset in assets:
            _first_symbol(demo / "store" / asset / MODEL, home / "store" / asset / names[0], periods, days)
    for asset in AS_THEY_ARE:
        _link(demo / "store" / asset / MODEL, home / "store" / asset / names[0])
    for asset in (*BY_WEEK, *BY_DAY, *AS_THEY_ARE):
        for name in names[1:]:
            _link(home / "store" / asset / names[0], home / "store" / asset / name)
    _copy_rows(demo / "quantum_training.db", home / "quantum_training.db", names, weeks)
    settings = yaml.safe_load((demo / "demo_settings.yaml").read_text())
    market = settings["symbols"][MODEL]
    (home / "settings.yaml").write_text(yaml.safe_dump({**settings, "symbols": dict.fromkeys(names, market)}))
    return names


def _first_symbol(source: Path, target: Path, periods: int, days: int) -> None:
    """The periods of the demo, then the same again and again, each time so much earlier. days: of a period."""
    target.mkdir(parents=True)
    stored = sorted({file.name[:10] for file in source.iterdir()})
    for number in range(periods):
        turn, place = divmod(number, len(stored))
        period, earlier = stored[-1 - place], pd.Timedelta(days=days * turn * len(stored))
        for file in source.glob(f"{period}.*"):
            copy = target / file.name.replace(period, _before(period, earlier))
            if file.suffix == ".json":
                copy.write_text(DAY.sub(lambda day: _before(day[0], earlier), file.read_text()))  # noqa: B023
            elif file.suffix == ".parquet":
                os.link(file, copy)


def _before(day: str, time: pd.Timedelta) -> str:
    return f"{pd.Timestamp(day) - time:%Y-%m-%d}"


def _link(source: Path, target: Path) -> None:
    target.mkdir(parents=True)
    for file in source.iterdir():
        os.link(file, target / file.name)


def _copy_rows(source: Path, target: Path, names: list[str], weeks: int) -> None:
    """A row of the ledger for each symbol and week, and the events of two trainings."""
    demo, home = (sa.create_engine(f"sqlite:///{file}") for file in (source, target))
    TABLES.create_all(home)
    with demo.connect() as connection, home.begin() as into:
        rows = connection.execute(ledger.select().where(ledger.c.symbol == MODEL)).mappings().all()
        into.execute(ledger.insert(), [*_ledger(rows, names, weeks)])
        query = outbox.select().where(outbox.c.symbol == MODEL, outbox.c.type.like("model.training%"))
        into.execute(outbox.insert(), [*_events(connection.execute(query).mappings().all(), names, weeks)])


def _ledger(rows: Any, names: list[str], weeks: int) -> Iterator[dict[str, Any]]:
    for name in names:
        for number in range(1, weeks + 1):
            yield {**rows[number % len(rows)], "symbol": name, "number": number, "key": f"week/{number}"}


def _events(rows: Any, names: list[str], weeks: int) -> Iterator[dict[str, Any]]:
    number = 0
    for week in range(weeks):
        for name in names:
            for place in range(4):  # start and end of two trainings
                row, number = rows[(4 * week + place) % len(rows)], number + 1
                event_id = f"{number:08x}-0000-4000-8000-000000000000"
                body = row["body"].replace(row["event_id"], event_id).replace(MODEL, name)
                body = body.replace('"job_id":"', f'"job_id":"{week // (len(rows) // 4)}-')
                yield {**row, "number": number, "event_id": event_id, "symbol": name, "body": body}
