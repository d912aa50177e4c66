"""The ledger's hash chain: each row's SHA-256 covers its entry and the row before. Storage: resources/ledger.py.

One chain per symbol, numbered from 1. Each row's hash covers its entry and the hash before it, so an edit, a removal,
a swap or an insertion breaks the chain at that row. A chain that was cut at its end still verifies: compare
its head with a recorded one.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, JsonValue

GENESIS = "0" * 64
RESTORED = "restored"
"""Key in the payload of a row that was restored from a record: which one, by whom and why."""


class LedgerError(ValueError):
    """A row does not follow from the one before it. The message names the row."""


def canonical(value: Mapping[str, Any]) -> str:
    """The one JSON text of an object: sorted keys, no spaces, ASCII. ValueError if it holds NaN or infinity."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def _in_utc(time: datetime) -> datetime:
    try:
        time = time.astimezone(UTC)
    except OverflowError as error:
        raise ValueError("outside the years 1 to 9999 in UTC") from error
    return datetime.combine(time.date(), time.time(), UTC)  # a pandas Timestamp becomes a plain datetime


def _plain(payload: dict[str, JsonValue]) -> dict[str, JsonValue]:
    plain: dict[str, JsonValue] = json.loads(canonical(payload))
    return plain


Text = Annotated[str, Field(pattern=r"^[^\x00]*$")]  # Postgres keeps no NUL
Word = Annotated[Text, Field(min_length=1, max_length=200)]
Instant = Annotated[AwareDatetime, AfterValidator(_in_utc)]


class Entry(BaseModel):
    """What took effect. A further field would break every chain already written: put new things into the payload."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    symbol: Word = Field(description="Whose chain.")
    key: Word = Field(description="What makes the entry one: the same key is never written twice to a chain.")
    kind: Word = Field(description="What sort of thing took effect, as `promotion`.")
    effective: Instant = Field(description="From when, UTC, microseconds.")
    actor: Word = Field(description="Who decided: a rule or a person.")
    reason: Text = Field(description="Why, for people.")
    payload: Annotated[dict[str, JsonValue], AfterValidator(_plain)] = Field(
        {}, description="The details as JSON, without NaN and infinity."
    )


class Row(Entry):
    """An entry in its place of the chain."""

    number: int = Field(ge=1, description="Place in the symbol's chain, from 1.")
    previous_hash: str = Field(description="Hash of the row before; 64 zeros before the first.")
    hash: str = Field(description="SHA-256, hexadecimal, of the entry and the previous hash.")

    @property
    def original_payload(self) -> dict[str, JsonValue]:
        """The payload without what a restoration has added."""
        return {key: value for key, value in self.payload.items() if key != RESTORED}


def chain(previous: Row | None, entry: Entry) -> Row:
    """The row of `entry` after `previous`, or the first row. LedgerError where they are of two symbols."""
    number, before, digest = _place(previous, entry)
    fields = entry.model_dump(mode="json", include=set(Entry.model_fields))
    return Row(**fields, number=number, previous_hash=before, hash=digest)


def _place(previous: Row | None, entry: Entry) -> tuple[int, str, str]:
    """Number, previous hash and hash of the row of `entry` after `previous`. LedgerError as in `chain`."""
    if previous and previous.symbol != entry.symbol:
        raise LedgerError(f"{entry.symbol}: key {entry.key} cannot follow a row of {previous.symbol}")
    fields = entry.model_dump(mode="json", include=set(Entry.model_fields))
    before = previous.hash if previous else GENESIS
    digest = hashlib.sha256(canonical({**fields, "previous_hash": before}).encode()).hexdigest()
    return previous.number + 1 if previous else 1, before, digest


def verify(rows: Iterable[Row], head: str | None = None) -> None:
    """Check one symbol's whole chain, oldest row first, and that it ends with hash `head` where that is given.

    LedgerError names the first row that does not follow.
    """
    previous: Row | None = None
    for place, row in enumerate(rows, 1):
        if (row.number, row.previous_hash, row.hash) != _place(previous, row):  # the hash covers all else
            after = f"row {previous.number} ({previous.key})" if previous else "the start"
            raise LedgerError(
                f"{row.symbol}: row {row.number} ({row.key}), in place {place}, does not follow from {after}: "
                "it was changed, moved or put in, or one before it was taken out"
            )
        previous = row
    end = previous.hash if previous else GENESIS
    if head is not None and end != head:
        raise LedgerError(f"the chain ends with {end}, not with the known head {head}: rows are missing at its end")
