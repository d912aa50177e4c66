"""How often the quality gate is right: real months that it refuses, and planted defects that it lets pass.

    python -m quantum_training_tests.benchmarks.quality_gate [result.json [before.json]]

Prints Markdown tables and writes the numbers as JSON; with the JSON of another run, both stand side by side. For the
numbers of another commit, run this file with PYTHONPATH set to a worktree of that commit. Needs the real candles
(QT_CANDLES_DIR, else ../shared/candles). Takes some 6 minutes on one core.

Every second symbol is called `held out`, but its results were seen while limits were chosen. A month counts as
refused if the gate finds an error in it. A planted defect counts as caught if there is an error in its month or in
the next one, which sees a defect of the last bars only from the other side. Moving nights are the 3 % with the
largest gaps (at a market without closing hours: moves), where a split hides best.
"""

import json
import os
import sys
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from quantum_training.market.periods import MarketPeriod
from quantum_training.market.quality import QualityLimits, assess
from quantum_training.market.schema import PRICES, as_candles
from quantum_training.market.timeframe import to_timedelta

CANDLES = Path(os.environ.get("QT_CANDLES_DIR") or Path(__file__).parents[3] / "shared" / "candles")
TRIALS = {"1h": 16, "1d": 4}  # of each defect at each symbol: five symbols by the hour, 34 by the day
RATIOS = (1.1, 1.2, 1.25, 4 / 3, 1.5, 2, 3, 4, 5, 8, 10, 20)
LOTS = (10, 50, 100, 1_000, 1_000_000)
Change = Callable[[pd.DataFrame, int], pd.DataFrame]


class Series(NamedTuple):
    """A real recording whose months are true, as far as anybody knows."""

    name: str
    market: str
    timeframe: str
    calendar: str
    candles: pd.DataFrame


def recordings() -> list[Series]:
    """Crypto by the hour from three venues, US stocks and indices by the day."""
    crypto = {
        name: pd.read_feather(CANDLES / "crypto_1h" / f"{name}_USDT-1h.feather").set_index("date")
        for name in ("BTC", "ETH", "SOL")
    }
    bitstamp = pd.read_csv(CANDLES / "dirty" / "BTC_USD-Hourly.csv.gz", parse_dates=["date"], index_col="date")[::-1]
    crypto["BTC Bitstamp"] = bitstamp["2020-10-13":]  # before, its volume is in dollars for a time
    frame = pd.read_csv(CANDLES / "dirty" / "Coinbase_BTCUSD_1h.csv.gz", header=1).drop(columns="volume")
    frame.index = pd.to_datetime(frame.pop("date"), format="%Y-%m-%d %I-%p")
    coinbase = frame.rename(columns={"volume_btc": "volume"}).sort_index()
    crypto["BTC Coinbase"] = coinbase["2018-09":]  # before, an outage is filled and hours stand twice
    daily = {}
    for name in ("AAPL", "MSFT", "QQQ", "TQQQ"):
        daily[name] = pd.read_csv(CANDLES / "equity_1d" / f"{name}.csv.gz", index_col=0, parse_dates=True)["1990":]
    dow = pd.read_csv(CANDLES / "dow30" / "dow30_yahoo_2009_2020.csv.gz", parse_dates=["Date"], index_col="Date")
    daily |= {str(name): rows for name, rows in dow.groupby("tic") if name not in daily}
    from arch.data import nasdaq, sp500

    daily |= {"S&P 500": sp500.load(), "NASDAQ": nasdaq.load()}
    return [Series(n, "crypto 1h", "1h", "24/7", as_candles(f)) for n, f in crypto.items()] + [
        Series(n, "US stocks 1d", "1d", "XNYS", as_candles(f.rename(columns=str.lower))) for n, f in daily.items()
    ]


def lean_daily() -> Series:
    """AAPL as it was traded, not adjusted: four real splits."""
    names = ["time", *PRICES, "volume"]
    path = CANDLES / "dirty" / "lean_aapl_1h_unadjusted.zip"
    frame = pd.read_csv(path, header=None, names=names, dtype={"time": str})
    frame.index = pd.to_datetime(frame.pop("time"), format="%Y%m%d %H:%M")
    rules = {"open": "first", "high": "max", "low": "min", "close": "last", "volume": "sum"}
    return Series("AAPL raw", "US stocks 1d", "1d", "XNYS", as_candles(frame.resample("1D").agg(rules).dropna()))


def months(series: Series, first: pd.Timestamp | None = None, count: int = 10_000) -> Iterator[tuple[str, list[str]]]:
    """Rules broken in each month, judged as its own partition with the 200 bars before it."""
    candles = series.candles
    until = candles.index[-1] + to_timedelta(series.timeframe)
    start = (first or candles.index[0]).normalize().replace(day=1)
    for begin in pd.date_range(start, candles.index[-1], freq="MS")[:count]:
        end = min(begin + pd.offsets.MonthBegin(1), until)
        a, b = (int(candles.index.searchsorted(t)) for t in (begin, end))
        period = MarketPeriod(series.name, series.timeframe, series.calendar, begin, end)
        before = candles.iloc[max(0, a - 200) : a]
        defects = assess(candles.iloc[a:b], period, before if len(before) else None, QualityLimits())
        yield f"{begin:%Y-%m}", [d.rule for d in defects if d.severity == "error"]


def scaled(columns: list[str], factor: float, bars: int | None = None) -> Change:
    """Columns of some bars, or of all that follow, times a factor."""

    def change(frame: pd.DataFrame, at: int) -> pd.DataFrame:
        rows = frame.index[at : None if bars is None else at + bars]
        frame.loc[rows, columns] = frame.loc[rows, columns] * factor
        return frame

    return change


def split(ratio: float, with_volume: bool) -> Change:
    """Prices from a bar on divided by the ratio; volume multiplied by it, as where a split is real."""

    def change(frame: pd.DataFrame, at: int) -> pd.DataFrame:
        frame = scaled(list(PRICES), 1 / ratio)(frame, at)
        return scaled(["volume"], ratio)(frame, at) if with_volume else frame

    return change


def by_price(power: int) -> Change:
    """Volume from base to quote currency, or back."""

    def change(frame: pd.DataFrame, at: int) -> pd.DataFrame:
        frame.iloc[at:, 4] *= frame["close"].iloc[at:] ** power
        return frame

    return change


def missing(bars: int) -> Change:
    return lambda frame, at: frame.drop(frame.index[at : at + bars])


def swapped(frame: pd.DataFrame, at: int) -> pd.DataFrame:
    frame.iloc[at:, [0, 3]] = frame.iloc[at:, [3, 0]].to_numpy()
    return frame


def repeated(bars: int, columns: list[str]) -> Change:
    def change(frame: pd.DataFrame, at: int) -> pd.DataFrame:
        frame.loc[frame.index[at + 1 : at + bars], columns] = frame[columns].to_numpy()[at]
        return frame

    return change


def filled(bars: int) -> Change:
    """No bars, but the close before them again and again, with volume 0."""

    def change(frame: pd.DataFrame, at: int) -> pd.DataFrame:
        frame.iloc[at : at + bars] = [*[frame["close"].iloc[at - 1]] * 4, 0.0]
        return frame

    return change


def copied(bars: int) -> Change:
    """A stretch stands there a second time, in place of the bars that follow it."""

    def change(frame: pd.DataFrame, at: int) -> pd.DataFrame:
        source = frame.iloc[max(0, at - bars) : at].to_numpy()
        frame.iloc[at : at + len(source)] = source[: len(frame) - at]
        return frame

    return change


def shifted(offset: str, bars: int | None = None) -> Change:
    def change(frame: pd.DataFrame, at: int) -> pd.DataFrame:
        until = len(frame) if bars is None else at + bars
        stamps = frame.index.to_series()
        stamps.iloc[at:until] += pd.Timedelta(offset)
        return frame.set_axis(pd.DatetimeIndex(stamps, name="open_time"))

    return change


def defects(series: Series) -> dict[str, list[Change]]:
    """The kinds of defects, each with its variants."""
    prices, hourly = list(PRICES), series.timeframe == "1h"
    kinds: dict[str, list[Change]] = {}
    for r in RATIOS:
        kinds[f"split {r:.3g}"] = [split(x, v) for x in (r, 1 / r) for v in (False, True)]
    kinds["unit: price"] = [by_price(1), by_price(-1)]
    for lot in LOTS:
        kinds[f"unit: {lot}"] = [scaled(["volume"], lot), scaled(["volume"], 1 / lot)]
    kinds["price x100"] = [scaled(prices, 100, n) for n in (1, 3)] + [scaled(prices, 0.01, 1)]
    kinds["close x100"] = [scaled(["high", "close"], 100, 1), scaled(["low", "close"], 0.01, 1)]
    for factor in (2, 10, 100):
        kinds[f"wick x{factor}"] = [scaled(["high"], factor, 1), scaled(["low"], 1 / factor, 1)]
    kinds["open and close swapped for good"] = [swapped]
    kinds["mixed adjustment"] = [scaled(["close"], f) for f in (0.85, 0.95)] + [scaled(prices[:3], 0.95)]
    kinds["stuck bar"] = [repeated(n, [*prices, "volume"]) for n in (6, 12)]
    kinds["stuck prices"] = [repeated(n, prices) for n in (6, 12)]
    kinds["copied stretch"] = [copied(n) for n in ((6, 24) if hourly else (5, 10))]
    kinds["filled outage"] = [filled(n) for n in ((13, 24, 48) if hourly else (6, 10))]
    kinds["missing stretch"] = [missing(n) for n in ((13, 24, 33, 48) if hourly else (1, 3, 10))]
    kinds["shifted"] = [shifted(s) for s in (("-1h", "30min") if hourly else ("5h", "1D"))]
    if hourly:
        kinds["shifted by +1 h for good"] = [shifted("1h")]
    kinds["shifted for a day"] = [shifted(s, 24) for s in ("1h", "-1h")] if hourly else [shifted("-5h", 5)]
    return kinds


def planted(series: Series) -> dict[str, list[int]]:
    """Of each kind, how many were caught and tried. Splits also on moving nights."""
    candles = series.candles.dropna()
    price = candles["close" if series.calendar == "24/7" else "open"]
    move = np.abs(np.log((price / candles["close"].shift()).to_numpy()))
    first = max(candles.index[0] + pd.DateOffset(months=2), candles.index[-1] - pd.DateOffset(years=12))
    allowed = (candles.index > first) & (candles.index < candles.index[-1] - pd.DateOffset(months=2))
    moving = allowed & (move > np.nanquantile(move, 0.97))
    nights = {"": allowed & ~moving, ", moving night": moving}
    rng = np.random.default_rng(zlib.crc32(series.name.encode()))
    counts: dict[str, list[int]] = {}
    for kind, variants in defects(series).items():
        for night, where in nights.items():
            if night and not kind.startswith("split"):
                continue
            count = counts.setdefault(kind + night, [0, 0])
            for trial, at in enumerate(rng.choice(np.flatnonzero(where), TRIALS[series.timeframe])):
                bar = candles.index[at]
                if kind == "unit: price" and 0.1 < candles["close"].iloc[at] < 10:
                    continue  # volumes in shares and in dollars are nearly the same
                begin = bar.normalize().replace(day=1)
                near = candles[begin - pd.DateOffset(months=2 if series.timeframe == "1h" else 13) :]
                near = near[: begin + pd.DateOffset(months=2) - pd.Timedelta(1, "ns")]
                broken = variants[trial % len(variants)](near.copy(), int(near.index.searchsorted(bar)))
                judged = months(series._replace(candles=broken), begin, 2)
                count[0] += any(rules for _, rules in judged)
                count[1] += 1
    return counts


def measure() -> dict[str, dict[str, str]]:
    """Everything that is printed: table, row, value."""
    tables: dict[str, dict[str, str]] = {"refused although true": {}, "caught": {}, "speed": {}}
    refused: dict[str, Counter[str]] = {}
    caught: dict[str, Counter[str]] = {}
    judged, total, bars, seconds = Counter[str](), Counter[str](), 0, 0.0
    for i, series in enumerate(recordings()):
        group = f"{series.market}, {'held out' if i % 2 else 'tuned'}"
        started = time.process_time()
        broken = list(months(series))
        seconds += time.process_time() - started
        bars += len(series.candles)
        judged[group] += len(broken)
        rules = refused.setdefault(group, Counter())
        for month, names in broken:
            rules.update({"any": bool(names), **dict.fromkeys(names, 1)})
            if names:
                print(series.name, month, names, file=sys.stderr)
        for kind, (hits, tries) in planted(series).items():
            for key in (f"{kind} | {series.market}", f"all | {group}"):
                caught.setdefault(key, Counter())["hits"] += hits
                total[key] += tries
    for group, rules in refused.items():
        for rule, n in rules.most_common():
            tables["refused although true"][f"{group} | {rule}"] = f"{n} of {judged[group]} ({n / judged[group]:.2%})"
    for key in sorted(total, key=lambda k: (k.rpartition("| ")[2], not k.startswith("all"))):
        hits = caught[key]["hits"]
        tables["caught"][key] = f"{hits} of {total[key]} ({hits / total[key]:.1%})"
    real = {m for m, rules in months(lean_daily()) if "split_like_jump" in rules}
    tables["caught"]["real splits | AAPL raw"] = f"{len(real & {'2000-06', '2005-02', '2014-06', '2020-08'})} of 4"
    tables["refused although true"]["AAPL raw | split_like_jump"] = str(
        len(real) - len(real & {"2000-06", "2005-02", "2014-06", "2020-08"})
    )
    tables["speed"]["bars a second | all"] = f"{bars / seconds:,.0f}"
    return tables


def main(result: str | None = None, before: str | None = None) -> None:
    """Measure, print, write."""
    tables = measure()
    earlier = json.loads(Path(before).read_text()) if before else {}
    for title, rows in tables.items():
        old = earlier.get(title, {})
        table = pd.DataFrame(
            [
                {
                    title: k.split(" | ")[0],
                    "of": k.split(" | ")[1],
                    **({"before": old.get(k, "0")} if before else {}),
                    "after" if before else "": rows.get(k, "0"),
                }
                for k in {**rows, **old}
            ]
        )
        print(table.to_markdown(index=False, disable_numparse=True), end="\n\n")
    if result:
        Path(result).write_text(json.dumps(tables, indent=1))


if __name__ == "__main__":
    main(*sys.argv[1:3])
