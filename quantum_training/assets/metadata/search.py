"""Metadata of a search: what it found, how its trials are counted, and the challenger that it proposes."""

from typing import Any

import dagster as dg
import pandas as pd

from quantum_training.assets.metadata.charts import line_chart
from quantum_training.assets.metadata.tables import SUMMARY, link, markdown, rounded
from quantum_training.lifecycle.records import SearchRecord
from quantum_training.lifecycle.search.publish import PublishedSearch


def search_metadata(summary: str, record: SearchRecord, published: PublishedSearch) -> dict[str, Any]:
    """The sentence, the history of the trials as a picture, numbers and tables, and where to see more."""
    scores = published.scores
    history = {"best so far": scores.cummax(), "trial": scores}
    numbers = {
        "best_score": record.best_score,
        "probability_of_overfitting": record.probability_of_overfitting,
        "deflated_sharpe": record.deflated_sharpe,
        "effective_trials": record.effective_trials,
    }
    values = pd.DataFrame({"value": [str(value) for value in record.best_values.values()]}, [*record.best_values])
    metadata = {
        SUMMARY: summary,
        "history": dg.MetadataValue.md(line_chart(history, "Sharpe ratio per bar over the trials")),
        **{name: rounded(value) for name, value in numbers.items() if value is not None},
        "trials": record.trials,
        "failed": record.failed,
        "pruned": record.pruned,
        "best_values": markdown(values),
        "challenger": dg.MetadataValue.md(f"```yaml\n{record.challenger_yaml}```"),
        "page": dg.MetadataValue.path(published.page),
        "mlflow": link("the search and its trials", published.mlflow_url),
        "optuna_dashboard": f"optuna-dashboard {published.dashboard_url}",
        "search_id": record.search_id,
    }
    if published.importance is not None:
        metadata["importance"] = markdown(published.importance.rename("share of variance").to_frame())
    if record.failures:
        metadata["failures"] = dg.MetadataValue.json(record.failures)
    return metadata
