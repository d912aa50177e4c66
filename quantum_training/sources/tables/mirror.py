"""The mirror of a large text table: its bars as Arrow files under DAGSTER_HOME, so that a day more costs a day.

It holds what the table holds, bit for bit, and is used only while the SHA-256 of the mirrored bytes is that of the
file. A table whose rows cannot all be read piece by piece has none. The folder may be deleted at any time.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd

from quantum_training.sources.tables.locations import Block, Part
from quantum_training.sources.tables.options import TableOptions
from quantum_training.sources.tables.pieces import newest_of_piece, read_piece, write_piece
from quantum_training.sources.tables.recording import chosen_rows, no_rows
from quantum_training.sources.tables.table import KEY, Table, read_table
from quantum_training.sources.tables.text import encoding_of, lines_above, start_of, unpacked
from quantum_training.sources.tables.zones import as_zone, clock_changes

FOLDER = "source_tables"
MIN_BYTES = 4 << 20
_BLOCK_BYTES = 8 << 20
_OPEN_BYTES = 64 << 10
"""The newest lines of a file are not mirrored: they may still change."""
_HEAD_BYTES, _HASHED_BYTES = 1 << 18, 1 << 20
_INDEX, _DAY_SECONDS = "index.json", 86_400


@dataclass(frozen=True)
class Mirror:
    """The mirrored pieces of a table, and the lines after them as they are now.

    pieces: file name, first and last stamp of each, in the order of the file. texts: those in the columns of keys.
    """

    folder: Path
    pieces: tuple[tuple[str, pd.Timestamp, pd.Timestamp], ...]
    texts: Mapping[str, Sequence[str]]
    tail: Table | None
    descending: bool
    is_partial: bool = True

    def keys(self, name: str) -> Sequence[str]:
        """See Recording."""
        return [*self.texts[name], *([] if self.tail is None else self.tail.bars[KEY + name].cat.categories)]

    def rows(self, chosen: Mapping[str, list[str]], start: pd.Timestamp, end: pd.Timestamp) -> Table:
        """See Recording."""
        near = [name for name, first, last in self.pieces if last >= start and first < end]
        frames, unread = [read_piece(self.folder / name, chosen, start, end) for name in near], no_rows().unread
        if self.tail is not None:
            tail = chosen_rows(self.tail, chosen)
            unread = tail.unread
            frames.append(tail.bars[(tail.bars.index >= start) & (tail.bars.index < end)])
        return Table(pd.concat(frames[:: -1 if self.descending else 1]) if frames else no_rows().bars, unread)

    def newest(self, chosen: Mapping[str, list[str]]) -> pd.Timestamp | None:
        """See Recording."""
        stamps: list[pd.Timestamp | None] = [last for _, _, last in self.pieces]
        if chosen:
            stamps = [newest_of_piece(self.folder / name, chosen) for name, _, _ in self.pieces]
        tail = no_rows().bars if self.tail is None else chosen_rows(self.tail, chosen).bars
        times = [stamp for stamp in stamps if stamp is not None]
        return max([*times, *([tail.index.max()] if len(tail) else [])], default=None)


def mirror_of(options: TableOptions, part: Part) -> Mirror | None:
    """The mirror of a table, made or completed if need be; None if it has none. Errors: those of `read_table`."""
    home = os.environ.get("DAGSTER_HOME")
    if not home or not part.is_text or part.size < MIN_BYTES or encoding_of(start_of(part, 2)) == "utf-16":
        return None
    named = json.dumps([options.model_dump_json(exclude_unset=True), part.path, part.member, _code()])
    folder = Path(home).absolute() / FOLDER / hashlib.sha256(named.encode()).hexdigest()[:32]
    index: Mapping[str, Any] | None = _read_index(folder)
    if index is None or not _is_current(index, part):
        index = _made(options, part, folder, {"pieces": [], "texts": dict.fromkeys(options.rows_where, ()), "end": 0})
    elif _grows(part) and not index["refused"] and part.size - index["end"] > MIN_BYTES + _OPEN_BYTES:
        index = _made(options, part, folder, index)
    tail = None if index["refused"] else _tail(options, part, index["end"])
    if index["refused"] or (tail is not None and _is_doubtful(options, tail)):
        return None
    pieces = tuple((name, pd.Timestamp(first), pd.Timestamp(last)) for name, first, last in index["pieces"])
    return Mirror(folder, pieces, index["texts"], tail, options.descending)


@cache
def _code() -> str:
    """Hash of the code that reads tables: another build makes its mirrors anew."""
    digest = hashlib.sha256()
    for file in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(file.read_bytes())
    return digest.hexdigest()


def _grows(part: Part) -> bool:
    """Whether a table may grow at its end: what is mirrored of it then stays."""
    return not part.member and part.ending in (".csv", ".txt") and "://" not in part.path


def _is_current(index: Mapping[str, Any], part: Part) -> bool:
    """Whether the mirrored bytes are still those of the file; of one that has no mirror, its size and time."""
    if index["refused"]:
        return (index["size"], index["modified"]) == (part.size, part.modified)
    may_be = part.size >= index["end"] if _grows(part) else part.size == index["size"]
    return may_be and bool(index["sha256"] == _digest(part, index["end"]).hexdigest())


def _digest(part: Part, end: int) -> Any:
    """SHA-256 of the first bytes of a table, as it is unpacked."""
    digest = hashlib.sha256()
    with part.open() as file:
        stream = unpacked(file, part)
        while end and (block := stream.read(min(_HASHED_BYTES, end))):
            digest.update(block)
            end -= len(block)
    return digest


def _made(options: TableOptions, part: Part, folder: Path, former: Mapping[str, Any]) -> Mapping[str, Any]:
    """The index with the pieces that follow those of `former`. A first one that cannot be made says so: `refused`."""
    above = lines_above(options, part)
    head = b"".join(start_of(part, _HEAD_BYTES).splitlines(keepends=True)[:above])
    limit = (None if options.ignore_file_time else part.written_at) or pd.Timestamp.now("UTC")
    state = {"size": part.size, "modified": part.modified, "refused": False}
    pieces, end = list(former["pieces"]), former["end"]
    texts = {name: dict.fromkeys(values) for name, values in former["texts"].items()}
    digest = _digest(part, end)
    for block in _blocks(part, end):
        table = _plain_table(options, head + (block if end else block[len(head) :]), limit + pd.Timedelta(days=1))
        start, end = end, end + len(block)
        digest.update(block)
        if table is None:
            return former if former["pieces"] else _write_index(folder, {**former, **state, "refused": True})
        if len(table.bars):
            times = table.bars.index
            name = f"{digest.hexdigest()[:32]}-{start}.arrow"  # whoever writes that name writes the same bars
            write_piece(folder / name, table.bars)
            pieces.append([name, str(times.min()), str(times.max())])
        for name, values in texts.items():
            values.update(dict.fromkeys(table.bars[KEY + name].cat.categories))
    made = {"pieces": pieces, "end": end, "texts": {n: list(t) for n, t in texts.items()}, "sha256": digest.hexdigest()}
    return _write_index(folder, {**made, **state})


def _plain_table(options: TableOptions, lines: bytes, limit: pd.Timestamp) -> Table | None:
    """The table of some lines; None if it could be another one if the whole file were read."""
    try:
        table = read_table(options, Block(lines))
    except ValueError:
        return None
    is_plain = table.is_plain and table.unread.empty and not table.bars.index.max() >= limit
    return table if is_plain else None


def _blocks(part: Part, start: int) -> Iterator[bytes]:
    """Whole lines from a byte on, some MB at a time; of a table that grows not its newest ones."""
    left = part.size - _OPEN_BYTES - start if _grows(part) else None
    with part.open() as file:
        file.seek(start)
        stream, rest = unpacked(file, part), b""
        while block := stream.read(_BLOCK_BYTES if left is None else max(0, min(_BLOCK_BYTES, left))):
            left = None if left is None else left - len(block)
            block = rest + block
            end = block.rfind(b"\n") + 1
            rest = block[end:]
            if end:
                yield block[:end]
        if rest and left is None:
            yield rest


def _tail(options: TableOptions, part: Part, end: int) -> Table | None:
    """The table of the lines after the mirrored ones."""
    if not _grows(part) or part.size <= end:
        return None
    head = b"".join(start_of(part, _HEAD_BYTES).splitlines(keepends=True)[: lines_above(options, part)])
    with part.open() as file:
        file.seek(end)
        lines = file.read()
    marks_are_known = options.decimal or options.thousands or not end
    plain = options if marks_are_known else options.model_copy(update={"decimal": "."})
    return read_table(plain, Block(head + (lines if end else lines[len(head) :])))


def _is_doubtful(options: TableOptions, tail: Table) -> bool:
    """Whether the tail may be read otherwise with the mirrored lines before it.

    A stamp of it may be one that the clock shows twice. A stamp that cannot be read is placed beside the row before it,
    which of the first row is mirrored.
    """
    stamps = tail.unread.index[tail.unread["column"] == "stamp"]
    if len(stamps) and (tail.bars.empty or (stamps == tail.bars.index[0]).any()):
        return True
    day = pd.Timedelta(days=1)
    return any(clock_changes(as_zone(options.timezone).name, stamp - day, stamp + day) for stamp in stamps[:1])


def _read_index(folder: Path) -> dict[str, Any] | None:
    """The index of a mirror; None if there is none, or a piece is lost."""
    try:
        index: dict[str, Any] = json.loads((folder / _INDEX).read_text())
    except (OSError, ValueError):
        return None
    return index if all((folder / name).exists() for name, _, _ in index["pieces"]) else None


def _write_index(folder: Path, index: dict[str, Any]) -> dict[str, Any]:
    """Put the index in force. Pieces that it does not name go after a day: nobody reads them any more."""
    folder.mkdir(parents=True, exist_ok=True)
    own = folder / f"{_INDEX}.{os.getpid()}"
    own.write_text(json.dumps(index))
    own.replace(folder / _INDEX)
    named = {_INDEX, *(piece[0] for piece in index["pieces"])}
    for file in folder.iterdir():
        if file.name not in named and time.time() - file.stat().st_mtime > _DAY_SECONDS:
            file.unlink(missing_ok=True)
    return index
