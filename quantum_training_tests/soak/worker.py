"""The program workers.py, as a test starts it and gives it orders."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from quantum_training.partitions import RANGE_TAGS

HERE = Path(__file__).parent


def range_tags(symbol: str, first: str, last: str = "") -> dict[str, str]:
    """Tags of a run over the partitions of a symbol from the first to the last period."""
    return dict(zip(RANGE_TAGS, (f"{symbol}|{first}", f"{symbol}|{last or first}"), strict=True))


class Worker:
    """The program workers.py: it carries out orders, each in a process of its own that has everything in memory."""

    def __init__(self, environment: dict[str, str], log: Path) -> None:
        self.environment, self.log = environment, log
        self.process: subprocess.Popen | None = None

    def start(self, runs: list[tuple[str, dict[str, str]]]) -> None:
        """Start the program, which first makes these runs itself: job and tags of each."""
        self.process = subprocess.Popen(
            [sys.executable, str(HERE / "workers.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.log.open("a"),
            text=True,
            env={**os.environ, **self.environment},
        )
        self._say(runs)
        assert self._hear() == "ready", self.log.read_text()[-3000:]

    def stop(self) -> None:
        """End the program."""
        if self.process:
            self.process.stdin.close()
            self.process.wait(60)

    def do(self, *orders: dict[str, Any]) -> list[dict[str, float]]:
        """Carry out orders at once, each in a process of its own; how each ended."""
        self._say(orders)
        answer = self._hear()
        assert answer, self.log.read_text()[-3000:]
        return json.loads(answer)

    def _say(self, what: Any) -> None:
        self.process.stdin.write(json.dumps(what) + "\n")
        self.process.stdin.flush()

    def _hear(self) -> str:
        return self.process.stdout.readline().strip()
