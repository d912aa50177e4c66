"""Job `rebuild_registry`: trains the recorded versions that MLflow has lost again. How: lifecycle/recovery."""

import dagster as dg
from pydantic import Field

from quantum_training.assets.cluster_tags import cluster_tags, needs_of
from quantum_training.automation.execution.priorities import priority_tag
from quantum_training.automation.failures.storage_faults import restart_after_storage_fault
from quantum_training.automation.jobs.nested_runs import requested_symbols, symbols_failure
from quantum_training.automation.jobs.run_tags import NESTS_RUNS, nesting_tags
from quantum_training.lifecycle.recovery.rebuild_registry import rebuild_versions
from quantum_training.lifecycle.services import Services
from quantum_training.lifecycle.surveillance.run_priorities import PEOPLE
from quantum_training.lifecycle.training.request import TrainingRun
from quantum_training.resources.events.bus import EventBus
from quantum_training.resources.registry.registry import ModelRegistry
from quantum_training.resources.store.store import Store
from quantum_training.settings import Settings

REBUILD_REGISTRY = "rebuild_registry"
DESCRIPTION = (
    "Train the recorded versions that MLflow has lost again, from store and settings: the same as_of, ids and files. "
    "Those that are in MLflow stay. The run fails and says why if a version cannot be rebuilt."
)


class RebuildConfig(dg.Config):
    """The symbols and weeks whose versions are rebuilt."""

    symbols: list[str] = Field(default_factory=list)
    """Symbols of the settings; empty means all."""
    first_week: str = ""
    """The first week, a Monday YYYY-MM-DD; empty means every recorded week, also those that housekeeping removed."""


def build_rebuild_registry_job(settings: Settings) -> dg.JobDefinition:
    """The job, unpartitioned."""

    @dg.op(description=DESCRIPTION, tags=cluster_tags(needs_of(settings)))
    def rebuild_versions_of_symbols(
        context: dg.OpExecutionContext,
        config: RebuildConfig,
        store: dg.ResourceParam[Store],
        registry: dg.ResourceParam[ModelRegistry],
        events: dg.ResourceParam[EventBus],
    ) -> None:
        services, failures = Services(settings, store, registry, events), dict[str, str]()
        symbols = requested_symbols(settings, config.symbols)
        for symbol in symbols:
            try:
                run = TrainingRun(context.run_id, log=context.log)
                result = rebuild_versions(services, symbol, run, config.first_week)
                context.log.info(f"{symbol}: {len(result.rebuilt)} versions rebuilt, {result.present} were there")
                reasons = [f"{version}: {reason}" for version, reason in result.failures.items()]
            except Exception as error:
                reasons = [str(error)]
            if reasons:
                failures[symbol] = "; ".join(reasons)
                context.log.error(f"{symbol} failed: {failures[symbol]}")
        if failures:
            raise symbols_failure(failures, len(symbols))

    @dg.job(
        name=REBUILD_REGISTRY,
        description=DESCRIPTION,
        tags=nesting_tags(settings) | NESTS_RUNS | priority_tag(PEOPLE),
        hooks={restart_after_storage_fault},
    )
    def rebuild_registry() -> None:
        rebuild_versions_of_symbols()

    return rebuild_registry
