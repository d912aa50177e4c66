"""The version of the leakage test of recipes: its results are stored and reused only while its code is the same."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

from quantum_training.models.provenance import earlier_code
from quantum_training.monitoring import model_leakage, synthetic_training


def source_hash() -> str:
    """Hash of the code that measures the skill of a recipe, or of the earliest code that measures the same."""
    present = present_source_hash()
    return earlier_code().get(present, present)


@cache
def present_source_hash() -> str:
    """SHA-256 over the two modules that measure the skill."""
    files = (model_leakage.__file__, synthetic_training.__file__)
    return hashlib.sha256(b"".join(Path(file).read_bytes() for file in files)).hexdigest()
