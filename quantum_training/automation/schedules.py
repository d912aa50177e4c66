"""Schedules, off until switched on in the UI. Both are read in UTC."""

import dagster as dg
import pandas as pd

from quantum_training.automation.jobs import MARKET_DATA, WEEKLY_CYCLE
from quantum_training.partitions import Key
from quantum_training.settings import Settings


def build(settings: Settings) -> list[dg.ScheduleDefinition]:
    """`weekly_cycle_schedule` for the week that has just begun, `market_data_schedule` for the month in progress."""

    @dg.schedule(
        job_name=WEEKLY_CYCLE,
        name="weekly_cycle_schedule",
        cron_schedule=settings.training_cron_schedule,
        execution_timezone="UTC",
        description="One run per symbol for the week that has just begun.",
    )
    def weekly(context: dg.ScheduleEvaluationContext) -> list[dg.RunRequest]:
        time = pd.Timestamp(context.scheduled_execution_time).tz_convert("UTC")
        monday = (time - pd.Timedelta(days=time.weekday())).normalize()
        return [_request("week", Key(symbol, monday), time) for symbol in settings.symbols]

    @dg.schedule(
        job_name=MARKET_DATA,
        name="market_data_schedule",
        cron_schedule=settings.market_data_cron_schedule,
        execution_timezone="UTC",
        description="One run per symbol for the month that yesterday belongs to.",
    )
    def market_data(context: dg.ScheduleEvaluationContext) -> list[dg.RunRequest]:
        time = pd.Timestamp(context.scheduled_execution_time).tz_convert("UTC")
        month = (time.normalize() - pd.Timedelta(days=1)).replace(day=1)
        return [_request("utc_month", Key(symbol, month), time) for symbol in settings.symbols]

    return [weekly, market_data]


def _request(dimension: str, key: Key, time: pd.Timestamp) -> dg.RunRequest:
    return dg.RunRequest(
        run_key=f"{key}@{time.isoformat()}",
        partition_key=dg.MultiPartitionKey({"symbol": key.symbol, dimension: key.period}),
        tags={"symbol": key.symbol},
    )
