"""Versions in an empty environment, made as docs/tasks/use_a_version_elsewhere.md says: it has public packages only.

Every recipe of the zoo decides there as the platform does, loaded by MLflow, on its command line and over HTTP.
"""

import json
import os
import shlex
import subprocess
import sys
import urllib.error
import urllib.request
from contextlib import ExitStack
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from quantum_training.market.calendars import expected_open_times
from quantum_training.resources.registry.registry import ModelRegistry
from quantum_training_tests.support.platforms import MlflowServer
from quantum_training_tests.support.processes import free_port, healthy, start, wait_for
from quantum_training_tests.support.served_zoo import (
    AGENTS,
    BARS,
    BOOSTER_ENSEMBLES,
    BOOSTERS,
    EVERYTHING,
    NETWORKS,
    SYMBOL,
    decided,
    fit_zoo,
    publish,
)
from quantum_training_tests.test_readme import blocks

pytestmark = pytest.mark.long
PAGE = "docs/tasks/use_a_version_elsewhere.md"
TASKS = Path(__file__).parents[3] / "docs/tasks"
DAILY = "sessions"
"""Alias of a version for daily bars of an exchange."""
MB = 10**6
LOAD = """
import json, sys
import mlflow, pandas as pd
from importlib.util import find_spec

file, symbol, *recipes = sys.argv[1:]
rows, positions = json.load(open(file))["dataframe_records"], {}
for recipe in recipes:
    answer = mlflow.pyfunc.load_model(f"models:/{symbol}@{recipe}").predict(pd.DataFrame(rows))
    positions[recipe] = [[str(time), position] for time, position in answer.items()]
absent = [name for name in ("quantum_training", "dagster", "torch") if not find_spec(name)]
print(json.dumps({"positions": positions, "absent": absent}))
"""


@pytest.fixture(scope="module")
def published(make_candles, tmp_path_factory):
    """An MLflow server with a version of every recipe, and the candles that a caller has."""
    home, candles = tmp_path_factory.mktemp("elsewhere"), make_candles(BARS, seed=5)
    zoo = fit_zoo(candles)
    with ExitStack() as stack:
        server = MlflowServer(home, stack).start().ready()
        registry = ModelRegistry(tracking_uri=server.url)
        publish(registry, candles, zoo)
        days = expected_open_times("XNYS", "1d", *(pd.Timestamp(day, tz="UTC") for day in ("2018-01-01", "2023-12-31")))
        daily = candles.set_axis(days[:BARS])
        publish(registry, daily, {DAILY: zoo["stack"]}, "1d", "XNYS")
        registry.aliases.move(SYMBOL, {"champion": "id-stack"})
        models = {recipe: model for recipe, (_, model) in zoo.items()}
        yield SimpleNamespace(home=home, url=server.url, candles=candles, daily=daily, models=models)


def environment(published, folder, alias):
    """The commands of the page up to the installed packages of a version, in a folder: a function that runs one."""
    folder.mkdir()
    (folder / "fetch_version.py").write_bytes((TASKS / "fetch_version.py").read_bytes())
    hourly, daily = (candles.tail(1_200).round(6) for candles in (published.candles, published.daily))
    for name, sent in (("request.json", hourly), ("daily.json", daily)):
        times = [time.isoformat() for time in sent.index]
        rows = sent.reset_index(drop=True).assign(open_time=times).to_dict("records")
        (folder / name).write_text(json.dumps({"dataframe_records": rows}))
    variables = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTHONDONTWRITEBYTECODE")}
    variables |= {"MLFLOW_TRACKING_URI": published.url, "MLFLOW_DISABLE_TELEMETRY": "true"}
    variables["PATH"] = f"{folder}/trader/bin:{variables['PATH']}"

    def run(command):
        done = subprocess.run(command, cwd=folder, env=variables, capture_output=True, text=True, timeout=900)
        assert done.returncode == 0, f"{command}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
        return done.stdout

    lines = [line for block in blocks(PAGE, "sh") for line in block.strip().splitlines()]
    export, *install = lines[: [line.split()[-1] for line in lines].index("version/requirements.txt") + 1]
    assert export == "export MLFLOW_TRACKING_URI=http://127.0.0.1:5000"
    for line in install:
        run(shlex.split(line.replace("python3", sys.executable).replace("@champion", f"@{alias}")))
    return SimpleNamespace(run=run, folder=folder, variables=variables, lines=lines, sent=hourly, daily=daily)


@pytest.fixture(scope="module")
def boosters(published):
    """The environment of an ensemble of both boosters, for an exchange with sessions."""
    return environment(published, published.home / "boosters", DAILY)


@pytest.fixture(scope="module")
def everything(published):
    """The environment of an ensemble with a booster of each kind, an agent and a network."""
    return environment(published, published.home / "everything", EVERYTHING)


def differing(models, place, candles, file="request.json"):
    """The recipes that decide otherwise there than in the platform, and which packages are absent there."""
    answer = json.loads(place.run(["trader/bin/python", "-c", LOAD, file, SYMBOL, *models]).splitlines()[-1])
    wrong = []
    for recipe, rows in answer["positions"].items():
        bars = pd.DatetimeIndex([time for time, _ in rows])
        expected = decided(models[recipe], candles, bars)
        got = np.array([position for _, position in rows], "float64")
        assert len(got) > 100
        assert np.isfinite(got).all()
        if not np.array_equal(got, expected):
            wrong.append(recipe)
    return wrong, answer["absent"]


def size(folder):
    return sum(path.lstat().st_size for path in folder.rglob("*"))


def test_boosters_and_their_ensembles_decide_as_in_the_platform_in_400_mb(published, boosters):
    models = {recipe: published.models[recipe] for recipe in (*BOOSTERS, *BOOSTER_ENSEMBLES)}
    wrong, absent = differing(models, boosters, boosters.sent)
    assert wrong == []
    assert absent == ["quantum_training", "dagster", "torch"]
    assert size(boosters.folder / "trader") < 400 * MB
    names = {line.partition("==")[0] for line in (boosters.folder / "version/requirements.txt").read_text().split("\n")}
    for recipe in models:
        target = boosters.folder / f"of_{recipe}"
        boosters.run(["trader/bin/python", "fetch_version.py", f"{SYMBOL}@{recipe}", str(target)])
        lines = (target / "requirements.txt").read_text().split("\n")
        assert {line.partition("==")[0] for line in lines} <= names


def test_daily_bars_of_an_exchange_are_read_with_its_calendar(published, boosters):
    wrong, _ = differing({DAILY: published.models["stack"]}, boosters, boosters.daily, "daily.json")
    assert wrong == []


def test_every_recipe_decides_as_in_the_platform(published, everything):
    assert {*published.models} == {*BOOSTERS, *BOOSTER_ENSEMBLES, *AGENTS, *NETWORKS, EVERYTHING}
    wrong, absent = differing(published.models, everything, everything.sent)
    assert wrong == []
    assert absent == ["quantum_training", "dagster"]


def test_mlflows_command_line_gives_the_positions_of_every_recipe(published, everything):
    predict, wrong = everything.lines[-2], []
    for recipe, model in published.models.items():
        everything.run(["trader/bin/python", "fetch_version.py", f"{SYMBOL}@{recipe}", recipe])
        everything.run(shlex.split(predict.replace("-m version", f"-m {recipe}")))
        answer = json.loads((everything.folder / "positions.json").read_text())["predictions"]
        expected = decided(model, everything.sent, pd.DatetimeIndex(everything.sent.index[-len(answer) :]))
        assert len(answer) > 100
        if not np.array_equal([row["position"] for row in answer], expected):
            wrong.append(recipe)
    assert wrong == []


def test_mlflows_command_line_and_server_give_the_same_positions(published, boosters):
    assert f"mlflow-skinny=={version('mlflow-skinny')}" in boosters.lines[2]
    predict, serve = boosters.lines[-2:]
    boosters.run(shlex.split(predict.replace("request.json", "daily.json")))
    answer = json.loads((boosters.folder / "positions.json").read_text())["predictions"]
    bars = boosters.daily.index[-len(answer) :]
    expected = decided(published.models["stack"], boosters.daily, pd.DatetimeIndex(bars))
    assert np.array_equal([row["position"] for row in answer], expected)
    port = str(free_port())
    with ExitStack() as stack:
        command = shlex.split(serve.replace("5001", port))
        log = boosters.folder / "serve.log"
        start(stack, command, log, boosters.variables, boosters.folder)
        address = f"http://127.0.0.1:{port}"
        wait_for("server", lambda: healthy(f"{address}/ping"), 120, lambda: log.read_text()[-3000:])

        def ask(body):
            headers = {"Content-Type": "application/json"}
            request = urllib.request.Request(f"{address}/invocations", json.dumps(body).encode(), headers)
            with urllib.request.urlopen(request) as reply:
                return [row["position"] for row in json.loads(reply.read(), parse_constant=float)["predictions"]]

        body = json.loads((boosters.folder / "daily.json").read_text())
        rows = pd.DataFrame(body["dataframe_records"])
        split = {"dataframe_split": rows.to_dict("split")}
        milliseconds = rows.assign(open_time=boosters.daily.index.as_unit("ms").asi8).to_dict("records")
        for sent in (body, split, {"inputs": rows.to_dict("list")}, {"dataframe_records": milliseconds}):
            assert np.array_equal(ask({**sent, "params": {"input": "candles"}}), expected)
        with pytest.raises(urllib.error.HTTPError) as refused:
            ask({"dataframe_records": body["dataframe_records"][:100]})
        assert refused.value.code == 400
        assert "SP500: 100 bars are too few to decide on the last; send at least" in refused.value.read().decode()


def test_a_version_that_was_changed_in_the_store_is_refused_before_any_of_it_runs(published, boosters, tmp_path):
    (file,) = [
        file
        for file in (published.home / "served").rglob("scoring_code.tar.bz2")
        if '"xgboost"' in (file.parent / "model/algorithm.json").read_text()
    ]
    original = file.read_bytes()
    file.write_bytes(original[:-1])
    (added := file.parents[1] / "conda.py").touch()
    command = ["trader/bin/python", "fetch_version.py", f"{SYMBOL}@xgboost", str(tmp_path / "changed")]
    done = subprocess.run(command, cwd=boosters.folder, env=boosters.variables, capture_output=True, text=True)
    assert done.returncode == 1
    assert "artifacts/scoring_code.tar.bz2 is not what was registered; do not run it" in done.stderr
    file.write_bytes(original)
    boosters.run([*command[:-1], str(tmp_path / "whole")])
    assert not (tmp_path / "whole/conda.py").exists()
    added.unlink()
