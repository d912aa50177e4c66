"""Files as vendors write them, of any history of bars: their layouts, written by hand. The reader is not used.

A vendor carries what its format can hold: `carried` is a history as its file can give it back.
"""

from __future__ import annotations

import gzip
import io
import json
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import pyarrow as pa

NEW_YORK = "America/New_York"
BROKER = pd.Timedelta(hours=7)


class Vendor(NamedTuple):
    """A form of a vendor's files. clock: the zone of local stamps; hours that it shows twice cannot be carried."""

    format: str
    name: str
    write: Callable[[pd.DataFrame], bytes]
    timeframe: str = "1h"
    options: Mapping[str, Any] = {}
    decimals: int = 5
    volume_decimals: int = 0
    has_volume: bool = True
    clock: str = "UTC"

    def __str__(self) -> str:
        return f"{self.format}-{self.name}"

    def carried(self, bars: pd.DataFrame) -> pd.DataFrame:
        """The history that the file can hold."""
        bars = bars.round({**dict.fromkeys(["open", "high", "low", "close"], self.decimals)})
        bars["volume"] = bars["volume"].round(self.volume_decimals) if self.has_volume else 0.0
        local = bars.index.tz_convert(self.clock).tz_localize(None)
        twice = local.tz_localize(self.clock, ambiguous="NaT").isna()
        return bars[~twice]

    def file(self, folder: Path, bars: pd.DataFrame) -> Path:
        """The written file."""
        path = folder / self.name
        path.write_bytes(self.write(bars))
        return path


def _lines(*lines: str, end: str = "\n") -> bytes:
    return "".join(line + end for line in lines).encode()


def _rows(bars: pd.DataFrame, row: Callable[..., str], newest_first: bool = False) -> list[str]:
    rows = [row(time, *values) for time, *values in bars.itertuples()]
    return rows[::-1] if newest_first else rows


def _unix(time: pd.Timestamp, unit: str) -> int:
    return int(time.as_unit("ns").value // {"s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}[unit])


def _zip(**members: bytes) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return packed.getvalue()


def _plain(value: float) -> str:
    return repr(value).removesuffix(".0")


def _prices(o: float, h: float, lo: float, c: float) -> str:
    return f"{o:.5f},{h:.5f},{lo:.5f},{c:.5f}"


def _binance(unit: str, header: bool = False) -> Callable[[pd.DataFrame], bytes]:
    names = "open_time,open,high,low,close,volume,close_time,quote_volume,count,taker_buy_volume,"
    names += "taker_buy_quote_volume,ignore"

    def write(bars: pd.DataFrame) -> bytes:
        def row(t: pd.Timestamp, o: float, h: float, lo: float, c: float, v: float) -> str:
            end = _unix(t + pd.Timedelta("1h"), unit) - 1
            return f"{_unix(t, unit)},{o:.8f},{h:.8f},{lo:.8f},{c:.8f},{v:.8f},{end},{v * c:.8f},12,{v:.8f},0.0,0"

        table = _lines(*([names] if header else []), *_rows(bars, row))
        return _zip(**{"BTCUSDT-1h.csv": table})

    return write


def _mt5(bars: pd.DataFrame) -> bytes:
    def row(t: pd.Timestamp, o: float, h: float, lo: float, c: float, v: float) -> str:
        clock = t.tz_convert(NEW_YORK).tz_localize(None) + BROKER
        return f"{clock:%Y.%m.%d}\t{clock:%H:%M:%S}\t{o:.5f}\t{h:.5f}\t{lo:.5f}\t{c:.5f}\t{v:.0f}\t0\t5"

    header = "<DATE>\t<TIME>\t<OPEN>\t<HIGH>\t<LOW>\t<CLOSE>\t<TICKVOL>\t<VOL>\t<SPREAD>"
    return _lines(header, *_rows(bars, row), end="\r\n")


def _mt5_daily(bars: pd.DataFrame) -> bytes:
    def row(t: pd.Timestamp, o: float, h: float, lo: float, c: float, v: float) -> str:
        return f"{t:%Y.%m.%d}\t{o:.5f}\t{h:.5f}\t{lo:.5f}\t{c:.5f}\t{v:.0f}\t0\t5"

    header = "<DATE>\t<OPEN>\t<HIGH>\t<LOW>\t<CLOSE>\t<TICKVOL>\t<VOL>\t<SPREAD>"
    return _lines(header, *_rows(bars, row), end="\r\n")


def _meta_trader_4(zone: str, ahead: pd.Timedelta) -> Callable[[pd.DataFrame], bytes]:
    def write(bars: pd.DataFrame) -> bytes:
        def row(t: pd.Timestamp, o: float, h: float, lo: float, c: float, v: float) -> str:
            clock = t.tz_convert(zone).tz_localize(None) + ahead
            return f"{clock:%Y.%m.%d},{clock:%H:%M},{_prices(o, h, lo, c)},{v:.0f}"

        return _lines(*_rows(bars, row), end="\r\n")

    return write


def _histdata(bars: pd.DataFrame) -> bytes:
    def row(t: pd.Timestamp, o: float, h: float, lo: float, c: float, v: float) -> str:
        return f"{t - pd.Timedelta(hours=5):%Y%m%d %H%M%S};{o:.6f};{h:.6f};{lo:.6f};{c:.6f};0"

    table = _lines(*_rows(bars, row), end="\r\n")
    return _zip(**{"DAT_ASCII_EURUSD_M1_2023.csv": table, "DAT_ASCII_EURUSD_M1_2023.txt": b"Gaps: none\r\n"})


def _dukascopy(kind: str) -> Callable[[pd.DataFrame], bytes]:
    names = {"gmt": "Gmt time", "local": "Local time", "eet": "Time (EET)"}

    def write(bars: pd.DataFrame) -> bytes:
        def row(t: pd.Timestamp, o: float, h: float, lo: float, c: float, v: float) -> str:
            tokyo, athens = t.tz_convert("Asia/Tokyo"), t.tz_convert("Europe/Athens")
            stamp = {
                "gmt": f"{t:%d.%m.%Y %H:%M:%S}.000",
                "local": f"{tokyo:%d.%m.%Y %H:%M:%S}.000 GMT+0900",
                "eet": f"{athens:%Y.%m.%d %H:%M:%S}",
            }[kind]
            return f"{stamp},{_plain(o)},{_plain(h)},{_plain(lo)},{_plain(c)},{_plain(v)}"

        return _lines(f"{names[kind]},Open,High,Low,Close,Volume", *_rows(bars, row))

    return write


def _stooq(header: str, volume: bool = True) -> Callable[[pd.DataFrame], bytes]:
    def write(bars: pd.DataFrame) -> bytes:
        def row(t: pd.Timestamp, o: float, h: float, lo: float, c: float, v: float) -> str:
            return f"{t:%Y-%m-%d},{_plain(o)},{_plain(h)},{_plain(lo)},{_plain(c)}" + (f",{v:.0f}" if volume else "")

        return _lines(header, *_rows(bars, row), end="\r\n")

    return write


def _stooq_bulk(zone: str, period: str) -> Callable[[pd.DataFrame], bytes]:
    def write(bars: pd.DataFrame) -> bytes:
        def row(t: pd.Timestamp, o: float, h: float, lo: float, c: float, v: float) -> str:
            clock = t.tz_convert(zone)
            return f"AAPL.US,{period},{clock:%Y%m%d},{clock:%H%M%S},{_prices(o, h, lo, c)},{v:.0f},0"

        header = "<TICKER>,<PER>,<DATE>,<TIME>,<OPEN>,<HIGH>,<LOW>,<CLOSE>,<VOL>,<OPENINT>"
        return _lines(header, *_rows(bars, row), end="\r\n")

    return write


def _investing(form: str, volume: bool = True, european: bool = False) -> Callable[[pd.DataFrame], bytes]:
    names = '"Date","Price","Open","High","Low","Vol.","Change %"'
    german = '"Datum","Zuletzt","Eröffn.","Hoch","Tief","Vol.","+/- %"'

    def number(value: float) -> str:
        text = f"{value:,.2f}"
        return text.translate(str.maketrans(",.", ".,")) if european else text

    def amount(value: float) -> str:
        for letter, scale in (("M", 10_000), ("K", 10)):
            if value >= 100 * scale and value % scale == 0:
                return f"{number(value / scale / 100)}{letter}"
        return number(value)

    def write(bars: pd.DataFrame) -> bytes:
        def row(t: pd.Timestamp, o: float, h: float, lo: float, c: float, v: float) -> str:
            fields = (
                t.strftime(form),
                number(c),
                number(o),
                number(h),
                number(lo),
                amount(v) if volume else "",
                "0.50%",
            )
            return ",".join(f'"{field}"' for field in fields)

        return "\ufeff".encode() + _lines(german if european else names, *_rows(bars, row, True))

    return write


def _investing_resaved(bars: pd.DataFrame) -> bytes:
    def row(t: pd.Timestamp, o: float, h: float, lo: float, c: float, v: float) -> str:
        prices = ",".join(f'"{value:,.2f}"' if value >= 1000 else f"{value:.2f}" for value in (c, o, h, lo))
        return f"{t:%m/%d/%Y},{prices},,0.50%"

    return _lines("Date,Price,Open,High,Low,Vol.,Change %", *_rows(bars, row, True))


def _nasdaq_index(bars: pd.DataFrame) -> bytes:
    def row(t: pd.Timestamp, o: float, h: float, lo: float, c: float, v: float) -> str:
        return f"{t:%m/%d/%Y},{c:.2f},{o:.2f},{h:.2f},{lo:.2f}"

    return _lines("Date,Close/Last,Open,High,Low", *_rows(bars, row, True))


def _nasdaq(volume: bool) -> Callable[[pd.DataFrame], bytes]:
    def write(bars: pd.DataFrame) -> bytes:
        def row(t: pd.Timestamp, o: float, h: float, lo: float, c: float, v: float) -> str:
            sign, traded = ("$", f"{v:.0f}") if volume else ("", "N/A")
            return f"{t:%m/%d/%Y},{sign}{c:.4f},{traded},{sign}{o:.4f},{sign}{h:.4f},{sign}{lo:.4f}"

        return _lines("Date,Close/Last,Volume,Open,High,Low", *_rows(bars, row, True))

    return write


def _tradingview(kind: str, volume: str = ",Volume,Volume MA") -> Callable[[pd.DataFrame], bytes]:
    def write(bars: pd.DataFrame) -> bytes:
        def row(t: pd.Timestamp, o: float, h: float, lo: float, c: float, v: float) -> str:
            stamp = {"unix": str(_unix(t, "s")), "iso": t.tz_convert(NEW_YORK).isoformat(), "day": f"{t:%Y-%m-%d}"}[
                kind
            ]
            return f"{stamp},{_plain(o)},{_plain(h)},{_plain(lo)},{_plain(c)}" + (f",{v:.0f},NaN" if volume else "")

        return _lines(f"time,open,high,low,close{volume}", *_rows(bars, row))

    return write


def _yahoo_history(bars: pd.DataFrame) -> bytes:
    def row(t: pd.Timestamp, o: float, h: float, lo: float, c: float, v: float) -> str:
        return f"{t.tz_convert(NEW_YORK)},{_plain(o)},{_plain(h)},{_plain(lo)},{_plain(c)},{v:.0f},0.0,0.0"

    return _lines("Datetime,Open,High,Low,Close,Volume,Dividends,Stock Splits", *_rows(bars, row))


def _yahoo_download(bars: pd.DataFrame) -> bytes:
    def row(t: pd.Timestamp, o: float, h: float, lo: float, c: float, v: float) -> str:
        return f"{t:%Y-%m-%d},{_plain(c)},{_plain(h)},{_plain(lo)},{_plain(o)},{v:.0f}"

    header = ("Price,Close,High,Low,Open,Volume", "Ticker,AAPL,AAPL,AAPL,AAPL,AAPL", "Date,,,,,")
    return _lines(*header, *_rows(bars, row))


def _yahoo_website(bars: pd.DataFrame) -> bytes:
    def row(t: pd.Timestamp, o: float, h: float, lo: float, c: float, v: float) -> str:
        return f"{t:%Y-%m-%d},{_prices(o, h, lo, c)},{c / 2:.5f},{v:.0f}"

    holiday = "1999-01-01,null,null,null,null,null,null"
    return _lines("Date,Open,High,Low,Close,Adj Close,Volume", holiday, *_rows(bars, row))


def _alphavantage(zone: str | None, volume: bool = True, adjusted: bool = False) -> Callable[[pd.DataFrame], bytes]:
    def write(bars: pd.DataFrame) -> bytes:
        def row(t: pd.Timestamp, o: float, h: float, lo: float, c: float, v: float) -> str:
            stamp = f"{t.tz_convert(zone):%Y-%m-%d %H:%M:%S}" if zone else f"{t:%Y-%m-%d}"
            middle, end = (f",{c / 2:.4f}", ",0.0000,1.0") if adjusted else ("", "")
            return f"{stamp},{_prices(o, h, lo, c)}{middle}" + (f",{v:.0f}{end}" if volume else "")

        names = ",adjusted_close,volume,dividend_amount,split_coefficient" if adjusted else ",volume" if volume else ""
        return _lines(f"timestamp,open,high,low,close{names}", *_rows(bars, row, True), end="\r\n")

    return write


def _freqtrade_json(bars: pd.DataFrame) -> bytes:
    return json.dumps([[_unix(t, "ms"), *values] for t, *values in bars.itertuples()]).encode()


def _freqtrade_table(kind: str) -> Callable[[pd.DataFrame], bytes]:
    def write(bars: pd.DataFrame) -> bytes:
        frame = bars.set_axis(bars.index.as_unit("ms").rename("date")).reset_index()
        packed = io.BytesIO()
        getattr(frame, f"to_{kind}")(packed)
        return packed.getvalue()

    return write


def _polygon(bars: pd.DataFrame) -> bytes:
    def row(t: pd.Timestamp, o: float, h: float, lo: float, c: float, v: float) -> str:
        stamp = _unix(t, "ns")
        other = f"ZZZ,1,{c},{c},{c},{c},{stamp},1"
        return f"S,{_plain(v)},{_plain(o)},{_plain(c)},{_plain(h)},{_plain(lo)},{stamp},9\n{other}"

    return gzip.compress(_lines("ticker,volume,open,close,high,low,window_start,transactions", *_rows(bars, row)))


def _polygon_answer(bars: pd.DataFrame) -> bytes:
    results = [
        {"v": v, "vw": (h + lo) / 2, "o": o, "c": c, "h": h, "l": lo, "t": _unix(t, "ms"), "n": 9}
        for t, o, h, lo, c, v in bars.itertuples()
    ]
    return json.dumps({"ticker": "S", "adjusted": True, "results": results, "status": "OK", "count": 9}).encode()


def _databento(pretty: bool) -> Callable[[pd.DataFrame], bytes]:
    def price(value: float) -> str:
        return f"{value:.9f}" if pretty else str(round(value * 10**9))

    def write(bars: pd.DataFrame) -> bytes:
        def row(t: pd.Timestamp, o: float, h: float, lo: float, c: float, v: float) -> str:
            stamp = f"{t:%Y-%m-%dT%H:%M:%S}.000000000Z" if pretty else str(_unix(t, "ns"))
            prices = ",".join(price(value) for value in (o, h, lo, c))
            return f"{stamp},34,1,42,{prices},{v:.0f},S\n{stamp},34,1,43,{prices},7,T"

        header = "ts_event,rtype,publisher_id,instrument_id,open,high,low,close,volume,symbol"
        return pa.Codec("zstd").compress(_lines(header, *_rows(bars, row)), asbytes=True)

    return write


def _lean(zone: str, scaled: bool) -> Callable[[pd.DataFrame], bytes]:
    def price(value: float) -> str:
        return str(round(value * 10_000)) if scaled else f"{value:.4f}"

    def write(bars: pd.DataFrame) -> bytes:
        def row(t: pd.Timestamp, o: float, h: float, lo: float, c: float, v: float) -> str:
            prices = ",".join(price(value) for value in (o, h, lo, c))
            return f"{t.tz_convert(zone):%Y%m%d %H:%M},{prices},{v:.0f}"

        return _zip(**{"s.csv": _lines(*_rows(bars, row))})

    return write


def _kraken(bars: pd.DataFrame) -> bytes:
    def row(t: pd.Timestamp, o: float, h: float, lo: float, c: float, v: float) -> str:
        return f"{_unix(t, 's')},{_plain(o)},{_plain(h)},{_plain(lo)},{_plain(c)},{_plain(v)},12"

    return _lines(*_rows(bars, row))


def _cryptodatadownload(unit: str) -> Callable[[pd.DataFrame], bytes]:
    def write(bars: pd.DataFrame) -> bytes:
        def row(t: pd.Timestamp, o: float, h: float, lo: float, c: float, v: float) -> str:
            stamp = f"{t:%Y-%m-%d %I-%p}" if unit == "old" else f"{_unix(t, unit)},{t:%Y-%m-%d %H:%M:%S}"
            return f"{stamp},BTC/USD,{_plain(o)},{_plain(h)},{_plain(lo)},{_plain(c)},{_plain(v)},{v * c:.2f}"

        banner, first = (
            ("Timestamps are UTC timezone,https://www.CryptoDataDownload.com", "date,symbol")
            if unit == "old"
            else ("https://www.CryptoDataDownload.com", "unix,date,symbol")
        )
        return _lines(banner, f"{first},open,high,low,close,Volume BTC,Volume USD", *_rows(bars, row, True))

    return write


def _coinbase_exchange(bars: pd.DataFrame) -> bytes:
    return json.dumps([[_unix(t, "s"), lo, h, o, c, v] for t, o, h, lo, c, v in bars[::-1].itertuples()]).encode()


def _coinbase_advanced(bars: pd.DataFrame) -> bytes:
    candles = [
        {"start": str(_unix(t, "s")), "low": str(lo), "high": str(h), "open": str(o), "close": str(c), "volume": str(v)}
        for t, o, h, lo, c, v in bars[::-1].itertuples()
    ]
    return json.dumps({"candles": candles}).encode()


def _coinbase_csv(bars: pd.DataFrame) -> bytes:
    def row(t: pd.Timestamp, o: float, h: float, lo: float, c: float, v: float) -> str:
        return f"{_unix(t, 's')},{_plain(lo)},{_plain(h)},{_plain(o)},{_plain(c)},{_plain(v)}"

    return _lines("time,low,high,open,close,volume", *_rows(bars, row, True))


def _bitstamp_json(bars: pd.DataFrame) -> bytes:
    ohlc = [
        {
            "close": str(c),
            "high": str(h),
            "low": str(lo),
            "open": str(o),
            "timestamp": str(_unix(t, "s")),
            "volume": str(v),
        }
        for t, o, h, lo, c, v in bars.itertuples()
    ]
    return json.dumps({"data": {"ohlc": ohlc, "pair": "BTC/USD"}}).encode()


def _bitstamp_minutes(bars: pd.DataFrame) -> bytes:
    def row(t: pd.Timestamp, o: float, h: float, lo: float, c: float, v: float) -> str:
        return f"{_unix(t, 's')},{_plain(o)},{_plain(h)},{_plain(lo)},{_plain(c)},{_plain(v)},{v * c},{c}"

    header = "Timestamp,Open,High,Low,Close,Volume_(BTC),Volume_(Currency),Weighted_Price"
    return _lines(header, "1325317920,NaN,NaN,NaN,NaN,NaN,NaN,NaN", *_rows(bars, row))


def _qlib(bars: pd.DataFrame) -> bytes:
    def row(t: pd.Timestamp, o: float, h: float, lo: float, c: float, v: float) -> str:
        return f"SH600519,{t:%Y-%m-%d},{_plain(o)},{_plain(c)},{_plain(h)},{_plain(lo)},{_plain(v)},0.5"

    return _lines("symbol,date,open,close,high,low,volume,factor", "SH600519,1999-01-04,,,,,,", *_rows(bars, row))


_MT = {"timezone": "America/New_York+7h"}
VENDORS = (
    Vendor("alphavantage", "daily.csv", _alphavantage(None), "1d"),
    Vendor("alphavantage", "adjusted.csv", _alphavantage(None, adjusted=True), "1d"),
    Vendor("alphavantage", "intraday.csv", _alphavantage(NEW_YORK), clock=NEW_YORK),
    Vendor("alphavantage", "fx.csv", _alphavantage(None, volume=False), "1d", has_volume=False),
    Vendor("binance_vision", "spot2024.zip", _binance("ms"), volume_decimals=5),
    Vendor("binance_vision", "spot2025.zip", _binance("us"), volume_decimals=5),
    Vendor("binance_vision", "futures.zip", _binance("ms", header=True), volume_decimals=5),
    Vendor("bitstamp", "ohlc.json", _bitstamp_json, volume_decimals=5),
    Vendor("bitstamp", "minutes.csv", _bitstamp_minutes, "1m", volume_decimals=5),
    Vendor("coinbase", "exchange.json", _coinbase_exchange, volume_decimals=5),
    Vendor("coinbase", "advanced.json", _coinbase_advanced, volume_decimals=5),
    Vendor("coinbase", "candles.csv", _coinbase_csv, volume_decimals=5),
    Vendor("cryptodatadownload", "s.csv", _cryptodatadownload("s"), volume_decimals=5),
    Vendor("cryptodatadownload", "ms.csv", _cryptodatadownload("ms"), volume_decimals=5),
    Vendor("cryptodatadownload", "old.csv", _cryptodatadownload("old"), volume_decimals=5),
    Vendor("databento", "raw.csv.zst", _databento(False), "1m"),
    Vendor("databento", "pretty.csv.zst", _databento(True), "1m"),
    Vendor("dukascopy", "gmt.csv", _dukascopy("gmt"), volume_decimals=2),
    Vendor("dukascopy", "local.csv", _dukascopy("local"), volume_decimals=2),
    Vendor("dukascopy", "eet.csv", _dukascopy("eet"), volume_decimals=2, clock="Europe/Athens"),
    Vendor("freqtrade", "BTC_USDT-1h.json", _freqtrade_json, volume_decimals=5),
    Vendor("freqtrade", "BTC_USDT-1h.json.gz", lambda bars: gzip.compress(_freqtrade_json(bars)), volume_decimals=5),
    Vendor("freqtrade", "BTC_USDT-1h.feather", _freqtrade_table("feather"), volume_decimals=5),
    Vendor("freqtrade", "BTC_USDT-1h.parquet", _freqtrade_table("parquet"), volume_decimals=5),
    Vendor("histdata", "ascii.zip", _histdata, "1m", has_volume=False),
    Vendor("histdata", "mt.csv", _meta_trader_4("Etc/GMT+5", pd.Timedelta(0)), "1m"),
    Vendor("investing", "us.csv", _investing("%m/%d/%Y"), "1d", decimals=2),
    Vendor("investing", "old.csv", _investing("%b %d, %Y"), "1d", decimals=2),
    Vendor("investing", "index.csv", _investing("%m/%d/%Y", volume=False), "1d", decimals=2, has_volume=False),
    Vendor("investing", "german.csv", _investing("%d.%m.%Y", european=True), "1d", decimals=2),
    Vendor("investing", "resaved.csv", _investing_resaved, "1d", decimals=2, has_volume=False),
    Vendor("kraken", "XBTUSD_60.csv", _kraken, volume_decimals=5),
    Vendor("lean", "hour.zip", _lean(NEW_YORK, True), decimals=4, clock=NEW_YORK),
    Vendor("lean", "daily.zip", _lean("UTC", True), "1d", decimals=4),
    Vendor("lean", "crypto.zip", _lean("UTC", False), decimals=4),
    Vendor("mt4", "EURUSD60.csv", _meta_trader_4(NEW_YORK, BROKER), options=_MT, clock=NEW_YORK),
    Vendor("mt5", "EURUSD_H1.csv", _mt5, options=_MT, clock=NEW_YORK),
    Vendor("mt5", "EURUSD_Daily.csv", _mt5_daily, "1d"),
    Vendor("nasdaq", "stock.csv", _nasdaq(True), "1d", decimals=4),
    Vendor("nasdaq", "currency.csv", _nasdaq(False), "1d", decimals=4, has_volume=False),
    Vendor("nasdaq", "index.csv", _nasdaq_index, "1d", decimals=2, has_volume=False),
    Vendor("polygon", "2024-03-04.csv.gz", _polygon, "1m", volume_decimals=2),
    Vendor("polygon", "aggs.json", _polygon_answer, "1m", volume_decimals=2),
    Vendor("qlib", "sh600519.csv", _qlib, "1d", volume_decimals=2),
    Vendor("stooq", "aapl_us_d.csv", _stooq("Date,Open,High,Low,Close,Volume"), "1d"),
    Vendor("stooq", "pkn_d.csv", _stooq("Data,Otwarcie,Najwyzszy,Najnizszy,Zamkniecie,Wolumen"), "1d"),
    Vendor("stooq", "eurusd_d.csv", _stooq("Date,Open,High,Low,Close", False), "1d", has_volume=False),
    Vendor("stooq", "aapl.us.txt", _stooq_bulk("UTC", "D"), "1d"),
    Vendor(
        "stooq",
        "h.txt",
        _stooq_bulk("Europe/Warsaw", "60"),
        options={"timezone": "Europe/Warsaw"},
        clock="Europe/Warsaw",
    ),
    Vendor("tradingview", "unix.csv", _tradingview("unix")),
    Vendor("tradingview", "iso.csv", _tradingview("iso")),
    Vendor("tradingview", "lower.csv", _tradingview("unix", ",volume,x")),
    Vendor("tradingview", "index.csv", _tradingview("day", ""), "1d", has_volume=False),
    Vendor("yahoo", "history.csv", _yahoo_history),
    Vendor("yahoo", "download.csv", _yahoo_download, "1d"),
    Vendor("yahoo", "website.csv", _yahoo_website, "1d"),
)
