"""Asset checks on the versions of agents: NaN stops the cycle, a collapse is pointed out. The limits: behaviour.py."""

from collections.abc import Iterable
from contextlib import suppress
from typing import Any

import dagster as dg
import numpy as np
import pandas as pd

from quantum_training.assets.metadata.tables import markdown
from quantum_training.assets.step_retries import retried
from quantum_training.lifecycle.records import model_asset
from quantum_training.models.agent import ACTION, Agent
from quantum_training.models.contract import algorithm
from quantum_training.models.policy_diagnostics import collapses
from quantum_training.partitions import Partitions, run_keys
from quantum_training.resources.registry.errors import VersionDeleted
from quantum_training.resources.registry.registry import ModelRegistry
from quantum_training.resources.store.store import Store

FINITE, BEHAVIOUR = "agent_finite", "agent_behaviour"


def is_agent(name: str) -> bool:
    """Is the algorithm of this name an agent? One that cannot be imported is found out when it is trained."""
    try:
        return issubclass(algorithm(name), Agent)
    except Exception:  # whatever a module of the user's fails with, the others' definitions load
        return False


def agent_checks(name: str, partitions: Partitions) -> dg.AssetChecksDefinition:
    """Both checks on the model asset of `name`: of all versions of the run's weeks, and of each symbol's newest."""

    @dg.multi_asset_check(
        name=f"{name}_agent_checks",
        specs=[
            dg.AssetCheckSpec(
                FINITE,
                asset=model_asset(name),
                blocking=True,
                partitions_def=partitions.week,
                description="No weight of the version is NaN or infinite. Blocks the scores.",
            ),
            dg.AssetCheckSpec(
                BEHAVIOUR,
                asset=model_asset(name),
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
        agents: dict[str, Agent] = {}
        faults: dict[str, list[str]] = {}
        with retried(context):
            for key in run_keys(partitions.week, context.run.tags):
                record = store.read_record(model_asset(name), key.symbol, key.period) or {}
                for version in record.get("versions", []):
                    with suppress(VersionDeleted):  # of a week long ago
                        agent = registry.load(key.symbol, version["model_id"])
                        if isinstance(agent, Agent):
                            agents[key.symbol] = agent
                            faults[f"{key}"] = broken(agent)
        yield _result(FINITE, faults, dg.AssetCheckSeverity.ERROR, {})
        told = {s: {k: v for k, v in a.report.items() if not k.startswith(ACTION)} for s, a in agents.items()}
        reports = pd.DataFrame(told)
        numbers = {f"{what} {symbol}": v for symbol, report in told.items() for what, v in report.items()}
        shown = {"behaviour": markdown(reports), **numbers}
        found = {symbol: collapses(agent.report) for symbol, agent in agents.items()}
        yield _result(BEHAVIOUR, found, dg.AssetCheckSeverity.WARN, shown)

    def _result(
        check_name: str, found: dict[str, list[str]], severity: dg.AssetCheckSeverity, shown: dict[str, Any]
    ) -> dg.AssetCheckResult:
        said = [f"{symbol}: {sentence}" for symbol, sentences in found.items() for sentence in sentences]
        return dg.AssetCheckResult(
            check_name=check_name,
            asset_key=model_asset(name),
            passed=not said,
            severity=severity,
            description="; ".join(said) or (None if found else "nothing was trained"),
            metadata=shown,
        )

    return check


def broken(agent: Agent) -> list[str]:
    """A sentence for each array of weights with a number that is none."""
    return [
        f"{bad} of the {value.size} numbers of {name} are NaN or infinite; train the partition again with a lower "
        "learning_rate"
        for name, value in agent.state.items()
        if (bad := int((~np.isfinite(value)).sum()))
    ]
