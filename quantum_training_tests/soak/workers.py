"""A program that runs jobs of a project in processes of their own, forked from one that has all of it in memory.

It first makes what every point begins with, once. Each line of its standard input is a JSON list of orders that begin
at the same moment; the answer, a line too, is a list of how each ended.
"""

import gc
import json
import os
import signal
import sys
import threading
import time
import traceback
from dataclasses import replace
from pathlib import Path
from typing import Any

import dagster as dg
from boundaries import Boundaries
from dagster._core.definitions.reconstruct import ReconstructableJob, ReconstructableRepository
from dagster._core.errors import DagsterInvalidSubsetError, DagsterInvariantViolationError
from sqlalchemy import Engine
from state import state_of

PROJECT = ReconstructableRepository.for_module("quantum_training.definitions", "defs")
TICKS = os.sysconf("SC_CLK_TCK")
world = Path(os.environ["WORLD"])


def run(
    job: str,
    tags: dict[str, str],
    again: str | None = None,
    from_start: bool = False,
    config: dict[str, Any] | None = None,
) -> bool:
    """Run a job as a run worker does. again: id of a dead run to resume as run_retries does, or `from_start`."""
    with dg.DagsterInstance.get() as instance:
        if again:
            dead = instance.get_run_by_id(again)
            if dead.is_success:
                return True
            if not dead.is_finished:
                instance.report_run_failed(dead, "its process died")
        options = dg.ReexecutionOptions.from_failure(again, instance) if again and not from_start else None
        try:
            definition = PROJECT.get_reconstructable_job(job)
            with dg.execute_job(definition, instance, config, tags=tags, reexecution_options=options) as result:
                return result.success
        except DagsterInvalidSubsetError:  # it died when it had done everything
            return True
        except DagsterInvariantViolationError as error:  # the same, of a run whose last step was recorded in part
            if "in-memory io managers" not in str(error):
                raise
            return True


def carry_out(order: dict[str, Any]) -> bool:
    """What a forked process does. environment: variables that it has in other values; None unsets one."""
    if variables := order.pop("environment", None):
        load_anew(variables)
    if shift := order.pop("clock", None):
        from clock import shift_clock

        shift_clock(**shift)
    if out := order.pop("state", None):
        Path(out).write_text(json.dumps(state_of(world)))
        return True
    order.pop("cpu", None)
    watched = Boundaries(world, order.pop("kind", None), order.pop("number", 0))
    record = order.pop("record", None)
    watched.watch()
    success = run(**order)
    if variables:
        close_databases()  # SQLite then leaves no -wal beside a file that the test copies or replaces
    if record:
        Path(record).write_text(json.dumps(watched.events))
    return success


def load_anew(variables: dict[str, str | None]) -> None:
    """Set these variables of the environment, and let Dagster load the definitions again, with their settings."""
    for name, value in variables.items():
        os.environ.pop(name, None) if value is None else os.environ.update({name: value})
    del sys.modules["quantum_training.definitions"]
    ReconstructableJob.get_definition.cache_clear()
    ReconstructableJob.get_repository_definition.cache_clear()


def start(order: dict[str, Any]) -> int:
    """The id of a process that carries the order out."""
    pid = os.fork()
    if pid == 0:
        code = 2
        try:
            code = 0 if carry_out(dict(order)) else 1
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(code)
    return pid


def kill_at(pid: int, cpu: float) -> None:
    """SIGKILL once the process has used that many seconds of CPU: the same place however busy the machine is."""
    while True:
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            return
        if fields[0] == "Z":
            return
        if (int(fields[11]) + int(fields[12])) / TICKS >= cpu:
            os.kill(pid, signal.SIGKILL)
            return
        time.sleep(0.005)


def serve(orders: list[dict[str, Any]]) -> list[dict[str, float]]:
    """Carry out orders at once; exit status (-9: killed) and seconds of CPU of each."""
    pids = [start(order) for order in orders]
    for order, pid in zip(orders, pids, strict=True):
        if "cpu" in order:
            threading.Thread(target=kill_at, args=(pid, order["cpu"])).start()
    ended = []
    for pid in pids:
        _, status, used = os.wait4(pid, 0)
        ended.append({"code": os.waitstatus_to_exitcode(status), "cpu": used.ru_utime + used.ru_stime})
    return ended


def close_databases() -> None:
    """Close the connections of this process."""
    for engine in [o for o in gc.get_objects() if isinstance(o, Engine)]:
        engine.dispose()


def shorten_leakage_test() -> None:
    """Let the leakage test take a second: its result is not what these tests look at."""
    from quantum_training.models import ppo
    from quantum_training.monitoring import model_leakage

    ppo.Model.traits = replace(ppo.Model.traits, smoke_params={"total_steps": 64})
    model_leakage.FITS, model_leakage.WALK_BARS = 2, 500


def main() -> None:
    shorten_leakage_test()
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for job, tags in json.loads(sys.stdin.readline()):
        assert run(job, tags), f"{job} {tags} failed"
    state_of(world)
    close_databases()  # a connection must not be carried across a fork
    gc.freeze()
    print("ready", file=answers, flush=True)
    for line in sys.stdin:
        print(json.dumps(serve(json.loads(line))), file=answers, flush=True)


if __name__ == "__main__":
    main()
