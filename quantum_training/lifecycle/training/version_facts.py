"""What is known of a version that is trained, and what MLflow shows of it: tags, params, metrics, data and pictures.

The steps of the training are train_version.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from quantum_training.lifecycle.market_history import MarketHistory
from quantum_training.lifecycle.services import Services
from quantum_training.lifecycle.training.importance_chart import FILE, importance_chart
from quantum_training.lifecycle.training.in_sample import in_sample_metrics
from quantum_training.lifecycle.training.inputs import TrainingInputs
from quantum_training.lifecycle.training.request import TrainingRun
from quantum_training.lifecycle.training.version_identity import TrainingTask, VersionIdentity, recipe_hash
from quantum_training.models.contract import Model
from quantum_training.resources.registry.training_data import TrainingData
from quantum_training.settings.schema import Recipe


@dataclass(frozen=True)
class VersionFacts:
    """What a version is trained from, and by what run. recipe: with the budget of this training."""

    services: Services
    task: TrainingTask
    run: TrainingRun
    recipe: Recipe
    inputs: TrainingInputs
    ids: VersionIdentity

    def in_sample_metrics(self, model: Model) -> dict[str, float]:
        """What MLflow shows beside the record out of sample; a version without it is as good."""
        history = MarketHistory(self.services.store, self.services.settings, self.task.key.symbol)
        try:
            return in_sample_metrics(history, model, self.inputs.example_rows, self.task.as_of)
        except ValueError as error:
            self.run.log.warning(f"{self.task.key}: {self.task.recipe} has no metrics in sample: {error}")
            return {}

    @property
    def description(self) -> str:
        """What the version is, in a sentence for the pages of MLflow."""
        window = self.inputs.window
        return (
            f"Recipe {self.task.recipe} ({self.recipe.algorithm}) for {self.task.key.symbol}, trained as of "
            f"{self.task.as_of:%Y-%m-%d %H:%M} UTC on {len(window.full_y)} bars from {window.full_times[0]:%Y-%m-%d} "
            f"to {window.full_times[-1]:%Y-%m-%d}. Why: {self.task.request.reason}."
        )

    @property
    def training_data(self) -> TrainingData:
        """The rows of the fit, as MLflow shows them."""
        window, symbol = self.inputs.window, self.task.key.symbol
        return TrainingData(
            f"{symbol} {self.services.settings.symbols[symbol].timeframe}",
            window.content_hash,
            tuple(window.columns),
            len(window.full_y),
            window.full_times[0],
            window.full_times[-1],
        )

    @property
    def tags(self) -> dict[str, str]:
        """The tags of the version and its run in MLflow."""
        return {
            "model_id": self.ids.model_id,
            "symbol": self.task.key.symbol,
            "week": self.task.key.period,
            "recipe": self.task.recipe,
            "as_of": self.task.as_of.isoformat(),
            "trigger": self.task.request.trigger,
            "reason": self.task.request.reason,
            "data_hash": self.inputs.window.content_hash,
            "code_hash": self.ids.code_hash,
            "recipe_hash": self.recipe_hash,
            "dagster_run_id": self.run.run_id,
            "dagster_partition": str(self.task.key),
            **({"shared_fit": self.ids.shared_fit} if self.ids.shared_fit else {}),
        }

    @property
    def recipe_hash(self) -> str:
        """Of the recipe in the settings, whatever budget this training has."""
        return recipe_hash(self.services.settings.recipes[self.task.recipe])

    @property
    def params(self) -> dict[str, Any]:
        """The parameters of the run in MLflow."""
        window = self.inputs.window
        return {
            "algorithm": self.recipe.algorithm,
            "label": self.recipe.label.model_dump_json(),
            "sizing": self.recipe.sizing.model_dump_json(),
            "features": ",".join(window.columns),
            **({"feature_sets": hashes} if (hashes := self.inputs.identity_inputs.get("feature_sets")) else {}),
            "seed": self.recipe.seed,
            "seeds": self.recipe.seeds,
            "rows": len(window.full_y),
            "first_bar": window.full_times[0],
            "last_bar": window.full_times[-1],
            **self.recipe.params,
        }

    def pictures(self, model: Model) -> dict[str, str]:
        """Pictures of a model by file name, for MLflow."""
        title = f"{self.task.recipe} of {self.task.key.symbol} as of {self.task.as_of:%Y-%m-%d}: feature importance"
        return {FILE: importance_chart(model.importance, title)} if model.importance else {}
