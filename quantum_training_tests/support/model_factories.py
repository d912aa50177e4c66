"""Trains agents, each in a forked process of its own that a test may kill. Orders come by line, as conftest.py writes
them; for each the process's number is told, and its wait status once it has ended.

Nothing is learnt in this process itself: torch's autograd does not outlive a fork.
"""

import json
import os
import sys
import traceback
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch._dynamo  # noqa: F401 - the first step of an optimiser would import it in every training

from quantum_training.models.contract import algorithm, save_model
from quantum_training_tests.support import synthetic_edges as waves


def train(order: dict[str, Any]) -> None:
    """Fit as told and write the artefact, with the curves beside it."""
    context = replace(
        waves.training_context(waves.waves(**order["market"])),
        params=order["params"],
        seed=order["seed"],
        progress=lambda text: print(text, file=sys.stderr),
        checkpoint_dir=Path(order["state"]) if order["state"] else None,
    )
    model = algorithm(order["kind"]).fit(context)
    out = Path(order["out"])
    save_model(model, out, order["kind"])
    (out / "curves.json").write_text(json.dumps(model.curves))


def main() -> None:
    """Import and compile what every training needs, then train as told until there is no more to read."""
    context = waves.training_context(waves.waves(0, 300))
    algorithm("sac").fit(replace(context, params={"total_steps": 1, "network": [4]}, seed=1))
    print("ready", flush=True)
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            status = 1
            try:
                train(json.loads(line))
                status = 0
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(status)
        print(child, flush=True)
        sys.stdin.readline()  # until then an ended child keeps its number, so that nobody else can be killed by it
        print(os.waitpid(child, 0)[1], flush=True)


if __name__ == "__main__":
    main()
