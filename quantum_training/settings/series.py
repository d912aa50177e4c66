"""The settings of a series that is no candles."""

from __future__ import annotations

from typing import Annotated

import pandas as pd
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PlainValidator

from quantum_training.market.series_schema import duration
from quantum_training.sources.series import SeriesSource, series_source_from


def _age(text: str) -> str:
    if not duration(text) > pd.Timedelta(0):
        raise ValueError(f"{text} is no time; give one as 36h or 45d")
    return text


class Series(BaseModel):
    """Values that are no candles, as a funding rate or a price index: their source, and how long a value counts."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    source: Annotated[SeriesSource, PlainValidator(series_source_from)]
    max_age: Annotated[str, AfterValidator(_age)] = Field(
        description="How long ago the newest value may have become known, as 36h or 45d; after that none is known."
    )

    @property
    def age(self) -> pd.Timedelta:
        """max_age as a time."""
        return duration(self.max_age)
