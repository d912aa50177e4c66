"""Small agents, the context that they are fitted from, and a server that trains them in processes of their own."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from quantum_training.models.agent import Agent
from quantum_training.models.contract import TrainingContext, algorithm
from quantum_training_tests.support.synthetic_edges import sine_market, training_context

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
def context() -> TrainingContext:
    """The training context of a small market whose best policy is known."""
    return training_context(sine_market(**MARKET))


@pytest.fixture(scope="session")
def small_params() -> Mapping[str, Mapping[str, Any]]:
    """Params of each agent that make a fit take less than a second."""
    return SMALL


Train = Callable[..., Agent]


@pytest.fixture(scope="session")
def train(context: TrainingContext) -> Train:
    """`train(kind, seed=7, context_fields={}, progress=..., **params)`: a small fit.

    context_fields: replace fields of the context.
    """

    def fit(
        kind: str,
        seed: int = 7,
        context_fields: Mapping[str, Any] | None = None,
        progress: Callable[[str], None] = lambda text: None,
        **params: Any,
    ) -> Agent:
        fields = {"params": {**SMALL[kind], **params}, "seed": seed, "progress": progress, **(context_fields or {})}
        return algorithm(kind).fit(replace(context, **fields))

    return fit


@dataclass(frozen=True)
class TrainingServer:
    """A process that has imported everything and forks one process per training; see support/model_factories.py."""

    process: subprocess.Popen

    def begin(self, kind: str, out: Path, checkpoint_dir: Path | None = None, **params: Any) -> int:
        """Start a training whose artefact goes to the folder `out`. Returns the number of its process."""
        order = {"kind": kind, "params": {**SMALL[kind], **params}, "seed": 7, "out": str(out), "market": MARKET}
        self._send(json.dumps({**order, "checkpoint_dir": checkpoint_dir and str(checkpoint_dir)}))
        return int(self.process.stdout.readline())

    def wait(self) -> int:
        """The exit code of the training: 0, or minus the signal that killed it."""
        self._send("wait")
        return os.waitstatus_to_exitcode(int(self.process.stdout.readline()))

    def _send(self, line: str) -> None:
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()


@pytest.fixture(scope="session")
def training_server() -> Iterator[TrainingServer]:
    """One TrainingServer for all tests: to import torch for every training would take longer than to train."""
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
        yield TrainingServer(process)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
