"""Does the store hold what the ledger's decisions were made from? It does not if it was lost or is an older backup.

A record of a decision that is missing is no fault: a killed run leaves it, and the next one writes it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from quantum_training.lifecycle.consistency.inconsistency import Inconsistency
from quantum_training.lifecycle.consistency.ledger import span
from quantum_training.lifecycle.records import EVERY, SHADOW_SCORES, model_asset
from quantum_training.lifecycle.searches import missing_searches
from quantum_training.lifecycle.services import Services
from quantum_training.resources.ledger import Ledger
from quantum_training.resources.store.store import Store
from quantum_training.selection.ledger_rows import ledger_decisions

RESTORE = "Restore the store of `store_root` from its newest backup, or name the right one there"


def store_inconsistencies(services: Services, ledger: Ledger, symbol: str, before: str = EVERY) -> list[Inconsistency]:
    """What the store of a symbol should hold and does not. before: only weeks before it, which a run does not make."""
    inconsistencies = decided_weeks_without_scores(services.store, ledger, symbol, before)
    for problem in missing_searches(services.store, services.settings, symbol):
        inconsistencies.append(Inconsistency(symbol, "store", *problem.split(". ", 1)))
    scored = [week for week in services.store.periods(SHADOW_SCORES, symbol) if week < before]
    if scored and (lost := _recipes_without_records(services.store, symbol, scored[-1])):
        assets = ", ".join(model_asset(recipe) for recipe in lost)
        problem = f"week {scored[-1]} was scored by versions of which the store has no record in {assets}"
        remedy = f"{RESTORE}; or run weekly_cycle from the first week on: versions in MLflow are not trained again"
        inconsistencies.append(Inconsistency(symbol, "store", problem, remedy))
    return inconsistencies


def decided_weeks_without_scores(store: Store, ledger: Ledger, symbol: str, before: str = EVERY) -> list[Inconsistency]:
    """The weeks before a week that the ledger decided on scores which the store does not have."""
    decided = sorted(ledger_decisions(ledger.rows(symbol)))
    scored = store.periods(SHADOW_SCORES, symbol)  # after the ledger: a run appends to it once a week is scored
    missing = [week for week in decided if week < before and week not in scored]
    if not missing:
        return []
    problem = f"the ledger decided {span(missing)}, of which the store has no {SHADOW_SCORES}"
    remedy = f"{RESTORE}; or run market_data and weekly_cycle from {missing[0]} on: the ledger's decisions stand"
    return [Inconsistency(symbol, "store", problem, remedy)]


def _recipes_without_records(store: Store, symbol: str, week: str) -> list[str]:
    """The recipes whose version that traded last in a week's scores is in none of their records."""
    scores = store.read_frame(SHADOW_SCORES, symbol, week)
    newest = scores.loc[scores["model_id"] != ""].groupby("strategy")["model_id"].last()
    return [
        str(recipe) for recipe, model_id in newest.items() if not _is_recorded(store, symbol, str(recipe), model_id)
    ]


def _is_recorded(store: Store, symbol: str, recipe: str, model_id: str) -> bool:
    asset = model_asset(recipe)
    records: Iterable[dict[str, Any]] = (
        store.read_record(asset, symbol, week) or {} for week in reversed(store.periods(asset, symbol, "json"))
    )
    return any(model_id == version["model_id"] for record in records for version in record.get("versions", []))
