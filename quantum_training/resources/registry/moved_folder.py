"""Artefacts that were moved together with MLflow's SQLite file: their addresses follow it.

MLflow keeps absolute addresses. Left as they are, it would write new artefacts into the old place, which it makes anew.
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path
from urllib.parse import unquote, urlsplit

ARTIFACTS = "artifacts"
"""Folder beside MLflow's SQLite file, in which each experiment has one of its own."""

ADDRESSES = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "storage_location"),
    ("model_versions", "source"),
)
"""Tables and columns in which MLflow keeps addresses of artefacts."""


def follow_moved_folder(file: Path) -> None:
    """Correct the addresses in MLflow's SQLite file if the file was moved or copied together with its artefacts.

    An experiment that lies elsewhere on purpose stays there: its folder exists, and none lies beside the file.
    """
    with closing(sqlite3.connect(file)) as database:
        locations = [location for (location,) in database.execute("SELECT artifact_location FROM experiments")]
    moves = {old: new for old in locations if old and (new := _moved_to(old, file.parent / ARTIFACTS))}
    if not moves:
        return
    with closing(sqlite3.connect(file, timeout=60)) as database, database:
        for old, new in moves.items():
            for table, column in ADDRESSES:
                change = f"UPDATE {table} SET {column} = ? || substr({column}, ?)"  # noqa: S608 - names of ADDRESSES
                below = f"WHERE {column} = ? OR substr({column}, 1, ?) = ?"
                database.execute(f"{change} {below}", (new, len(old) + 1, old, len(old) + 1, f"{old}/"))


def _moved_to(location: str, root: Path) -> str | None:
    """Where an experiment's artefacts lie now; None if that is their address."""
    parts = urlsplit(location)
    if parts.scheme not in ("", "file"):
        return None
    old = Path(unquote(parts.path))
    new = root / old.name
    if old.parent.name != ARTIFACTS or os.path.realpath(old) == os.path.realpath(new):
        return None
    return new.as_uri() if new.exists() or not old.exists() else None
