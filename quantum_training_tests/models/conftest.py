"""Small agents, the market of waves, and a process that trains agents in processes of their own."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from quantum_training.models.agent import Agent
from quantum_training.models.contract import TrainingContext, algorithm
from quantum_training_tests.support import synthetic_edges

ROOT = Path(__file__).parents[2]
SMALL: dict[str, dict[str, Any]] = {
    "ppo": {
        "trading": {"actions": "discrete", "episode_bars": 60},
        "total_steps": 6_144,
        "environments": 16,
        "rollout_bars": 32,
        "batch_size": 128,
        "epochs": 2,
        "learning_rate": 0.003,
    },
    "sac": {
        "trading": {"actions": "continuous", "episode_bars": 60, "step": 0},
        "total_steps": 1_600,
        "environments": 16,
        "batch_size": 32,
        "gradient_steps": 1,
        "learning_starts": 320,
        "buffer_size": 1_000,  # less than the steps, so that it is full at the end
        "learning_rate": 0.003,
    },
}
for _params in SMALL.values():
    _params |= {"lags": 2, "network": [16, 8], "device": "cpu"}
MARKET = {"seed": 1, "bars": 500, "strength": 0.5}


@pytest.fixture(scope="session")
def waves() -> ModuleType:
    """A market whose best policy is known."""
    return synthetic_edges


@pytest.fixture(scope="session")
def lesson(waves: ModuleType) -> TrainingContext:
    """The training context of a small market of waves."""
    return waves.training_context(waves.waves(**MARKET))


@pytest.fixture(scope="session")
def small_params() -> Mapping[str, Mapping[str, Any]]:
    """Params of each agent that make a fit take less than a second."""
    return SMALL


Train = Callable[..., Agent]


@pytest.fixture(scope="session")
def train(lesson: TrainingContext) -> Train:
    """`train(kind, seed=7, context={}, progress=..., **params)`: a small fit; `context` and `params` replace fields."""

    def fit(
        kind: str,
        seed: int = 7,
        context: Mapping[str, Any] | None = None,
        progress: Callable[[str], None] = lambda text: None,
        **params: Any,
    ) -> Agent:
        fields = {"params": {**SMALL[kind], **params}, "seed": seed, "progress": progress, **(context or {})}
        return algorithm(kind).fit(replace(lesson, **fields))

    return fit


@dataclass(frozen=True)
class Nursery:
    """A process that has imported everything, and forks one for each training it is told of."""

    process: subprocess.Popen

    def begin(self, kind: str, out: Path, state: Path | None = None, seed: int = 7, **params: Any) -> int:
        """Train in a new process, which is told by its number. It ends in `out`, a folder as `save_model` writes it."""
        order = {"kind": kind, "params": {**SMALL[kind], **params}, "seed": seed, "out": str(out), "market": MARKET}
        self._tell(json.dumps({**order, "state": state and str(state)}))
        return int(self.process.stdout.readline())

    def wait(self) -> int:
        """How the training ended: 0, or less the number of the signal that killed it."""
        self._tell("wait")
        return os.waitstatus_to_exitcode(int(self.process.stdout.readline()))

    def _tell(self, line: str) -> None:
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()


@pytest.fixture(scope="session")
def nursery() -> Iterator[Nursery]:
    """One Nursery for all tests; importing torch for every training would take more time than training."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(
        [sys.executable, "-m", "quantum_training_tests.support.model_factories"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
        start_new_session=True,
    )
    try:
        assert process.stdout.readline() == "ready\n"
        yield Nursery(process)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
