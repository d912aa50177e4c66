"""What a process does to the world outside of it, counted, so that SIGKILL comes at the n-th of a kind.

A boundary lies before each opening for writing, renaming, removing, making of a folder and fsync of a file below the
world's folder, and before and after each commit of a SQLite file there. A kill at an fsync tears the file first: the
second half of what was written is gone, as in a kill while it was being written.
"""

import os
import signal
import sqlite3
import sys
from collections import Counter
from pathlib import Path

WRITES = os.O_WRONLY | os.O_RDWR
CALLS = {"os.rename": 1, "os.remove": 0, "os.mkdir": 0, "os.rmdir": 0}
"""Audit events of changes, and which of their arguments is the path that says where."""


def kind_of(path: Path, world: Path) -> str | None:
    """Whose file it is: store, artefacts, mlflow, database, state or dagster; None outside of the world."""
    if not path.is_relative_to(world) or path == world:
        return None
    inside = path.relative_to(world).parts
    if inside[0] == "mlflow":
        return "mlflow" if "artifacts" not in inside else "artefacts"
    return {"store": "store", "training_state": "state", "home": "dagster"}.get(inside[0], "database")


class Boundaries:
    """Counts what this process does, from `watch` on. events: kind and what happened, in order."""

    def __init__(self, world: Path, kind: str | None = None, number: int = 0) -> None:
        self.world, self.kind, self.number = world, kind, number
        self.events: list[tuple[str, str]] = []
        self.counted: Counter[str] = Counter()

    def watch(self) -> None:
        """Begin to count. Nothing takes it back: the process is one that ends soon."""
        sys.addaudithook(self._audit)
        fsync, connect = os.fsync, sqlite3.dbapi2.connect

        def counted_fsync(descriptor: int) -> None:
            path = Path(os.readlink(f"/proc/self/fd/{descriptor}"))
            self._reached(path, "fsync", descriptor)
            fsync(descriptor)

        def counted_connect(database: str, *args, **options):
            path = Path(str(database).removeprefix("file:").partition("?")[0]).absolute()

            class Counted(sqlite3.Connection):
                def commit(connection) -> None:  # noqa: N805
                    if connection.in_transaction:
                        self._reached(path, "commit")
                        super().commit()
                        self._reached(path, "committed")

            return connect(database, *args, **{**options, "factory": Counted})

        os.fsync, sqlite3.dbapi2.connect = counted_fsync, counted_connect

    def _audit(self, event: str, arguments: tuple) -> None:
        if event == "open":
            path, _, flags = arguments
            if isinstance(path, str | Path) and (flags or 0) & WRITES:
                self._reached(Path(path), "open")
        elif event in CALLS:
            self._reached(Path(os.fsdecode(arguments[CALLS[event]])), event)

    def _reached(self, path: Path, what: str, descriptor: int | None = None) -> None:
        kind = kind_of(path, self.world)
        if kind is None:
            return
        self.events.append((kind, f"{what} {path.relative_to(self.world)}"))
        self.counted[kind] += 1
        if kind == self.kind and self.counted[kind] == self.number:
            if descriptor is not None and path.is_file():
                os.truncate(path, path.stat().st_size // 2)
            os.kill(os.getpid(), signal.SIGKILL)
