"""Reads and writes the files of an artefact: JSON side files, and arrays of weights as safetensors.

What a model stores in them is the model's own module; the hashes of the files are manifest.py.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np


def write_json(path: Path, content: Mapping[str, Any], allow_nan: bool = True) -> None:
    """Write with sorted keys, so that equal content gives equal bytes. ValueError for a NaN unless `allow_nan`."""
    path.write_text(json.dumps(content, sort_keys=True, allow_nan=allow_nan))


def read_json(path: Path) -> dict[str, Any]:
    """The content that `write_json` wrote; tuples come back as lists."""
    content: dict[str, Any] = json.loads(path.read_text())
    return content


def write_arrays(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write arrays by name as one safetensors file."""
    from safetensors.numpy import save_file

    save_file({name: np.asarray(array, order="C") for name, array in arrays.items()}, path)


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """The arrays that `write_arrays` wrote, in the same types."""
    from safetensors.numpy import load_file

    arrays: dict[str, np.ndarray] = load_file(path)
    return arrays
