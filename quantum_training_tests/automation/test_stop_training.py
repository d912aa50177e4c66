"""A training that is stopped in Dagster ends at once, keeps its state, and the run that is tried again goes on from it.

The run is a process of its own. It is stopped as the run launcher's `terminate` does: the run is marked as one to be
cancelled, and its process gets the signal that Dagster's run worker sends itself.
"""

import os
import signal
import subprocess
import sys
import time

import dagster as dg
import pytest

PARTITION = "AAA|2020-02-03"
RUN = """
import sys
import dagster as dg
from quantum_training.definitions import build_defs
from quantum_training.settings import load_settings

definitions = build_defs(load_settings())
with dg.DagsterInstance.local_temp(sys.argv[1]) as instance:
    for recipe in sys.argv[3:]:
        sys.stdin.readline()
        asset = definitions.resolve_assets_def(f"{recipe}_model")
        try:
            dg.materialize([asset], instance=instance, tags={"dagster/partition": sys.argv[2]})
        except BaseException as error:
            run = instance.get_runs(limit=1)[0]
            print(recipe, type(error).__name__, run.status.value, flush=True)
        else:
            print(recipe, "nothing stopped it", flush=True)
"""
STOP_SECONDS = 5
AGENTS = {
    "ppo": {"total_steps": 40_000, "environments": 64, "rollout_bars": 16, "batch_size": 256, "network": [16]},
    "sac": {"total_steps": 5_000, "environments": 16, "batch_size": 64, "network": [16], "learning_starts": 100},
}


@pytest.fixture
def project(build_project, small, tmp_path):
    """Market data of a symbol with both agents as recipes, whose states are kept often."""
    params = {"device": "cpu", "save_seconds": 0.05}
    label = {"kind": "forward_return", "horizon": 2}
    recipes = {
        kind: {"algorithm": kind, "params": {**AGENTS[kind], **params}, "label": label, "window_bars": 150}
        for kind in AGENTS
    }
    market = {**small["symbols"]["AAA"], "recipes": list(AGENTS)}
    folders = {"training_state_root": str(tmp_path / "state")}
    return build_project({**small, **folders, "symbols": {"AAA": market}, "recipes": recipes}).market_data()


def written(folder):
    """When each state below a folder was last written."""
    return {path: path.stat().st_mtime_ns for path in folder.rglob("seed-*.safetensors")}


def stop_in_the_middle(process, kind, states, instance):
    """Start the next run, stop it once its first state has been replaced; the seconds that took, and what it said."""
    process.stdin.write("go\n")
    process.stdin.flush()
    former, end = set(written(states)), time.monotonic() + 120
    first = None
    while time.monotonic() < end:
        new = {path: when for path, when in written(states).items() if path not in former}
        if first and new and new != first:
            break
        first = first or new
        time.sleep(0.01)
    else:
        raise AssertionError(f"{kind} kept no second state in 120 s")
    start = time.monotonic()
    instance.report_run_canceling(instance.get_runs(limit=1)[0])
    os.kill(process.pid, signal.SIGINT)
    output = process.stdout.readline()
    return time.monotonic() - start, output


@pytest.mark.long
def test_a_stopped_training_ends_in_seconds_and_the_next_run_resumes_it(project, tmp_path, capfd):
    states, taken = tmp_path / "state", []
    (tmp_path / "dagster").mkdir()
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(sys.path),
        "QUANTUM_TRAINING_STORE_ROOT": str(project.store.root),
        "QUANTUM_TRAINING_MLFLOW_TRACKING_URI": project.registry.tracking_uri,
    }
    process = subprocess.Popen(
        [sys.executable, "-c", RUN, str(tmp_path / "dagster"), PARTITION, *AGENTS],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )
    try:
        with dg.DagsterInstance.local_temp(str(tmp_path / "dagster")) as instance:
            for kind in AGENTS:
                seconds, output = stop_in_the_middle(process, kind, states, instance)
                taken.append(f"{kind}: stopped in {seconds:.2f} s")
                assert output == f"{kind} DagsterExecutionInterruptedError CANCELED\n"
                assert seconds < STOP_SECONDS
    finally:
        process.kill()
        process.wait()
    saved = written(states)
    assert len(saved) == 2
    assert not project.store.read_records("ppo_model", "AAA")
    ids = {path.parent.name for path in saved}
    capfd.readouterr()
    assets = [project.definitions.resolve_assets_def(f"{kind}_model") for kind in AGENTS]
    assert dg.materialize(assets, instance=project.instance, tags={"dagster/partition": PARTITION}).success
    logged = capfd.readouterr().err
    model_ids = {
        project.store.read_record(f"{kind}_model", "AAA", "2020-02-03")["versions"][0]["model_id"] for kind in AGENTS
    }
    assert model_ids == ids
    assert logged.count("resumed at step") == 2
    assert "resumed at step 0 " not in logged
    print(*taken, sep="\n")
    assert written(states) == {}, "states of versions that are registered are of no more use"
