"""Whether candles, features and signals are as new as they could be, judged by the newest bar of each symbol.

Dagster's freshness policies cannot tell: they pass when any partition was materialised, one of an old year, too.
"""

from __future__ import annotations

import pandas as pd

from quantum_training.lifecycle.data_end import data_end
from quantum_training.lifecycle.records import LATEST, SIGNALS, SignalRecord, read_record
from quantum_training.lifecycle.stored_months import stored_until
from quantum_training.market.timeframe import to_timedelta
from quantum_training.resources.store.store import Store
from quantum_training.settings import Settings
from quantum_training.settings.cadence import HOUR, refresh_interval

MISSED = 2
"""So many refreshes may be missed: a venue that answers late is tried again with the next."""


def late_symbols(store: Store, settings: Settings, asset: str, now: pd.Timestamp) -> dict[str, str]:
    """By symbol, since when `candles`, `features` or `signals` are out of date at `now`. Others are left out."""
    late = {}
    for symbol, market in settings.symbols.items():
        end = data_end(settings, symbol, now)
        if asset == SIGNALS and (end < now or not market.recipes):
            continue  # nobody trades a market whose data have ended, or that nothing is trained for
        limit = end - MISSED * max(refresh_interval(market), to_timedelta(market.timeframe)) - HOUR
        until = _signal_until(store, symbol) if asset == SIGNALS else stored_until(store, asset, symbol)
        if until is None or until < limit:
            ends = f"end at {until:%Y-%m-%d %H:%M} UTC" if until is not None else None
            late[symbol] = f"{asset} {ends}" if ends else f"no {asset} are stored"
    return late


def _signal_until(store: Store, symbol: str) -> pd.Timestamp | None:
    """Until when the newest signal holds."""
    record = read_record(store, SignalRecord, symbol, LATEST)
    return pd.Timestamp(record.valid_until) if record and record.valid_until else None
