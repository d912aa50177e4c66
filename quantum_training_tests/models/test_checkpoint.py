"""A training that is killed, stopped or out of room goes on from its last state and ends with the same bits."""

import errno
import os
import resource
import signal
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from dagster._core.errors import DagsterExecutionInterruptedError

from quantum_training.models.checkpoint import TrainingStateError
from quantum_training.models.training_callback import TrainingCallback

KILLS = 10
LONGER = {"ppo": {"total_steps": 15_360}, "sac": {"total_steps": 2_400}}
REWARD = {"module": "quantum_training_tests.support.project_reward", "params": {"risk": 2.0}}


def files(folder: Path) -> dict[str, bytes]:
    """Every byte of an artefact and its curves by file."""
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def undisturbed_files(training_server, kind, folder, **params):
    """(files, seconds) of a training that nothing disturbs, without the process's start."""
    began = time.monotonic()
    training_server.begin(kind, folder / "whole", folder / "whole-state", **params)
    assert training_server.wait() == 0
    return files(folder / "whole"), time.monotonic() - began


@pytest.mark.long
@pytest.mark.parametrize(("kind", "reward"), [("ppo", None), ("sac", None), ("sac", REWARD)])
def test_a_training_that_was_killed_at_any_moment_ends_with_the_same_files(
    training_server, kind, reward, small_params, tmp_path
):
    """Each process is killed after a random while, most often in the middle of an update or of writing its state."""
    params = {**LONGER[kind], "save_seconds": 1e-3, "trading": {**small_params[kind]["trading"], "reward": reward}}
    files_undisturbed, seconds = undisturbed_files(training_server, kind, tmp_path, **params)
    rng, kills, ends = np.random.default_rng(5), 0, 0
    state = tmp_path / "state"
    while kills < KILLS or not ends:
        out = tmp_path / f"out-{ends}"
        process = training_server.begin(kind, out, state / str(ends), **params)
        if kills < KILLS:
            time.sleep(rng.uniform(0, 0.4) * seconds)
            os.kill(process, signal.SIGKILL)
        status = training_server.wait()
        assert status in (0, -signal.SIGKILL)
        kills += status != 0
        if out.exists():  # also if the process was killed between its last write and its end
            assert files(out) == files_undisturbed
            ends += 1
        else:
            assert status != 0
    print(f"{kind}: {kills} kills, {ends} ends, {seconds:.2f} s undisturbed")


class StoppedError(Exception):
    """What ends a training in the middle of a test."""


@pytest.fixture
def interrupt(monkeypatch):
    """`interrupt(after, error)`: the learner's step number `after` raises it, in the next fit only."""

    def arm(after, error=StoppedError):
        steps, inner = [0], TrainingCallback._on_step

        def step(self):
            steps[0] += 1
            if steps[0] == after:
                raise error
            return inner(self)

        monkeypatch.setattr(TrainingCallback, "_on_step", step)

    return arm


def assert_equal(one, other):
    assert (one.report, one.curves, one.score) == (other.report, other.curves, other.score)
    for name, weights in one.state.items():
        np.testing.assert_array_equal(weights, other.state[name])


@pytest.fixture(scope="module", params=["ppo", "sac"])
def kind(request):
    return request.param


@pytest.fixture(scope="module")
def undisturbed_fit(train):
    """`undisturbed_fit(kind)`: the model of a training that was not interrupted."""
    done = {}

    def get(kind):
        if kind not in done:
            done[kind] = train(kind, save_seconds=1e-3)
        return done[kind]

    return get


@pytest.mark.parametrize("error", [KeyboardInterrupt, DagsterExecutionInterruptedError])
def test_a_stopped_training_ends_at_once_and_resumes_from_its_last_state(
    kind, train, undisturbed_fit, interrupt, tmp_path, error
):
    lines = []
    interrupt(70, error)
    with pytest.raises(error):
        train(kind, context_fields={"checkpoint_dir": tmp_path}, save_seconds=1e-3)
    assert [path.name for path in tmp_path.iterdir()] == ["seed-7.safetensors"]
    again = train(kind, context_fields={"checkpoint_dir": tmp_path}, save_seconds=1e-3, progress=lines.append)
    assert lines[0].startswith("resumed at step ")
    assert not lines[0].startswith("resumed at step 0 ")
    assert_equal(again, undisturbed_fit(kind))


def test_the_first_state_resumes_to_the_same_report(kind, train, undisturbed_fit, interrupt, tmp_path):
    interrupt(3)
    with pytest.raises(StoppedError):
        train(kind, context_fields={"checkpoint_dir": tmp_path}, save_seconds=1_000.0)
    assert (tmp_path / "seed-7.safetensors").exists(), "the first state is written before the first step"
    again = train(kind, context_fields={"checkpoint_dir": tmp_path}, save_seconds=1_000.0)
    assert again.report == undisturbed_fit(kind).report


def test_a_training_with_a_reward_of_ones_own_resumes_to_the_same_model(kind, train, small_params, interrupt, tmp_path):
    params = {"save_seconds": 1e-3, "trading": {**small_params[kind]["trading"], "reward": REWARD}}
    undisturbed = train(kind, **params)
    interrupt(70)
    with pytest.raises(StoppedError):
        train(kind, context_fields={"checkpoint_dir": tmp_path}, **params)
    assert_equal(train(kind, context_fields={"checkpoint_dir": tmp_path}, **params), undisturbed)


def test_a_finished_training_is_not_repeated(kind, train, undisturbed_fit, monkeypatch, tmp_path):
    first = train(kind, context_fields={"checkpoint_dir": tmp_path}, save_seconds=1e-3)
    assert_equal(first, undisturbed_fit(kind))

    def learn(*args, **kwargs):
        raise AssertionError("it trains again")

    for base in ("PPO", "SAC"):
        monkeypatch.setattr(f"stable_baselines3.{base}.learn", learn)
    assert_equal(train(kind, context_fields={"checkpoint_dir": tmp_path}, save_seconds=1e-3), first)


def test_a_training_that_ran_out_of_time_is_not_repeated(kind, train, tmp_path):
    long = {"total_steps": 10_000_000, "max_seconds": 0.2, "context_fields": {"checkpoint_dir": tmp_path}}
    first = train(kind, **long)
    assert first.report["out_of_time"] == 1
    assert_equal(train(kind, **long), first)


def test_each_seed_has_a_state_of_its_own(train, tmp_path):
    for seed in (1, 2):
        train("ppo", seed=seed, context_fields={"checkpoint_dir": tmp_path}, total_steps=512)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["seed-1.safetensors", "seed-2.safetensors"]


@pytest.fixture
def halfway(train, interrupt, tmp_path):
    """`halfway(kind)`: the file of a training that was stopped in the middle."""

    def get(kind):
        interrupt(70)
        with pytest.raises(StoppedError):
            train(kind, context_fields={"checkpoint_dir": tmp_path}, save_seconds=1e-3)
        return tmp_path / "seed-7.safetensors"

    return get


@pytest.mark.parametrize(
    "damage",
    [
        lambda b: b"",
        lambda b: b[:-1],
        lambda b: b[: len(b) // 2],
        lambda b: b"\xff" * 8 + b[8:],
        lambda b: b.replace(b"policy.", b"poetry.", 1),
        lambda b: b.replace(b"num_timesteps", b"num_timestepz", 1),
        lambda b: b.replace(b"last_obs", b"lost_obs", 1),
        lambda b: b[:-100] + bytes([b[-100] ^ 1]) + b[-99:],
    ],
)
def test_a_damaged_state_is_refused_with_what_to_do(train, halfway, damage):
    path = halfway("ppo")
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(TrainingStateError, match=rf"{path} is no state of this training: .*; delete it to train from"):
        train("ppo", context_fields={"checkpoint_dir": path.parent}, save_seconds=1e-3)


def test_a_state_of_other_settings_or_data_is_refused(kind, train, halfway, context):
    path = halfway(kind)
    original_bytes = path.read_bytes()
    for other in (
        {"learning_rate": 0.004},
        {"environments": 1},
        {"network": [16, 9]},
        {"total_steps": 20_000},
        {"trading": {"actions": "continuous", "episode_bars": 61}},
        {"trading": {"actions": "continuous", "episode_bars": 60, "step": 0, "reward": REWARD}},
    ):
        with pytest.raises(TrainingStateError, match="it was written with other options; delete it"):
            train(kind, context_fields={"checkpoint_dir": path.parent}, **{"save_seconds": 1e-3, **other})
    window = replace(context.window, content_hash="other")
    with pytest.raises(TrainingStateError, match="it was written with other data; delete it"):
        train(kind, context_fields={"window": window, "checkpoint_dir": path.parent}, save_seconds=1e-3)
    assert path.read_bytes() == original_bytes


def full_disk():
    """No file of this process may grow beyond 8 kB: writes then fail as on a full disk."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (8_192, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))


def failing(error):
    def fail(*args, **kwargs):
        raise error

    return fail


@pytest.mark.parametrize("fault", ["disk", *(pytest.param(f, marks=pytest.mark.long) for f in ("fsync", "replace"))])
def test_a_state_that_cannot_be_written_leaves_the_earlier_one_intact(
    train, undisturbed_fit, halfway, monkeypatch, fault
):
    path = halfway("sac")
    earlier_bytes = path.read_bytes()
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    with monkeypatch.context() as broken:
        error = OSError(errno.ENOSPC, "No space left on device")
        if fault != "disk":
            broken.setattr(os, fault, failing(error))
        try:
            if fault == "disk":
                full_disk()
            with pytest.raises(TrainingStateError, match=rf"cannot be written to {path}: .*; make room there and run"):
                train("sac", context_fields={"checkpoint_dir": path.parent}, save_seconds=1e-3)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    assert [p.name for p in path.parent.iterdir()] == [path.name]
    assert path.read_bytes() == earlier_bytes
    assert_equal(
        train("sac", context_fields={"checkpoint_dir": path.parent}, save_seconds=1e-3), undisturbed_fit("sac")
    )
