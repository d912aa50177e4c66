"""S2, `/api/training/...` in an envelope {success, data, error}: train, progress, stop, models, backtest, drift.

A session is a run of Dagster, so its id is a UUID. Bodies are JSON or a form.
"""

from __future__ import annotations

import json
from datetime import date
from typing import Annotated, Any
from urllib.parse import parse_qsl

import pandas as pd
from fastapi import APIRouter, Depends, Path, Query, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError

from quantum_training.lifecycle.records import BACKTEST
from quantum_training.service.older.backtests import agent_backtest
from quantum_training.service.older.names import (
    MarketName,
    MarketQuery,
    ModelName,
    ModelType,
    agent_recipe,
    model_names,
    older_order,
    recipe_named,
    symbol_named,
    version_named,
)
from quantum_training.service.problems import Problem, unknown
from quantum_training.service.reading.benchmark import eight_metrics
from quantum_training.service.reading.monitoring import drift_page
from quantum_training.service.reading.progress import progress_of
from quantum_training.service.routes.parameters import RunId
from quantum_training.service.routes.starts import MayOperate, Sent
from quantum_training.service.starting import jobs
from quantum_training.service.starting.requests import TrainRequest
from quantum_training.service.state import CurrentState

JSON, FORM = "application/json", "application/x-www-form-urlencoded"
router = APIRouter(prefix="/api/training", tags=["older: training module"])
CONFIGS, OWNER = "training_config", "all_symbols"
"""Where the store keeps the named configs of clients."""
METRICS = ("sharpe_ratio", "total_return", "max_drawdown", "win_rate")
SEVERITIES = {"NONE": "none", "MINOR": "low", "MODERATE": "medium", "SEVERE": "high", "CRITICAL": "critical"}


class Envelope(BaseModel):
    """Every answer."""

    success: bool = True
    data: Any
    error: str = ""


class TrainForm(BaseModel):
    """A training. Dates and hyper-parameters are those of the recipe, so others are refused."""

    model_config = ConfigDict(extra="ignore")

    symbol: MarketName | None = None
    agent_type: ModelType | None = None
    start_date: date | None = None
    end_date: date | None = None
    episodes: int = Field(0, ge=0, le=1_000_000)
    params: dict[str, JsonValue] = {}


class StopForm(BaseModel):
    """The session to stop."""

    session_id: str = Field(pattern=r"^[0-9a-f-]{36}$")


class BacktestForm(BaseModel):
    """A model and the time up to which it is tested."""

    model_config = ConfigDict(extra="ignore")

    model_id: ModelName
    symbol: MarketName | None = None
    end_date: date | None = None


class ConfigForm(BaseModel):
    """A config under a name."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$", max_length=64)
    config: dict[str, JsonValue] = Field(max_length=200)


async def _fields(request: Request) -> dict[str, Any]:
    """The fields of a JSON object or a form."""
    body = await request.body()
    is_form = request.headers.get("content-type", "").startswith(FORM)
    try:
        fields = dict(parse_qsl(body.decode(), max_num_fields=100)) if is_form else json.loads(body)
        json.dumps(fields, ensure_ascii=False).encode()  # fails where a string holds half a character
    except (ValueError, RecursionError):
        fields = None
    if not isinstance(fields, dict):
        rule = "a body is a JSON object or a form of at most 100 fields, in UTF-8"
        raise Problem(422, "the body cannot be read", rule, "send one")
    return fields


Fields = Annotated[dict[str, Any], Depends(_fields)]


def _sent_as(form: type[BaseModel], *types: str) -> dict[str, Any]:
    """Of OpenAPI: the body of an address that takes it in one of these types."""
    schema = form.model_json_schema(ref_template="#/components/schemas/{model}")
    schema.pop("$defs", None)  # the document has them among its components
    content = {type_: {"schema": schema} for type_ in types}
    return {"requestBody": {"required": True, "content": content}}


def _parsed(form: type[BaseModel], fields: dict[str, Any]) -> Any:
    try:
        return form.model_validate(fields)
    except ValidationError as error:
        raise RequestValidationError(error.errors()) from None


@router.post("/train", dependencies=[MayOperate], openapi_extra=_sent_as(TrainForm, JSON, FORM))
def train(state: CurrentState, fields: Fields, sent: Sent) -> Envelope:
    """Train a recipe of a symbol: job `retrain`. session_id is the id of its run."""
    form: TrainForm = _parsed(TrainForm, fields)
    symbol = symbol_named(state, form.symbol)
    agent_type = form.agent_type or form.params.get("agent_type")
    recipe = recipe_named(state, symbol, str(agent_type)) if agent_type else agent_recipe(state, symbol)
    as_of = pd.Timestamp(form.end_date, tz="UTC") if form.end_date else None
    order = older_order(sent, None, None)
    request = TrainRequest(reason=order.reason, recipes=[recipe], as_of=as_of, episodes=form.episodes)
    started = jobs.train(state, order, symbol, request)
    sent_settings = {"params": form.params, "start_date": form.start_date}
    ignored = [name for name, value in sent_settings.items() if value]
    return Envelope(data={"session_id": started.run_id, "status": "running", "recipe": recipe, "ignored": ignored})


@router.get("/progress/{run_id}")
def progress(state: CurrentState, run_id: RunId) -> Envelope:
    """How far a session is. Rewards and losses are those of an agent, a value for each line that it logged."""
    run = progress_of(state, run_id)
    losses = sorted({name for point in run.curve for name in point.metrics if name.endswith("loss")})
    words = {"SUCCESS": "completed", "FAILURE": "failed", "CANCELED": "stopped"}
    return Envelope(
        data={
            "session_id": run_id,
            "status": words.get(run.status, "running"),
            "progress": run.percent,
            "message": run.message,
            "steps": run.step,
            "total_steps": run.steps,
            "episodes": run.episode,
            "episode_rewards": [point.metrics.get("mean_reward") for point in run.curve],
            "losses": {name: [point.metrics.get(name) for point in run.curve] for name in losses},
        }
    )


@router.post("/stop", dependencies=[MayOperate], openapi_extra=_sent_as(StopForm, JSON, FORM))
def stop(state: CurrentState, fields: Fields, sent: Sent) -> Envelope:
    """Stop a session; one that is over stays as it is."""
    form: StopForm = _parsed(StopForm, fields)
    run = jobs.stop(state, older_order(sent, None, None), form.session_id)
    return Envelope(data={"session_id": form.session_id, "stopped": True, "status": run["status"]})


@router.get("/models")
def models(
    state: CurrentState,
    symbol: MarketQuery = None,
    agent_type: Annotated[str | None, Query(pattern=r"^[A-Za-z0-9_]+$", max_length=64)] = None,
) -> Envelope:
    """Every version, newest last. metrics: of its recipe in the backtest of its week; null without one."""
    chosen = [symbol_named(state, symbol)] if symbol else [*state.settings.symbols]
    rows = []
    for name in chosen:
        recipe_only = recipe_named(state, name, agent_type) if agent_type else None
        backtests = state.store.read_records(BACKTEST, name)
        for model_name, recipe, version in model_names(state, name):
            if recipe_only in (None, recipe):
                week = f"{version.time - pd.Timedelta(days=version.time.weekday()):%Y-%m-%d}"
                metrics = eight_metrics(backtests.get(week, {}).get("metrics", {}).get(recipe))
                settings = state.settings.recipes[recipe]
                rows.append(
                    {
                        "model_id": model_name,
                        "version_id": version.model_id,
                        "agent_type": settings.algorithm,
                        "recipe": recipe,
                        "symbol": name,
                        "version": int(model_name.split("_v")[-1][:3]),
                        "created_at": version.as_of,
                        "metrics": {metric: metrics[metric] for metric in METRICS},
                        "config": settings.params,
                    }
                )
    return Envelope(data=rows)


@router.post("/backtest", openapi_extra=_sent_as(BacktestForm, JSON, FORM))
def backtest(state: CurrentState, fields: Fields) -> Envelope:
    """The stored backtest of a model's recipe: of the week of end_date, else the newest. Nothing is started."""
    form: BacktestForm = _parsed(BacktestForm, fields)
    symbol, recipe, _ = version_named(state, form.model_id)
    if form.symbol is not None and symbol_named(state, form.symbol) != symbol:
        rule, remedy = "a model is tested on its own market", f"send symbol {symbol}, or none"
        raise Problem(422, f"{form.model_id} is a model of {symbol}", rule, remedy)
    end = form.end_date
    week = None if end is None else f"{pd.Timestamp(end) - pd.Timedelta(days=end.weekday()):%Y-%m-%d}"
    return Envelope(data=agent_backtest(state, symbol, recipe, week))


@router.get("/drift_status")
def drift_status(
    state: CurrentState, symbol: MarketQuery = None, days: Annotated[int, Query(ge=1, le=366)] = 30
) -> Envelope:
    """The newest drift report of a symbol within so many reports."""
    name = symbol_named(state, symbol)
    reports = drift_page(state, name, days)["items"]
    if not reports:
        raise Problem(404, f"{name} has no drift report yet", "a status is that of a report", "run the job drift")
    newest = reports[0]
    return Envelope(
        data={
            "symbol": name,
            "severity": SEVERITIES[newest["severity"]],
            "day": newest["day"],
            "features": {row["column"]: {"ks": row["ks"], "psi": row["psi"]} for row in newest["rows"]},
            "alert": f"{newest['reason']}. {' '.join(newest['recommendation'])}",
            "history": [{"day": r["day"], "severity": SEVERITIES[r["severity"]]} for r in reports],
        }
    )


@router.post("/config", dependencies=[MayOperate], openapi_extra=_sent_as(ConfigForm, JSON))
def save_config(state: CurrentState, fields: Fields) -> Envelope:
    """Keep a config of a client under a name. Nothing here reads it."""
    form: ConfigForm = _parsed(ConfigForm, fields)
    try:
        state.store.write_record(CONFIGS, OWNER, form.name, form.config)
    except ValueError:
        raise Problem(422, "the config holds NaN or infinity", "a config is plain JSON", "send null instead") from None
    return Envelope(data={"name": form.name, "config": form.config})


@router.get("/config/{name}")
def load_config(
    state: CurrentState, name: Annotated[str, Path(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$", max_length=64)]
) -> Envelope:
    """A config that was kept."""
    config = state.store.read_record(CONFIGS, OWNER, name)
    if config is None:
        raise unknown("config", name, state.store.periods(CONFIGS, OWNER, "json"))
    return Envelope(data={"name": name, "config": config})
