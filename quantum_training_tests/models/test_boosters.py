"""Both booster families against the contract of models/contract.py: the same rules, the same tests."""

import gc
import json
import os
import subprocess
import sys
import weakref
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from quantum_training.models.contract import TrainingContext, algorithm, load_model, save_model
from quantum_training.models.sizing import Sizing

FAMILIES = ("xgboost", "lightgbm")
PARAMS = {"max_rounds": 40, "learning_rate": 0.2, "subsample": 0.7, "bagging_freq": 1, "max_depth": 3}
CORES_USED = """
import json, pathlib, sys
from quantum_training.models.contract import TrainingContext, algorithm, save_model
import pandas as pd
from quantum_training.features.windows import WindowSize, build_window

features = pd.read_parquet("features.parquet")
labels = pd.DataFrame({"label": (features["a"] > 0).astype(float), "label_end": features.index}, features.index)
options = {"columns": ("a", "b", "c"), "size": WindowSize(max_rows=400, validation_fraction=0.2, min_rows=50)}
window = build_window(features, labels, as_of=features.index[-1], **options)
threads = lambda: int(next(l for l in open("/proc/self/status") if l.startswith("Threads")).split()[1])
out = {}
for family, params in json.loads(sys.argv[1]).items():
    cls = algorithm(family)
    cls.fit(TrainingContext(window, params, seed=7)).positions(features)  # the import may start threads
    before = threads()
    model = cls.fit(TrainingContext(window, params, seed=7))
    model.positions(features)
    out[family] = [save_model(model, pathlib.Path("copy") / family, family), threads() - before]
print(json.dumps(out))
"""


def params_of(family, **more):
    supported = {k: v for k, v in PARAMS.items() if not (family == "xgboost" and k == "bagging_freq")}
    return {**supported, **more}


@pytest.fixture(params=FAMILIES)
def family(request):
    return request.param


@pytest.fixture
def fit(family):
    def run(window, seed=7, sizing=None, progress=lambda text: None, **params):
        context_fields = {"sizing": sizing or Sizing(), "seed": seed, "progress": progress}
        return algorithm(family).fit(TrainingContext(window, params_of(family, **params), **context_fields))

    return run


def test_xgboost_bins_a_window_once_and_fits_as_on_a_fresh_one(make_window, tmp_path, monkeypatch):
    import xgboost

    made = []
    real = xgboost.DMatrix
    monkeypatch.setattr(xgboost, "DMatrix", lambda *args, **options: made.append(0) or real(*args, **options))
    shared = make_window()
    varied = ({"max_bin": 16}, {}, {"max_bin": 300, "max_depth": 6}, {"grow_policy": "lossguide"}, {"max_bin": 16})
    for number, params in enumerate(varied):
        contexts = {"shared": TrainingContext(shared, params), "fresh": TrainingContext(replace(shared), params)}
        models = {name: algorithm("xgboost").fit(context) for name, context in contexts.items()}
        hashes = {save_model(model, tmp_path / f"{number}{name}", "xgboost") for name, model in models.items()}
        assert len(hashes) == 1
    assert len(made) == 3 * (1 + len(varied)), "train, validation and all rows"
    with ThreadPoolExecutor(1) as other_thread:  # a fit here with another max_bin would bin anew what that one reads
        other_thread.submit(algorithm("xgboost").fit, contexts["shared"]).result()
    assert len(made) == 3 * (2 + len(varied))
    gone = weakref.ref(shared)
    del shared, contexts
    gc.collect()
    assert gone() is None


def test_the_same_window_and_seed_give_the_same_bytes_and_another_seed_does_not(fit, family, make_window, tmp_path):
    window = make_window(lambda f: f["a"] + f["b"] ** 2 > 1)
    first, again, other = (
        save_model(fit(window, seed=seed), tmp_path / str(i), family) for i, seed in enumerate((7, 7, 8))
    )
    assert first == again
    assert first != other
    for file in (tmp_path / "0").iterdir():
        assert file.read_bytes() == (tmp_path / "1" / file.name).read_bytes()


@pytest.mark.long
def test_another_process_gives_the_same_bytes_with_one_thread(make_features, tmp_path):
    features = make_features(400)
    features.to_parquet(tmp_path / "features.parquet")
    runs = []
    for hash_seed in ("1", "2"):
        folder = tmp_path / hash_seed
        folder.mkdir()
        (folder / "features.parquet").write_bytes((tmp_path / "features.parquet").read_bytes())
        arguments = [sys.executable, "-c", CORES_USED, json.dumps({f: params_of(f) for f in FAMILIES})]
        env = {**os.environ, "PYTHONHASHSEED": hash_seed}
        done = subprocess.run(arguments, cwd=folder, env=env, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        runs.append(json.loads(done.stdout.splitlines()[-1]))
    assert runs[0] == runs[1]
    assert {family: threads for family, (_, threads) in runs[0].items()} == dict.fromkeys(FAMILIES, 0)


def test_the_fit_uses_one_thread_of_its_library(fit, family, make_window):
    core = fit(make_window()).core
    if family == "xgboost":
        assert json.loads(core.save_config())["learner"]["generic_param"]["nthread"] == "1"
    else:
        assert "[num_threads: 1]" in core.model_to_string()


def test_a_saved_model_comes_back_equal_in_every_bit(fit, family, make_window, make_features, tmp_path):
    model = fit(make_window(), sizing=Sizing(break_even=0.45, full=0.9, step=0.1))
    features = make_features(300, seed=5)
    features.iloc[10, 0] = np.nan
    save_model(model, tmp_path / "model", family)
    copy = load_model(tmp_path / "model")
    pd.testing.assert_series_equal(copy.positions(features), model.positions(features), check_exact=True)
    assert type(copy) is type(model)
    assert (copy.columns, copy.sizing, copy.report) == (model.columns, model.sizing, model.report)
    assert copy.importance == pytest.approx(model.importance, rel=1e-5)
    assert {f.suffix for f in (tmp_path / "model").iterdir()} <= {".json", ".ubj", ".txt"}


def test_a_missing_feature_gives_no_position_and_leaves_the_other_rows_alone(fit, make_window, make_features):
    model = fit(make_window())
    features = make_features(50, seed=3)
    complete = model.positions(features)
    features.iloc[4, 1] = np.nan
    features.iloc[7] = np.nan
    holed = model.positions(features)
    assert list(np.flatnonzero(holed.isna())) == [4, 7]
    pd.testing.assert_series_equal(holed.drop(features.index[[4, 7]]), complete.drop(features.index[[4, 7]]))
    assert model.positions(features.iloc[[7]]).isna().all()
    assert len(model.positions(features.iloc[:0])) == 0


def test_features_are_selected_by_name_and_a_missing_one_is_named(fit, make_window, make_features):
    model = fit(make_window())
    features = make_features(60, seed=4)
    pd.testing.assert_series_equal(model.positions(features[["c", "b", "a"]].assign(z=1.0)), model.positions(features))
    with pytest.raises(KeyError, match="b"):
        model.positions(features[["a", "c"]])


def test_an_easy_rule_is_learnt_and_its_feature_has_the_importance(fit, make_window, make_features):
    model = fit(make_window())
    unseen_rows = make_features(1000, seed=9)
    position, clear = model.positions(unseen_rows), unseen_rows["a"].abs() > 0.2
    assert position.between(0, 1).all()
    assert ((position > 0.5) == (unseen_rows["a"] > 0))[clear].mean() > 0.97
    assert sum(model.importance.values()) == pytest.approx(1)
    assert model.importance["a"] > 0.9
    assert model.report["valid_logloss"] < 0.5 * model.report["valid_logloss_of_base_rate"]


def logloss(model, family, window, rounds):
    """Log loss on the validation slice of a model that saw the training slice only, after that many rounds."""
    params = params_of(family)
    del params["max_rounds"]
    train_rows = replace(window, full_x=window.train_x, full_y=window.train_y)
    core = type(model)._train(train_rows, params, 7, int(rounds))
    chance = type(model)(core, model.columns, model.sizing, {})._probability(window.valid_x)
    return -np.mean(np.where(window.valid_y == 1, np.log(chance), np.log(1 - chance)))


def test_rounds_are_chosen_on_the_validation_slice_and_the_refit_uses_all_rows(fit, family, make_window):
    lines = []
    window = make_window(lambda f: f["a"] > np.random.default_rng(1).normal(size=len(f)))
    model = fit(window, max_rounds=200, progress=lines.append)
    rounds = model.report["rounds"]
    trees = model.core.num_boosted_rounds() if family == "xgboost" else model.core.num_trees()
    assert trees == rounds < 200
    assert len(lines) == 1
    assert f"{rounds:.0f} of 200 rounds" in lines[0]
    losses = [logloss(model, family, window, rounds + i) for i in (-1, 0, 1)]
    assert losses[1] == pytest.approx(model.report["valid_logloss"], abs=1e-5)
    assert losses[1] < min(losses[0], losses[2])
    flipped = fit(replace(window, full_y=1 - window.full_y), max_rounds=200)
    assert flipped.report == model.report
    bars = pd.DataFrame(window.full_x, columns=list(window.columns))
    assert np.corrcoef(flipped._probability(window.full_x), model._probability(window.full_x))[0, 1] < -0.9
    assert not flipped.positions(bars).equals(model.positions(bars))


def test_one_class_in_the_validation_slice_is_allowed(fit, make_window):
    window = make_window(lambda f: (f["a"] > 0) | (np.arange(len(f)) >= 0.79 * len(f)))
    assert set(window.valid_y) == {1.0}
    assert set(window.train_y) == {0.0, 1.0}
    report = fit(window).report
    assert report["valid_logloss_of_base_rate"] == 0
    assert np.isfinite(list(report.values())).all()
    json.dumps(report, allow_nan=False)


def test_a_model_without_a_split_has_no_importance_and_no_nan(fit, make_features, make_window):
    same = make_features(400) * 0 + 1.0
    model = fit(make_window(lambda f: pd.Series(np.arange(len(f)) % 2, f.index), features=same))
    assert list(model.importance.values()) == [0.0, 0.0, 0.0]
    assert (model.positions(same) == 0).all()


@pytest.mark.parametrize("alias", ["eta", "reg_lambda"])
def test_a_parameter_under_two_names_is_refused(fit, family, make_window, alias):
    """Each library takes one of them: a search that varies the other one would vary nothing."""
    other = {"eta": {}, "reg_lambda": {"lambda": 1.0} if family == "xgboost" else {"lambda_l2": 1.0}}[alias]
    with pytest.raises(ValueError, match=f"{family}: .*{alias}.* are one parameter; remove one"):
        fit(make_window(), **{alias: 0.1, **other})


@pytest.mark.parametrize("name", ["max_dept", "n_estimatorz", "early_stopping"])
def test_an_unknown_parameter_is_refused_by_name(fit, family, make_window, name):
    with pytest.raises(ValueError, match=f"{family}.*{name}.*recipe"):
        fit(make_window(), **{name: 3})


@pytest.mark.parametrize(
    ("only", "name"),
    [("xgboost", n) for n in ("objective", "nthread", "n_jobs", "seed", "tree_method")]
    + [("lightgbm", n) for n in ("objective", "application", "n_jobs", "random_state", "num_boost_round", "metric")],
)
def test_a_parameter_that_the_family_sets_itself_is_refused_by_name(only, name, make_window):
    with pytest.raises(ValueError, match=f"{only}.*{name}.*remove it"):
        algorithm(only).fit(TrainingContext(make_window(), {name: 2}, seed=7))


def test_a_value_that_the_library_cannot_use_is_refused_with_its_name(fit, make_window):
    with pytest.raises(Exception, match="max_depth"):
        fit(make_window(), max_depth="deep")
    with pytest.raises(ValueError, match="max_rounds is 0"):
        fit(make_window(), max_rounds=0)


def test_known_parameters_and_their_other_names_are_accepted_without_a_warning(fit, family, make_window, recwarn):
    other_name = {"min_split_loss": 0.1} if family == "xgboost" else {"min_child_weight": 0.01}
    fit(make_window(), reg_lambda=2.0, colsample_bytree=0.5, **other_name)
    assert [str(w.message) for w in recwarn] == []
