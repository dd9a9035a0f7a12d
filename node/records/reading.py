"""Reads the records and never writes: for what looks at a node from beside it, whether it runs or not.

Opening a database in SQLite's write-ahead log makes files beside it and may fold the log into it; this does neither.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import Connection, create_engine
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

from node.errors import BadSetting
from node.records import copies
from node.records.database import FILE_NAME


@contextmanager
def reading(state: Path) -> Iterator[Connection]:
    """A transaction that sees one state of the records. Keep it short: the log is not folded while it lasts.

    raises: BadSetting if there are none, they cannot be read, or another version of the node wrote them
    """
    file = state / FILE_NAME
    if not file.exists():
        raise BadSetting(f"There are no records in {state} yet.", fix="Start the node once with `imaging-node run`.")
    engine = create_engine("sqlite://", creator=lambda: _open(file), poolclass=NullPool)
    try:
        with engine.connect() as connection:
            yield connection
    except DBAPIError as error:
        raise BadSetting(
            f"The records in {state} cannot be read: {error.orig}.",
            fix="Read them with the version of the node that runs, as its user or as root.",
        ) from error
    finally:
        engine.dispose()


def _open(file: Path) -> sqlite3.Connection:
    connection = copies.look(file)
    connection.execute("BEGIN")
    return connection
