"""Which files the records name, and what a copy of them has to leave out because it was purged meanwhile."""

import sqlite3
from collections.abc import Collection, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final

from node.records import copies

# Results of a series whose files were purged went with them; their rows stay.
_RESULTS: Final = """
    SELECT results.file, sets.series_uid FROM results
    JOIN jobs ON jobs.id = results.job_id JOIN sets ON sets.id = jobs.set_id
    WHERE EXISTS (SELECT 1 FROM instances WHERE instances.series_uid = sets.series_uid AND instances.file != '')
"""
_PURGED: Final = "SELECT 1 FROM instances WHERE series_uid = ? AND file != '' LIMIT 1"


def received(records: Path) -> list[str]:
    """Names of received files, as the records have them."""
    with _reading(records) as connection:
        query = "SELECT file FROM instances WHERE file != '' UNION SELECT file FROM quarantine WHERE file != ''"
        return [row[0] for row in connection.execute(query)]


def results(records: Path) -> dict[str, str]:
    """Files of results below the spool -> the series that they were made from."""
    with _reading(records) as connection:
        return dict(connection.execute(_RESULTS).fetchall())


def is_purged(records: Path, file: str) -> bool:
    """Whether a received file was removed on purpose since."""
    with _reading(records) as connection:
        query = "SELECT 1 FROM instances WHERE file = ? UNION SELECT 1 FROM quarantine WHERE file = ?"
        return connection.execute(query, (file, file)).fetchone() is None


def is_series_purged(records: Path, series_uid: str) -> bool:
    """Whether the files of a series were removed on purpose."""
    with _reading(records) as connection:
        return connection.execute(_PURGED, (series_uid,)).fetchone() is None


def forget(records: Path, files: Collection[str]) -> None:
    """Note in a copy that these were purged, as the purge itself did in the records."""
    with closing(sqlite3.connect(records)) as connection, connection:
        connection.executemany("UPDATE instances SET file = '' WHERE file = ?", [(file,) for file in files])


@contextmanager
def _reading(records: Path) -> Iterator[sqlite3.Connection]:
    with closing(copies.look(records)) as connection:
        yield connection
