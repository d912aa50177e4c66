"""The version of the leakage test of recipes: its results are stored and reused only while its code is the same."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from quantum_training.monitoring import model_leakage, synthetic_training

EQUIVALENT_SOURCES: Mapping[str, str] = {}
"""Hash of the present code -> hash of earlier code that measures the same. Stored results of that code stay valid."""


@cache
def source_hash() -> str:
    """Hash of the code that measures the skill of a recipe, or of the earliest code that measures the same."""
    files = (model_leakage.__file__, synthetic_training.__file__)
    present = hashlib.sha256(b"".join(Path(file).read_bytes() for file in files)).hexdigest()
    return EQUIVALENT_SOURCES.get(present, present)
