"""The public candle endpoints of crypto exchanges: each answers in its own format and pages by its own rules.

The rules are those of docs/markets/venues.md. An answer is made of `bars`, the whole history of one market; what an
exchange does not keep or does not publish is left out here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from quantum_training.market.schema import as_candles
from quantum_training_tests.support.venue import Answer, Venue

Row = list[Any]


def random_bars(opens: pd.DatetimeIndex, volatility: float) -> pd.DataFrame:
    """Bars of a seeded walk, all different. volatility: of the log return of a bar."""
    rng = np.random.default_rng(len(opens))
    close = np.round(30_000 * np.exp(np.cumsum(rng.normal(0, volatility, len(opens)))), 2)
    open_ = np.r_[30_000, close[:-1]]
    high, low = np.maximum(open_, close) + rng.integers(1, 99, len(opens)), np.minimum(open_, close) - 0.01
    volume = rng.integers(1, 10**6, len(opens)) / 1000
    values = {"open": open_, "high": high, "low": low, "close": close, "volume": volume}
    return as_candles(pd.DataFrame(values, index=opens))


class History(NamedTuple):
    """One market's bars of one timeframe as the server has them; all times in Unix ms."""

    bars: pd.DataFrame
    step: int
    now: int

    def between(self, first: float, last: float, oldest: int | None = None, newest: int | None = None) -> list[Row]:
        """Rows [stamp, open, high, low, close, volume] with first <= stamp <= last: so many of the oldest or newest."""
        stamps = pd.DatetimeIndex(self.bars.index).as_unit("ms").asi8
        begin = np.searchsorted(stamps, first, "left")
        end = np.searchsorted(stamps, min(last, self.now), "right")
        end = end if oldest is None else min(end, begin + oldest)
        begin = begin if newest is None else max(begin, end - newest)
        values = self.bars.to_numpy()[begin:end].tolist()
        return [[int(at), *row] for at, row in zip(stamps[begin:end], values, strict=True)]


def kraken(history: History, path: str, query: dict[str, Any]) -> Any:
    """Only the newest 720, those after `since`."""
    kept = history.between(0, history.now, newest=720)
    rows = [row for row in kept if row[0] > 1000 * int(query.get("since", 0))]
    ohlc = [[at // 1000, str(o), str(h), str(low), str(c), str(c), str(v), 7] for at, o, h, low, c, v in rows]
    return {"error": [], "result": {"XXBTZUSD": ohlc, "last": ohlc[-1][0] if ohlc else 0}}


def coinbase(history: History, path: str, query: dict[str, Any]) -> Any:
    """Start and end inclusive, newest first; 350 candles or more are refused."""
    start, end = 1000 * int(query["start"]), 1000 * int(query["end"])
    if (end - start) // history.step >= 350:
        text = "start and end argument is invalid - number of candles requested should be less than 350"
        return Answer(400, {"error": "INVALID_ARGUMENT", "error_details": text, "message": text})
    return {
        "candles": [
            {
                "start": str(at // 1000),
                "low": str(low),
                "high": str(h),
                "open": str(o),
                "close": str(c),
                "volume": str(v),
            }
            for at, o, h, low, c, v in history.between(start, end)[::-1]
        ]
    }


def bitstamp(history: History, path: str, query: dict[str, Any]) -> Any:
    """The newest `limit` of start to end, at most 1000."""
    start, end, limit = 1000 * int(query["start"]), 1000 * int(query["end"]), int(query["limit"])
    if limit > 1000:
        return Answer(400, {"code": 400, "errors": [{"field": "limit", "message": "1000 is the maximum"}]})
    names = ("timestamp", "open", "high", "low", "close", "volume")
    rows = [[at // 1000, *values] for at, *values in history.between(start, end, newest=limit)]
    return {"data": {"pair": "BTC/USD", "ohlc": [dict(zip(names, map(str, row), strict=True)) for row in rows]}}


def bitfinex(history: History, path: str, query: dict[str, Any]) -> Any:
    """The oldest of start to end with sort=1, else the newest, newest first."""
    limit = min(int(query.get("limit", 100)), 10_000)
    span = int(query.get("start", 0)), int(query.get("end", history.now))
    is_oldest_first = query.get("sort") == "1"
    rows = history.between(*span, oldest=limit) if is_oldest_first else history.between(*span, newest=limit)[::-1]
    return [[at, o, c, h, low, v] for at, o, h, low, c, v in rows]


def gemini(history: History, path: str, query: dict[str, Any]) -> Any:
    """No parameters: its newest 1488, newest first."""
    return history.between(0, history.now, newest=1488)[::-1]


def okx(history: History, path: str, query: dict[str, Any]) -> Any:
    """Newest first, `before` and `after` exclusive; the endpoint of recent candles has 1440."""
    rows = history.between(int(query.get("before", 0)) + 1, int(query.get("after", history.now + 1)) - 1)
    if "history" not in path:
        rows = [row for row in rows if row[0] > history.now - 1440 * history.step]
    page = rows[::-1][: min(int(query.get("limit", 100)), 300)]
    return {
        "code": "0",
        "msg": "",
        "data": [[*map(str, row), str(row[5] * 2), str(row[5] * row[4]), "1"] for row in page],
    }


def bybit(history: History, path: str, query: dict[str, Any]) -> Any:
    """From `start` on if there is no end, else the newest up to `end`; newest first."""
    limit = min(int(query.get("limit", 200)), 1000)
    cut = {"oldest": limit} if "start" in query and "end" not in query else {"newest": limit}
    page = history.between(int(query.get("start", 0)), int(query.get("end", history.now)), **cut)
    listed = [[*map(str, row), str(row[5] * row[4])] for row in page[::-1]]
    return {"retCode": 0, "retMsg": "OK", "result": {"category": "spot", "list": listed}, "retExtInfo": {}, "time": 1}


def kucoin(history: History, path: str, query: dict[str, Any]) -> Any:
    """Newest first, at most 1500 of startAt to endAt; open, close, high, low."""
    rows = history.between(1000 * int(query["startAt"]), 1000 * int(query["endAt"]) - 1)[::-1][:1500]
    data = [[str(at // 1000), str(o), str(c), str(h), str(low), str(v), str(v * c)] for at, o, h, low, c, v in rows]
    return {"code": "200000", "data": data}


def kucoin_swap(history: History, path: str, query: dict[str, Any]) -> Any:
    """At most 200 of `from` to `to`, oldest first; volume in lots."""
    rows = history.between(int(query["from"]), int(query["to"]))[:200]
    return {"code": "200000", "data": [[*row[:5], round(row[5] / 0.001)] for row in rows]}


def gate(history: History, path: str, query: dict[str, Any]) -> Any:
    """Nothing of before its newest 10,000 points, at most 1000 a range; a contract's volume is in contracts."""
    start, end = 1000 * int(query["from"]), 1000 * int(query.get("to", history.now // 1000))
    if start < history.now - 10_000 * history.step:
        text = "Candlestick too long ago. Maximum 10000 points ago are allowed"
        return Answer(400, {"label": "INVALID_PARAM_VALUE", "message": text})
    if (end - start) // history.step >= (2000 if "futures" in path else 1000):
        text = "Candlestick range too broad. Maximum 1000 data points are allowed per request"
        return Answer(400, {"label": "INVALID_PARAM_VALUE", "message": text})
    rows = history.between(start, end)
    if "futures" in path:
        return [
            {"t": at // 1000, "v": round(v / 0.0001), "c": str(c), "h": str(h), "l": str(low), "o": str(o)}
            for at, o, h, low, c, v in rows
        ]
    return [
        [str(at // 1000), str(v * c), str(c), str(h), str(low), str(o), str(v), "true"] for at, o, h, low, c, v in rows
    ]


def htx(history: History, path: str, query: dict[str, Any]) -> Any:
    """The newest `size` of from to to; a contract's endpoint ignores both if there is a `size`."""
    start, end = 1000 * int(query.get("from", 0)), 1000 * int(query.get("to", history.now // 1000))
    is_swap = "contract_code" in query
    if is_swap and "size" in query:
        start, end = 0, history.now
    rows = history.between(start, end, newest=int(query.get("size", 2000 if is_swap else 150)))
    data = [
        {"id": at // 1000, "open": o, "close": c, "low": low, "high": h, "amount": v, "vol": v * c, "count": 5}
        for at, o, h, low, c, v in rows[:: 1 if is_swap else -1]
    ]
    return {"status": "ok", "ch": "market.btcusdt.kline", "ts": history.now, "data": data}


def mexc(history: History, path: str, query: dict[str, Any]) -> Any:
    """The oldest 500 of start to end, end exclusive; a start without an end is ignored."""
    limit = min(int(query.get("limit", 500)), 500)
    if "startTime" in query and "endTime" in query:
        rows = history.between(int(query["startTime"]), int(query["endTime"]) - 1)[:limit]
    else:
        rows = history.between(0, history.now, newest=limit)
    return [[row[0], *map(str, row[1:]), row[0] + history.step, str(row[5] * row[4])] for row in rows]


def bitget(history: History, path: str, query: dict[str, Any]) -> Any:
    """The newest before the end, which the recent endpoint includes; the endpoint of older ones ignores the start.

    The recent endpoint has 1440 bars: 60 days of 1h.
    """
    is_older, end = "history" in path, int(query["endTime"])
    limit = min(int(query.get("limit", 100)), 200 if is_older else 1000)
    if is_older:
        rows = history.between(0, end - 1, newest=limit)
    elif int(query["startTime"]) < history.now - 1440 * history.step:
        rows = []
    else:
        rows = history.between(int(query["startTime"]), end, newest=limit)
    data = [[*map(str, row), str(row[5] * row[4]), str(row[5] * row[4])] for row in rows]
    return {"code": "00000", "msg": "success", "requestTime": history.now, "data": data}


def upbit(history: History, path: str, query: dict[str, Any]) -> Any:
    """The last `count` before `to`, however old they are; newest first."""
    end = pd.Timestamp(query["to"]).value // 10**6 if "to" in query else history.now + 1
    if int(query["count"]) > 200:
        return Answer(400, {"error": {"name": 400, "message": "count <= 200"}})
    return _korean(history, history.between(0, end - 1, newest=int(query["count"])))


def bithumb(history: History, path: str, query: dict[str, Any]) -> Any:
    """Its newest, at most 200; newest first."""
    return _korean(history, history.between(0, history.now, newest=min(int(query.get("count", 1)), 200)))


def _korean(history: History, rows: list[Row]) -> list[dict[str, Any]]:
    return [
        {
            "market": "KRW-BTC",
            "candle_date_time_utc": f"{pd.Timestamp(at, unit='ms'):%Y-%m-%dT%H:%M:%S}",
            "opening_price": o,
            "high_price": h,
            "low_price": low,
            "trade_price": c,
            "timestamp": at + history.step - 1,
            "candle_acc_trade_price": v * c,
            "candle_acc_trade_volume": v,
        }
        for at, o, h, low, c, v in rows[::-1]
    ]


def deribit(history: History, path: str, query: dict[str, Any]) -> Any:
    """Columns; the newest 5000 of start to end."""
    rows = history.between(int(query["start_timestamp"]), int(query["end_timestamp"]))[-5000:]
    ticks, *columns = zip(*rows, strict=True) if rows else ([],) * 6
    named = dict(zip(("open", "high", "low", "close", "volume"), map(list, columns), strict=True))
    return {"jsonrpc": "2.0", "result": {"status": "ok" if rows else "no_data", "ticks": list(ticks), **named}}


def hyperliquid(history: History, path: str, query: dict[str, Any]) -> Any:
    """A POST; only the newest 5000 of all."""
    asked = query["req"]
    kept = history.between(0, history.now, newest=5000)
    rows = [row for row in kept if asked["startTime"] <= row[0] <= asked["endTime"]]
    names = ("o", "h", "l", "c", "v")
    return [
        {
            "t": at,
            "T": at + history.step - 1,
            "s": "BTC",
            "i": "1h",
            "n": 9,
            **dict(zip(names, map(str, row), strict=True)),
        }
        for at, *row in rows
    ]


def cryptocom(history: History, path: str, query: dict[str, Any]) -> Any:
    """The newest `count` between start and end, both exclusive, at most 300."""
    count = min(int(query.get("count", 25)), 300)
    rows = history.between(int(query.get("start_ts", 0)) + 1, int(query.get("end_ts", history.now)) - 1)[-count:]
    data = [dict(zip(("t", "o", "h", "l", "c", "v"), [row[0], *map(str, row[1:])], strict=True)) for row in rows]
    return {"id": -1, "method": "public/get-candlestick", "code": 0, "result": {"interval": "1h", "data": data}}


def binance(history: History, path: str, query: dict[str, Any]) -> Any:
    """The oldest of start to end, at most 1000."""
    limit = min(int(query.get("limit", 500)), 1000)
    rows = history.between(int(query.get("startTime", 0)), int(query.get("endTime", history.now)), oldest=limit)
    return [[row[0], *map(str, row[1:]), row[0] + history.step - 1, "0", 1, "0", "0", "0"] for row in rows]


class Market(NamedTuple):
    """How a market is asked for: the endpoint, its id at the exchange, and ccxt's name of it."""

    answer: Callable[[History, str, dict[str, Any]], Any]
    id: str
    symbol: str
    contract_size: float | None = None
    inverse: bool = False

    def in_ccxt(self) -> dict[str, Any]:
        """The market as ccxt would have it from the exchange's list of markets."""
        base, _, rest = self.symbol.partition("/")
        quote, _, settle = rest.partition(":")
        is_swap = bool(settle)
        return {
            "id": self.id,
            "symbol": self.symbol,
            **{"base": base, "baseId": base, "baseName": base, "quote": quote, "quoteId": quote},
            **{"settle": settle or None, "settleId": settle or None, "type": "swap" if is_swap else "spot"},
            **{"spot": not is_swap, "swap": is_swap, "contract": is_swap, "margin": False, "future": False},
            **{"option": False, "active": True, "contractSize": self.contract_size},
            **{
                "linear": (is_swap and not self.inverse) or None,
                "inverse": self.inverse or (False if is_swap else None),
            },
            "subType": ("inverse" if self.inverse else "linear") if is_swap else None,
            "precision": {"amount": 1e-8, "price": 0.01},
            "limits": {name: {} for name in ("amount", "price", "cost", "leverage")},
            "info": {},
        }


MARKETS = {
    "binance": Market(binance, "BTCUSDT", "BTC/USDT"),
    "bitfinex": Market(bitfinex, "tBTCUSD", "BTC/USD"),
    "bitget": Market(bitget, "BTCUSDT", "BTC/USDT"),
    "bithumb": Market(bithumb, "BTC_KRW", "BTC/KRW"),
    "bitstamp": Market(bitstamp, "btcusd", "BTC/USD"),
    "bybit": Market(bybit, "BTCUSDT", "BTC/USDT"),
    "coinbase": Market(coinbase, "BTC-USD", "BTC/USD"),
    "cryptocom": Market(cryptocom, "BTC_USD", "BTC/USD"),
    "deribit": Market(deribit, "BTC-PERPETUAL", "BTC/USD:BTC", 10, inverse=True),
    "gate": Market(gate, "BTC_USDT", "BTC/USDT"),
    "gate swap": Market(gate, "BTC_USDT", "BTC/USDT:USDT", 0.0001),
    "gemini": Market(gemini, "btcusd", "BTC/USD"),
    "htx": Market(htx, "btcusdt", "BTC/USDT"),
    "htx swap": Market(htx, "BTC-USDT", "BTC/USDT:USDT", 0.001),
    "hyperliquid": Market(hyperliquid, "0", "BTC/USDC:USDC", 1),
    "kraken": Market(kraken, "XXBTZUSD", "BTC/USD"),
    "kucoin": Market(kucoin, "BTC-USDT", "BTC/USDT"),
    "kucoin swap": Market(kucoin_swap, "XBTUSDTM", "BTC/USDT:USDT", 0.001),
    "mexc": Market(mexc, "BTCUSDT", "BTC/USDT"),
    "okx": Market(okx, "BTC-USDT", "BTC/USDT"),
    "upbit": Market(upbit, "KRW-BTC", "BTC/KRW"),
}
"""The markets that tests ask for; the first word is the exchange."""


class CryptoVenue(Venue):
    """One of these exchanges with one market. Every bar that opens up to `now` is there; the newest is unclosed."""

    def __init__(self, name: str, bars: pd.DataFrame, timeframe: pd.Timedelta, now: pd.Timestamp) -> None:
        super().__init__()
        self.market = MARKETS[name]
        epoch, ms = pd.Timestamp(0, tz="UTC"), pd.Timedelta(milliseconds=1)
        self.history = History(bars, timeframe // ms, (now - epoch) // ms)

    def answer(self, path: str, query: dict[str, Any]) -> Any:
        return self.market.answer(self.history, path, query)
