"""A web server on loopback that stands in for a venue: it answers from real candles, and fails as a test tells it to.

Only an answer that never comes is limited in time. The fault of a request is chosen when the client sends it, and the
client waits long for every other answer: how busy the machine is decides nothing.
"""

from __future__ import annotations

import json
import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

NUMBER = "X-Request-Number"
HANG_SECONDS = 0.3
"""How long the client waits for an answer that never comes."""
PATIENT_SECONDS = 120.0
"""How long it waits for all others: the time-out of the sources under test."""


@dataclass
class Request:
    """A request of the client: when it was sent, with which time-out, and its fault."""

    path: str
    at: float
    timeout: float | None
    fault: Any
    query: dict[str, Any] = field(default_factory=dict)


@dataclass
class Answer:
    """An honest answer with another status than 200, or 404 for nothing."""

    status: int
    body: Any


class Venue:
    """The server. `faults` maps a part of a path to an iterator: each request there takes the next fault, None is none.

    A fault is a function of the true answer, or {"status": ..., "headers": ..., "body" or "text": ...}, or one of
    "hang" (no answer within the client's time-out), "reset" (the connection breaks before the answer), "cut" (it ends
    before the answer does), "half" (half of the JSON), "html".
    """

    def __init__(self) -> None:
        self.faults: dict[str, Iterator[Any]] = {}
        self.requests: list[Request] = []
        self.url = ""
        self.closed = threading.Event()

    def answer(self, path: str, query: dict[str, str]) -> Any:
        """The true answer, to be sent as JSON, or an Answer; None for a path that does not exist."""
        raise NotImplementedError

    def requests_to(self, part: str) -> list[Request]:
        """The requests to paths with this part."""
        return [request for request in self.requests if part in request.path]

    def prepare(self, url: str, options: dict[str, Any]) -> dict[str, Any]:
        """The options with which a client sends a request: it is counted here, and its fault is chosen."""
        if not url.startswith(self.url):
            return options
        path = urlsplit(url).path
        fault = next((next(faults, None) for part, faults in self.faults.items() if part in path), None)
        self.requests.append(Request(path, time.monotonic(), options.get("timeout"), fault))
        headers = {**(options.get("headers") or {}), NUMBER: str(len(self.requests) - 1)}
        return {**options, "headers": headers, **({"timeout": HANG_SECONDS} if fault == "hang" else {})}


@contextmanager
def running(venue: Venue) -> Iterator[None]:
    """The venue's server runs, at `venue.url`, as long as the block does."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"venue": venue}))
    server.daemon_threads = True
    venue.url = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    try:
        yield
    finally:
        venue.closed.set()
        server.shutdown()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    venue: Venue

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        self.respond(url.path, dict(parse_qsl(url.query)))

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.respond(urlsplit(self.path).path, json.loads(body))

    def respond(self, path: str, query: dict[str, Any]) -> None:
        """Answer a request with this query, or with this JSON in its body."""
        request = self.venue.requests[int(self.headers[NUMBER])]
        request.query = query
        truth, fault = self.venue.answer(path, request.query), request.fault
        if fault == "hang":
            self.venue.closed.wait(PATIENT_SECONDS)
        elif fault == "reset":
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()
        elif isinstance(fault, dict):
            text = fault.get("text", json.dumps(fault.get("body", {})))
            self.reply(fault["status"], text.encode(), fault.get("headers", {}))
        else:
            self.reply_with(truth, fault)

    def reply_with(self, truth: Any, fault: Any) -> None:
        """Reply with the truth as JSON, or with what the fault makes of it."""
        if isinstance(truth, Answer):
            return self.reply(truth.status, json.dumps(truth.body).encode())
        body = json.dumps(fault(truth) if callable(fault) else truth).encode()
        if fault == "cut":
            self.reply(200, body[: len(body) // 2], {"Content-Length": str(len(body))})
        elif fault == "half":
            self.reply(200, body[: len(body) // 2])
        elif fault == "html":
            self.reply(200, b"<html><body>Please wait</body></html>", {"Content-Type": "text/html"})
        else:
            self.reply(404 if truth is None else 200, body)

    def reply(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        defaults = {"Content-Type": "application/json", "Content-Length": str(len(body)), "Connection": "close"}
        for name, value in {**defaults, **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)
        self.close_connection = True

    def log_message(self, *args: Any) -> None:
        pass
