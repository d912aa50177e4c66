"""One form of a vendor's files: how it is recognised, and the options that it fills. The forms are presets.py."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

Format = Literal[
    "alphavantage",
    "binance_vision",
    "bitstamp",
    "coinbase",
    "cryptodatadownload",
    "databento",
    "dukascopy",
    "freqtrade",
    "histdata",
    "investing",
    "kraken",
    "lean",
    "mt4",
    "mt5",
    "nasdaq",
    "polygon",
    "qlib",
    "stooq",
    "tradingview",
    "yahoo",
]


class Layout(NamedTuple):
    """One form of a format's files.

    begins: regular expression for the start of the file, ignoring case; of a table that is no text, its column names as
    one line, with commas. columns: the file's name of each of our columns, ignoring case, or its position. options:
    those of the source that it fills. lines_below: of the header that hold no bars. clock: intraday stamps are of a
    clock that the file does not name; the user has to. refusal: why it cannot be read, and what to do.
    """

    begins: str
    columns: Mapping[str, str | int]
    options: Mapping[str, Any] = {}
    lines_below: int = 0
    clock: str = ""
    refusal: str = ""


def at(*positions: int) -> dict[str, str | int]:
    """Columns by their positions: open_time, open, high, low, close, and volume if there is one."""
    return dict(zip(("open_time", "open", "high", "low", "close", "volume"), positions, strict=False))


def named(open_time: str, volume: str = "volume", close: str = "close") -> dict[str, str | int]:
    """Columns of the usual names. volume: "" if there is none."""
    prices = {"open_time": open_time, "open": "open", "high": "high", "low": "low", "close": close}
    return {**prices, **({"volume": volume} if volume else {})}
