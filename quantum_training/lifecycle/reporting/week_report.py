"""The state of all symbols in a week, from stored records: what the closing table of a cycle and `week_report` show.

The sentences are in summaries.py, the page in week_page.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

import pandas as pd

from quantum_training.lifecycle.records import (
    CANDLES,
    DRIFT_REPORT,
    EVERY,
    BacktestRecord,
    DailyDrift,
    ModelRecord,
    WeeklyDecay,
    WeeklyDecision,
    WeeklyRollout,
    model_asset,
    read_record,
    read_records,
)
from quantum_training.lifecycle.reporting.summaries import (
    champions_of,
    decay_sentence,
    decision_sentence,
    drift_sentence,
    in_office_since,
    life_sentence,
    rollout_sentence,
)
from quantum_training.lifecycle.stored_months import stored_until
from quantum_training.lifecycle.training.training_window import incomplete_window
from quantum_training.market.calendars import periods_per_year
from quantum_training.market.periods import WEEK
from quantum_training.monitoring.severity import Severity
from quantum_training.resources.store.store import Store
from quantum_training.settings import Settings
from quantum_training.trading.baselines import BUY_AND_HOLD
from quantum_training.trading.summary import interval

BENCHMARK_NAME = "Buy & Hold"


class StrategyLine(NamedTuple):
    """A recipe or Buy & Hold in a week. sharpe: with its 95 % interval, on `bars`; state: its evidence in words."""

    strategy: str
    sharpe: str
    bars: int | None
    state: str


class SymbolWeek(NamedTuple):
    """A symbol in a week. sentences: by subject. attention: what a person should look at; week: None if undecided."""

    symbol: str
    week: str | None
    champion: str | None = None
    since: str | None = None
    share: float = 0.0
    verdict: str = "-"
    data_until: pd.Timestamp | None = None
    lines: Sequence[StrategyLine] = ()
    sentences: Mapping[str, str] = MappingProxyType({})
    attention: Sequence[str] = ()


def symbol_weeks(store: Store, settings: Settings, last: str) -> list[SymbolWeek]:
    """The state of every symbol with recipes in its newest decided week up to `last`.

    Of one with a broken record, what is wrong.
    """

    def read(symbol: str) -> SymbolWeek:
        try:
            return symbol_week(store, settings, symbol, last)
        except Exception as error:  # whatever a torn file raises, the page shows the other symbols
            return SymbolWeek(symbol, None, attention=[f"its records cannot be read: {type(error).__name__}: {error}"])

    return [read(symbol) for symbol in settings.trained_symbols]


def symbol_week(store: Store, settings: Settings, symbol: str, last: str = EVERY) -> SymbolWeek:
    """The state of a symbol in its newest decided week up to `last`."""
    decisions = read_records(store, WeeklyDecision, symbol, last)
    until = stored_until(store, CANDLES, symbol)
    if not decisions:
        return SymbolWeek(symbol, None, data_until=until, attention=["no week is decided; run the job weekly_cycle"])
    week = max(decisions)
    decision = decisions[week]
    rollouts = read_records(store, WeeklyRollout, symbol, week)
    rollout, life = rollouts.get(week), life_sentence(decisions, rollouts)
    decay = read_record(store, WeeklyDecay, symbol, week)
    drift = _newest_drift(store, symbol, week)
    sentences = {
        "decision": decision_sentence(decisions, week),
        **({"capital": rollout_sentence(rollout)} if rollout else {}),
        **({"life": life} if life else {}),
        **({"known edge": edge} if (edge := _known_edge(settings, symbol)) else {}),
        **({"drift": drift_sentence(drift)} if drift else {}),
        **({"decay": decay_sentence(decay)} if decay else {}),
    }
    return SymbolWeek(
        symbol,
        week,
        champion=decision.champion,
        since=in_office_since(champions_of(decisions), week) if decision.champion else None,
        share=rollout.share if rollout else 0.0,
        verdict=decision.verdict,
        data_until=until,
        lines=[*_strategy_lines(store, settings, symbol, decision)],
        sentences=sentences,
        attention=[
            *_late(settings, symbol, week, last, until),
            *_attention(decision, drift, decay),
            *_incomplete_trainings(store, settings, symbol, week),
        ],
    )


def _known_edge(settings: Settings, symbol: str) -> str:
    """The true edge of a simulated market, in a sentence; empty of a real one, of which nobody knows it."""
    market = settings.symbols[symbol]
    edge = market.source.known_edge(periods_per_year(market.calendar, market.timeframe))
    return f"Its true edge: {edge}." if edge else ""


def _newest_drift(store: Store, symbol: str, week: str) -> DailyDrift | None:
    """The newest drift report of the 7 days up to the week's Monday."""
    start = pd.Timestamp(week)
    days = [d for d in store.periods(DRIFT_REPORT, symbol, "json") if f"{start - WEEK:%Y-%m-%d}" < d <= week]
    return read_record(store, DailyDrift, symbol, days[-1]) if days else None


def _strategy_lines(store: Store, settings: Settings, symbol: str, decision: WeeklyDecision) -> Iterator[StrategyLine]:
    """One line for each recipe of the settings, the champion first, then Buy & Hold."""
    backtest = read_record(store, BacktestRecord, symbol, decision.week)
    metrics = backtest.metrics if backtest else {}
    recipes = sorted(settings.symbols[symbol].recipes, key=lambda recipe: recipe != decision.champion)
    for strategy, name in [*((recipe, recipe) for recipe in recipes), (BUY_AND_HOLD, BENCHMARK_NAME)]:
        values = metrics.get(strategy)
        state = "" if strategy == BUY_AND_HOLD else _state(store, symbol, decision, strategy)
        yield StrategyLine(
            name, interval(values, "sharpe") if values else "-", values["bars"] if values else None, state
        )


def _state(store: Store, symbol: str, decision: WeeklyDecision, recipe: str) -> str:
    """Where a recipe stands: champion, evidence of its campaign, or for what it waits and until when."""
    campaign = decision.campaign
    if recipe == decision.champion:
        return "champion"
    if recipe in decision.judgements:
        return decision.judgements[recipe].reason
    if campaign and recipe in campaign.out:
        return "out of this campaign: shown to be worse"
    record = read_record(store, ModelRecord, symbol, decision.week, model_asset(recipe))
    if record is None or (not record.versions and record.reason):
        return f"no version yet: {record.reason}" if record else "not trained in this week"
    if campaign:
        opens = pd.Timestamp(campaign.opened) + campaign.weeks * WEEK
        return f"waits for the next campaign, which opens on {opens:%Y-%m-%d} at the latest"
    return "waits for a campaign"


def _late(settings: Settings, symbol: str, week: str, last: str, until: pd.Timestamp | None) -> Iterator[str]:
    """What is missing of a market that goes on: decisions up to the week `last`, and candles up to the decided week."""
    start, last_day = pd.Timestamp(week, tz="UTC"), settings.last_day(symbol)
    if last_day is not None and (start + WEEK).date() > last_day:
        return
    if week < last < EVERY:
        yield f"the newest decision is of {week}; run the job weekly_cycle"
    if until is None or until < start:
        yield f"candles end at {until:%Y-%m-%d %H:%M} UTC" if until is not None else "no candles are stored"


def _attention(decision: WeeklyDecision, drift: DailyDrift | None, decay: WeeklyDecay | None) -> Iterator[str]:
    """What a person should look at in the records of a week, in sentences."""
    if decision.verdict in ("PROMOTE", "ROLLBACK"):
        yield f"{decision.verdict}: {decision.reason}"
    if decision.proposed:
        yield f"{decision.proposed} waits for the job promote"
    if decision.disagreement:
        yield decision.disagreement
    if decision.refused_refresh:
        yield f"the newest version of the champion was refused: {decision.refused_refresh}"
    yield from (f"{recipe}: {finding}" for recipe, findings in decision.faults.items() for finding in findings)
    if drift and drift.severity >= Severity.MODERATE:
        yield drift_sentence(drift)
    if decay and decay.status == "DECAYED":
        yield decay_sentence(decay)


def _incomplete_trainings(store: Store, settings: Settings, symbol: str, week: str) -> Iterator[str]:
    """The recipes that were trained although months of candles are missing."""
    for recipe in settings.symbols[symbol].recipes:
        record = read_record(store, ModelRecord, symbol, week, model_asset(recipe))
        if record and (missing := incomplete_window(record)):
            yield f"{recipe} was trained without some months: {missing}"
