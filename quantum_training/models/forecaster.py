"""Recipe family `forecaster`: LSTM, N-HiTS and PatchTST forecast the return over the label's horizon.

The inputs of the networks, and the positions that follow from a forecast. forecaster_network.py calls the library.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
import pandas as pd

from quantum_training.features.windows import InsufficientData, Normaliser
from quantum_training.models.artefact_files import read_arrays, read_json, write_arrays, write_json
from quantum_training.models.contract import MAX_LOOKBACK_BARS, AlgorithmTraits, TrainingContext, parse_params
from quantum_training.models.contract import Model as Contract
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

CLOSE = "close"
Z_CLIP = 8.0
"""Z-scores are clipped here, so that an extreme bar does not push a network far outside its training range."""

EXOGENOUS_ARCHITECTURES = ("lstm", "nhits")
"""Architectures that also read the features."""


class PositionRule(NamedTuple):
    """What turns a forecast into a position."""

    costs: Costs
    account: Account
    sizing: Sizing

    def positions(self, expected: np.ndarray, error: float, close: np.ndarray) -> np.ndarray:
        """Positions from expected log returns and the root mean square of their errors, at these closes."""
        from scipy.special import ndtr

        cost = self.costs.round_trip(close, self.account.capital)
        return self.sizing.positions(ndtr((expected - np.log1p(cost)) / error))


class Model(Contract):
    """A network that forecasts the log return of the closes over the horizon, directly and not bar by bar.

    It reads the trailing returns over the horizon and, depending on its architecture, the features of the last
    `input_bars` bars, all as z-scores of the training part. Bars are counted, not hours: the series continues over
    weekends and outages, so its grid is regular for every calendar. From the forecast m and the root mean square s of
    its errors on the validation slice, Phi((m - log(1 + cost)) / s) is the probability that a long position pays off
    after a round trip's cost; `Sizing` makes a position of it. `score` is minus the Huber loss on that slice.
    """

    packages = ("neuralforecast", "torch", "safetensors")
    traits = AlgorithmTraits(
        build_packages=("pytorch-lightning",),
        sources=tuple(
            f"quantum_training.{name}"
            for name in (
                "models.artefact_files",
                "models.forecaster_network",
                "trading.account",
                "trading.costs",
            )
        ),
        needs_market=True,
        smoke_params={
            "input_bars": 16,
            "hidden": 8,
            "learning_rate": 3e-3,
            "max_steps": 60,
            "check_steps": 15,
            "patience": 2,
        },
    )
    is_stochastic = True
    lookback_bars = MAX_LOOKBACK_BARS

    def __init__(
        self,
        network: Any,
        spec: NetworkSpec,
        normaliser: Normaliser,
        rule: PositionRule,
        report: dict[str, float],
        notes: Mapping[str, str],
    ):
        self.network, self.spec, self.normaliser, self.rule = network, spec, normaliser, rule
        self.report, self.notes, self.importance, self.columns = report, notes, {}, (*spec.exogenous, CLOSE)
        self.lookback_bars = spec.options.input_bars + spec.horizon - 1

    @classmethod
    def check_inputs(cls, context: TrainingContext) -> None:
        """InsufficientData: too few bars since the last one that lacks a feature."""
        _training_data(context, parse_params(Options, context.params, "forecaster"))

    @classmethod
    def fit(cls, context: TrainingContext) -> Self:
        """Find the number of steps on the newest purged slice, then train on the whole window with that number.

        InsufficientData as `check_inputs`. ValueError names a parameter that is unknown or out of bounds.
        FloatingPointError: the training diverged.
        """
        import torch

        options, progress = parse_params(Options, context.params, "forecaster"), context.progress
        torch.set_num_threads(options.threads)
        cuda = options.device != "cpu" and torch.cuda.is_available()
        if options.device == "cuda" and not cuda:
            raise ValueError("forecaster: device is cuda, but torch finds no GPU here; set it to auto")
        raw, valid_bars, exogenous, market = _training_data(context, options)
        normaliser = Normaliser.fit(raw[:-valid_bars])
        z = _scaled(raw, normaliser)
        device = "GPU" if cuda else "CPU"
        progress(f"{options.architecture} on the {device}, {len(z)} bars, {valid_bars} to validate")
        spec = NetworkSpec(options, context.horizon, exogenous)
        run = TrainingRun(context.seed, cuda, progress)
        search = train_network(spec, run, z, valid_bars, options.max_steps)
        best = min(search.curves, key=lambda point: point["valid_loss"])
        steps = int(best["step"])
        progress(f"early stopping: {steps} of {options.max_steps} steps, validation loss {best['valid_loss']:.5f}")
        report = {
            "steps": float(steps),
            "valid_loss": best["valid_loss"],
            **_validation_errors(search.network, spec, z, valid_bars, float(normaliser.scale[0])),
            "bars": float(len(z)),
        }
        network = train_network(spec, run, z, 0, steps).network
        notes = {"architecture": options.architecture, "trained_on": device}
        rule = PositionRule(market.costs, market.account, context.sizing)
        model = cls(network, spec, normaliser, rule, report, notes)
        model.score, model.curves = -best["valid_loss"], search.curves
        return model

    def positions(self, features: pd.DataFrame) -> pd.Series:
        """Positions on consecutive bars; NaN unless the `lookback_bars` bars before exist and have every feature."""
        z = _scaled(_raw_inputs(features, self.spec.exogenous, self.spec.horizon), self.normaliser)
        expected = forecasts(self.network, z, self.spec.options.input_bars)
        expected = expected * self.normaliser.scale[0] + self.normaliser.mean[0]
        positions = self.rule.positions(expected, self.report["valid_error"], features[CLOSE].to_numpy("float64"))
        return pd.Series(positions, features.index, name="position")

    def save(self, folder: Path) -> None:
        weights = {name: value.float().numpy() for name, value in self.network.state_dict().items()}
        write_arrays(folder / "network.safetensors", weights)
        content = {
            "options": self.spec.options.model_dump(mode="json"),
            "horizon": self.spec.horizon,
            "exogenous": self.spec.exogenous,
            "normaliser": self.normaliser.to_dict(),
            "costs": self.rule.costs.model_dump(),
            "account": self.rule.account.model_dump(),
            "sizing": self.rule.sizing.model_dump(),
            "score": self.score,
            "report": self.report,
            "remarks": dict(self.notes),
        }
        write_json(folder / "forecaster.json", content)

    @classmethod
    def load(cls, folder: Path) -> Self:
        import torch

        content = read_json(folder / "forecaster.json")
        options = Options.model_validate(content["options"])
        spec = NetworkSpec(options, content["horizon"], tuple(content["exogenous"]))
        network = build_network(spec)
        weights = read_arrays(folder / "network.safetensors")
        network.load_state_dict({name: torch.from_numpy(array) for name, array in weights.items()})
        rule = PositionRule(
            Costs.model_validate(content["costs"]),
            Account.model_validate(content["account"]),
            Sizing.model_validate(content["sizing"]),
        )
        normaliser = Normaliser.from_dict(content["normaliser"])
        model = cls(network, spec, normaliser, rule, content["report"], content["remarks"])
        model.score = content["score"]
        return model


class _TrainingData(NamedTuple):
    """Complete consecutive bars up to as_of, the newest `valid_bars` of them to validate."""

    raw: np.ndarray
    """(bars, 1 + exogenous), see `_raw_inputs`."""
    valid_bars: int
    exogenous: tuple[str, ...]
    market: Market


def _training_data(context: TrainingContext, options: Options) -> _TrainingData:
    if context.market is None or context.features is None:
        raise ValueError("forecaster learns from consecutive bars: set `market` and `features` of the training context")
    window, candles, reach = context.window, context.market.candles, options.input_bars + context.horizon
    if reach > MAX_LOOKBACK_BARS:
        raise ValueError(
            f"forecaster: input_bars ({options.input_bars}) and the label's horizon ({context.horizon}) may be "
            f"{MAX_LOOKBACK_BARS} bars together; shorten one of them"
        )
    exogenous = window.columns if options.architecture in EXOGENOUS_ARCHITECTURES else ()
    rows = context.features.reindex(candles.index)[list(exogenous)].join(candles[[CLOSE]])
    raw = _raw_inputs(rows, exogenous, context.horizon)
    first = max(int(candles.index.searchsorted(window.full_times[0])) - options.input_bars, 0)
    gaps = np.flatnonzero(np.isnan(raw[first:]).any(axis=1))
    first += int(gaps[-1]) + 1 if len(gaps) else 0
    valid_bars = len(raw) - int(candles.index.searchsorted(window.valid_times[0]))
    for part, bars in (("training", len(raw) - first - valid_bars), ("validation", valid_bars)):
        if bars <= reach:
            raise InsufficientData(f"{bars} consecutive whole bars for {part}, need {reach + 1}", bars, reach + 1)
    return _TrainingData(raw[first:], valid_bars, exogenous, context.market)


def _validation_errors(
    network: Any, spec: NetworkSpec, z: np.ndarray, valid_bars: int, scale: float
) -> dict[str, float]:
    """Huber loss of a forecast of the mean, and root mean square error of the network in log returns."""
    start = len(z) - valid_bars - 1
    outcome = z[start + spec.horizon :, 0]
    error = outcome - forecasts(network, z, spec.options.input_bars)[start : -spec.horizon]
    return {
        "valid_loss_of_mean": float(np.mean(np.where(np.abs(outcome) < 1, outcome**2 / 2, np.abs(outcome) - 0.5))),
        "valid_error": float(np.sqrt(np.mean(error**2)) * scale),
    }


def _raw_inputs(rows: pd.DataFrame, exogenous: tuple[str, ...], horizon: int) -> np.ndarray:
    """(rows, 1 + exogenous): the log return of the closes over the last `horizon` bars, then the features."""
    close = np.log(rows[CLOSE].to_numpy("float64"))
    trailing = np.full(len(close), np.nan)
    trailing[horizon:] = close[horizon:] - close[:-horizon]
    return np.column_stack([trailing, rows[list(exogenous)].to_numpy("float64")])


def _scaled(raw: np.ndarray, normaliser: Normaliser) -> np.ndarray:
    z: np.ndarray = np.clip(normaliser.transform(raw), -Z_CLIP, Z_CLIP)
    return z
