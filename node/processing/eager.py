"""Work ahead: slices are decoded and run through the network while their series is still coming in.

Nothing is decided here and nothing leaves from here. What was made lies in `planes.py` until the complete series is
prepared and inferred, which take from it what fits and make the rest. A complete series always goes first.
"""

import queue
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Final, Self

from engines.engine import EngineSpec
from node.child import Child
from node.dicom.plane_files import DecodedPlane
from node.errors import NodeError, Refuse
from node.log import log
from node.metrics import METRICS
from node.processing.foresight import Expected, expected
from node.processing.planes import Planes
from node.records import arrivals
from node.records.database import Records
from node.records.instances import Instance
from node.settings import Rule
from node.spool import Spool
from node.stages.infer import Inference
from pipelines.pipeline import Pipeline

_LOOK_EVERY_S: Final = 0.2
_SWEEP_EVERY_S: Final = 2.0
_TROUBLE_S: Final = 5.0
_BATCH: Final = 8  # slices decoded in one request
_AHEAD: Final = 16  # decoded slices that wait for the network
_READ: Final = 64  # records read at once


@dataclass(frozen=True, kw_only=True)
class _Slice:
    instance: Instance
    wanted: tuple[Expected, ...]


@dataclass(kw_only=True)
class _Series:
    """What is known of a series that is not made yet. `over`: keys of recipes that its complete set makes itself."""

    eligible: bool = True
    over: set[str] = field(default_factory=set)


class Eager:
    """Two threads of the worker, between `__enter__` and `__exit__`.

    child: a decoder of its own, so that no complete series waits for it
    maker: as `app.maker_of` says
    clock: seconds since the epoch
    rest:  called before slices are decoded; it may take its time
    """

    def __init__(
        self,
        *,
        records: Records,
        spool: Spool,
        child: Child,
        planes: Planes,
        inference: Inference,
        rules: Sequence[Rule],
        pipelines: Mapping[str, Pipeline],
        specs: Mapping[str, EngineSpec],
        maker: str,
        clock: Callable[[], float],
        rest: Callable[[], object] = lambda: None,
    ) -> None:
        self._records, self._spool, self._child, self._planes = records, spool, child, planes
        self._inference, self._rules, self._pipelines, self._specs = inference, rules, pipelines, specs
        self._maker, self._clock, self._rest = maker, clock, rest
        self._closed = threading.Event()
        self._lock = threading.Lock()
        self._series: dict[str, _Series] = {}
        self._arrived: list[_Slice] = []
        self._decoded: queue.Queue[_Slice] = queue.Queue(maxsize=_AHEAD)
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with self._records.read() as connection:
            self._row = arrivals.first_open(connection)
        self._sweep_at = 0.0
        for name, step in (("ahead-decode", self._decode_some), ("ahead-infer", self._infer_one)):
            thread = threading.Thread(target=self._run, args=(step,), name=name, daemon=True)
            thread.start()
            self._stack.callback(thread.join)
        self._stack.callback(self._closed.set)
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def leave(self, series_uid: str, recipe_key: str) -> None:
        """The complete set makes the rest itself."""
        with self._lock:
            self._series.setdefault(series_uid, _Series()).over.add(recipe_key)

    def _run(self, step: Callable[[], None]) -> None:
        while not self._closed.is_set():
            try:
                step()
            except NodeError as error:
                log.info("work ahead rests", reason=error.message)
                self._closed.wait(_TROUBLE_S)
            except Exception as error:  # noqa: BLE001  a thread's edge: the durable flow meets whatever is really broken
                log.warning("work ahead broke", exc_info=error)
                self._closed.wait(_TROUBLE_S)

    def _decode_some(self) -> None:
        """Read what came, decode a few slices of it and hand them on."""
        self._look()
        if time.monotonic() >= self._sweep_at:
            self._sweep_at = time.monotonic() + _SWEEP_EVERY_S
            self._sweep()
        batch, self._arrived = self._arrived[:_BATCH], self._arrived[_BATCH:]
        batch = [one for one in batch if self._still(one)]
        if not batch or not self._planes.has_room():
            self._closed.wait(_LOOK_EVERY_S)
            return
        self._rest()
        slices = [
            [str(self._spool.path(one.instance.file)), 0, str(self._planes.source(one.instance))] for one in batch
        ]
        problems = self._child.call("node.dicom.planes:decode_planes", {"slices": slices})["problems"]
        for one, problem in zip(batch, problems, strict=True):
            if problem:
                self._no_more(one.instance.series_uid)
            else:
                self._hand_on(one)

    def _look(self) -> None:
        if len(self._arrived) >= _READ:
            return
        with self._records.read() as connection:
            found = arrivals.after(connection, self._row, limit=_READ)
        for row, instance in found:
            self._row = row
            series = self._known(instance.series_uid)
            if not series.eligible:
                continue
            wanted = expected(
                instance.header, self._rules, self._pipelines, self._specs, maker=self._maker, today=self._today
            )
            if wanted:
                self._arrived.append(_Slice(instance=instance, wanted=tuple(wanted)))
            else:  # every slice must fit: this series goes nowhere
                self._no_more(instance.series_uid)

    def _known(self, series_uid: str) -> _Series:
        with self._lock:
            if series_uid not in self._series:
                eligible = self._planes.begin(series_uid)
                if not eligible:
                    log.warning("a worker ended while it worked ahead on a series; its set is waited for")
                self._series[series_uid] = _Series(eligible=eligible)
            return self._series[series_uid]

    def _no_more(self, series_uid: str) -> None:
        with self._lock:
            self._series[series_uid].eligible = False
        self._planes.drop(series_uid)

    def _still(self, one: _Slice) -> bool:
        """Whether a slice still needs anything."""
        with self._lock:
            series = self._series.get(one.instance.series_uid)
            if series is None or not series.eligible:
                return False
            over = set(series.over)
        return any(
            w.recipe.key not in over and not self._planes.made(one.instance, w.recipe).exists() for w in one.wanted
        )

    def _hand_on(self, one: _Slice) -> None:
        while not self._closed.is_set() and self._still(one):
            try:
                self._decoded.put(one, timeout=_LOOK_EVERY_S)
                return
            except queue.Full:
                continue

    def _infer_one(self) -> None:
        try:
            one = self._decoded.get(timeout=_LOOK_EVERY_S)
        except queue.Empty:
            return
        for wanted in one.wanted:
            while not self._closed.is_set() and self._still(one):
                if self._made(one.instance, wanted):
                    break

    def _made(self, instance: Instance, wanted: Expected) -> bool:
        """Make one slice; False if a complete series is in the engine."""
        try:
            source = DecodedPlane.read(self._planes.source(instance))
            with self._planes.working(instance.series_uid):
                began = time.monotonic()
                made = self._inference.ahead(wanted.pipeline, source.voxels, source.padding, wanted.parameters)
                seconds = time.monotonic() - began
            if made is None:
                return False
            self._planes.put(self._planes.made(instance, wanted.recipe), made, seconds)
        except FileNotFoundError:  # the series was dropped since
            return True
        except Refuse:
            self._no_more(instance.series_uid)
            return True
        METRICS.eager_slices.labels(what="made").inc()
        return True

    def _sweep(self) -> None:
        """Remove what belongs to series that nothing more is made of."""
        with self._records.read() as connection:
            busy = arrivals.busy(connection)
        with self._lock:
            for uid in self._series.keys() - busy:
                del self._series[uid]
        self._arrived = [one for one in self._arrived if one.instance.series_uid in busy]
        self._planes.drop_others(busy)

    def _today(self) -> date:
        return datetime.fromtimestamp(self._clock(), UTC).astimezone().date()
