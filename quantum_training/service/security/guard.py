"""ASGI middleware before every address: Host and Origin, key, rate, size of the body; and the headers of the answer.

Roles are checked by the addresses themselves: `needs`.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Collection

from anyio.to_thread import run_sync
from fastapi import Request
from limits import RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import SlidingWindowCounterRateLimiter
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from quantum_training.service.problems import Problem, problem_response
from quantum_training.service.security.keys import Client, KeyRing, Role
from quantum_training.service.security.request_bounds import MAX_BODY_BYTES, read_body, too_large

WRONG_KEYS_PER_MINUTE = 20
"""Of an address; then only keys that were right before are let in."""
LOCAL = Client("local", "admin")
"""Who asks where there are no keys: the service then listens on loopback only."""
PUBLIC = frozenset({"/alive"})
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
HEADERS = {
    "Content-Security-Policy": "default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none'; "
    "form-action 'self'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Cache-Control": "no-store",
}
"""As OWASP recommends; an address may have set one itself."""


class Guard:
    """The middleware. hosts: names, without port, by which the service may be addressed."""

    def __init__(self, app: ASGIApp, keys: KeyRing, hosts: Collection[str], requests_per_minute: int) -> None:
        self.app, self.keys, self.hosts = app, keys, {host.lower() for host in hosts}
        self._limiter = SlidingWindowCounterRateLimiter(MemoryStorage())
        self._requests = RateLimitItemPerMinute(requests_per_minute)
        self._wrong_keys = RateLimitItemPerMinute(WRONG_KEYS_PER_MINUTE)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        try:
            receive = await self._admit(scope, receive)
        except Problem as problem:
            await problem_response(problem, scope["path"])(scope, receive, send_with_headers)
            return
        await self.app(scope, receive, send_with_headers)

    async def _admit(self, scope: Scope, receive: Receive) -> Receive:
        """The request's `receive`, once it may go on; its client is in the scope's state. Else a Problem."""
        headers, address = Headers(scope=scope), (scope.get("client") or ("unknown", 0))[0]
        self._check_names(headers, scope["method"])
        client = LOCAL if not self.keys or scope["path"] in PUBLIC else await self._client(headers, address)
        if not self._limiter.hit(self._requests, client.name, address):
            rule = f"a client sends at most {self._requests.amount} requests a minute"
            raise Problem(429, "too many requests", rule, "wait a minute", {"Retry-After": "60"})
        scope.setdefault("state", {})["client"] = client
        if scope["method"] in SAFE_METHODS:
            return receive
        length = headers.get("content-length", "0")
        if not length.isdigit() or int(length) > MAX_BODY_BYTES:
            raise too_large()
        return await read_body(receive)

    def _check_names(self, headers: Headers, method: str) -> None:
        """Problem 421 if the Host is another's, 403 if a page of another origin asks."""
        host = headers.get("host", "")
        if without_port(host) not in self.hosts:
            rule = "requests address the service by one of its names"
            raise Problem(421, "the Host header names another host", rule, "add the name to service.hosts")
        origin = headers.get("origin")
        foreign = origin is not None and origin.partition("://")[2].lower() != host.lower()
        if foreign or (method not in SAFE_METHODS and headers.get("sec-fetch-site", "same-origin") == "cross-site"):
            rule = "only the pages of this service may ask from a browser"
            raise Problem(403, "a page of another origin asks", rule, "ask from a program or from those pages")

    async def _client(self, headers: Headers, address: str) -> Client:
        """Whose key the request has. Problem 401 if it has none or a wrong one, 429 after too many wrong ones."""
        key = presented_key(headers)
        if key is None:
            raise _unauthorised("the request has no key")
        if known := self.keys.known(key):
            return known
        if not self._limiter.test(self._wrong_keys, address):
            rule = f"an address sends at most {WRONG_KEYS_PER_MINUTE} wrong keys a minute"
            raise Problem(429, "too many wrong keys", rule, "wait a minute", {"Retry-After": "60"})
        client = await run_sync(self.keys.client, key)
        if client is None:
            self._limiter.hit(self._wrong_keys, address)
            raise _unauthorised("the key is wrong")
        return client


def _unauthorised(detail: str) -> Problem:
    remedy = "send `Authorization: Bearer KEY`; python -m quantum_training.service.new_key makes keys"
    return Problem(
        401, detail, "every request has a key", remedy, {"WWW-Authenticate": 'Basic realm="quantum_training"'}
    )


def presented_key(headers: Headers) -> str | None:
    """The key of a request: of X-API-Key, Bearer, or Basic with the name as user and the rest as password."""
    if key := headers.get("x-api-key"):
        return key
    scheme, _, value = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return value.strip() or None
    if scheme.lower() == "basic":
        try:
            user, _, password = base64.b64decode(value, validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            return None
        return password if password.startswith(f"{user}.") else f"{user}.{password}"
    return None


def without_port(host: str) -> str:
    """The name in a Host header."""
    name, colon, port = host.rpartition(":")
    return (name if colon and (port.isdigit() or not port) else host).lower()


def client_of(request: Request) -> Client:
    """Who asks."""
    client: Client = request.scope["state"]["client"]
    return client


def needs(role: Role) -> Callable[[Request], Client]:
    """A dependency that gives the client, or raises Problem 403 if its role is below this one."""

    def check(request: Request) -> Client:
        client = client_of(request)
        if not client.may(role):
            detail = f"the role of {client.name} is {client.role}"
            raise Problem(403, detail, f"this needs the role {role}", f"use a key with the role {role}")
        return client

    return check
