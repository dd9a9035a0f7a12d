"""The worker process: assembles, processes and delivers, with DBOS running in it.

Apart from `app.py`, because a receiver need not load the engine and the workflow library to be back after a kill.
"""

import contextlib
import math
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from importlib.metadata import version
from typing import Final

from dbos import DBOS, DBOSConfig

from engines.engine import EngineError, EngineFailed, EngineUnavailable, NoRoom
from node import app, flow, signs
from node.archive import archive_of
from node.desk import desk_of
from node.errors import BadSetting
from node.log import log
from node.metrics import METRICS, prime_registrations, prime_triage, prime_worker
from node.processing import Work, stranded
from node.processing.arrays import Arrays
from node.processing.eager import Eager
from node.processing.following import Followings
from node.processing.lanes import Lanes
from node.processing.making import Making
from node.processing.outputs import Outputs
from node.processing.parts import Parts
from node.processing.precedence import Precedence
from node.processing.routing import Router
from node.processing.triage_outputs import TriageOutputs
from node.processing.triaging import Triaging
from node.purge import purge
from node.records import commitments, deliveries, jobs, pauses
from node.records.database import Records, url
from node.settings import Settings
from node.stages.deliver import Deliverer
from node.stages.infer import Inference
from node.starting import Starting
from node.worklist import standing, ups_purge
from node.worklist.scanners import labels, scanner_of
from pipelines.pipeline import Pipeline

_TICK_S: Final = 0.15
_RESUME_EVERY_S: Final = 2.0
_LOOK_FOR_ENGINES_S: Final = 10.0
_PURGE_EVERY_S: Final = 3600.0
_KNOWN_ANSWERS_EVERY_S: Final = 24 * 3600.0
_NICE: Final = 10  # of children, where another one is for triage: about a tenth of a core that both want
_WARM_FOR_TRIAGE: Final = ("node.worklist.objects.write", "highdicom", "highdicom.sr")  # seconds, on a busy machine


class Worker:
    """Assembles, processes and delivers. Inside its `with` block DBOS runs in this process.

    progress:  (job, slices done, slices in all)
    pipelines: beside those that ship
    """

    def __init__(
        self,
        settings: Settings,
        *,
        progress: Callable[[str, int, int], None] = lambda *_: None,
        pipelines: Sequence[Pipeline] = (),
    ) -> None:
        self._settings, self._progress, self._more = settings, progress, pipelines
        self._stack = ExitStack()
        self.eager: Eager | None = None
        self._resume_at = self._say_at = 0.0
        self._everything_is_here = False
        self._looking = threading.Thread()
        self._known_answers_at = time.monotonic() + _KNOWN_ANSWERS_EVERY_S
        self._purge_at = time.monotonic() + 60.0  # not at once: what waits since the last stop goes first
        self._resumed: set[tuple[str, str, int]] = set()

    def __enter__(self) -> "Worker":
        with ExitStack() as stack:
            self._build(stack)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _build(self, stack: ExitStack) -> None:
        settings, state = self._settings, self._settings.node.state.absolute()
        pipelines = app.pipelines_of(settings, self._more)
        specs = app.specs_of(settings, pipelines)
        prime_worker([destination.name for destination in settings.destinations], pipelines, specs)
        prime_registrations({name: one.registers for name, one in pipelines.items()})
        prime_triage(labels(settings.worklist.scanners), [channel.name for channel in settings.worklist.channels])
        spool = app.spool_of(settings)
        self.records = stack.enter_context(contextlib.closing(Records(state)))
        with self.records.write() as connection:
            deliveries.end_unknown(
                connection, {destination.name for destination in settings.destinations}, at=time.time()
            )
        triages = {one.engine for one in pipelines.values() if one.triage is not None}
        urgent, nice = None, 0
        warmer = stack.enter_context(ThreadPoolExecutor(2, "warm"))  # children load their libraries beside the engines
        warming = []
        if triages:
            nice = _NICE
            urgent = stack.enter_context(contextlib.closing(app.decoder_of(settings)))
            warming.append(warmer.submit(urgent.warm, *_WARM_FOR_TRIAGE))
        child = stack.enter_context(contextlib.closing(app.decoder_of(settings, nice=nice, urgent=urgent)))
        warming.append(warmer.submit(child.warm))
        pool = stack.enter_context(contextlib.closing(app.pool_of(settings, keep=triages)))
        precedence = Precedence()
        self.inference = Inference(
            pool,
            specs,
            failed=lambda name: METRICS.engine_checks_failed.labels(engine=name).inc(),
            away=lambda name: METRICS.engine_waits.labels(engine=name).inc(),
            wait_s=settings.engines.triton_wait_s,
            precedence=precedence,
        )
        try:
            self.inference.known_answers()
        except EngineUnavailable as error:  # as with a destination: what is due waits, all else goes on
            log.warning("an engine's server is away; jobs wait for it", reason=str(error))
        except EngineError as error:
            raise BadSetting(error.message, fix=error.fix) from error
        for one in warming:
            one.result()
        log.info("engines loaded", backend=settings.engines.backend, bytes=pool.loaded, off=sorted(self.inference.off))
        deliverer = Deliverer(
            self.records,
            spool,
            destination=settings.destination,
            carrier=app.carriers_of(settings),
            proof=app.proofs_of(settings, self.records),
            synthesis=app.synthesis_of(settings, self._more),
            clock=time.time,
        )
        self.starting = Starting(
            records=self.records,
            settings=settings.assemble,
            rules=settings.rules,
            pipelines=pipelines,
            precedence=precedence,
            ask=archive_of(settings),
            beside=self._beside,
            clock=time.time,
        )
        facts = {
            "node_version": version("imaging-node"),
            "station_name": settings.node.station_name,
            "device_serial": settings.node.device_serial,
        }
        self.router = Router(
            records=self.records,
            parts=Parts(records=self.records, spool=spool, child=child),
            rules=settings.rules,
            pipelines=pipelines,
            specs=specs,
            clock=time.time,
        )
        enhanced = frozenset(one.name for one in settings.destinations if one.enhanced)
        outputs = Outputs(
            records=self.records, spool=spool, child=child, node=facts, clock=time.time, enhanced=enhanced
        )
        planes = app.planes_of(settings, spool) if settings.engines.eager else None
        maker = app.maker_of(settings)
        if planes is not None:
            ahead = stack.enter_context(contextlib.closing(app.decoder_of(settings, nice=nice)))
            self.eager = Eager(
                records=self.records,
                spool=spool,
                child=ahead,
                planes=planes,
                inference=self.inference,
                rules=settings.rules,
                pipelines=pipelines,
                specs=specs,
                maker=maker,
                clock=time.time,
                rest=precedence.give_way,
            )
            stack.enter_context(self.eager)
            stack.callback(precedence.close)
        making = Making(
            records=self.records,
            spool=spool,
            inference=self.inference,
            outputs=outputs,
            maker=maker,
            planes=planes,
            leave=lambda series, recipe: None if self.eager is None else self.eager.leave(series, recipe),
            progress=self._progress,
            clock=time.time,
            followings=Followings(precedence.give_way),
        )
        arrays = Arrays(
            spool=spool, child=child, registrar=lambda: app.decoder_of(settings, doing="Registration", nice=nice)
        )
        triage_outputs = TriageOutputs(
            records=self.records,
            spool=spool,
            child=child,
            node=facts,
            pipelines=pipelines,
            specs=specs,
            extra=settings.worklist.forms,
            clock=time.time,
        )
        self.desk = stack.enter_context(desk_of(settings, self.records, spool, child, triage_outputs.retract))
        triaging = Triaging(
            records=self.records,
            router=self.router,
            arrays=arrays,
            inference=self.inference,
            outputs=triage_outputs,
            desk=self.desk,
            pipelines=pipelines,
            specs=specs,
            credit_minutes=settings.worklist.credit_minutes,
            scanner=lambda headers: scanner_of(settings.worklist.scanners, headers),
            progress=self._progress,
            clock=time.time,
        )
        flow.bind(
            Work(
                records=self.records,
                router=self.router,
                arrays=arrays,
                triaging=triaging,
                outputs=outputs,
                inference=self.inference,
                making=making,
                lanes=Lanes(records=self.records, pipelines=pipelines, precedence=precedence),
                deliverer=deliverer,
                pipelines=pipelines,
                specs=specs,
                clock=time.time,
            )
        )
        config: DBOSConfig = {
            "name": "imaging-node",
            "system_database_url": url(state / "jobs.sqlite").render_as_string(),
            "application_version": flow.VERSION,
            "executor_id": "worker",
            "log_level": "WARNING",
        }
        DBOS(config=config)
        stack.callback(DBOS.destroy)
        stack.callback(self.inference.close)
        DBOS.launch()
        flow.register_queues([one.name for one in settings.destinations], urgent=bool(triages))
        stranded.begin_anew(self.records, flow_version=flow.VERSION, at=time.time())
        stack.enter_context(self.starting)

    def tick(self, *, everything_is_here: bool = False) -> None:
        """Freeze what is complete, start what is frozen, resume what was asked for.

        everything_is_here: no more will come, from now on
        """
        self._everything_is_here |= everything_is_here
        self.starting.look(everything_is_here=everything_is_here)
        with self.records.read() as connection:
            released, going_on = jobs.to_release(connection), pauses.to_go_on(connection)
        self.desk.tick()
        for job_id, times in released:
            flow.start_job(job_id, f"released-{times}")
        for job_id, times, paused_at in going_on:
            flow.start_job(job_id, f"resumed-{times}")
            with self.records.write() as connection:
                pauses.gone_on(connection, job_id, paused_at=paused_at, at=time.time())
        for ready in self.router.ready(everything_is_here=self._everything_is_here):
            flow.start_job(ready.job_id, str(ready.run))
            self.router.started(ready)
        if time.monotonic() >= self._purge_at:
            self._purge_at = time.monotonic() + _PURGE_EVERY_S
            self._purge()
        if time.monotonic() >= self._known_answers_at:
            self._known_answers_at = time.monotonic() + _KNOWN_ANSWERS_EVERY_S
            self._ask_engines()
        if self.inference.away and not self._looking.is_alive():
            self._looking = threading.Thread(target=self._look_for_engines, name="look-for-engines", daemon=True)
            self._looking.start()
        if time.monotonic() >= self._resume_at:
            self._resume_at = time.monotonic() + _RESUME_EVERY_S
            self._settle()
            with self.records.read() as connection:
                dispatches = deliveries.to_resume(connection)
            for job_id, destination, run, attempt in dispatches:
                if (job_id, destination, run) not in self._resumed:
                    flow.start_delivery(job_id, destination, run, attempt)
                    self._resumed.add((job_id, destination, run))

    def _settle(self) -> None:
        """End the deliveries that archives have vouched for; their word may have come to a receiver."""
        with self.records.read() as connection:
            proven = commitments.to_settle(connection)
        for job_id, destination in proven:
            with self.records.write() as connection:
                commitments.settle(connection, job_id, destination, at=time.time())

    def _purge(self) -> None:
        keep_days = self._settings.node.keep_days
        if keep_days != "forever":
            spool = app.spool_of(self._settings)
            purge(self.records, spool, keep_days=keep_days, clock=time.time)
        if self._settings.worklist.ups.enabled:
            ups_purge.purge(self.records, self._settings.worklist.ups, at=time.time())

    def _ask_engines(self) -> None:
        """The known answers once more. A file that was changed ends the worker, which then says so at every start."""
        try:
            self.inference.known_answers()
        except (EngineFailed, EngineUnavailable, NoRoom) as error:
            log.warning("the engines could not be asked for their known answers", reason=str(error))
        except EngineError as error:
            raise BadSetting(error.message, fix=error.fix) from error

    def _look_for_engines(self) -> None:
        """Aside, because a server that is away is waited for."""
        self.inference.look_for_the_away()
        time.sleep(_LOOK_FOR_ENGINES_S)

    def run(self, stopping: Callable[[float], bool]) -> None:
        """Tick until `stopping(seconds)`, which waits that long, says so. Gives the worker's sign of life."""
        beaten = -math.inf
        while True:
            if time.monotonic() - beaten >= signs.EVERY_S:
                beaten = time.monotonic()
                off, away = self.inference.off, self.inference.away
                said = {signs.engine_off(name): 1 for name in off} | {signs.engine_away(name): 1 for name in away}
                signs.beat(self._settings.node.state, "worker", engines_off=len(off), **said)
            if stopping(_TICK_S):
                return
            self.tick()

    def _beside(self) -> None:
        """What must not wait for a tick: an archive that a tick asks about a series may be silent for seconds."""
        self.desk.notices.tick()
        if time.monotonic() >= self._say_at:
            self._say_at = time.monotonic() + signs.EVERY_S
            signs.beat(self._settings.node.state, standing.PART, **{standing.FACT: int(self._triages())})

    def _triages(self) -> bool:
        """Whether a rule for triage is not paused, its engine is on, and no urgent case waits too long."""
        with self.records.read() as connection:
            paused = {one.pipeline for one in pauses.every(connection)}
        engines = {
            one.engine for name, one in self.router.pipelines.items() if one.triage is not None and name not in paused
        }
        return bool(engines - self.inference.off.keys()) and not self.starting.is_stuck()
