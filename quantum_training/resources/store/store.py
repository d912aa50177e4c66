"""The Parquet store: `root/asset/symbol/period.parquet` for frames, `.json` for records.

A write is atomic (temporary file, fsync, rename; one PUT on object stores). It does nothing if the same bytes are
stored already, so re-running a partition changes nothing.
"""

import hashlib
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import fsspec
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from fsspec.implementations.local import LocalFileSystem

from quantum_training.resources.faults import UNREACHABLE, remedy
from quantum_training.resources.store.files import (
    read_file,
    read_metadata,
    read_table,
    replace_file,
    storage_errors,
    unique_of,
)
from quantum_training.settings.paths import under_dagster_home

LAYOUT_VERSION = "1"
OPTIONS: Mapping[str, Mapping[str, Any]] = {
    # writes of other processes must appear in listings; s3fs itself waits 5 s for a connection, 15 s for an answer
    "s3": {"use_listings_cache": False, "config_kwargs": {"retries": {"mode": "standard", "max_attempts": 3}}},
}
"""Options of an object store by the scheme of its URL. Endpoint and credentials come from its own environment."""
MAX_NAME_LENGTH = 100
"""Characters of a name; a file name, of at most 255, may contain two of them."""


class StoreError(RuntimeError):
    """A frame is missing, has another layout, or cannot be written. The message says what to do."""


class Written(NamedTuple):
    """The result of a write."""

    path: str
    content_hash: str
    changed: bool


def content_hash(frame: pd.DataFrame) -> str:
    """SHA-256 over column names, dtypes, index and values of a frame; independent of the file format."""
    digest = hashlib.sha256(json.dumps([(str(c), str(t)) for c, t in frame.dtypes.items()]).encode())
    digest.update(_bytes(frame.index))
    if len({*frame.dtypes}) == 1 and _is_number(frame.dtypes.iloc[0]):
        digest.update(frame.to_numpy().T.tobytes())  # the same bytes, without a Series for each of hundreds of columns
    else:
        for column in frame.columns:
            digest.update(_bytes(frame[column]))
    return digest.hexdigest()


def _bytes(values: pd.Index | pd.Series) -> bytes:
    if pd.api.types.is_datetime64_any_dtype(values.dtype):
        return pd.DatetimeIndex(values).as_unit("ns").asi8.tobytes()
    if _is_number(values.dtype):
        return values.to_numpy().tobytes()
    return json.dumps(values.tolist(), default=str).encode()


def _is_number(dtype: Any) -> bool:
    return isinstance(dtype, np.dtype) and dtype.kind in "biuf"


def _read_json(filesystem: fsspec.AbstractFileSystem, path: str) -> dict[str, Any] | None:
    try:
        record: dict[str, Any] = json.loads(read_file(filesystem, path))
    except FileNotFoundError:
        return None
    return record


@dataclass(frozen=True)
class Store:
    """Frames and records by asset, symbol and period (`YYYY-MM-DD`)."""

    root: str = ""

    def write_frame(
        self, asset: str, symbol: str, period: str, frame: pd.DataFrame, attributes: Mapping[str, str] | None = None
    ) -> Written:
        """Store a frame. Its content hash and the `attributes` go into the file's metadata."""
        digest = content_hash(frame)
        table = pa.Table.from_pandas(frame)
        fields = {"content_hash": digest, "layout_version": LAYOUT_VERSION, **(attributes or {})}
        table = table.replace_schema_metadata({**(table.schema.metadata or {}), **fields})
        sink = pa.BufferOutputStream()
        pq.write_table(table, sink, compression="zstd")
        return self._publish(self._path(asset, symbol, period, "parquet"), sink.getvalue().to_pybytes(), digest)

    def write_record(self, asset: str, symbol: str, period: str, record: Mapping[str, Any]) -> Written:
        """Store a JSON object. ValueError if it contains NaN or infinity."""
        try:
            data = json.dumps(record, indent=1, sort_keys=True, allow_nan=False).encode() + b"\n"
        except ValueError as error:
            raise ValueError(
                f"{asset} {symbol}|{period}: the record holds NaN or infinity; give None and its reason instead"
            ) from error
        return self._publish(self._path(asset, symbol, period, "json"), data, hashlib.sha256(data).hexdigest())

    def write_text(self, asset: str, symbol: str, period: str, suffix: str, text: str) -> Written:
        """Store a text, such as a report, beside the frame and the record of a period."""
        data = text.encode()
        return self._publish(self._path(asset, symbol, period, suffix), data, hashlib.sha256(data).hexdigest())

    def read_text(self, asset: str, symbol: str, period: str, suffix: str) -> str | None:
        """A text that `write_text` has stored, or None."""
        try:
            return read_file(*self._path(asset, symbol, period, suffix)).decode()
        except FileNotFoundError:
            return None

    def read_frames(self, asset: str, symbol: str, first: str, last: str) -> pd.DataFrame:
        """The frames of the stored periods from `first` to `last`, both included, as one frame in that order.

        The caller may change it. StoreError if no period is stored, or two periods have different columns.
        """
        return self.read_with_attributes(asset, symbol, first, last)[0]

    def read_with_attributes(
        self, asset: str, symbol: str, first: str, last: str
    ) -> tuple[pd.DataFrame, dict[str, dict[str, str]]]:
        """As `read_frames`, with the `attributes` of each period."""
        periods = [p for p in self.periods(asset, symbol) if first <= p <= last]
        if not periods:
            raise StoreError(f"{symbol}: no {asset} stored from {first} to {last}; materialise {asset} first")
        tables = [self._table(asset, symbol, period) for period in periods]
        for period, table in zip(periods, tables, strict=True):
            if not table.schema.equals(tables[0].schema):
                raise StoreError(
                    f"{symbol}: {asset} of {period} has other columns or types than {periods[0]}; "
                    "re-materialise the older of them"
                )
        pandas = {b"pandas": tables[0].schema.metadata[b"pandas"]}
        frame = pa.concat_tables([table.replace_schema_metadata(pandas) for table in tables]).to_pandas()
        attributes = (_decoded(table.schema.metadata) for table in tables)
        return frame, dict(zip(periods, attributes, strict=True))

    def read_frame(self, asset: str, symbol: str, period: str) -> pd.DataFrame:
        """The stored frame of one period. StoreError if it is missing."""
        return self.read_frames(asset, symbol, period, period)

    def attributes(self, asset: str, symbol: str, period: str) -> dict[str, str]:
        """content_hash, layout_version and the attributes of a frame; empty if the frame is missing."""
        try:
            metadata = self._metadata(asset, symbol, period)
        except FileNotFoundError:
            return {}
        return _decoded(metadata)

    def read_record(self, asset: str, symbol: str, period: str) -> dict[str, Any] | None:
        """The stored record of one period, or None."""
        return _read_json(*self._path(asset, symbol, period, "json"))

    def read_records(self, asset: str, symbol: str, last: str = "9999") -> dict[str, dict[str, Any]]:
        """All stored records of a symbol up to the period `last`, oldest first."""
        periods = [p for p in self.periods(asset, symbol, "json") if p <= last]
        filesystem, path = self._path(asset, symbol, "", "json")
        files = {p: f"{path.rpartition('/')[0]}/{p}.json" for p in periods}
        return {p: record for p, file in files.items() if (record := _read_json(filesystem, file)) is not None}

    def periods(self, asset: str, symbol: str, suffix: str = "parquet") -> list[str]:
        """The stored periods, oldest first."""
        filesystem, path = self._path(asset, symbol, "", suffix)
        folder = path.rpartition("/")[0]
        try:
            if isinstance(filesystem, LocalFileSystem):  # its ls is five times slower, and sensors list years of days
                names = os.listdir(folder)
            else:
                with storage_errors(filesystem, folder):
                    listed = filesystem.ls(folder, detail=False, refresh=True)
                names = [entry.rpartition("/")[2] for entry in listed]
        except FileNotFoundError:
            return []
        end = f".{suffix}"
        return sorted([name[: -len(end)] for name in names if name.endswith(end) and name[0] != "."])

    def of_period(self, period: str) -> "Store":
        """The store in which a period is the same as here: another one, if this is a view of it that changes later
        periods only."""
        return self

    def stamps(self, asset: str, symbol: str, suffix: str = "json") -> dict[str, str]:
        """For each stored period, oldest first, a token that changes with every write of its file."""
        filesystem, path = self._path(asset, symbol, "", suffix)
        folder, end = path.rpartition("/")[0], f".{suffix}"
        try:
            if isinstance(filesystem, LocalFileSystem):
                with os.scandir(folder) as entries:
                    tokens = {e.name: _stamp(e.stat()) for e in entries if e.name.endswith(end)}
            else:
                with storage_errors(filesystem, folder):
                    listed = filesystem.ls(folder, detail=True, refresh=True)
                tokens = {e["name"].rpartition("/")[2]: str(e.get("ETag") or e) for e in listed}
        except FileNotFoundError:
            return {}
        names = sorted(name for name in tokens if name.endswith(end) and name[0] != ".")
        return {name[: -len(end)]: tokens[name] for name in names}

    def place(self) -> tuple[fsspec.AbstractFileSystem, str]:
        """The file system and the root's path in it."""
        root = self.root or under_dagster_home("store")
        if ":" not in root:  # a folder, as url_to_fs would find in three times the time, for each of thousands of reads
            return LocalFileSystem(), LocalFileSystem._strip_protocol(root)
        return fsspec.core.url_to_fs(root, **OPTIONS.get(root.partition("://")[0], {}))

    def _table(self, asset: str, symbol: str, period: str) -> pa.Table:
        filesystem, path = self._path(asset, symbol, period, "parquet")
        table = read_table(filesystem, path, unique_of(filesystem, path))
        self._checked_metadata(table.schema.metadata, asset, symbol, period)
        return table

    def _metadata(self, asset: str, symbol: str, period: str) -> dict[bytes, bytes]:
        """The metadata of a frame's file. FileNotFoundError if the file is missing."""
        filesystem, path = self._path(asset, symbol, period, "parquet")
        return self._checked_metadata(
            read_metadata(filesystem, path, unique_of(filesystem, path)), asset, symbol, period
        )

    def _checked_metadata(
        self, metadata: dict[bytes, bytes] | None, asset: str, symbol: str, period: str
    ) -> dict[bytes, bytes]:
        """The metadata of a frame's file. StoreError if it has another layout than this code writes."""
        version = (metadata or {}).get(b"layout_version", b"none").decode()
        if metadata is None or version != LAYOUT_VERSION:
            _, path = self._path(asset, symbol, period, "parquet")
            raise StoreError(
                f"{path}: layout version {version}, this code reads {LAYOUT_VERSION}; "
                f"re-materialise {asset} {symbol}|{period}"
            )
        return metadata

    def _path(self, asset: str, symbol: str, period: str, suffix: str) -> tuple[fsspec.AbstractFileSystem, str]:
        for part in (asset, symbol, period or "any", suffix):
            if len(part) > MAX_NAME_LENGTH or not re.fullmatch(r"[A-Za-z0-9_-][A-Za-z0-9_.-]*", part):
                raise ValueError(
                    f"{part!r} is no name in the store: up to {MAX_NAME_LENGTH} letters, digits, _, - and, not first, "
                    "dots (asset, symbol, period and suffix)"
                )
        filesystem, base = self.place()
        return filesystem, f"{base}/{asset}/{symbol}/{period}.{suffix}"

    def _publish(self, target: tuple[fsspec.AbstractFileSystem, str], data: bytes, digest: str) -> Written:
        filesystem, path = target
        try:
            if read_file(filesystem, path) == data:
                return Written(path, digest, changed=False)
        except FileNotFoundError:
            pass
        if isinstance(filesystem, LocalFileSystem):
            try:
                replace_file(Path(path), data)
            except OSError as error:
                raise StoreError(
                    f"{path} cannot be written: {error.strerror or error}. {remedy(error) or UNREACHABLE}, then run "
                    "this again: what was stored before is unchanged"
                ) from error
        else:
            with storage_errors(filesystem, path):
                filesystem.pipe_file(path, data)
        return Written(path, digest, changed=True)


def _stamp(status: os.stat_result) -> str:
    return f"{status.st_ino}-{status.st_mtime_ns}-{status.st_size}"


def _decoded(metadata: Mapping[bytes, bytes]) -> dict[str, str]:
    """The attributes in a file's metadata."""
    return {k.decode(): v.decode() for k, v in metadata.items() if k != b"pandas"}
