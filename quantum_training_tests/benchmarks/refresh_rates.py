"""How often the refresh gate is right: simulated versions, and the boosters refitted weekly on real markets.

    python -m quantum_training_tests.benchmarks.refresh_rates [worlds] [folder]

Prints two Markdown tables, and writes them as refresh_rates.md into the folder. 2,000 worlds take some minutes on 2
cores. BTC and AAPL need the real candles (QT_CANDLES_DIR, else ../shared/candles) and are left out without them.

A world is 26 weeks of six bars a day, at the default costs. The market has Student's t shocks with 5 degrees of freedom
and one GARCH(1,1) volatility of 1 % a bar. A version redraws its position once a day on average: of five steps from 0
to 1, or long or short; the newer one keeps the older one's for a share of the bars that gives the daily returns of the
two their correlation. Both earn the same: a daily Sharpe ratio of 0.13, as the older versions on BTC below.

On real data a new version is fitted each week and judged as the weekly cycle does it, against the newest one that was
accepted. The columns after `sound` are other positions put in the place of each new version, without an effect on what
follows. `longest stay`: refused versions in a row.
"""

import os
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.stats import binomtest

from quantum_training.features.indicators import FEATURES, compute_features
from quantum_training.features.labels import make_labels
from quantum_training.features.windows import WindowSize, build_window
from quantum_training.market.schema import as_candles
from quantum_training.market.timeframe import known_at
from quantum_training.models.contract import TrainingContext, algorithm
from quantum_training.selection.refresh import Refresh, RefreshComparison, RefreshPolicy, judge_refresh
from quantum_training.settings.schema import Recipe
from quantum_training.trading.account import Account
from quantum_training.trading.costs import Costs

CANDLES = Path(os.environ.get("QT_CANDLES_DIR") or Path(__file__).parents[3] / "shared" / "candles")
POLICY, COSTS = RefreshPolicy(), Costs()
PER_DAY, VOLATILITY, SHARPE, CHUNK, REFITS = 6, 0.01, 0.13, 50, 80
PRICES = ("open", "high", "low", "close", "volume")


class Case(NamedTuple):
    """Two versions of one recipe. broken: a name of BROKEN for the candidate; "" for sound."""

    name: str
    goal: str
    correlation: float
    broken: str = ""
    short: bool = False
    days: tuple[int, ...] = (0, 1, 2, 3, 4, 5, 6)


WORKDAYS = (0, 1, 2, 3, 4)
CASES = [
    Case("equal skill, correlation .95", "at most 5 %", 0.95),
    Case("equal skill, correlation .8", "at most 5 %", 0.8),
    Case("equal skill, correlation .8, five days a week", "at most 5 %", 0.8, days=WORKDAYS),
    Case("equal skill, correlation .5, long and short", "", 0.5, short=True),
    Case("inverted", "at least 95 %", 0.8, "inverted"),
    Case("random positions", "at least 95 %", 0.8, "random"),
    Case("coin toss", "at least 95 %", 0.8, "tossed"),
    Case("sells and buys back every other bar", "at least 95 %", 0.8, "mad"),
]
Draw = Callable[[np.ndarray, np.random.Generator, bool], np.ndarray]
BROKEN: dict[str, Draw] = {
    "inverted": lambda p, rng, short: -p if short else 1 - p,
    "random": lambda p, rng, short: rng.integers(0, 5, len(p)) / (2 if short else 4) - (1 if short else 0),
    "tossed": lambda p, rng, short: np.where(rng.random(len(p)) < 0.5, 1.0, -1.0 if short else 0.0),
    "mad": lambda p, rng, short: np.where(np.arange(len(p)) % 2, 0.0, p),
    "its own positions at other times": lambda p, rng, short: np.roll(p, rng.integers(len(p) // 8, 7 * len(p) // 8)),
}


def positions(rng: np.random.Generator, bars: int, case: Case) -> tuple[np.ndarray, np.ndarray]:
    """Positions of incumbent and candidate. They change once a day on average and differ on days that are redrawn."""

    def draw() -> np.ndarray:
        levels = rng.choice([-1.0, 1.0], bars) if case.short else rng.integers(0, 5, bars) / 4
        last_change = np.maximum.accumulate(np.where(rng.random(bars) < 1 / PER_DAY, np.arange(bars), 0))
        return levels[last_change]

    incumbent, redrawn = draw(), draw()
    alone = 0.0 if case.short else 2 / 3  # correlation of the returns of independent positions: E[p]^2 / E[p^2]
    day = np.repeat(rng.random(bars // PER_DAY + 1) < (1 - case.correlation) / (1 - alone), PER_DAY)[:bars]
    return incumbent, np.where(day, redrawn, incumbent)


def world(rng: np.random.Generator, case: Case) -> Refresh:
    """One judgement."""
    index = pd.date_range("2024-01-01", periods=26 * 7 * PER_DAY + 1, freq="4h", tz="UTC")
    index = index[index.weekday.isin(case.days)]
    bars = len(index)
    incumbent, candidate = positions(rng, bars, case)
    shock, variance, path = rng.standard_t(5, bars) / np.sqrt(5 / 3), 1.0, np.empty(bars)
    for t in range(bars):
        path[t] = np.sqrt(variance)
        variance = 0.01 + 0.05 * variance * shock[t] ** 2 + 0.94 * variance
    skilled = (incumbent + candidate) / 2
    skilled = skilled - skilled.mean()
    noise = path * shock - (path * shock).mean()
    edge = (incumbent * skilled).mean()
    drift = SHARPE / np.sqrt(PER_DAY) * np.sqrt((incumbent**2).mean()) / edge
    moves = VOLATILITY * (noise + drift * skilled)
    close = 100 * np.cumprod(1 + np.clip(moves, -0.3, 0.3))
    opened = np.r_[100.0, close[:-1]]
    high, low = np.maximum(opened, close), np.minimum(opened, close)
    candles = pd.DataFrame({"open": opened, "high": high, "low": low, "close": close, "volume": 1.0}, index)
    if case.broken:
        candidate = BROKEN[case.broken](candidate, rng, case.short)
    sides = (pd.Series(p, index) for p in (incumbent, candidate))
    account = Account(allow_short=case.short)
    return judge_refresh(POLICY, RefreshComparison(candles, index[1], *sides, (index[0], index[-1])), COSTS, account)


def chunk(task: tuple[Case, int, int]) -> list[bool]:
    """Refused or not, of one chunk of worlds."""
    case, seed, worlds = task
    rng = np.random.default_rng([seed, CASES.index(case)])
    return [not world(rng, case).accepted for _ in range(worlds)]


def simulated(worlds: int) -> pd.DataFrame:
    """The table of the simulated cases."""
    rows = []
    with ProcessPoolExecutor(2) as pool:
        for case in CASES:
            tasks = [(case, seed, min(CHUNK, worlds - seed * CHUNK)) for seed in range(-(-worlds // CHUNK))]
            refusals = [refused for part in pool.map(chunk, tasks) for refused in part]
            rows.append(
                {"truth": case.name, "refused": rate(refusals), "worlds": str(len(refusals)), "goal": case.goal}
            )
            print(rows[-1], file=sys.stderr, flush=True)
    return pd.DataFrame(rows)


def rate(outcomes: list[bool]) -> str:
    """Share of True with its exact 95 % interval."""
    low, high = binomtest(sum(outcomes), len(outcomes)).proportion_ci(0.95, "exact")
    return f"{np.mean(outcomes):.1%} [{low:.1%}, {high:.1%}]"


class Market(NamedTuple):
    """Real candles with the recipes of default.yaml, or for hourly bars of weekly_cycle.py."""

    name: str
    candles: pd.DataFrame
    timeframe: str
    costs: Costs
    window_bars: int
    recipes: dict[str, dict]


def markets() -> list[Market]:
    """S&P 500 and NASDAQ from the arch package; AAPL and BTC if their candles are there."""
    from arch.data import nasdaq, sp500

    params = {"max_depth": 3, "learning_rate": 0.05, "subsample": 0.8, "colsample_bytree": 0.8, "max_rounds": 300}
    barrier = {"kind": "triple_barrier", "horizon": 10, "take_profit": 1.0, "stop_loss": 1.0, "volatility_bars": 20}
    leaves = {"num_leaves": 7, "learning_rate": 0.05, "min_data_in_leaf": 20, "max_rounds": 300}
    daily = {
        "xgboost": {"label": {"kind": "forward_return", "horizon": 5}, "params": params},
        "lightgbm": {"label": barrier, "params": leaves},
    }
    ahead = {"kind": "forward_return", "horizon": 24}
    hourly = {
        "xgboost": {"label": ahead, "params": {"max_depth": 6, "learning_rate": 0.05, "max_rounds": 300}},
        "lightgbm": {"label": ahead, "params": {"num_leaves": 31, "learning_rate": 0.05, "max_rounds": 300}},
    }
    available = []
    for name, source in (("SP500", sp500), ("NASDAQ", nasdaq)):
        frame = source.load().rename(columns=str.lower).tz_localize("UTC")
        available.append(Market(name, as_candles(frame[list(PRICES)]), "1d", COSTS, 1000, daily))
    aapl, btc = CANDLES / "equity_1d" / "AAPL.csv.gz", CANDLES / "crypto_1h" / "BTC_USDT-1h.feather"
    if aapl.exists():
        frame = pd.read_csv(aapl, index_col="Date", parse_dates=True).dropna().rename(columns=str.lower)
        available.append(Market("AAPL", as_candles(frame), "1d", COSTS, 1000, daily))
    if btc.exists():
        costs = Costs(fee_bps=10, slippage_bps=2)
        available.append(Market("BTC", as_candles(pd.read_feather(btc).set_index("date")), "1h", costs, 8760, hourly))
    return available


def refits(task: tuple[Market, str, int]) -> dict[str, str]:
    """One line of the second table: a recipe refitted weekly on a market, each version judged, and broken ones."""
    market, name, weeks = task
    recipe = Recipe(algorithm=name, window_bars=market.window_bars, **market.recipes[name])
    end = market.candles.index[-1].normalize()
    features = compute_features(market.candles, market.candles.index[0])
    rng = np.random.default_rng(0)
    incumbent, incumbent_as_of, longest, stay = None, end, 0, 0
    refusals: dict[str, list[bool]] = {kind: [] for kind in ("sound", *BROKEN)}
    for as_of in pd.date_range(end=end - pd.Timedelta(days=end.weekday()), periods=weeks, freq="7D"):
        past = known_at(market.candles, as_of, market.timeframe)
        recent = past.tail(market.window_bars + recipe.label.span_bars)
        labels = make_labels(recent, recipe.label, market.costs.round_trip(recent["close"].to_numpy(), 1e5))
        options = {"size": WindowSize(max_rows=market.window_bars, validation_fraction=0.2, min_rows=100)}
        window = build_window(features.loc[recent.index], labels, as_of=as_of, columns=FEATURES, **options)
        model = algorithm(name).fit(TrainingContext(window, recipe.params, sizing=recipe.sizing, seed=recipe.seed))
        start = as_of - POLICY.weeks * pd.Timedelta(days=7)
        bars = past.loc[start - pd.Timedelta(days=7) :]

        if incumbent is not None:
            incumbent_positions, candidate_positions = (
                m.positions(features.loc[bars.index]).shift(1).fillna(0.0) for m in (incumbent, model)
            )
            learnt = (window.full_times[0], incumbent_as_of)
            for kind in refusals:
                values = (
                    BROKEN[kind](candidate_positions.to_numpy(), rng, False)
                    if kind in BROKEN
                    else candidate_positions.to_numpy()
                )
                candidate = pd.Series(values, bars.index)
                decision = judge_refresh(
                    POLICY,
                    RefreshComparison(bars, start, incumbent_positions, candidate, learnt),
                    market.costs,
                    Account(),
                )
                refusals[kind].append(not decision.accepted)
        if incumbent is None or not refusals["sound"][-1]:
            incumbent, incumbent_as_of, stay = model, as_of, 0
        else:
            stay += 1
            longest = max(longest, stay)
    rates = {f"refused: {kind}": rate(refused) for kind, refused in refusals.items() if kind != "mad"}
    return {"market": market.name, "recipe": name, "refits": str(weeks - 1), "longest stay": str(longest), **rates}


def main(worlds: int, folder: str | None) -> None:
    """Both tables."""
    started = time.perf_counter()
    first = simulated(worlds)
    with ProcessPoolExecutor(2) as pool:
        second = pd.DataFrame(pool.map(refits, [(m, name, REFITS + 1) for m in markets() for name in m.recipes]))
    tables = "\n\n".join(table.to_markdown(index=False, disable_numparse=True) for table in (first, second))
    print(f"{tables}\n\n{time.perf_counter() - started:.0f} s")
    if folder:
        Path(folder, "refresh_rates.md").write_text(tables + "\n")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 2000, sys.argv[2] if len(sys.argv) > 2 else None)
