"""Copies single files into a backup, and makes them durable all at once."""

import ctypes
import errno
import hashlib
import os
import shutil
import stat
from pathlib import Path
from typing import Final

from node.backup import manifest

_CHUNK: Final = 1 << 20
_LIBC: Final = ctypes.CDLL(None, use_errno=True)


def copy(source: Path, to: Path) -> tuple[int, str]:
    """Copy a file; returns its bytes and SHA-256. `sync_all` makes it durable. Raises OSError."""
    to.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    digest, size = hashlib.sha256(), 0
    with source.open("rb") as read, open(os.open(to, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as written:  # noqa: PTH123
        while chunk := read.read(_CHUNK):
            digest.update(chunk)
            written.write(chunk)
            size += len(chunk)
    return size, digest.hexdigest()


def link(source: Path, to: Path) -> bool:
    """Give a file of an earlier backup, or of the spool, a second name. Returns whether the file system can."""
    to.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    try:
        os.link(source, to)
    except FileNotFoundError:
        raise
    except OSError as error:
        if error.errno in (errno.EXDEV, errno.EPERM, errno.EMLINK, errno.ENOTSUP, errno.ENOSYS, errno.EACCES):
            return False
        raise
    return True


def digest(path: Path) -> tuple[int, str]:
    """Bytes and SHA-256 of a file. Raises OSError."""
    with path.open("rb") as file:
        return path.stat().st_size, manifest.digest_of(file)


def sync_all(folder: Path) -> None:
    """Make everything on a folder's file system durable: one call, however many files. Raises OSError."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        if _LIBC.syncfs(descriptor):
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    finally:
        os.close(descriptor)


def tree(folder: Path) -> list[Path]:
    """The plain files below a folder."""
    return sorted(path for path in folder.rglob("*") if stat.S_ISREG(path.lstat().st_mode))


def own_like(folder: Path, like: Path) -> None:
    """Give what root made to the owner of another folder; nobody else can, and need not."""
    if os.geteuid():
        return
    owner = like.stat()
    for path in [folder, *folder.rglob("*")]:
        os.chown(path, owner.st_uid, owner.st_gid, follow_symlinks=False)


def free_bytes(folder: Path) -> int:
    return shutil.disk_usage(folder).free
