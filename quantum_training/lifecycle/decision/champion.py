"""What the champion asset decides with and leaves behind: score records and ledger in, week records and rows out."""

from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any

import pandas as pd
from tenacity import retry, retry_if_exception_type, stop_after_attempt

from quantum_training.lifecycle.evaluation.model_health import Load, drift_before, faults, version_at
from quantum_training.lifecycle.market_history import MarketHistory
from quantum_training.lifecycle.training.versions import accepted, accepted_versions, entries_of
from quantum_training.market.calendars import expected_open_times, periods_per_year
from quantum_training.resources.events.payloads import Event, Promoted, Regressed, event
from quantum_training.resources.ledger import Ledger, LedgerConflict
from quantum_training.resources.store.store import Store
from quantum_training.selection.champion import decide_weeks
from quantum_training.selection.decision import Action, DecisionPolicy, LedgerDecision
from quantum_training.selection.ledger import GENESIS, Entry, Row
from quantum_training.settings.settings import Settings

KINDS = {"PROMOTE": "promotion", "ROLLBACK": "rollback"}
LOOK = "look"
RULE_KINDS = {*KINDS.values(), LOOK}
MANUAL_KINDS = {"promote", "demote", "pin", "unpin"}


@retry(retry=retry_if_exception_type(LedgerConflict), stop=stop_after_attempt(5), reraise=True)
def decide(
    store: Store, ledger: Ledger, settings: Settings, symbol: str, last: str, load: Load
) -> dict[str, dict[str, Any]]:
    """The record of every scored week up to `last`; weeks after the ledger's newest are written to it, with events.

    A week before the ledger's newest that it does not know was scored too late to decide anything: it gets no row.
    Where another run decided meanwhile, all is decided again on what it left. `load` gives a version's model.
    """
    rows = ledger.rows(symbol)
    records = weekly_decisions(store, settings, symbol, last, rows, load)
    known = max(_recorded(rows), default="")
    fresh = [record for week, record in records.items() if week > known]
    entries = [_entry(symbol, settings.promotion.rule, record) for record in fresh]
    events = [told for record in fresh if (told := _event(symbol, record)) is not None]
    ledger.append(entries, events, expected_head=rows[-1].hash if rows else GENESIS)
    return records


def weekly_decisions(
    store: Store, settings: Settings, symbol: str, last: str, rows: list[Row], load: Load
) -> dict[str, dict[str, Any]]:
    """The record of every scored week up to `last`: the decision and the versions that trade by it."""
    options = settings.symbols[symbol]
    entries = {recipe: entries_of(store, symbol, recipe, last) for recipe in options.recipes}
    versions = {recipe: accepted_versions(found) for recipe, found in entries.items()}
    records: dict[str, dict[str, Any]] = {}
    current: str | None = None
    previous: str | None = None
    terms = decision_policy(settings, symbol)._replace(
        faults=partial(faults, store, settings, symbol, versions, load), drift=partial(drift_before, store, symbol)
    )
    scores = MarketHistory(store, settings, symbol).scores_by_week(last)
    for decision in decide_weeks(scores, options.recipes, terms, _recorded(rows), _actions(rows)):
        model_id = version_at(decision.week, decision.champion, versions)
        if model_id != current:
            current, previous = model_id, current or previous
        records[decision.week] = {
            **decision.model_dump(),
            "model_id": current,
            "previous_model_id": previous,
            "decided_model_id": version_at(decision.week, decision.decided, versions),
            "former_model_id": version_at(decision.week, decision.former, versions),
            "refused_refresh": refused_refresh(decision.week, entries.get(decision.champion or "", [])),
        }
    return records


def decision_policy(settings: Settings, symbol: str) -> DecisionPolicy:
    """The rule, the rollback policy and the calendar that a symbol is decided by."""
    market = settings.symbols[symbol]

    def planned_days(first: pd.Timestamp, until: pd.Timestamp) -> int:
        return expected_open_times(market.calendar, market.timeframe, first, until).normalize().nunique()

    periods = periods_per_year(market.calendar, market.timeframe)
    return DecisionPolicy(settings.promotion, settings.rollback, periods, planned_days, seeds=settings.seeds)


def current_champion(champions: Mapping[str, Mapping[str, Any]]) -> tuple[str | None, pd.Timestamp]:
    """The champion of the newest of these weeks, and the week since which it is.

    champions: decisions by week, oldest first; one that is missing means that the one before still stood.
    """
    weeks = list(champions)
    champion, since = champions[weeks[-1]]["champion"], weeks[-1]
    for week in reversed(weeks):
        if champions[week]["champion"] != champion:
            break
        since = week
    return champion, pd.Timestamp(since, tz="UTC")


def refused_refresh(week: str, entries: Iterable[Mapping[str, Any]]) -> str | None:
    """Why a recipe's newest version at the start of the week does not trade; None where it does. Oldest entry first."""
    known = [e for e in entries if pd.Timestamp(e["as_of"]) <= pd.Timestamp(week, tz="UTC")]
    if not known or accepted(known[-1]):
        return None
    return f"the refresh of {known[-1]['as_of'][:10]} was refused: {known[-1]['refresh']['reason']}"


def _recorded(rows: list[Row]) -> dict[str, LedgerDecision]:
    """What the rows say of each week that was decided."""
    told: list[dict[str, Any]] = [dict(r.payload) for r in rows if r.kind in RULE_KINDS]
    return {t["week"]: LedgerDecision(t["verdict"], t["champion"], t.get("faults", {})) for t in told}


def _actions(rows: list[Row]) -> list[Action]:
    """What operators did, in the order they did it."""
    done: list[tuple[Row, dict[str, Any]]] = [(r, dict(r.payload)) for r in rows if r.kind in MANUAL_KINDS]
    return [Action(told["week"], row.kind, told.get("recipe"), row.actor, row.reason) for row, told in done]


def _entry(symbol: str, rule: str, record: Mapping[str, Any]) -> Entry:
    kept = ("week", "verdict", "former", "campaign", "judgements", "harm", "faults", "evidence_hash")
    told = {key: record[key] for key in kept}
    return Entry(
        symbol=symbol,
        key=f"week/{record['week']}",
        kind=KINDS.get(record["verdict"], LOOK) if record["decided"] != record["former"] else LOOK,
        effective=pd.Timestamp(record["week"], tz="UTC"),
        actor=f"rule {rule}",
        reason=record["reason"],
        payload={**told, "champion": record["decided"], "model_id": record["decided_model_id"]},
    )


def _event(symbol: str, record: Mapping[str, Any]) -> Event | None:
    """What readers of events are told of a week: a promotion, a rollback, or nothing."""
    if record["decided"] == record["former"] or record["verdict"] not in KINDS:
        return None
    time = pd.Timestamp(record["week"], tz="UTC")
    if record["verdict"] == "ROLLBACK":
        regressed = Regressed(
            model_type=record["former"],
            failed_version=record["former_model_id"],
            rolled_back_to=record["decided_model_id"],
            regression_reason=record["reason"],
            regressed_at=time,
        )
        return event(symbol, regressed, f"week/{record['week']}")
    judged = record["judgements"][record["decided"]]
    before = judged["incumbent_sharpe"]
    promoted = Promoted(
        model_type=record["decided"],
        old_version=record["former_model_id"],
        new_version=record["decided_model_id"],
        promotion_reason=record["reason"],
        improvement_pct=100 * (judged["sharpe"] / before - 1) if before > 0 else None,
        promoted_at=time,
    )
    return event(symbol, promoted, f"week/{record['week']}")
