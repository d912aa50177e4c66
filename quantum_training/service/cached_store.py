"""The store with its JSON records kept in memory, each until its file changes: many viewers ask for the same ones."""

from __future__ import annotations

from dataclasses import dataclass
from threading import Lock
from typing import Any

from cachetools import LRUCache
from fsspec import AbstractFileSystem
from fsspec.implementations.local import LocalFileSystem

from quantum_training.resources.store.store import Store
from quantum_training.service.remembered import changed, is_settled, note, note_unknown

RECORDS = 2_000
"""Records in memory: some 50 MB of the largest kind, the drift reports; a symbol of three years has 1,000."""
FOLDERS = 10_000
"""Listed folders in memory: 100 symbols have some 1,000."""
_records: LRUCache[tuple[str, ...], dict[str, Any]] = LRUCache(RECORDS)
_folders: LRUCache[tuple[str, str], tuple[int, dict[str, str]]] = LRUCache(FOLDERS)
_lock = Lock()


@dataclass(frozen=True)
class CachedStore(Store):
    """A store whose records are read again only if their files were written since. Callers do not change them."""

    def stamps(self, asset: str, symbol: str, suffix: str = "json") -> dict[str, str]:
        """As Store.stamps. A folder on this machine is listed again only if something in it was written since."""
        filesystem, path = self._path(asset, symbol, "", suffix)
        if not isinstance(filesystem, LocalFileSystem):
            return super().stamps(asset, symbol, suffix)
        folder = path.rpartition("/")[0]
        written = changed(folder)
        with _lock:
            listed = _folders.get((folder, suffix))
        if listed and listed[0] == written:
            return listed[1]
        stamps = super().stamps(asset, symbol, suffix)
        if is_settled(written):
            with _lock:
                _folders[folder, suffix] = written, stamps
        return stamps

    def periods(self, asset: str, symbol: str, suffix: str = "parquet") -> list[str]:
        """The stored periods, oldest first."""
        return [*self.stamps(asset, symbol, suffix)]

    def read_record(self, asset: str, symbol: str, period: str) -> dict[str, Any] | None:
        """The stored record of one period, or None."""
        stamp = self.stamps(asset, symbol).get(period)
        return None if stamp is None else self._record(asset, symbol, period, stamp)

    def read_records(self, asset: str, symbol: str, last: str = "9999") -> dict[str, dict[str, Any]]:
        """All stored records of a symbol up to the period `last`, oldest first."""
        stamps = {period: stamp for period, stamp in self.stamps(asset, symbol).items() if period <= last}
        records = ((period, self._record(asset, symbol, period, stamp)) for period, stamp in stamps.items())
        return {period: record for period, record in records if record is not None}

    def _path(self, asset: str, symbol: str, period: str, suffix: str) -> tuple[AbstractFileSystem, str]:
        """As Store's, which every access asks first: what is made from the folder depends on it."""
        filesystem, path = super()._path(asset, symbol, period, suffix)
        if isinstance(filesystem, LocalFileSystem):
            note(path.rpartition("/")[0])
        else:
            note_unknown(path)
        return filesystem, path

    def _record(self, asset: str, symbol: str, period: str, stamp: str) -> dict[str, Any] | None:
        key = self.root, asset, symbol, period, stamp
        with _lock:
            if (record := _records.get(key)) is not None:
                return record
        record = super().read_record(asset, symbol, period)
        if record is not None:
            with _lock:
                _records[key] = record
        return record
