"""Where the header scan reads from: a buffer, a file, or what a deflated one inflates to. Memory does not grow with it.

A source is read from its start to its end, once, in windows: what lies behind is not asked for again.
"""

import hashlib
import os
import threading
import zlib
from typing import Final, Protocol

from node.dicom.classes import MAXIMUM_INFLATED_BYTES

WINDOW_BYTES: Final = 1 << 18
_CHUNK_BYTES: Final = 1 << 16
_INFLATING: Final = threading.BoundedSemaphore(2)  # many small bombs at once must not take the processor from all


class Unreadable(ValueError):
    """The data set breaks PS3.5 or a limit of the scan. The text says where, never what a value was."""


class Source(Protocol):
    """Bytes 0 to `size`."""

    size: int

    def window(self, at: int) -> tuple[memoryview, int]:
        """A view of some bytes and the offset of its first one: it holds `at` and 12 bytes from there, or the end."""
        ...

    def read(self, at: int, count: int) -> bytes:
        """`count` bytes from `at` on, fewer at the end; at most `WINDOW_BYTES`."""
        ...

    def feed(self, digest: "hashlib._Hash", start: int, stop: int) -> None:
        """Put these bytes into a digest."""
        ...


class Memory:
    """A data set in one buffer."""

    def __init__(self, data: bytes | memoryview) -> None:
        self._view = memoryview(data)
        self.size = len(self._view)

    def window(self, at: int) -> tuple[memoryview, int]:
        return self._view, 0

    def read(self, at: int, count: int) -> bytes:
        return bytes(self._view[at : at + count])

    def feed(self, digest: "hashlib._Hash", start: int, stop: int) -> None:
        digest.update(self._view[start:stop])


class File:
    """A data set in a file, from an offset to its end. Not mapped: pages that were touched would count as resident."""

    def __init__(self, descriptor: int, offset: int) -> None:
        self._descriptor, self._offset = descriptor, offset
        self.size = os.fstat(descriptor).st_size - offset
        self._window, self._base = memoryview(b""), 0
        self._chunk = memoryview(b"")

    def window(self, at: int) -> tuple[memoryview, int]:
        if not self._base <= at <= self._base + len(self._window) - 12:
            self._window, self._base = memoryview(self._pread(at, WINDOW_BYTES)), at
        return self._window, self._base

    def read(self, at: int, count: int) -> bytes:
        start = at - self._base
        if start >= 0 and start + count <= len(self._window):
            return bytes(self._window[start : start + count])
        return self._pread(at, count)

    def feed(self, digest: "hashlib._Hash", start: int, stop: int) -> None:
        if not self._chunk:
            self._chunk = memoryview(bytearray(4 * WINDOW_BYTES))
        while start < stop:
            count = os.preadv(self._descriptor, [self._chunk[: stop - start]], self._offset + start)
            if count == 0:
                raise Unreadable(f"the file ends at offset {start}")
            digest.update(self._chunk[:count])
            start += count

    def _pread(self, at: int, count: int) -> bytes:
        return os.pread(self._descriptor, count, self._offset + at)


class Inflated:
    """What another source inflates to (PS3.5 A.5: raw deflate), inflated piece by piece as it is asked for.

    It is inflated twice: once to learn how long it is, and that it ends, before anything trusts a length in it.

    raises: Unreadable if it does not inflate, or to more than `MAXIMUM_INFLATED_BYTES`
    """

    _held: bytes
    _base: int

    def __init__(self, deflated: Source) -> None:
        self._deflated, self.size = deflated, 0
        self._restart()
        with _INFLATING:
            while part := self._next():
                self.size += len(part)
                if self.size > MAXIMUM_INFLATED_BYTES:
                    raise Unreadable(f"the deflated data set inflates to more than {MAXIMUM_INFLATED_BYTES} bytes")
        self._restart()

    def window(self, at: int) -> tuple[memoryview, int]:
        self._reach(at, 12)
        return memoryview(self._held), self._base

    def read(self, at: int, count: int) -> bytes:
        self._reach(at, count)
        return self._held[at - self._base : at - self._base + count]

    def feed(self, digest: "hashlib._Hash", start: int, stop: int) -> None:
        while start < stop:
            self._reach(start, 1)
            part = self._held[start - self._base : stop - self._base]
            digest.update(part)
            start += len(part)

    def _reach(self, at: int, count: int) -> None:
        """Go on until `count` bytes from `at` on are held, or the end is; let go of what lies before `at`."""
        with _INFLATING:
            while self._base + len(self._held) < min(at + count, self.size):
                behind = min(max(0, at - self._base), len(self._held))
                self._held = self._held[behind:] + self._next()
                self._base += behind

    def _restart(self) -> None:
        self._inflater = zlib.decompressobj(-zlib.MAX_WBITS)
        self._at = self._base = 0
        self._held = b""

    def _next(self) -> bytes:
        """The next piece, at most `_CHUNK_BYTES`; nothing behind the end."""
        while not self._inflater.eof:
            encoded = self._inflater.unconsumed_tail
            if not encoded:
                encoded = self._deflated.read(self._at, _CHUNK_BYTES)
                self._at += len(encoded)
            try:
                part = self._inflater.decompress(encoded, _CHUNK_BYTES)
            except zlib.error as error:
                raise Unreadable("the deflated data set does not inflate") from error
            if part:
                return part
            if not encoded:
                raise Unreadable("the deflated data set ends early")
        return b""
