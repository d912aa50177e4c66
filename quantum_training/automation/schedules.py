"""The schedules, off until switched on in the UI: which runs each tick requests. All times are UTC."""

from collections.abc import Callable, Mapping
from types import MappingProxyType

import dagster as dg
import pandas as pd

from quantum_training.assets.housekeeping import run_config
from quantum_training.automation.execution.priorities import priority_tag
from quantum_training.automation.jobs.asset_jobs import DRIFT, HOUSEKEEPING, MARKET_DATA, SIGNALS, WEEKLY_CYCLE
from quantum_training.automation.jobs.state_jobs import DOCTOR
from quantum_training.lifecycle.surveillance.run_priorities import MARKET, WEEKLY
from quantum_training.market.periods import Key, week_of
from quantum_training.partitions import RANGE_TAGS
from quantum_training.settings import Settings

DOCTOR_CRON = "30 0 * * *"
DAY = pd.Timedelta(days=1)
MONTH_END_RETRY = 7 * DAY
RunRequests = list[dg.RunRequest] | dg.SkipReason


def build_schedules(settings: Settings) -> list[dg.ScheduleDefinition]:
    """The schedules of `weekly_cycle`, `market_data`, `drift`, `trading_signals`, `housekeeping`, `doctor`."""
    return [
        _schedule(
            "weekly_cycle_schedule",
            WEEKLY_CYCLE,
            settings.training_cron_schedule,
            lambda time: weekly_cycle_runs(settings, time),
            "One run per symbol for the week in progress: on a Monday, the one that has just begun. Needs the candles "
            "up to that Monday 00:00, which market_data_schedule brings.",
        ),
        _schedule(
            "market_data_schedule",
            MARKET_DATA,
            settings.market_data_cron_schedule,
            lambda time: market_data_runs(settings, time),
            "One run per symbol for the month that yesterday belongs to; in a month's first week also for the month "
            "before, whose last bars a failed run may have missed. Complete months are not fetched again.",
        ),
        _schedule(
            "drift_schedule",
            DRIFT,
            settings.drift_cron_schedule,
            lambda time: drift_runs(settings, time),
            "One run per symbol for the day that has begun: the 7 days up to its 00:00. Needs the features up to then, "
            "which market_data_schedule brings.",
        ),
        _schedule(
            "signals_schedule",
            SIGNALS,
            settings.signals_cron_schedule,
            lambda time: signal_runs(settings, time),
            "One run per symbol. A signal needs the newest bar: let market_data_schedule run as often as bars of the "
            "market close, and before this.",
        ),
        _schedule(
            "housekeeping_schedule",
            HOUSEKEEPING,
            settings.housekeeping_cron_schedule,
            housekeeping_runs,
            f"Removes what is older than {settings.model_retention_days} days and not needed any more. Run the job by "
            "hand first: it reports what it would remove.",
        ),
        _schedule(
            "doctor_schedule",
            DOCTOR,
            DOCTOR_CRON,
            lambda time: [dg.RunRequest(run_key=f"{DOCTOR}@{time.isoformat()}")],
            "Compares store, ledger, registry and settings once a day; a failed run says what is wrong and alerts.",
        ),
    ]


def _schedule(
    name: str, job: str, cron: str, runs_at: Callable[[pd.Timestamp], RunRequests], description: str
) -> dg.ScheduleDefinition:
    """A schedule whose tick requests `runs_at(time of the tick)`."""

    @dg.schedule(job_name=job, name=name, cron_schedule=cron, execution_timezone="UTC", description=description)
    def schedule(context: dg.ScheduleEvaluationContext) -> RunRequests:
        return runs_at(pd.Timestamp(context.scheduled_execution_time).tz_convert("UTC"))

    return schedule


def weekly_cycle_runs(settings: Settings, time: pd.Timestamp) -> RunRequests:
    """The week in progress, for each symbol."""
    monday = week_of(time)
    if reason := _out_of_range(settings, monday):
        return reason
    tags = {"trigger": "SCHEDULED", "reason": "weekly refresh", "as_of": monday.isoformat(), **priority_tag(WEEKLY)}
    return [_request("week", Key(symbol, monday), Key(symbol, monday), time, tags) for symbol in settings.symbols]


def market_data_runs(settings: Settings, time: pd.Timestamp) -> RunRequests:
    """The month of yesterday, for each symbol; with the month before, if that ended in the last seven days."""
    first, last = (_month(time.normalize() - age) for age in (MONTH_END_RETRY, DAY))
    if reason := _out_of_range(settings, last):
        return reason
    if _out_of_range(settings, first):
        first = last
    venues = {symbol: options.source.venue for symbol, options in settings.symbols.items()}
    return [
        _request("utc_month", Key(symbol, first), Key(symbol, last), time, {"exchange": venue} if venue else {})
        for symbol, venue in venues.items()
    ]


def drift_runs(settings: Settings, time: pd.Timestamp) -> RunRequests:
    """The day in progress, for each symbol."""
    day = time.normalize()
    if reason := _out_of_range(settings, day):
        return reason
    return [_request("utc_day", Key(symbol, day), Key(symbol, day), time) for symbol in settings.symbols]


def signal_runs(settings: Settings, time: pd.Timestamp) -> RunRequests:
    """Each symbol."""
    if reason := _out_of_range(settings, time.normalize()):
        return reason
    return [
        dg.RunRequest(
            run_key=f"{symbol}@{time.isoformat()}",
            partition_key=symbol,
            tags={"symbol": symbol, **priority_tag(MARKET)},
        )
        for symbol in settings.symbols
    ]


def housekeeping_runs(time: pd.Timestamp) -> RunRequests:
    """One run that removes."""
    return [dg.RunRequest(run_key=f"{HOUSEKEEPING}@{time.isoformat()}", run_config=run_config(dry_run=False))]


def _out_of_range(settings: Settings, period: pd.Timestamp) -> dg.SkipReason | None:
    if period.date() < settings.start or (settings.end and period.date() > settings.end):
        return dg.SkipReason(f"{period.date()} is outside the settings' {settings.start} to {settings.end or 'today'}")
    return None


def _month(time: pd.Timestamp) -> pd.Timestamp:
    return time.replace(day=1)


def _request(
    dimension: str, first: Key, last: Key, time: pd.Timestamp, tags: Mapping[str, str] = MappingProxyType({})
) -> dg.RunRequest:
    """One run over the partitions from `first` to `last` of one symbol."""
    partition = dg.MultiPartitionKey({"symbol": first.symbol, dimension: first.period}) if first == last else None
    range_tags = {} if partition else dict(zip(RANGE_TAGS, (str(first), str(last)), strict=True))
    tags = {"symbol": first.symbol, **range_tags, **priority_tag(MARKET), **tags}
    return dg.RunRequest(run_key=f"{last}@{time.isoformat()}", partition_key=partition, tags=tags)
