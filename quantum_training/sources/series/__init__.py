"""Sources of series that are no candles, as funding rates: one file per kind, its fields are its options."""

from __future__ import annotations

from abc import ABC, abstractmethod
from importlib import import_module
from pkgutil import iter_modules
from typing import Any, ClassVar

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict

from quantum_training.market.series_schema import KNOWN_AT, TIME, VALUE


class SeriesSource(BaseModel, ABC):
    """Where a series comes from. Fields are the source's options; unknown ones are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    revises: ClassVar[bool] = True
    """Whether the source may replace values, so that old ones are compared with those that are stored."""

    @property
    def kind(self) -> str:
        """The name of the source's module, as the settings have it."""
        return type(self).__module__.rpartition(".")[2]

    @property
    def identity(self) -> dict[str, Any]:
        """What says which series it is: the kind and the options without those at their default, as plain JSON."""
        return {"kind": self.kind, **self.model_dump(mode="json", exclude_defaults=True)}

    @abstractmethod
    def fetch(self, name: str, since: pd.Timestamp | None, until: pd.Timestamp) -> pd.DataFrame:
        """The values that became known in [since, until), oldest first; since None: all that the source keeps.

        Columns: `time` (UTC, what a value is about), `known_at` (UTC, when it was published), `value` (float64). A
        revised value has a row for each publication. SourceError names series, source and remedy.
        """


def kinds() -> list[str]:
    """The kinds that exist: the modules of this package."""
    return sorted(module.name for module in iter_modules(__path__))


def series_source_from(options: Any) -> SeriesSource:
    """The source that `{kind: ..., <option>: ...}` describes. ValueError names an unknown kind or option."""
    if isinstance(options, SeriesSource):
        return options
    kind = options.get("kind") if isinstance(options, dict) else options
    if not isinstance(options, dict) or kind not in kinds():
        raise ValueError(f"unknown kind of series {kind!r}; allowed: {', '.join(kinds())}")
    module = import_module(f"{__name__}.{kind}")
    source: SeriesSource = module.Source.model_validate({k: v for k, v in options.items() if k != "kind"})
    return source


def series_frame(time: Any, known_at: Any, value: Any) -> pd.DataFrame:
    """A frame as `fetch` gives it, in order. time, known_at: of UTC times."""
    times = {name: pd.DatetimeIndex(times).as_unit("ns") for name, times in ((TIME, time), (KNOWN_AT, known_at))}
    if times[TIME].tz is None:  # of no rows
        times = {name: index.tz_localize("UTC") for name, index in times.items()}
    frame = pd.DataFrame({**times, VALUE: np.asarray(value, dtype="float64")})
    return frame.sort_values([KNOWN_AT, TIME], kind="stable", ignore_index=True)
