"""Pooled recipes: who shares a fit, and what becomes of a symbol with few, late or no bars."""

import pandas as pd
import pytest

from quantum_training.features.windows import InsufficientData
from quantum_training.lifecycle.market_history import MarketHistory
from quantum_training.lifecycle.training import pools
from quantum_training.lifecycle.training.pools import pool_of, pool_peers, pooled_window
from quantum_training.lifecycle.training.training_window import training_window
from quantum_training.market.periods import WEEK
from quantum_training.resources.store.store import StoreError
from quantum_training_tests.support.projects import needing

MONTHS = ("2019-09-01", "2019-10-01", "2019-11-01", "2019-12-01", "2020-01-01")
AS_OF = pd.Timestamp("2020-01-06", tz="UTC")


@pytest.fixture
def pooled(small):
    """Settings with a pooled recipe on both symbols."""
    label = {"kind": "forward_return", "horizon": 2}
    small["recipes"]["pooled"] = {"algorithm": "pooled_lightgbm", "label": label, "window_bars": 150}
    for symbol, seed in (("AAA", 3), ("BBB", 4)):
        small["symbols"][symbol]["recipes"] = ["pooled"]
        small["symbols"][symbol]["source"] |= {"seed": seed}
    return small


def window_of(services, as_of=AS_OF):
    return pooled_window(MarketHistory(services.store, services.settings, "AAA"), "pooled", as_of)


def test_symbols_of_one_timeframe_share_a_pool(market, pooled):
    settings = market(pooled, AAA=()).settings
    assert pool_of(settings, "AAA", "pooled") == pool_peers(settings, ["BBB"]) == ["AAA", "BBB"]
    assert pool_of(settings, "AAA", "xgboost") == []


def test_a_late_symbol_takes_part_with_what_is_stored(market, pooled):
    window, excluded = window_of(market(pooled, BBB=MONTHS[:4]))
    assert list(window.normalisers) == ["AAA", "BBB"]
    assert excluded == {"BBB": "its bars after 2020-01-01 00:00:00+00:00; run the job market_data"}


def test_a_symbol_without_bars_or_with_too_few_is_excluded_with_the_reason(market, pooled):
    services = market(pooled)
    window, excluded = window_of(services)
    assert (list(window.normalisers), excluded) == (["AAA"], {"BBB": "no bars are stored"})


def test_without_bars_of_its_own_symbol_or_of_any_there_is_no_window(market, pooled):
    services = market(needing(5000, pooled), BBB=MONTHS)
    with pytest.raises(InsufficientData, match="no symbol of the pool has enough bars"):
        window_of(services)
    with pytest.raises(StoreError, match="AAA: candles is needed until 2021"):
        window_of(services, pd.Timestamp("2021-01-04", tz="UTC"))


def test_a_pool_is_assembled_once_for_all_symbols_until_something_is_written(market, pooled, monkeypatch):
    services = market(pooled, BBB=MONTHS)
    read = []

    def counted(store, settings, symbol, recipe, as_of):
        read.append(symbol)
        return training_window(store, settings, symbol, recipe, as_of)

    monkeypatch.setattr(pools, "training_window", counted)
    histories = {symbol: MarketHistory(services.store, services.settings, symbol) for symbol in ("AAA", "BBB")}
    one, other = (pooled_window(history, "pooled", AS_OF)[0] for history in histories.values())
    assert one is other
    assert read == ["AAA", "BBB"]
    earlier = pooled_window(histories["AAA"], "pooled", AS_OF - WEEK)[0]
    assert earlier.as_of == AS_OF - WEEK
    again = pooled_window(histories["BBB"], "pooled", AS_OF)[0]
    assert again.content_hash == one.content_hash
    read.clear()
    months = services.store.read_with_attributes("features", "AAA", MONTHS[-1], MONTHS[-1])
    services.store.write_frame("features", "AAA", MONTHS[-1], months[0] * 2, months[1][MONTHS[-1]])
    changed = pooled_window(histories["BBB"], "pooled", AS_OF)[0]
    assert read == ["AAA", "BBB"]
    assert changed.content_hash != one.content_hash


def test_a_symbol_whose_own_bars_are_late_raises_although_the_pool_is_assembled(market, pooled):
    services = market(pooled, BBB=MONTHS[:4])
    window_of(services)
    with pytest.raises(StoreError, match="BBB: candles is needed until 2020-01-06"):
        pooled_window(MarketHistory(services.store, services.settings, "BBB"), "pooled", AS_OF)
