"""Makes a node's state anew from a backup.

Everything is looked at before anything is changed, written beside its place, and put there at the end; while that goes
on the folder says so, and no node starts on it.
"""

import shutil
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from node import running
from node.backup import files, manifest, verifying
from node.backup.manifest import Manifest
from node.errors import BadSetting, Refuse
from node.intake.disk import is_full
from node.log import log
from node.records import copies, restored, revisions
from node.records.database import FILE_NAME, Records, migrate
from node.records.restored import Doubt
from node.settings import Settings

_MARGIN_BYTES = 64 << 20
_OWN = "own"  # a file in the folder of a restore: from now on all that lies beside that folder is the restore's own


@dataclass(frozen=True, kw_only=True)
class Restored:
    """A state folder that was made anew. `aside`: where what was there lies now; None if nothing was."""

    folder: Path
    found: Manifest
    doubt: Doubt
    aside: Path | None
    engines: str


def restore(
    settings: Settings,
    folder: Path,
    *,
    aside: bool = False,
    progress: Callable[[str, int, int], None] = lambda *_: None,
) -> Restored:
    """Make the state folder of the settings from a backup.

    folder:   a backup, or a folder of them: then the newest
    aside:    move what the state folder holds into a folder of its own there, instead of refusing it
    progress: what is done, bytes done, bytes in all
    raises:   BadSetting if a node uses the state folder or something is in it; Refuse if the backup is not whole
    """
    state = settings.node.state.absolute()
    folder = manifest.one_of(folder.absolute())
    found = manifest.read(folder)
    if found.tables not in revisions.known():
        raise BadSetting(
            f"The backup has tables {found.tables}; this program knows {revisions.known()[-1]}.",
            fix=f"Install version {found.program} of the node or a newer one, then restore.",
        )
    if state == folder or state in folder.parents:
        raise BadSetting(f"{folder} lies in the state folder {state}.", fix="Move it to another place first.")
    if state.exists():
        running.require_stopped(state, "Nothing is restored")
        if not aside and _content(state):
            raise BadSetting(
                f"{state} is not empty.", fix="Add --aside, which moves what is there into a folder aside."
            )
    _require_room(state, found)
    if wrong := verifying.faults(folder, found, progress=lambda done, total: progress("verifying", done, total)):
        raise Refuse(
            f"The backup {folder} is not whole: {verifying.said(wrong)}.", fix="Nothing was changed. Use another one."
        )
    try:
        return _restore(settings, state, folder, found, progress=progress)
    except OSError as error:
        why = "The disk is full" if is_full(error) else f"The state could not be written: {error.strerror}"
        raise BadSetting(f"{why}: {state}.", fix="Mend that, then run the same restore again.") from error


def _restore(
    settings: Settings, state: Path, folder: Path, found: Manifest, *, progress: Callable[[str, int, int], None]
) -> Restored:
    new = state / running.RESTORING
    state.mkdir(parents=True, exist_ok=True, mode=0o700)
    _clear_unfinished(state, new)
    new.mkdir(exist_ok=True, mode=0o700)
    copies.sync(state)
    moved = _move_aside(state)
    (new / _OWN).touch(mode=0o600)
    copies.sync(new)
    done = 0
    for name, (size, digest) in found.files.items():
        if name.startswith("spool/") or name == manifest.RECORDS:
            if files.copy(folder / name, new / name) != (size, digest):
                raise Refuse(f"{folder / name} changed while it was read.", fix="Look at that disk; run it again.")
            done += size
            progress("restoring", done, found.bytes)
    migrate(new)  # the backup may be of an older program
    with closing(Records(new)) as records, records.write() as connection:
        # What came between the first and the last moment of the backup may be in it, and counts as known then.
        doubt = restored.mark(connection, taken_at=found.ended_at, at=time.time())
    copies.copy(new / FILE_NAME, new / "whole.sqlite")  # without a log beside it
    engines = _engines(settings, folder, found)
    files.sync_all(state)
    if (new / "spool").exists():
        (new / "spool").rename(state / "spool")
    (new / "whole.sqlite").rename(state / FILE_NAME)
    copies.sync(state)
    new.rename(trash := state / f"{running.RESTORING}.done")  # at once: half of it would say that it is unfinished
    copies.sync(state)
    shutil.rmtree(trash)
    files.own_like(state, state)
    log.info("restored", files=len(found.files), bytes=found.bytes, taken_at=found.taken_at)
    return Restored(folder=folder, found=found, doubt=doubt, aside=moved, engines=engines)


def _content(state: Path) -> list[Path]:
    """What a state folder holds, without what was moved aside before or an unfinished restore left."""
    if (state / running.RESTORING / _OWN).exists():
        return []
    stays = (running.RESTORING, f"{running.RESTORING}.done", "lost+found")
    return [path for path in state.iterdir() if not path.name.startswith("aside-") and path.name not in stays]


def _clear_unfinished(state: Path, new: Path) -> None:
    """A restore that did not come to its end begins again: all that lies here is its own."""
    if not (new / _OWN).exists():
        return
    shutil.rmtree(state / "spool", ignore_errors=True)
    for path in state.glob(f"{FILE_NAME}*"):
        path.unlink()
    shutil.rmtree(new)


def _move_aside(state: Path) -> Path | None:
    """Into a folder of the state folder itself: that is one rename each, also where it is a disk of its own."""
    content = _content(state)
    if not content:
        return None
    aside = state / f"aside-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}"
    aside.mkdir(mode=0o700)
    for path in content:
        path.rename(aside / path.name)
    copies.sync(state)
    return aside


def _require_room(state: Path, found: Manifest) -> None:
    nearest = next(path for path in (state, *state.parents) if path.exists())
    needed = found.bytes + 2 * found.files[manifest.RECORDS][0] + _MARGIN_BYTES
    if files.free_bytes(nearest) < needed:
        raise BadSetting(
            f"{state} has {files.free_bytes(nearest) >> 20} MB free; the restore needs {(needed >> 20) + 1} MB.",
            fix="Free some, or set node.state to a larger disk.",
        )


def _engines(settings: Settings, folder: Path, found: Manifest) -> str:
    """Put the engines of the site back where there are none. Says what was done."""
    mine = {name: entry for name, entry in found.files.items() if name.startswith("engines/")}
    to = settings.engines.folder
    if not mine:
        return ""
    if to is None:
        return "the settings name no engines.folder; those of the backup lie in its folder engines/"
    if to.exists() and any(to.iterdir()):
        same = all(
            (to / name.removeprefix("engines/")).is_file() and files.digest(to / name.removeprefix("engines/")) == entry
            for name, entry in mine.items()
        )
        return "" if same else f"{to} holds other engines than the backup, and stays as it is"
    for name in mine:
        files.copy(folder / name, to / name.removeprefix("engines/"))
    files.sync_all(to)
    return f"{len(mine)} files of the site's engines are back in {to}"
