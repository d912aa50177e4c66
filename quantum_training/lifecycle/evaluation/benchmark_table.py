"""The table of a benchmark run: one row per symbol and strategy, recipes beside baselines, as Markdown, CSV and HTML.

The evaluation itself is trading/evaluation.py.
"""

import math
from pathlib import Path

import pandas as pd

from quantum_training.market.calendars import expected_open_times
from quantum_training.market.periods import WEEK
from quantum_training.settings import Settings
from quantum_training.settings.schema import Symbol
from quantum_training.trading.baselines import BUY_AND_HOLD
from quantum_training.trading.evaluation import Evaluation
from quantum_training.trading.uncertainty import MIN_BARS

COLUMNS = [
    "symbol",
    "from",
    "to",
    "strategy",
    "seed",
    "costs",
    "bars",
    "sharpe",
    "buy_and_hold_sharpe",
    "sharpe_lead",
    "total_return",
    "buy_and_hold_return",
    "max_drawdown",
    "turnover",
    "trades",
    "break_even_fee_bps",
    "dsr",
]


def shortage(market: Symbol, first: str, last: str) -> str | None:
    """Why the weeks from `first` to `last` are too few to measure a market; None if its calendar has enough bars.

    It is known before anything is trained. A recipe trades from its first version on, so its own bars may be fewer.
    """

    def planned(start: pd.Timestamp) -> pd.DatetimeIndex:
        return expected_open_times(market.calendar, market.timeframe, start, until)

    until = pd.Timestamp(last, tz="UTC")
    bars = len(planned(pd.Timestamp(first, tz="UTC") - WEEK))
    if bars >= MIN_BARS:
        return None
    enough = planned(until - MIN_BARS * 2 * WEEK)
    weeks = math.ceil((until - enough[-MIN_BARS]) / WEEK) if len(enough) >= MIN_BARS else None
    advice = f"take {weeks} weeks or more" if weeks else "take more weeks"
    return f"insufficient: the weeks {first} to {last} have {bars} bars, {MIN_BARS} are needed; {advice}"


def benchmark_rows(settings: Settings, symbol: str, evaluation: Evaluation) -> pd.DataFrame:
    """One row per strategy of a symbol, recipes first; each row repeats the numbers of Buy & Hold."""
    options = settings.symbols[symbol]
    passive = evaluation.metrics[BUY_AND_HOLD]
    times = evaluation.equity.index
    table = []
    for strategy, values in sorted(evaluation.metrics.items(), key=lambda item: item[0] not in settings.recipes):
        recipe = settings.recipes.get(strategy)
        table.append(
            {
                "symbol": symbol,
                "timeframe": options.timeframe,
                "from": str(times[0].date()),
                "to": str(times[-1].date()),
                "strategy": strategy,
                "seed": recipe.seed if recipe else None,
                "costs": describe_costs(settings, symbol),
                "bars": values["bars"],
                **{f"sharpe{end}": values[f"sharpe{end}"] for end in ("", "_low", "_high")},
                "buy_and_hold_sharpe": passive["sharpe"],
                **{f"sharpe_lead{end}": values[f"sharpe_lead{end}"] for end in ("", "_low", "_high")},
                "total_return": values["total_return"],
                "buy_and_hold_return": passive["total_return"],
                **{
                    name: values.get(name)
                    for name in (
                        "cagr",
                        "max_drawdown",
                        "turnover",
                        "trades",
                        "win_rate",
                        "break_even_fee_bps",
                        "psr",
                        "dsr",
                        "random_traders_beaten",
                    )
                },
                "verdict": evaluation.verdict["text"],
            }
        )
    return pd.DataFrame(table)


def describe_costs(settings: Settings, symbol: str) -> str:
    """The costs of a symbol that are not zero."""
    costs = settings.symbols[symbol].costs
    parts = [f"fee {costs.fee_bps:g} bp", f"slippage {costs.slippage_bps:g} bp"]
    if costs.per_share or costs.minimum:
        parts.append(f"{costs.per_share:g} a share, min {costs.minimum:g}, max {costs.cap:.0%}")
    return ", ".join(parts)


def as_markdown(table: pd.DataFrame) -> str:
    """The columns of COLUMNS, intervals beside their numbers; everything else is in the CSV."""
    return readable(table).to_markdown(index=False, disable_numparse=True)


def readable(table: pd.DataFrame) -> pd.DataFrame:
    """The table as text: three decimals, a dash for what is undefined."""

    def bounded(row: pd.Series, name: str) -> str:
        if pd.isna(row.get(name)):
            return "-"
        if pd.isna(row[f"{name}_low"]):
            return f"{row[name]:.2f} [{_missing_interval(row['bars'])}]"
        return f"{row[name]:.2f} [{row[f'{name}_low']:.2f}, {row[f'{name}_high']:.2f}]"

    text = table.reindex(columns=COLUMNS)  # if every symbol failed, the columns of numbers are missing
    for name in ("sharpe", "sharpe_lead"):
        text[name] = table.apply(bounded, axis=1, name=name)
    return text.rename(columns={"sharpe": "Sharpe [95 %]", "sharpe_lead": "lead [95 %]"}).map(
        lambda v: "-" if pd.isna(v) else f"{v:.3f}" if isinstance(v, float) and v % 1 else str(v).removesuffix(".0")
    )


def _missing_interval(bars: float) -> str:
    return f"{bars:.0f} of {MIN_BARS} bars" if bars < MIN_BARS else "-"


def write(table: pd.DataFrame, folder: Path) -> None:
    """Write benchmark.md, .csv and .html into `folder`."""
    verdicts = table[["symbol", "verdict"]].drop_duplicates()
    lines = "\n".join(f"- **{symbol}**: {verdict}" for symbol, verdict in verdicts.itertuples(index=False))
    (folder / "benchmark.md").write_text(f"{as_markdown(table)}\n\n{lines}\n")
    table.to_csv(folder / "benchmark.csv", index=False)
    (folder / "benchmark.html").write_text(readable(table).to_html(index=False, border=0))
