"""The folder of all backups: whether it can take one, what it is called, and which ones go."""

import itertools
import json
import os
import shutil
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

from node.backup import files, manifest
from node.errors import BadSetting
from node.log import log
from node.settings import Settings

PART: Final = ".part"  # ends the name of what is not whole
OWNER: Final = "of.json"  # whose unfinished backup it is


def identity(settings: Settings) -> dict[str, str]:
    """Whose backups belong together."""
    node = settings.node
    return {
        "station_name": node.station_name,
        "device_serial": node.device_serial,
        "state": str(node.state.absolute()),
    }


def prepare(state: Path, to: Path) -> tuple[Path, tuple[str, ...]]:
    """Make the folder of all backups, and prove that it can be written; with what to warn of. Raises BadSetting."""
    place = to.absolute()
    real, of_state = place.resolve(), state.resolve()
    if real == of_state or of_state in real.parents:
        raise BadSetting(f"{to} lies in the node's own folder {state}.", fix="Name a folder on another disk.")
    try:
        place.mkdir(parents=True, exist_ok=True, mode=0o700)
        probe = place / f".{os.getpid()}.probe"
        probe.touch(mode=0o600)
        probe.unlink()
    except OSError as error:
        raise BadSetting(f"{to} cannot be written: {error.strerror}.", fix="Name another folder.") from error
    if is_near(state, place):
        return place, (f"{place} is on the file system of the node's folder: what takes that disk takes this backup.",)
    return place, ()


def is_near(state: Path, place: Path) -> bool:
    """Whether the backups lie on the file system of the state folder."""
    return state.stat().st_dev == place.stat().st_dev


def free_name(place: Path, taken_at: float) -> Path:
    """Where the next backup goes."""
    name = f"imaging-node-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime(taken_at))}"
    free = (name if number == 1 else f"{name}-{number}" for number in itertools.count(1))
    return next(place / one for one in free if not (place / one).exists())


def no_room(place: Path, needed: int = 0) -> BadSetting:
    """What to say when it is full. needed: bytes, where that is known"""
    wanted = f"; this backup needs {(needed >> 20) + 1} MB" if needed else ""
    return BadSetting(
        f"{place} has {files.free_bytes(place) >> 20} MB free{wanted}.",
        fix="Free some, keep fewer backups with --keep, or name another disk. Earlier backups are untouched.",
    )


def sweep(place: Path, node: dict[str, str]) -> None:
    """Remove what an interrupted backup of this node left."""
    for left in place.glob(f".imaging-node-*{PART}"):
        with suppress(OSError, ValueError):
            if json.loads((left / OWNER).read_text(encoding="utf-8")) == node:
                shutil.rmtree(left, ignore_errors=True)
                log.info("an unfinished backup is removed", folder=left.name)


def thin(place: Path, node: dict[str, str], keep: int | None) -> tuple[str, ...]:
    """Remove all backups of a node but the newest; all stay if `keep` is None. Returns the names of those that went."""
    if keep is None:
        return ()
    old = manifest.every(place, node)[:-keep]
    for folder in old:
        gone = folder.with_name(f".{folder.name}{PART}")
        (folder / OWNER).write_text(json.dumps(node), encoding="utf-8")
        folder.rename(gone)  # not half a backup under its name, however it ends
        shutil.rmtree(gone, ignore_errors=True)
    return tuple(folder.name for folder in old)
