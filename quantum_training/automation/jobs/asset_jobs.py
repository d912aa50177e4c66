"""The jobs that select assets: `market_data`, `series_data`, `weekly_cycle`, `drift`, `decay`, `housekeeping`,
`freshness`, `trading_signals`, `weekly_report`."""

from typing import Any, NamedTuple

import dagster as dg

from quantum_training.assets.housekeeping import ASSET as HOUSEKEEPING_REPORT
from quantum_training.automation.failures.storage_faults import restart_after_storage_fault
from quantum_training.automation.jobs.run_tags import time_limit_tags, training_tags
from quantum_training.checks.freshness import CHECK, CHECKED
from quantum_training.lifecycle.records import DECAY_REPORT
from quantum_training.settings import Settings

MARKET_DATA, WEEKLY_CYCLE, DRIFT, DECAY = "market_data", "weekly_cycle", "drift", "decay"
SERIES_DATA = "series_data"
HOUSEKEEPING, FRESHNESS = "housekeeping", "freshness"
SIGNALS, WEEKLY_REPORT = "trading_signals", "weekly_report"  # Dagster accepts no job with the name of an asset


FRESHNESS_CHECKS = dg.AssetSelection.checks(*(dg.AssetCheckKey(dg.AssetKey(asset), CHECK) for asset in CHECKED))
"""They look at all symbols, so a run for one symbol leaves them out."""


class AssetJob(NamedTuple):
    """A job over the assets of `selection`. trains: its runs carry the cluster resources of a training."""

    name: str
    selection: dg.AssetSelection
    description: str
    trains: bool = False


ASSET_JOBS = (
    AssetJob(MARKET_DATA, dg.AssetSelection.groups("market") - FRESHNESS_CHECKS, "Candles and features of a month."),
    AssetJob(
        WEEKLY_CYCLE,
        dg.AssetSelection.groups("models", "evidence"),
        "Train as of the week, score the week before in the shadow, backtest, decide the champion and its share of "
        "capital, test it for decay.",
        trains=True,
    ),
    AssetJob(DRIFT, dg.AssetSelection.groups("monitoring"), "Test the week before a day for drift."),
    AssetJob(
        DECAY,
        dg.AssetSelection.assets(DECAY_REPORT),
        "Test the champion of a week for decay again, for example after a new measurement from outside.",
    ),
    AssetJob(
        HOUSEKEEPING,
        dg.AssetSelection.assets(HOUSEKEEPING_REPORT),
        "Remove what is older than MODEL_RETENTION_DAYS and not needed any more. Launched by hand it only reports what "
        "it would remove, unless its config says dry_run: false. Its schedule removes.",
    ),
    AssetJob(
        SIGNALS,
        dg.AssetSelection.groups("trading") - FRESHNESS_CHECKS,
        "The target position of a symbol's champion now, times its share of capital.",
    ),
    AssetJob(
        FRESHNESS,
        FRESHNESS_CHECKS,
        "Look whether candles, features and signals of every symbol reach the newest bar.",
    ),
    AssetJob(WEEKLY_REPORT, dg.AssetSelection.groups("reports"), "One page on all symbols of a week."),
)


SERIES_JOB = AssetJob(
    SERIES_DATA,
    dg.AssetSelection.groups("series"),
    "What became known of a series in a month, and the feature sets that read it.",
)


def build_asset_jobs(settings: Settings) -> list[Any]:
    """The jobs of ASSET_JOBS, and SERIES_JOB if the settings have series."""
    return [
        dg.define_asset_job(
            job.name,
            job.selection,
            config=console_config(settings),
            tags=training_tags(settings) if job.trains else time_limit_tags(settings),
            hooks={restart_after_storage_fault},
            description=job.description,
        )
        for job in (*ASSET_JOBS, *([SERIES_JOB] if settings.series else []))
    ]


def console_config(settings: Settings) -> dict[str, Any]:
    """Run config that logs to the console from the level of LOG_LEVEL on."""
    return {"loggers": {"console": {"config": {"log_level": settings.log_level}}}}
