"""The shadow scores of a week: which version decides a bar, and what happens when a version cannot be loaded."""

import pandas as pd
import pytest

from quantum_training.lifecycle.evaluation.scoring import ScoredWeek, score_week
from quantum_training.lifecycle.market_history import MarketHistory
from quantum_training.lifecycle.restatement import RESTATEMENTS
from quantum_training.lifecycle.training.version_loader import VersionLoader
from quantum_training.resources.registry.errors import RegistryError, VersionDeleted
from quantum_training.resources.store.store import Store, StoreError
from quantum_training.settings import load_settings
from quantum_training.trading.baselines import BASELINES

START = pd.Timestamp("2020-01-06", tz="UTC")
WEEK = pd.Timestamp("2020-01-13", tz="UTC")
"""The week's scores are of the bars from START to here."""
WEDNESDAY = pd.Timestamp("2020-01-08", tz="UTC")
BARS, BARS_BEFORE_WEDNESDAY = 42, 12


class ConstantModel:
    """Decides the same position on every bar."""

    lookback_bars, has_account = 0, False

    def __init__(self, position):
        self.position = position

    def positions(self, features):
        return pd.Series(self.position, features.index)


def write_months(store, asset, frame):
    for month, part in frame.groupby(frame.index.strftime("%Y-%m-01")):
        store.write_frame(asset, "AAA", month, part, {"covered_until": "2020-01-20T00:00:00+00:00"})


@pytest.fixture
def history(tmp_path, make_candles):
    """A market of 4h bars with the recipes xgboost and lightgbm, stored from November up to 2020-01-20."""
    store, settings = Store(root=str(tmp_path)), load_settings()
    times = pd.date_range("2019-11-01", "2020-01-20", freq="4h", tz="UTC", inclusive="left", name="open_time")
    candles = make_candles(len(times), freq="4h").set_axis(times)
    write_months(store, "candles", candles)
    write_months(store, "features", candles[["close"]].rename(columns={"close": "feature"}))
    market = settings.symbols["SP500"].model_copy(update={"timeframe": "4h", "calendar": "24/7"})
    return MarketHistory(store, settings.model_copy(update={"symbols": {"AAA": market}}), "AAA")


@pytest.fixture
def record(history):
    """`record(recipe, (as_of, model_id), ...)`: records these versions in the week of START; all are accepted."""

    def write(recipe, *versions, accepted=True):
        refresh = {"accepted": accepted, "reason": "of the test"}
        entries = [{"as_of": t.isoformat(), "model_id": model_id, "refresh": refresh} for t, model_id in versions]
        history.store.write_record(
            f"{recipe}_model", "AAA", f"{START:%Y-%m-%d}", {"outcome": "trained", "versions": entries}
        )

    return write


def loader(**models):
    """A loader of these models by model id; a model that is an exception is raised."""

    def load(model_id):
        if isinstance(models[model_id], Exception):
            raise models[model_id]
        return ConstantModel(models[model_id])

    return VersionLoader(load)


def scores_of(scored, strategy):
    return scored.scores[scored.scores["strategy"] == strategy]


def test_each_bar_is_decided_by_the_newest_version_whose_as_of_is_not_after_its_open(history, record):
    record("xgboost", (START, "monday"), (WEDNESDAY, "wednesday"))
    scored = score_week(history, WEEK, loader(monday=0.25, wednesday=1.0))
    scores = scores_of(scored, "xgboost")
    assert list(scores["model_id"]) == ["monday"] * BARS_BEFORE_WEDNESDAY + ["wednesday"] * (
        BARS - BARS_BEFORE_WEDNESDAY
    )
    assert list(scores["target"]) == [0.25] * BARS_BEFORE_WEDNESDAY + [1.0] * (BARS - BARS_BEFORE_WEDNESDAY)
    assert scores.index[0] == START
    assert scores.index[-1] == WEEK - pd.Timedelta("4h")
    assert scored.not_loaded == []


def test_bars_before_the_first_version_and_recipes_without_one_are_undecided(history, record):
    record("xgboost", (WEDNESDAY, "wednesday"))
    scored = score_week(history, WEEK, loader(wednesday=1.0))
    assert scores_of(scored, "xgboost")["target"].isna().sum() == BARS_BEFORE_WEDNESDAY
    without_version = scores_of(scored, "lightgbm")
    assert without_version["target"].isna().all()
    assert (without_version["net_return"] == 0).all()


def test_a_version_that_the_refresh_gate_refused_decides_nothing(history, record):
    record("xgboost", (START, "refused"), accepted=False)
    assert scores_of(score_week(history, WEEK, loader(refused=1.0)), "xgboost")["target"].isna().all()


def test_baselines_are_scored_without_a_model_id(history):
    scored = score_week(history, WEEK, loader())
    for name in BASELINES:
        assert set(scores_of(scored, name)["model_id"]) == {""}
    assert (scores_of(scored, "buy_and_hold")["target"] == 1).all()


def test_scoring_a_week_again_writes_nothing(history, record):
    record("xgboost", (START, "a"))
    first, second = (score_week(history, WEEK, loader(a=0.5)) for _ in range(2))
    assert (first.written.changed, second.written.changed) == (True, False)
    pd.testing.assert_frame_equal(first.scores, history.scores("2020-01-13"), check_freq=False)


def test_a_week_without_a_bar_before_it_is_refused(history):
    for month in ("2019-11-01", "2019-12-01"):
        for asset in ("candles", "features"):
            frame = history.store.read_frame(asset, "AAA", month)
            history.store.write_frame(asset, "AAA", month, frame.iloc[:0], {})
    month = history.store.read_frame("candles", "AAA", "2020-01-01")
    history.store.write_frame(
        "candles", "AAA", "2020-01-01", month.loc[START:], {"covered_until": "2020-01-20T00:00:00+00:00"}
    )
    with pytest.raises(ValueError, match=r"no bar before 2020-01-06.*the first week that can be scored is later"):
        score_week(history, WEEK, loader())


def test_a_version_that_cannot_be_loaded_leaves_its_bars_undecided_and_is_reported(history, record):
    record("xgboost", (START, "broken"))
    record("lightgbm", (START, "sound"))
    load = loader(broken=RegistryError("broken: its artefact is torn"), sound=1.0)
    scored = score_week(history, WEEK, load)
    scores = scores_of(scored, "xgboost")
    assert scores["target"].isna().all()
    assert set(scores["model_id"]) == {"broken"}
    assert scored.not_loaded == ["broken"]
    assert load.errors == {"broken": "broken: its artefact is torn"}
    assert (scores_of(scored, "lightgbm")["target"] == 1).all()


def test_if_no_version_can_be_loaded_the_registry_is_reported_and_nothing_is_stored(history, record):
    record("xgboost", (START, "a"))
    record("lightgbm", (START, "b"))
    with pytest.raises(
        RegistryError, match=r"AAA: neither version a, b nor another can be loaded.*nothing was decided"
    ):
        score_week(history, WEEK, loader(a=RegistryError("a"), b=RegistryError("b")))
    assert history.scored_weeks() == []


def test_an_older_version_that_loads_shows_that_the_registry_works(history, record):
    record("xgboost", (START - pd.Timedelta(days=7), "older"), (START, "broken"))
    scored = score_week(history, WEEK, loader(older=1.0, broken=RegistryError("broken")))
    assert scored.not_loaded == ["broken"]


def test_scores_of_deleted_versions_are_kept(history, record):
    record("xgboost", (START, "a"))
    score_week(history, WEEK, loader(a=0.5))
    stored = history.scores("2020-01-13")
    assert score_week(history, WEEK, loader(a=VersionDeleted("a was removed"))) == ScoredWeek(None, None, ["a"])
    pd.testing.assert_frame_equal(history.scores("2020-01-13"), stored)


def test_scores_of_deleted_versions_stand_after_a_restatement_and_say_so(history, record):
    record("xgboost", (START, "a"))
    score_week(history, WEEK, loader(a=0.5))
    features = history.store.read_frame("features", "AAA", "2020-01-01")
    write_months(history.store, "features", features + 1.0)
    gone = loader(a=VersionDeleted("a was removed"))
    with pytest.raises(ValueError, match="bars or features were revised"):
        score_week(history, WEEK, gone)
    restated = {"last": WEEK.isoformat(), "message": "prices multiplied by 0.998", "done": True}
    history.store.write_record(RESTATEMENTS, "AAA", "2020-01-14", restated)
    assert score_week(history, WEEK, gone) == ScoredWeek(None, None, ["a"], ("prices multiplied by 0.998",))
    history.store.write_record(RESTATEMENTS, "AAA", "2020-01-15", {**restated, "done": False})
    with pytest.raises(StoreError, match="restatement of its candles was interrupted"):
        score_week(history, WEEK, gone)


def test_scores_of_deleted_versions_on_revised_features_are_an_error(history, record):
    record("xgboost", (START, "a"))
    score_week(history, WEEK, loader(a=0.5))
    features = history.store.read_frame("features", "AAA", "2020-01-01")
    write_months(history.store, "features", features * 1.01)
    with pytest.raises(ValueError, match=r"bars or features were revised.*a was removed"):
        score_week(history, WEEK, loader(a=VersionDeleted("a was removed")))


def test_the_loader_loads_each_version_once_and_logs_each_error_once():
    requests, messages = [], []

    def load(model_id):
        requests.append(model_id)
        if model_id == "deleted":
            raise VersionDeleted("deleted: it was removed")
        return ConstantModel(1.0)

    load_version = VersionLoader(load, messages.append)
    models = [load_version(model_id) for model_id in ("a", "deleted", "a", "deleted")]
    assert requests == ["a", "deleted"]
    assert models[0] is models[2]
    assert models[1] is models[3] is None
    assert messages == ["deleted: it was removed; it decides nothing"]
    assert load_version.deleted == ["deleted"]


def test_the_record_of_a_recipe_that_is_no_longer_configured_stays_if_a_week_is_scored_again(history, record):
    record("xgboost", (START, "x"))
    record("lightgbm", (START, "l"))
    before = score_week(history, WEEK, loader(x=0.5, l=1.0))
    market = history.market.model_copy(update={"recipes": ("lightgbm",)})
    renamed = MarketHistory(
        history.store, history.settings.model_copy(update={"symbols": {"AAA": market}}), history.symbol
    )
    first, second = (score_week(renamed, WEEK, loader(l=1.0)) for _ in range(2))
    for strategy in ("xgboost", "lightgbm", *BASELINES):
        rows = (scores_of(scored, strategy) for scored in (before, first))
        pd.testing.assert_frame_equal(*rows, check_exact=True, check_freq=False)
    assert not second.written.changed
    assert scores_of(second, "xgboost")["model_id"].eq("x").all()
