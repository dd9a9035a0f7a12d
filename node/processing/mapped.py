"""Arrays that are files: mapped, read slice by slice, and not left in this process's memory."""

import mmap
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray


def mapped(path: Path | str) -> NDArray[Any]:
    """A .npy file to read from. Raises FileNotFoundError."""
    array: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    return array


def forget(*arrays: NDArray[Any] | None) -> None:
    """Give the pages of mapped arrays back; the next look at them reads the file's pages again, written ones too.

    Pages of shared mappings stay in the kernel's cache (madvise(2), MADV_DONTNEED); the process no longer counts them.
    """
    for array in arrays:
        base: object = None if array is None else array.base
        if isinstance(base, mmap.mmap):
            base.madvise(mmap.MADV_DONTNEED)
