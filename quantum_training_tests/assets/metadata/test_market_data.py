"""What the page of `features` says that a column is computed from is what it is computed from."""

import numpy as np
import pandas as pd
import pytest

from quantum_training.assets.metadata.market_data import CANDLE_COLUMNS, FEATURE_SOURCES, features_columns
from quantum_training.features.indicators import FEATURES, WARMUP_BARS, compute_features


@pytest.fixture(scope="module")
def candles():
    rng = np.random.default_rng(5)
    bars = WARMUP_BARS + 50
    close = 100 * np.exp(np.cumsum(rng.normal(0, 0.01, bars)))
    open_ = close * np.exp(rng.normal(0, 0.003, bars))
    high = np.maximum(open_, close) * (1 + rng.uniform(0.001, 0.01, bars))
    low = np.minimum(open_, close) * (1 - rng.uniform(0.001, 0.01, bars))
    index = pd.date_range("2024-01-01", periods=bars, freq="h", tz="UTC", name="open_time")
    columns = {"open": open_, "high": high, "low": low, "close": close, "volume": rng.uniform(1, 2, bars)}
    return pd.DataFrame(columns, index=index)


@pytest.mark.parametrize("column", CANDLE_COLUMNS)
def test_a_feature_changes_with_the_columns_that_its_page_names_and_with_no_other(candles, column):
    since = candles.index[WARMUP_BARS]
    noise = np.random.default_rng(6).uniform(0.999, 1.001, len(candles))
    before = compute_features(candles, since)
    after = compute_features(candles.assign(**{column: candles[column] * noise}), since)
    changed = {name for name in FEATURES if not before[name].equals(after[name])}
    assert changed == {name for name, columns in FEATURE_SOURCES.items() if column in columns}


def test_every_feature_is_described_in_the_order_of_the_stored_columns():
    assert [*features_columns()] == [*FEATURES]
    assert features_columns()["hour_sin"] == "computed from open_time"
