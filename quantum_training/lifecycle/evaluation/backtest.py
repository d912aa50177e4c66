"""The walk-forward record of the last weeks, evaluated on the stored candles."""

from collections.abc import Callable

import pandas as pd

from quantum_training.lifecycle.records import SHADOW_SCORES
from quantum_training.market.calendars import periods_per_year
from quantum_training.market.periods import WEEK, month_of
from quantum_training.resources.store.store import Store, StoreError
from quantum_training.settings.settings import Settings
from quantum_training.trading.evaluation import Evaluation, evaluate
from quantum_training.trading.scoring import by_strategy


def target_positions(store: Store, symbol: str, week: str) -> pd.DataFrame:
    """The target positions of one week's scores, open_time x strategy; NaN where there was no decision."""
    return by_strategy(store.read_frame(SHADOW_SCORES, symbol, week), "target")


def evaluate_scores(
    store: Store,
    settings: Settings,
    symbol: str,
    weeks: list[str],
    decided: Callable[[str, str], pd.DataFrame],
) -> Evaluation:
    """Evaluate the targets that the scores of these weeks recorded, oldest first, on the stored candles.

    StoreError where a scored bar is no longer among the candles.
    """
    options = settings.symbols[symbol]
    targets = pd.concat([decided(symbol, week) for week in weeks])
    start, end = (pd.Timestamp(w, tz="UTC") for w in (weeks[0], weeks[-1]))
    last = end - pd.Timedelta("1ns")
    candles = store.read_frames("candles", symbol, month_of(start - WEEK), month_of(last)).loc[start - WEEK : last]
    if len(gone := targets.index.difference(candles.index)):
        raise StoreError(
            f"{symbol}: {len(gone)} scored bars, the first {gone[0]}, are no longer among the stored candles; "
            f"re-materialise {SHADOW_SCORES} of their weeks"
        )
    recipes = sorted({*options.recipes} & {*targets.columns})
    periods = periods_per_year(options.calendar, options.timeframe)
    traded = targets.reindex(candles.index)
    return evaluate(candles, traded, recipes, options.costs, options.account, periods, settings.seeds)
