"""Which processes of a node use a state folder: each holds a lock there as long as it lives."""

import fcntl
from pathlib import Path

from node.errors import BadSetting

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


def _is_held(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except FileNotFoundError:
        return False
    return False
