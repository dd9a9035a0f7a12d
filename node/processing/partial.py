"""A result in the making: written slice by slice, and taken up again by the worker that follows one that died."""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.format import open_memmap
from numpy.typing import NDArray

from node.errors import Retry
from node.processing.mapped import forget

_EVERY = 16  # slices after which written pages are given back


@dataclass(frozen=True, kw_only=True)
class Partial:
    """A result's file under another name, and which of its slices are there.

    Not synced: it lies in a folder that nobody looks at after a restart of the machine, and what leaves the node is
    synced as the objects that are derived from it. A process that is killed leaves what it wrote in the kernel's cache.

    voxels: (z factor, y, x) float32
    map:    of the same shape, the map beside it; None where none is wanted
    done:   (z,) uint8, 1 for a slice of the source whose place in the result, and in the map, was written before
    """

    voxels: NDArray[np.float32]
    map: NDArray[np.float32] | None
    done: NDArray[np.uint8]
    files: tuple[Path, Path, Path]

    @classmethod
    def open(
        cls, path: Path, shape: tuple[int, ...], *, maker: str, factor: int = 1, with_map: bool = False
    ) -> "Partial":
        """What becomes `path`.

        shape:    of the source, (z, y, x)
        maker:    what computes it; slices of another maker are not taken up
        factor:   slices of the result for one of the source
        with_map: whether a map goes with it; slices that were made without are not taken up
        raises:   Retry when the disk has no room
        """
        total, *plane = shape
        shape = (total * factor, *plane)
        key = hashlib.sha256(f"{maker} {shape}{' map' * with_map}".encode()).hexdigest()[:16]
        voxels, beside, done = (path.with_name(f"{path.name}.{key}.{what}") for what in ("part", "map", "done"))
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        arrays = [voxels, beside] if with_map else [voxels]
        if not all(file.exists() for file in (*arrays, done)):
            for file in arrays:
                _make(file, np.dtype(np.float32), shape)
            _make(done, np.dtype(np.uint8), (total,))  # last: without it the others are begun anew
        return cls(
            voxels=open_memmap(voxels, mode="r+"),
            map=open_memmap(beside, mode="r+") if with_map else None,
            done=open_memmap(done, mode="r+"),
            files=(voxels, beside, done),
        )

    @property
    def path(self) -> Path:
        """The file of `voxels`."""
        return self.files[0]

    def known(self, index: int) -> NDArray[np.float32] | None:
        """What stands for a slice of the source, if it is there: (y, x), or (factor, y, x)."""
        if not self.done[index]:
            return None
        factor = len(self.voxels) // len(self.done)
        return self.voxels[index] if factor == 1 else self.voxels[index * factor : (index + 1) * factor]

    def wrote(self, index: int) -> None:
        """Say that a slice is whole."""
        self.done[index] = 1
        if index % _EVERY == _EVERY - 1:
            forget(self.voxels, self.map)

    def begin_anew(self) -> None:
        """Nothing is there any more: what follows changes every slice, and half of it is no result."""
        self.done[:] = 0

    def finish(self, path: Path) -> None:
        """Give the result its name, its map before it; the old ones stay, for those that still read there."""
        forget(self.voxels, self.map)
        if self.map is not None:  # first: who finds a result finds its map
            map_path(path).unlink(missing_ok=True)
            map_path(path).hardlink_to(self.files[1])
        path.hardlink_to(self.files[0])
        self.files[2].unlink()


def map_path(result: Path) -> Path:
    """Where the map of a result lies."""
    return result.with_name("map.npy")


def _make(path: Path, dtype: np.dtype[Any], shape: tuple[int, ...]) -> None:
    """A file of zeros that appears whole. Its blocks are taken now: a mapping that finds no room ends its process."""
    aside = path.with_name(f".{path.name}.new")
    try:
        array = open_memmap(aside, mode="w+", dtype=dtype, shape=shape)
        with aside.open("rb+") as file:
            os.posix_fallocate(file.fileno(), 0, array.offset + array.nbytes)
    except OSError as error:
        aside.unlink(missing_ok=True)
        raise Retry(f"A result cannot be begun: {error.strerror}.", fix="Free some disk space.") from error
    aside.replace(path)
