"""Bytes on disk: written aside, synced, renamed. Names are ours, never the sender's.

A file's name is the SHA-256 of its data set, so the same bytes twice are the same file and a crash between the file and
its record leaves nothing that a second send would not reuse.
"""

import contextlib
import errno
import hashlib
import os
import shutil
import struct
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Final

from node.errors import BadSetting, Retry

_FOLDERS: Final = tuple(f"{n:02x}" for n in range(256))
_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


class SpoolFull(Retry):
    """No room for another object; answered with A700."""


class Spool:
    """The folders of one node: `in` (as received), `aside` (being written), `work` (arrays), `out` (results)."""

    def __init__(self, state: Path, *, reserve_bytes: int) -> None:
        self.root = state / "spool"
        self.reserve_bytes = reserve_bytes
        self._in, self._aside = self.root / "in", self.root / "aside"
        # Arrays between stages are not synced; after a power cut the folder of that boot is never looked at again.
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        self.work, self.out = self.root / "work" / boot, self.root / "out"

    def prepare(self) -> None:
        """Make the folders, durable, and prove that they can be written. Raises BadSetting."""
        try:
            for folder in (self._in, self._aside, self.work, self.out, *(self._in / name for name in _FOLDERS)):
                folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            for folder in (self._in, self.root, self.root.parent):
                sync_folder(folder)
            probe = self._aside / f"{os.getpid()}-probe"
            with written_aside(probe) as file:
                file.write(b"writable")
            sync_folder(self._aside)
            probe.unlink()
        except OSError as error:
            raise BadSetting(
                f"The spool {self.root} cannot be written: {error.strerror}.",
                fix="Give the node's user that folder, or set node.state to another one.",
            ) from error

    def sweep(self) -> None:
        """Remove what dead processes left half-written, and the arrays of earlier boots."""
        for stale in self._aside.iterdir():
            pid = stale.name.partition("-")[0]
            if not (pid.isdigit() and Path("/proc", pid).exists()):
                stale.unlink(missing_ok=True)
        for old in self.work.parent.iterdir():
            if old != self.work:
                shutil.rmtree(old)

    def free_bytes(self) -> int:
        return shutil.disk_usage(self.root).free

    def has_room(self, size: int) -> bool:
        return self.free_bytes() - size >= self.reserve_bytes

    def path(self, file: str) -> Path:
        """Where a file of the records lies."""
        return self._in / file[:2] / file

    def holds(self, file: str, sha256: str) -> bool:
        """Whether a file below the spool is there and is what was written."""
        try:
            return hashlib.sha256((self.root / file).read_bytes()).hexdigest() == sha256
        except FileNotFoundError:
            return False

    def keep(self, sha256: str, meta: bytes, data_set: bytes | memoryview) -> str:
        """Write one received object as a Part 10 file and sync the file. The folder is synced by `sync`.

        sha256:  hex digest of `data_set`, which is also the name
        meta:    preamble, prefix and File Meta Information
        raises:  SpoolFull
        """
        name = f"{sha256}.dcm"
        target, aside = self.path(name), self._aside / f"{os.getpid()}-{uuid.uuid4().hex}"
        if not self.has_room(len(data_set)):
            raise SpoolFull("Less disk space is free than node.disk_reserve_mb.", fix="Free some; senders try again.")
        try:
            descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            try:
                with open(descriptor, "wb", buffering=0) as file:  # noqa: PTH123  it is a descriptor
                    for part in (meta, data_set):
                        view = memoryview(part)
                        while view:
                            view = view[file.write(view) :]
                    os.fsync(file.fileno())
            except OSError:
                aside.unlink(missing_ok=True)
                raise
            aside.replace(target)
        except OSError as error:
            if error.errno in _FULL:
                raise SpoolFull("The spool's disk is full.", fix="Free some; senders try again.") from error
            raise
        return name

    def sync(self, files: set[str]) -> None:
        """Make the names of these files durable: one sync for each folder."""
        for folder in {self.path(file).parent for file in files}:
            sync_folder(folder)


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


def sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def file_meta(*, sop_class_uid: str, sop_instance_uid: str, transfer_syntax: str, implementation_uid: str) -> bytes:
    """Preamble, prefix and File Meta Information (PS3.10 7.1). The preamble is 128 zero bytes, whatever came."""

    def element(number: int, vr: bytes, value: bytes, pad: bytes = b"\0") -> bytes:
        value += pad * (len(value) % 2)
        if vr == b"OB":
            return struct.pack("<HH2sHI", 2, number, vr, 0, len(value)) + value
        return struct.pack("<HH2sH", 2, number, vr, len(value)) + value

    body = (
        element(0x0001, b"OB", b"\0\1")
        + element(0x0002, b"UI", sop_class_uid.encode("ascii"))
        + element(0x0003, b"UI", sop_instance_uid.encode("ascii"))
        + element(0x0010, b"UI", transfer_syntax.encode("ascii"))
        + element(0x0012, b"UI", implementation_uid.encode("ascii"))
    )
    return b"\0" * 128 + b"DICM" + element(0x0000, b"UL", struct.pack("<I", len(body))) + body
