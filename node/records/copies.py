"""Copies of SQLite files that others use meanwhile, and whether a file is whole."""

import os
import sqlite3
from contextlib import closing
from pathlib import Path

from node.errors import BadSetting, Refuse
from node.intake.disk import is_full

_PATIENCE_S = 30.0  # with a lock that somebody else holds


def copy(source: Path, to: Path) -> None:
    """Copy a database to a new file: one state of it, whoever writes meanwhile, whole and synced.

    raises: BadSetting if there is no room; Refuse if the source cannot be read
    """
    try:
        for left in (to, *(to.with_name(f"{to.name}-{kind}") for kind in ("journal", "wal", "shm"))):
            left.unlink(missing_ok=True)  # of one that was killed; its journal would be played back into the new file
        os.close(os.open(to, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))  # before SQLite makes one that others read
        with closing(_open(source)) as read, closing(_open(to)) as written:
            read.backup(written)  # all pages in one step: else every writer would make it begin anew
            written.execute("PRAGMA journal_mode=DELETE").fetchone()  # one file, without a log beside it
        sync(to)
    except (sqlite3.Error, OSError) as error:
        to.unlink(missing_ok=True)
        full = getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_FULL
        if full or (isinstance(error, OSError) and is_full(error)):
            raise BadSetting(f"There is no room for a copy of {source.name}.", fix="Free some, then repeat.") from error
        raise Refuse(f"{source} cannot be copied: {error}.", fix="Check the disk.") from error


def put_back(source: Path, to: Path) -> None:
    """Make a database in use what another one is: all of it or nothing, also when the process ends in between.

    raises: sqlite3.Error
    """
    with closing(_open(source)) as read, closing(_open(to)) as written:
        written.execute("PRAGMA synchronous=FULL")
        read.backup(written)


def faults(file: Path) -> list[str]:
    """What SQLite finds wrong with a copy, rows without the row that they name included; nothing if it is whole."""
    try:
        with closing(look(file)) as opened:
            found = [row[0] for row in opened.execute("PRAGMA integrity_check").fetchall() if row[0] != "ok"]
            orphans = opened.execute("PRAGMA foreign_key_check").fetchall()
    except sqlite3.Error as error:
        return [str(error)]
    tables = sorted({row[0] for row in orphans})
    return found + ([f"rows of {', '.join(tables)} name others that are not there"] if tables else [])


def rows(file: Path) -> dict[str, int]:
    """How many rows each table of a copy has, which nobody writes to."""
    with closing(look(file)) as opened:
        return {name: opened.execute(f'SELECT count(*) FROM "{name}"').fetchone()[0] for name in tables(opened)}  # noqa: S608


def tables(connection: sqlite3.Connection, schema: str = "main") -> list[str]:
    """The tables of a database, those of SQLite itself left out."""
    query = f"SELECT name FROM {schema}.sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite%' ORDER BY name"  # noqa: S608
    return [row[0] for row in connection.execute(query)]


def sync(path: Path) -> None:
    """Make a file durable, or the names in a folder."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _open(file: Path) -> sqlite3.Connection:
    return sqlite3.connect(file, timeout=_PATIENCE_S, isolation_level=None)


def look(file: Path) -> sqlite3.Connection:
    """Open a database to read, and make no file beside it: so it is done where nothing can be written.

    One without a log beside it is open to nobody who writes.
    """
    logged = file.with_name(f"{file.name}-wal").exists()
    name = f"{file.absolute().as_uri()}?mode=ro" + ("" if logged else "&immutable=1")
    return sqlite3.connect(name, uri=True, timeout=_PATIENCE_S, isolation_level=None)
