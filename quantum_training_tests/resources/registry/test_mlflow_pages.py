"""MLflow's pages in a browser: an address of this project opens model training, with names, data and pictures."""

import os
import shutil
import subprocess
from contextlib import ExitStack

import pandas as pd
import pytest

from quantum_training.lifecycle.training.importance_chart import importance_chart
from quantum_training.models.contract import TrainingContext, algorithm
from quantum_training.resources.registry.new_version import NewVersion
from quantum_training.resources.registry.registry import ModelRegistry
from quantum_training.resources.registry.training_data import TrainingData
from quantum_training_tests.support.platforms import MlflowServer

BROWSER = os.environ.get("QT_CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
FLAGS = "--headless --no-sandbox --disable-gpu --no-first-run --disable-background-networking --disable-sync"
FLAGS += " --disable-component-update --window-size=1500,1000 --virtual-time-budget=60000 --dump-dom"


@pytest.fixture
def server(tmp_path):
    with ExitStack() as stack:
        yield MlflowServer(tmp_path, stack).start().ready()


def page(address, folder):
    """The text of a page, once its scripts have run."""
    command = [BROWSER, *FLAGS.split(), f"--user-data-dir={folder}", address]
    return subprocess.run(command, capture_output=True, text=True, timeout=180, check=True).stdout


@pytest.mark.long
@pytest.mark.skipif(not BROWSER, reason="no chromium on this machine")
def test_the_address_of_a_run_opens_model_training_and_shows_sentence_data_and_picture(
    server, make_window, make_features, tmp_path
):
    registry, features = ModelRegistry(tracking_uri=server.url, ui_url=server.url), make_features(20)
    model = algorithm("xgboost").fit(TrainingContext(make_window(), {"max_rounds": 2}, seed=7))
    tags = {"model_id": "id-1", "recipe": "trees", "as_of": "2024-01-08T00:00:00+00:00"}
    data = TrainingData("AAA 4h", "0123456789" * 6 + "abcd", model.columns, 20, features.index[0], features.index[-1])
    version = NewVersion(
        model,
        "xgboost",
        features,
        tags,
        params={"rows": 20},
        metrics={"in_sample/sharpe_ratio": 1.25},
        started=pd.Timestamp("2024-01-08 02:00", tz="UTC"),
        description="Recipe trees for AAA.",
        data=data,
        pictures={"feature_importance.svg": importance_chart(model.importance, "importance")},
    )
    run_page = registry.run_url("AAA", registry.register("AAA", version))

    text = page(run_page, tmp_path / "profile")
    for shown in ("trees 2024-01-08", "Recipe trees for AAA.", "AAA 4h", "in_sample/sharpe_ratio"):
        assert shown in text
    address, query = run_page.split("?")
    runs = page(f"{address.partition('/runs/')[0]}?{query}", tmp_path / "profile")
    assert "trees 2024-01-08" in runs
    assert "Detect Issues" not in runs, "a page of GenAI"
    picture = page(f"{address}/artifacts/feature_importance.svg?{query}", tmp_path / "profile")
    assert "<img" in picture
    assert "feature_importance.svg" in picture
