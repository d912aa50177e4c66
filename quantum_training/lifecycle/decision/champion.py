"""The champion of each week: reads scores and ledger, decides, and writes ledger rows, events and MLflow's aliases.

The decision itself is the pure fold of selection/champion.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import cache, partial
from typing import Any

import numpy as np
import pandas as pd
from tenacity import retry, retry_if_exception_type, stop_after_attempt

from quantum_training.lifecycle.consistency.inconsistency import require_consistent
from quantum_training.lifecycle.consistency.market import scores_of_another_market
from quantum_training.lifecycle.evaluation.model_health import health_findings, version_at, worst_drift_of_week
from quantum_training.lifecycle.market_history import MarketHistory
from quantum_training.lifecycle.records import ModelVersion, WeeklyDecision, read_records, write_record
from quantum_training.lifecycle.training.version_loader import Load
from quantum_training.lifecycle.training.versions import recorded_versions, trials_per_recipe
from quantum_training.market.calendars import expected_open_times, periods_per_year
from quantum_training.market.timeframe import opens_before
from quantum_training.models.contract import Model
from quantum_training.resources.events.payloads import Event, Promoted, Regressed, event
from quantum_training.resources.ledger import Ledger, LedgerConflict
from quantum_training.resources.locks import exclusive_lock
from quantum_training.resources.registry.registry import ModelRegistry
from quantum_training.resources.store.store import Store
from quantum_training.resources.texts import storable
from quantum_training.selection.champion import decide_weeks
from quantum_training.selection.decision import Decision, DecisionPolicy
from quantum_training.selection.hash_chain import GENESIS, Entry, Row
from quantum_training.selection.history import recipes_in
from quantum_training.selection.ledger_rows import INTERIM_ANALYSIS, KINDS, ledger_decisions, manual_actions
from quantum_training.settings import Settings

MARKET_YEARS = 3
LEDGER_FIELDS = {"week", "verdict", "former", "campaign", "judgements", "harm", "faults", "evidence_hash"}
"""Fields of a decision that its ledger row repeats."""


@retry(retry=retry_if_exception_type(LedgerConflict), stop=stop_after_attempt(5), reraise=True)
def decide(history: MarketHistory, ledger: Ledger, last: str, load: Load) -> dict[str, WeeklyDecision]:
    """Decide every scored week up to `last`; weeks after the ledger's newest get a row in it, and events.

    A week before the ledger's newest that has no row was scored too late to decide anything: it gets none. If another
    run decides meanwhile, everything is decided again on the rows that it wrote. load: the model of a version.
    InconsistentStateError if the scores are not of the stored candles' market.
    """
    require_consistent(scores_of_another_market(history, last))
    rows = ledger.rows(history.symbol)
    decisions = weekly_decisions(history, last, rows, load)
    newest_recorded = max(ledger_decisions(rows), default="")
    new = [decision for week, decision in decisions.items() if week > newest_recorded]
    entries = [decision_entry(history.symbol, history.settings.promotion.rule, decision) for decision in new]
    events = [_event(history.symbol, decision) for decision in new]
    ledger.append(entries, [e for e in events if e is not None], expected_head=rows[-1].hash if rows else GENESIS)
    return decisions


def complete_records(store: Store, ledger: Ledger, symbol: str, decisions: Mapping[str, WeeklyDecision]) -> None:
    """Write the records that runs left unwritten which died after they had added a row to the ledger.

    decisions: of `decide`. A week that was scored too late to have a row keeps the record that it has, or none.
    """
    stored = read_records(store, WeeklyDecision, symbol)
    for week in decisions.keys() & ledger_decisions(ledger.rows(symbol)).keys():
        if week not in stored or stored[week].operator != decisions[week].operator:
            write_record(store, symbol, week, decisions[week])


def weekly_decisions(history: MarketHistory, last: str, rows: list[Row], load: Load) -> dict[str, WeeklyDecision]:
    """The decision of every scored week up to `last`, and the versions that trade by it. rows: of the ledger."""
    scores = history.scores_by_week(last)
    recipes = {*history.market.recipes}.union(*map(recipes_in, scores.values()))
    recorded = {recipe: recorded_versions(history.store, history.symbol, recipe, last) for recipe in sorted(recipes)}
    versions = {recipe: [v.version for v in entries if v.accepted] for recipe, entries in recorded.items()}
    policy = decision_policy(history.settings, history.symbol)._replace(
        faults=partial(health_findings, history, versions, load),
        drift=partial(worst_drift_of_week, history.store, history.symbol),
        seeds=trials_per_recipe(history.store, history.settings, recorded),
        market_before=_market_before(history, last),
    )
    records: dict[str, WeeklyDecision] = {}
    current: str | None = None
    previous: str | None = None
    configured = history.market.recipes
    for decision in decide_weeks(scores, configured, policy, ledger_decisions(rows), manual_actions(rows)):
        week = decision.week
        model_id = version_at(week, decision.champion, versions)
        if model_id != current:
            current, previous = model_id, current or previous
        records[week] = WeeklyDecision(
            **_fields(decision),
            model_id=current,
            previous_model_id=previous,
            decided_model_id=version_at(week, decision.decided, versions),
            former_model_id=version_at(week, decision.former, versions),
            refused_refresh=refused_refresh(week, recorded.get(decision.champion or "", [])),
        )
    return records


def _market_before(history: MarketHistory, last: str) -> Callable[[str], np.ndarray]:
    """The market's days before the bars that a week scores. The stored bars are read once, and only if it is called."""
    by_day = cache(lambda: history.returns_by_day(pd.Timestamp(last, tz="UTC")))
    return cache(lambda week: days_before(by_day(), history.scored_from(pd.Timestamp(week, tz="UTC"))))


def days_before(by_day: pd.Series, time: pd.Timestamp) -> np.ndarray:
    """The returns of the days before a time, (days,), of at most MARKET_YEARS."""
    return by_day[(by_day.index >= time - pd.DateOffset(years=MARKET_YEARS)) & (by_day.index < time)].to_numpy()


def recorded_decision(history: MarketHistory, week: str, rows: list[Row]) -> WeeklyDecision | None:
    """The decision of the newest week of the ledger by these rows; None if the week has no scores.

    No model is loaded: the rows hold what was found in the week.
    """

    def no_load(model_id: str) -> Model:
        raise AssertionError(f"{history.symbol}: {week} is decided, so {model_id} is not examined again")

    return weekly_decisions(history, week, rows, no_load).get(week)


def _fields(decision: Decision) -> dict[str, Any]:
    return {name: getattr(decision, name) for name in Decision.model_fields}


def decision_policy(settings: Settings, symbol: str) -> DecisionPolicy:
    """The rule, the rollback policy and the calendar that a symbol is decided by."""
    market = settings.symbols[symbol]

    def planned_days(first: pd.Timestamp, until: pd.Timestamp) -> int:
        first, until = opens_before(first, market.timeframe), opens_before(until, market.timeframe)
        return expected_open_times(market.calendar, market.timeframe, first, until).normalize().nunique()

    periods = periods_per_year(market.calendar, market.timeframe)
    return DecisionPolicy(settings.promotion, settings.rollback, periods, planned_days, seeds=settings.seeds)


def current_champion(decisions: Mapping[str, Decision]) -> tuple[str | None, pd.Timestamp]:
    """The champion of the newest of these weeks, and the week since which it is champion.

    decisions: by week, oldest first; in a week that is missing the champion of the week before remained.
    """
    weeks = list(decisions)
    champion, since = decisions[weeks[-1]].champion, weeks[-1]
    for week in reversed(weeks):
        if decisions[week].champion != champion:
            break
        since = week
    return champion, pd.Timestamp(since, tz="UTC")


def refused_refresh(week: str, versions: Iterable[ModelVersion]) -> str | None:
    """Why a recipe's newest version at the start of the week does not trade; None if it does. Oldest version first."""
    newest = next((v for v in reversed([*versions]) if v.time <= pd.Timestamp(week, tz="UTC")), None)
    if newest is None or newest.refresh is None or newest.accepted:
        return None
    return f"the refresh of {newest.as_of[:10]} was refused: {newest.refresh.reason}"


def move_aliases(store: Store, registry: ModelRegistry, settings: Settings, symbol: str) -> None:
    """Point MLflow's aliases `champion` and `previous` at the versions of the newest stored decision."""
    with exclusive_lock(settings.database_url, f"aliases {symbol}"):
        newest = list(read_records(store, WeeklyDecision, symbol).values())[-1]
        registry.aliases.move(symbol, _aliases(registry, symbol, newest))


def _aliases(registry: ModelRegistry, symbol: str, decision: WeeklyDecision) -> dict[str, str | None]:
    """The version of each alias; None for one that is no longer in MLflow because it left office or does not work."""
    champion, previous = decision.model_id, decision.previous_model_id
    faulty = decision.champion is not None and bool(decision.faults.get(decision.champion))
    return {
        "champion": None if faulty and not registry.find(symbol, str(champion)) else champion,
        "previous": previous if previous and registry.find(symbol, previous) else None,
    }


def decision_entry(symbol: str, rule: str, decision: WeeklyDecision) -> Entry:
    """The ledger row of a week."""
    changed = decision.decided != decision.former
    return Entry(
        symbol=symbol,
        key=f"week/{decision.week}",
        kind=KINDS.get(decision.verdict, INTERIM_ANALYSIS) if changed else INTERIM_ANALYSIS,
        effective=pd.Timestamp(decision.week, tz="UTC"),
        actor=f"rule {rule}",
        reason=storable(decision.reason),
        payload={
            **decision.model_dump(include=LEDGER_FIELDS),
            "champion": decision.decided,
            "model_id": decision.decided_model_id,
        },
    )


def _event(symbol: str, decision: WeeklyDecision) -> Event | None:
    """The event of a week: a promotion, a rollback, or None."""
    if decision.decided == decision.former or decision.verdict not in KINDS:
        return None
    payload = _regressed(decision) if decision.verdict == "ROLLBACK" else _promoted(decision)
    return event(symbol, payload, f"week/{decision.week}")


def _regressed(decision: WeeklyDecision) -> Regressed:
    return Regressed.model_validate(
        {
            "model_type": decision.former,
            "failed_version": decision.former_model_id,
            "rolled_back_to": decision.decided_model_id,
            "regression_reason": decision.reason,
            "regressed_at": pd.Timestamp(decision.week, tz="UTC"),
        }
    )


def _promoted(decision: WeeklyDecision) -> Promoted:
    judgement = decision.judgements[str(decision.decided)]
    before, after = judgement.incumbent_sharpe, judgement.sharpe
    return Promoted.model_validate(
        {
            "model_type": decision.decided,
            "old_version": decision.former_model_id,
            "new_version": decision.decided_model_id,
            "promotion_reason": decision.reason,
            "improvement_pct": 100 * (after / before - 1) if after is not None and before and before > 0 else None,
            "promoted_at": pd.Timestamp(decision.week, tz="UTC"),
        }
    )
