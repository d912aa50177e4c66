"""What stands before every address: keys and roles, Host and Origin, rates, bounds, headers."""

import base64

import anyio
import pytest
from fastapi.testclient import TestClient

from quantum_training.service.app import build_app
from quantum_training.service.problems import Problem
from quantum_training.service.security import request_bounds
from quantum_training.service.security.guard import HEADERS, WRONG_KEYS_PER_MINUTE
from quantum_training.service.security.keys import make_key
from quantum_training_tests.service.conftest import BASE_URL, resources

READ = "/api/v2/recipes"


@pytest.fixture(scope="module")
def keys():
    """Keys and their lines by role."""
    return {role: make_key(f"the-{role}", role) for role in ("read", "operate", "admin")}


@pytest.fixture
def guarded(recorded, keys, monkeypatch):
    """A client, without a key, of a service that has keys."""
    monkeypatch.setenv("SERVICE_KEYS", "\n".join(line for _, line in keys.values()))
    return TestClient(build_app(recorded.settings, resources(recorded)), base_url=BASE_URL)


def test_every_address_but_alive_needs_a_key(guarded):
    paths = guarded.app.openapi()["paths"]
    assert len(paths) > 20
    for path, methods in paths.items():
        for method in methods:
            status = guarded.request(method, path.replace("{", "").replace("}", "")).status_code
            assert status == (200 if path == "/alive" else 401), (method, path, status)
    for path in ("/openapi.json", "/nowhere", "/docs"):
        assert guarded.get(path).status_code == 401


def test_a_key_is_taken_from_three_headers(guarded, keys):
    key = keys["read"][0]
    user, _, password = key.partition(".")
    basic = base64.b64encode(f"{user}:{password}".encode()).decode()
    for headers in ({"X-API-Key": key}, {"Authorization": f"Bearer {key}"}, {"Authorization": f"Basic {basic}"}):
        assert guarded.get(READ, headers=headers).status_code == 200
    for wrong in ("Bearer", "Bearer ", "Basic ?", "Basic /w==", "Digest x", f"Bearer {key}x"):
        response = guarded.get(READ, headers={"Authorization": wrong})
        assert response.status_code == 401
        assert key not in response.text


@pytest.mark.long
def test_a_thousand_wrong_keys_are_refused_and_lock_out_nobody_who_was_in(guarded, keys):
    headers = {"X-API-Key": keys["read"][0]}
    assert guarded.get(READ, headers=headers).status_code == 200
    statuses = [guarded.get(READ, headers={"X-API-Key": f"the-read.{n}"}).status_code for n in range(1000)]
    assert WRONG_KEYS_PER_MINUTE <= statuses.count(401) <= 5 * WRONG_KEYS_PER_MINUTE  # of some minutes at the most
    assert statuses.count(401) + statuses.count(429) == 1000
    assert guarded.get(READ, headers=headers).status_code == 200


def test_a_client_that_asks_too_often_has_to_wait(recorded, monkeypatch):
    service = recorded.settings.service.model_copy(update={"requests_per_minute": 3})
    settings = recorded.settings.model_copy(update={"service": service})
    client = TestClient(build_app(settings, resources(recorded)), base_url=BASE_URL)
    responses = [client.get(READ) for _ in range(5)]
    assert [response.status_code for response in responses] == [200, 200, 200, 429, 429]
    assert responses[-1].headers["retry-after"] == "60"


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "", "127.0.0.1@evil", "[::2]:8005", "a b"])
def test_a_request_for_another_host_is_refused(client, host):
    assert client.get(READ, headers={"Host": host}).status_code == 421


@pytest.mark.parametrize("host", ["127.0.0.1:8005", "localhost", "LOCALHOST:1", "[::1]:8005", "[::1]"])
def test_the_names_of_loopback_are_known(client, host):
    assert client.get(READ, headers={"Host": host}).status_code == 200


def test_a_page_of_another_origin_is_refused(client):
    for origin in ("http://evil.example", "null", "http://127.0.0.1:3000", "http://127.0.0.1:8005.evil.example"):
        assert client.get(READ, headers={"Origin": origin}).status_code == 403
    assert client.get(READ, headers={"Origin": BASE_URL}).status_code == 200
    response = client.options(READ, headers={"Origin": BASE_URL, "Access-Control-Request-Method": "GET"})
    assert not [name for name in response.headers if name.startswith("access-control")]


def test_a_body_is_bounded_in_size_and_time(client, monkeypatch):
    limit = request_bounds.MAX_BODY_BYTES
    assert client.post(READ, content=b"x" * (limit + 1)).status_code == 413
    assert client.post(READ, content=iter([b"x" * limit, b"x"])).status_code == 413
    assert client.post(READ, headers={"Content-Length": "-1"}, content=b"x").status_code == 413
    monkeypatch.setattr(request_bounds, "BODY_SECONDS", 0.05)

    async def receive():
        await anyio.sleep(1)

    async def read():
        await request_bounds.read_body(receive)

    with pytest.raises(Problem, match="did not arrive"):
        anyio.run(read)


def test_every_answer_has_the_headers(client):
    for path in (READ, "/nowhere", "/api/v2/symbols/ZZZ"):
        answered = client.get(path).headers
        assert {name: answered[name] for name in HEADERS} == HEADERS
    assert "server" not in client.get(READ).headers
