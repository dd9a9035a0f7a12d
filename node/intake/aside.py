"""Where one process writes objects before they have a name in the spool, and how another one sees that it is dead.

Each process has a folder of its own there and holds a lock on it. The kernel lets the lock go when the process ends,
however it ends; so whoever gets the lock may sweep, and nobody has to trust process ids.
"""

import contextlib
import errno
import fcntl
import itertools
import os
import secrets
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

_UNLOCKED: Final = "starting-"
_STARTING_S: Final = 3600.0
_FILE_MODE: Final = 0o600
_NEW: Final = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC


class Aside:
    """The folder of one process below `aside`. Its name is the first part of the name of every file that it makes.

    root: the folder of all of them
    """

    def __init__(self, root: Path) -> None:
        self.token = secrets.token_hex(8)
        self.folder = root / self.token
        unlocked = root / f"{_UNLOCKED}{self.token}"  # a sibling that starts now would sweep it before it is locked
        unlocked.mkdir(mode=0o700)
        self._lock = os.open(unlocked, os.O_RDONLY | os.O_DIRECTORY)
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        unlocked.rename(self.folder)
        self._prefix = f"{self.folder}/"
        self._numbers = itertools.count()
        self._stays = False

    def path(self, name: str) -> str:
        return self._prefix + name

    def create(self, *, direct: bool) -> tuple[str, int]:
        """A new file: its name, and a descriptor to write and to read; for `write_direct` if it is `direct`.

        raises: OSError
        """
        name = f"{self.token}-{next(self._numbers):08x}.dcm"
        if direct:
            try:
                return name, os.open(self._prefix + name, _NEW | os.O_DIRECT, _FILE_MODE)
            except OSError as error:
                if error.errno != errno.EINVAL:  # the file system has no such thing
                    raise
                self.remove(name)
        return name, os.open(self._prefix + name, _NEW, _FILE_MODE)

    def remove(self, name: str) -> None:
        (self.folder / name).unlink(missing_ok=True)

    def leave(self) -> None:
        """Something of this process has to be looked for: its folder stays when it ends, as if it had been killed."""
        self._stays = True

    def close(self) -> None:
        """Nothing of this process waits any more."""
        if not self._stays:
            shutil.rmtree(self.folder, ignore_errors=True)
        os.close(self._lock)


def sweep(root: Path, orphans: Callable[[str], None]) -> None:
    """Remove what dead processes left below `aside`.

    orphans: called with the token of each dead process before its folder goes; removes what it had renamed into the
             spool and nobody recorded. It is called again after a crash in the middle.
    """
    for folder in sorted(root.iterdir()):
        if not folder.is_dir():  # of versions that had no folders here
            pid = folder.name.partition("-")[0]
            if not (pid.isdigit() and Path("/proc", pid).exists()):
                folder.unlink(missing_ok=True)
            continue
        if folder.name.startswith(_UNLOCKED):
            with contextlib.suppress(OSError):  # it is empty; at most its maker has locked and renamed it by now
                if time.time() - folder.stat().st_mtime > _STARTING_S:
                    folder.rmdir()
            continue
        for _ in _locked(folder):
            orphans(folder.name)
            shutil.rmtree(folder, ignore_errors=True)


def _locked(folder: Path) -> Iterator[None]:
    """Once, with the lock of a folder whose process is dead; not at all if it lives or somebody else sweeps."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except FileNotFoundError:
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        return
    finally:
        os.close(descriptor)
