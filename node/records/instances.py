"""Received instances, the associations that brought them, and what was put aside."""

import dataclasses
import functools
import itertools
import json
import operator
import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, select, update
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.engine.interfaces import DBAPICursor
from sqlalchemy.exc import DBAPIError

from node.records import events
from node.records.states import Ending
from node.records.tables import ASSOCIATIONS, INSTANCES, QUARANTINE


@dataclass(frozen=True, kw_only=True)
class Instance:
    """One received object. `header`: the values of the header scan; `received_at`: seconds since the epoch."""

    sop_instance_uid: str
    sop_class_uid: str
    study_uid: str
    series_uid: str
    transfer_syntax: str
    patient_key: str
    file: str
    bytes: int
    sha256: str
    pixel_sha256: str
    header: dict[str, tuple[str, ...]]
    association: str
    received_at: float


_PLAIN: Final = tuple(f.name for f in dataclasses.fields(Instance) if f.name != "header")
_plain: Final = operator.attrgetter(*_PLAIN)
_json: Final = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False, check_circular=False).encode
_COUNT: Final = (
    "INSERT INTO series (series_uid, study_uid, instances, frozen, first_at, last_at) VALUES (?, ?, ?, 0, ?, ?) "
    "ON CONFLICT (series_uid) DO UPDATE SET instances = instances + excluded.instances, last_at = excluded.last_at"
)


def by_uid(connection: Connection, sop_instance_uid: str) -> Instance | None:
    row = (
        connection.execute(select(INSTANCES).where(INSTANCES.c.sop_instance_uid == sop_instance_uid)).mappings().first()
    )
    return None if row is None else from_row(row)


def add(connection: Connection, instance: Instance) -> bool:
    """Record an instance if its SOP Instance UID is new, and count it to its series. Returns whether it was."""
    return add_all(connection, [instance])[0]


def add_all(connection: Connection, arrived: Sequence[Instance]) -> list[bool]:
    """`add` for a group."""
    cursor = connection.connection.cursor()
    try:
        return insert_all(cursor, arrived)
    except sqlite3.Error as error:
        raise DBAPIError.instance("", None, error, sqlite3.Error) from error
    finally:
        cursor.close()


def insert_all(cursor: sqlite3.Cursor | DBAPICursor, arrived: Sequence[Instance]) -> list[bool]:
    """`add` for a group, in as few statements as it takes: this runs before every answer to a sender."""
    cursor.execute(_insert(len(arrived)), tuple(itertools.chain.from_iterable(map(_row, arrived))))
    inserted = {uid for (uid,) in cursor.fetchall()}
    new = []
    series: dict[str, list[Instance]] = {}
    for instance in arrived:
        new.append(instance.sop_instance_uid in inserted)
        if new[-1]:
            inserted.remove(instance.sop_instance_uid)  # the same one may come twice in a group
            series.setdefault(instance.series_uid, []).append(instance)
    for uid, some in series.items():
        last = max(instance.received_at for instance in some)
        cursor.execute(_COUNT, (uid, some[0].study_uid, len(some), some[0].received_at, last))
    return new


def _row(instance: Instance) -> tuple[Any, ...]:
    return (*_plain(instance), _json(instance.header))


@functools.lru_cache(maxsize=128)
def _insert(count: int) -> str:
    columns = ", ".join((*_PLAIN, "header"))
    row = "(" + ", ".join("?" * (len(_PLAIN) + 1)) + ")"
    rows = ", ".join([row] * count)
    return (
        f"INSERT INTO instances ({columns}) VALUES {rows} "  # noqa: S608  names of our own fields, no value
        "ON CONFLICT (sop_instance_uid) DO NOTHING RETURNING sop_instance_uid"
    )


def restore(connection: Connection, instance: Instance) -> None:
    """The bytes of a purged instance came again."""
    connection.execute(
        update(INSTANCES).where(INSTANCES.c.sop_instance_uid == instance.sop_instance_uid).values(file=instance.file)
    )
    events.add(connection, at=instance.received_at, kind="restored", subject=instance.series_uid)


def files_named(connection: Connection, files: Iterable[str]) -> set[str]:
    """Which of these files of the spool a record names, as received or put aside."""
    found: set[str] = set()
    for file in files:
        for table in (INSTANCES, QUARANTINE):
            found.update(connection.execute(select(table.c.file).where(table.c.file == file)).scalars().all())
    return found


def quarantine(connection: Connection, instance: Instance, reason: str) -> bool:
    """Put a conflicting object aside: kept, never processed. Returns whether its file is kept: once for equal bytes."""
    row = {
        "sop_instance_uid": instance.sop_instance_uid,
        "file": instance.file,
        "sha256": instance.sha256,
        "reason": reason,
        "received_at": instance.received_at,
    }
    added = connection.execute(insert(QUARANTINE).values(row).on_conflict_do_nothing())
    events.add(connection, at=instance.received_at, kind="quarantined", subject=instance.series_uid, reason=reason)
    return added.rowcount > 0


def quarantined(connection: Connection, series_uid: str) -> list[str]:
    """Why objects of a series were put aside."""
    query = (
        select(QUARANTINE.c.reason)
        .join(INSTANCES, INSTANCES.c.sop_instance_uid == QUARANTINE.c.sop_instance_uid)
        .where(INSTANCES.c.series_uid == series_uid)
        .order_by(QUARANTINE.c.id)
    )
    return list(connection.execute(query).scalars().all())


def of_series(connection: Connection, series_uid: str) -> list[tuple[int, Instance]]:
    """(row id, instance) of everything received of a series, in order of arrival."""
    rows = connection.execute(select(INSTANCES).where(INSTANCES.c.series_uid == series_uid).order_by(INSTANCES.c.id))
    return [(row["id"], from_row(row)) for row in rows.mappings().all()]


def open_association(connection: Connection, *, key: str, calling_ae: str, receiver: str, at: float) -> None:
    connection.execute(ASSOCIATIONS.insert().values(id=key, calling_ae=calling_ae, receiver=receiver, opened_at=at))


def close_association(connection: Connection, *, key: str, at: float, ending: Ending) -> None:
    """Note the first ending of an association; a later one changes nothing."""
    connection.execute(
        update(ASSOCIATIONS)
        .where(ASSOCIATIONS.c.id == key, ASSOCIATIONS.c.closed_at.is_(None))
        .values(closed_at=at, ending=ending)
    )


def open_receivers(connection: Connection) -> set[str]:
    """The receivers that have associations which did not end."""
    query = select(ASSOCIATIONS.c.receiver).where(ASSOCIATIONS.c.closed_at.is_(None)).distinct()
    return set(connection.execute(query).scalars().all())


def close_lost_associations(connection: Connection, *, receivers: Sequence[str], at: float) -> int:
    """Close what these receivers, which are no more, left open. Returns how many."""
    result = connection.execute(
        update(ASSOCIATIONS)
        .where(ASSOCIATIONS.c.closed_at.is_(None), ASSOCIATIONS.c.receiver.in_(receivers))
        .values(closed_at=at, ending=Ending.LOST)
    )
    return result.rowcount


def association_keys(connection: Connection, series_uid: str) -> list[str]:
    """The associations that brought instances of a series."""
    query = select(INSTANCES.c.association).where(INSTANCES.c.series_uid == series_uid).distinct()
    return list(connection.execute(query).scalars().all())


def associations(connection: Connection, keys: Sequence[str]) -> list[dict[str, Any]]:
    rows = connection.execute(select(ASSOCIATIONS).where(ASSOCIATIONS.c.id.in_(keys)))
    return [dict(row) for row in rows.mappings().all()]


def open_from(connection: Connection, calling_aes: Sequence[str]) -> int:
    """How many associations of these senders are open now."""
    query = select(ASSOCIATIONS.c.id).where(
        ASSOCIATIONS.c.closed_at.is_(None), ASSOCIATIONS.c.calling_ae.in_(calling_aes)
    )
    return len(connection.execute(query).all())


def from_row(row: Any) -> Instance:
    values = {f.name: row[f.name] for f in dataclasses.fields(Instance)}
    values["header"] = {keyword: tuple(texts) for keyword, texts in values["header"].items()}
    return Instance(**values)
