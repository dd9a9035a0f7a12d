"""Takes a backup of a node while it runs.

The order makes it whole: first the records, in one moment of theirs; then the files that this copy names, which were
on the disk before it named them. What is purged in between is left out, and the copy says so. Everything is written
aside, synced, and renamed at the end: what has its name is whole.
"""

import json
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Final

from pydantic import BaseModel

from node import backup, running
from node.backup import files, manifest, named, place
from node.backup.manifest import Manifest
from node.backup.place import identity
from node.errors import BadSetting, Refuse
from node.intake.disk import is_full, sync_folder
from node.log import log
from node.records import copies, revisions
from node.records.database import FILE_NAME
from node.settings import Settings

_MARGIN_BYTES: Final = 64 << 20
_PATIENCE_S: Final = 3.0


@dataclass(frozen=True, kw_only=True)
class Taken:
    """A whole backup. `linked`: files that take no room of their own; `removed`: older backups that went for it."""

    folder: Path
    found: Manifest
    linked: int
    removed: tuple[str, ...]
    warnings: tuple[str, ...]


@dataclass(kw_only=True)
class _Work:
    """One backup while it is made. `previous`: the newest one before it; `near`: on the file system of the state."""

    state: Path
    aside: Path
    previous: tuple[Path, Manifest] | None
    near: bool
    entries: dict[str, tuple[int, str]] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)
    purged: list[str] = field(default_factory=list)
    linked: int = 0


def take(
    settings: Settings,
    settings_file: Path,
    to: Path,
    *,
    keep: int | None = None,
    keys: bool = False,
    progress: Callable[[int, int], None] = lambda *_: None,
) -> Taken:
    """Take a backup of a node, which may run meanwhile.

    to:       folder of all backups; each has one of its own in it
    keep:     so many of this node's stay, the newest; all if None
    keys:     with the keys, certificates and secrets that the settings name
    progress: files done, files in all
    raises:   BadSetting if the folder cannot take it; nothing that looks like a backup is left then
    """
    state = settings.node.state.absolute()
    if revisions.standing(state).fit is revisions.Fit.NONE:
        raise BadSetting(f"There are no records in {state}.", fix="Start the node once with `imaging-node run`.")
    every, warnings = place.prepare(state, to)
    with running.turn(state, "backup", patience_s=_PATIENCE_S):
        place.sweep(every, identity(settings))
        taken_at = time.time()
        folder = place.free_name(every, taken_at)
        aside = every / f".{folder.name}{place.PART}"
        before = manifest.newest(every, identity(settings))
        near = place.is_near(state, every)
        previous = None if before is None else (before, manifest.read(before))
        work = _Work(state=state, aside=aside, previous=previous, near=near)
        with _aside(aside, every):
            aside.mkdir(mode=0o700)
            found = _fill(work, settings, settings_file, taken_at=taken_at, keys=keys, progress=progress)
            found.write(aside)
            files.sync_all(aside)
            aside.rename(folder)
            sync_folder(every)
        (folder / place.OWNER).unlink()
        _note(state, taken_at, folder)
        removed = place.thin(every, identity(settings), keep)
    log.info("backup taken", files=len(found.files), bytes=found.bytes, linked=work.linked, missing=len(found.missing))
    return Taken(folder=folder, found=found, linked=work.linked, removed=removed, warnings=warnings)


@contextmanager
def _aside(aside: Path, every: Path) -> Iterator[None]:
    """Nothing of a backup that was not finished stays."""
    try:
        yield
    except BaseException as error:
        shutil.rmtree(aside, ignore_errors=True)
        if isinstance(error, OSError):
            if is_full(error):
                raise place.no_room(every) from error
            at = f" at {error.filename}" if error.filename else ""
            raise BadSetting(f"The backup in {every} failed{at}: {error.strerror}.", fix="Check that disk.") from error
        raise


def _fill(
    work: _Work,
    settings: Settings,
    settings_file: Path,
    *,
    taken_at: float,
    keys: bool,
    progress: Callable[[int, int], None],
) -> Manifest:
    (work.aside / place.OWNER).write_text(json.dumps(identity(settings)), encoding="utf-8")
    records, live = work.aside / manifest.RECORDS, work.state / FILE_NAME
    room = sum(path.stat().st_size for path in work.state.glob(f"{FILE_NAME}*"))
    _require_room(work, room)
    copies.copy(live, records)
    if wrong := copies.faults(records):
        raise Refuse(f"The records are damaged: {'; '.join(wrong[:3])}.", fix="Check the disk; keep older backups.")
    received, results = named.received(records), named.results(records)
    wanted = {_spooled(file): file for file in received} | dict.fromkeys((f"spool/{file}" for file in results), "")
    _require_room(work, _new_bytes(work, wanted))
    for number, (path, file) in enumerate(wanted.items(), start=1):
        if not _take_one(work, path):
            gone = named.is_purged(live, file) if file else named.is_series_purged(live, results[path[6:]])
            if not gone:
                work.missing.append(path)
            elif file:
                work.purged.append(file)
        progress(number, len(wanted))
    if work.purged:
        named.forget(records, work.purged)
    work.entries[manifest.RECORDS] = files.digest(records)
    work.entries[manifest.SETTINGS] = files.copy(settings_file, work.aside / manifest.SETTINGS)
    engines = settings.engines.folder
    if engines is not None:
        for part in files.tree(engines):
            name = f"engines/{part.relative_to(engines)}"
            work.entries[name] = files.copy(part, work.aside / name)
    found = {}
    if keys:
        for number, secret in enumerate(secrets(settings)):
            name = f"keys/{number}-{secret.name}"
            work.entries[name] = files.copy(secret, work.aside / name)
            found[name] = str(secret.absolute())
    return Manifest(
        program=version("imaging-node"),
        node=identity(settings),
        taken_at=taken_at,
        ended_at=time.time(),
        tables=str(revisions.of(records)),
        rows=copies.rows(records),
        files=work.entries,
        missing=tuple(work.missing),
        keys=found,
        engines=None if engines is None else str(engines.absolute()),
    )


def _spooled(file: str) -> str:
    """Where a received file lies in the state folder, as `Spool.path` has it."""
    return f"spool/in/{file}" if "/" in file else f"spool/in/{file[:2]}/{file}"


def _new_bytes(work: _Work, wanted: dict[str, str]) -> int:
    if work.near:
        return 0
    total = 0
    for path in wanted:
        with suppress(FileNotFoundError):
            size = (work.state / path).stat().st_size
            if _earlier(work, path, size) is None:
                total += size
    return total


def _require_room(work: _Work, size: int) -> None:
    if files.free_bytes(work.aside) < size + _MARGIN_BYTES:
        raise place.no_room(work.aside.parent, size + _MARGIN_BYTES)


def _earlier(work: _Work, path: str, size: int) -> tuple[Path, str] | None:
    """The file in the backup before this one, and its digest; None if it is not the same there."""
    if work.previous is None:
        return None
    folder, found = work.previous
    known, digest = found.files.get(path, (-1, ""))
    try:
        same = known == size == (folder / path).stat().st_size
    except OSError:
        return None
    return (folder / path, digest) if same else None


def _take_one(work: _Work, path: str) -> bool:
    """Link or copy one file that never changes. Returns False if it is not there (any more)."""
    source, to = work.state / path, work.aside / path
    try:
        size = source.stat().st_size
        earlier = _earlier(work, path, size)
        if earlier is not None and files.link(earlier[0], to):
            work.entries[path] = (size, earlier[1])
            work.linked += 1
        elif work.near and files.link(source, to):
            work.entries[path] = files.digest(to)
            work.linked += 1
        else:
            work.entries[path] = files.copy(source, to)
    except FileNotFoundError:
        to.unlink(missing_ok=True)
        return False
    return True


def secrets(settings: BaseModel) -> list[Path]:
    """The files with keys, certificates and secrets that the settings name."""
    found: dict[Path, None] = {}

    def look(value: object, name: str = "") -> None:
        if isinstance(value, BaseModel):
            for key in type(value).model_fields:
                look(getattr(value, key), key)
        elif isinstance(value, list | tuple):
            for one in value:
                look(one, name)
        elif isinstance(value, Path) and name not in ("state", "folder", "plans", "path"):
            found[value] = None

    look(settings)
    return list(found)


def _note(state: Path, taken_at: float, folder: Path) -> None:
    """For the metric, and for whoever asks when the last one was."""
    file = state / backup.LAST
    aside = file.with_suffix(".part")
    aside.write_text(json.dumps({"at": taken_at, "folder": str(folder)}), encoding="utf-8")
    running.give_to_owner(aside)
    aside.replace(file)
