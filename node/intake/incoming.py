"""One object on its way in: bytes go to a reused buffer, and from there to a file aside when there are many.

Nothing that can be done while a sender is still busy waits for the last byte: attributes are read, pixels are
hashed. A small object is written at its end, straight to the disk; a large one buffer by buffer, so that its size does
not matter to memory.
"""

import mmap
import os
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from node.dicom.scan import Scan, Scanning
from node.dicom.source import File, Memory
from node.intake.aside import Aside
from node.intake.disk import (
    SpoolFailed,
    SpoolFull,
    start_writing_back,
    write_direct,
    write_whole,
)
from node.spool import Spool

BUFFER_BYTES: Final = (2 << 20) + (128 << 10)  # a slice of 1024 x 1024 with its header
_IDLE_BUFFERS: Final = 32


class Status(IntEnum):
    """C-STORE response statuses that the node sends (PS3.4 B.2.3, PS3.7 9.1.1.1.9; DICOM_SPEC §6)."""

    SUCCESS = 0x0000
    INTERNAL_FAILURE = 0x0110
    BAD_UID = 0x0117
    CLASS_UNSUPPORTED = 0x0122
    OUT_OF_RESOURCES = 0xA700
    MISMATCH = 0xA900
    UNREADABLE = 0xC000
    CONFLICT = 0xC001
    BAD_SERIES_UID = 0xC002
    TOO_LARGE = 0xC003
    SYNTAX_UNSUPPORTED = 0xC122  # STOW-RS only (PS3.18 I.2.2): an association negotiates it


TRANSIENT: Final = frozenset({Status.INTERNAL_FAILURE, Status.OUT_OF_RESOURCES})  # the same object may pass later


class Rejected(Exception):
    """An instance that the node does not take. `comment`: at most 64 characters, for Error Comment (0000,0902)."""

    def __init__(self, status: Status, comment: str) -> None:
        super().__init__(f"{status:#06x} {comment}")
        self.status = status
        self.comment = comment


@dataclass(frozen=True, kw_only=True)
class Head:
    """One object about to come, as its command and its association name it.

    study_uid: the study that it must belong to, where the sender named one before; empty for any
    """

    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax: str
    association: str
    calling_ae: str
    study_uid: str = ""


def out_of_resources(error: Exception) -> Rejected:
    """The answer that makes a sender try again later: never for what an object holds, only for what the node lacks."""
    failed = isinstance(error, SpoolFailed)
    return Rejected(
        Status.OUT_OF_RESOURCES, "The node's disk failed; see its log" if failed else "No disk space; try again later"
    )


class Buffers:
    """Buffers of `BUFFER_BYTES` that are used again: their pages stay, new ones would be faulted in for each object."""

    def __init__(self) -> None:
        self._idle: list[memoryview] = []

    def take(self) -> memoryview:
        try:
            return self._idle.pop()
        except IndexError:
            return memoryview(mmap.mmap(-1, BUFFER_BYTES))  # page-aligned, and pages that no object needs never exist

    def give(self, buffer: memoryview) -> None:
        if len(self._idle) < _IDLE_BUFFERS:
            self._idle.append(buffer)


class Incoming:
    """Takes the bytes of one data set. One thread at a time.

    `size`: bytes of the data set so far.
    """

    def __init__(
        self,
        head: Head,
        *,
        meta: bytes,
        spool: Spool,
        aside: Aside,
        buffers: Buffers,
        maximum_bytes: int,
        keep: "Callable[[Incoming], Future[bool]]",
    ) -> None:
        self.head, self.size = head, 0
        self._meta_bytes, self._maximum = len(meta), maximum_bytes
        self._spool, self._aside, self._buffers = spool, aside, buffers
        self._keep = keep
        self._scanning = Scanning(head.transfer_syntax)
        self._descriptor: int | None = None
        self._name = ""
        self._view = buffers.take()
        self._view[: len(meta)] = meta
        self._filled = len(meta)  # of the buffer
        self._before = -len(meta)  # where the buffer's first byte stands in the data set

    def buffer(self) -> memoryview:
        """Where the next bytes of the data set go: to its start, as many as fit, at least one."""
        return self._view[self._filled :]

    def advance(self, count: int) -> None:
        """`count` bytes of `buffer()` are filled.

        raises: Rejected if the object grows too large, or there is no room for it; nothing of it stays then
        """
        self._filled += count
        self.size += count
        if self.size > self._maximum:
            self.abandon()
            raise Rejected(Status.TOO_LARGE, f"Data set is larger than {self._maximum} bytes")
        if self._filled == BUFFER_BYTES:
            self._spill()
            return
        self._look()

    def finish(self) -> "Future[bool]":
        """The data set is complete. The future holds, when it is durable, whether it was new; or a Rejected."""
        return self._keep(self)

    def abandon(self) -> None:
        """Nothing of it stays. May be called at any time, also twice."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
            self._aside.remove(self._name)
        self.recycle()

    @property
    def spilled(self) -> bool:
        """Whether the buffer does not hold all of it any more."""
        return self._before >= 0

    def scan(self) -> Scan:
        """What is known of the whole data set. Raises Unreadable; Rejected if the disk does not take it."""
        if not self.spilled:
            return self._scanning.finish(Memory(self._view[-self._before : self._filled]))
        self._spill()
        assert self._descriptor is not None
        return self._scanning.finish(File(self._descriptor, self._meta_bytes))

    def _look(self, *, all_of_it: bool = False) -> None:
        start = max(0, -self._before)
        self._scanning.came(self._view[start : self._filled], self._before + start, all_of_it=all_of_it)

    def _spill(self) -> None:
        """Write out the buffer and begin again at its start."""
        self._look(all_of_it=True)
        try:  # there was room for a small one when it began
            self._spool.require_room(self._filled)
            if self._descriptor is None:
                self._name, self._descriptor = self._aside.create(direct=False)
            write_whole(self._descriptor, self._view[: self._filled])
            start_writing_back(self._descriptor)
        except (OSError, SpoolFull, SpoolFailed) as error:
            self.abandon()
            raise self.refusal(error) from error
        self._before += self._filled
        self._filled = 0

    def write(self) -> None:
        """Write to the file aside what is not there yet.

        raises: Rejected if the disk does not take it; nothing of it stays then
        """
        if self.spilled:
            if self._filled:
                self._spill()
            return
        try:
            self._name, self._descriptor = self._aside.create(direct=True)
            write_direct(self._descriptor, self._view[: self._filled])
        except OSError as error:
            self.abandon()
            raise self.refusal(error) from error

    def seal(self) -> str:
        """Sync the file and rename it into the spool; returns its name there. The folder is not synced yet.

        raises: Rejected if the disk does not take it; nothing of it stays then
        """
        assert self._descriptor is not None
        try:
            os.fdatasync(self._descriptor)  # with the size, without the times
            file = self._spool.adopt(self._aside.path(self._name))
        except OSError as error:
            self.abandon()
            raise self.refusal(error) from error
        os.close(self._descriptor)
        self._descriptor = None
        return file

    def refusal(self, error: Exception) -> Rejected:
        """What to answer when the disk did not take it."""
        if isinstance(error, OSError):
            error = self._spool.trouble(error)
        return out_of_resources(error)

    def recycle(self) -> None:
        """The buffer's bytes are not needed any more."""
        if self._view:
            self._buffers.give(self._view)
            self._view = memoryview(b"")
