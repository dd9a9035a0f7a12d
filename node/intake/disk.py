"""What the node asks of a disk: whole files, synced names, and a plain word when there is no room or no trust."""

import contextlib
import ctypes
import errno
import fcntl
import os
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Final

from node.errors import BadSetting, Retry

_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_BROKEN: Final = frozenset({errno.EIO, errno.EROFS, errno.ENXIO, errno.EUCLEAN})
_LIBC: Final = ctypes.CDLL(None)
_BLOCK_BYTES: Final = 4096  # what O_DIRECT may ask of offset and length
_SYNC_FILE_RANGE_WRITE: Final = 2  # linux/fs.h; a hint only, so its result says nothing that a sync would not


class SpoolFull(Retry):
    """No room for another object; answered with A700."""


class SpoolFailed(Retry):
    """The disk failed to write or sync. Nothing is taken until the node was started again; answered with A700."""


def is_full(error: OSError) -> bool:
    """Whether there was no room, and nothing else is wrong."""
    return error.errno in _FULL


def is_broken(error: OSError) -> bool:
    """Whether the disk itself failed, so that what it says of later writes means nothing."""
    return error.errno in _BROKEN


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_whole(descriptor: int, data: memoryview) -> None:
    """Write all of `data` where the file stands; a write may take less than it was given."""
    while data:
        data = data[os.write(descriptor, data) :]


def write_direct(descriptor: int, data: memoryview) -> None:
    """Write what begins on a page of memory to a new file that was opened with `O_DIRECT`.

    Straight from memory to the disk: no page of the cache is taken and filled only to be synced at once. The rest that
    is no whole block is an ordinary write, and all of it is where the file system does nothing else.
    """
    try:
        written = os.write(descriptor, data[: len(data) // _BLOCK_BYTES * _BLOCK_BYTES])
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        written = 0
    fcntl.fcntl(descriptor, fcntl.F_SETFL, fcntl.fcntl(descriptor, fcntl.F_GETFL) & ~os.O_DIRECT)
    write_whole(descriptor, data[written:])


def start_writing_back(descriptor: int) -> None:
    """Have the kernel write what is dirty now, and do not wait: the sync at the end of a large file has little left."""
    _LIBC.sync_file_range(descriptor, ctypes.c_int64(0), ctypes.c_int64(0), _SYNC_FILE_RANGE_WRITE)


def output_folder(folder: Path) -> Path:
    """Make a folder that a person named for results. Raises BadSetting."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / f".{uuid.uuid4().hex}.probe"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise BadSetting(f"{folder} cannot be written: {error.strerror}.", fix="Name another folder.") from error
    return folder


@contextlib.contextmanager
def written_aside(path: Path) -> Iterator[BinaryIO]:
    """A file to write that appears under its name whole and synced, or not at all; `sync_folder` makes it durable.

    The name aside is fixed: what a killed writer left is overwritten by the one that runs the step again.
    """
    aside = path.with_name(f".{path.name}.part")
    try:
        with aside.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        aside.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            aside.unlink(missing_ok=True)
        raise
