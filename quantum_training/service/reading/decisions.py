"""Champions week by week, campaigns with their evidence, stages of the rollout, and the ledger's rows."""

from __future__ import annotations

from datetime import datetime
from functools import partial
from typing import Any

from pydantic import BaseModel, Field

from quantum_training.lifecycle.records import (
    CHAMPION,
    ROLLOUT,
    WeeklyDecision,
    WeeklyRollout,
    read_records,
)
from quantum_training.lifecycle.reporting.summaries import decision_sentence, rollout_sentence
from quantum_training.selection.decision import Campaign
from quantum_training.selection.hash_chain import Row
from quantum_training.service.reading.dated import Dated, Page, age, page
from quantum_training.service.state import CAMPAIGNS_ROWS, SMALL_ROWS, State

STAGE_NAMES = (
    "Shadow Mode",
    "Initial Testing",
    "Confidence Building",
    "Standard Operation",
    "Expanded Operation",
)
"""By number of the stage; later ones have the last name."""


class CampaignWeek(BaseModel):
    """What a week of a campaign found about a challenger."""

    week: str = Field(examples=["2020-02-10"])
    recipe: str = Field(examples=["xgboost"])
    verdict: str = Field(examples=["CONTINUE"])
    reason: str
    bars: int
    blocks: int = Field(description="UTC days with bars.")
    sharpe: float | None
    incumbent_sharpe: float | None
    margin: float | None = Field(description="Sharpe ratio less the needed one.")
    z: float | None = Field(description="Test statistic; null by the rule `improvement`.")
    boundary: float | None = Field(description="What it has to cross.")
    alpha_spent: float | None


class CampaignRow(Dated):
    """A campaign: weeks in which challengers are tested against the champion."""

    symbol: str
    opened: str = Field(description="Its first week.", examples=["2020-01-20"])
    week: int = Field(description="Number of its newest week.", examples=[4])
    weeks: int = Field(description="Its planned weeks.", examples=[26])
    planned_days: int
    incumbent: str | None
    challengers: list[str]
    out: list[str] = Field(description="Challengers that were shown to be worse.")
    verdict: str = Field(description="Verdict of its newest week.")
    reason: str
    is_open: bool = Field(description="Is it the campaign of the newest decided week?")
    evidence: list[CampaignWeek]


class ChampionRow(Dated):
    """Who is champion of a symbol, and why."""

    symbol: str
    sentence: str | None = Field(description="Who is in office since when; null before the first decision.")
    decision: WeeklyDecision | None = Field(description="The newest decision.")


class DecisionPage(Page[WeeklyDecision]):
    """The decisions of a symbol, the newest first."""

    sentence: str | None = Field(description="Who is in office since when.")


class RolloutPage(Page[WeeklyRollout]):
    """The stages of a symbol's rollout, the newest first."""

    sentence: str | None = Field(description="Which share the champion may use, and what comes next.")
    stage_name: str | None = Field(examples=["Confidence Building"])
    stages: list[float] = Field(description="Shares of the capital by number of the stage.")
    min_days: list[int] = Field(description="Days in each stage but the last.")
    kill_switch: bool


class LedgerRow(BaseModel):
    """A row of the ledger. hash covers the row before it."""

    number: int
    kind: str = Field(examples=["promote"])
    effective: datetime
    actor: str = Field(examples=["rule:evidence", "Ann"])
    reason: str
    payload: dict[str, Any]
    hash: str


def champion_page(state: State, symbols: list[str]) -> dict[str, Any]:
    """The newest decision of each of these symbols."""
    stored = [state.memory.made(("champion", symbol), partial(_champion, state, symbol)) for symbol in symbols]
    rows = [{**row, **age(row["as_of"])} for row in stored]
    return page(rows, max((row["as_of"] for row in rows if row["as_of"]), default=None))


def _champion(state: State, symbol: str) -> dict[str, Any]:
    """The fields of ChampionRow that only the store changes."""
    decisions = read_records(state.store, WeeklyDecision, symbol)
    week = max(decisions, default=None)
    sentence = decision_sentence(decisions, week) if week else None
    return {"as_of": week, "symbol": symbol, "sentence": sentence, "decision": decisions.get(week or "")}


def decision_page(state: State, symbol: str, limit: int) -> dict[str, Any]:
    """The newest decisions of a symbol."""
    decisions = read_records(state.store, WeeklyDecision, symbol)
    week = max(decisions, default=None)
    sentence = decision_sentence(decisions, week) if week else None
    return {**page([*decisions.values()][::-1], week, limit), "sentence": sentence}


def campaign_page(state: State, symbols: list[str], limit: int) -> dict[str, Any]:
    """The newest campaigns of these symbols."""
    rows = [
        row
        for symbol in symbols
        for row in state.memory.made(("campaigns", symbol), partial(_campaigns, state, symbol), CAMPAIGNS_ROWS)
    ]
    rows.sort(key=lambda row: (row["as_of"], row["symbol"]), reverse=True)
    shown = [{**row, **age(row["as_of"])} for row in rows[:limit]]
    return {**page(shown, rows[0]["as_of"] if rows else None), "total": len(rows)}


def _campaigns(state: State, symbol: str) -> list[dict[str, Any]]:
    """The fields of CampaignRow that only the store changes."""
    rows = []
    by_opening: dict[str, list[tuple[WeeklyDecision, Campaign]]] = {}
    decisions = read_records(state.store, WeeklyDecision, symbol)
    for decision in decisions.values():
        if decision.campaign:
            by_opening.setdefault(decision.campaign.opened, []).append((decision, decision.campaign))
    for weeks in by_opening.values():
        decision, campaign = weeks[-1]
        evidence = [
            {"week": d.week, "recipe": recipe, **judgement.model_dump()}
            for d, _ in weeks
            for recipe, judgement in d.judgements.items()
        ]
        row = {
            "as_of": decision.week,
            **campaign.model_dump(),
            "symbol": symbol,
            "incumbent": decision.former,
            "verdict": decision.verdict,
            "reason": decision.reason,
            "is_open": decision.week == max(decisions),
            "evidence": evidence,
        }
        rows.append(row)
    return rows


def rollout_page(state: State, symbol: str, limit: int) -> dict[str, Any]:
    """The newest stages of a symbol."""
    rollouts, policy = read_records(state.store, WeeklyRollout, symbol), state.live_settings().rollout
    newest = rollouts[max(rollouts)] if rollouts else None
    return {
        **page([*rollouts.values()][::-1], max(rollouts, default=None), limit),
        "sentence": rollout_sentence(newest) if newest else None,
        "stage_name": stage_name(newest.stage) if newest else None,
        "stages": policy.stages,
        "min_days": policy.min_days,
        "kill_switch": policy.kill_switch,
    }


def stage_name(stage: int) -> str:
    """The name of a stage by its number."""
    return STAGE_NAMES[min(stage, len(STAGE_NAMES) - 1)]


def newest_rollouts(state: State, symbols: list[str]) -> dict[str, Any]:
    """The newest stage of each of these symbols; a symbol without one is left out."""
    rows = [record for symbol in symbols if (record := newest_record(state, ROLLOUT, symbol))]
    return page(rows, max((row["week"] for row in rows), default=None))


def newest_record(state: State, asset: str, symbol: str) -> dict[str, Any] | None:
    """The newest record of an asset with its symbol; None if there is none."""
    periods = state.store.periods(asset, symbol, "json")
    record = state.store.read_record(asset, symbol, periods[-1]) if periods else None
    return {"symbol": symbol, **record} if record else None


def ledger_page(state: State, symbol: str, limit: int) -> dict[str, Any]:
    """The newest rows of a symbol's ledger. They are read again when its head has changed."""
    head = state.ledger.head(symbol)
    kept: tuple[str, list[Row]] | None = state.memory.recall(("ledger", symbol))
    if kept is None or kept[0] != head:
        kept = head, state.ledger.rows(symbol)[::-1]
        state.memory.keep(("ledger", symbol), kept, 1 + len(kept[1]) // SMALL_ROWS, {})
    rows = kept[1]
    answer = page([row.model_dump() for row in rows[:limit]], rows[0].effective if rows else None)
    return {**answer, "total": len(rows)}


def champion_of(state: State, symbol: str) -> str | None:
    """The champion of the newest decided week."""
    record = newest_record(state, CHAMPION, symbol)
    return record["champion"] if record else None
