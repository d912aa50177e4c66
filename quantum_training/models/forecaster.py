"""Recipe family `forecaster`: LSTM, N-HiTS and PatchTST, which forecast the return over the label's horizon.

What the networks are fed with and what becomes of a forecast; the library's calls are forecaster_network.py.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
import pandas as pd

from quantum_training.features.windows import InsufficientData, Normaliser
from quantum_training.models.contract import MEMORY_BARS, AlgorithmTraits, TrainingContext, parse_params
from quantum_training.models.contract import Model as Contract
from quantum_training.models.forecaster_network import Options, build, forecasts, learn
from quantum_training.models.sizing import Sizing
from quantum_training.trading.account import Account
from quantum_training.trading.costs import Costs
from quantum_training.trading.episodes import Market

CLOSE = "close"
CUT = 8.0
"""Z-scores are cut here: a bar like none of the training part must not push a network where it has never been."""

EXOGENOUS = ("lstm", "nhits")
"""Architectures that take the features along."""


class Model(Contract):
    """A network that forecasts the log return of the closes over the horizon, in one go.

    It reads the trailing returns over the horizon and, where its architecture admits them, the features of the last
    `input_bars` bars, all as z-scores of the training part. Bars are counted, not hours: a series goes on over weekends
    and outages, so its grid is regular whatever the market's calendar. From the forecast m and the root mean square s
    of its errors on the validation slice, Phi((m - log(1 + cost)) / s) is the probability that a long position pays off
    after a round trip's cost; `Sizing` makes a position of it. `score` is minus the Huber loss on that slice.
    """

    packages = ("neuralforecast", "torch", "safetensors")
    traits = AlgorithmTraits(
        build_packages=("pytorch-lightning",),
        sources=tuple(
            f"quantum_training.{name}" for name in ("models.forecaster_network", "trading.account", "trading.costs")
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
    memory = MEMORY_BARS

    def __init__(
        self,
        network: Any,
        options: Options,
        horizon: int,
        exogenous: tuple[str, ...],
        normaliser: Normaliser,
        costs: Costs,
        account: Account,
        sizing: Sizing,
        report: dict[str, float],
        notes: Mapping[str, str],
    ):
        self.network, self.options, self.horizon, self.exogenous = network, options, horizon, exogenous
        self.normaliser, self.costs, self.account, self.sizing = normaliser, costs, account, sizing
        self.report, self.notes, self.importance, self.columns = report, notes, {}, (*exogenous, CLOSE)
        self.memory = options.input_bars + horizon - 1

    @classmethod
    def check_inputs(cls, context: TrainingContext) -> None:
        """InsufficientData: too few bars since the last one that lacks a feature."""
        _bars(context, parse_params(Options, context.params))

    @classmethod
    def fit(cls, context: TrainingContext) -> Self:
        """Find the number of steps on the newest purged slice, then train anew on the whole window with that number.

        InsufficientData as `check_inputs`. ValueError names a parameter that is unknown or out of bounds.
        FloatingPointError: the training diverged.
        """
        import torch

        options, progress, seed = parse_params(Options, context.params), context.progress, context.seed
        torch.set_num_threads(options.threads)
        cuda = options.device != "cpu" and torch.cuda.is_available()
        if options.device == "cuda" and not cuda:
            raise ValueError("forecaster: device is cuda, but torch finds no GPU here; set it to auto")
        raw, valid_bars, exogenous, market = _bars(context, options)
        horizon = context.horizon
        normaliser = Normaliser.fit(raw[:-valid_bars])
        z = _scaled(raw, normaliser)
        progress(f"{options.architecture} on the {'GPU' if cuda else 'CPU'}, {len(z)} bars, {valid_bars} to validate")
        fixed = (options, horizon, exogenous, z)
        found = learn(*fixed, valid_bars, options.max_steps, seed, cuda, progress)
        best = min(found.curves, key=lambda point: point["valid_loss"])
        steps = int(best["step"])
        progress(f"early stopping: {steps} of {options.max_steps} steps, validation loss {best['valid_loss']:.5f}")
        start = len(z) - valid_bars - 1
        outcome = z[start + horizon :, 0]
        error = outcome - forecasts(found.network, z, options.input_bars)[start:-horizon]
        report = {
            "steps": float(steps),
            "valid_loss": best["valid_loss"],
            "valid_loss_of_mean": float(np.mean(np.where(np.abs(outcome) < 1, outcome**2 / 2, np.abs(outcome) - 0.5))),
            "valid_error": float(np.sqrt(np.mean(error**2)) * normaliser.scale[0]),
            "bars": float(len(z)),
        }
        network = learn(*fixed, 0, steps, seed, cuda, progress).network
        notes = {"architecture": options.architecture, "trained_on": "GPU" if cuda else "CPU"}
        made_of = (exogenous, normaliser, market.costs, market.account, context.sizing, report, notes)
        model = cls(network, options, horizon, *made_of)
        model.score, model.curves = -best["valid_loss"], found.curves
        return model

    def positions(self, features: pd.DataFrame) -> pd.Series:
        """Of consecutive bars; NaN where fewer than `memory` bars, or one that lacks a feature, lie before."""
        from scipy.special import ndtr

        z = _scaled(_raw(features, self.exogenous, self.horizon), self.normaliser)
        expected = forecasts(self.network, z, self.options.input_bars)
        expected = expected * self.normaliser.scale[0] + self.normaliser.mean[0]
        cost = self.costs.round_trip(features[CLOSE].to_numpy("float64"), self.account.capital)
        probability = ndtr((expected - np.log1p(cost)) / self.report["valid_error"])
        return pd.Series(self.sizing.positions(probability), features.index, name="position")

    def save(self, folder: Path) -> None:
        from safetensors.torch import save_file

        weights = {name: value.float().contiguous().clone() for name, value in self.network.state_dict().items()}
        save_file(weights, str(folder / "network.safetensors"))
        sidecar = {
            "options": self.options.model_dump(mode="json"),
            "horizon": self.horizon,
            "exogenous": self.exogenous,
            "normaliser": self.normaliser.to_dict(),
            "costs": self.costs.model_dump(),
            "account": self.account.model_dump(),
            "sizing": self.sizing.model_dump(),
            "score": self.score,
            "report": self.report,
            "remarks": dict(self.notes),
        }
        (folder / "forecaster.json").write_text(json.dumps(sidecar, sort_keys=True))

    @classmethod
    def load(cls, folder: Path) -> Self:
        from safetensors.torch import load_file

        told = json.loads((folder / "forecaster.json").read_text())
        options, exogenous = Options.model_validate(told["options"]), tuple(told["exogenous"])
        network = build(options, told["horizon"], exogenous)
        network.load_state_dict(load_file(str(folder / "network.safetensors")))
        model = cls(
            network,
            options,
            told["horizon"],
            exogenous,
            Normaliser.from_dict(told["normaliser"]),
            Costs.model_validate(told["costs"]),
            Account.model_validate(told["account"]),
            Sizing.model_validate(told["sizing"]),
            told["report"],
            told["remarks"],
        )
        model.score = told["score"]
        return model


class _Bars(NamedTuple):
    """What a network learns from: whole bars up to as_of without a hole, the newest `valid_bars` to validate.

    raw: (bars, 1 + exogenous), see `_raw`.
    """

    raw: np.ndarray
    valid_bars: int
    exogenous: tuple[str, ...]
    market: Market


def _bars(context: TrainingContext, options: Options) -> _Bars:
    if context.market is None or context.features is None:
        raise ValueError("forecaster learns from consecutive bars: set `market` and `features` of the training context")
    window, candles, reach = context.window, context.market.candles, options.input_bars + context.horizon
    if reach > MEMORY_BARS:
        raise ValueError(
            f"forecaster: input_bars ({options.input_bars}) and the label's horizon ({context.horizon}) may be "
            f"{MEMORY_BARS} bars together; shorten one of them"
        )
    exogenous = window.columns if options.architecture in EXOGENOUS else ()
    rows = context.features.reindex(candles.index)[list(exogenous)].join(candles[[CLOSE]])
    raw = _raw(rows, exogenous, context.horizon)
    first = max(int(candles.index.searchsorted(window.full_times[0])) - options.input_bars, 0)
    holes = np.flatnonzero(np.isnan(raw[first:]).any(axis=1))
    first += int(holes[-1]) + 1 if len(holes) else 0
    valid_bars = len(raw) - int(candles.index.searchsorted(window.valid_times[0]))
    for what, have in (("training", len(raw) - first - valid_bars), ("validation", valid_bars)):
        if have <= reach:
            raise InsufficientData(f"{have} consecutive whole bars for {what}, need {reach + 1}", have, reach + 1)
    return _Bars(raw[first:], valid_bars, exogenous, context.market)


def _raw(rows: pd.DataFrame, exogenous: tuple[str, ...], horizon: int) -> np.ndarray:
    """(rows, 1 + exogenous): the log return of the closes over the last `horizon` bars, then the features."""
    close = np.log(rows[CLOSE].to_numpy("float64"))
    trailing = np.full(len(close), np.nan)
    trailing[horizon:] = close[horizon:] - close[:-horizon]
    return np.column_stack([trailing, rows[list(exogenous)].to_numpy("float64")])


def _scaled(raw: np.ndarray, normaliser: Normaliser) -> np.ndarray:
    return np.clip(normaliser.transform(raw), -CUT, CUT)
