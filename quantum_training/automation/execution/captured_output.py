"""What a run prints, in files for Dagster's pages and where it went before. Set in dagster.yaml.

Dagster's own class starts four processes for the second in each run. Here a thread reads the files instead.
"""

from __future__ import annotations

import os
import shutil
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, Self

from dagster._core.execution.compute_logs import redirect_to_file
from dagster._core.storage.compute_log_manager import CapturedLogContext, ComputeIOType
from dagster._core.storage.local_compute_log_manager import IO_TYPE_EXTENSION, LocalComputeLogManager
from dagster._serdes import ConfigurableClassData

SECONDS = 0.2
"""How late printed lines appear where they went before."""
MAX_WAIT = 10.0
"""Seconds that a run waits at its end for whoever reads its output and does not."""


class OutputFiles(LocalComputeLogManager):
    """Dagster's files of printed lines below `base_dir`, usually DAGSTER_HOME, where its own class has them, too."""

    @classmethod
    def from_config_value(cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]) -> Self:
        return cls(
            **{**config_value, "base_dir": os.path.join(config_value["base_dir"], "storage")}, inst_data=inst_data
        )

    @contextmanager
    def capture_logs(self, log_key: Sequence[str]) -> Iterator[CapturedLogContext]:
        with (
            _captured(sys.stdout, self._file(log_key, ComputeIOType.STDOUT)),
            _captured(sys.stderr, self._file(log_key, ComputeIOType.STDERR)),
        ):
            yield CapturedLogContext(log_key)
        Path(self.complete_artifact_path(log_key)).touch()

    def _file(self, log_key: Sequence[str], stream: ComputeIOType) -> Path:
        file = Path(self.get_captured_local_path(log_key, IO_TYPE_EXTENSION[stream]))
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
        return file


@contextmanager
def _captured(stream: IO[str], file: Path) -> Iterator[None]:
    """Redirect a stream of this process to a file, and pass on what is written there to where the stream went."""
    try:
        before = os.dup(stream.fileno())
    except OSError:  # a stream without a descriptor, as test runners have
        yield
        return
    over = threading.Event()
    thread = threading.Thread(target=_pass_on, args=(file, before, over), name="captured output", daemon=True)
    thread.start()
    try:
        with redirect_to_file(stream, str(file)):
            yield
    finally:
        over.set()
        thread.join(MAX_WAIT)


def _pass_on(file: Path, descriptor: int, over: threading.Event) -> None:
    """Write what is added to a file to a descriptor until `over` is set, and close it."""
    with suppress(OSError), file.open("rb") as source, os.fdopen(descriptor, "wb") as target:  # its reader may be gone
        is_over = False
        while not is_over:
            is_over = over.wait(SECONDS)
            shutil.copyfileobj(source, target)
            target.flush()
