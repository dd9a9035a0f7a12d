"""Many files written together: synced by a thread while the next ones are made, the folder once at the end."""

import hashlib
import os
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType
from typing import Self

from node.spool import sync_folder

_AHEAD = 32  # files that may wait for their sync: the disk sets the pace, not the memory


class Batch(AbstractContextManager["Batch"]):
    """Files of one folder that are durable, names and all, when the batch ends without an error.

    A file gets its name once its bytes are synced. The name aside is fixed: what a killed writer left is overwritten by
    the one that runs the step again.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._syncing: list[Future[None]] = []
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="sync")

    def __enter__(self) -> Self:
        self._folder.mkdir(parents=True, exist_ok=True)
        return self

    def write(self, name: str, pieces: Iterable[bytes | memoryview]) -> tuple[str, int]:
        """Write one file; returns the SHA-256 of its bytes and how many they are."""
        if len(self._syncing) >= _AHEAD:
            self._syncing.pop(0).result()
        digest, size = hashlib.sha256(), 0
        aside = self._folder / f".{name}.part"
        descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        try:
            for piece in pieces:
                view = memoryview(piece).cast("B")
                digest.update(view)
                size += view.nbytes
                while view:
                    view = view[os.write(descriptor, view) :]
        except BaseException:
            os.close(descriptor)
            aside.unlink(missing_ok=True)
            raise
        self._syncing.append(self._thread.submit(_settle, descriptor, aside, self._folder / name))
        return digest.hexdigest(), size

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._thread.shutdown(wait=True)
        if error is None:
            for waiting in self._syncing:
                waiting.result()
            sync_folder(self._folder)


def _settle(descriptor: int, aside: Path, path: Path) -> None:
    try:
        os.fdatasync(descriptor)  # with the length, which is all of the metadata that reading needs
    finally:
        os.close(descriptor)
    aside.replace(path)
