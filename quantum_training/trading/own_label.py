"""A label of one's own: a module's function says which bars a long position pays off after.

The labels of the project are features/labels.py.
"""

from __future__ import annotations

from importlib import import_module
from typing import Annotated, Any, Literal

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict, Field

from quantum_training.features.labels import ForwardReturn, TripleBarrier, make_labels
from quantum_training.trading.cross_section_label import CrossSection

MAX_BARS = 5000


class OwnLabelError(ValueError):
    """A label that cannot be used. The message names the module, the rule and what to do."""


class OwnLabel(BaseModel):
    """The function `outcome(candles, cost, horizon, **params)` of a module.

    It returns a Series with the index of `candles`: 1.0 where a long position that is decided at the bar's close pays
    off, 0.0 where not, NaN where there is no answer. cost: of entering and leaving, as a fraction, one per bar. The
    position is entered at the next open and left, at the latest, at the open `horizon` bars after it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["own"]
    module: str = Field(pattern=r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)*$", description="Dotted path of the module.")
    horizon: int = Field(ge=1, le=1000, description="Bars after its entry until the outcome is known at the latest.")
    warmup_bars: int = Field(0, ge=0, le=MAX_BARS, description="Bars before a bar that its label reads.")
    params: dict[str, Any] = Field({}, description="Further arguments of its function `outcome`.")

    def __hash__(self) -> int:
        """By its fields, of which `params` has no hash of its own."""
        return hash(self.model_dump_json())

    @property
    def span_bars(self) -> int:
        """Bars around a bar that its label reads."""
        return self.warmup_bars + self.horizon + 2


RecipeLabel = Annotated[ForwardReturn | TripleBarrier | CrossSection | OwnLabel, Field(discriminator="kind")]


def labels_of(candles: pd.DataFrame, label: RecipeLabel, round_trip_cost: float | np.ndarray) -> pd.DataFrame:
    """Labels of every bar, as make_labels gives them.

    A label of one's own is known when the bar opens that lies `horizon` bars after the entry, and NaN before; so it is
    where there are fewer than `warmup_bars` bars before. OwnLabelError if the module gives anything else than 0, 1 and
    NaN for all bars; else what it raises. That of a cross-section is here whether the return is above 0, as one market
    has no other members; lifecycle/cross_section_labels.py has them.
    """
    if isinstance(label, CrossSection):
        return make_labels(candles, ForwardReturn(kind="forward_return", horizon=label.horizon), 0.0)
    if not isinstance(label, OwnLabel):
        return make_labels(candles, label, round_trip_cost)
    outcome = _outcome(candles, label, np.broadcast_to(round_trip_cost, len(candles)).astype("float64"))
    end_row = np.arange(len(candles)) + 1 + label.horizon
    is_known = end_row < len(candles)
    outcome[~is_known] = np.nan
    outcome[: label.warmup_bars] = np.nan
    label_end = pd.Series(pd.NaT, candles.index, dtype="datetime64[ns, UTC]")
    label_end[is_known] = candles.index[end_row[is_known]]
    return pd.DataFrame({"label": outcome, "label_end": label_end}, index=candles.index)


def _outcome(candles: pd.DataFrame, label: OwnLabel, cost: np.ndarray) -> np.ndarray:
    try:
        function = import_module(label.module).outcome
    except Exception as error:  # a module of one's own raises what it likes
        raise OwnLabelError(
            f"label: {label.module}.outcome cannot be imported: {type(error).__name__}: {error}; put its folder on "
            "PYTHONPATH, or mend it"
        ) from error
    made = function(candles.copy(), cost, label.horizon, **label.params)
    if not isinstance(made, pd.Series) or not made.index.equals(candles.index):
        what = f"a Series of {len(made)} rows" if isinstance(made, pd.Series) else f"a {type(made).__name__}"
        raise OwnLabelError(
            f"label: {label.module}.outcome returned {what}, not a Series of the {len(candles)} candles; keep their "
            "index"
        )
    try:
        values: np.ndarray = made.to_numpy(dtype="float64", na_value=np.nan, copy=True)
    except (ValueError, TypeError) as error:
        raise OwnLabelError(f"label: {label.module}.outcome returned what is no number: {error}") from error
    wrong = np.flatnonzero(~(np.isnan(values) | (values == 0) | (values == 1)))
    if len(wrong):
        raise OwnLabelError(
            f"label: {label.module}.outcome returned {values[wrong[0]]:g} for the bar {candles.index[wrong[0]]}; it is "
            "1 where a long position pays off, 0 where not, and NaN where there is no answer"
        )
    return values
