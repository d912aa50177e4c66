"""What an operator decides about a symbol: champion, share of capital, A/B tests. Checked, then added to the ledger.

An action takes effect when the week that it returns is decided again, which its caller starts.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import pandas as pd
from tenacity import retry, retry_if_exception_type, stop_after_attempt

from quantum_training.lifecycle.consistency.inconsistency import require_consistent
from quantum_training.lifecycle.consistency.ledger import store_against_ledger
from quantum_training.lifecycle.decision.ab_tests import ABPlan, registration, running_test
from quantum_training.lifecycle.decision.champion import recorded_decision
from quantum_training.lifecycle.market_history import MarketHistory
from quantum_training.lifecycle.records import ROLLOUT, WeeklyDecision, WeeklyRollout, read_record
from quantum_training.lifecycle.training.versions import versions_of
from quantum_training.resources.events.payloads import Event, Promoted, Regressed, event
from quantum_training.resources.ledger import Ledger, LedgerConflict
from quantum_training.resources.store.store import Store
from quantum_training.resources.texts import storable
from quantum_training.selection.hash_chain import Entry, Row, chain
from quantum_training.selection.ledger_rows import AB_KINDS, ORDERS, RULE_KINDS
from quantum_training.settings import Settings

RUN_WEEKLY_CYCLE = "run weekly_cycle"


class RefusedActionError(ValueError):
    """An action that cannot be taken. The message says why."""


class ManualAction(NamedTuple):
    """An action of an operator. kind: of its ledger row. key: of that row, so that a retry adds no second one.

    recipe: whom to promote. share: the ceiling of `rollout_ceiling`. ab_plan: the layout of `ab_test`.
    """

    kind: str
    symbol: str
    actor: str
    reason: str
    key: str
    recipe: str | None = None
    share: float | None = None
    ab_plan: ABPlan | None = None


def check_names(settings: Settings, symbol: str, recipes: Iterable[str]) -> None:
    """RefusedActionError if the settings do not have the symbol, or the symbol not these recipes."""
    if symbol not in settings.symbols:
        raise RefusedActionError(f"unknown symbol {symbol}; symbols are {', '.join(settings.symbols)}")
    allowed = settings.symbols[symbol].recipes
    if not allowed:
        raise RefusedActionError(f"{symbol} has no recipes; name some in symbols.{symbol}.recipes")
    if unknown := sorted({*recipes} - {*allowed}):
        raise RefusedActionError(
            f"{symbol}: unknown recipes {', '.join(unknown)}; its recipes are {', '.join(allowed)}"
        )


@retry(retry=retry_if_exception_type(LedgerConflict), stop=stop_after_attempt(5), reraise=True)
def record_action(action: ManualAction, settings: Settings, store: Store, ledger: Ledger, now: pd.Timestamp) -> str:
    """Add an action to the ledger, in one transaction with its event. Returns the week to decide again.

    That is the newest decided week, or if the action is recorded already, the week that it was recorded for. A
    promotion publishes `model.promoted` and a demotion `model.regressed`. The other actions leave the champion in
    office and publish nothing. RefusedActionError if the action names something unknown or is impossible now.
    InconsistentStateError if the ledger is not the one that the store knows.
    """
    symbol = action.symbol
    recipe = action.ab_plan.challenger if action.ab_plan else action.recipe
    check_names(settings, symbol, [recipe] if recipe else [])
    require_consistent(store_against_ledger(store, ledger, symbol))
    rows = ledger.rows(symbol)
    if recorded := next((row for row in rows if row.key == action.key), None):
        return str(recorded.payload["week"])
    weeks = [str(row.payload["week"]) for row in rows if row.kind in RULE_KINDS]
    if not weeks:
        raise RefusedActionError(f"{symbol}: no week was ever decided; {RUN_WEEKLY_CYCLE} first")
    if recipe and not versions_of(store, symbol, recipe):
        raise RefusedActionError(f"{symbol}: {recipe} has no version; {RUN_WEEKLY_CYCLE} first")
    entry = Entry(
        symbol=symbol,
        key=action.key,
        kind=action.kind,
        effective=now,
        actor=storable(action.actor),
        reason=storable(action.reason),
        payload=_payload(action, settings, store, weeks[-1], now),
    )
    events = _events(action, MarketHistory(store, settings, symbol), weeks[-1], rows, entry)
    ledger.append([entry], events, expected_head=rows[-1].hash)
    return weeks[-1]


def _payload(action: ManualAction, settings: Settings, store: Store, week: str, now: pd.Timestamp) -> dict[str, Any]:
    """The payload of an action's ledger row. RefusedActionError if the action is impossible now."""
    if action.kind in AB_KINDS:
        return _ab_payload(action, settings, read_record(store, WeeklyRollout, action.symbol, week), week, now)
    if action.kind in ORDERS:
        return _order_payload(action, read_record(store, WeeklyDecision, action.symbol, week), week)
    return {"week": week, "recipe": action.recipe}


def _events(action: ManualAction, history: MarketHistory, week: str, rows: list[Row], entry: Entry) -> list[Event]:
    """The event of a change of the champion by hand. rows: the ledger's; entry: what follows them.

    RefusedActionError if nobody is in office to be demoted.
    """
    if action.kind not in ("promote", "demote"):
        return []
    former = recorded_decision(history, week, rows)
    if action.kind == "promote":
        return [event(action.symbol, _promoted(action, former, history.store, entry), action.key)]
    if former is None or former.champion is None:
        raise RefusedActionError(f"{action.symbol}: it has no champion to demote")
    restored = recorded_decision(history, week, [*rows, chain(rows[-1], entry)])
    return [event(action.symbol, _regressed(former, restored, entry), action.key)]


def _order_payload(action: ManualAction, decision: WeeklyDecision | None, week: str) -> dict[str, Any]:
    """The payload of an order about the champion's share of capital."""
    if decision is None or decision.champion is None:
        raise RefusedActionError(f"{action.symbol}: it has no champion to give capital to")
    return {"week": week, "recipe": decision.champion, **({} if action.share is None else {"share": action.share})}


def _ab_payload(
    action: ManualAction, settings: Settings, rollout: WeeklyRollout | None, week: str, now: pd.Timestamp
) -> dict[str, Any]:
    """The payload that registers an A/B test or ends the running one."""
    try:
        if action.ab_plan:
            if rollout is None:
                raise ValueError(f"no {ROLLOUT} of {week} is stored; {RUN_WEEKLY_CYCLE} of this week first")
            return registration(settings.symbols[action.symbol], rollout, action.ab_plan, now)
        if rollout is None or running_test(rollout, now) is None:
            raise ValueError("no A/B test runs")
        return {"week": week}
    except ValueError as error:
        raise RefusedActionError(f"{action.symbol}: {error}") from error


def _promoted(action: ManualAction, former: WeeklyDecision | None, store: Store, entry: Entry) -> Promoted:
    return Promoted(
        model_type=str(action.recipe),
        old_version=former.model_id if former else None,
        new_version=versions_of(store, action.symbol, str(action.recipe))[-1].model_id,
        promotion_reason=f"by {entry.actor}: {entry.reason}",
        improvement_pct=None,
        promoted_at=entry.effective,
    )


def _regressed(former: WeeklyDecision, restored: WeeklyDecision | None, entry: Entry) -> Regressed:
    return Regressed(
        model_type=str(former.champion),
        failed_version=former.model_id,
        rolled_back_to=restored.model_id if restored else None,
        regression_reason=f"demoted by {entry.actor}: {entry.reason}",
        regressed_at=entry.effective,
    )


def action_outcome(store: Store, symbol: str, week: str, kind: str) -> dict[str, Any]:
    """Champion, pin and share of capital of a week that was decided again; of an A/B test also its state."""
    decision = read_record(store, WeeklyDecision, symbol, week)
    rollout = read_record(store, WeeklyRollout, symbol, week)
    ab_state = rollout.ab if rollout and kind in AB_KINDS else None
    return {
        "champion": (decision.champion if decision else None) or "none",
        "pinned": decision.pinned if decision else None,
        "share": rollout.share if rollout else None,
        **({"ab_test": ab_state.ended or "registered"} if ab_state else {}),
    }
