"""What an older program's tables have no place for stays in the file, and comes back with the next upgrade.

A roll-back drops tables and columns. Their rows are kept beside the others in tables that no version of the node looks
at, so that a site that rolls back, works on and upgrades again has lost nothing.
"""

import sqlite3
from pathlib import Path
from typing import Final

from node.records.copies import tables

# Followed by the revision that has a place for it and the table's name: a site may roll back twice in a row.
_TABLE: Final = "kept_table_"  # whole tables
_COLUMNS: Final = "kept_columns_"  # the key of a table, and columns that it lost


def keep(connection: sqlite3.Connection, whole: Path, revision: str) -> dict[str, int]:
    """Keep what a file has lost against `whole`, which has that revision. Returns how many rows of which table."""
    connection.execute("ATTACH ? AS whole", (str(whole),))
    kept = {}
    here = set(tables(connection))
    for name in tables(connection, "whole"):
        if name.startswith((_TABLE, _COLUMNS)) or name == "alembic_version":
            continue
        if name not in here:
            taken, columns = f"{_TABLE}{revision}_{name}", _columns(connection, name, "whole")
        else:
            lost = [one for one in _columns(connection, name, "whole") if one not in _columns(connection, name)]
            taken, columns = f"{_COLUMNS}{revision}_{name}", [*_keys(connection, name), *lost]
            if not lost:
                continue
        wanted = ", ".join(f'"{one}"' for one in columns)
        connection.execute(f'CREATE TABLE "{taken}" AS SELECT {wanted} FROM whole."{name}"')  # noqa: S608  our tables
        kept[name] = connection.execute(f'SELECT count(*) FROM "{taken}"').fetchone()[0]  # noqa: S608
    connection.execute("DETACH whole")
    return kept


def bring_back(connection: sqlite3.Connection) -> dict[str, int]:
    """Put back what was kept and has a place now. Returns how many rows of which table."""
    found = {}
    here = tables(connection)
    for taken in sorted(here, key=lambda name: (name.startswith(_COLUMNS), name)):  # rows first, then their columns
        prefix = next((one for one in (_TABLE, _COLUMNS) if taken.startswith(one)), "")
        name = taken.removeprefix(prefix).partition("_")[2]
        if not prefix or name not in here:
            continue
        columns = _columns(connection, taken)
        if any(one not in _columns(connection, name) for one in columns):
            continue  # some of it belongs to a version that is newer still
        if prefix == _TABLE:
            wanted = ", ".join(f'"{one}"' for one in columns)
            connection.execute(f'INSERT OR IGNORE INTO "{name}" ({wanted}) SELECT {wanted} FROM "{taken}"')  # noqa: S608
        else:
            keys = _keys(connection, name)
            same = " AND ".join(f'kept."{one}" = "{name}"."{one}"' for one in keys)
            for column in [one for one in columns if one not in keys]:
                connection.execute(
                    f'UPDATE "{name}" SET "{column}" = (SELECT kept."{column}" FROM "{taken}" AS kept WHERE {same}) '  # noqa: S608
                    f'WHERE EXISTS (SELECT 1 FROM "{taken}" AS kept WHERE {same})'
                )
        found[name] = connection.execute(f'SELECT count(*) FROM "{taken}"').fetchone()[0]  # noqa: S608
        connection.execute(f'DROP TABLE "{taken}"')
    return found


def is_aside(table: str) -> bool:
    """Whether a table holds what was kept."""
    return table.startswith((_TABLE, _COLUMNS))


def _columns(connection: sqlite3.Connection, table: str, schema: str = "main") -> list[str]:
    return [row[1] for row in connection.execute(f'PRAGMA {schema}.table_info("{table}")')]


def _keys(connection: sqlite3.Connection, table: str) -> list[str]:
    found = [(row[5], row[1]) for row in connection.execute(f'PRAGMA table_info("{table}")') if row[5]]
    return [name for _, name in sorted(found)]
