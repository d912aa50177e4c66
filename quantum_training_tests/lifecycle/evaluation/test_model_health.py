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
from quantum_training.settings import load_settings
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
class ScoredWeek:
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
        recorded_versions = {**own, **others, **versions}
        history = MarketHistory(self.store, load_settings().model_copy(update=SYMBOL), "AAA")
        return health_findings(history, recorded_versions, self.load, WEEK, recipe)


SP500 = load_settings().symbols["SP500"]
SYMBOL = {"symbols": {"AAA": SP500.model_copy(update={"timeframe": "4h", "calendar": "24/7"})}}


@pytest.fixture
def scored_week(tmp_path):
    built = ScoredWeek(Store(root=str(tmp_path)))
    built.keep_features()
    built.keep_scores()
    return built


def test_a_recipe_whose_versions_load_and_decide_as_stored_has_no_fault(scored_week):
    assert scored_week.faults() == []
    scored_week.models["old"] = Echo(wrong=1e-10)
    assert scored_week.faults() == []


@pytest.mark.parametrize("missing", ["old", "new"])
def test_a_version_that_decided_or_will_and_cannot_be_loaded_is_a_fault(scored_week, missing):
    del scored_week.models[missing]
    assert scored_week.faults() == [f"xgboost cannot be loaded: AAA: version {missing} is recorded but not in MLflow"]


def test_if_no_version_can_be_loaded_the_registry_is_at_fault_and_no_recipe(scored_week):
    scored_week.models.clear()
    with pytest.raises(RegistryError, match=r"neither version old nor another .* nothing was decided"):
        scored_week.faults()


def test_a_recipe_without_a_version_at_the_week_is_a_fault(scored_week):
    late = [Version(END + pd.Timedelta(days=1), "new")]
    assert scored_week.faults(xgboost=late) == ["xgboost has no version as of 2020-01-20"]


def test_positions_that_do_not_reproduce_are_a_fault_that_names_the_first_bar(scored_week):
    target = scored_week.features.shift(1).reindex(FILLED)
    target.iloc[5:8] += 1e-6
    scored_week.keep_scores(target)
    (message,) = scored_week.faults()
    assert message.startswith("3 of 42 positions of xgboost do not reproduce, the first at 2020-01-13 20:00:00+00:00: ")
    target.iloc[5:8] = np.nan
    scored_week.keep_scores(target)
    assert "nan is stored" in scored_week.faults()[0]


def test_features_revised_since_the_scoring_are_no_fault_of_a_recipe(scored_week):
    scored_week.features.iloc[250:] *= 2
    scored_week.keep_features()
    with pytest.raises(
        ValueError, match=r"bars or features of .* revised .*; materialise shadow_scores of 2020-01-20 again"
    ):
        scored_week.faults()
    scored_week.features.iloc[250:] /= 2
    scored_week.features.loc[END:] *= 3
    scored_week.keep_features()
    assert scored_week.faults() == [], "later bars are no part of it"
    scored_week.features = scored_week.features.drop(FILLED[3])
    scored_week.keep_features()
    with pytest.raises(ValueError, match="revised since it was scored"):
        scored_week.faults()


def test_missing_features_are_no_fault_of_a_recipe(tmp_path):
    scored_week = ScoredWeek(Store(root=str(tmp_path)))
    scored_week.keep_scores()
    with pytest.raises(StoreError, match="run the job market_data"):
        scored_week.faults()


@pytest.mark.parametrize(("missing", "fault"), [(21, False), (22, True)])
def test_no_position_on_more_than_half_of_the_bars_is_a_fault_unless_features_were_missing(scored_week, missing, fault):
    class Silent(Echo):
        def positions(self, features):
            return super().positions(features).where(~features.index.isin(quiet))

    quiet = FILLED[:missing] - pd.Timedelta("4h")
    scored_week.models["old"] = Silent()
    target = scored_week.features.shift(1).reindex(FILLED)
    target.iloc[:missing] = np.nan
    scored_week.keep_scores(target)
    faults = [f"xgboost decided nothing on {missing} of 42 bars that had their features"] if fault else []
    assert scored_week.faults() == faults
    scored_week.features[quiet] = np.nan
    scored_week.keep_features()
    scored_week.keep_scores(target)
    assert scored_week.faults() == []


def test_bars_before_the_first_version_need_no_position(scored_week):
    target = scored_week.features.shift(1).reindex(FILLED).where(np.arange(42) >= 40)
    scored_week.keep_scores(target, np.where(np.arange(42) >= 40, "old", ""))
    assert scored_week.faults() == []
