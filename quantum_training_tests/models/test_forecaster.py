"""LSTM, N-HiTS and PatchTST against the contract: training data, no look-ahead, and the artefact."""

import os
import pickle
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from quantum_training.features.indicators import FEATURES, WARMUP_BARS, compute_features
from quantum_training.features.labels import ForwardReturn, make_labels
from quantum_training.features.windows import InsufficientData, WindowSize, build_window
from quantum_training.models import forecaster
from quantum_training.models.contract import TrainingContext, algorithm, load_model, save_model
from quantum_training.models.forecaster_network import (
    NetworkSpec,
    Options,
    TrainingRun,
    build_network,
    forecasts,
    train_network,
)
from quantum_training.models.sizing import Sizing
from quantum_training.trading.account import Account
from quantum_training.trading.costs import Costs
from quantum_training.trading.episodes import Market

KINDS = ("lstm", "nhits", "patchtst")
TINY = {"input_bars": 16, "hidden": 8, "batch_windows": 16, "max_steps": 4, "check_steps": 2}
HORIZON = 3
COSTS = Costs(fee_bps=10, slippage_bps=2)


RUN = TrainingRun(seed=7, cuda=False, progress=lambda text: None)


def context_of(candles, features, columns=FEATURES, rows=400):
    """A training context as of the end of the candles."""
    labels = make_labels(candles, ForwardReturn(kind="forward_return", horizon=HORIZON), 0.002)
    as_of = candles.index[-1] + pd.Timedelta("1h")
    options = {"columns": columns, "size": WindowSize(max_rows=rows, validation_fraction=0.25, min_rows=50)}
    window = build_window(features, labels, as_of=as_of, **options)
    return TrainingContext(window, market=Market(candles, COSTS), features=features, horizon=HORIZON)


@pytest.fixture(scope="module")
def market(make_candles):
    candles = make_candles(WARMUP_BARS + 400, seed=2)
    return candles, compute_features(candles, candles.index[WARMUP_BARS])


@pytest.fixture(scope="module")
def context(market):
    return context_of(*market)


@pytest.fixture(scope="module")
def rows(market):
    candles, features = market
    return features.join(candles[["open", "close"]])


def fit(context, kind, seed=7, sizing=None, progress=lambda text: None, **params):
    sizing = sizing or Sizing(break_even=0.3, full=0.7, step=0.05)
    params = {**TINY, "architecture": kind, **params}
    return algorithm("forecaster").fit(replace(context, params=params, sizing=sizing, seed=seed, progress=progress))


@pytest.fixture(scope="module")
def models(context):
    return {kind: fit(context, kind) for kind in KINDS}


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_seed_gives_the_same_bytes_and_another_does_not(kind, context, models, tmp_path):
    made = [models[kind], fit(context, kind), fit(context, kind, seed=8)]
    first, again, other = (save_model(model, tmp_path / str(n), "forecaster") for n, model in enumerate(made))
    assert first == again
    assert first != other


@pytest.mark.parametrize("kind", KINDS)
def test_an_artefact_is_plain_data_and_comes_back_equal_in_every_bit(kind, models, rows, tmp_path, monkeypatch):
    model = models[kind]
    save_model(model, tmp_path / "model", "forecaster")
    assert {f.name for f in (tmp_path / "model").iterdir()} == {
        "algorithm.json",
        "forecaster.json",
        "network.safetensors",
    }

    def refuse(*args, **kwargs):
        raise AssertionError("something was unpickled")

    for name in ("load", "loads", "Unpickler"):
        monkeypatch.setattr(pickle, name, refuse)
    copy = load_model(tmp_path / "model")
    pd.testing.assert_series_equal(copy.positions(rows), model.positions(rows), check_exact=True)
    assert copy.positions(rows).std() > 0
    for name in ("columns", "lookback_bars", "report", "notes", "score", "spec"):
        assert getattr(copy, name) == getattr(model, name)


@pytest.mark.parametrize("kind", KINDS)
def test_a_forecast_is_the_librarys_own(kind, context):
    """Its `predict` goes another way: through data sets and windows of its own."""
    from neuralforecast.tsdataset import TimeSeriesDataModule, TimeSeriesDataset
    from pytorch_lightning import Trainer

    options = Options(architecture=kind, **TINY)
    exogenous = ("a", "b") if kind in forecaster.EXOGENOUS_ARCHITECTURES else ()
    z = np.random.default_rng(1).normal(size=(80, 1 + len(exogenous)))
    network = train_network(NetworkSpec(options, HORIZON, exogenous), RUN, z, 0, 4).network
    frame = pd.DataFrame(z.astype("float32"), columns=["y", *exogenous])
    frame.insert(0, "unique_id", 0)
    frame.insert(1, "ds", np.arange(len(z)))
    network.predict_step_size = 1
    network.set_test_size(0)
    quiet = dict.fromkeys(("logger", "enable_progress_bar", "enable_model_summary", "enable_checkpointing"), False)
    module = TimeSeriesDataModule(TimeSeriesDataset.from_df(frame)[0], batch_size=1)
    (theirs,) = Trainer(accelerator="cpu", devices=1, **quiet).predict(network, module)
    ours = forecasts(network, z.astype("float32").astype("float64"), options.input_bars)[-1]
    assert ours == pytest.approx(float(theirs.reshape(-1)[HORIZON - 1]), abs=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_an_untrained_network_forecasts_a_return_of_0(kind):
    """N-HiTS of the library would begin with the last return: a bet on momentum that no data have taught it."""
    exogenous = ("a",) if kind in forecaster.EXOGENOUS_ARCHITECTURES else ()
    network = build_network(NetworkSpec(Options(architecture=kind, **TINY), HORIZON, exogenous))
    network.load_state_dict({name: value * 0 for name, value in network.state_dict().items()})
    z = np.random.default_rng(1).normal(size=(60, 1 + len(exogenous)))
    assert (forecasts(network, z, TINY["input_bars"])[TINY["input_bars"] :] == 0).all()


def test_no_target_of_the_training_part_reaches_into_the_validation(context):
    """The weights do not depend on the validation slice in any bit."""
    options = Options(architecture="lstm", **{**TINY, "check_steps": 4, "batch_windows": 200})
    z = np.random.default_rng(1).normal(size=(120, 2))
    other = z.copy()
    other[-40:] = 5.0

    def weights(z):
        network = train_network(NetworkSpec(options, HORIZON, ("a",)), RUN, z, 40, 4).network
        return {name: value.numpy().copy() for name, value in network.state_dict().items()}

    expected, same = weights(z), weights(other)
    assert all((expected[name] == same[name]).all() for name in expected)
    other[-41] = 5.0
    moved = weights(other)
    assert any((expected[name] != moved[name]).any() for name in expected)


@pytest.mark.parametrize("kind", KINDS)
def test_positions_depend_neither_on_later_rows_nor_on_the_number_of_rows(kind, models, rows):
    model, cut = models[kind], rows.index[300]
    changed = rows.copy()
    changed.iloc[301:] *= 3
    expected = model.positions(rows)
    assert model.positions(changed).loc[:cut].equals(expected.loc[:cut])
    assert model.positions(rows.loc[:cut]).equals(expected.loc[:cut])
    one = model.positions(rows.iloc[300 - model.lookback_bars : 301])
    assert one.iloc[-1] == expected[cut]
    assert np.isnan(one.iloc[:-1]).all(), "memory is what a position needs, and no row more"
    assert not model.positions(changed).equals(expected)


def test_a_hole_in_a_feature_leaves_no_position_while_it_is_in_the_lookback(models, rows):
    holed = rows.copy()
    holed.loc[holed.index[200], "rsi_14"] = np.nan
    blind = models["lstm"].positions(holed).isna()
    first = TINY["input_bars"] + HORIZON - 1
    assert np.flatnonzero(blind).tolist() == [*range(first), *range(200, 200 + TINY["input_bars"])]
    assert models["patchtst"].positions(holed).equals(models["patchtst"].positions(rows)), "it reads returns alone"


def test_a_fit_begins_after_the_last_hole_and_is_refused_if_too_few_rows_follow(market):
    candles, features = market
    for hole, possible in ((100, True), (370, False)):
        holed = features.copy()
        holed.iloc[hole, 3] = np.nan
        context = context_of(candles, holed)
        if possible:
            assert fit(context, "lstm").report["bars"] == len(features) - hole - 1
        else:
            with pytest.raises(InsufficientData, match="consecutive whole bars for training, need 20"):
                algorithm("forecaster").check_inputs(replace(context, params={**TINY, "architecture": "lstm"}))
        assert fit(context, "patchtst").report["bars"] > 300


def test_the_target_is_the_log_return_over_the_horizon_and_its_error_that_of_the_validation_slice(context, monkeypatch):
    close = np.log(context.market.candles["close"])
    monkeypatch.setattr(forecaster, "forecasts", lambda network, z, bars: np.zeros(len(z)))
    model = fit(context, "patchtst")
    ahead = (close.shift(-HORIZON) - close).loc[context.window.valid_times[0] - pd.Timedelta("1h") :].dropna()
    error = (ahead - model.normaliser.mean[0]).to_numpy()
    assert np.abs(error / model.normaliser.scale[0]).max() < forecaster.Z_CLIP
    assert model.report["valid_error"] == pytest.approx(np.sqrt(np.mean(error**2)), rel=1e-9)
    assert model.report["valid_error"] > 0


@pytest.mark.parametrize("kind", KINDS)
def test_the_errors_are_those_of_the_best_validation_and_a_refit_repeats_its_steps(kind, context):
    options = Options(architecture=kind, **{**TINY, "max_steps": 40, "learning_rate": 0.05, "patience": 3})
    z = np.random.default_rng(1).normal(size=(160, 1))
    search = train_network(NetworkSpec(options, HORIZON, ()), RUN, z, 60, 40)
    best = min(search.curves, key=lambda point: point["valid_loss"])
    assert best != search.curves[-1], "else the test shows nothing"
    start = len(z) - 60 - 1
    error = np.abs(z[start + HORIZON :, 0] - forecasts(search.network, z, options.input_bars)[start:-HORIZON])
    assert np.mean(np.where(error < 1, error**2 / 2, error - 0.5)) == pytest.approx(best["valid_loss"], rel=1e-4)
    again = train_network(NetworkSpec(options, HORIZON, ()), RUN, z[:-60], 0, int(best["step"])).network
    theirs = search.network.float().state_dict()
    assert all((theirs[name] == value).all() for name, value in again.state_dict().items())


def test_the_probability_is_that_of_a_return_above_the_cost(models, rows, monkeypatch):
    from scipy.stats import norm

    model = models["lstm"]
    monkeypatch.setattr(forecaster, "forecasts", lambda network, z, bars: np.linspace(-3, 3, len(z)))
    expected = np.linspace(-3, 3, len(rows)) * model.normaliser.scale[0] + model.normaliser.mean[0]
    hurdle = np.log(1 + COSTS.round_trip(rows["close"].to_numpy(), Account().capital))
    probability = norm.cdf((expected - hurdle) / model.report["valid_error"])
    assert np.array_equal(model.positions(rows), model.rule.sizing.positions(probability))


def test_a_fit_logs_its_progress_and_leaves_no_files(context, tmp_path, monkeypatch):
    import ray

    monkeypatch.chdir(tmp_path)
    lines = []
    model = fit(context, "nhits", progress=lines.append)
    assert [line for line in lines if line.startswith("nhits: step 2 of 4, validation loss")]
    assert any(line.startswith("early stopping: ") for line in lines)
    assert [point["step"] for point in model.curves] == [2, 4]
    assert model.report["steps"] in (2, 4)
    assert model.score == -min(point["valid_loss"] for point in model.curves)
    assert model.notes == {"architecture": "nhits", "trained_on": "CPU"}
    assert os.listdir(tmp_path) == []
    assert not ray.is_initialized()


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"hiden": 8}, "forecaster: hiden = 8: Extra inputs"),
        ({"architecture": "gru"}, "architecture = 'gru'"),
        ({"input_bars": 3}, "greater than or equal to 16"),
        ({"check_steps": 9}, r"check_steps \(9\) must not be above max_steps \(4\)"),
        ({"input_bars": 200}, r"input_bars \(200\) and the label's horizon \(60\) may be 240 bars together"),
        ({"device": "cuda"}, "torch finds no GPU here"),
    ],
)
def test_a_wrong_parameter_is_named(context, params, message):
    import torch

    if params.get("device") and torch.cuda.is_available():
        pytest.skip("a GPU is here")
    context = replace(context, horizon=60 if "input_bars" in params else HORIZON)
    with pytest.raises(ValueError, match=message):
        fit(context, **{"kind": "lstm", **params})


@pytest.mark.parametrize(("scale", "valid_bars"), [(np.inf, 0), (np.inf, 25), (3e38, 25)])
def test_a_training_that_diverges_is_an_error(scale, valid_bars):
    z = np.random.default_rng(1).normal(size=(80, 1)) * scale
    with pytest.raises(FloatingPointError, match="lower the recipe's learning_rate"):
        train_network(NetworkSpec(Options(architecture="nhits", **TINY), HORIZON, ()), RUN, z, valid_bars, 4)
