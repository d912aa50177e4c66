"""The README's example: train and score one week in plain Python, without Dagster."""

import pandas as pd

from quantum_training.lifecycle.evaluation.scoring import score_week
from quantum_training.lifecycle.ingestion import compute_month_features, ingest_month
from quantum_training.lifecycle.market_history import MarketHistory
from quantum_training.lifecycle.services import Services
from quantum_training.lifecycle.training.train_week import train_week
from quantum_training.lifecycle.training.version_loader import VersionLoader
from quantum_training.market.periods import Key
from quantum_training.settings import load_settings


def test_a_week_is_trained_and_scored_without_dagster(workspace, small, tmp_path):
    workspace({**small, "store_root": f"{tmp_path}/store", "mlflow_tracking_uri": f"sqlite:///{tmp_path}/mlflow.db"})

    services = Services.of(load_settings())
    for month in pd.date_range("2019-09-01", "2020-01-01", freq="MS", tz="UTC"):
        ingest_month(services.store, services.settings, Key("AAA", month), pd.Timestamp.now("UTC"))
        compute_month_features(services.store, services.settings, Key("AAA", month))
    monday = pd.Timestamp("2020-01-06", tz="UTC")
    training = train_week(services, "xgboost", Key("AAA", monday))
    history = MarketHistory(services.store, services.settings, "AAA")
    load = VersionLoader(lambda model_id: services.registry.load("AAA", model_id))
    scored = score_week(history, monday + pd.Timedelta(days=7), load)

    assert training.outcome == "trained"
    xgboost = scored.scores[scored.scores["strategy"] == "xgboost"]
    assert set(xgboost["model_id"]) == {training.result.version.model_id}
    assert xgboost["net_return"].notna().all()
