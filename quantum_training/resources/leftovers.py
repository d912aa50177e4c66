"""Removing files that nobody reads any more: old HTML reports, states of trainings that nobody resumes, temporary files
of killed writers, compiled kernels of other code. Frames and records are data and are never removed.
"""

from __future__ import annotations

import fcntl
import shutil
from collections.abc import Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import Any

import pandas as pd
from fsspec.implementations.local import LocalFileSystem

from quantum_training.resources.removed import Removed
from quantum_training.resources.store import Store

REPORTS = ("backtest", "drift_report")
"""Assets that write HTML beside their records. A report is written again where its partition is run again."""

ABANDONED = pd.Timedelta(days=1)
"""Age from which on a temporary file is nobody's: a writer needs seconds."""


def remove_reports(store: Store, before: pd.Timestamp, dry_run: bool) -> Removed:
    """Remove HTML reports that were written before that time; the newest of each symbol and kind stays."""
    filesystem, base = store.place()
    removed = Removed()
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
                    removed += Removed(1, file["size"])
                    if not dry_run:
                        filesystem.rm_file(file["name"])
    return removed


def remove_temporaries(store: Store, artifacts: Path | None, now: pd.Timestamp, dry_run: bool) -> Removed:
    """Remove what killed writers left in the store, where that is a folder, and in MLflow's folder of artefacts, where
    this machine has it; elsewhere a write is one request."""
    filesystem, base = store.place()
    folders = [(Path(base), ".*.tmp")] if isinstance(filesystem, LocalFileSystem) else []
    folders += [(artifacts, ".artifact.uploading.*")] if artifacts else []  # MLflow's own name for it
    found = (_files_before(folder, pattern, now - ABANDONED) for folder, pattern in folders)
    return _remove(chain.from_iterable(found), dry_run)


def remove_states(root: Path, recipes: Mapping[str, Any], before: pd.Timestamp, dry_run: bool) -> Removed:
    """Remove the states of trainings that were written before that time, and locks of recipes that are no more."""
    removed = Removed()
    for folder in sorted(root.iterdir()) if root.is_dir() else []:
        if folder.is_dir() and _newest(folder) < before:
            removed += _remove([folder], dry_run)
        elif folder.suffix == ".lock" and folder.stem not in recipes and _modified(folder) < before:
            with folder.open("a") as lock:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    continue
                removed += _remove([folder], dry_run)
    return removed


def remove_kernels(before: pd.Timestamp, dry_run: bool) -> Removed:
    """Remove compiled kernels that belong to other sources than those that run here."""
    from quantum_training.trading.compiled import FOLDER

    current = Path(FOLDER)
    old = [f for f in current.parent.glob("kernels-*") if f != current and f.is_dir() and _newest(f) < before]
    return _remove(sorted(old), dry_run)


def folder_bytes(folder: Path) -> int:
    """Bytes of the files under a folder."""
    return sum(_size(file) for file in folder.rglob("*"))


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
    return (file for file in root.rglob(pattern) if file.is_file() and _modified(file) < before)


def _remove(paths: Any, dry_run: bool) -> Removed:
    removed = Removed()
    for path in paths:
        removed += Removed(1, folder_bytes(path) if path.is_dir() else _size(path))
        if not dry_run and path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        elif not dry_run:
            path.unlink(missing_ok=True)
    return removed


def _newest(folder: Path) -> pd.Timestamp:
    return max(_modified(path) for path in (folder, *folder.rglob("*")))


def _modified(path: Path) -> pd.Timestamp:
    """When a file was written; now where another process has just removed it."""
    try:
        return pd.Timestamp(path.stat().st_mtime, unit="s", tz="UTC")
    except FileNotFoundError:
        return pd.Timestamp.now("UTC")


def _size(path: Path) -> int:
    try:
        return path.stat().st_size if path.is_file() else 0
    except FileNotFoundError:
        return 0
