"""Jobs for people: who is champion, how much capital it may use, A/B tests, `retrain`; with actor and reason."""

from collections.abc import Callable
from typing import Any

import dagster as dg
import pandas as pd
from pydantic import Field

from quantum_training.assets.cluster_tags import cluster_tags, needs_of
from quantum_training.assets.step_retries import first_attempt
from quantum_training.automation.execution.priorities import priority_tag
from quantum_training.automation.jobs.asset_jobs import MARKET_DATA, WEEKLY_CYCLE
from quantum_training.automation.jobs.nested_runs import NestedRun, run_nested
from quantum_training.automation.jobs.run_tags import NESTS_RUNS, time_limit_tags, training_tags
from quantum_training.lifecycle.decision.ab_tests import AB_KINDS, AB_TEST, ABPlan, registration, running_test
from quantum_training.lifecycle.decision.champion import RULE_KINDS
from quantum_training.lifecycle.decision.rollout import ORDERS
from quantum_training.lifecycle.market_history import features_available_until
from quantum_training.lifecycle.records import (
    DECAY_REPORT,
    ROLLOUT,
    WeeklyDecision,
    WeeklyRollout,
    model_asset,
    read_record,
)
from quantum_training.lifecycle.surveillance.run_priorities import MANUAL, PEOPLE
from quantum_training.lifecycle.training.versions import versions_of
from quantum_training.market.periods import week_of
from quantum_training.resources.events.payloads import Promoted, event
from quantum_training.resources.ledger import Ledger
from quantum_training.resources.store.store import Store
from quantum_training.selection.ledger import Entry
from quantum_training.settings.settings import Settings

RETRAIN, RETRAIN_OP = "retrain", "retrain_recipes"
DESCRIPTIONS = {
    "promote": "Make a recipe the champion of a symbol by hand. It is watched for harm as any new champion is.",
    "demote": "Take the champion of a symbol back: the former one trades again, or none where there was none.",
    "pin": "Keep the champion of a symbol whatever the evidence says. Verdicts are still reached and shown.",
    "unpin": "Let the evidence decide again.",
    "rollout_reset": "Let the champion begin at 0 % of capital again; its losses until now stop it no more.",
    "ab_test": "Let champion and challenger trade alternate blocks of days, registered before; it promotes nobody.",
    "ab_stop": "End the A/B test of a symbol now.",
    "rollout_ceiling": "Let the champion climb to stages up to a share of capital, one at a time, or fall back to it.",
}


class ActionConfig(dg.Config):
    """Who does what to which symbol, and why."""

    symbol: str
    actor: str = Field(min_length=1)
    """Who does it, as others know them."""
    reason: str = Field(min_length=1)
    """A sentence for those who read the ledger."""


class PromoteConfig(ActionConfig):
    """As ActionConfig, and whom to promote."""

    recipe: str


class CeilingConfig(ActionConfig):
    """As ActionConfig, and the largest share of capital."""

    share: float = Field(gt=0, le=1)


class ABTestConfig(PromoteConfig):
    """As PromoteConfig, where the recipe is the challenger, and how the test is laid out."""

    share: float = Field(gt=0, le=1)
    """Largest share of capital in the challenger's blocks; at most the ceiling of `rollout`."""
    block_days: int = Field(1, ge=1, le=28)
    """UTC days of a block."""
    weeks: int = Field(ge=1, le=260)
    """Length of the test from the next UTC midnight on, cut to whole pairs of blocks."""


class RetrainConfig(ActionConfig):
    """As ActionConfig, and what to train as of when."""

    recipes: list[str] = Field(default_factory=list)
    """None named means all recipes of the symbol."""
    as_of: str = ""
    """UTC time up to which data may be seen; default: the time up to which they are stored."""


def build_manual_jobs(settings: Settings, definitions: Callable[[], dg.Definitions]) -> list[dg.JobDefinition]:
    """The nine jobs; unpartitioned, one symbol a run."""
    return [*(_action(kind, settings, definitions) for kind in DESCRIPTIONS), _retrain(settings, definitions)]


def _action(kind: str, settings: Settings, definitions: Callable[[], dg.Definitions]) -> dg.JobDefinition:
    own = {"promote": PromoteConfig, "rollout_ceiling": CeilingConfig, AB_TEST: ABTestConfig}
    config_type: Any = own.get(kind, ActionConfig)

    def act(
        context: dg.OpExecutionContext,
        config: ActionConfig,
        store: dg.ResourceParam[Store],
        ledger: dg.ResourceParam[Ledger],
    ) -> None:
        recipe = getattr(config, "recipe", None)
        _known(settings, config.symbol, [recipe] if recipe else [])
        weeks = [str(row.payload["week"]) for row in ledger.rows(config.symbol, RULE_KINDS)]
        if not weeks:
            raise dg.Failure(
                f"{config.symbol}: no week was ever decided; run {WEEKLY_CYCLE} first", allow_retries=False
            )
        versions = versions_of(store, config.symbol, recipe) if recipe else []
        if recipe and not versions:
            raise dg.Failure(f"{config.symbol}: {recipe} has no version; run {WEEKLY_CYCLE} first", allow_retries=False)
        now = pd.Timestamp.now("UTC")
        decision = read_record(store, WeeklyDecision, config.symbol, weeks[-1])
        payload = {"week": weeks[-1], "recipe": recipe}
        if kind in ORDERS:
            if decision is None or decision.champion is None:
                raise dg.Failure(f"{config.symbol}: it has no champion to give capital to", allow_retries=False)
            payload |= {"recipe": decision.champion}
            payload |= {"share": config.share} if isinstance(config, CeilingConfig) else {}
        if kind in AB_KINDS:
            rollout = read_record(store, WeeklyRollout, config.symbol, weeks[-1])
            payload = _ab_payload(config, settings, rollout, weeks[-1], now)
        entry = Entry(
            symbol=config.symbol,
            key=f"{kind}/{first_attempt(context.instance, context.run)}",
            kind=kind,
            effective=now,
            actor=config.actor,
            reason=config.reason,
            payload=payload,
        )
        told = []
        if kind == "promote":
            promoted = Promoted(
                model_type=str(recipe),
                old_version=decision.model_id if decision else None,
                new_version=versions[-1].model_id,
                promotion_reason=f"by {config.actor}: {config.reason}",
                improvement_pct=None,
                promoted_at=now,
            )
            told.append(event(config.symbol, promoted, entry.key))
        ledger.append([entry], told)
        job = definitions().resolve_job_def(WEEKLY_CYCLE)
        assets = ["champion", DECAY_REPORT, ROLLOUT]
        run_nested(context, job, NestedRun(config.symbol, weeks[-1], weeks[-1], assets=assets))
        decision = read_record(store, WeeklyDecision, config.symbol, weeks[-1])
        rollout = read_record(store, WeeklyRollout, config.symbol, weeks[-1])
        state = rollout.ab if rollout and kind in AB_KINDS else None
        outcome = {
            "champion": (decision.champion if decision else None) or "none",
            "pinned": decision.pinned if decision else None,
            "share": rollout.share if rollout else None,
            **({"ab_test": state.ended or "registered"} if state else {}),
        }
        context.log.info(f"{config.symbol}: {outcome}")
        context.add_output_metadata(outcome)

    act.__annotations__["config"] = config_type
    op = dg.op(name=f"{kind}_champion", description=DESCRIPTIONS[kind])(act)

    @dg.job(name=kind, description=DESCRIPTIONS[kind], tags=time_limit_tags(settings) | priority_tag(PEOPLE))
    def job() -> None:
        op()

    return job


def _ab_payload(
    config: ActionConfig, settings: Settings, rollout: WeeklyRollout | None, week: str, now: pd.Timestamp
) -> dict[str, Any]:
    """What registers a test, or ends the one that runs. Failure says why it may not be."""
    try:
        if isinstance(config, ABTestConfig):
            if rollout is None:
                raise ValueError(f"no {ROLLOUT} of {week} is stored; run {WEEKLY_CYCLE} of this week first")
            plan = ABPlan(config.recipe, config.share, config.block_days, config.weeks)
            return registration(settings.symbols[config.symbol], rollout, plan, now)
        if rollout is None or running_test(rollout, now) is None:
            raise ValueError("no A/B test runs")
        return {"week": week}
    except ValueError as error:
        raise dg.Failure(f"{config.symbol}: {error}", allow_retries=False) from error


def _retrain(settings: Settings, definitions: Callable[[], dg.Definitions]) -> dg.JobDefinition:
    description = "Train recipes of a symbol inside the week: the same partition, a later as_of, trigger MANUAL."

    @dg.op(name=RETRAIN_OP, description=description, tags=cluster_tags(needs_of(settings)))
    def retrain_recipes(
        context: dg.OpExecutionContext,
        config: RetrainConfig,
        store: dg.ResourceParam[Store],
        ledger: dg.ResourceParam[Ledger],
    ) -> None:
        _known(settings, config.symbol, config.recipes)
        recipes = config.recipes or [*settings.symbols[config.symbol].recipes]
        until = config.as_of or features_available_until(store, config.symbol)
        if until is None:
            raise dg.Failure(f"{config.symbol}: no features are stored; run {MARKET_DATA} first", allow_retries=False)
        as_of = pd.Timestamp(until)
        as_of = as_of.tz_localize("UTC") if as_of.tz is None else as_of.tz_convert("UTC")
        week = str(week_of(as_of).date())
        training = {"as_of": as_of.isoformat(), "trigger": "MANUAL", "reason": f"{config.actor}: {config.reason}"}
        entry = Entry(
            symbol=config.symbol,
            key=f"retrain/{first_attempt(context.instance, context.run)}",
            kind="retrain",
            effective=pd.Timestamp.now("UTC"),
            actor=config.actor,
            reason=config.reason,
            payload={"recipes": recipes, "as_of": as_of.isoformat()},
        )
        ledger.append([entry])
        assets = [model_asset(recipe) for recipe in recipes]
        job = definitions().resolve_job_def(WEEKLY_CYCLE)
        run_config = {"ops": {asset: {"config": training} for asset in assets}}
        run_nested(context, job, NestedRun(config.symbol, week, week, run_config, assets, training))

    @dg.job(name=RETRAIN, description=description, tags=training_tags(settings) | NESTS_RUNS | priority_tag(MANUAL))
    def retrain() -> None:
        retrain_recipes()

    return retrain


def _known(settings: Settings, symbol: str, recipes: list[str]) -> None:
    if symbol not in settings.symbols:
        raise dg.Failure(f"unknown symbol {symbol}; symbols are {', '.join(settings.symbols)}", allow_retries=False)
    allowed = settings.symbols[symbol].recipes
    if unknown := sorted({*recipes} - {*allowed}):
        raise dg.Failure(
            f"{symbol}: unknown recipes {', '.join(unknown)}; its recipes are {', '.join(allowed)}", allow_retries=False
        )
