"""The folders that received files lie in: one for each hour, so that a group of files needs one sync for all names."""

import os
import threading
import time
from pathlib import Path
from typing import Final

from node.intake.disk import sync_folder

_OPEN: Final = 2  # an hour that ends while its last files are synced, and the next one


class Hours:
    """Renames files into the folder of this hour (UTC), and syncs it.

    Folders stay open, and a rename goes to the very folder that is synced afterwards: a purge that removes an empty one
    and somebody who makes it again cannot come between the two. From any thread.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._open: dict[str, int] = {}
        self._turn = threading.Lock()
        self._named = (0, "")  # an hour since the epoch, and its name

    def adopt(self, path: str | Path) -> str:
        """Rename a file into this hour's folder; returns hour/name. Raises OSError."""
        hour, name = self._now(), os.path.basename(path)  # noqa: PTH119  before every answer
        with self._turn:
            try:
                os.rename(path, name, dst_dir_fd=self._descriptor(hour))
            except FileNotFoundError:  # a purge took the folder for an empty one
                os.close(self._open.pop(hour))
                os.rename(path, name, dst_dir_fd=self._descriptor(hour))
        return f"{hour}/{name}"

    def sync(self, hour: str) -> None:
        """Make the names in a folder durable. Raises OSError."""
        with self._turn:
            # Of its own, for as long as the sync takes: the other one may be closed meanwhile.
            descriptor = os.dup(self._open[hour]) if hour in self._open else os.open(self._root / hour, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def close(self) -> None:
        with self._turn:
            for descriptor in self._open.values():
                os.close(descriptor)
            self._open.clear()

    def _now(self) -> str:
        now = int(time.time())
        if self._named[0] != now // 3600:
            self._named = (now // 3600, time.strftime("%Y%m%d%H", time.gmtime(now)))
        return self._named[1]

    def _descriptor(self, hour: str) -> int:
        descriptor = self._open.get(hour)
        if descriptor is None:
            folder = self._root / hour
            folder.mkdir(exist_ok=True, mode=0o700)
            sync_folder(self._root)  # also if another process made it: that one may not have come to its sync yet
            while len(self._open) >= _OPEN:
                os.close(self._open.pop(next(iter(self._open))))
            descriptor = self._open[hour] = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        return descriptor
