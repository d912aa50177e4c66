"""Does the ledger know every decision, action and order that the store's records and MLflow's alias `champion` know?

It does not if it was lost, has begun anew, is an older backup or belongs to another home.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pandas as pd

from quantum_training.lifecycle.consistency.inconsistency import Inconsistency
from quantum_training.lifecycle.records import CHAMPION, ROLLOUT
from quantum_training.lifecycle.services import Services
from quantum_training.resources.ledger import Ledger
from quantum_training.resources.registry.aliases import AliasedVersion
from quantum_training.resources.registry.registry import ModelRegistry
from quantum_training.resources.store.store import Store
from quantum_training.selection.hash_chain import LedgerError, Row, verify
from quantum_training.selection.ledger_rows import AB_TEST, ORDERS, ledger_decisions, manual_actions, order_of
from quantum_training.selection.rollout_policy import order_texts

Records = Mapping[str, Mapping[str, Any]]
"""Stored records as JSON objects, by week."""

RESTORE = (
    "Restore the database of `database_url` from its newest backup, or name the right one there; if there is none, run "
    "the job ledger_restore, which adds the rows that the store's records prove and says what it cannot prove"
)
PUT_TOGETHER = (
    "Bring back the database of `database_url` and the store of `store_root` that belong together: one of them is of "
    "another home, or the ledger was begun anew"
)
MEND_CHAIN = "Restore the database of `database_url` from its newest backup: the ledger was changed by hand"
MEND_ALIAS = (
    "Restore the database of `database_url` and the store of `store_root` from their newest backups, or name the right "
    "MLflow in MLFLOW_TRACKING_URI; to begin anew on purpose, delete the alias `champion` of {symbol} in MLflow"
)


def ledger_inconsistencies(services: Services, ledger: Ledger, symbol: str) -> list[Inconsistency]:
    """What the ledger of a symbol should know and does not. DatabaseError, RegistryOutage if one is out of reach."""
    champion = _champion_of_mlflow(services.registry, symbol)  # before the ledger: a run moves the alias last
    unknown = store_against_ledger(services.store, ledger, symbol)
    if unknown or champion is None:
        return unknown
    newest = max(ledger_decisions(ledger.rows(symbol)), default="")
    as_of, recipe = champion.tags.get("as_of", "")[:10], champion.tags.get("recipe", "an unknown recipe")
    if newest and as_of <= newest:
        return []
    problem = f"{_end(newest)}, but MLflow's champion is version {champion.number}, {recipe} as of {as_of or '?'}"
    return [Inconsistency(symbol, "ledger", problem, MEND_ALIAS.format(symbol=symbol))]


def store_against_ledger(store: Store, ledger: Ledger, symbol: str) -> list[Inconsistency]:
    """What the store's records know and the ledger does not; a run appends to the ledger before it writes a record."""
    records, rollouts = store.read_records(CHAMPION, symbol), store.read_records(ROLLOUT, symbol)
    try:
        rows = ledger.rows(symbol)
        verify(rows)
    except LedgerError as error:
        return [Inconsistency(symbol, "ledger", str(error), MEND_CHAIN)]
    if contradiction := contradictions(records, rows, symbol):
        return contradiction
    missing = [*_missing_weeks(records, rows), *_missing_actions(records, rows), *_missing_orders(rollouts, rows)]
    return [Inconsistency(symbol, "ledger", "; ".join(missing), RESTORE)] if missing else []


def orders_against_ledger(store: Store, ledger: Ledger, symbol: str) -> list[Inconsistency]:
    """The operators' orders and A/B tests that the store's records of `rollout` know and the ledger does not."""
    rollouts = store.read_records(ROLLOUT, symbol)
    missing = [*_missing_orders(rollouts, ledger.rows(symbol))]
    return [Inconsistency(symbol, "ledger", "; ".join(missing), RESTORE)] if missing else []


def span(weeks: Sequence[str]) -> str:
    """The weeks as a person would name them. weeks: oldest first, at least one."""
    return f"week {weeks[0]}" if len(weeks) == 1 else f"{len(weeks)} weeks, {weeks[0]} to {weeks[-1]}"


def _missing_weeks(records: Records, rows: Sequence[Row]) -> Iterator[str]:
    """A week that was scored too late to decide anything has a record and no row, but never after the newest row."""
    newest = max(ledger_decisions(rows), default="")
    if unknown := [week for week in records if week > newest]:
        yield f"{_end(newest)}, but the store has the decisions of {span(unknown)}"


def _end(newest: str) -> str:
    return f"the ledger ends with week {newest}" if newest else "the ledger knows no decision"


def contradictions(records: Records, rows: Sequence[Row], symbol: str) -> list[Inconsistency]:
    """The weeks of which ledger and records of `champion` say something else: a record follows the ledger's row."""
    decided = ledger_decisions(rows)
    other = []
    for week in records.keys() & decided.keys():
        row, record = decided[week], records[week]
        if (record["verdict"], record.get("decided", row.champion)) != (row.verdict, row.champion):
            other.append(week)
    if not other:
        return []
    first = min(other)
    row, record = decided[first], records[first]
    problem = (
        f"{span(sorted(other))}: the ledger says {row.verdict}, champion {row.champion or 'none'}, and the store "
        f"{record['verdict']}, champion {record.get('decided') or 'none'}" + (f", in {first}" if len(other) > 1 else "")
    )
    return [Inconsistency(symbol, "ledger", problem, PUT_TOGETHER)]


def _missing_actions(records: Records, rows: Sequence[Row]) -> Iterator[str]:
    followed = Counter(message for record in records.values() for message in record.get("operator", []))
    for message in followed - Counter(map(str, manual_actions(rows))):
        yield f"the ledger does not know `{message}`, which a decision followed"


def _missing_orders(rollouts: Records, rows: Sequence[Row]) -> Iterator[str]:
    followed = Counter(text for record in rollouts.values() for text in order_texts(record["reason"]))
    for text in followed - Counter(str(order_of(row)) for row in rows if row.kind in ORDERS):
        yield f"the ledger does not know `{text}`, which the rollout followed"
    tests = {pd.Timestamp(str(row.payload["start"])) for row in rows if row.kind == AB_TEST}
    for week, record in rollouts.items():
        test = (record.get("ab") or {}).get("test")
        if test and pd.Timestamp(test["start"]) not in tests:
            yield f"the ledger does not know the A/B test against {test['challenger']} that runs in {week}"


def _champion_of_mlflow(registry: ModelRegistry, symbol: str) -> AliasedVersion | None:
    """The version that the alias `champion` points at: one as of a decided week, or earlier. None without MLflow."""
    if registry.sqlite_file is not None and not registry.sqlite_file.exists():
        return None
    return registry.aliases.target(symbol, "champion")
