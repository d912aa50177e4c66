"""What MLflow runs to load a version: code, not a pickle. It holds the artefact's folder and nothing else."""

from pathlib import Path

import pandas as pd
from mlflow.models import set_model
from mlflow.pyfunc import PythonModel, PythonModelContext

from quantum_training.models.contract import load_model


class PositionModel(PythonModel):
    """`predict(features)` gives the target position of each row."""

    def load_context(self, context: PythonModelContext) -> None:
        self.model = load_model(Path(context.artifacts["model"]))

    def predict(self, context: PythonModelContext, model_input: pd.DataFrame, params: dict | None = None) -> pd.Series:
        return self.model.positions(model_input)


set_model(PositionModel())
