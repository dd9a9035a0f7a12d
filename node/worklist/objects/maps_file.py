"""The arrays of a triage's maps, taken out of their .npz one by one and mapped: a hundred thin slices stay on disk."""

import shutil
import zipfile
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from node.errors import Refuse
from node.processing.mapped import mapped

_TYPES: Final = {"z": np.float32, "region": np.bool_, "healthy": np.float32}
_BROKEN: Final = (zipfile.BadZipFile, KeyError, ValueError, EOFError)


class MapsFile(AbstractContextManager["MapsFile"]):
    """What `pipelines.triage.Maps` holds, as `numpy.savez` wrote it; what is taken out is gone at the end.

    shape: (z, y, x) that every array has to have
    """

    def __init__(self, path: Path, scratch: Path, shape: tuple[int, int, int]) -> None:
        self._path, self._scratch, self._shape = path, scratch, shape

    def __enter__(self) -> Self:
        self._scratch.mkdir(parents=True, exist_ok=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        shutil.rmtree(self._scratch)

    def file(self, name: str) -> Path:
        """One array as a .npy file. Raises Refuse if it is not there, or not of this shape."""
        out = self._scratch / f"{name}.npy"
        if not out.exists():
            try:
                aside = out.with_suffix(".part")
                with (
                    zipfile.ZipFile(self._path) as archive,
                    archive.open(f"{name}.npy") as packed,
                    aside.open("wb") as plain,
                ):
                    shutil.copyfileobj(packed, plain, 1 << 20)
                aside.replace(out)
                array = mapped(out)
            except _BROKEN as error:
                raise Refuse(f"The array {name} of the maps can't be read.", fix="Replay the set.") from error
            if array.dtype != _TYPES[name] or array.shape != self._shape:
                raise Refuse(f"The array {name} is {array.dtype} {array.shape}, not of the sources {self._shape}.")
        return out

    def array(self, name: str) -> NDArray[Any]:
        """One array, mapped. Raises Refuse as `file`."""
        return mapped(self.file(name))
