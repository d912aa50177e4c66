"""The store and MLflow's artefacts on a real S3 server: the same bytes as on a disk, and faults that say what to do."""

import time
import urllib.request
from contextlib import ExitStack
from dataclasses import replace

import boto3
import pandas as pd
import pytest
from moto.core import set_initial_no_auth_action_count
from moto.server import ThreadedMotoServer
from s3fs import S3FileSystem

from quantum_training.definitions import build_defs
from quantum_training.resources.faults import is_transient
from quantum_training.resources.registry.registry import ModelRegistry
from quantum_training.resources.store.files import StoreAccessError
from quantum_training.resources.store.store import Store
from quantum_training_tests.support.platforms import MlflowServer

PLACE = ("scores", "AAA", "2024-01-01")
WEEKS = ["2020-01-06", "2020-01-13"]
BUCKET = "quantum-training"


class Server:
    """An S3 server on loopback with one bucket; `stop` it, and nothing answers."""

    def __init__(self):
        self.server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
        self.server.start()
        self.url = "http://{}:{}".format(*self.server.get_host_and_port())
        urllib.request.urlopen(
            f"{self.url}/moto-api/reset", b""
        ).close()  # all servers of a process share their buckets

    def client(self):
        return boto3.client("s3", endpoint_url=self.url)

    def objects(self, prefix):
        """Every byte below a prefix by the rest of its key."""
        client, contents = self.client(), {}
        for page in client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=f"{prefix}/"):
            for item in page.get("Contents", []):
                key = item["Key"]
                contents[key.removeprefix(f"{prefix}/")] = client.get_object(Bucket=BUCKET, Key=key)["Body"].read()
        return contents


@pytest.fixture
def s3(monkeypatch):
    """The server, with its address and credentials in the environment as an operator sets them."""
    names = {
        "AWS_ACCESS_KEY_ID": "operator",
        "AWS_SECRET_ACCESS_KEY": "secret",  # pragma: allowlist secret
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    server = Server()
    for name, value in {**names, "AWS_ENDPOINT_URL": server.url}.items():
        monkeypatch.setenv(name, value)
    server.client().create_bucket(Bucket=BUCKET)
    yield server
    server.server.stop()
    S3FileSystem.clear_instance_cache()


@pytest.fixture
def store():
    return Store(root=f"s3://{BUCKET}/store")


@pytest.fixture
def s3_calls(monkeypatch):
    """The S3 calls that were made."""
    made, call = [], S3FileSystem._call_s3

    async def recorded(self, method, *args, **kwargs):
        made.append(method)
        return await call(self, method, *args, **kwargs)

    monkeypatch.setattr(S3FileSystem, "_call_s3", recorded)
    return made


def frame(scale=1.0):
    index = pd.date_range("2024-01-01", periods=3, freq="4h", tz="UTC", name="open_time")
    return pd.DataFrame({"close": [1.0 * scale, 2.0, float("nan")], "strategy": ["a", "b", "c"]}, index)


def test_a_write_is_one_put_and_none_if_the_bytes_are_stored(s3, store, s3_calls):
    written = store.write_frame(*PLACE, frame())
    assert written.changed
    assert [call for call in s3_calls if not call.startswith(("head", "get", "list"))] == ["put_object"]
    pd.testing.assert_frame_equal(store.read_frame(*PLACE), frame(), check_freq=False)
    s3_calls.clear()
    assert not store.write_frame(*PLACE, frame()).changed
    assert "put_object" not in s3_calls
    store.write_record("champion", "AAA", "2024-01-01", {"a": 1})
    assert store.read_record("champion", "AAA", "2024-01-01") == {"a": 1}
    assert store.read_record("champion", "AAA", "2024-01-08") is None
    assert set(s3.objects("store")) == {"scores/AAA/2024-01-01.parquet", "champion/AAA/2024-01-01.json"}


def test_what_another_machine_writes_is_seen_at_once(s3, store):
    store.write_frame(*PLACE, frame(), {"covered_until": "Monday"})
    assert store.periods("scores", "AAA") == ["2024-01-01"]
    assert store.attributes(*PLACE)["covered_until"] == "Monday"
    S3FileSystem.clear_instance_cache()  # so that the other one shares no listing
    other = Store(root=store.root)
    other.write_frame(*PLACE, frame(2.0), {"covered_until": "Tuesday"})
    other.write_frame("scores", "AAA", "2024-01-08", frame(3.0))
    assert store.periods("scores", "AAA") == ["2024-01-01", "2024-01-08"]
    assert store.attributes(*PLACE)["covered_until"] == "Tuesday"
    assert store.read_frame(*PLACE)["close"].iloc[0] == 2.0


CALLS = {
    "periods": lambda store: store.periods("scores", "AAA"),
    "read": lambda store: store.read_record("champion", "AAA", "2024-01-01"),
    "attributes": lambda store: store.attributes(*PLACE),
    "write": lambda store: store.write_record("champion", "AAA", "2024-01-01", {"a": 1}),
}


@pytest.mark.parametrize("call", CALLS)
def test_a_missing_bucket_is_an_error_not_an_empty_store(s3, call):
    with pytest.raises(StoreAccessError, match=r"there is no bucket 'elsewhere'; make it, or correct store_root"):
        CALLS[call](Store(root="s3://elsewhere/store"))


@pytest.mark.parametrize("call", CALLS)
def test_a_refused_request_names_the_missing_permission(s3, store, call):
    @set_initial_no_auth_action_count(0)
    def refused():
        with pytest.raises(StoreAccessError, match=rf"refused: .*read, write and list in '{BUCKET}'"):
            CALLS[call](store)

    refused()


@pytest.mark.parametrize("call", ["periods", "write"])
def test_a_server_that_is_down_is_retried_and_named(s3, store, call):
    store.write_record("champion", "AAA", "2024-01-01", {"a": 0})
    s3.server.stop()
    began = time.monotonic()
    with pytest.raises(StoreAccessError, match=f"does not answer: .*{s3.url}.*see that its server runs"):
        CALLS[call](store)
    assert time.monotonic() - began < 30


@pytest.mark.long
def test_only_a_server_that_is_down_is_a_transient_fault(s3, store):
    with pytest.raises(StoreAccessError) as missing:
        Store(root="s3://elsewhere/store").periods("scores", "AAA")
    s3.server.stop()
    with pytest.raises(StoreAccessError) as down:
        store.periods("scores", "AAA")
    assert (is_transient(missing.value), is_transient(down.value)) == (False, True)


def cycles(build_project, settings, s3):
    """The same two weeks, with everything on this disk and with everything on S3 but for databases."""
    here = build_project(settings).market_data()
    there = build_project(settings)
    store = Store(root=f"s3://{BUCKET}/store")
    there.registry.client().create_experiment("AAA", artifact_location=f"s3://{BUCKET}/mlflow/AAA")
    there = replace(
        there, store=store, definitions=build_defs(there.settings, {"store": store, "registry": there.registry})
    ).market_data()
    for project in (here, there):
        assert project.run("weekly_cycle", f"AAA|{WEEKS[0]}", f"AAA|{WEEKS[-1]}").success
    return here, there


@pytest.mark.soak
def test_a_weekly_cycle_on_s3_stores_what_one_on_disk_stores(build_project, small, s3):
    small["symbols"] = {"AAA": {**small["symbols"]["AAA"], "recipes": ["lightgbm"]}}
    small["recipes"] = {"lightgbm": small["recipes"]["lightgbm"]}
    here, there = cycles(build_project, small, s3)
    ours = s3.objects("store")
    assert ours == here.stored()
    assert len(ours) > 10 * len(WEEKS) / 2
    assert here.ledger.head("AAA") == there.ledger.head("AAA")
    models = [key for key in s3.objects("mlflow") if key.endswith("algorithm.json")]
    assert len(models) == len(WEEKS), "an artefact of each version, on S3"
    assert not list(there.home.rglob("algorithm.json"))


@pytest.fixture
def stack():
    """Stops at the end what the test has started."""
    with ExitStack() as stack:
        yield stack


@pytest.mark.soak
@pytest.mark.parametrize(
    "options",
    [
        ["--artifacts-destination", f"s3://{BUCKET}/mlflow"],
        ["--default-artifact-root", f"s3://{BUCKET}/mlflow", "--no-serve-artifacts"],
    ],
    ids=["through the server", "directly"],
)
def test_artefacts_of_an_mlflow_server_lie_on_s3(build_project, small, s3, tmp_path, stack, options):
    small["symbols"] = {"AAA": {**small["symbols"]["AAA"], "recipes": ["xgboost"]}}
    small["recipes"] = {"xgboost": small["recipes"]["xgboost"]}
    here, there = build_project(small).market_data(), build_project(small)
    registry = ModelRegistry(tracking_uri=MlflowServer(tmp_path, stack, tuple(options)).start().ready().url)
    store = Store(root=f"s3://{BUCKET}/store")
    definitions = build_defs(there.settings, {"store": store, "registry": registry})
    there = replace(there, store=store, registry=registry, definitions=definitions).market_data()
    for project in (here, there):
        assert project.run("weekly_cycle", f"AAA|{WEEKS[0]}", f"AAA|{WEEKS[-1]}").success
    assert s3.objects("store") == here.stored()
    assert sum(key.endswith("algorithm.json") for key in s3.objects("mlflow")) == len(WEEKS)
    assert registry.aliases.of("AAA") == here.registry.aliases.of("AAA")
