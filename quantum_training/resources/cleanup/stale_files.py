"""Removal of files that are no longer read: old HTML reports, checkpoints of trainings that nobody resumes, temporary
files of killed writers, compiled kernels of other code. Frames and records are data and are never removed.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import Any

import pandas as pd
from fsspec.implementations.local import LocalFileSystem

from quantum_training.resources.cleanup.removal_count import RemovalCount
from quantum_training.resources.store.store import Store

REPORTS = ("backtest", "drift_report")
"""Assets that write HTML beside their records. A second run of a partition writes its report again."""

MODEL_ID = "[0-9a-f]{16}"
"""The form of a model id, see provenance.identity."""

ABANDONED = pd.Timedelta(days=1)
"""Age from which on a temporary file has no writer any more: a write takes seconds."""


def remove_reports(store: Store, before: pd.Timestamp, dry_run: bool) -> RemovalCount:
    """Remove HTML reports written before that time, except the newest of each symbol and kind."""
    filesystem, base = store.place()
    removed = RemovalCount()
    for asset in REPORTS:
        for folder in _files(filesystem, f"{base}/{asset}"):
            for file in _old_reports(_files(filesystem, folder["name"]), before):
                removed += RemovalCount(1, file["size"])
                if not dry_run:
                    filesystem.rm_file(file["name"])
    return removed


def remove_temporaries(store: Store, artifacts: Path | None, now: pd.Timestamp, dry_run: bool) -> RemovalCount:
    """Remove temporary files of killed writers from a store that is a folder, and from MLflow's folder of artefacts if
    this machine has it. In other kinds of storage a write is a single request and leaves no such file.
    """
    filesystem, base = store.place()
    folders = [(Path(base), ".*.tmp")] if isinstance(filesystem, LocalFileSystem) else []
    folders += [(artifacts, ".artifact.uploading.*")] if artifacts else []  # MLflow's own name for it
    files = (_files_before(folder, pattern, now - ABANDONED) for folder, pattern in folders)
    return _remove(chain.from_iterable(files), dry_run)


def remove_checkpoints(root: Path, before: pd.Timestamp, dry_run: bool) -> RemovalCount:
    """Remove checkpoints of trainings that were written before that time: the folders named by a model id.

    Nothing else in `root` is touched, because `root` may be a folder that holds other things, too.
    """
    folders = [f for f in sorted(root.iterdir()) if re.fullmatch(MODEL_ID, f.name)] if root.is_dir() else []
    return _remove([f for f in folders if f.is_dir() and not f.is_symlink() and _last_change(f) < before], dry_run)


def remove_kernels(before: pd.Timestamp, dry_run: bool) -> RemovalCount:
    """Remove compiled kernels of other sources than the running ones."""
    from quantum_training.trading.compiled import FOLDER

    current = Path(FOLDER)
    old = [f for f in current.parent.glob("kernels-*") if f != current and f.is_dir() and _last_change(f) < before]
    return _remove(sorted(old), dry_run)


def folder_bytes(folder: Path) -> int:
    """Bytes of the files under a folder."""
    return sum(map(file_bytes, _paths_under(folder)))


def file_bytes(path: Path) -> int:
    """Bytes of a file; 0 if it is no file, or another process has just removed it."""
    try:
        return path.stat().st_size if path.is_file() else 0
    except FileNotFoundError:
        return 0


def _files(filesystem: Any, folder: str) -> list[Mapping[str, Any]]:
    """The entries of a folder as fsspec describes them; none if there is no such folder."""
    try:
        return filesystem.ls(folder, detail=True, refresh=True)
    except FileNotFoundError:
        return []


def _old_reports(files: Iterable[Mapping[str, Any]], before: pd.Timestamp) -> Iterator[Mapping[str, Any]]:
    """The HTML files from before that time, except the newest of each kind. The kind is what follows the first dot."""
    kinds: dict[str, list[Mapping[str, Any]]] = {}
    for file in files:
        name = file["name"].rpartition("/")[2]
        if name.endswith(".html") and not name.startswith("."):
            kinds.setdefault(name.partition(".")[2], []).append(file)
    for reports in kinds.values():
        all_but_newest = sorted(reports, key=lambda f: f["name"])[:-1]
        yield from (file for file in all_but_newest if _write_time(file) < before)


def _write_time(file: Mapping[str, Any]) -> pd.Timestamp:
    """When a file of fsspec was written; each kind of storage has its own key for it. Now if it is not known."""
    keys = ("mtime", "LastModified", "last_modified", "created")
    value = next((file[key] for key in keys if key in file), None)
    if value is None:
        return pd.Timestamp.now("UTC")
    time = pd.Timestamp(value, unit="s") if isinstance(value, int | float) else pd.Timestamp(value)
    return time.tz_localize("UTC") if time.tz is None else time.tz_convert("UTC")


def _files_before(root: Path, pattern: str, before: pd.Timestamp) -> Iterator[Path]:
    paths = _paths_under(root)
    return (path for path in paths if path.match(pattern) and path.is_file() and _modified(path) < before)


def _remove(paths: Iterable[Path], dry_run: bool) -> RemovalCount:
    removed = RemovalCount()
    for path in paths:
        removed += RemovalCount(1, folder_bytes(path) if path.is_dir() else file_bytes(path))
        if not dry_run and path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        elif not dry_run:
            path.unlink(missing_ok=True)
    return removed


def _last_change(folder: Path) -> pd.Timestamp:
    return max(_modified(path) for path in (folder, *_paths_under(folder)))


def _paths_under(folder: Path) -> Iterator[Path]:
    """All files and folders under a folder. Path.rglob fails if another process removes one of them meanwhile."""
    for top, folders, files in os.walk(folder):
        yield from (Path(top, name) for name in (*folders, *files))


def _modified(path: Path) -> pd.Timestamp:
    """When a file was written; now if another process has just removed it."""
    try:
        return pd.Timestamp(path.stat().st_mtime, unit="s", tz="UTC")
    except FileNotFoundError:
        return pd.Timestamp.now("UTC")
