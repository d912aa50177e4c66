"""Asset checks on the versions of agents: weights that are not finite stop the cycle, a collapsed policy warns.

When a policy counts as collapsed is in models/policy_diagnostics.py.
"""

from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any

import dagster as dg
import numpy as np
import pandas as pd

from quantum_training.assets.metadata.tables import markdown
from quantum_training.assets.step_retries import retry_transient_faults
from quantum_training.lifecycle.records import ModelRecord, model_asset, read_record
from quantum_training.market.periods import Key
from quantum_training.models.agent import ACTION, Agent
from quantum_training.models.contract import algorithm
from quantum_training.models.policy_diagnostics import collapse_findings
from quantum_training.partitions import Partitions, run_keys
from quantum_training.resources.registry.errors import VersionDeleted
from quantum_training.resources.registry.registry import ModelRegistry
from quantum_training.resources.store.store import Store

FINITE, BEHAVIOUR = "agent_finite", "agent_behaviour"


def is_agent(name: str) -> bool:
    """Is the algorithm of this name an agent? False if it cannot be imported, which its own training reports."""
    try:
        return issubclass(algorithm(name), Agent)
    except Exception:  # whatever a user's module raises, the other recipes' definitions load
        return False


def agent_checks(name: str, partitions: Partitions) -> dg.AssetChecksDefinition:
    """Both checks on the model asset of `name`: on all versions of the run's weeks, and on each symbol's newest."""
    asset = model_asset(name)

    @dg.multi_asset_check(
        name=f"{name}_agent_checks",
        specs=[
            dg.AssetCheckSpec(
                FINITE,
                asset=asset,
                blocking=True,
                partitions_def=partitions.week,
                description="No weight of the version is NaN or infinite. Blocks the scores.",
            ),
            dg.AssetCheckSpec(
                BEHAVIOUR,
                asset=asset,
                partitions_def=partitions.week,
                description="The policy has not collapsed on its training bars: not always flat, long or short, no "
                "vanished entropy, no churning, no reward that rises while the account loses. Warns.",
            ),
        ],
    )
    def check(
        context: dg.AssetCheckExecutionContext,
        store: dg.ResourceParam[Store],
        registry: dg.ResourceParam[ModelRegistry],
    ) -> Iterable[dg.AssetCheckResult]:
        newest_agents: dict[str, Agent] = {}
        broken_weights: dict[str, list[str]] = {}
        with retry_transient_faults(context):
            for key in run_keys(partitions.week, context.run.tags):
                for agent in agents_of_week(store, registry, asset, key):
                    newest_agents[key.symbol] = agent
                    broken_weights[str(key)] = non_finite_weights(agent)
        yield _result(asset, FINITE, broken_weights, dg.AssetCheckSeverity.ERROR, {})
        collapsed = {symbol: collapse_findings(agent.report) for symbol, agent in newest_agents.items()}
        yield _result(asset, BEHAVIOUR, collapsed, dg.AssetCheckSeverity.WARN, _behaviour_metadata(newest_agents))

    return check


def agents_of_week(store: Store, registry: ModelRegistry, asset: str, key: Key) -> Iterable[Agent]:
    """The agents of a week's record, oldest first, without those that have been deleted from MLflow since."""
    record = read_record(store, ModelRecord, key.symbol, key.period, asset) or ModelRecord()
    for version in record.versions:
        with suppress(VersionDeleted):
            agent = registry.load(key.symbol, version.model_id)
            if isinstance(agent, Agent):
                yield agent


def non_finite_weights(agent: Agent) -> list[str]:
    """A sentence for each array of weights that holds NaN or infinity."""
    return [
        f"{count} of the {value.size} numbers of {name} are NaN or infinite; train the partition again with a lower "
        "learning_rate"
        for name, value in agent.state.items()
        if (count := int((~np.isfinite(value)).sum()))
    ]


def _behaviour_metadata(agents: Mapping[str, Agent]) -> dict[str, Any]:
    """The reports of the agents without their shares of actions: as one table, and each number for itself."""
    reports = {s: {k: v for k, v in agent.report.items() if not k.startswith(ACTION)} for s, agent in agents.items()}
    numbers = {f"{name} {symbol}": value for symbol, report in reports.items() for name, value in report.items()}
    return {"behaviour": markdown(pd.DataFrame(reports)), **numbers}


def _result(
    asset: str,
    check_name: str,
    problems: Mapping[str, list[str]],
    severity: dg.AssetCheckSeverity,
    metadata: dict[str, Any],
) -> dg.AssetCheckResult:
    messages = [f"{subject}: {sentence}" for subject, sentences in problems.items() for sentence in sentences]
    return dg.AssetCheckResult(
        check_name=check_name,
        asset_key=asset,
        passed=not messages,
        severity=severity,
        description="; ".join(messages) or (None if problems else "nothing was trained"),
        metadata=metadata,
    )
