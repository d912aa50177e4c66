"""The formats of vendors as plain data: what a file of each begins with, and the options that it fills.

How a layout is recognised and filled in is layouts.py. What is special in each format, and who says so, is
docs/markets/formats.md.
"""

from __future__ import annotations

from collections.abc import Mapping

from quantum_training.sources.tables.layout import Format, Layout, at, named

_NUMBER = r"[\d.eE+-]+"
_BROKER = (
    "the file has the clock of the broker's server. Set source.timezone: mostly America/New_York+7h, if the week "
    "begins on Monday 00:00"
)
_META_STAMPS = {"date_column": "0", "time_column": "1", "datetime_format": "%Y.%m.%d %H:%M", "header": False}
_META_ROW = r"\A\d{4}\.\d\d\.\d\d,\d\d:\d\d,"
_META_BRACKETS = {"open": "<OPEN>", "high": "<HIGH>", "low": "<LOW>", "close": "<CLOSE>"}
_WITHOUT_HEADER = {"header": False}
_NEWEST_FIRST = {"descending": True, "sort": True}
_NO_VOLUME = {"volume": "none"}
_TICKER = {"rows_where": {"ticker": "{symbol}"}}
_CLOSED_BAR = {"drop_empty": True}
_FIELD = r'("[^"\n]*"|[^",\n]*)'
_INVESTING = rf'\A{_FIELD}(,{_FIELD}){{4,5}},"?[^",\n]*%[^",\n]*"?\n'
_INVESTING_DATES = {  # how a day is written: its form, and what of the file's start shows it
    "%d/%m/%Y": r'(?=(.*\n)*"?(1[3-9]|2\d|3[01])/)',
    "%m/%d/%Y": r'(?="?\d{1,2}/\d{1,2}/\d{4})',
    "%d-%m-%Y": r'(?="?\d\d-\d\d-\d{4})',
    "%d.%m.%Y": r'(?="?\d\d\.\d\d\.\d{4})',
    "%b %d, %Y": r'(?="[A-Z][a-z]{2} \d\d, \d{4}")',
    None: r'(?="?\d{4}-\d\d-\d\d)',
}
_CHART_STAMP = r"(\d{9,10},|\d{4}-\d\d-\d\d(T[^,]+(Z|[+-]\d\d:\d\d))?,)"
_LEAN_BAR = rf"\d{{8}} \d\d:\d\d(,{_NUMBER}){{5}}\n"

NO_CANDLES = "it holds {}, not candles. Name the files of candles in path; a usual funding rate is costs.funding_bps"
PRESETS: Mapping[Format, tuple[Layout, ...]] = {
    "alphavantage": tuple(
        Layout(rf"\Atimestamp,open,high,low,close{volume}\b.*\n{stamp}", columns, {**_NEWEST_FIRST, **filled, **zone})
        for volume, columns, filled in (
            (r"(,adjusted.close)?,volume", named("timestamp"), {}),
            ("", named("timestamp", ""), _NO_VOLUME),
        )
        for stamp, zone in ((r"\d{4}-\d\d-\d\d \d\d:", {"timezone": "America/New_York"}), (r"\d{4}-\d\d-\d\d,", {}))
    ),
    "binance_vision": (
        Layout(r"\Aopen_time,open,high,low,close,volume,close_time,", named("open_time")),
        Layout(rf"\A\d{{13,16}}(,{_NUMBER}){{5}},\d{{13,16}},", at(0, 1, 2, 3, 4, 5), _WITHOUT_HEADER),
        Layout(r"\Acalc_time,funding_interval_hours,", {}, refusal=NO_CANDLES.format("funding rates")),
    ),
    "bitstamp": (
        Layout(r"\Atimestamp,open,high,low,close,volume_\(", at(0, 1, 2, 3, 4, 5), _CLOSED_BAR),
        Layout(r"\A(?=.*\btimestamp\b)(?=.*\bopen\b)(?=.*\bvolume\b)", named("timestamp"), _CLOSED_BAR),
    ),
    "coinbase": (
        Layout(r"\A0,1,2,3,4,5\n", at(0, 3, 2, 1, 4, 5), _NEWEST_FIRST),
        Layout(r"\A,?time,low,high,open,close,volume\b", named("time"), _NEWEST_FIRST),
        Layout(r"\A(?=.*\bstart\b)(?=.*\bopen\b)(?=.*\bvolume\b)", named("start"), _NEWEST_FIRST),
    ),
    "cryptodatadownload": tuple(
        Layout(
            rf"\A{banner}{header},open,high,low,close,volume.*\n",
            columns,
            {**_NEWEST_FIRST, "skip_rows": skip, **stamps},
        )
        for banner, skip in ((r".*cryptodatadownload.*\n", 1), ("", 0))
        for header, columns, stamps in (
            (r"unix( timestamp)?,date,symbol", at(0, 3, 4, 5, 6, 7), {}),
            (
                r"date,symbol(?=.*\n\d{4}-\d\d-\d\d \d\d-[AP]M)",
                at(0, 2, 3, 4, 5, 6),
                {"datetime_format": "%Y-%m-%d %I-%p"},
            ),
            (r"date,symbol", at(0, 2, 3, 4, 5, 6), {}),
        )
    ),
    "databento": tuple(
        Layout(
            rf"\Ats_event,rtype,.*,close,volume{symbol}\n[^,]+,\d+,\d+,\d+,{price},", named("ts_event"), filled | scale
        )
        for symbol, filled in ((r",symbol", {"rows_where": {"symbol": "{symbol}"}}), ("", {}))
        for price, scale in ((r"\d+\.\d*", {}), (r"\d+", {"price_divisor": 1e9}))
    ),
    "dukascopy": (
        Layout(
            r"\AGmt time,.*\n\d\d\.\d\d\.\d{4} [\d:]+\.",
            named("Gmt time"),
            {"datetime_format": "%d.%m.%Y %H:%M:%S.%f"},
        ),
        Layout(r"\AGmt time,.*\n\d\d\.\d\d\.\d{4} ", named("Gmt time"), {"datetime_format": "%d.%m.%Y %H:%M:%S"}),
        Layout(r"\AGmt time,.*\n\d{4}-", named("Gmt time")),
        Layout(r"\ALocal time,", named("Local time"), {"datetime_format": "%d.%m.%Y %H:%M:%S.%f GMT%z"}),
        *(
            Layout(
                rf"\ATime \({name}\),",
                named(f"Time ({name})"),
                {"datetime_format": "%Y.%m.%d %H:%M:%S", "timezone": zone},
            )
            for name, zone in (("EET", "Europe/Athens"), ("UTC", "UTC"), ("GMT", "UTC"))
        ),
    ),
    "freqtrade": (
        Layout(r"\A0,1,2,3,4,5\n", at(0, 1, 2, 3, 4, 5)),
        Layout(r"\A(?=.*\bdate\b)(?=.*\bopen\b).*\n\Z", named("date")),
    ),
    "histdata": (
        Layout(
            r"\A\d{8} \d{6};",
            at(0, 1, 2, 3, 4, 5),
            {"header": False, "datetime_format": "%Y%m%d %H%M%S", "timezone": "Etc/GMT+5"},
        ),
        Layout(_META_ROW, at(0, 2, 3, 4, 5, 6), {**_META_STAMPS, "timezone": "Etc/GMT+5"}),
    ),
    "investing": tuple(
        Layout(
            f"{_INVESTING}{shown}{rows}",
            at(0, 2, 3, 4, 1, *volume),
            {**_NEWEST_FIRST, "datetime_format": form, "separator": ",", **filled},
        )
        for form, shown in _INVESTING_DATES.items()
        for rows, volume, filled in (
            (rf'(({_FIELD},){{5}}("?-?"?,)?{_FIELD}\n)+\Z', (), _NO_VOLUME),
            ("", (5,), {}),
        )
    ),
    "kraken": (Layout(rf"\A\d{{9,10}}(,{_NUMBER}){{5}},\d+\n", at(0, 1, 2, 3, 4, 5), _WITHOUT_HEADER),),
    "lean": (
        Layout(
            r"\A(\d{8} 00:00(,\d+){5}\n)+\Z",
            at(0, 1, 2, 3, 4, 5),
            {"header": False, "datetime_format": "%Y%m%d %H:%M", "price_divisor": 10_000.0},
        ),
        Layout(
            r"\A(\d{8} \d\d:\d\d(,\d+){5}\n)+\Z",
            at(0, 1, 2, 3, 4, 5),
            {
                "header": False,
                "datetime_format": "%Y%m%d %H:%M",
                "price_divisor": 10_000.0,
                "timezone": "America/New_York",
            },
        ),
        Layout(rf"\A{_LEAN_BAR}", at(0, 1, 2, 3, 4, 5), {"header": False, "datetime_format": "%Y%m%d %H:%M"}),
        Layout(
            r"\A\d{1,8},",
            {},
            refusal="minute files of LEAN hold milliseconds since midnight, and their date stands in the names only. "
            "Give its hour or daily files",
        ),
        Layout(
            r"\A\d{8} \d\d:\d\d,.*,.*,.*,.*,.*,.*\n",
            {},
            refusal="quote files of LEAN hold bid and ask and no volume. Leave source.format out and name the columns",
        ),
    ),
    "mt4": (Layout(_META_ROW, at(0, 2, 3, 4, 5, 6), _META_STAMPS, clock=_BROKER),),
    "mt5": (
        Layout(
            r"\A<DATE>\t<TIME>\t",
            {**_META_BRACKETS, "volume": "<TICKVOL>"},
            {"date_column": "<DATE>", "time_column": "<TIME>", "datetime_format": "%Y.%m.%d %H:%M:%S"},
            clock=_BROKER,
        ),
        Layout(
            r"\A<DATE>\t<OPEN>",
            {"open_time": "<DATE>", **_META_BRACKETS, "volume": "<TICKVOL>"},
            {"datetime_format": "%Y.%m.%d"},
        ),
    ),
    "nasdaq": tuple(
        Layout(
            rf"\ADate, ?Close/Last, ?{header}Open, ?High, ?Low\n{rows}",
            named("Date", volume, "Close/Last"),
            {**_NEWEST_FIRST, "datetime_format": "%m/%d/%Y", **filled},
        )
        for header, rows, volume, filled in (
            ("Volume, ?", r"([\d/]+,[^,\n]*, ?(N/A|--)?(,[^,\n]*){3}\n)+\Z", "", _NO_VOLUME),
            ("Volume, ?", "", "Volume", {}),
            ("", "", "", _NO_VOLUME),
        )
    ),
    "polygon": (
        Layout(r"\A(?=.*\bwindow_start\b)(?=.*\bvolume\b)ticker,", named("window_start"), _TICKER),
        Layout(r"\A(?=.*\bwindow_start\b)ticker,", named("window_start", ""), {**_TICKER, **_NO_VOLUME}),
        Layout(
            r"\A(?=.*\bvw\b)(?=.*\bt\b)",
            {"open_time": "t", "open": "o", "high": "h", "low": "l", "close": "c", "volume": "v"},
        ),
    ),
    "qlib": (
        Layout(
            r"\A(?=.*\bdate\b)(?=.*\bopen\b)(?=.*\bvolume\b)",
            named("date"),
            _CLOSED_BAR,
            clock="the file has the exchange's clock. Set source.timezone, as Asia/Shanghai",
        ),
    ),
    "stooq": (
        Layout(
            r"\A<TICKER>,<PER>,<DATE>,<TIME>,",
            {**_META_BRACKETS, "volume": "<VOL>"},
            {"date_column": "<DATE>", "time_column": "<TIME>", "datetime_format": "%Y%m%d %H%M%S"},
            clock="the file does not name its clock. Set source.timezone to the one in which its sessions open on time",
        ),
        *(
            Layout(rf"\A{day},{prices}{more}", at(0, 1, 2, 3, 4, *volume), filled)
            for day, prices in (("Date", "Open,High,Low,Close"), ("Data", "Otwarcie,Najwyzszy,Najnizszy,Zamkniecie"))
            for more, volume, filled in ((r",(Volume|Wolumen)\n", (5,), {}), (r"\n", (), _NO_VOLUME))
        ),
    ),
    "tradingview": (
        Layout(rf'\Atime,open,high,low,close\b.*,"?volume"?(,.*)?\n{_CHART_STAMP}', named("time")),
        Layout(rf"\Atime,open,high,low,close\b.*\n{_CHART_STAMP}", named("time", ""), _NO_VOLUME),
    ),
    "yahoo": (
        Layout(
            r"\APrice(,(Adj Close|Close|High|Low|Open|Volume)){5,6}\nTicker,.*\nDate", named("Price"), _CLOSED_BAR, 2
        ),
        Layout(
            r"\A(?=.*\bDatetime\b)(?=.*\bOpen\b).*\n[\d-]{10} [\d:]+,",
            named("Datetime"),
            _CLOSED_BAR,
            clock="the stamps have lost their zone. Set source.timezone to the one in which sessions open on time",
        ),
        Layout(r"\A(?=.*\bDatetime\b)(?=.*\bOpen\b)", named("Datetime"), _CLOSED_BAR),
        Layout(r"\A(?=.*\bDate\b)(?=.*\bOpen\b)", named("Date"), _CLOSED_BAR),
    ),
}
"""The forms of each format, the most special one first."""
