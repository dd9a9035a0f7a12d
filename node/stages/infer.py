"""Infer: a `Volume` through the pipeline's engine; the result is synced before anything is derived from it."""

import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engines.engine import Engine, EngineError, ShapeOutsideProfile
from node.errors import Refuse, Retry
from node.spool import sync_folder, written_aside
from pipelines.pipeline import Pipeline
from pipelines.run import infer as run_pipeline
from pipelines.volume import Volume


class Inference:
    """The loaded engines of a worker. One set at a time: two would share the same cores and both be late."""

    def __init__(self, engines: Mapping[str, Engine]) -> None:
        self._engines = engines
        self._turn = threading.Lock()

    def infer(
        self,
        pipeline: Pipeline,
        volume: Volume,
        *,
        parameters: Mapping[str, Any],
        progress: Callable[[int, int], None],
    ) -> Volume:
        """Run the pipeline. Raises Refuse for a volume outside the engine's profile, Retry if the engine failed."""
        with self._turn:
            try:
                engine = self._engines[pipeline.engine]
                return run_pipeline(pipeline, engine, volume, parameters=parameters, progress=progress)
            except ShapeOutsideProfile as error:
                raise Refuse(error.message, fix=error.fix) from error
            except EngineError as error:
                raise Retry(error.message, fix=error.fix) from error

    def engine(self, name: str) -> Engine:
        """An engine for the few slices that a check runs again; it does not wait for the set that is in inference.

        Its `infer` is therefore called from two threads at times: engines that cannot do that take turns inside.
        """
        return self._engines[name]


def save(voxels: NDArray[np.float32], path: Path) -> None:
    """Write a result, synced. (z, y, x)."""
    with written_aside(path) as file:
        np.save(file, voxels, allow_pickle=False)
    sync_folder(path.parent)


def load(path: Path) -> NDArray[np.float32]:
    """A saved result, mapped from disk. (z, y, x)."""
    voxels: NDArray[np.float32] = np.load(path, mmap_mode="r", allow_pickle=False)
    return voxels
