"""Slow and greedy connections on real sockets: they are closed, and other clients are answered meanwhile."""

import os
import socket
import sys
import time
from contextlib import ExitStack, suppress

import pytest
import uvicorn

from quantum_training.service.security import connections
from quantum_training.service.security.connections import BoundedConnection
from quantum_training_tests.support.processes import free_port, healthy, start, wait_for
from quantum_training_tests.support.web_server import running

REQUEST = b"GET /alive HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
LONG_ANSWER = b"x" * 20_000_000


async def answer(scope, receive, send):
    """An application: `/long` has more bytes than all buffers, other addresses answer at once."""
    body = LONG_ANSWER if scope["path"] == "/long" else b"alive"
    length = str(len(body)).encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", length)]})
    await send({"type": "http.response.body", "body": body})


@pytest.fixture
def port(monkeypatch):
    """The port of a server with short bounds."""
    for name in ("HEADER_SECONDS", "READING_SECONDS"):
        monkeypatch.setattr(connections, name, 0.5)
    monkeypatch.setattr(connections, "CONNECTIONS_OF_ADDRESS", 20)
    port = free_port()
    config = uvicorn.Config(answer, port=port, http=BoundedConnection, lifespan="off", log_level="error")
    with running(uvicorn.Server(config)):
        yield port


def connect(port):
    client = socket.create_connection(("127.0.0.1", port), timeout=20)
    client.settimeout(20)
    return client


def ask(client, request=REQUEST):
    client.sendall(request)
    return client.recv(65536)


def is_closed(client):
    """Does the server close the connection? False if it sends something instead."""
    with suppress(ConnectionError):
        return client.recv(65536) == b""
    return True


def trickled(client, byte, seconds=20):
    """Send a byte now and then until the server closes the connection. Returns whether it did."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            client.sendall(byte)
        except ConnectionError:
            return True
        time.sleep(0.1)
    return False


@pytest.mark.parametrize("begun", [b"", REQUEST[:1], REQUEST[:-2], REQUEST + REQUEST[:5]])
def test_a_connection_without_whole_headers_is_closed(port, begun):
    with connect(port) as client, connect(port) as other:
        client.sendall(begun)
        if begun.startswith(REQUEST):
            assert b"200 OK" in client.recv(65536)
        assert b"200 OK" in ask(other)
        assert is_closed(client)


@pytest.mark.parametrize(("begun", "byte"), [(REQUEST[:-2] + b"A: ", b"b"), (b"", b"\r\n"), (REQUEST, b"\r\n")])
def test_a_trickle_does_not_keep_a_connection(port, begun, byte):
    with connect(port) as client:
        client.sendall(begun)
        assert trickled(client, byte)


def test_headers_without_end_are_cut_off(port, monkeypatch):
    monkeypatch.setattr(connections, "HEADER_SECONDS", 60.0)
    with connect(port) as client, pytest.raises(ConnectionError):
        client.sendall(REQUEST[:-2] + b"A: " + b"b" * 1000 * connections.MAX_HEADER_BYTES)


def test_a_client_that_asks_again_and_again_is_answered(port):
    with connect(port) as client:
        for _ in range(8):
            assert b"200 OK" in ask(client)
            time.sleep(0.1)


def test_an_answer_that_nobody_reads_is_given_up(port):
    with connect(port) as client:
        client.sendall(REQUEST.replace(b"/alive", b"/long"))
        time.sleep(1.5)
        with connect(port) as other:
            assert b"200 OK" in ask(other)
        received = 0
        with suppress(ConnectionError):
            while part := client.recv(1 << 20):
                received += len(part)
        assert received < len(LONG_ANSWER)


def test_one_address_cannot_take_all_connections(port):
    with ExitStack() as stack:
        clients = [stack.enter_context(connect(port)) for _ in range(connections.CONNECTIONS_OF_ADDRESS)]
        assert b"200 OK" in ask(clients[-1])
        assert is_closed(stack.enter_context(connect(port)))
        clients[0].close()
        assert b"200 OK" in ask(clients[1])
        wait_for("free place", lambda: b"200 OK" in ask(stack.enter_context(connect(port))), 5)


@pytest.mark.long
def test_the_service_closes_slow_connections_and_answers_others(tmp_path):
    port = free_port()
    environment = {**os.environ, "DAGSTER_HOME": str(tmp_path)}
    command = [sys.executable, "-m", "quantum_training.service", "--port", str(port)]
    with ExitStack() as stack:
        start(stack, command, tmp_path / "log", environment, tmp_path)
        wait_for("service", lambda: healthy(f"http://127.0.0.1:{port}/alive"), 60, (tmp_path / "log").read_text)
        slow = [stack.enter_context(connect(port)) for _ in range(100)]
        for client in slow:
            client.sendall(REQUEST[:-2])
        begun = time.monotonic()
        while time.monotonic() < begun + 8:
            assert healthy(f"http://127.0.0.1:{port}/alive")
            for client in slow:
                client.sendall(b"A: b\r\n")
            time.sleep(0.5)
        assert all(is_closed(client) for client in slow)
        assert time.monotonic() < begun + 14
        assert healthy(f"http://127.0.0.1:{port}/alive")
