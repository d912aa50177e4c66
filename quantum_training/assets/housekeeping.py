"""Asset `housekeeping_report`: removes what is older than MODEL_RETENTION_DAYS and nothing needs, and says how much.

What is needed: retention.py. How things are removed: resources/. Candles, features, scores, records and the ledger are
data: they are never removed.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

import dagster as dg
import pandas as pd

from quantum_training.assets.partition_runner import OWNERS, SINGLE_RUN
from quantum_training.assets.run_removal import remove_runs, remove_ticks
from quantum_training.assets.storage_sizes import sizes
from quantum_training.lifecycle.cleanup.retention import needed_versions
from quantum_training.lifecycle.training.inputs import checkpoint_dir
from quantum_training.resources.cleanup.removal_count import RemovalCount
from quantum_training.resources.cleanup.stale_files import (
    remove_kernels,
    remove_reports,
    remove_states,
    remove_temporaries,
)
from quantum_training.resources.events.bus import EventBus
from quantum_training.resources.faults import is_transient
from quantum_training.resources.ledger import Ledger
from quantum_training.resources.registry.errors import RegistryOutage
from quantum_training.resources.registry.registry import ModelRegistry
from quantum_training.resources.registry.removal import registered, remove
from quantum_training.resources.store.store import Store
from quantum_training.selection.retention import removable
from quantum_training.settings.settings import Settings

ASSET = "housekeeping_report"


class HousekeepingConfig(dg.Config):
    """Whether anything is removed."""

    dry_run: bool = True
    """Only tell what would be removed. The schedule sets it to false."""


class CleanupTargets(NamedTuple):
    """Where things grow."""

    settings: Settings
    store: Store
    registry: ModelRegistry
    ledger: Ledger
    events: EventBus
    instance: dg.DagsterInstance


class CleanupReport(NamedTuple):
    """What came of it. kept: versions that are old but needed, by reason; failed: why a place could not be tidied."""

    removed: dict[str, RemovalCount]
    kept: Counter[str]
    failed: dict[str, str]


def run_config(dry_run: bool) -> dict[str, Any]:
    """The config of a run of the asset."""
    return {"ops": {ASSET: {"config": {"dry_run": dry_run}}}}


def build(settings: Settings) -> dg.AssetsDefinition:
    """The asset."""

    @dg.asset(
        name=ASSET,
        backfill_policy=SINGLE_RUN,
        group_name="operation",
        kinds={"mlflow"},
        owners=OWNERS,
        description=f"What was removed because it is older than {settings.model_retention_days} days and nothing needs "
        "it: model versions with their files, HTML reports, states of trainings, events, Dagster's runs, logs and "
        "ticks. Stays: what an alias, the ledger, an open campaign or one of the last champions names, what weeks to "
        "come may decide by, and what says the state of a partition. With `dry_run`, the default by hand, it only "
        "tells.",
    )
    def housekeeping_report(
        context: dg.AssetExecutionContext,
        config: HousekeepingConfig,
        store: dg.ResourceParam[Store],
        registry: dg.ResourceParam[ModelRegistry],
        ledger: dg.ResourceParam[Ledger],
        events: dg.ResourceParam[EventBus],
    ) -> dg.MaterializeResult:
        places = CleanupTargets(settings, store, registry, ledger, events, context.instance)
        now, untold = pd.Timestamp.now("UTC"), dict[str, str]()
        sizes_before = measure_sizes(places, "before", untold)
        found = tidy(places, now, config.dry_run)
        sizes_after = measure_sizes(places, "after", untold)
        found.failed.update(untold)
        for name, why in found.failed.items():
            context.log.error(f"{name}: {why}")
        told = "would be removed" if config.dry_run else "removed"
        for kind, one in found.removed.items():
            context.log.info(f"{kind}: {one.number} {told}, {one.size:,} bytes")
        context.add_asset_metadata(
            {
                "dry_run": config.dry_run,
                "older_than": dg.MetadataValue.timestamp((now - retention(settings)).to_pydatetime()),
                **{f"{kind}_removed": one.number for kind, one in found.removed.items()},
                **{f"{kind}_bytes": one.size for kind, one in found.removed.items()},
                "bytes_removed": sum(one.size for one in found.removed.values()),
                **{f"versions_kept_for_{why}": number for why, number in found.kept.items()},
                **{f"before_{place}_bytes": size for place, size in sizes_before.items()},
                **{f"after_{place}_bytes": size for place, size in sizes_after.items()},
            }
        )
        if found.failed:
            raise dg.Failure(
                f"{len(found.failed)} places could not be tidied, the others were:\n"
                + "\n".join(f"{name}: {why}" for name, why in found.failed.items())
                + "\nmend them and run this again: what is removed stays removed",
                allow_retries=False,
            )
        return dg.MaterializeResult()

    return housekeeping_report


def retention(settings: Settings) -> pd.Timedelta:
    """The age from which on things are removed."""
    return pd.Timedelta(days=settings.model_retention_days)


def measure_sizes(places: CleanupTargets, when: str, failed: dict[str, str]) -> dict[str, int]:
    """How much room each place takes; none, and why in `failed`, where that cannot be told."""
    try:
        return sizes(places.store, places.registry, places.instance)
    except Exception as error:  # a server is silent, or a file went while it was looked at
        failed[f"sizes {when}"] = f"{type(error).__name__}: {error}"
        return {}


def tidy(places: CleanupTargets, now: pd.Timestamp, dry_run: bool) -> CleanupReport:
    """Remove, or with dry_run count, what is old at `now` and nothing needs. A place that fails stops no other."""
    found = CleanupReport({}, Counter(), {})
    for name, step in _steps(places, now, dry_run, found.kept):
        try:
            for kind, one in step().items():
                found.removed[kind] = found.removed.get(kind, RemovalCount()) + one
        except Exception as error:
            found.failed[name] = f"{type(error).__name__}: {error}"
    return found


def _steps(
    places: CleanupTargets, now: pd.Timestamp, dry_run: bool, kept: Counter[str]
) -> Iterator[tuple[str, Callable[[], dict[str, RemovalCount]]]]:
    """What is tidied, by name. `kept` counts the versions that were old enough but stay, by reason."""
    settings, store, registry, ledger, events, instance = places
    before = now - retention(settings)

    silent: list[str] = []

    def versions(symbol: str) -> dict[str, RemovalCount]:
        if silent:
            raise RegistryOutage(f"not asked for: {silent[0]}")
        try:
            return of_symbol(symbol)
        except Exception as error:
            if is_transient(error):  # to ask for each symbol in turn would take minutes each
                silent.append(f"the versions of {symbol} met an outage")
            raise

    def of_symbol(symbol: str) -> dict[str, RemovalCount]:
        found = registered(registry, symbol)
        needed = needed_versions(store, ledger, settings, symbol, registry.aliases(symbol), found)
        kept.update(needed[v.model_id] for v in found if v.created < before and v.model_id in needed)
        return remove(registry, symbol, removable(found, needed, before), before, dry_run)

    states = checkpoint_dir(settings, "")
    for symbol in settings.symbols:
        yield f"versions of {symbol}", partial(versions, symbol)
    yield "reports", lambda: {"reports": remove_reports(store, before, dry_run)}
    yield "states", lambda: {"training_states": remove_states(states, before, dry_run)}
    artifacts = registry.artifacts_folder
    yield "temporary files", lambda: {"temporary_files": remove_temporaries(store, artifacts(), now, dry_run)}
    yield "kernels", lambda: {"kernels": remove_kernels(before, dry_run)}
    yield "events", lambda: {"events": RemovalCount(events.prune(before.to_pydatetime(), dry_run))}
    yield "runs", lambda: remove_runs(instance, before, now, dry_run)
    yield "ticks", lambda: {"ticks": remove_ticks(instance, before, dry_run)}
