"""The version of the records' tables, and how they come to another one without a risk.

A change is made on a copy and judged there; only then does the copy take the place of what the records hold, in one
transaction of SQLite. What they held before stays beside them, as in `records-0006.sqlite`.
"""

import contextlib
import shutil
import sqlite3
import time
from contextlib import closing
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Final

from node import running
from node.errors import BadSetting
from node.log import log
from node.records import copies, kept

FILE_NAME: Final = "records.sqlite"
JOBS_FILE: Final = "jobs.sqlite"  # of DBOS
_TRIAL: Final = "records.trial"
_SCRIPTS: Final = Path(__file__).parent / "migrations"
_COPIES: Final = 3  # at most so many of the records are on the disk during a change
_LOCK_S: Final = 60.0
_DATA_VERSION: Final = "PRAGMA data_version"  # another one after somebody else's commit


class Fit(StrEnum):
    """Whether records fit this program."""

    NONE = "none"  # there are no records yet
    FITS = "fits"
    OLDER = "older"  # an upgrade brings them here
    NEWER = "newer"  # a newer program wrote them


@dataclass(frozen=True, kw_only=True)
class Standing:
    """Which tables there are, and which ones this program wants. `records`: None if there are none."""

    records: str | None
    program: str
    fit: Fit


@dataclass(frozen=True, kw_only=True)
class Change:
    """What a change did, or would do.

    rows: of each table, before
    kept: rows put aside because the older tables have no place for them, or brought back, by table
    copy: what the records were before; None for a trial
    """

    since: str | None
    to: str
    rows: dict[str, int]
    kept: dict[str, int]
    copy: Path | None = None


def known() -> list[str]:
    """The revisions that this program knows, oldest first. The history is one line, numbered."""
    return sorted(path.name.partition("_")[0] for path in (_SCRIPTS / "versions").glob("[0-9]*_*.py"))


def of(file: Path) -> str | None:
    """The revision of a file; None if there is none, or nothing is in it.

    raises: BadSetting if it is no database, or not of a node
    """
    if not file.exists() or not file.stat().st_size:
        return None
    try:
        with closing(copies.look(file)) as opened:
            names = copies.tables(opened)
            found = opened.execute("SELECT version_num FROM alembic_version").fetchone() if names else None
    except sqlite3.Error as error:
        raise BadSetting(
            f"The records in {file.parent} cannot be opened: {error}.",
            fix="Check the disk, or restore the file from a backup.",
        ) from error
    return None if found is None else str(found[0])


def standing(state: Path) -> Standing:
    """How the records stand to this program. Raises BadSetting if they cannot be read."""
    found, every = of(state / FILE_NAME), known()
    if found is None:
        fit = Fit.NONE
    elif found == every[-1]:
        fit = Fit.FITS
    else:
        fit = Fit.OLDER if found in every else Fit.NEWER
    return Standing(records=found, program=every[-1], fit=fit)


def create(state: Path) -> None:
    """Make empty records where there are none. Twice is once."""
    with running.turn(state, "records", patience_s=_LOCK_S):
        file, new = state / FILE_NAME, state / _TRIAL
        if of(file) is not None:
            return
        new.unlink(missing_ok=True)
        _alembic(new, to=known()[-1])
        copies.sync(new)
        running.give_to_owner(new)
        new.replace(file)
        copies.sync(state)


def trial(state: Path) -> Change:
    """Upgrade a copy, say how it went, and leave nothing behind; a node may run meanwhile.

    raises: BadSetting if the upgrade would fail
    """
    _require_known(state)
    with running.turn(state, "records", patience_s=_LOCK_S):
        try:
            return _changed(state, state / FILE_NAME, to=known()[-1])
        finally:
            (state / _TRIAL).unlink(missing_ok=True)


def upgrade(state: Path) -> Change | None:
    """Bring the records to this program's tables. Returns None if they are there already.

    raises: BadSetting if they are newer or damaged, a node uses them, or the trial failed; they are as they were then
    """
    if standing(state).fit is Fit.FITS:
        return None
    _require_known(state)
    with running.turn(state, "records", patience_s=_LOCK_S):
        if standing(state).fit is Fit.FITS:  # somebody was faster
            return None
        running.require_stopped(state, "The records are not upgraded")
        return _replace(state, to=known()[-1])


def downgrade(state: Path, to: str) -> Change | None:
    """Bring the records to the tables of an older program. Returns None if they are there already.

    Nothing is lost: what has no place in the older tables is kept in the file for the next upgrade. What is under way
    begins anew from the records, because the older program need not understand the workflows of this one.

    to:     a revision that the older program expects
    raises: BadSetting
    """
    _require_known(state)
    found, every = of(state / FILE_NAME), known()
    if found is None:
        raise BadSetting(f"There are no records in {state}.", fix="Name the settings of the node with -c.")
    if to not in every:
        raise BadSetting(f"{to!r} is no revision of the records.", fix=f"Known are {', '.join(every)}.")
    if to > found:
        raise BadSetting(f"The records are at {found}, which is older than {to}.", fix="Use `records upgrade`.")
    if to == found:
        return None
    running.require_stopped(state, "The records are not rolled back")
    with running.turn(state, "records", patience_s=_LOCK_S):
        with contextlib.suppress(FileNotFoundError):  # first: the worker of either program can do without it
            (state / JOBS_FILE).replace(state / f"{JOBS_FILE}.old")
        for log_file in state.glob(f"{JOBS_FILE}-*"):
            log_file.unlink()
        return _replace(state, to=to)


def _require_known(state: Path) -> None:
    now = standing(state)
    if now.fit is Fit.NEWER:
        raise BadSetting(
            f"The records in {state} (tables {now.records}; this program has {now.program}) were written by another "
            "version of the node.",
            fix=f"Run that version or a newer one, or have it roll them back: `imaging-node records downgrade --to "
            f"{now.program}`.",
        )


def _replace(state: Path, *, to: str) -> Change:
    file, new = state / FILE_NAME, state / _TRIAL
    since = of(file)
    old = state / f"records-{since or 'empty'}.sqlite"
    aside = old.with_suffix(".part")
    _require_room(state, file)
    try:
        with closing(sqlite3.connect(file, timeout=_LOCK_S)) as watching:
            version = watching.execute(_DATA_VERSION).fetchone()
            copies.copy(file, aside)
            change = _changed(state, aside, to=to)
            if watching.execute(_DATA_VERSION).fetchone() != version:
                raise BadSetting("A command wrote to the records meanwhile.", fix="Nothing was changed; repeat this.")
            running.give_to_owner(aside)
            aside.replace(old)
            copies.sync(state)
        copies.put_back(new, file)
    except sqlite3.Error as error:
        raise BadSetting(
            f"The records in {state} could not be written: {error}.", fix="They are as they were; check the disk."
        ) from error
    finally:
        new.unlink(missing_ok=True)
        aside.unlink(missing_ok=True)
    for other in state.glob("records-*.sqlite"):
        if other != old:
            other.unlink()
    log.info("the records have other tables", since=since, to=to, rows=sum(change.rows.values()))
    return replace(change, copy=old)


def _changed(state: Path, source: Path, *, to: str) -> Change:
    """A copy of the records with other tables, judged; it stays as the trial's file."""
    new, since = state / _TRIAL, of(source)
    _require_room(state, source)
    copies.copy(source, new)
    if wrong := copies.faults(new):
        raise BadSetting(
            f"The records in {state} are damaged: {'; '.join(wrong[:3])}.", fix="Restore them from a backup."
        )
    before, down = copies.rows(new), since is not None and to < since
    try:
        if down:
            _begin_anew(new)
        _alembic(new, to=to, down=down)
        with closing(sqlite3.connect(new, isolation_level=None)) as opened:
            moved = kept.keep(opened, source, str(since)) if down else kept.bring_back(opened)
    except Exception as error:  # whatever a migration raises: the records are as they were
        raise BadSetting(
            f"The records in {state} cannot be brought from {since} to {to}: {error}.",
            fix="They are as they were, and the former version goes on with them. Report this.",
        ) from error
    _judge(new, before, moved)
    copies.sync(new)
    rows = {name: count for name, count in before.items() if not kept.is_aside(name)}
    return Change(since=since, to=to, rows=rows, kept=moved)


def _judge(new: Path, before: dict[str, int], moved: dict[str, int]) -> None:
    if wrong := copies.faults(new):
        raise BadSetting(f"The changed copy is not whole: {'; '.join(wrong[:3])}.", fix="Report this.")
    after = copies.rows(new)
    lost = {
        name: count - after.get(name, moved.get(name, 0))
        for name, count in before.items()
        if name != "alembic_version" and not kept.is_aside(name) and after.get(name, moved.get(name, 0)) < count
    }
    lost |= {name: count for name, count in moved.items() if name in after and after[name] < count}
    if lost:
        raise BadSetting(
            f"The change would lose rows of {', '.join(sorted(lost))}.", fix="Nothing was changed. Report this."
        )


def _begin_anew(file: Path) -> None:
    from sqlalchemy import create_engine
    from sqlalchemy.pool import NullPool

    from node.records import unfinished
    from node.records.database import url

    with create_engine(url(file), poolclass=NullPool).begin() as connection:
        unfinished.begin_anew(connection, unfinished.sets(connection), why="rolled back", at=time.time())


def _alembic(file: Path, *, to: str, down: bool = False) -> None:
    import alembic.command  # only here: the processes that change nothing start sooner without it
    import alembic.config

    from node.records.database import url

    config = alembic.config.Config()
    config.set_main_option("script_location", str(_SCRIPTS))
    config.attributes["url"] = url(file)
    (alembic.command.downgrade if down else alembic.command.upgrade)(config, to)


def _require_room(state: Path, file: Path) -> None:
    size = _COPIES * sum(path.stat().st_size for path in state.glob(f"{file.name}*"))
    free = shutil.disk_usage(state).free
    if free < size:
        raise BadSetting(
            f"{state} has {free >> 20} MB free; a change of the records needs {(size >> 20) + 1} MB.", fix="Free some."
        )
