"""A home with the decisions of a symbol."""

import pytest

from quantum_training_tests.support.weekly_home import Home


@pytest.fixture
def home(workspace, small):
    """A home without a decision yet, whose rule promotes nobody."""
    small["promotion"] = {"rule": "evidence"}
    return Home(workspace(small))
