"""Which trainings a tick of the weekly schedule asks for, symbol by symbol, and which of them may start.

The first tick of a week asks for its weekly cycle, later ones for a training inside the week. Weeks that were missed
come first. A training starts once its data are stored and the symbol's run before it is over.
"""

from __future__ import annotations

from collections.abc import Collection
from contextlib import suppress
from datetime import datetime
from functools import lru_cache
from itertools import chain
from typing import NamedTuple

import pandas as pd

from quantum_training.lifecycle.cross_section_labels import late_members
from quantum_training.lifecycle.feature_sets import late_sets
from quantum_training.lifecycle.records import DECAY_REPORT
from quantum_training.lifecycle.stored_months import features_available_until
from quantum_training.lifecycle.surveillance.retraining_triggers import newest_as_of
from quantum_training.market.calendars import expected_open_times
from quantum_training.market.periods import WEEK, month_of, week_of
from quantum_training.market.timeframe import to_timedelta
from quantum_training.resources.store.store import Store
from quantum_training.settings import Settings
from quantum_training.settings.retraining import RetrainingPolicy
from quantum_training.settings.schema import Symbol

MISSED_WEEKS = 4
"""So many weeks before the present one are made up for; a longer gap is a backfill, which a person starts."""

MAX_WAIT_FOR_DATA = pd.Timedelta(days=1)
"""After so long the weekly cycle starts without its data, so that its failure is reported. It runs again with them."""


class ScheduledTraining(NamedTuple):
    """A training that the schedule asks for. recipes: of a training inside the week; empty for the weekly cycle."""

    symbol: str
    as_of: pd.Timestamp
    recipes: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """Identifies the training; it is started once."""
        return f"{self.symbol}|{self.as_of.isoformat()}"

    @property
    def key_without_data(self) -> str:
        """Identifies the start without data."""
        return f"{self.key} without data"


class RunState(NamedTuple):
    """What Dagster knows of the schedule's runs. started: keys of trainings. running: symbols with an unfinished run.

    now: the present time.
    """

    started: Collection[str]
    running: Collection[str]
    now: pd.Timestamp


class NextTraining(NamedTuple):
    """What to do for a symbol: start a training, or wait and why; nothing if both are empty."""

    training: ScheduledTraining | None = None
    without_data: bool = False
    waits: str = ""


def trainings_due(
    store: Store, settings: Settings, policy: RetrainingPolicy, symbol: str, tick: pd.Timestamp
) -> list[ScheduledTraining]:
    """What a tick asks for: weekly cycles that were not run yet, oldest first, then a training inside the week.

    Empty before the market's first day and after its last.
    """
    week, market = week_of(tick), settings.symbols[symbol]
    start = market.first_day(settings.start)
    last_day = settings.last_day(symbol)
    if week < start or (last_day and week.date() > last_day):
        return []
    due = [ScheduledTraining(symbol, w) for w in _weeks_to_run(store, symbol, week) if w >= start]
    if tick > first_tick(settings, week) and (as_of := newest_close(market, tick)) > week:
        recipes = tuple(
            name
            for name in market.recipes
            if policy.training(name).enabled
            and settings.recipes[name].every_weeks == 1
            and not _is_trained(store, symbol, name, as_of)
        )
        due += [ScheduledTraining(symbol, as_of, recipes)] if recipes else []
    return due


def next_training(store: Store, settings: Settings, due: Collection[ScheduledTraining], runs: RunState) -> NextTraining:
    """The first of a symbol's trainings that was not started, if it may start now. One at a time, in order."""
    training = next((t for t in due if t.key not in runs.started), None)
    if training is None:
        return NextTraining()
    symbol, as_of = training.symbol, training.as_of
    if symbol in runs.running:
        return NextTraining(waits=f"{training.key} waits: another training of {symbol} has not ended")
    until, extent = _features_until(store, symbol)
    late = _late_context(store, settings, symbol, as_of)
    if until is not None and until >= as_of and not late:
        return NextTraining(training)
    waits = f"{training.key} waits: " + (late or f"{symbol} has {extent}")
    is_late = not training.recipes and runs.now >= first_tick(settings, week_of(as_of)) + MAX_WAIT_FOR_DATA
    if is_late and training.key_without_data not in runs.started:
        return NextTraining(training, without_data=True, waits=waits)
    return NextTraining(waits=waits)


def newest_close(market: Symbol, time: pd.Timestamp) -> pd.Timestamp:
    """When the newest bar of the week up to `time` closed, by the calendar; the week's start if none has."""
    week, length = week_of(time), to_timedelta(market.timeframe)
    closes = expected_open_times(market.calendar, market.timeframe, week - length, time) + length
    closes = closes[(closes > week) & (closes <= time)]
    return pd.Timestamp(closes[-1]) if len(closes) else week


def first_tick(settings: Settings, week: pd.Timestamp) -> pd.Timestamp:
    """The first time of a week at which the weekly schedule ticks."""
    return _first_time(settings.training_cron_schedule, week)


@lru_cache(maxsize=8)  # asked for each symbol
def _first_time(cron: str, week: pd.Timestamp) -> pd.Timestamp:
    from croniter import croniter

    return pd.Timestamp(croniter(cron, (week - pd.Timedelta(seconds=1)).to_pydatetime()).get_next(datetime))


def _features_until(store: Store, symbol: str) -> tuple[pd.Timestamp | None, str]:
    """The time up to which features are stored, and the same in words. One symbol's broken file stops no other."""
    try:
        until = features_available_until(store, symbol)
    except Exception as error:
        return None, f"features that cannot be read: {type(error).__name__}: {error}"
    return until, f"features until {until}" if until else "no features"


def _late_context(store: Store, settings: Settings, symbol: str, as_of: pd.Timestamp) -> str:
    """What is not stored of the other symbols and series that the symbol's recipes read; "" if nothing. What cannot be
    read is reported by the training."""
    sets = {name: feature_set for name, feature_set in settings.feature_sets(symbol).items() if feature_set.read_from}
    within = {settings.recipes[recipe].label_universe for recipe in settings.symbols[symbol].recipes}
    with suppress(Exception):
        late = late_sets(store, settings, symbol, sets, month_of(as_of), as_of)
        of_labels = (late_members(store, settings, name, month_of(as_of), as_of) for name in sorted(within - {""}))
        return next(chain(late, *of_labels), "")
    return ""


def _is_trained(store: Store, symbol: str, recipe: str, as_of: pd.Timestamp) -> bool:
    """Whether a version as of then or later is recorded. If the record cannot be read, the training will say so."""
    with suppress(Exception):
        return newest_as_of(store, symbol, recipe) >= as_of
    return False


def _weeks_to_run(store: Store, symbol: str, week: pd.Timestamp) -> list[pd.Timestamp]:
    """The weeks up to `week` after the newest one that was run to its end; `week` alone if none was."""
    period = f"{week:%Y-%m-%d}"
    done = [w for w in store.periods(DECAY_REPORT, symbol, "json") if w <= period]
    missed = (week - pd.Timestamp(done[-1], tz="UTC")) // WEEK if done else 1
    return [week - n * WEEK for n in reversed(range(min(missed, MISSED_WEEKS + 1)))]
