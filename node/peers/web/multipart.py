"""The body of a STOW-RS request: finished files one after the other, as they lie on disk (PS3.18 8.6.1.2)."""

import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

_END = b"\r\n"


class FilesBody:
    """multipart/related; type="application/dicom", read block by block: no file is in memory.

    `len()` is the whole size, so that requests sends a Content-Length: some servers take no chunked requests.
    """

    def __init__(self, files: Sequence[Path]) -> None:
        self.boundary = uuid.uuid4().hex  # 122 random bits do not occur in images
        heads = [f"--{self.boundary}\r\nContent-Type: application/dicom\r\n\r\n".encode()] * len(files)
        heads[1:] = [_END + head for head in heads[1:]]
        self._tail = f"\r\n--{self.boundary}--\r\n".encode()
        self._parts = list(zip(heads, files, strict=True))
        self._size = sum(len(head) + path.stat().st_size for head, path in self._parts) + len(self._tail)
        self._blocks = self._read_blocks(1 << 16)
        self._rest = b""
        self._asked = 1 << 16

    @property
    def content_type(self) -> str:
        """For the header of the request."""
        return f'multipart/related; type="application/dicom"; boundary={self.boundary}'

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Iterator[bytes]:
        """What tells requests that this is a stream; http.client then calls `read`."""
        while block := self.read():
            yield block

    def read(self, size: int = 1 << 18) -> bytes:
        """The next at most `size` bytes; empty at the end."""
        self._asked = size
        if not self._rest:
            self._rest = next(self._blocks, b"")
        block, self._rest = self._rest[:size], self._rest[size:]
        return block

    def _read_blocks(self, least: int) -> Iterator[bytes]:
        for head, path in self._parts:
            yield head
            with path.open("rb") as file:
                yield from self._of(file, least)
        yield self._tail

    def _of(self, file: BinaryIO, least: int) -> Iterator[bytes]:
        while block := file.read(max(least, self._asked)):
            yield block
