"""Series with instances that no set holds yet, read so that thousands of them cost little at every look."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, func, select, union

from node.records.tables import ASSOCIATIONS, EVIDENCE, INSTANCES, SERIES


@dataclass(frozen=True, kw_only=True)
class OpenSeries:
    """A series with instances that no set holds yet. Times: seconds since the epoch."""

    series_uid: str
    study_uid: str
    instances: int
    first_at: float
    last_at: float


_COLUMNS = (SERIES.c.series_uid, SERIES.c.study_uid, SERIES.c.instances, SERIES.c.first_at, SERIES.c.last_at)


def every(connection: Connection) -> list[OpenSeries]:
    """All of them, the oldest first."""
    rows = connection.execute(select(*_COLUMNS).where(SERIES.c.instances > SERIES.c.frozen).order_by(SERIES.c.first_at))
    return [OpenSeries(**row) for row in rows.mappings().all()]


def of_uid(connection: Connection, series_uid: str) -> OpenSeries | None:
    """One of them; None if it has no instance that waits."""
    query = select(*_COLUMNS).where(SERIES.c.series_uid == series_uid, SERIES.c.instances > SERIES.c.frozen)
    row = connection.execute(query).mappings().first()
    return None if row is None else OpenSeries(**row)


def spoken_of(connection: Connection) -> dict[str, tuple[int, float]]:
    """Those of which peers said something: how often, and when last."""
    query = (
        select(EVIDENCE.c.series_uid, func.count(), func.max(EVIDENCE.c.at))
        .join(SERIES, SERIES.c.series_uid == EVIDENCE.c.series_uid)
        .where(SERIES.c.instances > SERIES.c.frozen)
        .group_by(EVIDENCE.c.series_uid)
    )
    return {row[0]: (row[1], row[2]) for row in connection.execute(query).all()}


def associations_after(connection: Connection, series_uid: str, row: int) -> tuple[set[str], int]:
    """Associations that brought instances of a series after that row, and the newest row."""
    query = select(INSTANCES.c.id, INSTANCES.c.association).where(
        INSTANCES.c.series_uid == series_uid, INSTANCES.c.id > row
    )
    rows = connection.execute(query).all()
    return {one.association for one in rows}, max((one.id for one in rows), default=row)


def open_senders(connection: Connection) -> dict[str, int]:
    """AE title -> how many associations it has open now."""
    query = (
        select(ASSOCIATIONS.c.calling_ae, func.count())
        .where(ASSOCIATIONS.c.closed_at.is_(None))
        .group_by(ASSOCIATIONS.c.calling_ae)
    )
    return {row[0]: row[1] for row in connection.execute(query).all()}


def headers(connection: Connection, series_uid: str) -> list[dict[str, tuple[str, ...]]]:
    """What the scan kept of each instance, in order of arrival."""
    query = select(INSTANCES.c.header).where(INSTANCES.c.series_uid == series_uid).order_by(INSTANCES.c.id)
    return [
        {keyword: tuple(texts) for keyword, texts in header.items()}
        for header in connection.execute(query).scalars().all()
    ]


def ends(connection: Connection, series_uid: str) -> list[tuple[dict[str, tuple[str, ...]], str]]:
    """What the scan kept of the first and of the newest instance of a series, with their SOP Class UIDs."""
    of_series = select(INSTANCES.c.id).where(INSTANCES.c.series_uid == series_uid)
    first, newest = (of_series.order_by(order).limit(1) for order in (INSTANCES.c.id, INSTANCES.c.id.desc()))
    query = select(INSTANCES.c.header, INSTANCES.c.sop_class_uid).where(
        INSTANCES.c.id.in_(union(first.subquery().select(), newest.subquery().select()))
    )
    return [
        ({keyword: tuple(texts) for keyword, texts in row.header.items()}, row.sop_class_uid)
        for row in connection.execute(query).all()
    ]


def uids(connection: Connection, series_uid: str) -> Sequence[str]:
    """SOP Instance UIDs of all that was received of a series."""
    query = select(INSTANCES.c.sop_instance_uid).where(INSTANCES.c.series_uid == series_uid)
    return connection.execute(query).scalars().all()


def stated_number(connection: Connection, series_uid: str) -> Any:
    """Images in Acquisition (0020,1002) as the newest instance states it; None if it does not."""
    query = (
        select(INSTANCES.c.header["ImagesInAcquisition"][0].as_string())
        .where(INSTANCES.c.series_uid == series_uid)
        .order_by(INSTANCES.c.id.desc())
        .limit(1)
    )
    return connection.execute(query).scalar_one_or_none()
