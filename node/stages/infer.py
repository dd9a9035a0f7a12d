"""Infer: a `Volume` through the pipeline's engine; the result is synced before anything is derived from it."""

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engines.engine import Engine, EngineError, EngineSpec, ParityFailed, ShapeOutsideProfile
from engines.parity import require
from engines.pool import EnginePool
from engines.store import verify
from node.errors import EngineOff, Refuse, Retry
from node.log import log
from node.spool import sync_folder, written_aside
from pipelines.pipeline import Pipeline
from pipelines.run import infer as run_pipeline
from pipelines.volume import Volume


class Inference:
    """The engines of a worker, loaded when they are needed. One set at a time: two would share the same cores and both
    be late.

    failed: called with an engine's name whenever it misses its recorded cases
    """

    def __init__(
        self,
        pool: EnginePool,
        specs: Mapping[str, EngineSpec],
        *,
        failed: Callable[[str], None] = lambda name: None,
    ) -> None:
        self._pool, self._specs, self._failed = pool, specs, failed
        self._off: dict[str, str] = {}
        self._turn = threading.Lock()

    @property
    def off(self) -> Mapping[str, str]:
        """Engines that gave other answers than recorded -> with which figures; they stay off until the next start."""
        return dict(self._off)

    def known_answers(self) -> None:
        """Load every engine and run its recorded cases (NETWORKS E-13); one that misses is off.

        raises: EngineError when an engine cannot be loaded or run at all, or a sealed file was changed
        """
        for folder in {spec.folder for spec in self._specs.values()}:
            verify(folder)
        for name, spec in self._specs.items():
            try:
                with self._pool.use(spec) as engine:
                    require(engine)
            except ParityFailed as error:
                self._switch_off(name, error)

    def infer(
        self,
        pipeline: Pipeline,
        volume: Volume,
        *,
        parameters: Mapping[str, Any],
        progress: Callable[[int, int], None],
    ) -> Volume:
        """Run the pipeline.

        raises: EngineOff for an engine that missed its recorded cases, Refuse for a volume outside the engine's
                profile, Retry if the engine failed
        """
        with self._turn, self.engine(pipeline.engine) as engine:
            return run_pipeline(pipeline, engine, volume, parameters=parameters, progress=progress)

    @contextmanager
    def engine(self, name: str) -> Iterator[Engine]:
        """An engine for the few slices that a check runs again; it does not wait for the set that is in inference.

        Its `infer` is therefore called from two threads at times: engines that cannot do that take turns inside.
        Raises as `infer`.
        """
        if name in self._off:
            raise EngineOff(self._off[name], fix="Mend it, restart the node, then replay.")
        try:
            with self._pool.use(self._specs[name]) as engine:
                yield engine
        except ShapeOutsideProfile as error:
            raise Refuse(error.message, fix=error.fix) from error
        except ParityFailed as error:  # loaded anew, and no longer what it was
            self._switch_off(name, error)
            raise EngineOff(error.message, fix=error.fix) from error
        except EngineError as error:
            raise Retry(error.message, fix=error.fix) from error

    def _switch_off(self, name: str, error: ParityFailed) -> None:
        self._off[name] = error.message
        self._failed(name)
        log.error("an engine missed its recorded cases; its pipelines are off", engine=name, figures=error.message)


def save(voxels: NDArray[np.float32], path: Path) -> None:
    """Write a result, synced. (z, y, x)."""
    with written_aside(path) as file:
        np.save(file, voxels, allow_pickle=False)
    sync_folder(path.parent)


def load(path: Path) -> NDArray[np.float32]:
    """A saved result, mapped from disk. (z, y, x)."""
    voxels: NDArray[np.float32] = np.load(path, mmap_mode="r", allow_pickle=False)
    return voxels
