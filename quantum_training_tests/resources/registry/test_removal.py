"""Removing versions through a real MLflow server that keeps the artefacts: their files go, the others' stay."""

from contextlib import ExitStack

import pandas as pd
import pytest

from quantum_training.models.contract import TrainingContext, algorithm
from quantum_training.resources.registry.errors import RegistryError
from quantum_training.resources.registry.new_version import NewVersion
from quantum_training.resources.registry.registry import ModelRegistry
from quantum_training.resources.registry.removal import registered, remove
from quantum_training_tests.support.platforms import MlflowServer


@pytest.fixture
def server(tmp_path):
    """An MLflow server, ready."""
    with ExitStack() as stack:
        yield MlflowServer(tmp_path, stack).start().ready()


@pytest.mark.soak
def test_through_a_server_artefacts_are_removed_and_those_of_an_alias_stay(server, make_window, make_features):
    files, registry = server.served, ModelRegistry(tracking_uri=server.url)
    model = algorithm("xgboost").fit(TrainingContext(make_window(), {"max_rounds": 2}, seed=7))
    for name in ("old", "champion", "newest"):
        tags = {"model_id": name, "recipe": "xgboost", "as_of": "2020-01-06T00:00:00+00:00"}
        started = pd.Timestamp.now("UTC")
        registry.register(
            "AAA",
            NewVersion(
                model, "xgboost", make_features(20), tags=tags, params={}, metrics={"loss": 0.5}, started=started
            ),
        )
        registry.log_report("AAA", name, "backtest/2020-01-06.html", "<p>")
    registry.aliases.move("AAA", {"champion": "champion"})
    existing_versions, later = registered(registry, "AAA"), pd.Timestamp.now("UTC") + pd.Timedelta(days=31)
    before = {f for f in files.rglob("*") if f.is_file()}
    size = sum(f.stat().st_size for f in before)
    dry_counts = remove(registry, "AAA", existing_versions[:2], later, dry_run=True)
    assert {f for f in files.rglob("*") if f.is_file()} == before
    counts = remove(registry, "AAA", existing_versions[:2], later, dry_run=False)
    assert dry_counts["versions"].number == 2
    assert counts["versions"].number == 1, "the champion went"
    left = size - sum(f.stat().st_size for f in files.rglob("*") if f.is_file())
    assert left == counts["versions"].size + counts["reports_in_mlflow"].size > 1000
    assert not [*files.rglob(f"*{existing_versions[0].run_id}*")]
    assert [v.model_id for v in registered(registry, "AAA")] == ["champion", "newest"]
    for name in ("champion", "newest"):
        registry.load("AAA", name)
    with pytest.raises(RegistryError, match="recorded but not in MLflow"):
        registry.load("AAA", "old")
    assert not any(one.number for one in remove(registry, "AAA", [], later, dry_run=False).values())
