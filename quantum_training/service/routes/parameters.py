"""Parameters that several addresses share: each is parsed as what it is, and bounded."""

from __future__ import annotations

from datetime import date
from typing import Annotated

from fastapi import Path, Query
from pydantic import AfterValidator

from quantum_training.settings.schema import NAME_LENGTH, NAME_PATTERN


def _monday(day: date) -> date:
    if day.weekday():
        raise ValueError("a week is named by its Monday, YYYY-MM-DD")
    return day


Week = Annotated[date, AfterValidator(_monday)]
WeekPath = Annotated[Week, Path(description="A Monday.", examples=["2020-02-10"])]
DayPath = Annotated[date, Path(description="A day.", examples=["2020-02-03"])]
RecipeQuery = Annotated[
    str | None, Query(pattern=NAME_PATTERN, max_length=NAME_LENGTH, description="Only this recipe or strategy.")
]
Weeks = Annotated[int, Query(ge=1, le=520, description="The newest so many weeks.")]
MODEL_ID_PATTERN = r"^[0-9a-f]{8,64}$"
ModelId = Annotated[str, Path(pattern=MODEL_ID_PATTERN, description="Identity of a version.")]
RunId = Annotated[str, Path(pattern=r"^[0-9a-f-]{36}$", description="Id of a run.")]
