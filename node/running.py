"""Which processes of a node use a state folder: each holds a lock there as long as it lives."""

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path

from node.errors import BadSetting

RESTORING = ".restoring"  # there while a restore is under way
_BESIDE = ("records", "backup")  # locks of commands that work beside a node


def parts(state: Path) -> list[str]:
    """The parts of a node that live on a state folder, as in ["node", "worker"]."""
    return [path.stem for path in sorted(state.glob("*.lock")) if path.stem not in _BESIDE and _is_held(path)]


def require_stopped(state: Path, doing: str) -> None:
    """Raises BadSetting if a node uses the state folder."""
    if found := parts(state):
        raise BadSetting(
            f"{doing}: a node ({', '.join(found)}) uses {state}.",
            fix="Stop it first, as in `systemctl stop imaging-node`.",
        )


def require_whole(state: Path) -> None:
    """Raises BadSetting if a restore of the state folder did not come to its end."""
    if (state / RESTORING).exists():
        raise BadSetting(
            f"A restore into {state} did not come to its end.", fix="Run the same `imaging-node restore` again."
        )


@contextlib.contextmanager
def turn(state: Path, name: str, *, patience_s: float, fix: str = "Wait until it has ended.") -> Iterator[None]:
    """Hold the lock `name` of a state folder. Raises BadSetting, with that fix, if another process keeps it so long."""
    with (state / f"{name}.lock").open("w") as file:
        give_to_owner(state / f"{name}.lock")
        until = time.monotonic() + patience_s
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError as error:
                if time.monotonic() > until:
                    raise BadSetting(f"Another process ({name}) uses {state}.", fix=fix) from error
                time.sleep(0.1)
        yield


def give_to_owner(path: Path) -> None:
    """What root made in a state folder belongs to the node's user, as the folder does."""
    if not os.geteuid():
        owner = path.parent.stat()
        os.chown(path, owner.st_uid, owner.st_gid)


def _is_held(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except FileNotFoundError:
        return False
    return False
