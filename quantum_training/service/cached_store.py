"""The store with its JSON records kept in memory, each until its file changes: many viewers ask for the same ones."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from threading import Lock
from typing import Any

from cachetools import LRUCache
from fsspec.implementations.local import LocalFileSystem

from quantum_training.resources.store.store import Store

RECORDS = 20_000
"""Records in memory: some 80 MB of the largest kind, the decisions."""
FOLDERS = 10_000
"""Listed folders in memory: 100 symbols have some 1,000."""
SETTLED_NANOSECONDS = 2 * 10**9
"""A folder that was written less than this ago may be written again without another time of change."""
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
        try:
            changed = os.stat(folder).st_mtime_ns
        except FileNotFoundError:
            return {}
        with _lock:
            listed = _folders.get((folder, suffix))
        if listed and listed[0] == changed:
            return listed[1]
        stamps = super().stamps(asset, symbol, suffix)
        if time.time_ns() - changed > SETTLED_NANOSECONDS:
            with _lock:
                _folders[folder, suffix] = changed, stamps
        return stamps

    def read_record(self, asset: str, symbol: str, period: str) -> dict[str, Any] | None:
        """The stored record of one period, or None."""
        stamp = self.stamps(asset, symbol).get(period)
        return None if stamp is None else self._record(asset, symbol, period, stamp)

    def read_records(self, asset: str, symbol: str, last: str = "9999") -> dict[str, dict[str, Any]]:
        """All stored records of a symbol up to the period `last`, oldest first."""
        stamps = {period: stamp for period, stamp in self.stamps(asset, symbol).items() if period <= last}
        records = ((period, self._record(asset, symbol, period, stamp)) for period, stamp in stamps.items())
        return {period: record for period, record in records if record is not None}

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
