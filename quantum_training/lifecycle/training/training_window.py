"""The training window of a symbol: the labelled, purged bars that a fit may use as of a given time."""

import pandas as pd

from quantum_training.features.indicators import FEATURES
from quantum_training.features.labels import make_labels
from quantum_training.features.windows import Window, WindowSize, build_window
from quantum_training.lifecycle.market_history import MarketHistory
from quantum_training.resources.store.store import Store
from quantum_training.settings import Settings
from quantum_training.settings.schema import Recipe


def training_window(store: Store, settings: Settings, symbol: str, recipe: Recipe, as_of: pd.Timestamp) -> Window:
    """The newest bars whose outcome is known at `as_of`, split into training and validation.

    InsufficientData if they are too few. StoreError if bars up to `as_of` are not stored.
    """
    history, market = MarketHistory(store, settings, symbol), settings.symbols[symbol]
    rows = settings.training_batch_size or recipe.window_bars
    candles, features = history.known_bars(history.first_month(as_of, rows + recipe.label.span_bars), as_of)
    costs = market.costs.round_trip(candles["close"].to_numpy(), market.account.capital)
    return build_window(
        features,
        make_labels(candles, recipe.label, costs),
        as_of=as_of,
        columns=recipe.features or FEATURES,
        size=WindowSize(
            max_rows=rows, validation_fraction=recipe.validation_fraction, min_rows=settings.min_training_data_points
        ),
    )
