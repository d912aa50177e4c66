"""Asset `backtest`: the walk-forward record of the last weeks up to W, every strategy beside the passive benchmark."""

from functools import cache
from typing import Any

import dagster as dg
import pandas as pd

from quantum_training.assets.loop import OWNERS, SINGLE_RUN, each_partition, markdown
from quantum_training.assets.scores import ASSET as SCORES
from quantum_training.market.calendars import periods_per_year
from quantum_training.partitions import WEEK, Key, Partitions
from quantum_training.resources.store import Store
from quantum_training.settings import Settings
from quantum_training.trading.metrics import summarise
from quantum_training.trading.scoring import by_strategy

DECIMALS = 4
SHOWN = [
    "sharpe",
    "sharpe_low",
    "sharpe_high",
    "bars",
    "total_return",
    "max_drawdown",
    "trades",
    "win_rate",
    "exposure",
]


def build(settings: Settings, partitions: Partitions) -> dg.AssetsDefinition:
    """The asset, for the symbols of these settings."""

    @dg.asset(
        partitions_def=partitions.week,
        backfill_policy=SINGLE_RUN,
        deps=[SCORES],
        group_name="evidence",
        kinds={"parquet"},
        owners=OWNERS,
        description=f"Metrics and equity of every strategy over the scores of the {settings.backtest_weeks} weeks "
        "up to this one, which are read from the store. Bars without a decision are left out; "
        "weeks never scored are named.",
    )
    def backtest(context: dg.AssetExecutionContext, store: Store) -> dg.MaterializeResult:
        @cache
        def week(symbol: str, period: str) -> tuple[pd.DataFrame, pd.DataFrame]:
            scores = store.read_frame(SCORES, symbol, period)
            return by_strategy(scores, "net_return"), by_strategy(scores, "position")

        def produce(key: Key) -> dict[str, Any]:
            symbol = settings.symbols[key.symbol]
            first = (key.start - (settings.backtest_weeks - 1) * WEEK).strftime("%Y-%m-%d")
            weeks = [p for p in store.periods(SCORES, key.symbol) if first <= p <= key.period]
            periods = periods_per_year(symbol.calendar, symbol.timeframe)
            net, position = (pd.concat(frames) for frames in zip(*(week(key.symbol, p) for p in weeks), strict=True))
            metrics = {s: summarise(net[s].dropna().to_numpy(), position[s].dropna().to_numpy(), periods) for s in net}
            expected = pd.date_range(min(weeks), key.period, freq="7D").strftime("%Y-%m-%d")
            record = {
                "metrics": metrics,
                "periods_per_year": periods,
                "first_week": min(weeks),
                "missing_weeks": [w for w in expected if w not in weeks],
            }
            store.write_record("backtest", key.symbol, key.period, record)
            written = store.write_frame("backtest", key.symbol, key.period, (1 + net).cumprod())
            table = pd.DataFrame.from_dict(metrics, orient="index", columns=SHOWN, dtype=object)
            numbers = {
                f"{metric}_{s}": round(values[metric], DECIMALS)
                for s, values in metrics.items()
                for metric in ("sharpe", "total_return", "max_drawdown")
                if values[metric] is not None
            }
            return {
                "metrics": markdown(table),
                **numbers,
                "weeks": len(weeks),
                "missing_weeks": record["missing_weeks"],
                "path": dg.MetadataValue.path(written.path),
            }

        return each_partition(context, partitions.week, produce)

    return backtest
