"""What an artefact is made of: the SHA-256 of each file, and the check that none was changed, added or removed.

Who keeps a manifest, and where, is not said here: contract.py inside the artefact, the registry outside of it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from pathlib import Path

NO_FILE = "no plain file"


class ArtefactError(ValueError):
    """An artefact is not what was stored. The message names each file that differs and how."""


def manifest(folder: Path) -> dict[str, str]:
    """SHA-256 in hex of every file by its path in the folder. A link or a device counts as a file without a hash."""
    files = sorted(path for path in folder.rglob("*") if path.is_symlink() or not path.is_dir())
    return {path.relative_to(folder).as_posix(): file_hash(path) for path in files}


def file_hash(path: Path) -> str:
    """SHA-256 in hex of a file; NO_FILE for a link or a device, which `check` never takes for what was stored."""
    plain = path.is_file() and not path.is_symlink()
    return hashlib.sha256(path.read_bytes()).hexdigest() if plain else NO_FILE


def check(folder: Path, expected: Mapping[str, str], besides: Collection[str] = ()) -> None:
    """ArtefactError where the folder holds other files than `expected` has it; those in `besides` may differ."""
    found = manifest(folder)
    wrong = []
    for name in sorted({*found, *expected} - {*besides}):
        if name not in expected:
            wrong.append(f"{name} was added")
        elif name not in found:
            wrong.append(f"{name} is missing")
        elif found[name] != expected[name] or found[name] == NO_FILE:
            wrong.append(f"{name} was changed")
    if wrong:
        raise ArtefactError("it is not what was stored: " + ", ".join(wrong))
