"""The networks of neuralforecast: how they are built and trained, and their forecasts. Only this module calls it.

Their inputs, and the positions that follow from a forecast, are forecaster.py.
"""

from __future__ import annotations

import logging
import warnings
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from pydantic import BaseModel, ConfigDict, Field, model_validator

from quantum_training.models.contract import Progress

QUIET = {
    "logger": False,
    "enable_checkpointing": False,
    "enable_progress_bar": False,
    "enable_model_summary": False,
    "num_sanity_val_steps": 0,
}
"""Trainer options that write no files and print nothing."""

TARGET = "y"
ROWS_AT_ONCE = 512
"""Windows per forward pass."""


class Options(BaseModel):
    """The `params` of a recipe. The defaults suit two CPU cores; the library's own are made for GPUs."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    architecture: Literal["lstm", "nhits", "patchtst"] = Field(
        description="lstm and nhits read returns and features; patchtst reads returns alone."
    )
    input_bars: int = Field(48, ge=16, le=200, description="Bars that a forecast is made from.")
    hidden: int = Field(32, ge=4, le=1024, multiple_of=4, description="Units of a layer; PatchTST: width of a token.")
    layers: int = Field(1, ge=1, le=8, description="Layers of the LSTM or PatchTST; N-HiTS' blocks have one more.")
    dropout: float = Field(0.1, ge=0, lt=1, description="Share of units left out in training; not by a 1-layer LSTM.")
    learning_rate: float = Field(1e-3, gt=0, le=1, description="Of Adam.")
    batch_windows: int = Field(128, ge=2, le=100_000, description="Windows per gradient step.")
    max_steps: int = Field(400, ge=1, le=1_000_000, description="Most gradient steps.")
    check_steps: int = Field(25, ge=1, le=100_000, description="Steps between two evaluations on the validation slice.")
    patience: int = Field(4, ge=1, le=1000, description="Evaluations without improvement after which a fit ends.")
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="auto: on a GPU if there is one.")
    threads: int = Field(1, ge=1, le=256, description="Threads of torch; the same bits come with the same number only.")

    @model_validator(mode="after")
    def _checked(self) -> Options:
        if self.check_steps > self.max_steps:
            raise ValueError(f"check_steps ({self.check_steps}) must not be above max_steps ({self.max_steps})")
        return self


class NetworkSpec(NamedTuple):
    """What determines the shape of a network."""

    options: Options
    horizon: int
    """Bars that a forecast looks ahead."""
    exogenous: tuple[str, ...]
    """Features that the network reads beside the returns."""


class TrainingRun(NamedTuple):
    """Where and how one training runs."""

    seed: int
    cuda: bool
    progress: Progress


class FitResult(NamedTuple):
    """A trained network and its losses."""

    network: Any
    """With the weights of its best evaluation if there is a validation slice, else its last ones."""
    curves: list[dict[str, float]]
    """Loss on the validation slice by `step`."""


def build_network(spec: NetworkSpec, seed: int = 0, **trainer_options: Any) -> Any:
    """An untrained network whose last output is the forecast of `horizon` bars ahead; only that one is trained."""
    import torch

    for name in ("lightning_fabric", "pytorch_lightning", "lightning"):
        logging.getLogger(name).setLevel(logging.ERROR)
    from neuralforecast.losses.pytorch import HuberLoss
    from neuralforecast.models import LSTM, NHITS, PatchTST

    options, horizon, exogenous = spec
    only_last = torch.zeros(horizon)
    only_last[-1] = 1.0
    common = {
        "h": horizon,
        "input_size": options.input_bars,
        "loss": HuberLoss(horizon_weight=only_last),
        "valid_loss": HuberLoss(horizon_weight=only_last),
        "scaler_type": "identity",
        "learning_rate": options.learning_rate,
        "num_lr_decays": -1,  # a schedule would differ with the number of steps, which the refit changes
        "windows_batch_size": options.batch_windows,
        "inference_windows_batch_size": ROWS_AT_ONCE,
        "training_data_availability_threshold": 1.0,  # no window may reach beyond the training part
        "random_seed": seed,
        **({"hist_exog_list": list(exogenous)} if exogenous else {}),
        **QUIET,
        **trainer_options,
    }
    width, layers, dropout = options.hidden, options.layers, options.dropout
    if options.architecture == "lstm":
        return LSTM(
            encoder_n_layers=layers,
            encoder_hidden_size=width,
            encoder_dropout=dropout if layers > 1 else 0.0,
            decoder_layers=1,
            **common,
        )
    if options.architecture == "nhits":

        class NHITSWithoutLevel(NHITS):
            """Without adding the last value of the window, which for returns would be a bet on momentum."""

            def forward(self, windows_batch: dict[str, Any]) -> Any:
                return super().forward(windows_batch) - windows_batch["insample_y"][:, -1:, :]

        return NHITSWithoutLevel(mlp_units=3 * [[width] * (layers + 1)], dropout_prob_theta=dropout, **common)
    return PatchTST(
        encoder_layers=layers,
        hidden_size=width,
        linear_hidden_size=2 * width,
        n_heads=4,
        patch_len=8,
        stride=4,
        dropout=dropout,
        fc_dropout=dropout,
        revin=False,  # it would centre each forecast on the window's last return
        **common,
    )


def train_network(spec: NetworkSpec, run: TrainingRun, z: np.ndarray, valid_bars: int, steps: int) -> FitResult:
    """Train for `steps`; with a validation slice, stop early. Deterministic on the CPU.

    z: (bars, 1 + exogenous), the target first, consecutive bars. valid_bars: number of newest bars that only validate,
    may be 0; no target of the training part reaches into them. FloatingPointError if the training diverges.
    """
    import pandas as pd
    import torch

    options = spec.options
    divergence = FloatingPointError(
        f"{options.architecture}: a loss or weight is no number any more within {steps} steps; lower the recipe's "
        f"learning_rate ({options.learning_rate:g})"
    )
    evaluations = _evaluation_callback(f"{options.architecture}: step {{}} of {steps}", run.progress)
    network = build_network(
        spec,
        run.seed,
        max_steps=steps,
        val_check_steps=min(options.check_steps, steps),
        early_stop_patience_steps=options.patience if valid_bars else -1,
        accelerator="gpu" if run.cuda else "cpu",
        devices=1,
        callbacks=[evaluations],
    )
    from neuralforecast.tsdataset import TimeSeriesDataset

    frame = pd.DataFrame(z.astype("float32"), columns=[TARGET, *spec.exogenous])
    frame.insert(0, "unique_id", 0)
    frame.insert(1, "ds", np.arange(len(z)))  # one series without a gap, which the library would not notice
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            network.fit(TimeSeriesDataset.from_df(frame)[0], val_size=valid_bars)
    except Exception as error:
        if "NaN" not in str(error):  # the only sign of a divergence that the library gives
            raise
        raise divergence from error
    network = network.cpu()
    curves = [{"step": float(step), "valid_loss": float(loss)} for step, loss in network.valid_trajectories]
    no_finite_loss = valid_bars and not any(np.isfinite(point["valid_loss"]) for point in curves)
    if no_finite_loss or not all(bool(torch.isfinite(weights).all()) for weights in network.parameters()):
        raise divergence
    if valid_bars:
        network.load_state_dict(evaluations.best_weights)
    return FitResult(network, curves)


def _evaluation_callback(step_text: str, progress: Progress) -> Any:
    """Reports each evaluation and, if there is a validation slice, keeps the weights of the lowest loss."""
    from pytorch_lightning.callbacks import Callback

    class Evaluations(Callback):
        best_loss = float("inf")
        best_weights: dict[str, Any]

        def on_validation_end(self, trainer: Any, network: Any) -> None:
            loss_text, loss = "", trainer.callback_metrics.get("ptl/val_loss")
            if loss is not None:
                loss_text = f", validation loss {float(loss):.5f}"
                if float(loss) < self.best_loss:
                    self.best_loss = float(loss)
                    self.best_weights = {
                        name: value.detach().cpu().clone() for name, value in network.state_dict().items()
                    }
            progress(f"{step_text.format(trainer.global_step)}{loss_text}")

    return Evaluations()


def forecasts(network: Any, z: np.ndarray, input_bars: int) -> np.ndarray:
    """The network's forecast of the target `horizon` bars after each row of `z`; shape (bars,).

    NaN unless the last `input_bars` rows exist and are complete. In double precision, so that the result does not
    depend on the number of rows per forward pass.
    """
    import torch

    out = np.full(len(z), np.nan)
    if len(z) < input_bars:
        return out
    windows = sliding_window_view(z, input_bars, axis=0).transpose(0, 2, 1)
    complete = np.flatnonzero(sliding_window_view(~np.isnan(z).any(axis=1), input_bars).all(axis=1))
    network = network.double().eval()
    with torch.no_grad():
        for first in range(0, len(complete), ROWS_AT_ONCE):
            rows = complete[first : first + ROWS_AT_ONCE]
            inputs = torch.from_numpy(np.ascontiguousarray(windows[rows], dtype="float64"))
            batch = {
                "insample_y": inputs[:, :, :1],
                "insample_mask": torch.ones_like(inputs[:, :, :1]),
                "hist_exog": inputs[:, :, 1:],
                "futr_exog": None,
                "stat_exog": None,
            }
            out[rows + input_bars - 1] = network(batch)[:, -1, 0].numpy()
    return out
