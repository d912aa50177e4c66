"""Housekeeping: remove what is older than the retention time and no longer needed, and report how much.

Which versions are needed: retention.py. How files are removed: resources/cleanup. Candles, features, scores, records
and the ledger are data and are never removed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial

import pandas as pd

from quantum_training.lifecycle.cleanup.retention import needed_versions
from quantum_training.lifecycle.consistency.inconsistency import require_consistent
from quantum_training.lifecycle.consistency.ledger import store_against_ledger
from quantum_training.lifecycle.training.train_version import checkpoint_dir
from quantum_training.resources.cleanup.removal_count import RemovalCount
from quantum_training.resources.cleanup.stale_files import (
    remove_checkpoints,
    remove_kernels,
    remove_reports,
    remove_temporaries,
)
from quantum_training.resources.cleanup.storage_sizes import storage_sizes
from quantum_training.resources.events.bus import EventBus
from quantum_training.resources.faults import is_transient
from quantum_training.resources.ledger import Ledger
from quantum_training.resources.registry.errors import RegistryOutage
from quantum_training.resources.registry.registry import ModelRegistry
from quantum_training.resources.registry.removal import registered, remove
from quantum_training.resources.store.store import Store
from quantum_training.selection.retention import removable
from quantum_training.settings import Settings

RemovalCounts = dict[str, RemovalCount]


@dataclass(frozen=True)
class CleanupScope:
    """What one clean-up covers: things from before `before`. With dry_run they are counted, not removed."""

    before: pd.Timestamp
    now: pd.Timestamp
    dry_run: bool


@dataclass(frozen=True)
class RunHistory:
    """The history of runs, which only the orchestrator can reach.

    steps: what to clean up, by the name of the place. sizes: bytes by the name of the place.
    """

    steps: Mapping[str, Callable[[CleanupScope], RemovalCounts]] = field(default_factory=dict)
    sizes: Callable[[], dict[str, int]] = dict


@dataclass(frozen=True)
class CleanupTargets:
    """The places that grow."""

    settings: Settings
    store: Store
    registry: ModelRegistry
    ledger: Ledger
    events: EventBus
    run_history: RunHistory = RunHistory()


@dataclass
class CleanupReport:
    """The result of a clean-up.

    removed: by kind; with dry_run, what would be removed. retained_versions: how many versions are old enough but
    still needed, by reason. errors: by place, why it could not be cleaned up or measured. sizes: bytes by place.
    """

    scope: CleanupScope
    removed: RemovalCounts = field(default_factory=dict)
    retained_versions: Counter[str] = field(default_factory=Counter)
    errors: dict[str, str] = field(default_factory=dict)
    sizes_before: dict[str, int] = field(default_factory=dict)
    sizes_after: dict[str, int] = field(default_factory=dict)


def clean_up(targets: CleanupTargets, now: pd.Timestamp, dry_run: bool) -> CleanupReport:
    """Remove what is old at `now` and no longer needed; with dry_run, only count it.

    An error in one place does not stop the others.
    """
    before = now - pd.Timedelta(days=targets.settings.model_retention_days)
    report = CleanupReport(CleanupScope(before, now, dry_run))
    report.sizes_before = _measure_sizes(targets, "before", report.errors)
    for place, step in _steps(targets, report.scope, report.retained_versions):
        try:
            for kind, count in step().items():
                report.removed[kind] = report.removed.get(kind, RemovalCount()) + count
        except Exception as error:
            report.errors[place] = f"{type(error).__name__}: {error}"
    report.sizes_after = _measure_sizes(targets, "after", report.errors)
    return report


def _measure_sizes(targets: CleanupTargets, when: str, errors: dict[str, str]) -> dict[str, int]:
    """Bytes by place. If they cannot be measured: nothing, and the reason in `errors` as `sizes <when>`."""
    try:
        return storage_sizes(targets.store, targets.registry) | targets.run_history.sizes()
    except Exception as error:  # a server does not answer, or a file vanishes while it is measured
        errors[f"sizes {when}"] = f"{type(error).__name__}: {error}"
        return {}


def _steps(
    targets: CleanupTargets, scope: CleanupScope, retained: Counter[str]
) -> Iterator[tuple[str, Callable[[], RemovalCounts]]]:
    """The places to clean up, by name. `retained` counts the versions that are old enough but needed, by reason."""
    before, now, dry_run = scope.before, scope.now, scope.dry_run
    versions = _VersionCleanup(targets, scope, retained)
    for symbol in targets.settings.symbols:
        yield f"versions of {symbol}", partial(versions.of_symbol, symbol)
    store, checkpoints = targets.store, checkpoint_dir(targets.settings, "")
    artifacts = targets.registry.artifacts_folder
    yield "reports", lambda: {"reports": remove_reports(store, before, dry_run)}
    yield "states", lambda: {"training_states": remove_checkpoints(checkpoints, before, dry_run)}
    yield "temporary files", lambda: {"temporary_files": remove_temporaries(store, artifacts(), now, dry_run)}
    yield "kernels", lambda: {"kernels": remove_kernels(before, dry_run)}
    yield "events", lambda: {"events": RemovalCount(targets.events.prune(before.to_pydatetime(), dry_run))}
    for place, step in targets.run_history.steps.items():
        yield place, partial(step, scope)


@dataclass
class _VersionCleanup:
    """Removes old versions symbol by symbol. After an outage it skips the rest: each wait would take minutes."""

    targets: CleanupTargets
    scope: CleanupScope
    retained: Counter[str]
    outage: str = ""

    def of_symbol(self, symbol: str) -> RemovalCounts:
        if self.outage:
            raise RegistryOutage(f"skipped, because {self.outage}")
        try:
            return self._remove(symbol)
        except Exception as error:
            if is_transient(error):
                self.outage = f"the registry failed for {symbol}"
            raise

    def _remove(self, symbol: str) -> RemovalCounts:
        targets, (before, dry_run) = self.targets, (self.scope.before, self.scope.dry_run)
        registry = targets.registry
        require_consistent(store_against_ledger(targets.store, targets.ledger, symbol))
        versions = registered(registry, symbol)
        needed = needed_versions(
            targets.store, targets.ledger, targets.settings, symbol, registry.aliases.of(symbol), versions
        )
        self.retained.update(needed[v.model_id] for v in versions if v.created < before and v.model_id in needed)
        return remove(registry, symbol, removable(versions, needed, before), before, dry_run)
