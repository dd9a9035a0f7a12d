"""Sources that are polled: how far each has been read, and which series there are of the node's own making."""

from sqlalchemy import Connection, select
from sqlalchemy.dialects.sqlite import insert

from node.records.tables import CURSORS, JOBS


def position(connection: Connection, source: str) -> int | None:
    """The last change that was dealt with; None if the source was never read."""
    query = select(CURSORS.c.position).where(CURSORS.c.source == source)
    found = connection.execute(query).scalar_one_or_none()
    return None if found is None else int(found)


def dealt_with(connection: Connection, source: str, position: int, *, at: float) -> None:
    """Everything up to `position` is dealt with."""
    statement = insert(CURSORS).values(source=source, position=str(position), at=at)
    values = {"position": statement.excluded.position, "at": statement.excluded.at}
    connection.execute(statement.on_conflict_do_update(index_elements=["source"], set_=values))


def made_here(connection: Connection, series_uid: str) -> bool:
    """Whether a job of this node makes or made that series."""
    return connection.execute(select(JOBS.c.id).where(JOBS.c.series_uid == series_uid).limit(1)).first() is not None
