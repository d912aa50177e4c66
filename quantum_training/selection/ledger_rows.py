"""What the rows of a symbol's ledger say: the weeks that were decided, operators' actions and orders, A/B tests.

How rows are chained and checked is hash_chain.py; how they are stored, resources/ledger.py.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from quantum_training.selection.decision import Action, LedgerDecision
from quantum_training.selection.hash_chain import Row
from quantum_training.selection.rollout_policy import Order

KINDS = {"PROMOTE": "promotion", "ROLLBACK": "rollback"}
INTERIM_ANALYSIS = "look"
RULE_KINDS = {*KINDS.values(), INTERIM_ANALYSIS}
"""Kinds of the rows that the rule writes, one a week."""
MANUAL_KINDS = {"promote", "demote", "pin", "unpin"}
"""Kinds of the rows that operators' actions on the champion write."""
ORDERS = {"rollout_reset": "reset", "rollout_ceiling": "ceiling"}
"""Kinds of rows that are orders; their payload holds week, recipe and, for a ceiling, the share."""
AB_KINDS = AB_TEST, AB_STOP = "ab_test", "ab_stop"
"""Kinds of rows that register an A/B test and end it."""


def ledger_decisions(rows: Iterable[Row]) -> dict[str, LedgerDecision]:
    """What the rows say of each week that was decided, in the order of the rows."""
    payloads: list[dict[str, Any]] = [dict(row.payload) for row in rows if row.kind in RULE_KINDS]
    return {p["week"]: LedgerDecision(p["verdict"], p["champion"], p.get("faults", {})) for p in payloads}


def manual_actions(rows: Iterable[Row]) -> list[Action]:
    """What operators did about the champion, in the order they did it."""
    manual: list[tuple[Row, dict[str, Any]]] = [(row, dict(row.payload)) for row in rows if row.kind in MANUAL_KINDS]
    return [Action(payload["week"], r.kind, payload.get("recipe"), r.actor, r.reason) for r, payload in manual]


def order_of(row: Row) -> Order:
    """The order that a row holds. ValidationError if its payload is none."""
    fields = {"kind": ORDERS[row.kind], "effective": row.effective, "actor": row.actor, "reason": row.reason}
    return Order.model_validate({**row.original_payload, **fields})
