"""The digest of an algorithm's source files, read without importing them: what Dagster shows as the code's version.

A version's identity has the stricter hash of provenance.py, which imports the algorithm and its libraries.
"""

from __future__ import annotations

import hashlib
import re
from functools import cache
from importlib.util import find_spec
from pathlib import Path

PACKAGE = "quantum_training"
COVERED = ("features", "models", "trading")
"""Subpackages whose code a fit runs."""
_ROOT = Path(__file__).parents[1]
_NAMED = re.compile(rf"\b{PACKAGE}\.(?:{'|'.join(COVERED)})(?:\.\w+)+")


@cache
def source_digest(algorithm_name: str) -> str:
    """SHA-256 over the features, the algorithm's file and the files of COVERED that it names, and those that they name.

    algorithm_name: as models.contract.algorithm has it. A module that has no file counts by its name alone.
    """
    name = algorithm_name if "." in algorithm_name else f"{PACKAGE}.models.{algorithm_name}"
    files: dict[str, Path] = {}
    queue = [name, f"{PACKAGE}.models.contract", f"{PACKAGE}.models.sizing"]
    queue += [f"{PACKAGE}.features.{file.stem}" for file in (_ROOT / "features").glob("*.py")]
    while queue:
        module = queue.pop()
        file = _file_of(module)
        if module not in files and file is not None:
            files[module] = file
            queue += _NAMED.findall(file.read_text(encoding="utf-8"))
    digest = hashlib.sha256(name.encode())
    for module, file in sorted(files.items()):
        digest.update(module.encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()


def _file_of(module: str) -> Path | None:
    """The source file of a module; only its first package is looked for, and none is imported."""
    first, *rest = module.split(".")
    spec = find_spec(first)
    folders = [_ROOT] if first == PACKAGE else [Path(f) for f in (spec and spec.submodule_search_locations) or []]
    paths = [folder.joinpath(*rest).with_suffix(".py") for folder in folders if rest]
    return next((path for path in paths if path.is_file()), None)
