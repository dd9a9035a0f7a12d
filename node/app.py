"""Builds every object from the settings: the only file that knows them all, or reads the environment."""

import contextlib
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from dbos import DBOS, DBOSConfig

from engines.engine import EngineError, EngineSpec
from engines.ort import OrtEngine
from engines.store import load_spec, read_weights
from node import flow
from node.child import Child
from node.dicom.codes import IMPLEMENTATION_CLASS_UID
from node.errors import BadSetting, Refuse
from node.metrics import METRICS
from node.peers import dimse_client
from node.peers.dimse_client import Address
from node.peers.dimse_server import Listener, Listening
from node.records import deliveries, instances, sets
from node.records.database import Records, migrate
from node.records.states import Ending
from node.settings import DicomDestination, Settings
from node.spool import Spool
from node.stages.assemble import Assembler
from node.stages.deliver import Deliverer
from node.stages.infer import Inference
from node.stages.receive import Arrival, Intake, Status
from node.work import Work
from pipelines import SHIPPED
from pipelines.pipeline import Pipeline

METRICS_FOLDER: Final = "PROMETHEUS_MULTIPROC_DIR"  # prometheus-client's own name for it
_TICK_S: Final = 0.15
_RESUME_EVERY_S: Final = 2.0


def spool_of(settings: Settings) -> Spool:
    return Spool(settings.node.state.absolute(), reserve_bytes=settings.node.disk_reserve_mb << 20)


def prepare_state(settings: Settings) -> None:
    """Make folders and tables. Once, before any part starts. Raises BadSetting."""
    state = settings.node.state.absolute()
    spool_of(settings).prepare()
    migrate(state)
    Records(state).close()


def metrics_folder(settings: Settings) -> Path:
    return settings.node.state.absolute() / "metrics"


def child_environment(settings: Settings) -> dict[str, str]:
    """The environment of the node's processes: metrics are shared through files in a folder."""
    return {**os.environ, METRICS_FOLDER: str(metrics_folder(settings))}


def pipelines_of(settings: Settings) -> dict[str, Pipeline]:
    """The pipelines that the rules name. Raises BadSetting for one that is unknown."""
    wanted = dict.fromkeys(rule.pipeline for rule in settings.rules)
    for name in wanted:
        if name not in SHIPPED:
            raise BadSetting(f"A rule names pipeline {name!r}.", fix=f"Known are {', '.join(sorted(SHIPPED))}.")
    return {name: SHIPPED[name] for name in wanted}


def specs_of(settings: Settings, pipelines: Mapping[str, Pipeline]) -> dict[str, EngineSpec]:
    """The engines that the pipelines need. Raises BadSetting for one that is missing or not the validated one."""
    try:
        specs = {p.engine: load_spec(p.engine, settings.engines.folder) for p in pipelines.values()}
        for spec in specs.values():
            read_weights(spec)
    except EngineError as error:
        raise BadSetting(error.message, fix=error.fix) from error
    return specs


def address_of(settings: Settings) -> Callable[[DicomDestination], Address]:
    """How to call a destination."""

    def address(destination: DicomDestination) -> Address:
        return Address(
            host=destination.host,
            port=destination.port,
            called_ae=destination.ae_title,
            calling_ae=destination.calling_ae_title or settings.receiver.ae_title,
            connect_s=destination.connect_timeout_s,
            response_s=destination.response_timeout_s,
            implementation_uid=IMPLEMENTATION_CLASS_UID,
        )

    return address


def intake_of(settings: Settings, records: Records, spool: Spool, child: Child) -> Intake:
    def same_pixels(first: str, second: str) -> bool:
        request = {"paths": [str(spool.path(first)), str(spool.path(second))]}
        try:
            return bool(child.call("node.dicom.compare:same_pixels", request)["same"])
        except Refuse:
            return False  # what cannot be decoded cannot be shown to be the same

    return Intake(
        spool,
        records,
        implementation_uid=IMPLEMENTATION_CLASS_UID,
        maximum_bytes=settings.receiver.maximum_instance_mb << 20,
        clock=time.time,
        same_pixels=same_pixels,
    )


def decoder_of(settings: Settings) -> Child:
    return Child(memory_mb=settings.decoder.memory_mb, seconds=settings.decoder.seconds)


@contextmanager
def receiver(settings: Settings) -> Iterator[Listener]:
    """A listening receiver."""
    me = f"{os.getpid()}-{time.time_ns()}"[:32]
    with ExitStack() as stack:
        records = stack.enter_context(contextlib.closing(Records(settings.node.state.absolute())))
        child = stack.enter_context(contextlib.closing(decoder_of(settings)))
        spool = spool_of(settings)
        intake = stack.enter_context(contextlib.closing(intake_of(settings, records, spool, child)))

        def opened(key: str, calling_ae: str) -> None:
            METRICS.associations.inc()
            with records.write() as connection:
                instances.open_association(connection, key=key, calling_ae=calling_ae, receiver=me, at=time.time())

        def closed(key: str, released: bool) -> None:
            ending = Ending.RELEASED if released else Ending.ABORTED
            with records.write() as connection:
                instances.close_association(connection, key=key, at=time.time(), ending=ending)

        def answered(status: int, size: int) -> None:
            METRICS.stored.labels(status=f"{status:#06x}").inc()
            if status == Status.SUCCESS:
                METRICS.received_bytes.inc(size)

        def store(arrival: Arrival) -> bool:
            with METRICS.stage_seconds.labels(stage="receive").time():
                return intake.store(arrival)

        node = Listening(
            store=store,
            opened=opened,
            closed=closed,
            refused=lambda reason: METRICS.associations_refused.labels(reason=reason).inc(),
            answered=answered,
        )
        spool.sweep()
        with records.write() as connection:
            instances.close_lost_associations(connection, receiver=me, at=time.time())
        listener = Listener(settings.receiver, settings.peers, node, implementation_uid=IMPLEMENTATION_CLASS_UID)
        stack.callback(listener.close)
        yield listener


class Worker:
    """Assembles, processes and delivers. Inside its `with` block DBOS runs in this process."""

    def __init__(self, settings: Settings, *, progress: Callable[[str, int, int], None] = lambda *_: None) -> None:
        self._settings, self._progress = settings, progress
        self._stack = ExitStack()
        self._resume_at = 0.0
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
        pipelines = pipelines_of(settings)
        specs = specs_of(settings, pipelines)
        spool = spool_of(settings)
        self.records = stack.enter_context(contextlib.closing(Records(state)))
        child = stack.enter_context(contextlib.closing(decoder_of(settings)))
        child.warm()
        try:
            engines = {
                name: stack.enter_context(OrtEngine(spec, threads=settings.engines.threads))
                for name, spec in specs.items()
            }
        except EngineError as error:
            raise BadSetting(error.message, fix=error.fix) from error
        address = address_of(settings)
        deliverer = Deliverer(self.records, spool, destination=settings.destination, address=address, clock=time.time)
        self.assembler = Assembler(self.records, settings.assemble, clock=time.time, ask=self._ask(address))
        flow.bind(
            Work(
                records=self.records,
                spool=spool,
                child=child,
                inference=Inference(engines),
                deliverer=deliverer,
                rules=settings.rules,
                pipelines=pipelines,
                specs=specs,
                node={
                    "node_version": version("imaging-node"),
                    "station_name": settings.node.station_name,
                    "device_serial": settings.node.device_serial,
                },
                clock=time.time,
                progress=self._progress,
            )
        )
        config: DBOSConfig = {
            "name": "imaging-node",
            "system_database_url": f"sqlite:///{state / 'jobs.sqlite'}",
            # Fixed: jobs that wait must survive an upgrade. A change to the flow that old jobs cannot follow raises it.
            "application_version": "1",
            "executor_id": "worker",
            "log_level": "WARNING",
        }
        DBOS(config=config)
        stack.callback(DBOS.destroy)
        DBOS.launch()
        flow.register_queues([destination.name for destination in settings.destinations])

    def _ask(self, address: Callable[[DicomDestination], Address]) -> Callable[[str, str], int | None] | None:
        if self._settings.assemble.ask is None:
            return None
        archive: Any = self._settings.destination(self._settings.assemble.ask)
        return lambda study, series: dimse_client.instances_related(
            address(archive), study_uid=study, series_uid=series
        )

    def tick(self, *, everything_is_here: bool = False) -> None:
        """Freeze what is complete, start what is frozen, resume what was asked for."""
        self.assembler.freeze_complete(everything_is_here=everything_is_here)
        with self.records.read() as connection:
            waiting = sets.to_start(connection)
        for set_id, run in waiting:
            flow.start(set_id, run)
            with self.records.write() as connection:
                sets.started(connection, set_id, run)
        if time.monotonic() >= self._resume_at:
            self._resume_at = time.monotonic() + _RESUME_EVERY_S
            with self.records.read() as connection:
                dispatches = deliveries.to_resume(connection)
            for dispatch in dispatches:
                if dispatch not in self._resumed:
                    flow.start_delivery(*dispatch)
                    self._resumed.add(dispatch)

    def run(self, stopping: Callable[[float], bool]) -> None:
        """Tick until `stopping(seconds)`, which waits that long, says so."""
        while not stopping(_TICK_S):
            self.tick()
