"""A decoded slice as a file: what was decoded ahead of its series is not decoded again."""

from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True, eq=False)
class DecodedPlane:
    """One slice.

    voxels:  (y, x) float32, HU or units of an MR
    padding: (y, x) bool, True where the scanner measured nothing
    sha256:  of the stored values, as `decode.Stored.sha256`
    """

    voxels: NDArray[np.float32]
    padding: NDArray[np.bool_]
    sha256: str

    def write(self, path: Path) -> None:
        """Write aside, then rename. Not synced."""
        aside = path.with_name(f".{path.name}.part")
        with aside.open("wb") as file:
            np.save(file, self.voxels, allow_pickle=False)
            np.save(file, self.padding, allow_pickle=False)
            file.write(self.sha256.encode("ascii"))
        aside.replace(path)

    @classmethod
    def read(cls, path: Path) -> Self:
        """raises: FileNotFoundError"""
        with path.open("rb") as file:
            return cls(
                voxels=np.load(file, allow_pickle=False),
                padding=np.load(file, allow_pickle=False),
                sha256=file.read().decode("ascii"),
            )
