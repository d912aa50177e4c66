"""Rebuilds a lost or older ledger from the store's records: decisions, operators' actions, orders, A/B tests.

Only a person starts it. Each row says from which record it was restored, by whom and why. What no record holds, such as
the time of an action or a row of the job `retrain`, is not restored, and said.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import pandas as pd

from quantum_training.lifecycle.consistency.inconsistency import require_consistent
from quantum_training.lifecycle.consistency.ledger import contradictions
from quantum_training.lifecycle.decision.champion import decision_entry
from quantum_training.lifecycle.records import (
    CHAMPION,
    ROLLOUT,
    SHADOW_SCORES,
    ABState,
    WeeklyDecision,
    WeeklyRollout,
    read_records,
)
from quantum_training.resources.ledger import Ledger
from quantum_training.resources.store.store import Store
from quantum_training.selection.hash_chain import GENESIS, RESTORED, Entry, Row
from quantum_training.selection.ledger_rows import (
    AB_STOP,
    AB_TEST,
    ORDERS,
    ledger_decisions,
    manual_actions,
    order_of,
)
from quantum_training.selection.rollout_policy import order_texts

ACTION = re.compile(r"(promote|demote|pin|unpin) (?:([\w-]+) )?by (.*?): (.*)", re.DOTALL)
ORDER = re.compile(r"(reset|ceiling)(?: (\S+) %)? ordered by (.*?): (.*)", re.DOTALL)
STOPPED = re.compile(r"stopped by (.*?): (.*)", re.DOTALL)
NEVER_RECORDED = (
    "no record holds the time at which an action was taken, nor rows of the job retrain: the rows of actions carry the "
    "Monday of their week"
)


class Restorer(NamedTuple):
    """Who has the ledger restored, and why. run: its id, of which the summary is written once."""

    actor: str
    reason: str
    run: str


class Restoration(NamedTuple):
    """The keys of the rows that were restored, and sentences on what could not be proved."""

    keys: list[str]
    unproved: list[str]


def restore_ledger(store: Store, ledger: Ledger, symbol: str, restorer: Restorer, now: pd.Timestamp) -> Restoration:
    """Add the rows that the store's records prove and the ledger lacks, in the order of the weeks, and a summary.

    Running it again adds nothing. InconsistentStateError if ledger and store contradict each other: rows are never
    changed, so one of the two must be replaced first. LedgerError if the chain is broken.
    """
    ledger.verify(symbol)
    rows = ledger.rows(symbol)
    require_consistent(contradictions(store.read_records(CHAMPION, symbol), rows, symbol))
    decisions, rollouts = read_records(store, WeeklyDecision, symbol), read_records(store, WeeklyRollout, symbol)
    draft = _Draft(symbol, restorer, rows)
    for week in sorted(decisions.keys() | rollouts.keys()):
        if week in decisions:
            draft.add_decision(decisions[week])
        if week in rollouts:
            draft.add_rollout(rollouts[week])
    if not draft.entries:
        return Restoration([], [])
    keys, unproved = [entry.key for entry in draft.entries], [*_unproved(store, symbol, decisions)]
    summary = Entry(
        symbol=symbol,
        key=f"ledger_restore/{restorer.run}",
        kind="ledger_restore",
        effective=now,
        actor=restorer.actor,
        reason=restorer.reason,
        payload={"rows": keys, "unproved": unproved},
    )
    ledger.append([*draft.entries, summary], expected_head=rows[-1].hash if rows else GENESIS)
    return Restoration(keys, unproved)


@dataclass
class _Draft:
    """The rows to add to a ledger. rows: those that it has."""

    symbol: str
    restorer: Restorer
    rows: Sequence[Row]
    entries: list[Entry] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._newest = max(ledger_decisions(self.rows), default="")
        self._recorded = Counter(map(str, manual_actions(self.rows)))
        self._recorded += Counter(str(order_of(row)) for row in self.rows if row.kind in ORDERS)
        self._tests = {pd.Timestamp(str(row.payload["start"])) for row in self.rows if row.kind == AB_TEST}
        self._recorded += Counter(f"stopped by {row.actor}: {row.reason}" for row in self.rows if row.kind == AB_STOP)

    def add_decision(self, decision: WeeklyDecision) -> None:
        """The row of a week after the ledger's newest, and the operators' actions that the record names."""
        week, source = decision.week, f"{CHAMPION} {decision.week}"
        if week > self._newest:
            self._add(decision_entry(self.symbol, "not recorded", decision), source)
        for message in decision.operator:
            parts = ACTION.fullmatch(message)
            if parts and not self._is_recorded(message):
                kind, recipe, actor, reason = parts.groups()
                self._add(self._action(kind, actor, reason, {"week": week, "recipe": recipe}), source)

    def add_rollout(self, rollout: WeeklyRollout) -> None:
        """The orders that the record names, and the A/B test that it shows."""
        week, source = rollout.week, f"{ROLLOUT} {rollout.week}"
        for text in order_texts(rollout.reason):
            parts = ORDER.fullmatch(text)
            if not parts or self._is_recorded(text):
                continue
            word, percent, actor, reason = parts.groups()
            kind = next(kind for kind, name in ORDERS.items() if name == word)
            payload = {"week": week, "recipe": rollout.champion, **({"share": float(percent) / 100} if percent else {})}
            entry = self._action(kind, actor, reason, payload)
            if not percent:  # losses count from then on
                entry = entry.model_copy(update={"effective": pd.Timestamp(rollout.guarded_from)})
            self._add(entry, source)
        if rollout.ab:
            self._add_test(rollout.ab, week, source)

    def _add_test(self, state: ABState, week: str, source: str) -> None:
        """The registration of a test that the ledger does not know, and its end by a person; weeks repeat both."""
        start, stopped = pd.Timestamp(state.test.start), STOPPED.fullmatch(state.ended or "")
        if start not in self._tests:
            self._tests.add(start)
            payload = state.test.model_dump(mode="json")
            self._add(self._action(AB_TEST, "not recorded", "not recorded", payload), source)
        if stopped and not self._recorded[stopped[0]]:
            self._recorded[stopped[0]] += 1
            self._add(self._action(AB_STOP, stopped[1], stopped[2], {"week": week}), source)

    def _is_recorded(self, text: str) -> bool:
        """Whether the ledger has one more row with this text."""
        is_recorded = self._recorded[text] > 0
        self._recorded[text] -= 1
        return is_recorded

    def _action(self, kind: str, actor: str, reason: str, payload: Mapping[str, Any]) -> Entry:
        """The row of an action of a person; the time that it carries is the Monday of its week."""
        return Entry(
            symbol=self.symbol,
            key=f"restored/{kind}/{payload['week']}/{len(self.entries)}",
            kind=kind,
            effective=pd.Timestamp(payload["week"], tz="UTC"),
            actor=actor,
            reason=reason,
            payload=dict(payload),
        )

    def _add(self, entry: Entry, source: str) -> None:
        restored = {"from": source, "actor": self.restorer.actor, "reason": self.restorer.reason}
        self.entries.append(entry.model_copy(update={"payload": {**entry.payload, RESTORED: restored}}))


def _unproved(store: Store, symbol: str, decisions: Mapping[str, WeeklyDecision]) -> Iterator[str]:
    """Sentences on what the records do not prove."""
    yield NEVER_RECORDED
    if lost := [
        week for week in store.periods(SHADOW_SCORES, symbol) if week <= max(decisions) and week not in decisions
    ]:
        yield f"there is no record of what was decided in {', '.join(lost)}"
    if revised := [week for week, decision in decisions.items() if decision.disagreement]:
        yield f"the evidence of {', '.join(revised)} is that of data or settings that changed after the decision"
