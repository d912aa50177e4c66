"""What the service reads from: the settings and the resources that they name. One of it belongs to an app."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Annotated, Any, Self

from fastapi import Depends, Path, Query, Request

from quantum_training.resources.events.bus import EventBus
from quantum_training.resources.ledger import Ledger
from quantum_training.resources.registry.registry import ModelRegistry
from quantum_training.service.cached_store import CachedStore
from quantum_training.service.dagster_client import DagsterClient
from quantum_training.service.problems import Problem, unknown
from quantum_training.service.reading.run_logs import RunLogs
from quantum_training.service.remembered import Memory
from quantum_training.settings import Settings, config_path, load_settings
from quantum_training.settings.paths import SettingsError
from quantum_training.settings.schema import NAME_LENGTH, NAME_PATTERN, Symbol

MOST_ROWS = 10_000
"""Rows of tables in memory, some 5 KB each: a symbol of the overview is one, its page is PAGE_ROWS."""
PAGE_ROWS, CAMPAIGNS_ROWS = 100, 30
SMALL_ROWS = 5
"""Rows of the ledger, or versions, that take as much as one of these."""


@dataclass(frozen=True)
class State:
    """Settings and resources. store: with its records in memory. memory: what was made from them by symbol."""

    settings: Settings
    store: CachedStore
    registry: ModelRegistry
    ledger: Ledger
    events: EventBus
    dagster: DagsterClient
    memory: Memory

    @classmethod
    def of(cls, settings: Settings, resources: Mapping[str, Any] | None = None) -> Self:
        """The resources at the places that the settings name. resources: some of them, by field."""
        made = {
            "store": CachedStore(root=settings.store_root),
            "registry": ModelRegistry(tracking_uri=settings.mlflow_tracking_uri, ui_url=settings.mlflow_ui_url),
            "ledger": Ledger(settings.database_url, read_only=True),
            "events": EventBus(database_url=settings.database_url, url=settings.event_bus_url),
            "memory": Memory(MOST_ROWS, math.inf),
            "dagster": DagsterClient(settings.service.dagster_url, settings.alerts.ui_url),
        }
        return cls(settings, **{**made, **(resources or {})})

    @cached_property
    def logs(self) -> RunLogs:
        """What Dagster's runs have logged of trainings."""
        return RunLogs(self.dagster)

    def live_settings(self) -> Settings:
        """The settings as their file is now; those of the start if it is wrong."""
        try:
            return _settings_of(config_path().stat().st_mtime_ns)
        except (OSError, SettingsError):
            return self.settings

    def market(self, symbol: str) -> Symbol:
        """The settings of a symbol. Problem 404 if there is none."""
        if symbol not in self.settings.symbols:
            raise unknown("symbol", symbol, self.settings.symbols)
        return self.settings.symbols[symbol]

    def require_recipes(self, symbol: str) -> None:
        """Problem 409 if the symbol has no recipes, 404 if there is no such symbol."""
        if not self.market(symbol).recipes:
            rule, remedy = "only recipes are trained and decided", f"name some in symbols.{symbol}.recipes"
            raise Problem(409, f"{symbol} has no recipes", rule, f"{remedy} of the settings")

    def require_recipe(self, symbol: str, recipe: str) -> None:
        """Problem 404 if the symbol has no such recipe, 409 if it has none at all."""
        self.require_recipes(symbol)
        if recipe not in self.market(symbol).recipes:
            raise unknown(f"recipe of {symbol}", recipe, self.market(symbol).recipes)


@lru_cache(maxsize=1)
def _settings_of(written: int) -> Settings:
    """The settings of the file that was written then."""
    return load_settings()


def _state(request: Request) -> State:
    state: State = request.app.state.service
    return state


CurrentState = Annotated[State, Depends(_state)]


def _known_symbol(
    state: CurrentState,
    symbol: Annotated[
        str, Path(pattern=NAME_PATTERN, max_length=NAME_LENGTH, description="Symbol of the settings.", examples=["AAA"])
    ],
) -> str:
    state.market(symbol)
    return symbol


def _chosen_symbols(
    state: CurrentState,
    symbol: Annotated[
        str | None,
        Query(pattern=NAME_PATTERN, max_length=NAME_LENGTH, description="Only this symbol.", examples=["AAA"]),
    ] = None,
) -> list[str]:
    if symbol is None:
        return [*state.settings.symbols]
    state.market(symbol)
    return [symbol]


KnownSymbol = Annotated[str, Depends(_known_symbol)]
ChosenSymbols = Annotated[list[str], Depends(_chosen_symbols)]
Limit = Annotated[int, Query(ge=1, le=1000, description="The newest so many.")]
