"""Jobs for operators, one per action: promote, demote, pin, rollout and A/B tests; each with actor and reason.

What an action checks and records is lifecycle/decision/manual_actions.py. The job `retrain` is retrain.py.
"""

from collections.abc import Callable
from typing import Any

import dagster as dg
import pandas as pd
from pydantic import Field

from quantum_training.assets.step_retries import first_attempt
from quantum_training.automation.execution.priorities import priority_tag
from quantum_training.automation.failures.storage_faults import restart_after_storage_fault
from quantum_training.automation.jobs.asset_jobs import WEEKLY_CYCLE
from quantum_training.automation.jobs.nested_runs import NestedRun, run_nested
from quantum_training.automation.jobs.run_tags import time_limit_tags
from quantum_training.lifecycle.consistency.inconsistency import require_consistent
from quantum_training.lifecycle.consistency.registry import registry_inconsistencies
from quantum_training.lifecycle.decision.ab_tests import ABPlan
from quantum_training.lifecycle.decision.manual_actions import (
    ManualAction,
    RefusedActionError,
    action_outcome,
    check_names,
    record_action,
)
from quantum_training.lifecycle.records import CHAMPION, DECAY_REPORT, ROLLOUT
from quantum_training.lifecycle.services import Services
from quantum_training.lifecycle.surveillance.run_priorities import PEOPLE
from quantum_training.resources.events.bus import EventBus
from quantum_training.resources.ledger import Ledger
from quantum_training.resources.registry.registry import ModelRegistry
from quantum_training.resources.store.store import Store
from quantum_training.selection.ledger_rows import AB_TEST
from quantum_training.settings import Settings

ACTIONS = {
    "promote": "Make a recipe the champion of a symbol by hand. It is watched for harm as any new champion is.",
    "demote": "Take the champion of a symbol back: the former one trades again, or none if there was none.",
    "pin": "Keep the champion of a symbol whatever the evidence says. Verdicts are still reached and shown.",
    "unpin": "Let the evidence decide again.",
    "rollout_reset": "Let the champion begin at 0 % of capital again; its losses until now no longer stop it.",
    "ab_test": "Let champion and challenger trade alternate blocks of days, registered before; it promotes nobody.",
    "ab_stop": "End the A/B test of a symbol now.",
    "rollout_ceiling": "Let the champion climb to stages up to a share of capital, one at a time, or fall back to it.",
}


class ActionConfig(dg.Config):
    """The symbol, who acts, and why."""

    symbol: str
    actor: str = Field(min_length=1, max_length=200)
    """Name of the person, as others know it."""
    reason: str = Field(min_length=1)
    """A sentence for the readers of the ledger."""


class PromoteConfig(ActionConfig):
    """ActionConfig with the recipe to promote."""

    recipe: str


class CeilingConfig(ActionConfig):
    """ActionConfig with the largest share of capital."""

    share: float = Field(gt=0, le=1)


class ABTestConfig(PromoteConfig):
    """ActionConfig with the recipe that challenges the champion, and the layout of the test."""

    share: float = Field(gt=0, le=1)
    """Largest share of capital in the challenger's blocks; at most the ceiling of `rollout`."""
    block_days: int = Field(1, ge=1, le=28)
    """UTC days of a block."""
    weeks: int = Field(ge=1, le=260)
    """Length of the test from the next UTC midnight on, cut to whole pairs of blocks."""


def build_manual_jobs(settings: Settings, definitions: Callable[[], dg.Definitions]) -> list[dg.JobDefinition]:
    """A job per action of ACTIONS; unpartitioned, one symbol per run."""
    return [_action_job(kind, settings, definitions) for kind in ACTIONS]


def _action_job(kind: str, settings: Settings, definitions: Callable[[], dg.Definitions]) -> dg.JobDefinition:
    config_types = {"promote": PromoteConfig, "rollout_ceiling": CeilingConfig, AB_TEST: ABTestConfig}
    config_type: Any = config_types.get(kind, ActionConfig)

    def act(
        context: dg.OpExecutionContext,
        config: ActionConfig,
        store: dg.ResourceParam[Store],
        registry: dg.ResourceParam[ModelRegistry],
        ledger: dg.ResourceParam[Ledger],
        events: dg.ResourceParam[EventBus],
    ) -> None:
        action = _action(kind, config, f"{kind}/{first_attempt(context.instance, context.run)}")
        try:
            if isinstance(config, PromoteConfig):  # whom it names must have a version; a demotion never waits
                check_names(settings, config.symbol, [config.recipe])
                require_consistent(registry_inconsistencies(Services(settings, store, registry, events), config.symbol))
            week = record_action(action, settings, store, ledger, pd.Timestamp.now("UTC"))
        except RefusedActionError as error:
            raise dg.Failure(str(error), allow_retries=False) from error
        decision_assets = (CHAMPION, DECAY_REPORT, ROLLOUT)
        job = definitions().resolve_job_def(WEEKLY_CYCLE)
        run_nested(context, job, NestedRun(config.symbol, week, week, assets=decision_assets))
        outcome = action_outcome(store, config.symbol, week, kind)
        context.log.info(f"{config.symbol}: {outcome}")
        context.add_output_metadata(outcome)

    act.__annotations__["config"] = config_type
    op = dg.op(name=f"{kind}_champion", description=ACTIONS[kind])(act)

    @dg.job(
        name=kind,
        description=ACTIONS[kind],
        tags=time_limit_tags(settings) | priority_tag(PEOPLE),
        hooks={restart_after_storage_fault},
    )
    def job() -> None:
        op()

    return job


def _action(kind: str, config: ActionConfig, key: str) -> ManualAction:
    action = ManualAction(kind, config.symbol, config.actor, config.reason, key)
    if isinstance(config, ABTestConfig):
        plan = ABPlan(config.recipe, config.share, config.block_days, config.weeks)
        return action._replace(recipe=config.recipe, ab_plan=plan)
    if isinstance(config, PromoteConfig):
        return action._replace(recipe=config.recipe)
    if isinstance(config, CeilingConfig):
        return action._replace(share=config.share)
    return action
