"""Settings of trainings inside the week. The sensors read them again at every tick: live_policy.py."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class RecipeTraining(BaseModel):
    """When a recipe is trained inside the week. It does not affect the weekly refresh."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    enabled: bool = Field(
        True, description="Off: this recipe is not trained inside the week, whatever happened; people may train it."
    )
    every_bars: int | None = Field(
        None, ge=1, description="Train when this many bars are stored that the newest version has not seen."
    )
    interval_minutes: int | None = Field(
        None, ge=1, description="Train when the stored bars reach this many minutes beyond the newest version's as_of."
    )
    episodes_per_run: int | None = Field(
        None, ge=1, description="Budget of such a training in episodes, in place of total_steps; agents only."
    )


class RetrainingPolicy(BaseModel):
    """When a sensor trains the recipes of a symbol inside the week, and how often."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    enabled: bool = Field(True, description="Off: the sensors start no training. Requests by people wait.")
    drift_severity: Literal["SEVERE", "CRITICAL"] = Field(
        "SEVERE", description="Drift of this severity trains at once. Broken data never do: mend them first."
    )
    moderate_after_days: int = Field(
        4,
        ge=0,
        le=7,
        description="MODERATE drift brings the refresh forward to this age of the newest version; 7 lets it wait.",
    )
    decay: bool = Field(True, description="A decayed champion has the symbol's recipes trained at once.")
    cool_down_hours: int = Field(
        72, ge=0, le=24 * 28, description="Hours after a training for drift or decay before the symbol has another."
    )
    daily_budget: int = Field(
        20, ge=0, description="Trainings for drift or decay in a UTC day, all symbols together; the worst come first."
    )
    recipes: dict[str, RecipeTraining] = Field({}, description="By recipe; one that is not named has the defaults.")

    def training(self, recipe: str) -> RecipeTraining:
        """The settings of a recipe; the defaults if it is not named."""
        return self.recipes.get(recipe, RecipeTraining())
