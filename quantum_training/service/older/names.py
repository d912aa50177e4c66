"""The words of older services in those of this project: symbols as BTC/USDT, types of models, ids of models."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated, Any

from fastapi import Query
from pydantic import Field

from quantum_training.lifecycle.training.versions import recorded_versions
from quantum_training.service.problems import Problem, unknown
from quantum_training.service.reading.agents import AGENTS
from quantum_training.service.routes.starts import Sender
from quantum_training.service.starting.launching import Order
from quantum_training.service.starting.requests import Change
from quantum_training.service.state import State

SYMBOL_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9/_.:-]*$"
MarketName = Annotated[str, Field(pattern=SYMBOL_PATTERN, max_length=64, examples=["BTC/USDT"])]
MarketQuery = Annotated[str | None, Query(pattern=SYMBOL_PATTERN, max_length=64, examples=["BTC/USDT"])]
ModelType = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_]*$", max_length=64, examples=["xgboost"])]
ModelName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]+$", max_length=160)]
NAMES = {"nhits": "forecaster", "patchtst": "forecaster", "lstm": "forecaster"}
"""Algorithms by types of models that are not called as theirs."""


def symbol_named(state: State, name: str | None) -> str:
    """The symbol of the settings that a market's name means: its own, or that of its source, signs left out.

    Problem 404 if there is none, 422 if none is named and there are several.
    """
    symbols = state.settings.symbols
    if name is None:
        default = state.settings.service.default_symbol or (next(iter(symbols)) if len(symbols) == 1 else None)
        if default is None:
            rule, remedy = "a request names a symbol where there are several", "send symbol, or set"
            raise Problem(422, "no symbol is named", rule, f"{remedy} service.default_symbol; {', '.join(symbols)}")
        state.market(default)
        return default
    if name in symbols:
        return name
    for symbol, market in symbols.items():
        if _plain(name) in (_plain(symbol), _plain(str(getattr(market.source, "market", "")))):
            return symbol
    raise unknown("symbol", name, symbols)


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def recipe_named(state: State, symbol: str, model_type: str) -> str:
    """The recipe of a symbol that a type of model means: by its name or its algorithm. Problem 404 if there is none."""
    recipes, wanted = state.market(symbol).recipes, model_type.lower()
    for name in (wanted, wanted.removeprefix("rl_")):
        for recipe in recipes:
            if name == recipe:
                return recipe
        algorithm = NAMES.get(name, name)
        for recipe in recipes:
            settings = state.settings.recipes[recipe]
            if settings.algorithm == algorithm and (algorithm == name or name in str(settings.params).lower()):
                return recipe
    raise unknown(f"recipe of {symbol}", model_type, recipes)


def agent_recipes(state: State, symbol: str) -> list[str]:
    """The recipes of a symbol that are agents."""
    return [r for r in state.market(symbol).recipes if state.settings.recipes[r].algorithm in AGENTS]


def agent_recipe(state: State, symbol: str) -> str:
    """The first recipe of a symbol that is an agent. Problem 404 if there is none."""
    if recipes := agent_recipes(state, symbol):
        return recipes[0]
    rule = "this address is about agents (ppo, sac)"
    raise Problem(404, f"no recipe of {symbol} is an agent", rule, "add a recipe of the algorithm ppo or sac to it")


def model_names(state: State, symbol: str) -> Iterator[tuple[str, str, Any]]:
    """`recipe_SYMBOL_v001_20251108` for every version of a symbol, with its recipe and record."""
    for recipe in state.market(symbol).recipes:
        for number, version in enumerate(recorded_versions(state.store, symbol, recipe), 1):
            yield f"{recipe}_{symbol}_v{number:03}_{version.time:%Y%m%d}", recipe, version


def version_named(state: State, name: str) -> tuple[str, str, Any]:
    """Symbol, recipe and record of a version by its model id or its name. Problem 404 if there is none."""
    for symbol in state.settings.symbols:
        for model_name, recipe, version in model_names(state, symbol):
            if name in (version.model_id, model_name):
                return symbol, recipe, version
    rule, remedy = "a version in a request is recorded", "see /api/v2/versions"
    raise Problem(404, f"there is no version {name}", rule, remedy)


def older_order(sent: Sender, actor: str | None, reason: str | None) -> Order:
    """The order of an older client, which may name neither actor nor reason."""
    address = sent.address
    change = Change(actor=actor or f"client of {address}"[:100], reason=reason or f"asked for at {address}")
    return sent.order(change)
