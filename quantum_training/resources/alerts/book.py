"""The book of alerts: which were found, how often, and which are still to be sent. It loads SQLAlchemy.

One row per alert and window. A row is written before anything is sent, so what cannot be sent now is sent later.
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
KEPT_SECONDS = 90 * DAY
CLAIM_SECONDS = 60.0
AT_ONCE = 100


class Found(NamedTuple):
    """A finding and the number of the event in Dagster's log that it was read from."""

    number: int
    finding: Finding


class Owed(NamedTuple):
    """An alert and the channels that it has still to be sent over."""

    alert: Alert
    channels: tuple[str, ...]


def record(
    url: str, found: Iterable[Found], channels: Collection[str], window_seconds: float, now: float, ui_url: str = ""
) -> list[Alert]:
    """Write down what was found; returns the alerts that are new. The others were found in this window before.

    Recording the same events again changes nothing. Event numbers of each kind must not fall within a window.
    """
    same: dict[str, list[Found]] = {}
    for one in sorted(found, key=lambda one: one.number):
        same.setdefault(one.finding.identity, []).append(one)

    def work(connection: sa.Connection) -> list[Alert]:
        newest = _newest(connection, same)
        fresh = []
        for identity, group in same.items():
            row = newest.get(identity)
            if row is not None and row.first_seen > now - window_seconds:
                more = [one.number for one in group if one.number > row.newest_event]
                if more:
                    change = {"count": alerts.c.count + len(more), "last_seen": now, "newest_event": max(more)}
                    connection.execute(alerts.update().where(alerts.c.alert_id == row.alert_id).values(change))
                continue
            first, last = group[0], group[-1]
            row_of = {
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
            insert_missing(connection, alerts, [row_of])
            fresh.append(_alert(row_of))
        return fresh

    return transaction(url, work) if same else []


def claim(url: str, now: float) -> list[Owed]:
    """The oldest alerts that are to be sent; nobody else is given them for a minute.

    What could not be sent for 7 days is given up, and what was last seen 90 days ago is forgotten.
    """

    def work(connection: sa.Connection) -> list[Owed]:
        connection.execute(alerts.delete().where(alerts.c.last_seen < now - KEPT_SECONDS))
        until = alerts.c.claimed_until
        by_nobody = sa.or_(until <= now, until > now + CLAIM_SECONDS)  # the latter where a clock was set back
        waits = sa.and_(alerts.c.owed != "", by_nobody)
        old = alerts.c.first_seen < now - GIVE_UP_SECONDS
        connection.execute(alerts.update().where(waits, old).values(owed=""))
        oldest = sa.select(alerts.c.alert_id).where(waits).order_by(alerts.c.first_seen, alerts.c.newest_event)
        chosen = connection.execute(oldest.limit(AT_ONCE)).scalars().all()
        taken = alerts.update().where(alerts.c.alert_id.in_(chosen), waits).values(claimed_until=now + CLAIM_SECONDS)
        rows = connection.execute(taken.returning(*alerts.c)).mappings().all()
        rows = sorted(rows, key=lambda row: (row["first_seen"], row["newest_event"]))
        return [Owed(_alert(row), tuple(row["owed"].split())) for row in rows]

    return transaction(url, work)


def sent(url: str, alert_ids: Iterable[str], channel: str) -> None:
    """These alerts went over a channel."""
    wanted = [str(alert_id) for alert_id in alert_ids]

    def work(connection: sa.Connection) -> None:
        rows = connection.execute(sa.select(alerts.c.alert_id, alerts.c.owed).where(alerts.c.alert_id.in_(wanted)))
        for row in rows.all():
            left = " ".join(name for name in row.owed.split() if name != channel)
            connection.execute(alerts.update().where(alerts.c.alert_id == row.alert_id).values(owed=left))

    transaction(url, work)


def _newest(connection: sa.Connection, identities: Iterable[str]) -> dict[str, Any]:
    """The newest row of each identity."""
    wanted, found = [*identities], dict[str, Any]()
    for start in range(0, len(wanted), 500):
        query = alerts.select().where(alerts.c.identity.in_(wanted[start : start + 500]))
        for row in connection.execute(query.order_by(alerts.c.first_seen)):
            found[row.identity] = row
    return found


def _alert(row: Any) -> Alert:
    finding = json.loads(row["body"])
    told = {name: row[name] for name in ("alert_id", "count", "before")}
    return Alert(**finding, **told, first_seen=utc(row["first_seen"]), url=row["url"] or None)
