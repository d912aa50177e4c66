"""Everything that Dagster serves, as one list: assets, checks, jobs, schedules, sensors, resources.

`build_defs` takes other settings or resources, for tests and tools.
"""

import warnings
from collections.abc import Mapping
from functools import partial
from typing import Any

import dagster as dg

import quantum_training.automation.execution.garbage_collection  # noqa: F401 - for what it does, before more is loaded
from quantum_training.assets import (
    backtest,
    candles,
    champion,
    decay,
    drift,
    features,
    housekeeping,
    models,
    rollout,
    scores,
    series,
    signals,
    week_report,
)
from quantum_training.assets.no_io_manager import NoIOManager
from quantum_training.automation.execution.executor import build_executor
from quantum_training.automation.execution.warm_runs import start_runs_warm
from quantum_training.automation.failures.sensors import build_failure_sensors
from quantum_training.automation.jobs.asset_jobs import build_asset_jobs
from quantum_training.automation.jobs.batches import build_batch_jobs
from quantum_training.automation.jobs.benchmark import build_benchmark_job
from quantum_training.automation.jobs.full_cycle import build_full_cycle_job
from quantum_training.automation.jobs.manual_actions import build_manual_jobs
from quantum_training.automation.jobs.rebuild_registry import build_rebuild_registry_job
from quantum_training.automation.jobs.retrain import build_retrain_job
from quantum_training.automation.jobs.search import build_search_job
from quantum_training.automation.jobs.state_jobs import build_doctor_job, build_ledger_restore_job
from quantum_training.automation.retraining.sensors import build_retraining_sensors
from quantum_training.automation.scheduled_training import weekly_cycle_sensor
from quantum_training.automation.schedules import build_schedules
from quantum_training.checks.agents import agent_checks, is_agent
from quantum_training.checks.candles import candle_quality
from quantum_training.checks.decay import decay_check
from quantum_training.checks.drift import drift_checks
from quantum_training.checks.features import feature_causality
from quantum_training.checks.freshness import freshness_checks
from quantum_training.checks.leakage import leak_free
from quantum_training.checks.refresh import refresh_check
from quantum_training.checks.training_window import window_check
from quantum_training.features.sets.feature_set import DEFAULT
from quantum_training.lifecycle.records import model_asset
from quantum_training.partitions import build_partitions
from quantum_training.resources.events.bus import EventBus
from quantum_training.resources.ledger import Ledger
from quantum_training.resources.registry.registry import ModelRegistry
from quantum_training.resources.store.store import Store
from quantum_training.settings import Settings, load_settings

for _category in (dg.BetaWarning, dg.PreviewWarning):  # known: Dagster is pinned, and the tests run on that version
    warnings.filterwarnings("ignore", category=_category)


def build_defs(settings: Settings, resources: Mapping[str, Any] | None = None) -> dg.Definitions:
    """The definitions for these settings. resources: replace `store`, `registry`, `ledger` or `events` by name."""
    last_day = settings.last_day_of_all
    partitions = build_partitions(
        list(settings.symbols),
        settings.start.isoformat(),
        last_day.isoformat() if last_day else None,
        settings.trained_symbols,
    )
    series_partitions = build_partitions(
        list(settings.series), settings.start.isoformat(), last_day.isoformat() if last_day else None
    )
    asset_jobs = build_asset_jobs(settings)
    manual_jobs = [
        *build_manual_jobs(settings, lambda: definitions),
        build_retrain_job(settings, lambda: definitions),
    ]
    default_resources = {
        "store": Store(root=settings.store_root),
        "registry": ModelRegistry(tracking_uri=settings.mlflow_tracking_uri, ui_url=settings.mlflow_ui_url),
        "ledger": Ledger(url=settings.database_url),
        "events": EventBus(database_url=settings.database_url, url=settings.event_bus_url),
    }
    all_resources = {**default_resources, **(resources or {})}
    assets = [
        candles.build(settings, partitions),
        *features.build_all(settings, partitions),
        *(series.build_all(settings, series_partitions) if settings.series else ()),
        *(models.build(recipe, settings, partitions) for recipe in settings.recipes),
        scores.build(settings, partitions),
        backtest.build(settings, partitions),
        champion.build(settings, partitions),
        decay.build(settings, partitions),
        drift.build(settings, partitions),
        rollout.build(settings, partitions),
        signals.build(settings, partitions),
        week_report.build(settings, partitions),
        housekeeping.build(settings),
    ]
    definitions = dg.Definitions(
        assets=dg.with_source_code_references([*dg.map_asset_specs(partial(_owned, settings), assets)]),
        asset_checks=[
            candle_quality(settings, partitions),
            *(feature_causality(name, settings, partitions) for name in (DEFAULT, *features.sets_of_bars(settings))),
            *(
                feature_causality(name, settings, series_partitions)
                for name, s in settings.features.items()
                if s.series
            ),
            *(leak_free(recipe, settings, partitions) for recipe in settings.recipes),
            *(agent_checks(name, partitions) for name, r in settings.recipes.items() if is_agent(r.algorithm)),
            *(refresh_check(model_asset(recipe), partitions) for recipe in settings.recipes),
            *(window_check(model_asset(recipe), partitions) for recipe in settings.recipes),
            *drift_checks(settings, partitions),
            decay_check(settings, partitions),
            freshness_checks(settings),
        ],
        jobs=[
            *asset_jobs,
            *build_batch_jobs(settings, lambda: definitions),
            build_full_cycle_job(settings, lambda: definitions),
            build_benchmark_job(settings, lambda: definitions),
            build_rebuild_registry_job(settings),
            build_search_job(settings),
            *manual_jobs,
            build_ledger_restore_job(settings),
            build_doctor_job(settings),
        ],
        schedules=build_schedules(settings, partitions, all_resources["store"]),
        sensors=[
            *build_retraining_sensors(settings, partitions, [*asset_jobs, *manual_jobs], load_settings),
            weekly_cycle_sensor(settings, partitions),
            *build_failure_sensors(settings),
        ],
        executor=build_executor(settings),
        loggers={"console": dg.colored_console_logger},
        resources={
            "io_manager": dg.IOManagerDefinition(lambda _: NoIOManager(), config_schema={}),
            **{name: _fixed(resource) for name, resource in all_resources.items()},
        },
    )
    return definitions


def _owned(settings: Settings, spec: dg.AssetSpec) -> dg.AssetSpec:
    return spec.replace_attributes(owners=settings.owners, tags={**spec.tags, **settings.tags})


def _fixed(resource: Any) -> dg.ResourceDefinition:
    """A resource that no run config can redirect. Its URL, which may hold a password, appears on no page."""
    return dg.ResourceDefinition(lambda _: resource, config_schema={}, description=type(resource).__doc__)


start_runs_warm()
defs = build_defs(load_settings())
