"""The settings of a hyper-parameter search: which fields of a recipe it varies, within which bounds, for how long.

How a trial is scored and counted is lifecycle/search/.
"""

from __future__ import annotations

import json
import math
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

SEARCHABLE = ("features", "label", "params", "sizing", "validation_fraction", "window_bars")
"""Fields of a recipe that a search may vary. A seed is none: the best of several is luck."""


class Dimension(BaseModel):
    """The values that a search tries for one field: a range, `low` to `high`, or a list, `choices`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    low: int | float | None = Field(None, description="Smallest value; whole numbers only if low, high and step are.")
    high: int | float | None = Field(None, description="Largest value.")
    step: int | float | None = Field(None, gt=0, description="Distance between values; without it every value.")
    log: bool = Field(False, description="Try as many values between 0.01 and 0.1 as between 0.1 and 1.")
    choices: tuple[Any, ...] | None = Field(None, min_length=2, description="The values, in place of a range.")

    @model_validator(mode="after")
    def _check(self) -> Dimension:
        if self.choices is not None:
            if {"low", "high", "step", "log"} & self.model_fields_set:
                raise ValueError("give either choices or a range of low, high, step and log, not both")
            if len(self.labels) < len(self.choices):
                raise ValueError("two choices are the same")
        elif self.low is None or self.high is None:
            raise ValueError("give low and high, or choices")
        else:
            self._check_range(self.low, self.high)
        return self

    def _check_range(self, low: float, high: float) -> None:
        if not (math.isfinite(low) and math.isfinite(high)):
            raise ValueError(f"low {low:g} and high {high:g} must be finite")
        if low >= high:
            raise ValueError(f"low {low:g} must be below high {high:g}")
        if self.log and low <= 0:
            raise ValueError(f"log needs a low above 0, not {low:g}")
        if self.log and self.step is not None:
            raise ValueError("log and step cannot be combined; drop one")
        if self.step is not None and abs((high - low) / self.step - round((high - low) / self.step)) > 1e-9:
            raise ValueError(f"step {self.step:g} must divide high - low, {high - low:g}, so that high is tried")

    @property
    def labels(self) -> dict[str, Any]:
        """The choices by a text for each: Optuna stores no lists, and takes True and 1 for the same."""
        return {c if isinstance(c, str) else json.dumps(c, sort_keys=True): c for c in self.choices or ()}

    @property
    def is_whole(self) -> bool:
        """Does the range hold whole numbers only?"""
        return all(isinstance(bound, int) for bound in (self.low, self.high, self.step or 1))

    @property
    def extremes(self) -> tuple[Any, ...]:
        """Every choice, or both ends of the range."""
        return (self.low, self.high) if self.choices is None else self.choices


class Search(BaseModel):
    """A search for better parameters of a recipe, within the data that are known when it begins; job `search`.

    Its winner becomes a recipe of its own, which has to earn its place in the shadow. All trials count against it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    space: dict[str, Dimension] = Field(
        min_length=1, description="Fields of the recipe, as window_bars or params.max_depth, and the values to try."
    )
    trials: int = Field(50, ge=2, le=1000, description="How many values of the space are tried.")
    parallel_trials: int = Field(
        1,
        ge=1,
        le=256,
        description="Trials at a time, each in a process of its own. They learn from those before all of them, so that "
        "another number is another search.",
    )
    seconds: int | None = Field(
        None,
        ge=1,
        description="No trial begins after so many seconds of trials. What is found then depends on the machine.",
    )
    cpu_seconds: int | None = Field(None, ge=1, description="The same in CPU seconds of the trials' processes.")
    bars: int = Field(1000, ge=100, description="Newest known bars on which the trials are scored, cut into the folds.")
    folds: int = Field(
        5, ge=2, le=100, description="Fits of a trial, each on what is known before its part of the bars."
    )
    embargo_bars: int = Field(0, ge=0, le=1000, description="Bars between what a fit may see and the first scored bar.")
    sampler: Literal["tpe", "random"] = Field("tpe", description="Optuna's sampler; tpe learns from earlier trials.")
    pruner: Literal["none", "median"] = Field(
        "none", description="median: a trial that after a fold is worse than the median of the earlier ones ends there."
    )
    seed: int = Field(7, ge=0, description="Seed of the sampler.")

    @property
    def extremes(self) -> list[tuple[str, Any]]:
        """Each field of the space with each of its extremes."""
        return [(place, value) for place, dimension in self.space.items() for value in dimension.extremes]

    @model_validator(mode="after")
    def _fields_can_be_searched(self) -> Search:
        for place in self.space:
            if place.partition(".")[0] not in SEARCHABLE:
                raise ValueError(
                    f"space.{place}: no field of a recipe that can be searched; allowed: {', '.join(SEARCHABLE)}, and "
                    "what is in them, as params.max_depth"
                )
            if whole := next((other for other in self.space if place.startswith(f"{other}.")), None):
                raise ValueError(f"space.{place} is a part of space.{whole}; search the one or the other")
        if self.bars < 20 * self.folds:
            raise ValueError(f"{self.bars} bars are too few for {self.folds} folds; give 20 for each, or fewer folds")
        return self
