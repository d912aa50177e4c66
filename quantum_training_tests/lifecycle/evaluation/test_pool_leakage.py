"""The leak check of a pooled recipe: in the check of each symbol, its own part of the pool."""

import pandas as pd
import pytest

from quantum_training.lifecycle.evaluation.leakage import perturbed_stores, version_report
from quantum_training.lifecycle.market_history import MarketHistory
from quantum_training.lifecycle.training import training_window
from quantum_training.market.periods import Key

WEEK = "2020-01-06"
KEYS = {symbol: Key(symbol, pd.Timestamp(WEEK, tz="UTC")) for symbol in ("AAA", "BBB")}


@pytest.fixture
def project(build_project, small):
    """AAA and BBB share a pool; both are trained."""
    label = {"kind": "forward_return", "horizon": 2}
    params = {"max_rounds": 20, "num_leaves": 5}
    small["recipes"]["pooled"] = {
        "algorithm": "pooled_lightgbm",
        "label": label,
        "window_bars": 150,
        "params": params,
    }
    for symbol, seed in (("AAA", 3), ("BBB", 4)):
        small["symbols"][symbol]["recipes"] = ["pooled"]
        small["symbols"][symbol]["source"] |= {"seed": seed}
    project = build_project(small).market_data("AAA").market_data("BBB")
    for symbol in KEYS:
        project.run("weekly_cycle", f"{symbol}|{WEEK}")
    return project


def report(project, symbol):
    return version_report(project.store, project.registry, project.settings, "pooled", KEYS[symbol])


def test_each_symbol_answers_for_its_own_part(project, monkeypatch):
    assert [report(project, symbol).failure for symbol in KEYS] == [None, None]
    (rising, falling) = perturbed_stores(project.store, project.settings, "pooled", "AAA", KEYS["AAA"].start, 50)
    changed = {
        symbol: not rising.read_frame("candles", symbol, "2020-01-01").equals(
            falling.read_frame("candles", symbol, "2020-01-01")
        )
        for symbol in KEYS
    }
    assert changed == {"AAA": True, "BBB": False}

    build_window, known_stretches = training_window.build_window, MarketHistory.known_stretches

    def later(history, first, as_of):
        return known_stretches(history, first, as_of + pd.Timedelta("2D"))

    def looking_ahead(features, labels, **options):
        return build_window(features.shift(-6), labels, **options)

    monkeypatch.setattr(MarketHistory, "known_stretches", later)
    monkeypatch.setattr(training_window, "build_window", looking_ahead)
    for symbol in KEYS:
        failure = report(project, symbol).failure
        assert failure.startswith(f"the training window as of {WEEK} 00:00:00+00:00 changes with the bars after it")
