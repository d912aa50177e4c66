"""The pooled booster: one fit, every symbol in its own units and with its own category."""

import json

import numpy as np
import pandas as pd
import pytest

from quantum_training.features.pool import pool
from quantum_training.models.contract import TrainingContext, algorithm, load_model, save_model
from quantum_training.models.sizing import Sizing

PARAMS = {"max_rounds": 40, "learning_rate": 0.3, "min_data_in_leaf": 5}
FINE = Sizing(break_even=0.01, full=0.99, step=0.01)


@pytest.fixture(scope="module")
def windows(make_window, make_features):
    """What pays off follows `a` for the one symbol and is the other way round for the other, whose units differ."""
    same, opposite = make_features(400, 1), make_features(400, 2) * 100
    return {
        "same": make_window(features=same),
        "opposite": make_window(lambda f: f["a"] < 0, features=opposite),
    }


@pytest.fixture(scope="module")
def model(windows):
    return algorithm("pooled_lightgbm").fit(TrainingContext(pool(windows, 0.2), PARAMS, sizing=FINE, seed=7))


def test_a_symbol_is_served_with_its_own_normaliser_and_category(model, make_features):
    features = make_features(200, 9)
    up = features["a"] > 0.2
    same = model.for_symbol("same").positions(features)
    opposite = model.for_symbol("opposite").positions(features * 100)
    assert same[up].mean() > 0.8 > 0.2 > same[features["a"] < -0.2].mean()
    assert opposite[up].mean() < 0.2 < 0.8 < opposite[features["a"] < -0.2].mean()
    assert model.for_symbol("same").columns == ("a", "b", "c")


def test_a_symbol_outside_the_pool_is_served_and_reported(model, make_features):
    features = make_features(200, 9) * 50
    served = model.for_symbol("young")
    assert served.notes["fallback"] == "young has too little history of its own to be in the pool"
    assert "fallback" not in model.for_symbol("same").notes
    assert served.positions(features).notna().all()


def test_it_gets_the_mean_of_what_is_decided_for_each_symbol(model, make_features):
    """LightGBM alone would send an unseen category the way of some other one."""
    features = make_features(200, 9) * 50
    scaled = model.common.transform(features[list(model.columns)].to_numpy())
    rows = pd.DataFrame(scaled, features.index, list(model.columns))
    one, other = (model.booster.positions(rows.assign(symbol=category)) for category in (0.0, 1.0))
    served = model.for_symbol("young").positions(features)
    np.testing.assert_allclose(served, (one + other) / 2)
    assert (one - other).abs().mean() > 0.5
    features.iloc[3, 1] = np.nan
    assert model.for_symbol("young").positions(features).isna().sum() == 1


def test_a_version_of_release_0_1_goes_on_deciding_as_it_did(model, make_features, tmp_path):
    features = make_features(200, 9) * 50
    young = model.for_symbol("young")
    save_model(young, tmp_path / "now", "pooled_lightgbm")
    now = load_model(tmp_path / "now")
    pd.testing.assert_series_equal(now.positions(features), young.positions(features), check_exact=True)
    former = type(model)(model.booster, model.normalisers, model.common, "young", unseen="")
    save_model(former, tmp_path / "then", "pooled_lightgbm")
    assert "unseen" not in json.loads((tmp_path / "then" / "pool.json").read_text())
    rows = pd.DataFrame(
        model.common.transform(features[list(model.columns)].to_numpy()), features.index, list(model.columns)
    )
    expected = model.booster.positions(rows.assign(symbol=-1.0))
    then = load_model(tmp_path / "then").positions(features)
    pd.testing.assert_series_equal(then, expected, check_exact=True)
    assert not then.equals(now.positions(features))
    save_model(model.for_symbol("same"), tmp_path / "same", "pooled_lightgbm")
    assert "unseen" not in json.loads((tmp_path / "same" / "pool.json").read_text()), "the bytes of release 0.1"


def test_the_fit_does_not_depend_on_the_symbol_and_loads_equal(model, windows, make_features, tmp_path):
    again = algorithm("pooled_lightgbm").fit(TrainingContext(pool(windows, 0.2), PARAMS, sizing=FINE, seed=7))
    assert save_model(model.for_symbol("same"), tmp_path / "one", "pooled_lightgbm") == save_model(
        again.for_symbol("opposite").for_symbol("same"), tmp_path / "two", "pooled_lightgbm"
    )
    copy = load_model(tmp_path / "one")
    features = make_features(100, 5)
    features.iloc[3, 1] = np.nan
    expected = model.for_symbol("same").positions(features)
    pd.testing.assert_series_equal(copy.positions(features), expected, check_exact=True)
    assert np.isnan(expected.iloc[3])
    assert expected.isna().sum() == 1
    for name in ("columns", "report", "notes", "score", "symbol"):
        assert getattr(copy, name) == getattr(model.for_symbol("same"), name), name


def test_it_learns_from_a_pool_only(windows):
    with pytest.raises(ValueError, match="learns from several symbols"):
        algorithm("pooled_lightgbm").fit(TrainingContext(windows["same"], PARAMS, sizing=FINE, seed=7))
    with pytest.raises(TypeError, match="serves the one symbol"):
        algorithm("lightgbm").fit(TrainingContext(windows["same"], PARAMS, sizing=FINE, seed=7)).for_symbol("other")
