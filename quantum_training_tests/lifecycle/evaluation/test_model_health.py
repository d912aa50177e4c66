"""What does not work of a recipe in a week, and what is nobody's fault."""

from dataclasses import dataclass, field

import numpy as np
import pandas as pd
import pytest

from quantum_training.lifecycle.evaluation.model_health import health_findings
from quantum_training.lifecycle.market_history import Bars, MarketHistory, inputs_hash
from quantum_training.models.contract import Model
from quantum_training.resources.registry.errors import RegistryError
from quantum_training.resources.store.store import Store, StoreError
from quantum_training.settings.settings import load_settings
from quantum_training.trading.scoring import Version

WEEK = "2020-01-20"
END = pd.Timestamp(WEEK, tz="UTC")
FILLED = pd.date_range(END - pd.Timedelta(days=7), periods=42, freq="4h", name="open_time")


class Echo:
    """Its feature is its position."""

    lookback_bars = 0

    def __init__(self, wrong=0.0):
        self.wrong = wrong

    def positions(self, features):
        return features["return_1"] + self.wrong


@dataclass
class World:
    """A store with the features of two months and the scores of one week; `models` is the registry."""

    store: Store
    models: dict[str, Model] = field(default_factory=lambda: {"old": Echo(), "new": Echo(), "other": Echo()})
    features: pd.Series = field(
        default_factory=lambda: pd.Series(
            np.random.default_rng(1).random(366),
            pd.date_range("2019-12-01", periods=366, freq="4h", tz="UTC", name="open_time"),
        )
    )

    def keep_features(self):
        frame = self.features.to_frame("return_1")
        for month, part in frame.groupby(frame.index.strftime("%Y-%m-01")):
            attributes = {"covered_until": "2020-02-01T00:00:00+00:00"}
            for asset in ("candles", "features"):  # of candles only the times are read
                self.store.write_frame(asset, "AAA", month, part, attributes)

    def keep_scores(self, target=None, model_id="old"):
        decided = self.features.shift(1).reindex(FILLED)
        own = {"strategy": "xgboost", "model_id": model_id, "target": decided if target is None else target}
        base = {"strategy": "buy_and_hold", "model_id": "", "target": 1.0}
        frame = self.features.to_frame("return_1")
        inputs = {"inputs_hash": inputs_hash(Bars(frame, frame), FILLED, 0)}
        scores = pd.concat([pd.DataFrame(own, FILLED), pd.DataFrame(base, FILLED)])
        self.store.write_frame("shadow_scores", "AAA", WEEK, scores, inputs)

    def load(self, model_id):
        if model_id not in self.models:
            raise RegistryError(f"AAA: version {model_id} is recorded but not in MLflow")
        return self.models[model_id]

    def faults(self, recipe="xgboost", **versions):
        own = {"xgboost": [Version(END - pd.Timedelta(days=7), "old"), Version(END, "new")]}
        others = {"lightgbm": [Version(END, "other")]}
        known = {**own, **others, **versions}
        history = MarketHistory(self.store, load_settings().model_copy(update=SYMBOL), "AAA")
        return health_findings(history, known, self.load, WEEK, recipe)


SP500 = load_settings().symbols["SP500"]
SYMBOL = {"symbols": {"AAA": SP500.model_copy(update={"timeframe": "4h", "calendar": "24/7"})}}


@pytest.fixture
def world(tmp_path):
    built = World(Store(root=str(tmp_path)))
    built.keep_features()
    built.keep_scores()
    return built


def test_a_recipe_whose_versions_load_and_decide_as_stored_has_no_fault(world):
    assert world.faults() == []
    world.models["old"] = Echo(wrong=1e-10)
    assert world.faults() == []


@pytest.mark.parametrize("gone", ["old", "new"])
def test_a_version_that_decided_or_will_and_cannot_be_loaded_is_a_fault(world, gone):
    del world.models[gone]
    assert world.faults() == [f"xgboost cannot be loaded: AAA: version {gone} is recorded but not in MLflow"]


def test_where_nothing_can_be_loaded_the_registry_is_at_fault_and_no_recipe(world):
    world.models.clear()
    with pytest.raises(RegistryError, match=r"neither version old nor another .* nothing was decided"):
        world.faults()


def test_a_recipe_without_a_version_at_the_week_is_a_fault(world):
    late = [Version(END + pd.Timedelta(days=1), "new")]
    assert world.faults(xgboost=late) == ["xgboost has no version as of 2020-01-20"]


def test_positions_that_do_not_reproduce_are_a_fault_that_names_the_first_bar(world):
    target = world.features.shift(1).reindex(FILLED)
    target.iloc[5:8] += 1e-6
    world.keep_scores(target)
    (said,) = world.faults()
    assert said.startswith("3 of 42 positions of xgboost do not reproduce, the first at 2020-01-13 20:00:00+00:00: ")
    target.iloc[5:8] = np.nan
    world.keep_scores(target)
    assert "nan is stored" in world.faults()[0]


def test_features_revised_since_the_scoring_are_nobodys_fault(world):
    world.features.iloc[250:] *= 2
    world.keep_features()
    with pytest.raises(
        ValueError, match=r"bars or features of .* revised .*; materialise shadow_scores of 2020-01-20 again"
    ):
        world.faults()
    world.features.iloc[250:] /= 2
    world.features.loc[END:] *= 3
    world.keep_features()
    assert world.faults() == [], "later bars are no part of it"
    world.features = world.features.drop(FILLED[3])
    world.keep_features()
    with pytest.raises(ValueError, match="revised since it was scored"):
        world.faults()


def test_features_that_are_not_stored_are_nobodys_fault(tmp_path):
    world = World(Store(root=str(tmp_path)))
    world.keep_scores()
    with pytest.raises(StoreError, match="run the job market_data"):
        world.faults()


@pytest.mark.parametrize(("missing", "fault"), [(21, False), (22, True)])
def test_a_recipe_silent_on_more_than_half_of_the_bars_is_a_fault_unless_their_features_were_missing(
    world, missing, fault
):
    class Silent(Echo):
        def positions(self, features):
            return super().positions(features).where(~features.index.isin(quiet))

    quiet = FILLED[:missing] - pd.Timedelta("4h")
    world.models["old"] = Silent()
    target = world.features.shift(1).reindex(FILLED)
    target.iloc[:missing] = np.nan
    world.keep_scores(target)
    said = [f"xgboost decided nothing on {missing} of 42 bars that had their features"] if fault else []
    assert world.faults() == said
    world.features[quiet] = np.nan
    world.keep_features()
    world.keep_scores(target)
    assert world.faults() == []


def test_bars_before_its_first_version_are_not_owed(world):
    target = world.features.shift(1).reindex(FILLED).where(np.arange(42) >= 40)
    world.keep_scores(target, np.where(np.arange(42) >= 40, "old", ""))
    assert world.faults() == []
