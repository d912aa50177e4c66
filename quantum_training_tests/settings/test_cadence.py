"""The default times of market data and signals: as often as the bars of the settings' markets close."""

import pandas as pd
import pytest
from croniter import croniter

from quantum_training.market.calendars import expected_open_times
from quantum_training.market.timeframe import to_timedelta
from quantum_training.settings.cadence import market_data_cron, refresh_interval, signals_cron
from quantum_training.settings.schema import Symbol

DAY = pd.Timedelta(days=1)


def market(timeframe, calendar="24/7"):
    return Symbol(
        source={"kind": "sample", "dataset": "sp500"}, timeframe=timeframe, calendar=calendar, recipes=("xgboost",)
    )


@pytest.mark.parametrize(
    ("timeframes", "market_data", "signals"),
    [
        (["1d"], "30 */4 * * *", "5 * * * *"),
        (["1w", "3d"], "30 */4 * * *", "5 * * * *"),
        (["4h"], "1 * * * *", "5 * * * *"),
        (["1h", "1d"], "1 * * * *", "5 * * * *"),
        (["15m", "1h"], "1-59/15 * * * *", "5-59/15 * * * *"),
        (["45m"], "1-59/15 * * * *", "5-59/15 * * * *"),
        (["5m"], "1-59/5 * * * *", "4-59/5 * * * *"),
        (["1m"], "*/1 * * * *", "*/1 * * * *"),
    ],
)
def test_the_shortest_timeframe_sets_the_times(timeframes, market_data, signals):
    markets = [market(timeframe) for timeframe in timeframes]
    assert (market_data_cron(markets), signals_cron(markets)) == (market_data, signals)


@pytest.mark.parametrize("timeframe", ["5m", "15m", "45m", "1h", "90m", "4h", "12h", "1d", "3d", "1w"])
@pytest.mark.parametrize("calendar", ["24/7", "XNYS", "CMES", "XTKS"])
def test_every_bar_closes_at_the_end_of_an_interval(timeframe, calendar):
    if to_timedelta(timeframe) > DAY and calendar != "24/7":
        return
    start, end = pd.Timestamp("2024-03-04", tz="UTC"), pd.Timestamp("2024-03-16", tz="UTC")  # over a change of clocks
    closes = expected_open_times(calendar, timeframe, start, end) + to_timedelta(timeframe)
    interval = refresh_interval(market(timeframe, calendar))
    assert (closes.floor(interval) == closes).all()
    assert DAY % interval == pd.Timedelta(0)


@pytest.mark.parametrize("timeframe", ["5m", "15m", "45m", "1h", "90m", "4h", "1d"])
def test_market_data_and_then_signals_come_before_the_next_bar_closes(timeframe):
    markets = [market(timeframe)]
    for close in pd.date_range("2024-03-04", "2024-03-06", freq=to_timedelta(timeframe)):
        fetched = croniter(market_data_cron(markets), close).get_next(pd.Timestamp)
        signalled = croniter(signals_cron(markets), fetched).get_next(pd.Timestamp)
        assert close < fetched < signalled < close + to_timedelta(timeframe)


def test_exchanges_whose_sessions_open_at_half_past_are_asked_at_half_past():
    assert market_data_cron([market("1h", "XNYS")]) == "1-59/30 * * * *"
