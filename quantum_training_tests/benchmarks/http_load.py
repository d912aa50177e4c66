"""Clients that cost little themselves: connections of asyncio that send prepared bytes and read whole answers."""

from __future__ import annotations

import asyncio
import json
import time
from typing import NamedTuple
from urllib.parse import urlsplit


class Load(NamedTuple):
    """Seconds of each answer, and answers a second."""

    seconds: list[float]
    rate: float

    def milliseconds(self, share: float) -> float:
        """So long this share of the answers took at most."""
        return 1e3 * sorted(self.seconds)[round(share * (len(self.seconds) - 1))]


def request_to(url: str, body: dict[str, str] | None = None) -> bytes:
    """The bytes of a GET, or of a POST of JSON."""
    parts = urlsplit(url)
    target = parts.path + (f"?{parts.query}" if parts.query else "")
    content = json.dumps(body).encode() if body else b""
    head = [f"{'POST' if body else 'GET'} {target} HTTP/1.1", f"Host: {parts.netloc}"]
    head += ["Content-Type: application/json", f"Content-Length: {len(content)}"] if body else []
    return "\r\n".join([*head, "", ""]).encode() + content


def closed_loop(url: str, requests: list[bytes], clients: int, answers: int) -> Load:
    """Each client asks again as soon as it is answered; together so many answers."""
    return asyncio.run(_all(url, requests, clients, answers, None))


def open_loop(url: str, requests: list[bytes], clients: int, answers: int, rate: float) -> Load:
    """The clients ask so often a second in all, as people do: waiting for an earlier answer counts as waiting."""
    return asyncio.run(_all(url, requests, clients, answers, rate))


async def _all(url: str, requests: list[bytes], clients: int, answers: int, rate: float | None) -> Load:
    parts, begun = urlsplit(url), time.perf_counter()

    async def client(number: int) -> list[float]:
        reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
        seconds = []
        for place in range(number, answers, clients):
            due = time.perf_counter() if rate is None else begun + place / rate
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            writer.write(requests[place % len(requests)])
            await _answer(reader)
            seconds.append(time.perf_counter() - due)
        writer.close()
        return seconds

    each = await asyncio.gather(*(client(number) for number in range(clients)))
    return Load([s for seconds in each for s in seconds], answers / (time.perf_counter() - begun))


async def _answer(reader: asyncio.StreamReader) -> None:
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    if b" 200 " not in head[:20]:
        raise RuntimeError(head.decode())
    await reader.readexactly(int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0]))
