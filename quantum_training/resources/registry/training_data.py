"""The training data of a version as MLflow shows them: a dataset of its run. The bars themselves stay in the store."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

import pandas as pd

DIGEST = 36
"""Characters of a dataset's digest that MLflow keeps."""


class TrainingData(NamedTuple):
    """The rows of a fit. name: the market; content_hash: SHA-256 of rows, labels, times and column names."""

    name: str
    content_hash: str
    columns: tuple[str, ...]
    rows: int
    first_bar: pd.Timestamp
    last_bar: pd.Timestamp

    def as_input(self) -> Any:
        """The dataset as input `training` of a run."""
        from mlflow.entities import Dataset, DatasetInput, InputTag

        columns = [{"type": "double", "name": column, "required": True} for column in self.columns]
        profile = {
            "num_rows": self.rows,
            "first_bar": self.first_bar.isoformat(),
            "last_bar": self.last_bar.isoformat(),
            "sha256": self.content_hash,
        }
        dataset = Dataset(
            name=self.name,
            digest=self.content_hash[:DIGEST],
            source_type="quantum_training",
            source=json.dumps({"store": "features", "market": self.name}),
            schema=json.dumps({"mlflow_colspec": columns}),
            profile=json.dumps(profile),
        )
        return DatasetInput(dataset, [InputTag("mlflow.data.context", "training")])
