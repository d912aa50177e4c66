"""A server process that trains agents, each in a forked process of its own, which a test may kill.

Orders come by line on stdin, as models/conftest.py writes them. The server answers each with the process's number and,
once the process has ended, with its wait status. It trains nothing itself: torch's autograd does not survive a fork.
"""

import json
import os
import shutil
import sys
import traceback
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch._dynamo  # noqa: F401 - the first step of an optimiser would import it in every training

from quantum_training.models.contract import algorithm, save_model
from quantum_training_tests.support.synthetic_edges import sine_market, training_context


def train(order: dict[str, Any]) -> None:
    """Fit as ordered and write the artefact, with the curves beside it."""
    context = replace(
        training_context(sine_market(**order["market"])),
        params=order["params"],
        seed=order["seed"],
        progress=lambda text: print(text, file=sys.stderr),
        checkpoint_dir=Path(order["checkpoint_dir"]) if order["checkpoint_dir"] else None,
    )
    model = algorithm(order["kind"]).fit(context)
    out = Path(order["out"])
    partial = out.with_name(f"{out.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)  # of a training that was killed while it wrote
    save_model(model, partial, order["kind"])
    (partial / "curves.json").write_text(json.dumps(model.curves))
    partial.rename(out)


def main() -> None:
    """Import and compile what every training needs, then train one order per line until stdin ends."""
    context = training_context(sine_market(0, 300))
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
        sys.stdin.readline()  # until this line an ended child keeps its number, so no other process is killed by it
        print(os.waitpid(child, 0)[1], flush=True)


if __name__ == "__main__":
    main()
