"""Infer: a `Volume` through the pipeline's engine, and slices of series that are not complete yet ahead of it."""

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from engines.engine import Engine, EngineError, EngineSpec, EngineUnavailable, ParityFailed, ShapeOutsideProfile
from engines.parity import require
from engines.pool import EnginePool
from engines.store import verify
from node.errors import EngineAway, EngineOff, Refuse, Retry
from node.log import log
from node.processing.precedence import Precedence
from node.processing.turns import Turns
from pipelines.pipeline import Parameters, Pipeline, Unfit
from pipelines.run import Plane, plane
from pipelines.run import infer as run_pipeline
from pipelines.triage import Assessment, Headers, Maps
from pipelines.volume import Volume

_FIRST_PAUSE_S: Final = 2.0
_LONGEST_PAUSE_S: Final = 30.0

_Made = TypeVar("_Made")


class Closed(BaseException):
    """The worker ends while a job waits. No Exception: the job is not over, the next worker goes on with it."""


class Inference:
    """The engines of a worker, loaded when they are needed. One set at a time: two would share the same cores and both
    be late. An urgent one passes it: the other rests between two of its slices.

    failed:     called with an engine's name whenever it misses its recorded cases
    away:       called with an engine's name whenever a job begins to wait for its server
    wait_s:     how long a job waits for a server
    precedence: says when work that is not urgent has to rest
    """

    def __init__(
        self,
        pool: EnginePool,
        specs: Mapping[str, EngineSpec],
        *,
        failed: Callable[[str], None] = lambda name: None,
        away: Callable[[str], None] = lambda name: None,
        wait_s: float = 0.0,
        precedence: Precedence | None = None,
    ) -> None:
        self._pool, self._specs, self._failed = pool, specs, failed
        self._away, self._wait_s = away, wait_s
        self._closed = threading.Event()
        self._off: dict[str, str] = {}
        self._away_now: set[str] = set()
        self._precedence = precedence or Precedence()
        self._turns = Turns(self._precedence)

    @property
    def off(self) -> Mapping[str, str]:
        """Engines that gave other answers than recorded -> with which figures; they stay off until the next start."""
        return dict(self._off)

    @property
    def away(self) -> frozenset[str]:
        """Engines whose server did not answer when it was asked last."""
        return frozenset(self._away_now)

    def look_for_the_away(self) -> None:
        """Ask each engine whose server was away for its recorded answers; it may be back though no job needs it."""
        for name in sorted(self.away):
            with suppress(EngineAway, EngineOff, Retry), self.engine(name) as engine:
                require(engine)

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
                self._away_now.discard(name)
            except ParityFailed as error:
                self._switch_off(name, error)
            except EngineUnavailable:
                self._away_now.add(name)
                raise

    def infer(
        self,
        pipeline: Pipeline,
        volume: Volume,
        *,
        parameters: Mapping[str, Any],
        into: NDArray[np.float32],
        map_into: NDArray[np.float32] | None = None,
        known: Callable[[int], Plane | None],
        progress: Callable[[int, int], None],
    ) -> None:
        """Run the pipeline.

        into:     where the result is written, (z factor, y, x)
        map_into: where its map is written, if one is wanted
        known:    what was made before of a slice, or None
        raises:   EngineOff for an engine that missed its recorded cases, Refuse for a volume outside the engine's
                  profile or that the pipeline cannot work on, Retry if the engine failed, Closed when the worker ends
        """
        self._give_way()
        with self._turns.next():
            self.patiently(
                pipeline.engine,
                lambda engine: run_pipeline(
                    pipeline,
                    engine,
                    volume,
                    parameters=parameters,
                    into=into,
                    map_into=map_into,
                    known=known,
                    progress=progress,
                    rest=self._give_way,
                ),
            )

    def assess(
        self,
        pipeline: Pipeline,
        volume: Volume,
        headers: Headers,
        *,
        parameters: Mapping[str, Any],
        progress: Callable[[int, int], None],
    ) -> tuple[Assessment, Maps | None]:
        """Run a triage.

        raises: as `infer`
        """
        triage = pipeline.triage
        assert triage is not None  # a job of another pipeline never comes here
        with self._turns.next():
            return self.patiently(
                pipeline.engine, lambda engine: triage.assess(engine, volume, headers, parameters, progress)
            )

    def ahead(
        self, pipeline: Pipeline, source: Plane, padding: NDArray[np.bool_], parameters: Parameters
    ) -> Plane | None:
        """One slice of a series that is not complete yet; None when a complete one is in the engine or waits for it.

        source, padding: (y, x), HU and where the scanner measured nothing
        raises:          as `infer`, and EngineAway at once
        """
        with self._turns.spare() as mine:
            if not mine:
                return None
            with self.engine(pipeline.engine) as engine:
                return plane(pipeline, engine, source, padding, parameters)

    def patiently(self, name: str, work: Callable[[Engine], _Made]) -> _Made:
        """`work` with an engine; all of it again if the engine's server was away meanwhile, for `wait_s` at most.

        raises: as `infer`; EngineAway when the server stayed away; Closed when the worker ends
        """
        until, pause_s = time.monotonic() + self._wait_s, _FIRST_PAUSE_S
        while True:
            try:
                with self.engine(name) as engine:
                    return work(engine)
            except EngineAway as error:
                if self._closed.is_set():
                    raise Closed from error
                if time.monotonic() >= until:
                    raise
                if pause_s == _FIRST_PAUSE_S:
                    self._away(name)
                    log.warning("an engine's server is away; jobs wait for it", engine=name, reason=error.message)
            with self._precedence.aside():  # who waits for a server needs no core
                ended = self._closed.wait(pause_s)
            if ended:
                raise Closed
            pause_s = min(2.0 * pause_s, _LONGEST_PAUSE_S)

    def close(self) -> None:
        """Let nobody wait any longer."""
        self._closed.set()
        self._precedence.close()

    def _give_way(self) -> None:
        if not self._precedence.give_way():
            raise Closed

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
            self._away_now.discard(name)
        except ShapeOutsideProfile as error:
            raise Refuse(error.message, fix=error.fix) from error
        except Unfit as error:
            raise Refuse(error.message, fix=error.fix) from error
        except ParityFailed as error:  # loaded anew, and no longer what it was
            self._switch_off(name, error)
            raise EngineOff(error.message, fix=error.fix) from error
        except EngineUnavailable as error:
            self._away_now.add(name)
            raise EngineAway(error.message, fix=error.fix) from error
        except EngineError as error:
            raise Retry(error.message, fix=error.fix) from error

    def _switch_off(self, name: str, error: ParityFailed) -> None:
        self._off[name] = error.message
        self._failed(name)
        log.error("an engine missed its recorded cases; its pipelines are off", engine=name, figures=error.message)
