"""What travels with a version: it decides with its own code and market, whatever else the process has loaded."""

import json
import shutil
from datetime import date
from importlib import invalidate_caches
from sys import modules

import mlflow
import numpy as np
import pandas as pd
import pytest
from mlflow.exceptions import MlflowException

from quantum_training.features.indicators import WARMUP_BARS
from quantum_training.market.calendar_settings import CustomCalendar
from quantum_training.models import scoring_code
from quantum_training.models.contract import algorithm
from quantum_training.models.served_version import ServedMarket
from quantum_training.resources.registry.new_version import NewVersion
from quantum_training.resources.registry.registry import ModelRegistry
from quantum_training.resources.registry.requirements import requirements

OWN = """
from own_models.parts import SCALE
from quantum_training.models.contract import Model as Contract


class Model(Contract):
    columns, report, importance, packages = ("return_1",), {}, {}, ("lightgbm",)

    @classmethod
    def fit(cls, context):
        return cls()

    def positions(self, features):
        return (features["return_1"] * 0 + SCALE).rename("position")

    def save(self, folder):
        (folder / "nothing.json").write_text("{}")

    @classmethod
    def load(cls, folder):
        return cls()
"""


@pytest.fixture
def registry(tmp_path, empty_mlflow):
    shutil.copy(empty_mlflow, tmp_path / "mlflow.db")
    return ModelRegistry(tracking_uri=f"sqlite:///{tmp_path}/mlflow.db")


@pytest.fixture
def own_models(tmp_path, monkeypatch):
    """`own_models(scale)`: an algorithm of one's own whose position is `scale`, its module newly imported."""
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "own_models").mkdir()
    (tmp_path / "own_models/constant.py").write_text(OWN)

    def build(scale):
        (tmp_path / "own_models/parts.py").write_text(f"SCALE = {scale}\n")
        for name in [name for name in modules if name.partition(".")[0] == "own_models"]:
            del modules[name]
        invalidate_caches()
        scoring_code._archive.cache_clear()
        return algorithm("own_models.constant")

    yield build
    scoring_code._archive.cache_clear()


def register(registry, model, example, model_id):
    tags = {"model_id": model_id, "recipe": "own", "as_of": "2024-01-08T00:00:00+00:00"}
    now = pd.Timestamp.now("UTC")
    new = NewVersion(model, "own_models.constant", example, tags, {}, metrics={}, started=now, timeframe="1h")
    registry.register("AAA", new)
    registry.aliases.move("AAA", {model_id: model_id})


def test_versions_of_different_code_decide_side_by_side_each_with_its_own(registry, own_models, make_candles):
    candles = make_candles(WARMUP_BARS + 40)
    example = pd.DataFrame({"return_1": [0.1, np.nan]}, candles.index[:2])
    for scale in (0.25, 0.75):
        register(registry, own_models(scale)(), example, f"id-{int(100 * scale)}")
    registry.client()
    quarter, most = (mlflow.pyfunc.load_model(f"models:/AAA@id-{int(100 * scale)}") for scale in (0.25, 0.75))
    assert {*quarter.predict(candles)} == {0.25}
    assert {*most.predict(candles)} == {0.75}
    assert {*own_models(1.0)().positions(example).dropna()} == {1.0}
    assert len(most.predict(candles)) == 40
    with pytest.raises(MlflowException, match="AAA: 360 bars are too few to decide on the last; send at least 361"):
        most.predict(candles.tail(WARMUP_BARS))


def test_whole_numbers_of_any_size_and_times_in_a_column_pass_the_signature(registry, own_models, make_candles):
    candles = make_candles(WARMUP_BARS + 5)
    register(registry, own_models(0.5)(), pd.DataFrame({"return_1": [0.1]}, candles.index[:1]), "id-1")
    registry.client()
    version = mlflow.pyfunc.load_model("models:/AAA@id-1")
    whole = pd.DataFrame({"return_1": [3, 0, 2]})
    assert version.predict(whole).tolist() == [0.5] * 3
    assert version.predict(whole.astype("Int64")).tolist() == [0.5] * 3
    assert version.predict(candles.assign(volume=range(len(candles)))).tolist() == [0.5] * 5
    assert version.predict(candles.reset_index(), params={"input": "candles"}).tolist() == [0.5] * 5


def test_a_market_keeps_what_differs_from_its_calendar():
    calendar = CustomCalendar(name="XNYS", drop=(date(2024, 3, 1),), add=("2024-03-02 09:30-10:00",), align="clock")
    market = ServedMarket(symbol="AAA", timeframe="1h", calendar=calendar)
    assert ServedMarket.model_validate(json.loads(market.to_json())) == market


def test_only_a_symbol_with_sessions_needs_their_package_and_no_release_is_of_a_private_index(own_models, monkeypatch):
    monkeypatch.setattr("quantum_training.resources.registry.requirements.installed_release", lambda name: "2.13.0+cpu")
    model = own_models(1.0)()
    always = requirements(model, "24/7")
    assert always == requirements(model, "FX")
    assert {*requirements(model, "XNYS")} - {*always} == {"exchange_calendars==2.13.0"}
    assert "lightgbm==2.13.0" in always
    assert not any("+" in line for line in always)
