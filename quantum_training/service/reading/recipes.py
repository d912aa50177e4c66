"""Recipes of the settings, and the versions that were trained of them."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from pydantic import BaseModel, Field

from quantum_training.lifecycle.records import BACKTEST, CHAMPION, ModelRecord, ModelVersion, model_asset, read_records
from quantum_training.service.problems import unknown
from quantum_training.service.reading.dated import Dated, age, newest, page
from quantum_training.service.state import SMALL_ROWS, State
from quantum_training.settings.retraining import RecipeTraining


class RecipeRow(BaseModel):
    """A recipe and the symbols that it competes for."""

    recipe: str = Field(examples=["xgboost"])
    algorithm: str = Field(examples=["xgboost"])
    features: list[str] = Field(description="Feature columns; empty: all.")
    label: dict[str, Any]
    window_bars: int = Field(description="Newest labelled bars that a fit sees.")
    every_weeks: int = Field(description="Trained in every n-th week.")
    seeds: int = Field(description="Fits per version.")
    members: list[str] = Field(description="Recipes that an ensemble combines; empty: all, or no ensemble.")
    params: dict[str, Any] = Field(description="Hyper-parameters.")
    symbols: list[str]
    training: RecipeTraining = Field(description="When it is trained inside the week.")


class VersionRow(Dated):
    """A version: a recipe fitted at one as_of."""

    symbol: str
    recipe: str
    week: str = Field(description="Week of its partition.", examples=["2020-02-10"])
    model_id: str = Field(examples=["feb0bd6f7f407aa9"])
    accepted: bool = Field(description="Has it passed the refresh gate, so that it may trade?")
    refresh: dict[str, Any] | None = Field(description="The gate's finding; null before the gate existed.")
    in_office: bool = Field(description="Is it the champion's version now?")
    data_hash: str | None
    code_hash: str | None
    artefact_hash: str | None
    recipe_hash: str | None
    rows: int | None = Field(description="Rows of its training window.")
    missing_months: list[str] | None


class MlflowVersion(BaseModel):
    """A version in MLflow."""

    number: int
    run_id: str
    url: str = Field(description="Its run in MLflow's UI.")


class VersionDetail(VersionRow):
    """A version with its place in MLflow and what its recipe earned in the backtest of its week."""

    mlflow: MlflowVersion | None = Field(description="Null if housekeeping has deleted it there.")
    metrics: dict[str, Any] | None = Field(description="Of its recipe in the backtest of its week; null without one.")


def recipe_page(state: State) -> dict[str, Any]:
    """All recipes of the settings."""
    settings = state.settings
    rows = [
        {
            "recipe": name,
            **recipe.model_dump(mode="json"),
            "symbols": [symbol for symbol, market in settings.symbols.items() if name in market.recipes],
            "training": settings.retraining.training(name),
        }
        for name, recipe in settings.recipes.items()
    ]
    return page(rows, None)


def version_page(state: State, symbols: list[str], recipe: str | None, limit: int) -> dict[str, Any]:
    """The newest versions of these symbols."""
    stored = [
        state.memory.made(
            ("versions", symbol, recipe, limit),
            partial(_newest_versions, state, symbol, recipe, limit),
            1 + limit // SMALL_ROWS,
        )
        for symbol in symbols
    ]
    rows = [row for _, of_symbol in stored for row in of_symbol]
    rows.sort(key=_newest_last, reverse=True)
    shown = [{**row, **age(row["as_of"])} for row in rows[:limit]]
    return {**page(shown, newest(row["as_of"] for row in rows[:1])), "total": sum(total for total, _ in stored)}


def _newest_versions(state: State, symbol: str, recipe: str | None, limit: int) -> tuple[int, list[dict[str, Any]]]:
    """How many versions a symbol has, and the newest."""
    rows = version_rows(state, symbol, recipe)
    return len(rows), sorted(rows, key=_newest_last)[-limit:]


def _newest_last(row: Mapping[str, Any]) -> tuple[Any, ...]:
    return row["as_of"], row["symbol"], row["recipe"]


def version_rows(state: State, symbol: str, recipe: str | None = None) -> list[dict[str, Any]]:
    """The versions of a symbol as fields of VersionRow, oldest first. recipe: only of this one."""
    weeks = state.store.periods(CHAMPION, symbol, "json")
    decision = (state.store.read_record(CHAMPION, symbol, weeks[-1]) or {}) if weeks else {}
    recipes = [recipe] if recipe else [*state.settings.symbols[symbol].recipes]
    return [
        _version_row(symbol, name, week, version, decision.get("model_id"))
        for name in recipes
        for week, record in read_records(state.store, ModelRecord, symbol, asset=model_asset(name)).items()
        for version in record.versions
    ]


def _version_row(symbol: str, recipe: str, week: str, version: ModelVersion, in_office: str | None) -> dict[str, Any]:
    names = ("model_id", "accepted", "data_hash", "code_hash", "artefact_hash", "recipe_hash", "rows", "missing_months")
    return {
        **age(version.as_of),
        "symbol": symbol,
        "recipe": recipe,
        "week": week,
        **{name: getattr(version, name) for name in names},
        "refresh": version.refresh.model_dump(mode="json") if version.refresh else None,
        "in_office": version.model_id == in_office,
    }


def version_detail(state: State, symbol: str, model_id: str) -> dict[str, Any]:
    """The fields of VersionDetail. Problem 404 if the symbol has no such version."""
    rows = {row["model_id"]: row for row in version_rows(state, symbol)}
    if model_id not in rows:
        raise unknown(f"version of {symbol}", model_id, [*rows][::-1])
    row = rows[model_id]
    backtest = state.store.read_record(BACKTEST, symbol, row["week"])
    registered = state.registry.find(symbol, model_id)
    place = registered and {**registered._asdict(), "url": state.registry.run_url(symbol, registered)}
    return {**row, "mlflow": place, "metrics": backtest["metrics"].get(row["recipe"]) if backtest else None}
