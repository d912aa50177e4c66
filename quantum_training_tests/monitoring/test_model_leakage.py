"""The leakage test of recipes: fair ones pass, and each kind of unfair one is found on synthetic markets."""

import sys
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from quantum_training.features.indicators import FEATURES, WARMUP_BARS, compute_features
from quantum_training.features.labels import ForwardReturn, TripleBarrier
from quantum_training.features.sets import feature_set
from quantum_training.features.windows import InsufficientData
from quantum_training.models.contract import Model, TrainingContext, algorithm
from quantum_training.monitoring import model_leakage, synthetic_training
from quantum_training.monitoring.model_leakage import (
    FITS,
    LIMIT,
    SUMMARY_FIELDS,
    _skill,
    examine,
    inconclusive_reason,
    leak_findings,
    moved_position,
)
from quantum_training.monitoring.random_markets import random_candles
from quantum_training.monitoring.synthetic_training import RecipeUnderTest, SyntheticMarket

SHORT = ForwardReturn(kind="forward_return", horizon=2)
DAY = ForwardReturn(kind="forward_return", horizon=24)
BARRIERS = TripleBarrier(kind="triple_barrier", horizon=10, take_profit=1, stop_loss=1, volatility_bars=20)
XGBOOST = RecipeUnderTest("xgboost", {"max_rounds": 20, "max_depth": 3}, SHORT, FEATURES, 0.2, 7)
LIGHTGBM = RecipeUnderTest("lightgbm", {"max_rounds": 60, "num_leaves": 7}, BARRIERS, FEATURES, 0.2, 7)


class Fixed(Model):
    """An algorithm without a fit; `decide(features)` is its rule."""

    report, importance, columns = {}, {}, FEATURES

    @classmethod
    def fit(cls, context):
        return cls()

    def positions(self, features):
        return self.decide(features).astype("float64")

    def save(self, folder):
        raise NotImplementedError

    load = save


class Peeking(Fixed):
    """Knows whether the next row's last bar went up."""

    def decide(self, features):
        return features["return_1"].shift(-1) > 0


class Standardising(Fixed):
    """Standardises over all rows, later ones included."""

    def decide(self, features):
        return features["trend_60"] - features["trend_60"].mean() > 0


class Trend(Fixed):
    """Follows the trend and ignores the labels."""

    def decide(self, features):
        return features["trend_60"] > 0


class Constant(Fixed):
    """Always invested."""

    def decide(self, features):
        return pd.Series(1.0, features.index)


class Undecided(Fixed):
    """Returns no position at all."""

    def decide(self, features):
        return pd.Series(np.nan, features.index)


@pytest.fixture(scope="module")
def market_cache():
    """Synthetic markets of earlier tests."""
    return {}


@pytest.fixture(autouse=True)
def make_each_market_once(market_cache, monkeypatch):
    """Make each synthetic market once: most of the time of these tests would go into features of the same bars."""
    make = SyntheticMarket.of

    def once(recipe, drift, seed, new_bars, shuffled):
        key = (recipe.label, drift, seed, new_bars, shuffled, feature_set.compute_features)
        return market_cache.get(key) or market_cache.setdefault(key, make(recipe, drift, seed, new_bars, shuffled))

    monkeypatch.setattr(SyntheticMarket, "of", once)


@pytest.fixture
def recipe_of(monkeypatch):
    """A recipe of one of the classes above, importable by a name as any algorithm is."""

    def make(cls, label=SHORT):
        monkeypatch.setitem(sys.modules, f"unfair.{cls.__name__}", SimpleNamespace(Model=cls))
        return RecipeUnderTest(f"unfair.{cls.__name__}", {}, label, FEATURES, 0.2, 7)

    return make


@pytest.fixture(scope="module")
def frames():
    """Features of a market, the same under another future, and the last row that they share."""
    times = pd.date_range("2024-01-01", periods=WARMUP_BARS + 300, freq="h", tz="UTC")
    candles = random_candles(times, 100.0, 5)
    changed = candles.copy()
    changed.iloc[-100:] = random_candles(times[-100:], 300.0, 6).to_numpy()
    since, cut = times[WARMUP_BARS], times[-101]
    return compute_features(candles, since), compute_features(changed, since), cut


@pytest.mark.parametrize("recipe", [XGBOOST, LIGHTGBM], ids=lambda t: t.algorithm)
def test_a_fair_recipe_passes_and_has_skill_only_where_it_is_planted(recipe):
    record = examine(recipe)
    print(recipe.algorithm, {name: figures["ic"] for name, figures in record.items()})
    assert leak_findings(record) == []
    assert inconclusive_reason(record) is None
    assert record["planted"]["ic"] > 0.2
    assert record["unpredictable"]["standard_error"] < LIMIT / 5
    for figures in record.values():
        assert tuple(figures) == SUMMARY_FIELDS
        assert figures["fits"] == FITS
        assert figures["low"] < figures["ic"] < figures["high"]


@pytest.mark.long
@pytest.mark.parametrize(
    "name", ["pooled_lightgbm", "ensemble_vote", "ensemble_regime", "ensemble_stack", "forecaster"]
)
def test_algorithms_that_need_more_than_a_window_have_skill_only_where_it_is_planted(name, monkeypatch):
    """One fit each: a second market for the pool, members and their record for ensembles, bars for a network."""
    monkeypatch.setattr(model_leakage, "WALK_BARS", 5_000)
    recipe = RecipeUnderTest(
        name, {"architecture": "patchtst"} if name == "forecaster" else {}, SHORT, FEATURES, 0.2, 7
    )
    assert _skill(recipe, "planted", 20_000) > 0.2
    assert abs(_skill(recipe, "unpredictable", 10_000)) < LIMIT
    assert _skill(recipe, "shuffled", 30_000) < 0.2


@pytest.fixture
def two_fits(monkeypatch):
    """Two markets per experiment, for tests that only compare figures."""
    monkeypatch.setattr(model_leakage, "FITS", 2)


def test_the_same_recipe_gives_the_same_figures(two_fits):
    assert examine(XGBOOST) == examine(XGBOOST)


def test_a_leaking_feature_predicts_random_walks(monkeypatch):
    """At the longest horizon the next bar is only a small part of the outcome."""

    def leaking(candles, since):
        out = compute_features(candles, since).copy()
        out["return_1"] = np.log(candles["close"]).diff().shift(-1).loc[out.index]
        return out

    monkeypatch.setattr(feature_set, "compute_features", leaking)
    record = examine(XGBOOST._replace(label=DAY))
    assert record["unpredictable"]["low"] > LIMIT
    (finding,) = leak_findings(record)
    assert "it predicts random walks" in finding


def test_a_model_that_looks_at_later_rows_gives_two_findings(recipe_of):
    record = examine(recipe_of(Peeking))
    findings = leak_findings(record)
    assert len(findings) == 2
    assert "predicts random walks: information coefficient 0." in findings[0]
    assert "survives shuffled labels" in findings[1]


def test_skill_that_was_not_learnt_survives_shuffled_labels(recipe_of):
    record = examine(recipe_of(Trend))
    (finding,) = leak_findings(record)
    assert "survives shuffled labels" in finding
    assert record["unpredictable"]["ic"] < LIMIT


def test_a_constant_decision_is_inconclusive(recipe_of, two_fits):
    record = examine(recipe_of(Constant))
    assert {figures["ic"] for figures in record.values()} == {0.0}
    assert leak_findings(record) == []
    assert "learns nothing from a planted trend" in inconclusive_reason(record)


def test_a_recipe_whose_features_cannot_show_a_trend_is_fair_but_inconclusive():
    record = examine(XGBOOST._replace(columns=("hour_sin", "weekday_cos")))
    assert leak_findings(record) == []
    assert "see its features and params" in inconclusive_reason(record)


def test_a_model_that_decides_nothing_is_an_error(recipe_of):
    with pytest.raises(ValueError, match=r"unfair\.Undecided decides nothing"):
        examine(recipe_of(Undecided))


def test_too_little_to_fit_on_is_an_error():
    with pytest.raises(InsufficientData, match="no validation row"):
        examine(XGBOOST._replace(validation_fraction=1e-6))


def test_a_long_horizon_is_cut_to_the_longest_affordable_one(two_fits):
    long = ForwardReturn(kind="forward_return", horizon=1000)
    assert examine(XGBOOST._replace(label=long)) == examine(XGBOOST._replace(label=DAY))


@pytest.mark.parametrize(
    ("walk", "shuffled", "expected"),
    [
        (0.05, (-0.1, 0.1), []),
        (0.050001, (-0.1, 0.1), ["random walks"]),
        (-0.3, (-0.1, 0.1), []),
        (0.0, (0.001, 0.1), ["shuffled"]),
        (0.0, (-0.1, -0.001), ["shuffled"]),
        (0.0, (0.0, 0.0), []),
        (0.9, (0.5, 0.6), ["random walks", "shuffled"]),
    ],
)
def test_the_rules_by_their_bounds(walk, shuffled, expected):
    low, high = shuffled
    record = {
        "unpredictable": {"ic": walk, "standard_error": 0.01, "low": 0.0, "high": 0.0},
        "shuffled": {"ic": (low + high) / 2, "standard_error": 0.01, "low": low, "high": high},
    }
    findings = leak_findings(record)
    assert len(findings) == len(expected)
    assert all(word in text for word, text in zip(expected, findings, strict=True))


@pytest.mark.parametrize("recipe", [XGBOOST, LIGHTGBM], ids=lambda t: t.algorithm)
def test_positions_of_boosters_do_not_depend_on_later_rows(make_window, make_features, recipe):
    window = make_window()
    model = algorithm(recipe.algorithm).fit(
        TrainingContext(window, recipe.params, sizing=synthetic_training.SCORE, seed=7)
    )
    features, other = make_features(300, seed=1), make_features(300, seed=1)
    other.iloc[200:] = make_features(100, seed=2).to_numpy()
    assert moved_position(model, features, other, features.index[199]) is None
    assert not model.positions(features).equals(model.positions(other))


@pytest.mark.parametrize("cls", [Peeking, Standardising])
def test_positions_that_depend_on_later_rows_are_named(frames, cls):
    moved = moved_position(cls(), *frames)
    assert "rows after 2024-01-24 07:00:00+00:00" in moved
    assert "position of the bar" in moved


def test_positions_that_depend_on_how_many_rows_follow_are_named(frames):
    """It does not read later values, but counts them."""

    class Counting(Fixed):
        def decide(self, features):
            return pd.Series(len(features) % 7 / 7, features.index)

    features, _, cut = frames
    assert "with no rows after" in moved_position(Counting(), features, features.iloc[:].copy(), cut)
    assert moved_position(Constant(), *frames) is None
