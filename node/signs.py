"""Signs of life: what each part of the node says of itself, in a small file that readiness, commands and peers read."""

import json
import os
import time
from pathlib import Path
from typing import Any, Final

EVERY_S: Final = 1.0
_SILENT_S: Final = 10.0


def beat(state: Path, part: str, **facts: int) -> None:
    """Say that a part serves. facts: what it says of itself"""
    path = _file(state, part)
    aside = path.with_suffix(f".{os.getpid()}")
    aside.write_text(json.dumps({"at": time.time(), "pid": os.getpid(), **facts}), encoding="utf-8")
    aside.replace(path)


def last(state: Path, part: str, *, now: float | None = None) -> dict[str, int]:
    """What a part last said of itself; empty if its process is gone or it has been silent for 10 s.

    now: seconds since the epoch; the clock's if it is not given
    """
    try:
        said: Any = json.loads(_file(state, part).read_text(encoding="utf-8"))
        os.kill(said["pid"], 0)
        silent_s = abs((time.time() if now is None else now) - said["at"])
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    return dict(said) if silent_s < _SILENT_S else {}


def engine_off(name: str) -> str:
    """The fact that a worker tells of an engine that missed its recorded cases."""
    return f"off {name}"


def engine_away(name: str) -> str:
    """The fact that a worker tells of an engine whose server does not answer."""
    return f"away {name}"


def _file(state: Path, part: str) -> Path:
    return state.absolute() / f"{part}.alive"
