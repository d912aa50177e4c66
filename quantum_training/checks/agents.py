"""Asset checks on the versions of agents: weights that are not finite are an error, a collapsed policy warns.

When a policy counts as collapsed is in models/policy_diagnostics.py.
"""

from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Any

import dagster as dg

from quantum_training.assets.partition_checks import PartitionResult, evaluations
from quantum_training.assets.step_retries import retry_transient_faults
from quantum_training.lifecycle.records import ModelRecord, model_asset, read_record
from quantum_training.market.periods import Key
from quantum_training.models.agent import ACTION, Agent
from quantum_training.models.contract import algorithm
from quantum_training.models.finite_weights import non_finite_weights
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
    """Both checks on the versions of each week of the model asset of `name`. They share a step, which loads them."""
    asset = model_asset(name)
    finite = dg.AssetCheckSpec(
        FINITE,
        asset=asset,
        partitions_def=partitions.week,
        description="No weight of the version is NaN or infinite. Such a version decides nothing, which the week's "
        "scores say; other weeks and symbols go on.",
    )
    behaviour = dg.AssetCheckSpec(
        BEHAVIOUR,
        asset=asset,
        partitions_def=partitions.week,
        description="The policy has not collapsed on its training bars: not always flat, long or short, no vanished "
        "entropy, no churning, no reward that rises while the account loses. Warns.",
    )

    @dg.multi_asset_check(name=f"{name}_agent_checks", specs=[finite, behaviour])
    def check(
        context: dg.AssetCheckExecutionContext,
        store: dg.ResourceParam[Store],
        registry: dg.ResourceParam[ModelRegistry],
    ) -> Iterator[Any]:
        keys = run_keys(partitions.week, context.run.tags)
        with retry_transient_faults(context):
            results = {key: _results([*agents_of_week(store, registry, asset, key)]) for key in keys}
        yield from evaluations(context, finite, {key: result for key, (result, _) in results.items()})
        yield from evaluations(context, behaviour, {key: result for key, (_, result) in results.items()})

    return check


def _results(agents: list[Agent]) -> tuple[PartitionResult, PartitionResult]:
    """The results of both checks on a week: whether all agents are finite, and how the newest behaves."""
    if not agents:
        nothing = PartitionResult(passed=True, description="nothing was trained")
        return nothing, nothing
    broken = [sentence for agent in agents for sentence in non_finite_weights(agent)]
    report = agents[-1].report
    collapsed = collapse_findings(report)
    shown = {name: value for name, value in report.items() if not name.startswith(ACTION)}
    return (
        PartitionResult(not broken, "; ".join(broken) or None, severity=dg.AssetCheckSeverity.ERROR),
        PartitionResult(not collapsed, "; ".join(collapsed) or None, shown),
    )


def agents_of_week(store: Store, registry: ModelRegistry, asset: str, key: Key) -> Iterable[Agent]:
    """The agents of a week's record, oldest first, without those that have been deleted from MLflow since."""
    record = read_record(store, ModelRecord, key.symbol, key.period, asset) or ModelRecord()
    for version in record.versions:
        with suppress(VersionDeleted):
            agent = registry.load(key.symbol, version.model_id)
            if isinstance(agent, Agent):
                yield agent
