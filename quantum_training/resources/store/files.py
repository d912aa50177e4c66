"""One file of the store, in a folder or an object store: read in one go, kept in memory, replaced as a whole.

Which file holds what is said in store.py.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from operator import attrgetter
from pathlib import Path
from threading import Lock

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
from cachetools import LRUCache, cached
from fsspec.implementations.local import LocalFileSystem

from quantum_training.resources.locks import file_lock

HELD_BYTES = 64 * 2**20
"""Of the frames that a process read last and keeps: of 1h bars all months of a symbol for decades. Bytes, since a month
of 1m bars is as large as sixty of 1h."""


class StoreAccessError(OSError):
    """The object store does not answer, or refuses. The message says what to do."""


@cached(LRUCache(HELD_BYTES, getsizeof=attrgetter("nbytes")), lock=Lock())
def read_table(filesystem: fsspec.AbstractFileSystem, path: str, unique: str) -> pa.Table:
    """One file, kept in memory while there is room and `unique` (inode, time, size or ETag) stays the same."""
    return pq.read_table(pa.BufferReader(read_file(filesystem, path)))


def unique_of(filesystem: fsspec.AbstractFileSystem, path: str) -> str:
    """What changes with every write of a file. FileNotFoundError where there is none."""
    with storage_errors(filesystem, path):
        return filesystem.ukey(path)


def read_file(filesystem: fsspec.AbstractFileSystem, path: str) -> bytes:
    """The bytes of a file in one go, so that none is of a later write. FileNotFoundError where there is none."""
    with storage_errors(filesystem, path):
        return filesystem.cat_file(path)


@contextmanager
def storage_errors(filesystem: fsspec.AbstractFileSystem, path: str) -> Iterator[None]:
    """Say what to do where an object store fails; that there is no such object is no failure."""
    if isinstance(filesystem, LocalFileSystem):
        yield
        return
    bucket = path.partition("/")[0]
    try:
        yield
    except FileNotFoundError as error:
        told = getattr(error.__cause__, "response", {}).get("Error", {})
        if told.get("Code") == "NoSuchBucket":
            raise StoreAccessError(
                f"{path}: there is no bucket {bucket!r}; make it, or correct store_root and AWS_ENDPOINT_URL"
            ) from error
        raise
    except PermissionError as error:
        raise StoreAccessError(
            f"{path}: refused: {error}; let the credentials in force (AWS_ACCESS_KEY_ID, a profile or a role) read, "
            f"write and list in {bucket!r}"
        ) from error
    except Exception as error:  # each client library has failures of its own
        raise StoreAccessError(
            f"{path}: the object store does not answer: {type(error).__name__}: {error}; see that its server runs and "
            "that AWS_ENDPOINT_URL and the credentials are set here"
        ) from error


@lru_cache(maxsize=1024)
def read_metadata(filesystem: fsspec.AbstractFileSystem, path: str, unique: str) -> dict[bytes, bytes] | None:
    """What stands beside the frame in one file, without reading the frame: a sensor asks it of every symbol."""
    with storage_errors(filesystem, path), filesystem.open(path, "rb") as file:
        return pq.read_schema(file).metadata


def replace_file(path: Path, data: bytes) -> None:
    """Put the bytes there, on disk before the name is theirs: a reader, or a kill, meets the old file or the new."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with file_lock(path.with_name(f".{path.name}.tmp")) as file:
        file.truncate(0)
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
        Path(file.name).replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
