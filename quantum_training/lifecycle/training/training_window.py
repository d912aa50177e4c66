"""The training window of a symbol: the labelled, purged bars that a fit may use as of a given time."""

from collections.abc import Iterable
from typing import NamedTuple

import pandas as pd

from quantum_training.features.indicators import WARMUP_BARS
from quantum_training.features.pool import Pool
from quantum_training.features.windows import InsufficientData, Window, WindowSize, build_window
from quantum_training.lifecycle.cross_section_labels import cross_section_labels
from quantum_training.lifecycle.feature_sets import require_sets
from quantum_training.lifecycle.gaps import absent_months
from quantum_training.lifecycle.market_history import Bars, MarketHistory
from quantum_training.lifecycle.records import ModelRecord, ModelVersion
from quantum_training.lifecycle.stored_months import NANOSECOND
from quantum_training.market.periods import month_of
from quantum_training.models.contract import algorithm
from quantum_training.resources.store.store import Store
from quantum_training.settings import Settings
from quantum_training.settings.schema import Recipe
from quantum_training.trading.cross_section_label import CrossSection
from quantum_training.trading.own_label import RecipeLabel, labels_of


def training_window(store: Store, settings: Settings, symbol: str, recipe: Recipe, as_of: pd.Timestamp) -> Window:
    """The newest bars whose outcome is known at `as_of`, split into training and validation.

    No label spans a gap in the candles. An algorithm that reads the bars between the rows of its window, as agents do,
    gets the bars since the newest gap only. InsufficientData if they are too few. StoreError if bars up to `as_of` are
    not stored.
    """
    history = MarketHistory(store, settings, symbol)
    first, rows = _first_month(history, recipe, as_of), wanted_rows(settings, recipe)
    require_sets(store, settings, symbol, recipe.feature_sets, first, as_of)
    stretches = history.known_stretches(first, as_of)
    if algorithm(recipe.algorithm).traits.needs_market:
        stretches = stretches[-1:]
    stretches = [bars for bars in stretches if len(bars.candles)] or stretches[-1:]
    return build_window(
        pd.concat([features for _, features in stretches]),
        known_labels(history, stretches, recipe.label),
        as_of=as_of,
        columns=recipe.columns,
        size=WindowSize(
            max_rows=rows, validation_fraction=recipe.validation_fraction, min_rows=settings.min_training_data_points
        ),
    )


def known_labels(history: MarketHistory, stretches: Iterable[Bars], label: RecipeLabel) -> pd.DataFrame:
    """The labels of stretches of bars, oldest first: of each bar up to which its stretch lets one know them.

    StoreError if the label is one of a cross-section, and bars of a member are late.
    """
    market = history.market
    if isinstance(label, CrossSection):
        places = (history.store, history.settings, history.symbol)
        opened = [pd.DatetimeIndex(candles.index) for candles, _ in stretches]
        return pd.concat([cross_section_labels(*places, label, bars) for bars in opened])
    labels = [
        labels_of(candles, label, market.costs.round_trip(candles["close"].to_numpy(), market.account.capital))
        for candles, _ in stretches
    ]
    return pd.concat(labels)


def wanted_rows(settings: Settings, recipe: Recipe) -> int:
    """The number of rows of a full window."""
    return settings.training_batch_size or recipe.window_bars


class WindowCompleteness(NamedTuple):
    """How full a training window is. missing_months: those without candles that it would have used, oldest first."""

    rows: int
    wanted_rows: int
    missing_months: tuple[str, ...]


def window_completeness(history: MarketHistory, recipe: Recipe, window: Window) -> WindowCompleteness:
    """Whether a window of the symbol lacks bars because months are missing.

    A short window misses all months that a full one reaches back to, a full one those between its first row and its
    as_of. Months before the market was listed are not missing. Of a pool, it is the symbol's own part.
    """
    rows, wanted = len(window.full_y), wanted_rows(history.settings, recipe)
    if isinstance(window, Pool):
        try:
            window = training_window(history.store, history.settings, history.symbol, recipe, window.as_of)
            rows = len(window.full_y)
        except InsufficientData as error:  # the pool has no part of the symbol
            rows = error.have
    if rows < wanted:
        return WindowCompleteness(rows, wanted, months_missing_before(history, recipe, window.as_of))
    return WindowCompleteness(rows, wanted, _absent(history, month_of(window.full_times[0]), window.as_of))


def months_missing_before(history: MarketHistory, recipe: Recipe, as_of: pd.Timestamp) -> tuple[str, ...]:
    """The months without candles among those that a full window of the recipe, and the warm-up before it, reach to."""
    first_row = pd.Timestamp(_first_month(history, recipe, as_of), tz="UTC")
    return _absent(history, history.first_month(first_row, WARMUP_BARS), as_of)


def incomplete_window(record: ModelRecord) -> str | None:
    """What the training window of a week, or of its newest version, lacks; None if no month was missing."""
    newest = record.versions[-1] if record.versions else ModelVersion(as_of="", model_id="")
    rows, missing = newest.rows, newest.missing_months
    if record.missing_months:
        rows, missing = record.have, record.missing_months
    return None if missing is None else f"{rows} rows, without the months {', '.join(missing)}"


def _absent(history: MarketHistory, first: str, as_of: pd.Timestamp) -> tuple[str, ...]:
    first = max(first, month_of(history.market.first_day(history.settings.start)))
    return tuple(absent_months(history.store, history.symbol, first, month_of(as_of - NANOSECOND)))


def _first_month(history: MarketHistory, recipe: Recipe, as_of: pd.Timestamp) -> str:
    return history.first_month(as_of, wanted_rows(history.settings, recipe) + recipe.label.span_bars)
