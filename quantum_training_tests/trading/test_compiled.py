"""A compiled kernel is never that of other sources."""

from importlib import import_module
from pathlib import Path

import pytest
from numba.core.dispatcher import Dispatcher

import quantum_training
from quantum_training.trading.compiled import FOLDER, SOURCES, cache_folder

PACKAGE = Path(quantum_training.__file__).parent
KERNELS = sorted(
    path for path in PACKAGE.rglob("*.py") if "@compiled" in path.read_text() or "@fast" in path.read_text()
)


def test_the_cache_folder_changes_with_any_source(tmp_path):
    sources = [tmp_path / "a.py", tmp_path / "b.py"]
    for source in sources:
        source.write_text("1")
    before = cache_folder(sources, "")
    assert cache_folder(sources, "") == before
    assert cache_folder(sources, str(tmp_path)) == str(tmp_path / Path(before).name)
    for source in sources:
        source.write_text("2")
        assert cache_folder(sources, "") != before
        source.write_text("1")


@pytest.mark.parametrize("path", KERNELS, ids=lambda path: path.stem)
def test_every_kernel_is_cached_there_and_is_one_of_the_sources(path):
    assert path in SOURCES
    module = import_module(".".join(("quantum_training", *path.relative_to(PACKAGE).with_suffix("").parts)))
    kernels = [value for value in vars(module).values() if isinstance(value, Dispatcher)]
    assert kernels
    assert all(kernel.stats.cache_path.startswith(FOLDER) for kernel in kernels)


def test_nothing_but_a_reward_of_ones_own_is_compiled_in_another_way():
    assert {p.name for p in PACKAGE.rglob("*.py") if "njit" in p.read_text()} == {"compiled.py", "own_reward_kernel.py"}
