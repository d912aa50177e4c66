"""SIGKILL at seeded points of a weekly cycle: once it has been run again, all that is stored is what an undisturbed run
leaves, byte for byte. Nothing is lost, doubled, half-written or left over.

A run and its steps are one process (in_process_executor). It is killed at a boundary, as boundaries.py counts them by
whose file it is, or once it has used a share of the CPU time that the undisturbed run takes. What died goes on as
run_retries does, from the step that failed, or is done again whole, as an operator does. Daemon and code server:
test_killed_platform.py. `make soak` runs 88 points here; POINTS=9 and the like run that many of each list.
"""

import json
import os
import random

import pytest

SYMBOLS = ("AAA", "BBB")
SHARE = {"store": 16, "database": 12, "mlflow": 12, "artefacts": 8, "state": 6, "dagster": 8}
"""Points at boundaries, by whose file it is."""

BY_TIME = 26
"""Points by CPU time."""


@pytest.fixture(scope="module")
def undisturbed(world):
    """By symbol: what an undisturbed run leaves, its boundaries and its seconds of CPU."""
    end_states = {}
    for symbol in world.symbols:
        world.reset()
        record = world.folder.parent / "events.json"
        (ended,) = world.do(world.cycle(symbol, record=str(record)))
        assert ended["code"] == 0, world.log.read_text()[-3000:]
        kinds = [kind for kind, _ in json.loads(record.read_text())]
        end_states[symbol] = {"state": world.state(), "kinds": kinds, "cpu": ended["cpu"]}
    promoted = end_states["AAA"]["state"]
    assert "model.promoted" in [event["type"] for event in promoted["events"]]
    assert "champion" in promoted["aliases"]["AAA"]
    return end_states


def points(undisturbed):
    """Seeded points: symbol, where to kill, and whether all of it is done again."""
    rng = random.Random(20200113)
    kill_points = []
    for kind, number in SHARE.items():
        for n in range(number):
            symbol = "BBB" if kind == "state" else SYMBOLS[n % 2]
            there = undisturbed[symbol]["kinds"].count(kind)
            kill_points.append((symbol, {"kind": kind, "number": rng.randint(1, there)}, rng.random() < 0.3))
    for n in range(BY_TIME):
        symbol = SYMBOLS[n % 2]
        kill_points.append((symbol, {"cpu": rng.random() * undisturbed[symbol]["cpu"]}, rng.random() < 0.3))
    rng.shuffle(kill_points)
    return kill_points


def check(world, state, reference):
    """The state is the reference's; killed runs are marked so; no lock or temporary file is left."""
    state, reference = dict(state), dict(reference)
    others = state.pop("runs_without_version")
    assert set(others) <= {"KILLED"}, "a run in MLflow that no version came from"
    assert reference.pop("runs_without_version") == []
    for part, expected in reference.items():
        assert state[part] == expected, part
    left = [f for f in world.folder.rglob("*") if f.name.endswith((".tmp", ".lock")) and f.name != ".mlflow.db.lock"]
    assert left == []


def killed_and_run_again(world, symbol, where, from_start):
    """Kill a run there, run it again until it succeeds; whether it was killed at all."""
    world.reset()
    before = world.newest_run()
    (ended,) = world.do(world.cycle(symbol, **where))
    assert ended["code"] in (-9, 0), world.log.read_text()[-3000:]
    killed = ended["code"] == -9
    if killed:
        newest = world.newest_run()
        again = {"again": newest[0], "from_start": from_start} if newest != before else {}
        (ended,) = world.do(world.cycle(symbol, **again))
        assert ended["code"] == 0, world.log.read_text()[-3000:]
    return killed


def go_through(world, undisturbed, chosen):
    """Every point of these; a table of how many were killed and how many ended wrong, which must be none."""
    wrong, outcomes = [], {}
    for symbol, where, from_start in chosen:
        kind = where.get("kind", "CPU time")
        killed, good = outcomes.setdefault(kind, [0, 0])
        was_killed = killed_and_run_again(world, symbol, where, from_start)
        try:
            check(world, world.state(), undisturbed[symbol]["state"])
            good += 1
        except AssertionError as error:
            wrong.append(f"{symbol} {where} from_start={from_start}: {str(error)[:2000]}")
            print("WRONG", wrong[-1], flush=True)
        outcomes[kind] = [killed + was_killed, good]
        print(
            f"{symbol} {where} from_start={from_start}: {'killed' if was_killed else 'was through before'}", flush=True
        )
    for kind, (killed, good) in sorted(outcomes.items()):
        print(f"{kind:10} killed {killed:3}, ended as undisturbed {good:3}")
    assert not wrong, "\n".join(wrong)


@pytest.mark.soak
@pytest.mark.parametrize("part", range(4))
def test_a_run_killed_anywhere_ends_as_if_undisturbed(world, undisturbed, part):
    chosen = points(undisturbed)[part::4]
    go_through(world, undisturbed, chosen[: int(os.environ.get("POINTS", len(chosen)))])


@pytest.mark.soak
def test_killed_again_and_again(world, undisturbed):
    """A run that is killed at each of its retries, five times at later and later places, ends the same."""
    rng = random.Random(7)
    for symbol in world.symbols:
        world.reset()
        again = {}
        for share in (0.2, 0.3, 0.4, 0.5, 0.6):
            before = world.newest_run()
            (ended,) = world.do(
                world.cycle(symbol, **again, cpu=(share + 0.1 * rng.random()) * undisturbed[symbol]["cpu"])
            )
            assert ended["code"] in (-9, 0)
            if world.newest_run() != before:
                again = {"again": world.newest_run()[0]}
        (ended,) = world.do(world.cycle(symbol, **again))
        assert ended["code"] == 0, world.log.read_text()[-3000:]
        check(world, world.state(), undisturbed[symbol]["state"])


@pytest.mark.soak
def test_the_same_partition_twice_at_once(world, undisturbed):
    """Ten times two runs, and once five, that begin at the same moment: one version each, all else once."""
    rounds = (2,) * 10 + (5,)
    for number in rounds[: int(os.environ.get("POINTS", len(rounds)))]:
        for symbol in world.symbols:
            world.reset()
            ended = world.do(*[world.cycle(symbol)] * number)
            assert [e["code"] for e in ended] == [0] * number, world.log.read_text()[-3000:]
            check(world, world.state(), undisturbed[symbol]["state"])


@pytest.mark.soak
@pytest.mark.parametrize("days", [-40, -1, 1, 40])
def test_a_clock_that_jumps_in_the_middle_changes_nothing(world, undisturbed, days):
    """The wall clock jumps once the run is half through; what is stored or decided does not come from it."""
    for symbol in world.symbols:
        world.reset()
        jump = {"days": days, "after_cpu": undisturbed[symbol]["cpu"] / 2}
        (ended,) = world.do(world.cycle(symbol, clock=jump))
        assert ended["code"] == 0, world.log.read_text()[-3000:]
        check(world, world.state(), undisturbed[symbol]["state"])
