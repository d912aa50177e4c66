"""The digest of an algorithm's source: what it covers, and that it imports nothing."""

import subprocess
import sys
from pathlib import Path

import pytest

from quantum_training.models import source_digest as module
from quantum_training.models.source_digest import source_digest


@pytest.fixture
def copied(tmp_path, monkeypatch):
    """The package's covered sources at another place, where a test may change them."""
    for name in module.COVERED:
        (tmp_path / name).mkdir()
        for file in (Path(module.__file__).parents[1] / name).glob("*.py"):
            (tmp_path / name / file.name).write_text(file.read_text())
    monkeypatch.setattr(module, "_ROOT", tmp_path)
    source_digest.cache_clear()
    yield tmp_path
    source_digest.cache_clear()


@pytest.mark.parametrize(
    ("file", "changed"),
    [
        ("models/xgboost.py", {"xgboost"}),
        ("models/booster.py", {"xgboost", "lightgbm"}),
        ("models/agent.py", {"ppo"}),
        ("trading/episode_kernel.py", {"xgboost", "lightgbm", "ppo"}),
        ("trading/vec_env.py", {"ppo"}),
        ("features/indicators.py", {"xgboost", "lightgbm", "ppo"}),
        ("trading/tearsheet.py", set()),
    ],
)
def test_the_digest_changes_with_the_files_that_an_algorithm_names(copied, file, changed):
    algorithms = ("xgboost", "lightgbm", "ppo")
    before = {name: source_digest(name) for name in algorithms}
    source_digest.cache_clear()
    (copied / file).write_text((copied / file).read_text() + "\n# another line\n")
    assert {name for name in algorithms if source_digest(name) != before[name]} == changed


def test_a_users_algorithm_is_read_and_one_without_a_file_counts_by_its_name(tmp_path, monkeypatch):
    (tmp_path / "my_models").mkdir()
    file = tmp_path / "my_models" / "ridge.py"
    file.write_text("raise ImportError('not to be imported')\n")
    monkeypatch.syspath_prepend(tmp_path)
    before = source_digest("my_models.ridge")
    source_digest.cache_clear()
    file.write_text("raise ImportError('changed')\n")
    assert source_digest("my_models.ridge") != before
    assert source_digest("nowhere.to_be_found") != source_digest("nowhere.else")


def test_nothing_heavy_is_imported():
    code = (
        "import sys; from quantum_training.models.source_digest import source_digest; source_digest('xgboost'); "
        "source_digest('ppo'); assert not {'xgboost', 'torch', 'quantum_training.models.ppo'} & {*sys.modules}"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
