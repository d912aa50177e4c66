"""No name, partition key, event, config or YAML reaches a path outside its place; no password is ever displayed."""

import json
import os
import re
import subprocess
import sys
import threading
import traceback
from base64 import b64encode
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import quote

import dagster as dg
import mlflow
import pandas as pd
import pytest
from dagster._core.remote_representation.external_data import RepositorySnap
from dagster._serdes import serialize_value
from dagster._utils.error import serializable_error_info_from_exc_info
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from quantum_training.assets import step_retries as retries
from quantum_training.partitions import PARTITION_TAG, RANGE_TAGS, build_partitions, parse_key, run_keys
from quantum_training.resources import database
from quantum_training.resources.events.payloads import Event
from quantum_training.resources.events.redis_stream import RedisError, RedisQueue
from quantum_training.resources.registry.errors import RegistryError, RegistryOutage
from quantum_training.resources.registry.registry import ModelRegistry, RegisteredVersion
from quantum_training.resources.registry.removal import registered, remove
from quantum_training.resources.store.store import Store
from quantum_training.settings import load_settings
from quantum_training.settings.paths import SettingsError, without_password
from quantum_training.settings.schema import Name, RecipeName

ROOT = Path(__file__).parents[1]
MARKER = "hush-7Kq"
EVIL = [
    "..",
    "../x",
    "/etc/passwd",
    "a/../../b",
    "a\\..\\b",
    "~root",
    ".x",
    "a\0b",
    "a\n",
    "x" * 300,
    "",
    "a|b",
    "%2e%2e",
]
NAMES = st.sampled_from(EVIL) | st.text(st.sampled_from("./\\~%|\0\n aZ0-_:"), max_size=12) | st.text(max_size=12)
FUZZ = hypothesis_settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
GRID = build_partitions(["AAA", "BBB"], "2024-01-01", "2024-03-01")


@contextmanager
def refused(message):
    """The block passes, or raises a ValueError that contains `message`."""
    try:
        yield
    except ValueError as error:
        if message not in str(error):
            raise


@FUZZ
@given(NAMES, NAMES, NAMES, NAMES)
def test_the_store_writes_in_its_root_or_refuses(tmp_path, asset, symbol, period, suffix):
    root = tmp_path / "root"
    store = Store(root=str(root))
    for write in (
        lambda: store.write_record(asset, symbol, period, {}),
        lambda: store.write_text("report", symbol, "2024-01-01", suffix, "text"),
    ):
        with refused("is no name in the store"):
            path = Path(write().path)
            assert path.resolve().is_relative_to(root.resolve())
            assert len(path.relative_to(root).parts) == 3
    for read in (store.read_record, store.attributes):
        with refused("is no name in the store"):
            read(asset, symbol, period)
    assert {f.name for f in tmp_path.iterdir()} <= {"root"}


@FUZZ
@given(NAMES)
def test_a_symbol_or_recipe_of_settings_and_events_is_a_plain_name(text):
    for kind, pattern in ((Name, "[A-Za-z0-9][A-Za-z0-9_-]{0,63}"), (RecipeName, "[a-z][a-z0-9_]{0,63}")):
        try:
            TypeAdapter(kind).validate_python(text)
        except ValidationError:
            assert not re.fullmatch(pattern, text)
        else:
            assert re.fullmatch(pattern, text)
    fields = {"event_id": "6f1c8d0e-52b3-5b8a-9d53-3c1a7be0f4d2", "type": "manual.retrain_request", "symbol": text}
    payload = {"requested_by": "ann", "reason": "why", "requested_at": "2024-01-01T00:00:00+00:00"}
    try:
        Event.model_validate({**fields, "payload": payload})
    except ValidationError:
        assert not re.fullmatch("[A-Za-z0-9][A-Za-z0-9_-]{0,63}", text)


@FUZZ
@given(NAMES, NAMES, st.sampled_from(["AAA|", "AAA|2024-01-08", "BBB|2024-01-15", ""]))
def test_a_partition_key_is_on_the_grid_or_refused(one, two, valid_key):
    for grid in (GRID.week, GRID.month, GRID.day):
        for key in (one, valid_key + one, f"{one}|{two}"):
            with refused("partition"):
                key_parts = parse_key(grid, key)
                assert str(key_parts) == key
                assert key_parts.symbol in ("AAA", "BBB")
    for tags in ({PARTITION_TAG: valid_key + one}, dict(zip(RANGE_TAGS, (valid_key, one), strict=True)), {one: two}):
        with refused("partition"):
            keys = run_keys(GRID.week, tags)
            assert {key.symbol for key in keys} <= {"AAA", "BBB"}


def test_no_config_of_a_run_points_a_resource_elsewhere(build_project, small):
    project = build_project(small)
    for job in ("market_data", "weekly_cycle", "drift", "trading_signals"):
        definition = project.definitions.resolve_job_def(job)
        for resource, field in {
            "store": "root",
            "registry": "tracking_uri",
            "ledger": "url",
            "events": "url",
            "io_manager": "base_dir",
        }.items():
            run_config = {"resources": {resource: {"config": {field: "elsewhere"}}}}
            with pytest.raises(dg.DagsterInvalidConfigError, match=rf"entry \"({field}|{resource})\""):
                dg.validate_run_config(definition, run_config)


def test_no_value_passes_between_steps_and_nothing_is_pickled(build_project, small):
    project = build_project(small).market_data()
    assert [f for f in project.home.rglob("*") if "storage" in f.parts and f.is_file() and f.suffix != ".log"] == []

    @dg.op
    def gives() -> int:
        return 1

    @dg.job(resource_defs={"io_manager": project.definitions.resources["io_manager"]})
    def handing() -> None:
        gives()

    done = handing.execute_in_process(instance=project.instance, raise_on_error=False)
    assert not done.success
    assert "gives returns a int; write it to the store" in str(done.failure_data_for_node("gives").error)


@pytest.mark.parametrize("tag", ["!!python/object/apply:os.mkdir [{}]", "!!python/name:os.system {}"])
def test_yaml_that_would_run_code_is_refused(tmp_path, monkeypatch, tag):
    file, mark = tmp_path / "settings.yaml", tmp_path / "ran"
    file.write_text(f"start: {tag.format(mark)}\n")
    monkeypatch.setenv("QUANTUM_TRAINING_CONFIG", str(file))
    with pytest.raises(SettingsError, match=r"settings\.yaml: no valid YAML"):
        load_settings()
    assert not mark.exists()


@FUZZ
@given(st.text(min_size=4))
def test_a_displayed_url_holds_no_password(password):
    encoded = quote(password, safe="")
    for hidden in (password, encoded):
        displayed = without_password(f"before redis://ann:{hidden}@host:1/0 after")
        assert displayed == "before redis://ann:***@host:1/0 after"
    displayed = without_password(f"postgresql+psycopg2:///db?password={encoded}&host=/run")
    assert displayed == "postgresql+psycopg2:///db?password=***&host=/run"


@pytest.mark.parametrize("name", ["DATABASE_URL", "EVENT_BUS_URL", "MLFLOW_TRACKING_URI"])
@pytest.mark.parametrize(
    "password", [f"a@{MARKER}", f"a/{MARKER}", f"a#{MARKER}", f"a?{MARKER}", f"a {MARKER}", f"'{MARKER}"]
)
def test_an_unencoded_password_is_refused_without_being_shown(monkeypatch, name, password):
    scheme = {"DATABASE_URL": "postgresql+psycopg2", "EVENT_BUS_URL": "redis", "MLFLOW_TRACKING_URI": "http"}[name]
    monkeypatch.setenv(f"QUANTUM_TRAINING_{name}", f"{scheme}://ann:{password}@127.0.0.1:1/0")
    with pytest.raises(SettingsError, match=f"{name.lower()} = .*percent-encoded, as %40 for @") as caught:
        load_settings()
    assert MARKER not in str(caught.value)
    monkeypatch.setenv(f"QUANTUM_TRAINING_{name}", f"{scheme}://ann:{quote(password, safe='')}@127.0.0.1:1/0")
    load_settings()


def test_a_failing_run_shows_no_password_anywhere(build_project, small, monkeypatch, capfd, caplog):
    """Database and Redis are out: look through events, errors, tags, files, MLflow, logs and what the UI is given."""
    monkeypatch.setattr(database, "GIVE_UP_SECONDS", 0.1)
    monkeypatch.setattr(retries, "FIRST_WAIT_SECONDS", 0)
    small["database_url"] = f"postgresql+psycopg2://ann:{MARKER}@127.0.0.1:1/db"
    small["event_bus_url"] = f"redis://:{MARKER}@127.0.0.1:1/0"
    small["symbols"] = {"AAA": small["symbols"]["AAA"]}
    project = build_project(small).market_data()
    assert not project.run("weekly_cycle", "AAA|2020-02-24").success
    events = "".join(
        str(event) for run in project.instance.get_runs() for event in project.instance.all_logs(run.run_id)
    )
    assert "127.0.0.1:1/db" in events, "the error names the address"
    ui_snapshot = serialize_value(RepositorySnap.from_def(project.definitions.get_repository_def()))
    assert "weekly_cycle" in ui_snapshot
    tags = [run.tags for run in project.instance.get_runs()]
    outputs = capfd.readouterr()
    texts = [events, ui_snapshot, json.dumps(tags), outputs.out, outputs.err, caplog.text]
    with pytest.raises(RedisError) as caught:
        RedisQueue(small["event_bus_url"], "s").read("c", 1)
    texts.append("".join(traceback.format_exception(caught.value)))
    for file in project.home.rglob("*"):
        if file.is_file() and file.name != "settings.yaml":
            texts.append(file.read_bytes().decode(errors="replace"))
    assert [text[max(0, text.find(MARKER) - 200) :][:400] for text in texts if MARKER in text] == []


@pytest.fixture
def mlflow_behind_a_login(monkeypatch):
    """Address, with user and password, of an MLflow that knows a version of AAA whose artefact is gone."""
    secret = f"a@/{MARKER}"
    files = [{"key": "artifact_files", "value": "{}"}]
    version = {"name": "AAA", "version": "1", "run_id": "r", "source": "mlflow-artifacts:/x", "tags": files}

    class Mlflow(BaseHTTPRequestHandler):
        def do_GET(self):
            entitled = self.headers["Authorization"] == "Basic " + b64encode(f"ann:{secret}".encode()).decode()
            endpoint = self.path.partition("?")[0].rpartition("/mlflow/")[2]
            answers = {
                "model-versions/search": {"model_versions": [version]},
                "model-versions/get": {"model_version": version},
            }
            body = json.dumps(answers.get(endpoint, "no such thing")).encode()
            self.send_response((200 if endpoint in answers else 404) if entitled else 401)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args):
            return

    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "somebody else")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "of another server")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    before = mlflow.get_tracking_uri()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Mlflow)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://ann:{quote(secret, safe='')}@127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    mlflow.set_tracking_uri(before)


def test_no_error_of_mlflow_and_no_cause_of_one_shows_the_password(mlflow_behind_a_login, capfd, caplog):
    there = ModelRegistry(tracking_uri=mlflow_behind_a_login)
    away = ModelRegistry(tracking_uri=f"http://ann:{MARKER}@127.0.0.1:1")
    assert there.find("AAA", "id-1") == RegisteredVersion(1, "r"), "the server gets the decoded login"
    now, texts = pd.Timestamp.now("UTC"), []
    for registry, expected, call in (
        (there, RegistryError, lambda r: r.load("AAA", "id-1")),
        (away, RegistryOutage, lambda r: r.find("AAA", "id-1")),
        (away, RegistryOutage, lambda r: r.run_url("AAA", RegisteredVersion(1, "r"))),
        (away, RegistryOutage, lambda r: registered(r, "AAA")),
        (away, RegistryOutage, lambda r: remove(r, "AAA", [], now, dry_run=True)),
    ):
        with pytest.raises(expected) as caught:
            call(registry)
        texts.append("".join(traceback.format_exception(caught.value)))
        texts.append(str(serializable_error_info_from_exc_info((caught.type, caught.value, caught.tb))))
    assert "404 Client Error" in texts[0]
    assert all("127.0.0.1" in text for text in texts)
    outputs = capfd.readouterr()
    texts += [outputs.out, outputs.err, caplog.text, there.uri, away.uri]
    assert [text[max(0, text.find(MARKER) - 200) :][:400] for text in texts if MARKER in text] == []


def test_servers_that_make_starts_listen_on_loopback_only():
    starts = [
        line
        for line in (ROOT / "Makefile").read_text().splitlines()
        if re.search(r"webserver -w|mlflow ui|quantum_training\.service", line)
    ]
    assert len(starts) == 3
    for line in starts:
        assert re.search(r"(-h|--host) 127\.0\.0\.1 ", line), line
    elsewhere = [
        f.name
        for f in (
            ROOT / "Makefile",
            ROOT / "README.md",
            ROOT / "workspace.yaml",
            *(ROOT / "dagster_home").glob("*.yaml"),
        )
        if "0.0.0.0" in f.read_text()
    ]
    assert elsewhere == []


@pytest.fixture
def osv():
    """Address of a vulnerability service that knows of one in `leaky`, and the packages requested."""
    requested_packages = []

    class Service(BaseHTTPRequestHandler):
        def do_POST(self):
            query = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            requested_packages.append(query["package"]["name"])
            ranges = [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "2.0"}]}]
            package = {"ecosystem": "PyPI", "name": "leaky"}
            vulnerability = {"id": "OSV-1", "summary": "it leaks", "affected": [{"package": package, "ranges": ranges}]}
            body = json.dumps({"vulns": [vulnerability]} if query["package"]["name"] == "leaky" else {}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args):
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Service)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}", requested_packages
    server.shutdown()


def test_the_audit_fails_on_a_vulnerability_and_reports_an_unreachable_service(tmp_path, osv):
    url, requested_packages = osv

    def audit(pins, address):
        (tmp_path / "constraints.txt").write_text(pins)
        command = [sys.executable, str(ROOT / ".ci" / "audit.py"), "--osv-url", address]
        env = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
        return subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, check=False)

    report = audit("sound==1.0\nleaky==1.0\n", url)
    assert (report.returncode, requested_packages) == (1, ["sound", "leaky"]), report.stderr
    assert "leaky 1.0: OSV-1, mended in 2.0" in report.stdout
    clean = audit("sound==1.0\n", url)
    assert clean.returncode == 0
    assert "1 packages of constraints.txt audited, 0 vulnerabilities" in clean.stdout
    unreachable = audit("sound==1.0\n", "http://127.0.0.1:1/")
    assert unreachable.returncode == 0
    assert "*** NOT AUDITED" in unreachable.stdout


def test_the_secret_scan_of_make_lint_finds_a_secret(tmp_path):
    (line,) = re.findall(r"xargs -0 .*?\$\(BIN\)/(detect-secrets-hook)(.*)", (ROOT / "Makefile").read_text())
    scan = [str(Path(sys.executable).with_name(line[0])), *line[1].split()]
    planted, plain = tmp_path / "settings.py", tmp_path / "plain.py"
    planted.write_text("AWS = 'AKIA" + "Z3MRK4T2QJXPW7LD'\n")
    plain.write_text("x = 1\n")
    assert subprocess.run([*scan, str(planted)], cwd=tmp_path, capture_output=True, check=False).returncode == 1
    assert subprocess.run([*scan, str(plain)], cwd=tmp_path, capture_output=True, check=False).returncode == 0
