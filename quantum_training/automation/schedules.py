"""The schedules, off until switched on in the UI. All times are UTC. What a tick requests is tick_requests.py."""

from collections.abc import Callable

import dagster as dg
import pandas as pd

from quantum_training.automation.jobs.asset_jobs import (
    DRIFT,
    FRESHNESS,
    HOUSEKEEPING,
    MARKET_DATA,
    SERIES_DATA,
    SIGNALS,
    WEEKLY_CYCLE,
    WEEKLY_REPORT,
)
from quantum_training.automation.jobs.batches import in_batches, scheduled_job
from quantum_training.automation.jobs.state_jobs import DOCTOR
from quantum_training.automation.scheduled_training import SCHEDULE, SENSOR
from quantum_training.automation.tick_requests import (
    MISSED_DAYS,
    RunRequests,
    Tick,
    drift_runs,
    housekeeping_runs,
    market_data_runs,
    series_data_runs,
    signal_runs,
    week_report_runs,
    weekly_cycle_runs,
)
from quantum_training.partitions import Partitions
from quantum_training.resources.store.store import Store
from quantum_training.settings import Settings
from quantum_training.settings.cadence import market_data_cron, signals_cron

DOCTOR_CRON, WEEK_REPORT_CRON, FRESHNESS_CRON = "30 0 * * *", "0 6 * * *", "45 * * * *"


def build_schedules(settings: Settings, partitions: Partitions, store: Store) -> list[dg.ScheduleDefinition]:
    """The schedules of the jobs that run by themselves; `series_data` has one if the settings have series.

    store: where a tick looks what is missing.
    """
    markets = settings.symbols.values()

    def schedule(
        name: str, job: str, cron: str, runs_at: Callable[[Tick], RunRequests], description: str
    ) -> dg.ScheduleDefinition:
        @dg.schedule(
            job_name=scheduled_job(settings, job),
            name=name,
            cron_schedule=cron,
            execution_timezone="UTC",
            description=description,
        )
        def definition(context: dg.ScheduleEvaluationContext) -> RunRequests:
            runs = runs_at(Tick(pd.Timestamp(context.scheduled_execution_time).tz_convert("UTC"), store, context))
            return in_batches(settings, job, runs) if isinstance(runs, list) else runs

        return definition

    return [
        schedule(
            SCHEDULE,
            WEEKLY_CYCLE,
            settings.training_cron_schedule,
            lambda tick: weekly_cycle_runs(settings, partitions, tick),
            "The first tick of a week requests one run per symbol for the week that has begun, later ones train inside "
            "the week, each as of the newest bar. Needs the bars up to then, which market_data_schedule brings: "
            f"{SENSOR} starts a symbol whose bars come later.",
        ),
        schedule(
            "market_data_schedule",
            MARKET_DATA,
            settings.market_data_cron_schedule or market_data_cron(markets),
            lambda tick: market_data_runs(settings, tick),
            "One run per symbol for the months from its newest stored bar to the newest closed one; in a month's first "
            "week also for the month before, whose last bars a failed run may have missed. Complete months are not "
            "fetched again. If the settings name no cron, it ticks as often as bars close and leaves out the symbols "
            "that are up to date.",
        ),
        *(
            [
                schedule(
                    "series_data_schedule",
                    SERIES_DATA,
                    settings.market_data_cron_schedule or market_data_cron(markets),
                    lambda tick: series_data_runs(settings, tick),
                    "One run per series for the months since it was read last, at the times of market_data_schedule.",
                )
            ]
            if settings.series
            else []
        ),
        schedule(
            "drift_schedule",
            DRIFT,
            settings.drift_cron_schedule,
            lambda tick: drift_runs(settings, tick),
            "One run per symbol for the day that has begun: the days up to its 00:00. Needs the features up to then, "
            f"which market_data_schedule brings. Also for up to {MISSED_DAYS} days after the newest report, if their "
            "ticks were missed or their runs failed.",
        ),
        schedule(
            "signals_schedule",
            SIGNALS,
            settings.signals_cron_schedule or signals_cron(settings.symbols[s] for s in settings.trained_symbols),
            lambda tick: signal_runs(settings, tick.time),
            "One run per symbol. A signal needs the newest bar, which market_data_schedule brings. If the settings "
            "name no cron, it ticks each hour, and for shorter bars as often as they close.",
        ),
        schedule(
            "housekeeping_schedule",
            HOUSEKEEPING,
            settings.housekeeping_cron_schedule,
            lambda tick: housekeeping_runs(tick.time),
            f"Removes what is older than {settings.model_retention_days} days and not needed any more. Run the job by "
            "hand first: it reports what it would remove.",
        ),
        schedule(
            "doctor_schedule",
            DOCTOR,
            DOCTOR_CRON,
            lambda tick: [dg.RunRequest(run_key=f"{DOCTOR}@{tick.time.isoformat()}")],
            "Compares store, ledger, registry and settings once a day; a failed run says what is wrong and alerts.",
        ),
        schedule(
            "freshness_schedule",
            FRESHNESS,
            FRESHNESS_CRON,
            lambda tick: [dg.RunRequest(run_key=f"{FRESHNESS}@{tick.time.isoformat()}")],
            "Looks once an hour whether every symbol has its newest bar; the checks `fresh` name those that do not.",
        ),
        schedule(
            "week_report_schedule",
            WEEKLY_REPORT,
            WEEK_REPORT_CRON,
            lambda tick: week_report_runs(settings, tick.time),
            "The report of the week in progress, each day: it changes with the day's drift and with retrained models.",
        ),
    ]
