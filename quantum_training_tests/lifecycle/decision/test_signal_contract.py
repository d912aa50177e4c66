"""The contract of docs/signals.md with programs of other people: schema, path, and the example that reads it."""

import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import mlflow  # noqa: F401 - the page's line needs it
import pytest

from quantum_training.lifecycle.records import LATEST, SignalRecord, write_record
from quantum_training.resources.store.store import Store

DOCS = Path(__file__).parents[3] / "docs"
SCHEMA, CLIENT = DOCS / "signal.schema.json", DOCS / "tasks/follow_signals.py"
HELD_UNTIL = datetime(2024, 1, 8, 14, tzinfo=UTC)


@pytest.fixture(scope="module")
def client():
    spec = spec_from_file_location("follow_signals", CLIENT)
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def schema():
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **SignalRecord.model_json_schema()}


def test_the_schema_in_the_documentation_is_that_of_the_record():
    assert json.loads(SCHEMA.read_text()) == schema(), f"write it anew:\n{json.dumps(schema(), indent=2)}"


def test_the_page_names_fields_that_exist():
    rows = [line.split("|")[1] for line in (DOCS / "signals.md").read_text().splitlines() if line.startswith("| `")]
    named = {name.strip(" `") for row in rows for name in row.split(",")}
    assert named == {"position", "valid_until", "bar", "reason", "model_id", "champion", "target", "share"}
    assert named < SignalRecord.model_fields.keys()


def test_a_client_holds_the_position_until_a_grace_after_its_bar(client, tmp_path):
    store = Store(root=str(tmp_path))
    assert client.position(str(tmp_path), "AAA", HELD_UNTIL) == (0.0, "flat: there is no signal")
    record = SignalRecord(
        symbol="AAA",
        bar="2024-01-08T12:00:00+00:00",
        valid_until=HELD_UNTIL.isoformat(),
        position=0.25,
        reason="0.5 x 50 %",
    )
    write_record(store, "AAA", LATEST, record)
    for late in (-30, 0, 14):
        time = HELD_UNTIL + timedelta(minutes=late)
        assert client.position(str(tmp_path), "AAA", time) == (0.25, "0.5 x 50 %")
    size, reason = client.position(str(tmp_path), "AAA", HELD_UNTIL + timedelta(minutes=16))
    assert (size, reason) == (0.0, "flat: the signal held until 2024-01-08T14:00:00+00:00, and no newer one has come")
    write_record(store, "AAA", LATEST, SignalRecord(symbol="AAA", reason="flat: the kill switch is on"))
    assert client.position(str(tmp_path), "AAA", HELD_UNTIL) == (0.0, "flat: the kill switch is on")


@pytest.mark.long
def test_the_example_follows_the_signals_of_a_home(cycled_project, small):
    project = cycled_project(small, "2020-01-06", "2020-01-13")
    assert project.run("trading_signals", "AAA").success
    stored = project.store.read_record("signals", "AAA", LATEST)
    assert SignalRecord.model_validate(stored).model_dump() == stored
    command = [sys.executable, str(CLIENT), str(project.store.root), "AAA"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        line = process.stdout.readline()
        process.kill()
    assert " hold +0.0000: flat: " in line

    (version,) = project.store.read_record("xgboost_model", "AAA", "2020-01-13")["versions"]
    (search,) = [line for line in (DOCS / "signals.md").read_text().splitlines() if line.startswith("mlflow.Mlflow")]
    project.registry.client()
    found = eval(search.replace("SP500", "AAA").replace("0123456789abcdef", version["model_id"]))  # noqa: S307
    assert [entry.tags["recipe"] for entry in found] == ["xgboost"]
