"""A training that is killed, stopped or out of room goes on from its last state and ends with the same bits."""

import os
import signal
import time
from pathlib import Path

import numpy as np
import pytest

KILLS = 10
LONGER = {"ppo": {"total_steps": 15_360}, "sac": {"total_steps": 3_200}}


def files(folder: Path) -> dict[str, bytes]:
    """Every byte of an artefact and its curves by file."""
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def undisturbed(nursery, kind, folder, **params):
    """(files, seconds) of a training that nothing disturbs, without the process's start."""
    began = time.monotonic()
    nursery.begin(kind, folder / "whole", folder / "whole-state", **params)
    assert nursery.wait() == 0
    return files(folder / "whole"), time.monotonic() - began


@pytest.mark.parametrize("kind", LONGER)
def test_a_training_that_is_killed_at_any_moment_ends_as_if_it_had_not_been(nursery, kind, tmp_path):
    """Each process is killed after a random while, most often in the middle of an update or of writing its state."""
    params = {**LONGER[kind], "save_seconds": 1e-3}
    whole, seconds = undisturbed(nursery, kind, tmp_path, **params)
    rng, kills, ends = np.random.default_rng(5), 0, 0
    state = tmp_path / "state"
    while kills < KILLS or not ends:
        out = tmp_path / f"out-{ends}"
        process = nursery.begin(kind, out, state / str(ends), **params)
        if kills < KILLS:
            time.sleep(rng.uniform(0, 0.4) * seconds)
            os.kill(process, signal.SIGKILL)
        status = nursery.wait()
        if status == 0:
            assert files(out) == whole
            ends += 1
        else:
            assert status == -signal.SIGKILL
            assert not out.exists()
            kills += 1
    print(f"{kind}: {kills} kills, {ends} ends, {seconds:.2f} s undisturbed")
