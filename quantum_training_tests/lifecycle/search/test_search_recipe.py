"""A search from settings to record: what it may see, that it goes on after a kill, and what becomes of its failures."""

import os
import shutil
import signal
import subprocess
import sys
from importlib import metadata
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from quantum_training.features.windows import InsufficientData
from quantum_training.lifecycle.ingestion import compute_month_features
from quantum_training.lifecycle.market_history import MarketHistory
from quantum_training.lifecycle.records import CANDLES, SearchRecord, write_record
from quantum_training.lifecycle.search.known_market import read_known_market
from quantum_training.lifecycle.search.search_recipe import (
    SearchError,
    extreme_recipes,
    id_of,
    newest_as_of,
    search_recipe,
)
from quantum_training.lifecycle.search.study import open_study
from quantum_training.lifecycle.training.training_window import training_window
from quantum_training.market.periods import Key
from quantum_training.models import feature_set_hash
from quantum_training.models.contract import TrainingContext, algorithm
from quantum_training.models.installed import PackageMissingError, installed_release
from quantum_training.resources.searches import open_searches, searches_url, shown_url
from quantum_training.resources.store.store import Store
from quantum_training.settings.search import Dimension, Search
from quantum_training.trading.metrics import sharpe
from quantum_training.trading.scoring import Version, decisions, trade
from quantum_training_tests.lifecycle.search.conftest import AS_OF, TASK, record_of


def other_home(services, folder):
    """The settings with a database of its own, and a copy of the store."""
    folder.mkdir()
    places = {"database_url": f"sqlite:///{folder}/q.db", "training_state_root": str(folder / "state")}
    shutil.copytree(services.store.root, folder / "store")
    return services.settings.model_copy(update=places), Store(root=str(folder / "store"))


def test_a_search_is_made_once_and_gives_the_same_record_elsewhere(searched, tmp_path):
    services, lines = searched(), []
    record = search_recipe(services.settings, services.store, TASK, lines.append)
    assert (record.trials, record.failed, record.bars) == (6, 0, 120)
    assert (record.first_bar, record.last_bar) == ("2020-01-07T00:00:00+00:00", "2020-01-26T20:00:00+00:00")
    assert 1 <= record.effective_trials <= record.counted_trials <= 6
    assert [line.split(":")[0] for line in lines] == [f"trial {n} of 6" for n in range(1, 7)]
    assert search_recipe(services.settings, services.store, TASK, lines.append) == record
    assert len(lines) == 6
    assert not os.listdir(services.settings.training_state_root)
    other = search_recipe(*other_home(services, tmp_path / "other"), TASK)
    assert other == record
    assert newest_as_of(services.store, "AAA") == pd.Timestamp("2020-02-24", tz="UTC")


def test_bars_after_as_of_change_nothing(searched, tmp_path):
    services = searched()
    record = search_recipe(services.settings, services.store, TASK)
    settings, store = other_home(services, tmp_path / "other")
    rng = np.random.default_rng(0)
    for month in ("2020-01-01", "2020-02-01"):
        candles, attributes = store.read_with_attributes(CANDLES, "AAA", month, month)
        later = candles.index >= AS_OF
        candles.loc[later, ["open", "high", "low", "close"]] *= 1.5
        candles.loc[later, "volume"] *= rng.uniform(0.5, 2, later.sum())
        store.write_frame(
            CANDLES, "AAA", month, candles, {k: v for k, v in attributes[month].items() if "hash" not in k}
        )
        compute_month_features(store, settings, Key("AAA", pd.Timestamp(month, tz="UTC")))
    assert search_recipe(settings, store, TASK) == record
    changed = TASK._replace(as_of=AS_OF + pd.Timedelta(days=7))
    assert search_recipe(settings, store, changed).data_hash != search_recipe(*_as(services), changed).data_hash


def _as(services):
    return services.settings, services.store


SCRIPT = """
import os, signal, sys
from quantum_training.lifecycle.search import trial
from quantum_training.lifecycle.search.search_recipe import search_recipe
from quantum_training.resources.store.store import Store
from quantum_training.settings import load_settings
from quantum_training_tests.lifecycle.search.conftest import TASK

walk_forward, folds_left = trial.walk_forward, [int(sys.argv[2])]

def killed(market, recipe, each_fold):
    for walk in walk_forward(market, recipe, each_fold=True):
        folds_left[0] -= 1
        if folds_left[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        yield walk

trial.walk_forward = killed
search_recipe(load_settings(), Store(root=sys.argv[1]), TASK)
"""


def stored_trials(services, search_id):
    return open_study(open_searches(services.settings.database_url), search_id).get_trials(deepcopy=False)


@pytest.mark.long
@pytest.mark.parametrize("pruner", ["none", "median"])
def test_a_search_that_is_killed_goes_on_with_the_same_result(searched, tmp_path, pruner):
    services = searched(trials=12, pruner=pruner)
    undisturbed = search_recipe(*other_home(services, tmp_path / "other"), TASK)
    assert (undisturbed.pruned > 0) == (pruner == "median")

    ended = []
    for folds in (5, 1, 17):  # within the second trial, in the first fold of the next process, and far on
        command = [sys.executable, "-c", SCRIPT, services.store.root, str(folds)]
        process = subprocess.run(command, capture_output=True, text=True, check=False)
        assert process.returncode == -signal.SIGKILL, process.stderr[-2000:]
        ended.append(len(stored_trials(services, undisturbed.search_id)))
    assert ended[:2] == [1, 1], "a trial that was killed leaves nothing"
    assert ended[2] > 5
    assert services.store.periods("searches", "AAA", "json") == []
    shutil.rmtree(services.settings.training_state_root)  # as on another machine
    assert search_recipe(*_as(services), TASK) == undisturbed
    assert [t.number for t in stored_trials(services, undisturbed.search_id)] == [*range(12)]
    assert not os.listdir(services.settings.training_state_root)


def test_failed_trials_keep_their_reason_and_are_never_a_score(searched):
    space = {"params.booster": {"choices": ["gbtree", "gbforest"]}, "params.max_depth": {"low": 1, "high": 3}}
    services = searched(space=space, sampler="random", trials=8)
    record = search_recipe(*_as(services), TASK)
    assert 0 < record.failed < 8
    ((reason, times),) = record.failures.items()
    assert "gbforest" in reason
    assert reason.startswith("XGBoostError: /") or reason.startswith("XGBoostError: Unknown"), (
        "no clock, no stack trace"
    )
    assert times == record.failed
    assert record.best_values["params.booster"] == "gbtree"
    assert {t.value for t in stored_trials(services, record.search_id) if t.state.name == "FAIL"} == {None}


def test_a_search_without_any_score_says_why(searched):
    services = searched(space={"params.max_dpth": {"low": 1, "high": 3}}, trials=3)
    message = "no trial has a score, 3 of 3 for this reason: ValueError: xgboost has no use for parameter max_dpth"
    with pytest.raises(SearchError, match=message):
        search_recipe(*_as(services), TASK)
    assert services.store.periods("searches", "AAA", "json") == []


def test_values_that_the_recipe_refuses_together_fail_their_trial(searched):
    space = {"sizing.break_even": {"low": 0.45, "high": 0.59}, "sizing.full": {"low": 0.5, "high": 0.7}}
    record = search_recipe(*_as(searched(space=space, trials=10, sampler="random", folds=2)), TASK)
    assert record.failed
    assert all("must be above break_even" in r or r == "no_variance" for r in record.failures)


def test_a_budget_of_seconds_ends_a_search_before_its_trials(searched):
    services = searched(trials=1000, cpu_seconds=1)
    record = search_recipe(*_as(services), TASK)
    assert 1 <= record.trials < 1000
    assert all(trial.duration for trial in stored_trials(services, record.search_id)), "for a budget that goes on"


def test_too_few_bars_are_said_with_the_number_needed(searched):
    with pytest.raises(InsufficientData, match=r"bars without a gap known at .*, need 5001"):
        search_recipe(*_as(searched(bars=5000)), TASK)


def test_the_folds_follow_each_other_and_a_fit_sees_only_what_is_known_before_the_embargo(searched):
    services = searched(embargo_bars=3)
    recipe = services.settings.recipes["xgboost"]
    history = MarketHistory(services.store, services.settings, "AAA")
    market = read_known_market(history, recipe.search, extreme_recipes(recipe), AS_OF)
    assert [(fold.start, fold.stop) for fold in market.folds] == [(0, 40), (40, 80), (80, 120)]
    assert market.scored[-1] == AS_OF - pd.Timedelta(hours=4)
    for fold in market.folds:
        assert fold.as_of == market.scored[fold.start] - 3 * pd.Timedelta(hours=4)
        window = market.window(recipe, fold.as_of)
        assert window.full_ends.max() < fold.as_of.to_datetime64()
        trained = training_window(services.store, services.settings, "AAA", recipe, fold.as_of)
        assert window.content_hash == trained.content_hash, "the window of a training as of then"
        assert window.as_of == trained.as_of
        deeper = recipe.with_values({"params.max_depth": 9})
        assert market.window(deeper, fold.as_of) is window, "trials that learn from the same rows share them"
    assert market.window(recipe.with_values({"label.horizon": 3}), fold.as_of) is not window


def test_a_search_that_may_choose_a_label_of_a_cross_section_is_another_if_other_members_bars_change(searched):
    services = searched()
    recipe = services.settings.recipes["xgboost"]
    compared = {"kind": "cross_section", "within": "top", "horizon": 2}
    dimension = Dimension(choices=(recipe.label.model_dump(), compared))
    recipe = recipe.model_copy(update={"search": Search(space={"label": dimension})})
    history = MarketHistory(services.store, services.settings, "AAA")
    markets = [SimpleNamespace(history=history, data_hash="same", labels_hash=lambda _, h=h: h) for h in ("one", "two")]
    one, two = (id_of(TASK, recipe, market) for market in markets)
    assert one != two


@pytest.mark.parametrize(
    ("place", "values"),
    [
        ("label", ({"kind": "forward_return", "horizon": 2}, {"kind": "own", "module": "mine", "horizon": 2})),
        ("params.trading.reward.module", ("mine", "yours")),
    ],
)
def test_the_code_of_labels_and_rewards_that_a_trial_may_choose_is_in_the_id(searched, monkeypatch, place, values):
    settings = searched().settings
    recipe = settings.recipes["xgboost"].model_copy(update={"search": Search(space={place: Dimension(choices=values)})})
    market = SimpleNamespace(history=MarketHistory(None, settings, "AAA"), data_hash="same")
    ids = set()
    for code in ("first", "second"):
        monkeypatch.setattr(feature_set_hash, "_module_hash", lambda module, code=code: f"{code} of {module}")
        ids.add(id_of(TASK, recipe, market))
    assert len(ids) == 2


def test_trials_at_the_same_time_are_another_search_and_one_at_a_time_has_the_id_from_before(searched, monkeypatch):
    recipe = searched().settings.recipes["xgboost"]
    market = SimpleNamespace(history=MarketHistory(None, searched().settings, "AAA"), data_hash="same")
    monkeypatch.setattr("quantum_training.lifecycle.search.search_recipe.identity", lambda **parts: parts["search"])
    before = recipe.search.model_dump(mode="json", exclude={"parallel_trials"})
    for trials, known in ((1, before), (4, {**before, "parallel_trials": 4})):
        search = recipe.search.model_copy(update={"parallel_trials": trials})
        assert id_of(TASK, recipe.model_copy(update={"search": search}), market) == known


def test_what_cannot_be_searched_is_refused(searched):
    services = searched()
    for change, message in (
        ({"warm_start": True}, "cannot be searched"),
        ({"algorithm": "ensemble_vote"}, "cannot be searched"),
        ({"search": None}, "has no search"),
    ):
        recipe = services.settings.recipes["xgboost"].model_copy(update=change)
        recipes = {**services.settings.recipes, "xgboost": recipe}
        with pytest.raises(SearchError, match=message):
            search_recipe(services.settings.model_copy(update={"recipes": recipes}), services.store, TASK)


def test_a_recipe_that_was_found_is_searched_again_with_later_data_only(searched):
    services = searched(trials=2)
    earlier = "0123456789abcdef"
    recipe = services.settings.recipes["xgboost"].model_copy(update={"found_by": earlier})
    settings = services.settings.model_copy(update={"recipes": {**services.settings.recipes, "xgboost": recipe}})
    write_record(services.store, "AAA", earlier, record_of(earlier, "2020-01-28"))
    with pytest.raises(SearchError, match="was found by a search that saw data up to 2020-01-28 00:00; give a later"):
        search_recipe(settings, services.store, TASK)
    write_record(services.store, "AAA", earlier, record_of(earlier, "2020-01-27"))
    record = search_recipe(settings, services.store, TASK)
    assert record.found_by == earlier
    assert record.search_id != search_recipe(*_as(services), TASK).search_id


def test_the_trials_lie_beside_the_project_database(searched, tmp_path):
    assert searches_url(f"sqlite:///{tmp_path}/q.db") == f"sqlite:///{tmp_path}/searches.db"
    address = "postgresql+psycopg2://me:{}@host/q"
    with_schema = address + "?options=-csearch_path%3Doptuna"
    assert searches_url(address.format("word")) == with_schema.format("word")
    assert shown_url(address.format("word")) == with_schema.format("***")


@pytest.mark.long
def test_a_search_on_postgres_leaves_the_projects_tables_alone(searched, tmp_path, postgres_url):
    import sqlalchemy as sa

    services = searched()
    settings = services.settings.model_copy(update={"database_url": postgres_url})
    record = search_recipe(settings, services.store, TASK)
    assert isinstance(record, SearchRecord)
    engine = sa.create_engine(postgres_url, poolclass=sa.NullPool)
    assert "trials" in sa.inspect(engine).get_table_names("optuna")
    assert not {"trials", "alembic_version"} & {*sa.inspect(engine).get_table_names("public")}


def test_without_optuna_the_error_names_the_extra(searched, monkeypatch):
    services = searched()

    def version(name):
        raise metadata.PackageNotFoundError(name)

    installed_release.cache_clear()
    monkeypatch.setattr(metadata, "version", version)
    with pytest.raises(PackageMissingError, match=r"optuna is not installed: pip install 'quantum_training\[search\]'"):
        search_recipe(*_as(services), TASK)
    installed_release.cache_clear()


@pytest.mark.long
def test_an_agent_can_be_searched_on_the_market_before_each_fold(searched, small):
    agent = {"total_steps": 300, "environments": 8, "batch_size": 32, "network": [8], "learning_starts": 80}
    small["recipes"]["xgboost"] |= {"algorithm": "sac", "params": {**agent, "gradient_steps": 1}}
    space = {"params.gamma": {"low": 0.9, "high": 0.99}}
    services = searched(space=space, trials=2, folds=2)
    record = search_recipe(*_as(services), TASK)
    assert (record.trials, record.failures) == (2, {})


@pytest.mark.parametrize("embargo_bars", [0, 5])
def test_a_score_is_that_of_trainings_as_of_each_fold_by_the_functions_of_the_weekly_cycle(searched, embargo_bars):
    services = searched(embargo_bars=embargo_bars)
    record = search_recipe(*_as(services), TASK)
    history = MarketHistory(services.store, services.settings, "AAA")
    recipe = services.settings.recipes["xgboost"].with_values(record.best_values)
    bars, market = history.known_bars("2019-09-01", AS_OF), history.market
    scored = pd.DatetimeIndex(bars.candles.index[-120:])
    versions, models = [], {}
    for first in (0, 40, 80):
        as_of = scored[first] - embargo_bars * pd.Timedelta(hours=4)
        window = training_window(services.store, services.settings, "AAA", recipe, as_of)
        context = TrainingContext(window, recipe.params, recipe.sizing, recipe.seed)
        models[f"{first}"] = algorithm(recipe.algorithm).fit(context)
        versions.append(Version(scored[first], f"{first}"))
    decided = decisions(*bars, versions, scored[0], models.__getitem__).position.loc[scored[0] :]
    net = trade(bars.candles, scored[0], {"best": decided}, market.costs, market.account).net_return[:, 0]
    assert sharpe(net, 1.0)[0] == record.best_score
