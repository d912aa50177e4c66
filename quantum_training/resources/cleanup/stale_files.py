"""Removing files that nobody reads any more: old HTML reports, states of trainings that nobody resumes, temporary files
of killed writers, compiled kernels of other code. Frames and records are data and are never removed.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import Any

import pandas as pd
from fsspec.implementations.local import LocalFileSystem

from quantum_training.resources.cleanup.removal_count import RemovalCount
from quantum_training.resources.store.store import Store

REPORTS = ("backtest", "drift_report")
"""Assets that write HTML beside their records. A report is written again where its partition is run again."""

MODEL_ID = "[0-9a-f]{16}"
"""As provenance.identity makes it."""

ABANDONED = pd.Timedelta(days=1)
"""Age from which on a temporary file is nobody's: a writer needs seconds."""


def remove_reports(store: Store, before: pd.Timestamp, dry_run: bool) -> RemovalCount:
    """Remove HTML reports that were written before that time; the newest of each symbol and kind stays."""
    filesystem, base = store.place()
    removed = RemovalCount()
    for asset in REPORTS:
        for folder in _listed(filesystem, f"{base}/{asset}"):
            kinds: dict[str, list[Mapping[str, Any]]] = {}
            for file in _listed(filesystem, folder["name"]):
                name = file["name"].rpartition("/")[2]
                if name.endswith(".html") and not name.startswith("."):
                    kinds.setdefault(name.partition(".")[2], []).append(file)
            for files in kinds.values():
                old = sorted(files, key=lambda f: f["name"])[:-1]
                for file in (f for f in old if _written(f) < before):
                    removed += RemovalCount(1, file["size"])
                    if not dry_run:
                        filesystem.rm_file(file["name"])
    return removed


def remove_temporaries(store: Store, artifacts: Path | None, now: pd.Timestamp, dry_run: bool) -> RemovalCount:
    """Remove what killed writers left in the store, where that is a folder, and in MLflow's folder of artefacts, where
    this machine has it; elsewhere a write is one request."""
    filesystem, base = store.place()
    folders = [(Path(base), ".*.tmp")] if isinstance(filesystem, LocalFileSystem) else []
    folders += [(artifacts, ".artifact.uploading.*")] if artifacts else []  # MLflow's own name for it
    found = (_files_before(folder, pattern, now - ABANDONED) for folder, pattern in folders)
    return _remove(chain.from_iterable(found), dry_run)


def remove_states(root: Path, before: pd.Timestamp, dry_run: bool) -> RemovalCount:
    """Remove the states of trainings that were written before that time: folders that are named by a model id.

    Nothing else in `root` is touched: a person may have pointed it at a folder that holds other things, too.
    """
    states = [f for f in sorted(root.iterdir()) if re.fullmatch(MODEL_ID, f.name)] if root.is_dir() else []
    return _remove([f for f in states if f.is_dir() and not f.is_symlink() and _newest(f) < before], dry_run)


def remove_kernels(before: pd.Timestamp, dry_run: bool) -> RemovalCount:
    """Remove compiled kernels that belong to other sources than those that run here."""
    from quantum_training.trading.compiled import FOLDER

    current = Path(FOLDER)
    old = [f for f in current.parent.glob("kernels-*") if f != current and f.is_dir() and _newest(f) < before]
    return _remove(sorted(old), dry_run)


def folder_bytes(folder: Path) -> int:
    """Bytes of the files under a folder."""
    return sum(map(file_bytes, _below(folder)))


def file_bytes(path: Path) -> int:
    """Bytes of a file; 0 where it is none, or another process has just removed it."""
    try:
        return path.stat().st_size if path.is_file() else 0
    except FileNotFoundError:
        return 0


def _listed(filesystem: Any, folder: str) -> list[Mapping[str, Any]]:
    try:
        return filesystem.ls(folder, detail=True, refresh=True)
    except FileNotFoundError:
        return []


def _written(file: Mapping[str, Any]) -> pd.Timestamp:
    """When a file of fsspec was written; object stores and folders call it otherwise. Now where it is not told."""
    told = next((file[name] for name in ("mtime", "LastModified", "last_modified", "created") if name in file), None)
    if told is None:
        return pd.Timestamp.now("UTC")
    time = pd.Timestamp(told, unit="s") if isinstance(told, int | float) else pd.Timestamp(told)
    return time.tz_localize("UTC") if time.tz is None else time.tz_convert("UTC")


def _files_before(root: Path, pattern: str, before: pd.Timestamp) -> Iterator[Path]:
    return (file for file in _below(root) if file.match(pattern) and file.is_file() and _modified(file) < before)


def _remove(paths: Any, dry_run: bool) -> RemovalCount:
    removed = RemovalCount()
    for path in paths:
        removed += RemovalCount(1, folder_bytes(path) if path.is_dir() else file_bytes(path))
        if not dry_run and path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        elif not dry_run:
            path.unlink(missing_ok=True)
    return removed


def _newest(folder: Path) -> pd.Timestamp:
    return max(_modified(path) for path in (folder, *_below(folder)))


def _below(folder: Path) -> Iterator[Path]:
    """All files and folders under a folder. rglob fails where another process removes one of them meanwhile."""
    for top, folders, files in os.walk(folder):
        yield from (Path(top, name) for name in (*folders, *files))


def _modified(path: Path) -> pd.Timestamp:
    """When a file was written; now where another process has just removed it."""
    try:
        return pd.Timestamp(path.stat().st_mtime, unit="s", tz="UTC")
    except FileNotFoundError:
        return pd.Timestamp.now("UTC")
