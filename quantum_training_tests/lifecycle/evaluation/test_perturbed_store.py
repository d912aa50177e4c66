"""The perturbed view of a store: the past is the stored one, the future is random, and nothing is written."""

import numpy as np
import pandas as pd
import pytest

from quantum_training.features.indicators import compute_features
from quantum_training.lifecycle.evaluation.perturbed_store import Perturbation, PerturbedStore
from quantum_training.lifecycle.stored_months import read_bars
from quantum_training.monitoring.random_markets import JUMP
from quantum_training.resources.store.store import Store
from quantum_training.settings import load_settings

CUT = pd.Timestamp("2024-04-17 08:00", tz="UTC")
MONTHS = ["2024-01-01", "2024-02-01", "2024-03-01", "2024-04-01"]
BAR = pd.Timedelta("4h")
RANDOM_BARS = 120  # to 2024-05-07


@pytest.fixture
def store(tmp_path, make_candles):
    """Four months of 4h candles and features of AAA."""
    store = Store(root=str(tmp_path))
    candles = make_candles(6 * 121, freq="4h")
    for month in MONTHS:
        start = pd.Timestamp(month, tz="UTC")
        end = start + pd.DateOffset(months=1)
        bars = candles[candles.index < end]
        until = {"covered_until": end.isoformat()}
        store.write_frame("candles", "AAA", month, bars.loc[start:], until)
        store.write_frame("features", "AAA", month, compute_features(bars, start), until)
    return store


@pytest.fixture
def perturbed(store):
    """The views with a rising and with a falling future. BBB has no stored bars."""
    market = load_settings().symbols["SP500"].model_copy(update={"timeframe": "4h", "calendar": "24/7"})
    changes = [Perturbation(CUT + BAR, RANDOM_BARS, rising) for rising in (True, False)]
    return [PerturbedStore.after(store, {"AAA": market, "BBB": market}, change) for change in changes]


@pytest.mark.parametrize("asset", ["candles", "features"])
def test_rows_up_to_the_cut_are_the_stored_ones(store, perturbed, asset):
    stored = store.read_frames(asset, "AAA", MONTHS[0], MONTHS[-1]).loc[:CUT]
    for view in perturbed:
        rows = view.read_frames(asset, "AAA", MONTHS[0], "2024-05-01").loc[:CUT]
        pd.testing.assert_frame_equal(rows, stored, check_exact=True, check_freq=False)


@pytest.mark.parametrize("asset", ["candles", "features"])
def test_every_row_after_the_cut_is_replaced_and_differs_between_the_views(store, perturbed, asset):
    stored = store.read_frames(asset, "AAA", MONTHS[0], MONTHS[-1]).loc[CUT + BAR :]
    rising, falling = (view.read_frames(asset, "AAA", MONTHS[0], "2024-05-01").loc[CUT + BAR :] for view in perturbed)
    assert len(rising) == len(falling) == RANDOM_BARS
    assert len(stored) < RANDOM_BARS
    assert (rising.to_numpy() != falling.to_numpy()).any(axis=1).all()
    assert (rising.loc[stored.index].to_numpy() != stored.to_numpy()).any(axis=1).all()


def test_the_price_jumps_up_or_down_after_the_cut(store, perturbed):
    last_close = store.read_frame("candles", "AAA", MONTHS[-1]).loc[CUT, "close"]
    for view, ratio in zip(perturbed, (JUMP, 1 / JUMP), strict=True):
        first_open = view.read_frame("candles", "AAA", MONTHS[-1]).loc[CUT + BAR, "open"]
        assert first_open == pytest.approx(last_close * ratio)


def test_several_markets_go_to_the_opposite_order_if_they_rise_and_if_they_fall(store):
    """Equal moves would leave every rank of what looks ahead as it was."""
    for symbol in ("BBB", "CCC"):
        for asset in ("candles", "features"):
            for month in MONTHS:
                frame, attributes = store.read_frame(asset, "AAA", month), store.attributes(asset, "AAA", month)
                store.write_frame(asset, symbol, month, frame, attributes)
    market = load_settings().symbols["SP500"].model_copy(update={"timeframe": "4h", "calendar": "24/7"})
    markets = dict.fromkeys(("AAA", "BBB", "CCC"), market)
    opens = {}
    for rising in (True, False):
        view = PerturbedStore.after(store, markets, Perturbation(CUT + BAR, RANDOM_BARS, rising))
        opens[rising] = [view.read_frame("candles", symbol, MONTHS[-1]).loc[CUT + BAR, "open"] for symbol in markets]
    last_close = store.read_frame("candles", "AAA", MONTHS[-1]).loc[CUT, "close"]
    assert last_close < opens[True][0] < opens[True][1] < opens[True][2]
    assert last_close > opens[False][0] > opens[False][1] > opens[False][2]


def test_months_before_the_cut_are_those_of_the_store_itself(store, perturbed):
    for view in perturbed:
        assert view.of_period(MONTHS[-2]) == Store(root=store.root)
        assert view.of_period(MONTHS[-1]) is view
    assert store.of_period(MONTHS[0]) is store


def test_features_are_those_of_the_perturbed_candles(perturbed):
    for view in perturbed:
        candles = view.read_frames("candles", "AAA", MONTHS[0], "2024-05-01")
        features = view.read_frames("features", "AAA", MONTHS[-1], "2024-05-01")
        expected = compute_features(candles, pd.Timestamp(MONTHS[-1], tz="UTC"))
        np.testing.assert_allclose(features.to_numpy(), expected.to_numpy(), rtol=1e-6, atol=1e-6)


def test_the_view_lists_the_months_of_its_random_bars_as_covered(perturbed):
    end = CUT + (RANDOM_BARS + 1) * BAR
    for view in perturbed:
        assert view.periods("candles", "AAA") == view.periods("features", "AAA") == [*MONTHS, "2024-05-01"]
        assert read_bars(view, "candles", "AAA", MONTHS[0], end).index[-1] == end - BAR
        assert pd.Timestamp(view.attributes("features", "AAA", "2024-05-01")["covered_until"]) == end


def test_a_symbol_without_stored_bars_stays_empty_and_the_store_is_not_changed(store, perturbed, tmp_path):
    assert [view.periods("candles", "BBB") for view in perturbed] == [[], []]
    assert store.periods("candles", "AAA") == MONTHS
    assert {path.stem for path in tmp_path.rglob("*.parquet")} == {*MONTHS}
