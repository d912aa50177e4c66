"""Asset `housekeeping_report`: removes what is old and no longer needed, and shows how much. The rules live in
lifecycle/cleanup.
"""

from typing import Any

import dagster as dg
import pandas as pd

from quantum_training.assets.metadata.housekeeping import failure_message, housekeeping_metadata, log_lines
from quantum_training.assets.partition_runner import SINGLE_RUN
from quantum_training.assets.run_removal import remove_runs, remove_ticks
from quantum_training.assets.run_storage import storage_bytes
from quantum_training.lifecycle.cleanup.housekeeping import CleanupTargets, RunHistory, clean_up
from quantum_training.resources.events.bus import EventBus
from quantum_training.resources.ledger import Ledger
from quantum_training.resources.registry.registry import ModelRegistry
from quantum_training.resources.store.store import Store
from quantum_training.settings import Settings

ASSET = "housekeeping_report"
DESCRIPTION = (
    "Removes what is older than {days} days and no longer needed: model versions with their files, HTML reports, "
    "checkpoints of trainings, events, and Dagster's runs, logs and ticks. Some versions always stay: those that an "
    "alias, the ledger, an open campaign or one of the last champions names, and those that coming weeks may decide "
    "by. The runs that hold the state of a partition stay, too. With `dry_run`, the default for a run by hand, nothing "
    "is removed, only reported."
)


class HousekeepingConfig(dg.Config):
    """Whether anything is removed."""

    dry_run: bool = True
    """Only report what would be removed. The schedule sets it to false."""


def run_config(dry_run: bool) -> dict[str, Any]:
    """The config of a run of the asset."""
    return {"ops": {ASSET: {"config": {"dry_run": dry_run}}}}


def run_history(instance: dg.DagsterInstance) -> RunHistory:
    """What housekeeping removes and measures in Dagster's own storage."""
    return RunHistory(
        {
            "runs": lambda scope: remove_runs(instance, scope.before, scope.now, scope.dry_run),
            "ticks": lambda scope: {"ticks": remove_ticks(instance, scope.before, scope.dry_run)},
        },
        lambda: {"dagster": storage_bytes(instance)} if instance.is_persistent else {},
    )


def build(settings: Settings) -> dg.AssetsDefinition:
    """The asset."""

    @dg.asset(
        name=ASSET,
        backfill_policy=SINGLE_RUN,
        group_name="operation",
        kinds={"mlflow"},
        description=DESCRIPTION.format(days=settings.model_retention_days),
    )
    def housekeeping_report(
        context: dg.AssetExecutionContext,
        config: HousekeepingConfig,
        store: dg.ResourceParam[Store],
        registry: dg.ResourceParam[ModelRegistry],
        ledger: dg.ResourceParam[Ledger],
        events: dg.ResourceParam[EventBus],
    ) -> dg.MaterializeResult:
        targets = CleanupTargets(settings, store, registry, ledger, events, run_history(context.instance))
        report = clean_up(targets, pd.Timestamp.now("UTC"), config.dry_run)
        for line in log_lines(report):
            context.log.info(line)
        context.add_asset_metadata(housekeeping_metadata(report))
        if report.errors:
            raise dg.Failure(failure_message(report), allow_retries=False)
        return dg.MaterializeResult()

    return housekeeping_report
