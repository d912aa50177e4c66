"""The manifest of an artefact: the SHA-256 of each file, and the check that no file was changed, added or removed.

contract.py stores a manifest inside the artefact, the registry another one outside.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from pathlib import Path

NO_FILE = "no plain file"


class ArtefactError(ValueError):
    """An artefact differs from what was stored. The message names each file and how it differs."""


def manifest(folder: Path) -> dict[str, str]:
    """SHA-256 in hex of every file by its path in the folder. A link or a device counts as a file without a hash."""
    files = sorted(path for path in folder.rglob("*") if path.is_symlink() or not path.is_dir())
    return {path.relative_to(folder).as_posix(): file_hash(path) for path in files}


def file_hash(path: Path) -> str:
    """SHA-256 in hex of a file; NO_FILE for a link or a device, which `check` always refuses."""
    is_plain = path.is_file() and not path.is_symlink()
    return hashlib.sha256(path.read_bytes()).hexdigest() if is_plain else NO_FILE


def check(folder: Path, expected: Mapping[str, str], ignored: Collection[str] = ()) -> None:
    """ArtefactError if the folder does not hold exactly the `expected` files; those in `ignored` may differ."""
    actual = manifest(folder)
    differences = []
    for name in sorted({*actual, *expected} - {*ignored}):
        if name not in expected:
            differences.append(f"{name} was added")
        elif name not in actual:
            differences.append(f"{name} is missing")
        elif actual[name] != expected[name] or actual[name] == NO_FILE:
            differences.append(f"{name} was changed")
    if differences:
        raise ArtefactError("it is not what was stored: " + ", ".join(differences))
