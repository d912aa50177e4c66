"""The types of an alert and of the message that carries several, and their text. Storage: alert_store.py."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Literal
from uuid import UUID, uuid5

from pydantic import BaseModel, ConfigDict, Field, field_validator

NAMESPACE = UUID("0b8c5f6e-97a1-5e0e-8a3c-6a4f4b1f2d5b")
MAX_LINE = 600
MAX_SYMBOLS, MAX_GROUPS = 10, 20
TEXT_LIMIT = 12_000

VARYING = re.compile(
    r"\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b|\b[0-9a-f]{12,}\b|\d+(?:[.,:+-]\d+|T\d+|e-?\d+)*", re.IGNORECASE
)
"""Ids, times and numbers: the parts in which two alerts about the same problem differ."""


class Finding(BaseModel):
    """Something is wrong: with what, why, and what to do about it. Each text is cut to one line of 600 characters."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["run_failure", "check_failure"] = Field(description="What found it.")
    severity: Literal["ERROR", "WARN"] = Field(description="WARN only if `alerts.warnings` is set.")
    symbol: str | None = Field(description="The symbol; null if it concerns no single one.")
    place: str = Field(description="Job, or asset and check, with the partition.")
    cause: str = Field(description="What went wrong, on one line.")
    next_step: str = Field(description="What to do.")
    run_id: str = Field(description="The Dagster run; empty for a check reported without one.")

    @field_validator("symbol", "place", "cause", "next_step", "run_id")
    @classmethod
    def _one_line(cls, value: str | None) -> str | None:
        return value if value is None else one_line(value)

    @property
    def identity(self) -> str:
        """Equal for findings about the same problem of the same symbol: ids, times and numbers are ignored."""
        texts = [VARYING.sub("#", part) for part in (self.cause, self.next_step)]
        return str(uuid5(NAMESPACE, json.dumps([self.kind, self.severity, self.symbol, *texts])))


class Alert(Finding):
    """A finding to be sent. Delivery is at least once: a reader drops an `alert_id` that it already has."""

    alert_id: UUID = Field(description="Of this alert, however often it is sent.")
    first_seen: datetime = Field(description="When it was first found in this window, UTC.")
    count: int = Field(ge=1, description="How often in this window until it was sent.")
    before: int = Field(0, ge=0, description="How often in the window before.")
    url: str | None = Field(description="The run in the Dagster UI.")


class AlertMessage(BaseModel):
    """The body of the webhook's POST: `text` for people, as Slack and Mattermost show it, the rest for programs."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    text: str = Field(description="All of it in words.")
    message_id: UUID = Field(description="The same for the same alerts.")
    schema_version: Literal[1] = 1
    alerts: tuple[Alert, ...] = Field(min_length=1)


def message_of(alerts: Iterable[Alert]) -> AlertMessage:
    """The message that carries these alerts."""
    alerts = tuple(alerts)
    message_id = uuid5(NAMESPACE, json.dumps(sorted(str(alert.alert_id) for alert in alerts)))
    return AlertMessage(text=text_of(alerts), message_id=message_id, alerts=alerts)


def text_of(alerts: Iterable[Alert]) -> str:
    """The alerts as text. One paragraph holds the same problem of several symbols."""
    groups: dict[tuple[str, ...], list[Alert]] = {}
    for alert in alerts:
        texts = (alert.cause, alert.next_step)
        problem = tuple(VARYING.sub("#", t.replace(alert.symbol, "*") if alert.symbol else t) for t in texts)
        groups.setdefault((alert.severity, *problem), []).append(alert)
    paragraphs = [_paragraph(group) for group in [*groups.values()][:MAX_GROUPS]]
    omitted = len(groups) - len(paragraphs)
    return "\n\n".join([*paragraphs, *([f"and {omitted} more"] if omitted else [])])[:TEXT_LIMIT]


def one_line(text: str) -> str:
    """The text on one line of bounded length, without control characters and lone surrogates."""
    plain = "".join(c if c.isprintable() else " " for c in text.encode(errors="backslashreplace").decode())
    line = " ".join(plain.split())
    return line if len(line) <= MAX_LINE else f"{line[: MAX_LINE - 4]} ..."


def utc(seconds: float) -> datetime:
    """The time of a stored number of seconds."""
    return datetime.fromtimestamp(seconds, UTC)


def _paragraph(group: list[Alert]) -> str:
    first = group[0]
    names = sorted({alert.symbol or "all symbols" for alert in group})
    who = ", ".join(names[:MAX_SYMBOLS]) + (f" and {len(names) - MAX_SYMBOLS} more" if names[MAX_SYMBOLS:] else "")
    count, before = sum(alert.count for alert in group), sum(alert.before for alert in group)
    times = [f"{count} times"] if count > len(group) else []
    times += [f"{before} times in the window before"] if before else []
    return "\n".join(
        [
            f"{first.severity} {who}: {first.place}" + (f" ({', '.join(times)})" if times else ""),
            f"Cause: {first.cause}",
            f"Next step: {first.next_step}",
            *([first.url] if first.url else []),
        ]
    )
