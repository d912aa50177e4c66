"""A real platform for tests: each of its processes is stopped, with all its children, when the test ends."""

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from quantum_training_tests.support.platforms import Platform


@pytest.fixture
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    """A platform over a new DAGSTER_HOME, not started yet; what it starts is stopped at the end."""
    with ExitStack() as stack:
        yield Platform(tmp_path_factory.mktemp("platform"), stack)
