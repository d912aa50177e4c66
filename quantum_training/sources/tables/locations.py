"""Where a path points to: one file, or many of a folder, a pattern or a zip, here or behind any URL of fsspec.

Nothing is unpacked to disk, and nothing in a file is ever executed.
"""

from __future__ import annotations

import io
import zipfile
from contextlib import suppress
from email.utils import parsedate_to_datetime
from fnmatch import fnmatch
from functools import lru_cache
from pathlib import Path
from typing import IO, Any, NamedTuple

import pandas as pd

from quantum_training.sources.tables.options import ENDINGS, TEXTS, ZIP

_TIMES = ("mtime", "LastModified", "last_modified", "Last-Modified", "updated")
"""Where fsspec's file systems put the time at which a file was written."""


class NotFoundError(ValueError):
    """No file is where a path points to. The message says what is there instead."""


class Part(NamedTuple):
    """One table. path: of its file or zip; member: its name in the zip, or ""; modified: when it was written, in ns."""

    path: str
    member: str
    size: int
    modified: int | None

    @property
    def name(self) -> str:
        """The name that messages have."""
        return f"{self.path}/{self.member}" if self.member else self.path

    @property
    def ending(self) -> str:
        """Its ending, one of ENDINGS; .csv if it has none of them, as of a URL with a query."""
        name = (self.member or _without_query(self.path)).lower()
        return max((e for e in ENDINGS if name.endswith(e)), key=len, default=".csv")

    @property
    def is_text(self) -> bool:
        """Whether it is lines of fields."""
        return self.ending in TEXTS

    @property
    def written_at(self) -> pd.Timestamp | None:
        """The time at which it was written; None if nothing says so."""
        return None if self.modified is None else pd.Timestamp(self.modified, tz="UTC")

    def open(self) -> IO[bytes]:
        """The bytes of the table, as they are, packed ones too."""
        file = _open(self.path, self.size, self.modified)
        if not self.member:
            return file
        with file, zipfile.ZipFile(file) as archive:
            return io.BytesIO(archive.read(self.member))


class Block(NamedTuple):
    """Lines of a text table, below those above its first row: a table of its own. Fields as in Part."""

    content: bytes
    ending: str = ".csv"
    is_text: bool = True

    def open(self) -> IO[bytes]:
        """The lines."""
        return io.BytesIO(self.content)


def find_parts(path: str) -> list[Part]:
    """The tables that a path points to, by name. NotFoundError if there are none, OSError if it cannot be read."""
    head, inside, members = path.partition(f"{ZIP}/")
    if inside and "://" not in members:
        return [part for zipped in _files(head + ZIP) for part in _in_zip(zipped, members)]
    parts = [part for file in _files(path) for part in (_in_zip(file) if _is_zip(file) else [file])]
    if not parts:
        raise NotFoundError("it holds no table")
    return parts


def _is_zip(part: Part) -> bool:
    return _without_query(part.path).lower().endswith(ZIP)


def _without_query(path: str) -> str:
    return path.partition("?")[0] if "://" in path else path


def _files(path: str) -> list[Part]:
    """The files that a path names: itself, those of a folder, or those that a pattern fits."""
    from fsspec.core import has_magic, url_to_fs

    fs, place = url_to_fs(path)
    url = fs.unstrip_protocol if "://" in path else str
    try:
        if has_magic(_without_query(path)):
            names = fs.glob(place, detail=True)
        else:
            info = fs.info(place)
            names = {i["name"]: i for i in fs.ls(place, detail=True)} if info["type"] == "directory" else {place: info}
    except FileNotFoundError:
        names = {}
    files = {n: i for n, i in names.items() if i["type"] != "directory" and not n.rpartition("/")[2].startswith(".")}
    if len(files) != 1 or place not in files:
        files = {name: info for name, info in files.items() if name.lower().endswith((*ENDINGS, ZIP))}
    if not files:
        raise NotFoundError(_what_is_there(fs, place))
    return [Part(url(name), "", info.get("size") or 0, _written(info)) for name, info in sorted(files.items())]


def _what_is_there(fs: Any, place: str) -> str:
    folder = place.rpartition("/")[0] or "."
    here: list[str] = []
    with suppress(OSError, NotImplementedError, ValueError):
        here = sorted(name.rstrip("/").rpartition("/")[2] for name in fs.ls(folder, detail=False))
    return f"no such file; {folder} holds {', '.join(here[:10]) or 'nothing'}"


def _written(info: dict[str, Any]) -> int | None:
    """When a file was written, in ns since 1970, as its file system says it; None if it does not."""
    value = next((info[key] for key in _TIMES if info.get(key) is not None), None)
    if isinstance(value, str):
        with suppress(ValueError):
            value = parsedate_to_datetime(value)
    if value is None:
        return None
    if isinstance(value, (int, float)):
        return int(value * 1_000_000) * 1000
    time = pd.Timestamp(value)
    return int((time.tz_localize("UTC") if time.tz is None else time).as_unit("ns").value)


def _in_zip(zipped: Part, members: str = "") -> list[Part]:
    """The tables in a zip: those of the named members, else those of its first kind: CSV before texts beside it."""
    infos = [(name, size) for name, size in _members(*zipped) if not members or fnmatch(name, members)]
    readable = [i for i in infos if members or len(infos) == 1 or i[0].lower().endswith(ENDINGS)]
    if not members and len({name.lower().endswith(".txt") for name, _ in readable}) == 2:
        readable = [(name, size) for name, size in readable if not name.lower().endswith(".txt")]
    if not readable:
        names = ", ".join(name for name, _ in _members(*zipped)[:10]) or "nothing"
        raise NotFoundError(f"the zip {zipped.path} holds no table{f' {members}' if members else ''}; it has {names}")
    return [Part(zipped.path, name, size, zipped.modified) for name, size in sorted(readable)]


@lru_cache(maxsize=4096)
def _members(path: str, _member: str, size: int, modified: int | None) -> list[tuple[str, int]]:
    """Names and sizes of a zip's files, without those that macOS adds."""
    with _open(path, size, modified) as file, zipfile.ZipFile(file) as archive:
        infos = [info for info in archive.infolist() if not info.is_dir()]
    hidden = ("__MACOSX/", ".")
    return [(i.filename, i.file_size) for i in infos if not i.filename.startswith(hidden) and "/." not in i.filename]


def _open(path: str, size: int, modified: int | None) -> IO[bytes]:
    return io.BytesIO(_download(path, size, modified)) if "://" in path else Path(path).open("rb")


@lru_cache(maxsize=1)
def _download(path: str, _size: int, _modified: int | None) -> bytes:
    """A file behind a URL: not every server gives parts of one. It is read for its layout first, and then whole."""
    from fsspec.core import url_to_fs

    fs, place = url_to_fs(path)
    content: bytes = fs.cat_file(place)
    return content
