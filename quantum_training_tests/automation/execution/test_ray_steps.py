"""Steps and runs on a real Ray cluster of two nodes on loopback; the node that trains is killed in the middle of it.

The executor is switched by one setting, the run launcher by dagster.yaml alone.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager, suppress
from pathlib import Path

import dagster as dg
import pytest
import yaml

from quantum_training.definitions import build_defs
from quantum_training.lifecycle.evaluation.leakage import skill_record
from quantum_training.partitions import RANGE_TAGS
from quantum_training.resources.registry.registry import ModelRegistry
from quantum_training.resources.store.store import Store
from quantum_training.settings import load_settings
from quantum_training_tests.support.processes import wait_for
from quantum_training_tests.support.ray_cluster import BIN, destroy, ray_cluster

pytestmark = pytest.mark.soak
REPOSITORY = Path(__file__).parents[3]
JOB = ("job", "execute", "-m", "quantum_training.definitions", "-j", "weekly_cycle")
WEEKS = ["2020-01-06", "2020-01-13"]
SLOW = '''
"""XGBoost whose first fit since `marker` was removed waits to be killed."""

import time
from dataclasses import replace
from pathlib import Path

from quantum_training.models.xgboost import Model as XGBoost


class Model(XGBoost):
    @classmethod
    def fit(cls, context):
        params = dict(context.params)
        marker = Path(params.pop("marker"))
        if not marker.exists():
            marker.touch()
            time.sleep(600)
        return super().fit(replace(context, params=params))
'''


@pytest.fixture(scope="module")
def algorithms():
    """A folder of importable algorithms and of their marker, which all nodes see."""
    with tempfile.TemporaryDirectory(prefix="qt") as folder:
        (Path(folder) / "slow").mkdir()
        (Path(folder) / "slow" / "booster.py").write_text(SLOW)
        yield Path(folder)


@pytest.fixture(scope="module")
def cluster(algorithms):
    """A cluster without a worker yet."""
    with ray_cluster([str(REPOSITORY), str(algorithms)]) as cluster:
        yield cluster


@pytest.fixture
def worker(cluster):
    """The cluster with a worker node, which lives for the test."""
    cluster.working = cluster.worker()
    yield cluster
    destroy(cluster.working)


@pytest.fixture
def settings(small, algorithms):
    """One symbol with one recipe, whose first training waits to be killed."""
    recipe = small["recipes"]["xgboost"]
    params = {**recipe["params"], "marker": str(algorithms / "begun")}
    market = {**small["symbols"]["AAA"], "recipes": ["slow"]}
    slow = {**recipe, "algorithm": "slow.booster", "params": params, "resources": {"cpu": 2}}
    return {**small, "symbols": {"AAA": market}, "recipes": {"slow": slow}}


@pytest.fixture
def home(tmp_path, settings, monkeypatch, algorithms):
    """A DAGSTER_HOME with market data and the record of the leak sentinel, in force in this process."""
    monkeypatch.syspath_prepend(algorithms)
    (tmp_path / "settings.yaml").write_text(yaml.safe_dump(settings))
    (tmp_path / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    monkeypatch.setenv("QUANTUM_TRAINING_CONFIG", str(tmp_path / "settings.yaml"))
    marker = algorithms / "begun"
    marker.touch()  # the sentinel's fits are not to wait
    with dg.DagsterInstance.from_config(str(tmp_path)) as instance:
        months = dict(zip(RANGE_TAGS, ("AAA|2019-09-01", "AAA|2020-01-01"), strict=True))
        job = build_defs(load_settings()).resolve_job_def("market_data")
        assert job.execute_in_process(instance=instance, tags=months).success
        for name, recipe in load_settings().recipes.items():
            skill_record(Store(root=str(tmp_path / "store")), name, recipe)
    marker.unlink()
    return tmp_path


BOTH_WEEKS = json.dumps(dict(zip(RANGE_TAGS, (f"AAA|{WEEKS[0]}", f"AAA|{WEEKS[-1]}"), strict=True)))


def cycle(home, **environment):
    """The command line that runs both weeks, as a process; the log goes to a file."""
    variables = {
        "DAGSTER_HOME": str(home),
        "QUANTUM_TRAINING_CONFIG": str(home / "settings.yaml"),
        "PYTHONWARNINGS": "ignore",
    }
    return subprocess.Popen(
        [str(BIN / "dagster"), *JOB, "--tags", BOTH_WEEKS],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **variables, **environment},
        stdout=(home / "cycle.log").open("w"),
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )


def weekly(root):
    """Every byte below a store but its market data, by file."""
    files = [f for f in sorted(Path(root).rglob("*")) if f.is_file()]
    names = {str(f.relative_to(root)): f.read_bytes() for f in files}
    return {name: data for name, data in names.items() if not name.startswith(("candles", "features"))}


def undisturbed(build_project, settings, home):
    """Another project with the same market data that runs both weeks in process, and the seconds that took."""
    project = build_project(settings)
    for part in ("candles", "features", "leak_sentinel"):
        shutil.copytree(home / "store" / part, Path(project.store.root) / part)
    began = time.monotonic()
    assert project.run("weekly_cycle", f"AAA|{WEEKS[0]}", f"AAA|{WEEKS[-1]}").success
    return project, time.monotonic() - began


def same_end(home, project):
    """The bytes of the store, the ledger's head and one version for each identity are those of the other project."""
    assert weekly(home / "store") == weekly(project.store.root)
    ledger = type(project.ledger)(url=f"sqlite:///{home}/quantum_training.db")
    assert ledger.head("AAA") == project.ledger.head("AAA")
    model_ids = [
        sorted(v.tags["model_id"] for v in registry.client().search_model_versions("name = 'AAA'"))
        for registry in (ModelRegistry(tracking_uri=f"sqlite:///{home}/mlflow/mlflow.db"), project.registry)
    ]
    assert model_ids[0] == model_ids[1]
    assert len(model_ids[0]) == len(WEEKS)


@contextmanager
def on_ray(home, cluster):
    """The cycle as a process with its steps on the cluster; nothing of it is left."""
    run = cycle(home, QUANTUM_TRAINING_EXECUTOR="ray", RAY_ADDRESS=cluster.address)
    try:
        yield run
    finally:
        with suppress(ProcessLookupError):
            os.killpg(run.pid, signal.SIGKILL)
        run.wait()


def test_steps_on_ray_survive_the_loss_of_their_node_and_end_as_in_process(
    home, worker, settings, build_project, algorithms
):
    cluster = worker
    marker, log = algorithms / "begun", home / "cycle.log"
    with on_ray(home, cluster) as run:
        wait_for("training on the worker node", marker.exists, 180, log.read_text)
        destroy(cluster.working)
        killed = time.monotonic()
        cluster.working = cluster.worker()
        assert run.wait(400) == 0, log.read_text()
    print(f"{time.monotonic() - killed:.0f} s from the node's loss to the end of the run")
    with dg.DagsterInstance.from_config(str(home)) as instance:
        (again,) = instance.all_logs(
            instance.get_runs(dg.RunsFilter(job_name="weekly_cycle"))[0].run_id,
            of_type=dg.DagsterEventType.STEP_UP_FOR_RETRY,
        )
        assert again.step_key == "slow_model"
    project, seconds = undisturbed(build_project, settings, home)
    same_end(home, project)

    shutil.rmtree(home / "store" / "champion")  # any later asset: the run is to begin anew, on a cluster at rest
    began = time.monotonic()
    with on_ray(home, cluster) as run:
        assert run.wait(400) == 0, log.read_text()
    taken = time.monotonic() - began
    print(
        f"a cycle of {len(WEEKS)} weeks: {seconds:.1f} s in process, {taken:.1f} s as a command with its steps on Ray"
    )
    same_end(home, project)


def test_a_run_on_ray_survives_the_loss_of_its_node_by_dagster_yaml_alone(
    home, worker, settings, build_project, algorithms, platform
):
    """The documented run launcher; monitoring finds the dead run, and the daemon starts it again."""
    block = re.search(
        r"```yaml\n(instance_class:.*?)```", (REPOSITORY / "docs/production/scale_out.md").read_text(), re.S
    )
    launcher = yaml.safe_load(block[1])
    launcher["run_launcher"]["config"]["ray"]["address"] = worker.address
    platform.home = home
    (home / "dagster.yaml").write_text(
        yaml.safe_dump(
            {
                **launcher,
                "telemetry": {"enabled": False},
                "run_monitoring": {"enabled": True, "poll_interval_seconds": 5},
                "run_retries": {"enabled": True, "max_retries": 3, "retry_on_asset_or_op_failure": False},
            }
        )
    )
    environment = {"PYTHONPATH": os.pathsep.join([str(REPOSITORY), str(algorithms)]), "PYTHONWARNINGS": "ignore"}
    platform.code_server(environment)
    platform.daemon(environment)
    place = ["-w", str(home / "workspace.yaml"), "-l", "quantum_training.definitions", "-j", "weekly_cycle"]
    launch = [str(BIN / "dagster"), "job", "launch", *place, "--tags", BOTH_WEEKS]
    subprocess.run(launch, env={**os.environ, **environment}, check=True, capture_output=True, timeout=180)
    wait_for("training on the worker node", (algorithms / "begun").exists, 240, platform.log_tails)
    destroy(worker.working)
    killed = time.monotonic()
    worker.working = worker.worker()
    with dg.DagsterInstance.from_config(str(home)) as instance:
        runs = lambda: instance.get_runs(dg.RunsFilter(job_name="weekly_cycle"))  # noqa: E731
        done = lambda: [run for run in runs() if run.status == dg.DagsterRunStatus.SUCCESS]  # noqa: E731
        wait_for("end of the run that was tried again", done, 400, platform.log_tails)
        print(f"{time.monotonic() - killed:.0f} s from the node's loss to the end of the second run")
        assert [run.status.value for run in runs()] == ["SUCCESS", "FAILURE"]
    same_end(home, undisturbed(build_project, settings, home)[0])
