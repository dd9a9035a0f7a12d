"""Whether the files of the engines are what was sealed: read again only when one of them was touched."""

from collections.abc import Collection
from pathlib import Path

from engines.engine import EngineError
from engines.parity import recorded_cases
from engines.store import HERE, SUMS, find_spec, read_weights

_Stamp = tuple[tuple[str, int, int, int], ...]


class EngineFiles:
    """Of the engines that the rules need. A worker that has one loaded goes on with it; a start would find it missing.

    names:  of the engines
    folder: the site's own engines, if there are any
    """

    def __init__(self, names: Collection[str], folder: Path | None) -> None:
        self._names, self._folder = sorted(names), folder
        self._known: dict[str, tuple[_Stamp, bool]] = {}

    def whole(self) -> dict[str, bool]:
        """Engine -> whether its files are there, as they were sealed."""
        return {name: self._is_whole(name) for name in self._names}

    def _is_whole(self, name: str) -> bool:
        stamp = tuple(one for folder in (self._folder, HERE) if folder is not None for one in _stamp(folder, name))
        before = self._known.get(name)
        if before is None or before[0] != stamp:
            self._known[name] = before = stamp, _fits(name, self._folder)
        return before[1]


def _fits(name: str, folder: Path | None) -> bool:
    try:
        spec = find_spec(name, folder)
        read_weights(spec)
        recorded_cases(spec)
    except EngineError:
        return False
    return True


def _stamp(folder: Path, name: str) -> _Stamp:
    """What changes with the files. All weights: external data lie beside those that the specification names."""
    paths = [folder / SUMS, folder / "specs" / f"{name}.toml", folder / "cases" / f"{name}.npz"]
    return tuple(one for path in (*paths, *sorted((folder / "weights").glob("*"))) for one in _of(path))


def _of(path: Path) -> _Stamp:
    try:
        found = path.stat()
    except OSError:  # it is not there; that is seen where it is read
        return ()
    return ((str(path), found.st_mtime_ns, found.st_size, found.st_ino),)
