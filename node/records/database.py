"""Opens the records: SQLite in WAL mode with synchronous FULL, so that a commit survives a power cut."""

import errno
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path

from sqlalchemy import URL, Connection, create_engine, event
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import ConnectionPoolEntry

from node.errors import BadSetting
from node.records import revisions

FILE_NAME = revisions.FILE_NAME
_PATIENCE_S = 30.0  # with a lock that somebody else holds


def url(file: Path) -> URL:
    """For SQLAlchemy; a folder may have any name, also one with a question mark."""
    return URL.create("sqlite", database=str(file))


def migrate(state: Path) -> None:
    """Bring the records to this version's tables, or make them; `node.records.revisions` says how.

    raises: BadSetting if they are newer or damaged, or the upgrade failed on a copy
    """
    match revisions.standing(state).fit:
        case revisions.Fit.NONE:
            revisions.create(state)
        case revisions.Fit.OLDER | revisions.Fit.NEWER:
            revisions.upgrade(state)


def disk_error(error: DBAPIError) -> OSError | None:
    """What an error of the records says of their disk: full, or broken; None if it says something else.

    A lock that was not given up within the time-out counts as full: it is the node that cannot, and later it may.
    """
    code = getattr(error.orig, "sqlite_errorcode", 0) & 0xFF
    numbers = {
        sqlite3.SQLITE_FULL: errno.ENOSPC,
        sqlite3.SQLITE_BUSY: errno.ENOSPC,
        sqlite3.SQLITE_IOERR: errno.EIO,
        sqlite3.SQLITE_READONLY: errno.EROFS,
    }
    return OSError(numbers[code], str(error.orig)) if code in numbers else None


def not_written(error: DBAPIError) -> bool:
    """Whether it is certain that nothing of the transaction is on the disk."""
    return getattr(error.orig, "sqlite_errorcode", 0) & 0xFF in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_BUSY)


class Records:
    """A connection pool for this process; hand out one transaction at a time."""

    def __init__(self, state: Path) -> None:
        file = url(state / FILE_NAME)
        self._engine = create_engine(file, connect_args={"timeout": _PATIENCE_S}, pool_size=10, max_overflow=40)
        event.listen(self._engine, "connect", _prepare_connection)
        event.listen(self._engine, "begin", _begin)
        self._writing = self._engine.execution_options(imaging_node_writes=True)
        self._file, self._bare_turn = str(state / FILE_NAME), threading.Lock()
        self._bare: sqlite3.Connection | None = None

    def read(self) -> AbstractContextManager[Connection]:
        """A transaction that sees one state of the records and never waits for a writer.

        Fetch results whole (`.all()`): a half-read one would keep the connection in the old state after the block.
        """
        return self._engine.begin()

    def write(self) -> AbstractContextManager[Connection]:
        """A transaction that may write. It is on the disk, synced, when the block ends without an error."""
        return self._writing.begin()

    @contextmanager
    def write_bare(self) -> Iterator[sqlite3.Cursor]:
        """As `write`, with SQLite's own cursor: for what runs before every answer to a sender.

        The block may roll back; then nothing is committed. Raises DBAPIError as `write` does.
        """
        with self._bare_turn:
            try:
                if self._bare is None:
                    self._bare = sqlite3.connect(self._file, timeout=_PATIENCE_S, check_same_thread=False)
                    _prepare_connection(self._bare, None)
                cursor = self._bare.cursor()
                cursor.execute("BEGIN IMMEDIATE")
                yield cursor
                if self._bare.in_transaction:
                    cursor.execute("COMMIT")
            except BaseException as error:
                self._close_bare()  # which rolls back
                if isinstance(error, sqlite3.Error):
                    raise DBAPIError.instance("", None, error, sqlite3.Error) from error
                raise

    def close(self) -> None:
        self._engine.dispose()
        with self._bare_turn:
            self._close_bare()

    def _close_bare(self) -> None:
        bare, self._bare = self._bare, None
        if bare is not None:
            with suppress(sqlite3.Error):  # after an error of the disk it may have one more to say
                bare.close()


def _prepare_connection(connection: DBAPIConnection | sqlite3.Connection, _: ConnectionPoolEntry | None) -> None:
    connection.isolation_level = None  # BEGIN is ours, below
    cursor = connection.cursor()
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "busy_timeout=30000"):
        cursor.execute(f"PRAGMA {pragma}")
    mode = cursor.execute("PRAGMA journal_mode").fetchone(), cursor.execute("PRAGMA synchronous").fetchone()
    cursor.close()
    if mode != (("wal",), (2,)):
        raise BadSetting(
            f"The records' file system gives SQLite {mode}, not WAL with synchronous FULL.",
            fix="Put node.state on a local disk.",
        )


def _begin(connection: Connection) -> None:
    # IMMEDIATE: a transaction that reads and then writes must not find the file changed under it.
    writes = connection.get_execution_options().get("imaging_node_writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
