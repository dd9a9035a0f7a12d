"""Slices that were decoded or made ahead of time, as files: lost, they cost time and nothing else.

One folder for each series. A made slice is found by all that shapes it: the received bytes and the frame, pipeline,
network, parameters, and what computed it (`Recipe`). It is used only where the slice that it was made of is equal, bit
for bit, to the one that the complete series has at its place. Nothing here is synced, and no name comes from outside.
"""

import hashlib
import json
import shutil
import struct
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from node.dicom.plane_files import DecodedPlane
from node.records.instances import Instance

Plane = NDArray[np.float32]
_SECONDS: Final = struct.Struct("<d")


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What shapes a made slice beside the slice itself.

    parameters: settled, plain JSON
    pixel_mm:   where the network is given more than the slice; None where it is not
    maker:      as `app.maker_of` says
    """

    pipeline: str
    version: str
    engine_sha256: str
    parameters: Mapping[str, Any]
    pixel_mm: float | None
    maker: str

    @property
    def key(self) -> str:
        """32 hexadecimal digits."""
        parts = [self.pipeline, self.version, self.engine_sha256, repr(self.pixel_mm), self.maker]
        text = json.dumps([*parts, self.parameters], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:32]


class Planes:
    """The files of all series that are being received or wait for their result.

    root:       a folder of its own
    free_bytes: of its disk
    keep_bytes: of them are left to others
    limit:      bytes that all files may take together
    maker:      as `app.maker_of` says; what another one decoded is not used
    """

    def __init__(
        self, root: Path, *, free_bytes: Callable[[], int], keep_bytes: int, limit: int, maker: str = ""
    ) -> None:
        self._decoder = hashlib.sha256(maker.encode()).hexdigest()[:16]
        self._root, self._free_bytes, self._keep_bytes, self._limit = root, free_bytes, keep_bytes, limit

    def source(self, instance: Instance) -> Path:
        """Where the decoded slice of a single-frame object lies."""
        return self._folder(instance.series_uid) / f"{instance.sha256}.{self._decoder}.source"

    def made(self, instance: Instance, recipe: Recipe) -> Path:
        """Where the slice lies that a recipe makes of it."""
        return self._folder(instance.series_uid) / f"{instance.sha256}.{recipe.key}"

    def begin(self, series_uid: str) -> bool:
        """Make room for a series; False if a worker died while it worked ahead on it."""
        folder = self._folder(series_uid)
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        return not (folder / "working").exists()

    @contextmanager
    def working(self, series_uid: str) -> Iterator[None]:
        """Work on a series: what takes the worker down is not tried again ahead, but by its job, which counts starts.

        raises: FileNotFoundError for a series that was dropped
        """
        mark = self._folder(series_uid) / "working"
        mark.touch()
        try:
            yield
        finally:
            mark.unlink(missing_ok=True)

    def has_room(self) -> bool:
        """Whether more may be written."""
        taken = sum(file.stat().st_size for file in self._root.glob("*/*") if file.exists())
        return taken < self._limit and self._free_bytes() > self._keep_bytes

    def put(self, path: Path, made: Plane, seconds: float) -> None:
        """Keep a made slice, and how long the network took for it."""
        aside = path.with_name(f".{path.name}.part")
        with aside.open("wb") as file:
            np.save(file, made, allow_pickle=False)
            file.write(_SECONDS.pack(seconds))
        aside.replace(path)

    def take(
        self, instance: Instance, recipe: Recipe, source: Plane, padding: NDArray[np.bool_]
    ) -> tuple[Plane, float] | None:
        """What was made of this slice, and the seconds it took; None if nothing was, or of another slice."""
        try:
            with self.made(instance, recipe).open("rb") as file:
                made, seconds = np.load(file, allow_pickle=False), _SECONDS.unpack(file.read())[0]
            decoded = DecodedPlane.read(self.source(instance))
        except FileNotFoundError:
            return None
        same = np.array_equal(decoded.voxels, source) and np.array_equal(decoded.padding, padding)
        return (made, seconds) if same else None

    def drop(self, series_uid: str) -> None:
        """Remove all of a series."""
        shutil.rmtree(self._folder(series_uid), ignore_errors=True)

    def drop_others(self, series_uids: set[str]) -> None:
        """Remove all but these series: what an earlier process left."""
        kept = {self._folder(uid).name for uid in series_uids}
        for folder in self._root.glob("*"):
            if folder.name not in kept:
                shutil.rmtree(folder, ignore_errors=True)

    def _folder(self, series_uid: str) -> Path:
        return self._root / hashlib.sha256(series_uid.encode()).hexdigest()[:32]
