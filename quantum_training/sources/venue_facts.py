"""What is known of single crypto exchanges beyond what ccxt tells: docs/markets/venues.md has the sources.

How bars are fetched is in ccxt.py; nothing here is needed for an exchange that does as most do.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

KEPT_BARS = {"kraken": 720, "gate": 9_990, "hyperliquid": 5_000}
"""How many of its newest bars of each timeframe an exchange keeps. Gate refuses requests for bars before the newest
10,000; ten fewer, as a run takes time."""

WEEKS_FROM_THURSDAY = frozenset({"hyperliquid", "kraken", "kucoin", "kucoinfutures"})
"""Exchanges that count weeks from 1970-01-01, a Thursday. Others begin them on Monday, or it is not known."""

LEAVES_OUT_UNTRADED_BARS = frozenset({"bitfinex", "coinbase", "coinbaseexchange", "kucoin", "kucoinfutures", "upbit"})
"""Exchanges that give no candle for a bar without a trade."""

FILLS_UNTRADED_BARS = frozenset({"bitstamp", "deribit", "htx"})
"""Exchanges that give a flat candle of volume 0 for a bar without a trade."""

SUCCESSORS = {
    "bitfinex2": "bitfinex",
    "bitmex": None,
    "coinbasepro": "coinbase",
    "gateio": "gate",
    "huobi": "htx",
    "huobipro": "htx",
    "mexc3": "mexc",
    "okex": "okx",
    "okex5": "okx",
}
"""Exchanges that ccxt had, and under which name it has them now; None if it no longer does."""

USUAL_TIMEFRAMES = frozenset({"1m", "3m", "5m", "10m", "15m", "30m", "1h", "2h", "4h", "6h", "8h", "12h", "1d"})
"""They are tried even if ccxt does not say that the exchange has them: it serves 1d of bithumb, for one."""

_CONTRACTS = frozenset({"gate", "gateeu", "kucoin", "kucoinfutures", "mexc"})
_BASE = frozenset(
    {
        "binance",
        "binancecoinm",
        "binanceusdm",
        "bitget",
        "bybit",
        "bybiteu",
        "cryptocom",
        "deribit",
        "htx",
        "hyperliquid",
    }
    | {"okx", "okxus", "myokx"}
)


class VolumeUnit(NamedTuple):
    """What a market's volume is counted in, and what the exchange's number is multiplied with to be in it."""

    name: str
    factor: float = 1.0


def volume_unit(exchange: str, market: Mapping[str, Any]) -> VolumeUnit:
    """The unit of the volume of a market's candles: `base`, `quote`, `contracts`, or `unknown`.

    Spot is in the base currency. A contract's volume is in base at some exchanges, and in contracts (KuCoin: lots) at
    others: these are converted if ccxt tells the contract's size, which is in quote for an inverse contract. market:
    as ccxt describes it.
    """
    if market.get("spot") or (market.get("contract") and exchange in _BASE):
        return VolumeUnit("base")
    if exchange not in _CONTRACTS:
        return VolumeUnit("unknown")
    size = market.get("contractSize")
    if not size or market.get("linear") == market.get("inverse"):
        return VolumeUnit("contracts")
    return VolumeUnit("quote" if market["inverse"] else "base", float(size))
