"""A home that release 0.1 made goes on under the present code: no version is trained anew, no decision changes.

data/home_of_0.1.tar.xz holds three weeks of every algorithm on AAA and of boosters, a pool and a warm-started agent on
BBB, with promotions on both: store, MLflow, ledger and settings, without HTML reports. The code of an algorithm may
change on purpose: then its recorded versions must be trained anew, and its recipes leave this test.
"""

import json
import sqlite3
import tarfile
from contextlib import closing
from pathlib import Path

import mlflow
import pytest
import yaml

from quantum_training.lifecycle.evaluation import leakage
from quantum_training.lifecycle.training import train_version
from quantum_training.models.provenance import code_hash

ARCHIVE = Path(__file__).with_name("data") / "home_of_0.1.tar.xz"
HOME = "/srv/quantum_training"
WEEKS = ("2019-12-30", "2020-01-06", "2020-01-13")
NEXT = "2020-01-20"


@pytest.fixture
def project(build_project, tmp_path, monkeypatch):
    """The home of release 0.1, unpacked where the test runs."""
    monkeypatch.setattr(leakage, "measure_skill", refuse)
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(tmp_path / "unpacked", filter="data")
    settings = yaml.safe_load((tmp_path / "unpacked" / "settings.yaml").read_text())
    project = build_project({name: value for name, value in settings.items() if HOME not in str(value)})
    for part in ("store", "artifacts", "mlflow.db", "quantum_training.db"):
        (tmp_path / "unpacked" / part).rename(project.home / part)
    return project


def refuse(*args, **kwargs):
    raise AssertionError("trained or measured anew")


def ledger_rows(project, symbol):
    return [(row.key, row.kind, row.hash) for row in project.ledger.rows(symbol)]


def versions(project):
    """Number and model id of every registered version, by symbol."""
    with closing(sqlite3.connect(project.home / "mlflow.db")) as database:
        return database.execute(
            "SELECT name, version, value FROM model_version_tags WHERE key = 'model_id' ORDER BY 1, 2"
        ).fetchall()


def data(project):
    """Stored bytes but for HTML reports, which the archive leaves out."""
    return {name: content for name, content in project.stored().items() if not name.endswith(".html")}


def test_the_code_of_every_algorithm_has_the_hash_that_release_0_1_recorded(project):
    recorded = {
        (project.settings.recipes[path.parents[1].name.removesuffix("_model")].algorithm, version["code_hash"])
        for path in Path(project.store.root).glob("*_model/*/*.json")
        for version in json.loads(path.read_text())["versions"]
    }
    assert {(name, code_hash(name)) for name, _ in recorded} == recorded


@pytest.mark.long
@pytest.mark.parametrize("symbol", ["AAA", "BBB"])
def test_recorded_weeks_run_again_train_nothing_and_change_no_byte(project, symbol, monkeypatch):
    before = data(project), ledger_rows(project, symbol), versions(project)
    monkeypatch.setattr(train_version, "fit_seeds", refuse)

    result = project.run("weekly_cycle", f"{symbol}|{WEEKS[0]}", f"{symbol}|{WEEKS[-1]}")

    assert result.success
    after = data(project)
    assert {name for name in before[0] | after if before[0].get(name) != after.get(name)} == set()
    assert (ledger_rows(project, symbol), versions(project)) == before[1:]


@pytest.mark.long
def test_the_next_week_adds_one_version_of_each_recipe_and_one_row_of_the_ledger(project):
    stored, rows, registered = data(project), ledger_rows(project, "BBB"), versions(project)

    assert project.run("weekly_cycle", f"BBB|{NEXT}").success

    after = data(project)
    assert {name: after[name] for name in stored} == stored
    assert ledger_rows(project, "BBB")[:-1] == rows
    added = [row for row in versions(project) if row not in registered]
    assert len(added) == len(project.settings.symbols["BBB"].recipes)
    assert len(versions(project)) == len(registered) + len(added)


def test_mlflow_serves_a_version_that_release_0_1_registered(project):
    mlflow.set_tracking_uri(project.registry.tracking_uri)
    champion = project.store.read_record("champion", "BBB", WEEKS[-1])
    model = project.registry.load("BBB", champion["model_id"])
    bars = project.store.read_frames("features", "BBB", "2019-12-01", "2020-01-01").join(
        project.store.read_frames("candles", "BBB", "2019-12-01", "2020-01-01")[["open", "close"]]
    )
    served = mlflow.pyfunc.load_model("models:/BBB@champion").predict(bars[list(model.columns)])
    assert served.equals(model.positions(bars))
