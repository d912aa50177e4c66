"""The networks of neuralforecast: built, trained and asked. The one place that calls the library.

What they are fed with, and what becomes of a forecast, is forecaster.py.
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
"""Trainer options that leave no file and no line of its own."""

TARGET = "y"
ROWS_AT_ONCE = 512


class Options(BaseModel):
    """The `params` of a recipe. The defaults suit two CPU cores; those of the library are made for GPUs."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    architecture: Literal["lstm", "nhits", "patchtst"] = Field(
        description="lstm and nhits read returns and features; patchtst has no place for features and reads returns."
    )
    input_bars: int = Field(48, ge=16, le=200, description="Bars that a forecast is made from.")
    hidden: int = Field(32, ge=4, le=1024, multiple_of=4, description="Units of a layer; PatchTST: width of a token.")
    layers: int = Field(1, ge=1, le=8, description="Layers of the LSTM or PatchTST; N-HiTS' blocks have one more.")
    dropout: float = Field(0.1, ge=0, lt=1, description="Share of units left out in training; not by a 1-layer LSTM.")
    learning_rate: float = Field(1e-3, gt=0, le=1, description="Of Adam.")
    batch_windows: int = Field(128, ge=2, le=100_000, description="Windows per gradient step.")
    max_steps: int = Field(400, ge=1, le=1_000_000, description="Most gradient steps.")
    check_steps: int = Field(25, ge=1, le=100_000, description="Steps between two looks at the validation slice.")
    patience: int = Field(4, ge=1, le=1000, description="Looks without a better one after which a fit ends.")
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="auto: on a GPU where there is one.")
    threads: int = Field(1, ge=1, le=256, description="Threads of torch; the same bits come with the same number only.")

    @model_validator(mode="after")
    def _checked(self) -> Options:
        if self.check_steps > self.max_steps:
            raise ValueError(f"check_steps ({self.check_steps}) must not be above max_steps ({self.max_steps})")
        return self


class FitResult(NamedTuple):
    """A trained network, as it was at the best look at the validation slice where there is one, and its losses.

    curves: the loss on that slice by `step`.
    """

    network: Any
    curves: list[dict[str, float]]


def build(options: Options, horizon: int, exogenous: tuple[str, ...], seed: int = 0, **trained: Any) -> Any:
    """An untrained network whose last output is the forecast of `horizon` bars ahead; only that one is trained."""
    import torch

    for chatty in ("lightning_fabric", "pytorch_lightning", "lightning"):
        logging.getLogger(chatty).setLevel(logging.ERROR)
    from neuralforecast.losses.pytorch import HuberLoss
    from neuralforecast.models import LSTM, NHITS, PatchTST

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
        "training_data_availability_threshold": 1.0,  # no window that reaches beyond the training part
        "random_seed": seed,
        **({"hist_exog_list": list(exogenous)} if exogenous else {}),
        **QUIET,
        **trained,
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

        class Levelled(NHITS):
            """Without its level, the last value of the window, which for returns is a bet on momentum."""

            def forward(self, windows_batch: dict[str, Any]) -> Any:
                return super().forward(windows_batch) - windows_batch["insample_y"][:, -1:, :]

        return Levelled(mlp_units=3 * [[width] * (layers + 1)], dropout_prob_theta=dropout, **common)
    return PatchTST(
        encoder_layers=layers,
        hidden_size=width,
        linear_hidden_size=2 * width,
        n_heads=4,
        patch_len=8,
        stride=4,
        dropout=dropout,
        fc_dropout=dropout,
        revin=False,  # it would centre every forecast on the window's last return
        **common,
    )


def learn(
    options: Options,
    horizon: int,
    exogenous: tuple[str, ...],
    z: np.ndarray,
    valid_bars: int,
    steps: int,
    seed: int,
    cuda: bool,
    progress: Progress,
) -> FitResult:
    """Train for `steps`, or with a validation slice until patience is out. Deterministic on the CPU.

    z: (bars, 1 + exogenous), the target first, consecutive bars. valid_bars: newest bars that only validate, 0: none;
    no target of the training part reaches into them. FloatingPointError where the training diverges.
    """
    import pandas as pd
    import torch

    diverged = FloatingPointError(
        f"{options.architecture}: a loss or weight is no number any more within {steps} steps; lower the recipe's "
        f"learning_rate ({options.learning_rate:g})"
    )
    told = f"{options.architecture}: step {{}} of {steps}"
    network = build(
        options,
        horizon,
        exogenous,
        seed,
        max_steps=steps,
        val_check_steps=min(options.check_steps, steps),
        early_stop_patience_steps=options.patience if valid_bars else -1,
        accelerator="gpu" if cuda else "cpu",
        devices=1,
        callbacks=[(looks := _looks(told, progress))],
    )
    from neuralforecast.tsdataset import TimeSeriesDataset

    frame = pd.DataFrame(z.astype("float32"), columns=[TARGET, *exogenous])
    frame.insert(0, "unique_id", 0)
    frame.insert(1, "ds", np.arange(len(z)))  # one series without a hole: the library would not notice one
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            network.fit(TimeSeriesDataset.from_df(frame)[0], val_size=valid_bars)
    except Exception as error:
        if "NaN" not in str(error):  # which is all that the library says of it
            raise
        raise diverged from error
    network = network.cpu()
    curves = [{"step": float(step), "valid_loss": float(loss)} for step, loss in network.valid_trajectories]
    lost = valid_bars and not any(np.isfinite(point["valid_loss"]) for point in curves)
    if lost or not all(bool(torch.isfinite(weights).all()) for weights in network.parameters()):
        raise diverged
    if valid_bars:
        network.load_state_dict(looks.best_weights)
    return FitResult(network, curves)


def _looks(told: str, progress: Progress) -> Any:
    """Says at every look how far a training is, and keeps the weights of the lowest loss where there is a slice."""
    from pytorch_lightning.callbacks import Callback

    class Looks(Callback):
        best = float("inf")
        best_weights: dict[str, Any]

        def on_validation_end(self, trainer: Any, network: Any) -> None:
            said, loss = "", trainer.callback_metrics.get("ptl/val_loss")
            if loss is not None:
                said = f", validation loss {float(loss):.5f}"
                if float(loss) < self.best:
                    self.best = float(loss)
                    self.best_weights = {
                        name: value.detach().cpu().clone() for name, value in network.state_dict().items()
                    }
            progress(f"{told.format(trainer.global_step)}{said}")

    return Looks()


def forecasts(network: Any, z: np.ndarray, input_bars: int) -> np.ndarray:
    """What the network expects of the target `horizon` bars after each row of `z`; shape (bars,).

    NaN where fewer than `input_bars` rows, or one that is not whole, lie up to the row. In double precision, so that
    what comes out does not depend on how many rows are asked for at once.
    """
    import torch

    out = np.full(len(z), np.nan)
    if len(z) < input_bars:
        return out
    windows = sliding_window_view(z, input_bars, axis=0).transpose(0, 2, 1)
    last = np.flatnonzero(sliding_window_view(~np.isnan(z).any(axis=1), input_bars).all(axis=1))
    network = network.double().eval()
    with torch.no_grad():
        for first in range(0, len(last), ROWS_AT_ONCE):
            rows = last[first : first + ROWS_AT_ONCE]
            seen = torch.from_numpy(np.ascontiguousarray(windows[rows], dtype="float64"))
            asked = {
                "insample_y": seen[:, :, :1],
                "insample_mask": torch.ones_like(seen[:, :, :1]),
                "hist_exog": seen[:, :, 1:],
                "futr_exog": None,
                "stat_exog": None,
            }
            out[rows + input_bars - 1] = network(asked)[:, -1, 0].numpy()
    return out
