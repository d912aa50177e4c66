"""Progress of a training: lines at a steady rate, curves of about a hundred points, and its end in time."""

import re
from itertools import pairwise
from types import SimpleNamespace

import pytest

from quantum_training.models import training_callback
from quantum_training.models.training_callback import LOG_SECONDS, POINTS

LINE = re.compile(
    r"\[episode (?P<episodes>[\d,]+)/(?P<all>[\d,]+)\] step (?P<step>[\d,]+)/(?P<total>[\d,]+), (?P<numbers>.*), "
    r"(?P<rate>[\d,]+) steps/s(, (?P<left>[\d,]+) s left)?"
)
NAMED = {
    "ppo": ["mean reward", "mean growth", "policy loss", "value loss", "entropy", "explained variance"],
    "sac": ["mean reward", "mean growth", "policy loss", "value loss", "temperature"],
}
SHORT = {
    "ppo": {"rollout_bars": 2, "epochs": 1, "total_steps": 6_400},
    "sac": {"total_steps": 6_400, "learning_starts": 6_000},
}
"""Many rollouts with little to learn in each."""


def number(text):
    return int(text.replace(",", ""))


class Clock:
    """Each reading of the clock advances it by half a second."""

    def __init__(self):
        self.now = 0.0

    def monotonic(self):
        self.now += 0.5
        return self.now


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(training_callback, "time", SimpleNamespace(monotonic=clock.monotonic))
    return clock


@pytest.fixture(scope="module", params=["ppo", "sac"])
def kind(request):
    return request.param


def test_progress_lines_come_at_a_steady_rate_with_every_number(kind, train, small_params, clock):
    lines, params = [], SHORT[kind] if kind == "ppo" else small_params[kind]
    train(kind, progress=lambda text: lines.append((clock.now, text)), **params)
    matches = [LINE.fullmatch(text) for _, text in lines]
    assert all(matches), lines
    assert len(matches) > 2
    total = params["total_steps"]
    steps = [number(m["step"]) for m in matches]
    assert steps == sorted(steps)
    assert steps[-1] == total
    assert {number(m["total"]) for m in matches} == {total}
    times = [when for when, _ in lines]
    gaps = [after - before for before, after in pairwise(times[:-1])]
    assert all(LOG_SECONDS <= gap <= LOG_SECONDS + 2 for gap in gaps), gaps
    assert [name for name in NAMED[kind] if f"{name} " not in matches[-1]["numbers"]] == []
    for match, when in zip(matches[:-1], times, strict=False):
        rate = number(match["step"]) / (when - 0.5)
        assert number(match["rate"]) == pytest.approx(rate, rel=0.2)
        assert number(match["left"]) == pytest.approx((total - number(match["step"])) / rate, rel=0.2, abs=1)
    assert matches[-1]["left"] is None
    assert number(matches[-1]["episodes"]) == number(matches[-1]["all"]) > 0


def test_curves_have_about_a_hundred_points_and_are_the_same_again(kind, train):
    model = train(kind, **SHORT[kind])
    steps = [point["step"] for point in model.curves]
    assert POINTS / 2 <= len(steps) <= POINTS + 1
    assert steps == sorted(set(steps))
    assert steps[-1] == 6_400
    assert all(isinstance(value, int | float) for point in model.curves for value in point.values())
    names = {name.replace("_", " ") for name in model.curves[-1]}
    assert names == {"step", "episodes", *NAMED[kind]}
    assert train(kind, **SHORT[kind]).curves == model.curves


def test_the_time_budget_includes_earlier_runs_of_the_training(kind, train, clock, monkeypatch, tmp_path):
    """A training that was stopped and resumed has only the rest of its time."""
    long = {**SHORT[kind], "total_steps": 10_000_000, "max_seconds": 200.0, "save_seconds": 1.0}
    inner = training_callback.TrainingCallback._on_rollout_start

    def stop(self):
        inner(self)
        if self.seconds > 120:
            raise KeyboardInterrupt

    with monkeypatch.context() as stopping:
        stopping.setattr(training_callback.TrainingCallback, "_on_rollout_start", stop)
        with pytest.raises(KeyboardInterrupt):
            train(kind, context_fields={"checkpoint_dir": tmp_path}, **long)
    began = clock.now
    lines = []
    model = train(kind, context_fields={"checkpoint_dir": tmp_path}, progress=lines.append, **long)
    assert lines[0].startswith("resumed at step ")
    assert lines[-1].startswith("out of time: max_seconds = 200 ends it at step ")
    assert 75 < clock.now - began < 90
    assert model.report["out_of_time"] == 1


@pytest.mark.long
def test_a_resumed_training_reports_its_own_rate(train, clock, monkeypatch, tmp_path):
    """Steps of an earlier process are no speed of this one."""
    lines = []
    inner = training_callback.TrainingCallback._on_rollout_start

    def stop(self):
        inner(self)
        if self.num_timesteps >= 5_000:
            raise KeyboardInterrupt

    with monkeypatch.context() as stopping:
        stopping.setattr(training_callback.TrainingCallback, "_on_rollout_start", stop)
        with pytest.raises(KeyboardInterrupt):
            train("ppo", context_fields={"checkpoint_dir": tmp_path}, save_seconds=1e-3, **SHORT["ppo"])
    train("ppo", context_fields={"checkpoint_dir": tmp_path}, progress=lines.append, save_seconds=1e-3, **SHORT["ppo"])
    matches = [LINE.fullmatch(text) for text in lines[1:]]
    assert max(number(m["rate"]) for m in matches) <= 2 * 32 / 0.5
