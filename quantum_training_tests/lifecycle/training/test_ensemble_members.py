"""The members of an ensemble and their out-of-sample positions, without a fit: the models are stand-ins."""

import pandas as pd
import pytest

from quantum_training.lifecycle.market_history import MarketHistory
from quantum_training.lifecycle.training.ensemble_members import (
    OutOfSampleSpan,
    members_of,
    out_of_sample_positions,
    read_members,
)

FIRST, SECOND, AS_OF = (pd.Timestamp(day, tz="UTC") for day in ("2019-12-30", "2020-01-06", "2020-01-15"))


class Constant:
    """Decides the same position on every bar."""

    lookback_bars, has_account = 0, False

    def __init__(self, position):
        self.position = position

    def positions(self, features):
        return pd.Series(self.position, features.index)


MODELS = {"long": Constant(1.0), "half": Constant(0.5)}


@pytest.fixture
def vote(small, market, record_version):
    """A vote on two boosters; the first booster has two versions."""
    small["recipes"]["vote"] = {**small["recipes"]["lightgbm"], "algorithm": "ensemble_vote", "params": {}}
    small["symbols"]["AAA"]["recipes"] = ["xgboost", "lightgbm", "vote"]
    del small["symbols"]["BBB"]
    services = market(small)
    record_version(services.store, "xgboost", FIRST.tz_convert(None), "long")
    record_version(services.store, "xgboost", SECOND.tz_convert(None), "half")
    return services


def span_of(services, load=MODELS.get, cache=None):
    history = MarketHistory(services.store, services.settings, "AAA")
    bars = history.known_bars("2019-09-01", AS_OF)
    return OutOfSampleSpan(history, FIRST - pd.Timedelta(days=3), AS_OF, bars, load, {} if cache is None else cache)


def test_each_bar_is_decided_by_the_newest_version_of_before_it(vote):
    positions = out_of_sample_positions(span_of(vote), "xgboost")
    assert positions.loc[: FIRST - pd.Timedelta("1ns")].isna().all(), "there was no version yet"
    assert (positions.loc[FIRST : SECOND - pd.Timedelta("1ns")] == 1.0).all()
    assert (positions.loc[SECOND:] == 0.5).all()
    assert positions.index[-1] < AS_OF


def test_a_complete_week_is_decided_once_in_a_run(vote):
    loaded = []

    def load(model_id):
        loaded.append(model_id)
        return MODELS[model_id]

    decided = out_of_sample_positions(span_of(vote, load), "xgboost")
    cache = {}
    assert out_of_sample_positions(span_of(vote, load, cache), "xgboost").equals(decided)
    loaded.clear()
    assert out_of_sample_positions(span_of(vote, load, cache), "xgboost").equals(decided)
    assert set(loaded) == {"half"}, "only the week in progress is decided again"


def test_members_that_cannot_be_used_are_excluded_with_the_reason(vote, record_version):
    members = read_members(span_of(vote), "vote")
    assert (list(members.models), members.model_ids) == (["xgboost"], {"xgboost": "half"})
    assert members.excluded == {"lightgbm": "it has no version yet"}
    assert list(members.positions) == ["xgboost"]
    record_version(vote.store, "lightgbm", SECOND.tz_convert(None), "deleted")
    members = read_members(span_of(vote), "vote")
    assert members.excluded == {"lightgbm": "its version deleted cannot be loaded"}


def test_an_ensemble_combines_all_other_recipes_unless_it_names_its_members(vote):
    settings = vote.settings
    assert sorted(members_of(settings, "vote")) == ["lightgbm", "xgboost"]
    assert members_of(settings, "xgboost") == ()
    nested = settings.recipes["vote"].model_copy(update={"members": ("other", "xgboost")})
    recipes = {**settings.recipes, "vote": nested, "other": settings.recipes["vote"]}
    with pytest.raises(ValueError, match=r"recipes\.vote\.members: other is an ensemble itself"):
        members_of(settings.model_copy(update={"recipes": recipes}), "vote")
