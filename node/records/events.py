"""The audit trail: append-only, one row for each thing that happened. No patient data."""

from typing import Any

from sqlalchemy import Connection, select

from node.records.tables import EVENTS


def add(connection: Connection, *, at: float, kind: str, subject: str, **detail: Any) -> None:
    connection.execute(EVENTS.insert().values(at=at, kind=kind, subject=subject, detail=detail))


def of(connection: Connection, subject: str) -> list[dict[str, Any]]:
    """What happened to a subject, oldest first."""
    query = select(EVENTS.c.at, EVENTS.c.kind, EVENTS.c.detail).where(EVENTS.c.subject == subject).order_by(EVENTS.c.id)
    return [dict(row) for row in connection.execute(query).mappings().all()]
