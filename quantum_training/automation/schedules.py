"""Schedules, off until switched on in the UI: which partitions a tick asks for. All are read in UTC."""

from collections.abc import Mapping
from types import MappingProxyType

import dagster as dg
import pandas as pd

from quantum_training.assets.housekeeping import run_config
from quantum_training.automation.execution.priorities import priority_tag
from quantum_training.automation.jobs.asset_jobs import DRIFT, HOUSEKEEPING, MARKET_DATA, SIGNALS, WEEKLY_CYCLE
from quantum_training.lifecycle.surveillance.run_priorities import MARKET, WEEKLY
from quantum_training.market.periods import Key, week_of
from quantum_training.partitions import RANGE_TAGS
from quantum_training.settings.settings import Settings

DAY = pd.Timedelta(days=1)
MONTH_END_RETRY = 7 * DAY


def build(settings: Settings) -> list[dg.ScheduleDefinition]:
    """`weekly_cycle_schedule` for the week that has just begun, `market_data_schedule` for the month in progress,
    `drift_schedule` for the day that has just begun, `signals_schedule` for every symbol, `housekeeping_schedule`.
    """

    @dg.schedule(
        job_name=WEEKLY_CYCLE,
        name="weekly_cycle_schedule",
        cron_schedule=settings.training_cron_schedule,
        execution_timezone="UTC",
        description="One run per symbol for the week in progress: on a Monday, the one that has just begun. Needs the "
        "candles up to that Monday 00:00, which market_data_schedule brings.",
    )
    def weekly(context: dg.ScheduleEvaluationContext) -> list[dg.RunRequest] | dg.SkipReason:
        time = pd.Timestamp(context.scheduled_execution_time).tz_convert("UTC")
        monday = week_of(time)
        if outside := _outside(settings, monday):
            return outside
        why = {"trigger": "SCHEDULED", "reason": "weekly refresh", "as_of": monday.isoformat()} | priority_tag(WEEKLY)
        return [_request("week", Key(symbol, monday), Key(symbol, monday), time, why) for symbol in settings.symbols]

    @dg.schedule(
        job_name=MARKET_DATA,
        name="market_data_schedule",
        cron_schedule=settings.market_data_cron_schedule,
        execution_timezone="UTC",
        description="One run per symbol for the month that yesterday belongs to; in a month's first week also for the "
        "month before, whose last bars a failed run may have missed. Complete months are not fetched again.",
    )
    def market_data(context: dg.ScheduleEvaluationContext) -> list[dg.RunRequest] | dg.SkipReason:
        time = pd.Timestamp(context.scheduled_execution_time).tz_convert("UTC")
        first, last = (_month(time.normalize() - ago) for ago in (MONTH_END_RETRY, DAY))
        if outside := _outside(settings, last):
            return outside
        if _outside(settings, first):
            first = last
        venues = {symbol: options.source.venue for symbol, options in settings.symbols.items()}
        return [
            _request("utc_month", Key(symbol, first), Key(symbol, last), time, {"exchange": venue} if venue else {})
            for symbol, venue in venues.items()
        ]

    @dg.schedule(
        job_name=DRIFT,
        name="drift_schedule",
        cron_schedule=settings.drift_cron_schedule,
        execution_timezone="UTC",
        description="One run per symbol for the day that has begun: the 7 days up to its 00:00. Needs the features up "
        "to then, which market_data_schedule brings.",
    )
    def drift(context: dg.ScheduleEvaluationContext) -> list[dg.RunRequest] | dg.SkipReason:
        time = pd.Timestamp(context.scheduled_execution_time).tz_convert("UTC")
        day = time.normalize()
        if outside := _outside(settings, day):
            return outside
        return [_request("utc_day", Key(symbol, day), Key(symbol, day), time) for symbol in settings.symbols]

    @dg.schedule(
        job_name=SIGNALS,
        name="signals_schedule",
        cron_schedule=settings.signals_cron_schedule,
        execution_timezone="UTC",
        description="One run per symbol. A signal needs the newest bar: let market_data_schedule run as often as bars "
        "of the market close, and before this.",
    )
    def signals(context: dg.ScheduleEvaluationContext) -> list[dg.RunRequest] | dg.SkipReason:
        time = pd.Timestamp(context.scheduled_execution_time).tz_convert("UTC")
        if outside := _outside(settings, time.normalize()):
            return outside
        return [
            dg.RunRequest(
                run_key=f"{symbol}@{time.isoformat()}",
                partition_key=symbol,
                tags={"symbol": symbol, **priority_tag(MARKET)},
            )
            for symbol in settings.symbols
        ]

    @dg.schedule(
        job_name=HOUSEKEEPING,
        name="housekeeping_schedule",
        cron_schedule=settings.housekeeping_cron_schedule,
        execution_timezone="UTC",
        description=f"Removes what is older than {settings.model_retention_days} days and nothing needs. Run the job "
        "by hand first: it tells what would go.",
    )
    def housekeeping(context: dg.ScheduleEvaluationContext) -> dg.RunRequest:
        time = pd.Timestamp(context.scheduled_execution_time).tz_convert("UTC")
        return dg.RunRequest(run_key=f"{HOUSEKEEPING}@{time.isoformat()}", run_config=run_config(dry_run=False))

    return [weekly, market_data, drift, signals, housekeeping]


def _outside(settings: Settings, period: pd.Timestamp) -> dg.SkipReason | None:
    if period.date() < settings.start or (settings.end and period.date() > settings.end):
        return dg.SkipReason(f"{period.date()} is outside the settings' {settings.start} to {settings.end or 'today'}")
    return None


def _month(time: pd.Timestamp) -> pd.Timestamp:
    return time.replace(day=1)


def _request(
    dimension: str, first: Key, last: Key, time: pd.Timestamp, tags: Mapping[str, str] = MappingProxyType({})
) -> dg.RunRequest:
    """One run over the partitions from `first` to `last` of one symbol."""
    one = dg.MultiPartitionKey({"symbol": first.symbol, dimension: first.period}) if first == last else None
    both = {} if one else dict(zip(RANGE_TAGS, (str(first), str(last)), strict=True))
    tags = {"symbol": first.symbol, **both, **priority_tag(MARKET), **tags}
    return dg.RunRequest(run_key=f"{last}@{time.isoformat()}", partition_key=one, tags=tags)
