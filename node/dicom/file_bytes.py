"""The bytes of a large file, read where they are asked for: a child decodes an object that it could not hold."""

import os
from pathlib import Path


class FileBytes:
    """Sliced like bytes. A mapped file would count against the address space of the child (RLIMIT_AS)."""

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self._size = os.fstat(self._descriptor).st_size

    def __del__(self) -> None:
        os.close(self._descriptor)

    def __len__(self) -> int:
        return self._size

    def __getitem__(self, where: slice) -> bytes:
        start, stop, _ = where.indices(self._size)
        return os.pread(self._descriptor, max(0, stop - start), start)


Bytes = bytes | FileBytes
