"""Reading, caching and replacing one file of the store, in a folder or an object store. Its layout: store.py."""

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

CACHE_BYTES = 64 * 2**20
"""Size of the cache of frames: decades of 1h bars of a symbol. In bytes, since a month of 1m bars is as large as sixty
of 1h."""


class StoreAccessError(OSError):
    """The object store does not answer or refuses access. The message says what to do."""


@cached(LRUCache(CACHE_BYTES, getsizeof=attrgetter("nbytes")), lock=Lock())
def read_table(filesystem: fsspec.AbstractFileSystem, path: str, unique: str) -> pa.Table:
    """The table in a file, cached as long as `unique` (inode, time, size or ETag) stays the same."""
    return pq.read_table(pa.BufferReader(read_file(filesystem, path)))


def unique_of(filesystem: fsspec.AbstractFileSystem, path: str) -> str:
    """A token that changes with every write of the file. FileNotFoundError if the file is missing."""
    with storage_errors(filesystem, path):
        return filesystem.ukey(path)


def read_file(filesystem: fsspec.AbstractFileSystem, path: str) -> bytes:
    """The bytes of a file, read at once so that all are of one write. FileNotFoundError if the file is missing."""
    with storage_errors(filesystem, path):
        return filesystem.cat_file(path)


@contextmanager
def storage_errors(filesystem: fsspec.AbstractFileSystem, path: str) -> Iterator[None]:
    """Raise StoreAccessError, which says what to do, if an object store fails. A missing object is no failure."""
    if isinstance(filesystem, LocalFileSystem):
        yield
        return
    bucket = path.partition("/")[0]
    try:
        yield
    except FileNotFoundError as error:
        s3_error = getattr(error.__cause__, "response", {}).get("Error", {})
        if s3_error.get("Code") == "NoSuchBucket":
            raise StoreAccessError(
                f"{path}: there is no bucket {bucket!r}; make it, or correct store_root and AWS_ENDPOINT_URL"
            ) from error
        raise
    except PermissionError as error:
        raise StoreAccessError(
            f"{path}: refused: {error}; let the credentials in force (AWS_ACCESS_KEY_ID, a profile or a role) read, "
            f"write and list in {bucket!r}"
        ) from error
    except Exception as error:  # each client library has its own exceptions
        raise StoreAccessError(
            f"{path}: the object store does not answer: {type(error).__name__}: {error}; see that its server runs and "
            "that AWS_ENDPOINT_URL and the credentials are set here"
        ) from error


@lru_cache(maxsize=1024)
def read_metadata(filesystem: fsspec.AbstractFileSystem, path: str, unique: str) -> dict[bytes, bytes] | None:
    """The metadata of a frame's file, read without the frame, since sensors read it for every symbol."""
    with storage_errors(filesystem, path), filesystem.open(path, "rb") as file:
        return pq.read_schema(file).metadata


def replace_file(path: Path, data: bytes) -> None:
    """Replace a file atomically, with fsync: readers see the old or the new bytes, also after a kill."""
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
