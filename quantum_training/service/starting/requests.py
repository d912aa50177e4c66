"""The bodies of requests that change something: typed and bounded, unknown fields are refused."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints

from quantum_training.service.routes.parameters import Week
from quantum_training.settings.schema import NAME_LENGTH, NAME_PATTERN

SymbolName = Annotated[str, Field(pattern=NAME_PATTERN, max_length=NAME_LENGTH, examples=["AAA"])]
RecipeField = Annotated[str, Field(pattern=NAME_PATTERN, max_length=NAME_LENGTH, examples=["xgboost"])]
ONE_LINE = r"^[^\x00-\x1f\x7f-\x9f]*$"
"""No control characters: a text stands in one line of the log, and Postgres stores no NUL."""
Person = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=100, pattern=ONE_LINE)]
Sentence = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=1000, pattern=ONE_LINE)]


class Change(BaseModel):
    """Who changes something, and why: both are kept with the run, and by its job in the ledger."""

    model_config = ConfigDict(extra="forbid")

    actor: Person | None = Field(
        None, description="Name of the person; with a key, the key's name is always told, too.", examples=["Ann"]
    )
    reason: Sentence = Field(description="A sentence for who reads the ledger.", examples=["after the new fee"])


class TrainRequest(Change):
    """Train recipes of a symbol inside the week."""

    recipes: list[RecipeField] = Field([], max_length=100, description="Empty: all of the symbol.")
    as_of: AwareDatetime | None = Field(None, description="Up to when it sees data; default: as far as they reach.")
    episodes: int = Field(0, ge=0, le=1_000_000, description="Budget of agents in episodes; 0: the recipe's.")


class CycleRequest(Change):
    """Run the whole cycle, or a benchmark, over weeks."""

    symbols: list[SymbolName] = Field([], max_length=1000, description="Empty: all.")
    week: Week | Literal["latest"] = Field("latest", description="The last week, a Monday.")
    weeks: int = Field(1, ge=1, le=520, description="How many up to that one.")


class BacktestRequest(Change):
    """Make the backtest of a week again."""

    week: Week | None = Field(None, description="A Monday; default: the newest scored week.")


class PromoteRequest(Change):
    """Make a recipe the champion of a symbol."""

    recipe: RecipeField


class RolloutRequest(Change):
    """Let the champion climb to stages up to a share of the capital, or begin at 0 again."""

    share: float = Field(ge=0, le=1, allow_inf_nan=False, description="0: begin again.", examples=[0.05])


class ABTestRequest(PromoteRequest):
    """Let champion and challenger trade alternate blocks of days."""

    share: float = Field(gt=0, le=1, allow_inf_nan=False, description="Largest share in the challenger's blocks.")
    block_days: int = Field(1, ge=1, le=28)
    weeks: int = Field(ge=1, le=260)
