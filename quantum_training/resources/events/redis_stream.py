"""A queue of events in a Redis stream. A consumer is a consumer group. Needs redis-py, the extra `redis`."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any, TypeVar

from quantum_training.resources.events.older_streams import Entry, older_entries
from quantum_training.resources.events.payloads import Event
from quantum_training.resources.events.queue import Delivery
from quantum_training.settings.paths import without_password

T = TypeVar("T")
MAX_LENGTH = 100_000
TIMEOUT_SECONDS = 5
RETRIES = 3
READER = "reader"
FIELD = b"event"
OUTBOX_STREAM, INBOX_STREAM = "quantum_training:outbox", "quantum_training:inbox"
RELAY, BATCH = "relay", 500
"""The consumer that moves events between the tables and the streams, and the entries that it moves at a time."""


class RedisError(RuntimeError):
    """Redis failed. The message names it, without its password, and says what to do."""


class RedisQueue:
    """Events by stream; each entry holds an event's JSON in the field `event`.

    An entry that a reader took and did not acknowledge, because it died, is read again after `reclaim_seconds`.
    Publishing twice makes two entries with the same event id. A stream keeps about its newest 100,000 entries.
    """

    def __init__(self, url: str, stream: str, reclaim_seconds: float = 60.0) -> None:
        self.url, self.stream, self.reclaim_seconds = url, stream, reclaim_seconds

    def publish(self, events: Iterable[Event]) -> None:
        self.send(e.model_dump_json() for e in events)

    def send(self, texts: Iterable[str]) -> None:
        """Publish events that are JSON already, and what older_streams.py makes of them."""
        texts = list(texts)
        entries = [*(Entry(self.stream, {FIELD: text}) for text in texts), *older_entries(texts)]

        def add(client: Any) -> None:
            pipeline = client.pipeline(transaction=True)
            for stream, fields in entries:
                pipeline.xadd(stream, fields, maxlen=MAX_LENGTH, approximate=True)
            pipeline.execute()

        self._call(add)

    def read(self, consumer: str, limit: int) -> list[Delivery]:
        def take(client: Any) -> list[Delivery]:
            self._join(client, consumer)
            idle = int(self.reclaim_seconds * 1000)
            _, entries, _ = client.xautoclaim(self.stream, consumer, READER, min_idle_time=idle, count=limit)
            if len(entries) < limit:
                streams = client.xreadgroup(consumer, READER, {self.stream: ">"}, count=limit - len(entries))
                entries = [*entries, *(entry for _, new_entries in streams for entry in new_entries)]
            return [_delivery(id_.decode(), fields) for id_, fields in entries]

        return self._call(take)

    def acknowledge(self, consumer: str, ids: Iterable[str]) -> None:
        ids = list(ids)
        if ids:
            self._call(lambda client: client.xack(self.stream, consumer, *ids))

    def _join(self, client: Any, consumer: str) -> None:
        from redis.exceptions import ResponseError

        try:
            client.xgroup_create(self.stream, consumer, id="0", mkstream=True)
        except ResponseError as error:
            if "BUSYGROUP" not in str(error):
                raise

    def _call(self, function: Callable[[Any], T]) -> T:
        return call_redis(self.url, function)


def call_redis(url: str, function: Callable[[Any], T]) -> T:
    """The result of `function(client)` with a client of Redis. RedisError if it is out of reach."""
    try:
        import redis
        from redis.backoff import ExponentialWithJitterBackoff
        from redis.retry import Retry
    except ModuleNotFoundError as error:
        raise RedisError("event_bus_url names Redis, which needs the extra: quantum_training[redis]") from error
    try:
        with redis.Redis.from_url(
            url,
            protocol=2,
            socket_timeout=TIMEOUT_SECONDS,
            socket_connect_timeout=TIMEOUT_SECONDS,
            retry=Retry(ExponentialWithJitterBackoff(base=0.05, cap=1), RETRIES),
        ) as client:
            return function(client)
    except redis.RedisError as error:
        raise RedisError(
            f"{without_password(url)}: {error}. Start Redis or mend event_bus_url; no event is lost, "
            "it is sent or read again later"
        ) from error


def _delivery(id_: str, fields: dict[bytes, bytes]) -> Delivery:
    """The entry's event. Redis numbers entries by the milliseconds of their arrival, unless the writer does."""
    milliseconds = int(id_.partition("-")[0])
    try:
        received_at = datetime.fromtimestamp(milliseconds / 1000, UTC)
    except (OverflowError, ValueError, OSError):
        received_at = None
    return Delivery(id_, _text(fields), received_at)


def _text(fields: dict[bytes, bytes]) -> str:
    """The event of an entry. If it has none, as the flat messages of other systems, all its fields as JSON."""
    if FIELD in fields and (len(fields) == 1 or fields[FIELD].lstrip().startswith(b"{")):
        return fields[FIELD].decode(errors="backslashreplace")
    plain = {k.decode(errors="backslashreplace"): v.decode(errors="backslashreplace") for k, v in fields.items()}
    return json.dumps(plain)
