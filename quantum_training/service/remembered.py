"""What was made from folders of the store, kept until something in one of these folders is written.

Which folders that are is noted while it is made, so nobody has to name them. Every write of the store replaces a file,
which changes the time of its folder.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from threading import Lock
from typing import Any, NamedTuple, TypeVar

from cachetools import LRUCache

Result = TypeVar("Result")
SETTLED_NANOSECONDS = 2 * 10**9
"""A folder that was written less than this ago may be written again without another time of change."""
_noted: ContextVar[dict[str, int] | None] = ContextVar("noted", default=None)


def changed(folder: str) -> int:
    """When something in a folder of this machine was written last; 0 if there is no such folder."""
    try:
        return os.stat(folder).st_mtime_ns
    except FileNotFoundError:
        return 0


def is_settled(written: int) -> bool:
    """Is a folder that was written then certain to have another time after its next write?"""
    return time.time_ns() - written > SETTLED_NANOSECONDS


def note(folder: str) -> None:
    """Say, before it is read, that a result depends on this folder."""
    noted = _noted.get()
    if noted is not None and folder not in noted:
        noted[folder] = changed(folder)


def note_unknown(place: str) -> None:
    """Say that a result depends on a place that does not tell when it was written: the result is not kept."""
    noted = _noted.get()
    if noted is not None:
        noted[place] = time.time_ns()


@contextmanager
def noting() -> Iterator[dict[str, int]]:
    """Collect the folders that are noted in the block, with the times of their last writes."""
    folders: dict[str, int] = {}
    around, token = _noted.get(), _noted.set(folders)
    try:
        yield folders
    finally:
        _noted.reset(token)
        if around is not None:
            around.update({**folders, **around})


class _Kept(NamedTuple):
    result: Any
    size: int
    folders: dict[str, int]
    made: float


class Memory:
    """The results used last, up to a sum of sizes. seconds: what time alone changes in a result may be so old."""

    def __init__(self, size: int, seconds: float) -> None:
        self._kept: LRUCache[Hashable, _Kept] = LRUCache(size, getsizeof=lambda kept: kept.size)
        self._seconds, self._lock = seconds, Lock()

    def recall(self, key: Hashable) -> Any | None:
        """The result of this key, if it is still what would be made now; else None."""
        with self._lock:
            kept = self._kept.get(key)
        if kept is None or time.monotonic() - kept.made > self._seconds:
            return None
        if any(changed(folder) != written for folder, written in kept.folders.items()):
            return None
        if (noted := _noted.get()) is not None:
            noted.update({**kept.folders, **noted})
        return kept.result

    def keep(self, key: Hashable, result: Any, size: int, folders: dict[str, int]) -> None:
        """Keep a result, unless one of its folders is being written."""
        if size <= self._kept.maxsize and all(is_settled(written) for written in folders.values()):
            with self._lock:
                self._kept[key] = _Kept(result, size, folders, time.monotonic())

    def made(self, key: Hashable, make: Callable[[], Result], size: int = 1) -> Result:
        """The result of this key, made now if it is not kept. Callers do not change it."""
        kept: Result | None = self.recall(key)
        if kept is not None:
            return kept
        with noting() as folders:
            result = make()
        self.keep(key, result, size, folders)
        return result
