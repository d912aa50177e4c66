"""What is known of single crypto exchanges beyond what ccxt tells: docs/markets/venues.md has the sources.

How bars are fetched is in ccxt.py; nothing here is needed for an exchange that does as most do.
"""

from __future__ import annotations

KEPT_BARS = {"kraken": 720, "gate": 9_990, "hyperliquid": 5_000}
"""How many of its newest bars of each timeframe an exchange keeps. Gate refuses requests for bars before the newest
10,000; ten fewer, as a run takes time."""

LEAVES_OUT_UNTRADED_BARS = frozenset({"bitfinex", "coinbase", "coinbaseexchange", "kucoin", "kucoinfutures", "upbit"})
"""Exchanges that give no candle for a bar without a trade."""

FILLS_UNTRADED_BARS = frozenset({"bitstamp", "deribit", "htx"})
"""Exchanges that give a flat candle of volume 0 for a bar without a trade."""
