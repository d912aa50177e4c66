"""Which runs each tick of a schedule requests. When it ticks is schedules.py.

Dagster makes up for the newest of the ticks that were missed while the daemon was down, so a tick asks for what is
missing, not only for its own period. The trainings of a tick are in scheduled_training.py.
"""

from collections.abc import Mapping
from contextlib import suppress
from types import MappingProxyType
from typing import NamedTuple

import dagster as dg
import pandas as pd

from quantum_training.assets.housekeeping import run_config
from quantum_training.automation.execution.priorities import priority_tag
from quantum_training.automation.jobs.asset_jobs import HOUSEKEEPING, WEEKLY_REPORT
from quantum_training.automation.jobs.batches import VENUE_TAG
from quantum_training.automation.scheduled_training import plan_tick
from quantum_training.lifecycle.other_markets import symbols_read
from quantum_training.lifecycle.records import CANDLES, DRIFT_REPORT, FEATURES
from quantum_training.lifecycle.series import SERIES
from quantum_training.lifecycle.stored_months import stored_until
from quantum_training.lifecycle.stored_sets import feature_asset
from quantum_training.lifecycle.surveillance.run_priorities import MARKET
from quantum_training.market.periods import Key, week_of
from quantum_training.market.timeframe import opens_before
from quantum_training.partitions import RANGE_TAGS, Partitions
from quantum_training.resources.store.store import Store
from quantum_training.settings import Settings
from quantum_training.settings.cadence import HOUR, refresh_interval
from quantum_training.settings.schema import Symbol

DAY = pd.Timedelta(days=1)
MONTH_END_RETRY = 7 * DAY
MISSED_DAYS = 6
"""So many days before the present one a drift tick makes up for."""

RunRequests = list[dg.RunRequest] | dg.SkipReason


class Tick(NamedTuple):
    """One evaluation of a schedule: its time, and what it may read."""

    time: pd.Timestamp
    store: Store
    context: dg.ScheduleEvaluationContext


def weekly_cycle_runs(settings: Settings, partitions: Partitions, tick: Tick) -> RunRequests:
    """Each symbol's next training, if its data are stored: a week that was not run yet, or one inside the week."""
    if not _trained_on(settings, week_of(tick.time)):
        return _out_of_range(settings, week_of(tick.time))
    plan = plan_tick(settings, partitions, tick.store, tick.context.instance, tick.time)
    return plan.requests or dg.SkipReason(plan.skip_reason)


def market_data_runs(settings: Settings, tick: Tick) -> RunRequests:
    """The months up to the newest closed bar, for each symbol; without a cron of their own, for those that lack it."""
    month = _month(tick.time - HOUR)
    markets = _markets_on(settings, month)
    if not markets:
        return _out_of_range(settings, month)
    requests, read = [], symbols_read(settings, markets)
    for symbol, market in sorted(markets.items(), key=lambda item: item[0] not in read):  # others wait for their bars
        first, last = _months_to_fetch(settings, tick, symbol)
        if first <= last and (settings.market_data_cron_schedule or _lacks_bars(settings, tick, symbol)):
            tags = {VENUE_TAG: market.source.venue} if market.source.venue else {}
            requests.append(_request("utc_month", Key(symbol, first), Key(symbol, last), tick.time, tags))
    return requests or dg.SkipReason("the market data of all symbols are up to date")


def series_data_runs(settings: Settings, tick: Tick) -> RunRequests:
    """The months from the newest one on that is stored of a series or of a set that reads it, for each series."""
    month, first_month = _month(tick.time), pd.Timestamp(settings.start, tz="UTC") + pd.offsets.MonthBegin(0)
    if not _markets_on(settings, month):
        return _out_of_range(settings, month)
    requests = []
    for name in settings.series:
        sets = [feature_asset(s) for s, feature_set in settings.features.items() if name in feature_set.series]
        stored = [until for asset in (SERIES, *sets) if (until := _stored_until(tick.store, asset, name))]
        until = min(stored, default=month)
        requests.append(_request("utc_month", Key(name, max(_month(until), first_month)), Key(name, month), tick.time))
    return requests


def drift_runs(settings: Settings, tick: Tick) -> RunRequests:
    """The day in progress, for each symbol, and days after its newest report that were missed."""
    day = tick.time.normalize()
    markets = _trained_on(settings, day)
    if not markets:
        return _out_of_range(settings, day)
    return [
        _request("utc_day", Key(symbol, missing), Key(symbol, missing), tick.time)
        for symbol in markets
        for missing in _days_without_report(tick.store, symbol, day)
    ]


def signal_runs(settings: Settings, time: pd.Timestamp) -> RunRequests:
    """Each symbol; without a cron of their own, those with hourly or longer bars at the first tick of an hour."""
    markets = _trained_on(settings, time.normalize())
    if not markets:
        return _out_of_range(settings, time.normalize())
    intervals = {symbol: min(HOUR, refresh_interval(market)) for symbol, market in markets.items()}
    previous = time - min(intervals.values())
    return [
        dg.RunRequest(
            run_key=f"{symbol}@{time.isoformat()}",
            partition_key=symbol,
            tags={"symbol": symbol, **priority_tag(MARKET)},
        )
        for symbol, interval in intervals.items()
        if settings.signals_cron_schedule or time.floor(interval) > previous.floor(interval)
    ]


def week_report_runs(settings: Settings, time: pd.Timestamp) -> RunRequests:
    """One run for the week in progress."""
    week = week_of(time)
    if not _trained_on(settings, week):
        return _out_of_range(settings, week)
    return [dg.RunRequest(run_key=f"{WEEKLY_REPORT}@{time.isoformat()}", partition_key=f"{week:%Y-%m-%d}")]


def housekeeping_runs(time: pd.Timestamp) -> RunRequests:
    """One run that removes."""
    return [dg.RunRequest(run_key=f"{HOUSEKEEPING}@{time.isoformat()}", run_config=run_config(dry_run=False))]


def _markets_on(settings: Settings, period: pd.Timestamp) -> dict[str, Symbol]:
    """The symbols whose data have not ended before a period; none before the settings' first day."""
    if period.date() < settings.start:
        return {}
    return {
        symbol: market
        for symbol, market in settings.symbols.items()
        if period.date() <= (settings.last_day(symbol) or period.date())
    }


def _trained_on(settings: Settings, period: pd.Timestamp) -> dict[str, Symbol]:
    """Those with recipes."""
    return {symbol: market for symbol, market in _markets_on(settings, period).items() if market.recipes}


def _out_of_range(settings: Settings, period: pd.Timestamp) -> dg.SkipReason:
    last_day = settings.last_day_of_all or "today"
    return dg.SkipReason(f"{period.date()} is outside the settings' {settings.start} to {last_day}")


def _lacks_bars(settings: Settings, tick: Tick, symbol: str) -> bool:
    """Whether bars may have closed since the features were brought up to date."""
    until = _stored_until(tick.store, FEATURES, symbol)
    return until is None or until < tick.time.floor(refresh_interval(settings.symbols[symbol]))


def _months_to_fetch(settings: Settings, tick: Tick, symbol: str) -> tuple[pd.Timestamp, pd.Timestamp]:
    """The months of the newest stored and of the newest closed bar, the first a week earlier at the latest."""
    market = settings.symbols[symbol]
    stored = _stored_until(tick.store, CANDLES, symbol) or tick.time
    first_partition = pd.Timestamp(settings.start, tz="UTC") + pd.offsets.MonthBegin(0)
    open_end = opens_before(tick.time.normalize(), market.timeframe)  # a bar may close in the month after its own
    early = min(open_end - MONTH_END_RETRY, stored)
    first = max(_month(early), _month(market.first_day(settings.start)), first_partition)
    return first, _month(tick.time - refresh_interval(market))


def _stored_until(store: Store, asset: str, symbol: str) -> pd.Timestamp | None:
    """As stored_months.stored_until; None also if the file cannot be read, which the symbol's run will say."""
    with suppress(Exception):  # one symbol's broken file stops no other
        return stored_until(store, asset, symbol)
    return None


def _days_without_report(store: Store, symbol: str, day: pd.Timestamp) -> list[pd.Timestamp]:
    """The days after the newest report that have features now, at most MISSED_DAYS, and `day` itself."""
    period, until = f"{day:%Y-%m-%d}", _stored_until(store, FEATURES, symbol)
    reports = [d for d in store.periods(DRIFT_REPORT, symbol, "json") if d < period]
    if not reports or until is None:
        return [day]
    first = max(pd.Timestamp(reports[-1], tz="UTC") + DAY, day - MISSED_DAYS * DAY)
    return [*pd.date_range(first, min(until, day - DAY)), day]


def _month(time: pd.Timestamp) -> pd.Timestamp:
    return time.normalize().replace(day=1)


def _request(
    dimension: str, first: Key, last: Key, time: pd.Timestamp, tags: Mapping[str, str] = MappingProxyType({})
) -> dg.RunRequest:
    """One run over the partitions from `first` to `last` of one symbol."""
    partition = dg.MultiPartitionKey({"symbol": first.symbol, dimension: first.period}) if first == last else None
    range_tags = {} if partition else dict(zip(RANGE_TAGS, (str(first), str(last)), strict=True))
    tags = {"symbol": first.symbol, **range_tags, **priority_tag(MARKET), **tags}
    return dg.RunRequest(run_key=f"{last}@{time.isoformat()}", partition_key=partition, tags=tags)
