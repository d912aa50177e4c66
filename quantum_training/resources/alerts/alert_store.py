"""The stored alerts: one row per alert and window, with its count and the channels it is still to be sent over.

A row is written before anything is sent, so an alert that cannot be sent now is sent later. Loads SQLAlchemy.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable
from typing import Any, NamedTuple
from uuid import uuid5

import sqlalchemy as sa

from quantum_training.resources.alerts.message import NAMESPACE, Alert, Finding, utc
from quantum_training.resources.database import alerts, insert_missing, transaction

DAY = 86_400.0
GIVE_UP_SECONDS = 7 * DAY
RETENTION_SECONDS = 90 * DAY
CLAIM_SECONDS = 60.0
CLAIM_LIMIT = 100


class NumberedFinding(NamedTuple):
    """A finding and the number of its event in Dagster's log."""

    number: int
    finding: Finding


class PendingAlert(NamedTuple):
    """An alert and the channels that it is still to be sent over."""

    alert: Alert
    channels: tuple[str, ...]


def record(
    url: str,
    findings: Iterable[NumberedFinding],
    channels: Collection[str],
    window_seconds: float,
    now: float,
    ui_url: str = "",
) -> list[Alert]:
    """Store findings. Returns those that start a new alert; the others add to the count of one in this window.

    Recording the same events again changes nothing. Event numbers of each kind must not decrease within a window.
    """
    groups: dict[str, list[NumberedFinding]] = {}
    for numbered in sorted(findings, key=lambda numbered: numbered.number):
        groups.setdefault(numbered.finding.identity, []).append(numbered)

    def work(connection: sa.Connection) -> list[Alert]:
        newest = _newest(connection, groups)
        new_alerts = []
        for identity, group in groups.items():
            row = newest.get(identity)
            if row is not None and row.first_seen > now - window_seconds:
                later = [n.number for n in group if n.number > row.newest_event]
                if later:
                    change = {"count": alerts.c.count + len(later), "last_seen": now, "newest_event": max(later)}
                    connection.execute(alerts.update().where(alerts.c.alert_id == row.alert_id).values(change))
                continue
            first, last = group[0], group[-1]
            new_row = {
                "alert_id": str(uuid5(NAMESPACE, json.dumps([identity, first.number]))),
                "identity": identity,
                "body": first.finding.model_dump_json(),
                "url": f"{ui_url}/runs/{first.finding.run_id}" if ui_url and first.finding.run_id else "",
                "count": len(group),
                "before": row.count if row is not None else 0,
                "newest_event": last.number,
                "first_seen": now,
                "last_seen": now,
                "owed": " ".join(channels),
                "claimed_until": 0.0,
            }
            insert_missing(connection, alerts, [new_row])
            new_alerts.append(_alert(new_row))
        return new_alerts

    return transaction(url, work) if groups else []


def claim(url: str, now: float) -> list[PendingAlert]:
    """The oldest pending alerts, reserved for the caller for a minute.

    An alert that could not be sent for 7 days is given up. One that did not occur for 90 days is deleted.
    """

    def work(connection: sa.Connection) -> list[PendingAlert]:
        connection.execute(alerts.delete().where(alerts.c.last_seen < now - RETENTION_SECONDS))
        until = alerts.c.claimed_until
        unclaimed = sa.or_(until <= now, until > now + CLAIM_SECONDS)  # the latter if a clock was set back
        pending = sa.and_(alerts.c.owed != "", unclaimed)
        old = alerts.c.first_seen < now - GIVE_UP_SECONDS
        connection.execute(alerts.update().where(pending, old).values(owed=""))
        oldest = sa.select(alerts.c.alert_id).where(pending).order_by(alerts.c.first_seen, alerts.c.newest_event)
        alert_ids = connection.execute(oldest.limit(CLAIM_LIMIT)).scalars().all()
        update = alerts.update().where(alerts.c.alert_id.in_(alert_ids), pending)
        claim_rows = update.values(claimed_until=now + CLAIM_SECONDS)
        rows = connection.execute(claim_rows.returning(*alerts.c)).mappings().all()
        rows = sorted(rows, key=lambda row: (row["first_seen"], row["newest_event"]))
        return [PendingAlert(_alert(row), tuple(row["owed"].split())) for row in rows]

    return transaction(url, work)


def mark_sent(url: str, alert_ids: Iterable[str], channel: str) -> None:
    """Record that these alerts were sent over a channel."""
    ids = [str(alert_id) for alert_id in alert_ids]

    def work(connection: sa.Connection) -> None:
        rows = connection.execute(sa.select(alerts.c.alert_id, alerts.c.owed).where(alerts.c.alert_id.in_(ids)))
        for row in rows.all():
            remaining = " ".join(name for name in row.owed.split() if name != channel)
            connection.execute(alerts.update().where(alerts.c.alert_id == row.alert_id).values(owed=remaining))

    transaction(url, work)


def _newest(connection: sa.Connection, identities: Iterable[str]) -> dict[str, Any]:
    """The newest row of each identity."""
    keys, newest = [*identities], dict[str, Any]()
    for start in range(0, len(keys), 500):
        query = alerts.select().where(alerts.c.identity.in_(keys[start : start + 500]))
        for row in connection.execute(query.order_by(alerts.c.first_seen)):
            newest[row.identity] = row
    return newest


def _alert(row: Any) -> Alert:
    finding = json.loads(row["body"])
    fields = {name: row[name] for name in ("alert_id", "count", "before")}
    return Alert(**finding, **fields, first_seen=utc(row["first_seen"]), url=row["url"] or None)
