"""How kernels are compiled: cached on disk, in a folder of its own for each state of their sources.

numba's own cache checks a function's file only, and would keep the old code of a kernel in another file that it calls.
Imports numba, so it is imported where it is used.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

import numba
from numba import njit

from quantum_training.trading import observation

SOURCES = (*sorted(Path(__file__).parents[1].glob("*/*kernel.py")), Path(observation.__file__))


def cache_folder(sources: Iterable[Path], base: str) -> str:
    """A folder under `base`, or beside this file if that is empty; other sources give another folder."""
    digest = hashlib.sha256(b"\0".join(source.read_bytes() for source in sources)).hexdigest()
    return str(Path(base or Path(__file__).with_name("__pycache__")) / f"kernels-{digest[:16]}")


CONFIG: Any = numba.config
FOLDER = cache_folder(SOURCES, CONFIG.CACHE_DIR)


def compiled(function: Callable[..., Any] | None = None, **options: Any) -> Any:
    """numba's njit with a cache in FOLDER, as a decorator with or without options."""
    if function is None:
        return partial(compiled, **options)
    usual, CONFIG.CACHE_DIR = CONFIG.CACHE_DIR, FOLDER
    try:
        return njit(cache=True, **options)(function)
    finally:
        CONFIG.CACHE_DIR = usual
