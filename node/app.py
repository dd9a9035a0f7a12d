"""Builds every object from the settings: the only file that knows them all, or reads the environment."""

import fcntl
import os
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path
from typing import Final

from engines.backends import BackendSettings, open_engine
from engines.engine import EngineError, EngineSpec
from engines.parity import recorded_cases, require
from engines.pool import EnginePool
from engines.store import find_spec, read_weights, verify
from node import running
from node.child import Child
from node.dicom.codes import IMPLEMENTATION_CLASS_UID, SYNTHESIS
from node.errors import BadSetting, Refuse
from node.peers.carrier import Carrier
from node.peers.dimse.carrier import DicomCarrier
from node.peers.dimse.connect import Address
from node.peers.folder import FolderCarrier
from node.peers.tls import client_context
from node.processing import asked_maps, gathering
from node.processing.planes import Planes
from node.proof import Proof
from node.records import instances, restored
from node.records.database import Records, migrate
from node.settings import Destination, DicomDestination, OrthancDestination, Settings
from node.spool import Spool
from node.stages.receive import Intake
from node.worklist import ups_events
from pipelines import with_kernels
from pipelines.pipeline import Pipeline
from pipelines.steps import resample

RESTART_S: Final = 60.0  # one call waits this long for a server; the job that needs it waits on, and others with it
METRICS_FOLDER: Final = "PROMETHEUS_MULTIPROC_DIR"  # prometheus-client's own name for it


def spool_of(settings: Settings) -> Spool:
    return Spool(settings.node.state.absolute(), reserve_bytes=settings.node.disk_reserve_mb << 20)


def prepare_state(settings: Settings) -> None:
    """Make folders and tables. Once, before any part starts. Raises BadSetting."""
    state = settings.node.state.absolute()
    running.require_whole(state)
    spool_of(settings).prepare()
    migrate(state)
    with closing(Records(state)) as records, records.write() as connection:
        cold = restored.is_first_start(connection, at=time.time())
        if settings.worklist.ups.enabled:
            ups_events.restarted(connection, settings.worklist.ups.status_to, at=time.time(), kept=not cold)


@contextmanager
def alone(settings: Settings, name: str) -> Iterator[None]:
    """Hold the lock `name` of this node's folder: two nodes on one folder would work against each other.

    A process that was killed a moment ago may still be on its way out; it gets three seconds. Raises BadSetting.
    """
    fix = "Stop it, or give each node a node.state of its own."
    with running.turn(settings.node.state.absolute(), name, patience_s=3.0, fix=fix):
        yield


def is_held(settings: Settings, name: str) -> bool:
    """Whether a living process holds the lock `name` of this node's folder."""
    try:
        with (settings.node.state.absolute() / f"{name}.lock").open("r+") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


def receiver_key(part: str) -> str:
    """What the records call a process that receives: its part of the node, and which process of that name it is."""
    return f"{part}/{os.getpid()}-{time.time_ns():x}"[:32]


def close_lost(settings: Settings, records: Records, me: str) -> None:
    """Close what earlier processes left open: of this part, and of parts that no living process holds.

    me: `receiver_key` of the caller, who holds the lock of its part
    """
    mine = me.partition("/")[0]
    with records.read() as connection:
        others = instances.open_receivers(connection) - {me}
    parts = {other: other.partition("/")[0] for other in others}
    lost = [other for other, part in parts.items() if part == mine or not is_held(settings, part)]
    if lost:
        with records.write() as connection:
            instances.close_lost_associations(connection, receivers=lost, at=time.time())


def metrics_folder(settings: Settings) -> Path:
    return settings.node.state.absolute() / "metrics"


def child_environment(settings: Settings) -> dict[str, str]:
    """The environment of the node's processes: metrics are shared through files in a folder."""
    return {**os.environ, METRICS_FOLDER: str(metrics_folder(settings))}


def pipelines_of(settings: Settings, more: Sequence[Pipeline] = ()) -> dict[str, Pipeline]:
    """The pipelines that the rules name.

    more:   beside those that ship
    raises: BadSetting for one that is unknown, parameters or roles that it doesn't take, or a destination that does not
            take its images
    """
    known = _known(settings, more)
    for rule in settings.rules:
        if rule.pipeline not in known:
            raise BadSetting(f"A rule names pipeline {rule.pipeline!r}.", fix=f"Known are {', '.join(sorted(known))}.")
        if faults := known[rule.pipeline].parameters.faults(rule.parameters):
            raise BadSetting(
                f"Parameters of rule {rule.name!r} for {rule.pipeline}: {'; '.join(faults)}.", fix="Mend the rule."
            )
        if faults := gathering.faults(known[rule.pipeline], rule):
            raise BadSetting(f"Roles of rule {rule.name!r}: {'; '.join(faults)}.", fix="Mend the rule.")
        asked_maps.require(rule, known[rule.pipeline])
        if _invents(known[rule.pipeline], settings):
            for name in rule.destinations:
                if not settings.destination(name).synthetic:
                    raise BadSetting(
                        f"Rule {rule.name!r} sends images that {rule.pipeline} invents to {name!r}, which does not say "
                        "that it takes synthetic images.",
                        fix=f"Set synthetic = true at destination {name!r} if its readers know them, or take it out.",
                    )
        if known[rule.pipeline].registers and not resample.available():
            missing = resample.Unavailable()
            raise BadSetting(f"Rule {rule.name!r} needs {rule.pipeline}. {missing.message}", fix=missing.fix)
    return {rule.pipeline: known[rule.pipeline] for rule in settings.rules}


def _known(settings: Settings, more: Sequence[Pipeline]) -> dict[str, Pipeline]:
    return with_kernels([kernel.measured() for kernel in settings.kernels]) | {one.name: one for one in more}


def synthesis_of(settings: Settings, more: Sequence[Pipeline] = ()) -> Callable[[str], bool]:
    """Whether the images of a pipeline show what nobody acquired; so they do where nobody knows the pipeline any more.

    more: beside those that ship
    """
    invents = {name: _invents(one, settings) for name, one in _known(settings, more).items()}
    return lambda name: invents.get(name, True)


def _invents(pipeline: Pipeline, settings: Settings) -> bool:
    """Whether images of a pipeline that leave show what nobody acquired; a triage keeps its own unless it is asked."""
    kept = pipeline.triage is not None and "classic" not in settings.worklist.forms
    return pipeline.gives.kind in SYNTHESIS and not kept


def specs_of(settings: Settings, pipelines: Mapping[str, Pipeline]) -> dict[str, EngineSpec]:
    """The engines that the pipelines need. Raises BadSetting when one is missing, or any sealed file was changed."""
    try:
        for folder in {None, settings.engines.folder}:
            verify(folder)
        specs = {p.engine: find_spec(p.engine, settings.engines.folder) for p in pipelines.values()}
        for spec in specs.values():
            read_weights(spec)
            recorded_cases(spec)
    except EngineError as error:
        raise BadSetting(error.message, fix=error.fix) from error
    return specs


def backend_of(settings: Settings) -> BackendSettings:
    """What runs the networks; plans lie in the node's folder unless the settings say otherwise."""
    chosen = settings.engines
    return BackendSettings(
        backend=chosen.backend,
        threads=chosen.threads,
        device=chosen.device,
        plans=(chosen.plans or settings.node.state / "plans").absolute(),
        triton_url=chosen.triton_url,
        triton_timeout_s=chosen.triton_timeout_s,
        triton_retries=chosen.triton_retries,
        triton_wait_s=min(chosen.triton_wait_s, RESTART_S),
        triton_ca=chosen.triton_ca,
        triton_certificate=chosen.triton_certificate,
        triton_key=chosen.triton_key,
    )


def pool_of(settings: Settings, *, keep: Collection[str] = ()) -> EnginePool:
    """The engines of a worker; each has to give its known answers whenever it is loaded. keep: stay once loaded"""
    choice = backend_of(settings)
    budget = settings.engines.memory_mb << 20
    return EnginePool(lambda spec: open_engine(spec, choice), budget=budget, ready=require, keep=keep)


def planes_of(settings: Settings, spool: Spool) -> Planes:
    """Where slices lie that are made before their series is complete."""
    return Planes(
        spool.work / "ahead",
        free_bytes=spool.free_bytes,
        keep_bytes=2 * spool.reserve_bytes,
        limit=settings.engines.eager_mb << 20,
        maker=maker_of(settings),
    )


def maker_of(settings: Settings) -> str:
    """What computes results, beside weights and input: slices made ahead by anything else are not used."""
    run = ("numpy", "onnxruntime", "onnxruntime-gpu", "openvino", "simpleitk", "tensorrt", "tritonclient")
    decode = ("pydicom", "pillow", "pyjpegls", "pylibjpeg", "pylibjpeg-libjpeg", "pylibjpeg-openjpeg")
    libraries = ("imaging-node", *run, *decode)
    found = [f"{one.name} {one.version}" for one in map(_library, libraries) if one is not None]
    return ", ".join([*found, settings.engines.model_dump_json()])


def _library(name: str) -> Distribution | None:
    try:
        return distribution(name)
    except PackageNotFoundError:
        return None


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
            tls=destination.tls,
        )

    return address


def carriers_of(settings: Settings) -> Callable[[Destination], Carrier]:
    """The way to a destination, by its kind. Raises BadSetting if certificates of one cannot be used."""
    address = address_of(settings)
    for one in settings.destinations:
        if one.kind == "dicom" and one.tls is not None:
            client_context(one.tls)

    def carrier(destination: Destination) -> Carrier:
        if destination.kind == "dicom":
            return DicomCarrier(address(destination))
        if destination.kind == "dicomweb":
            from node.peers.web.dicomweb import (
                Dicomweb,  # here: receivers start sooner without the libraries behind them
            )

            return Dicomweb(destination)
        if destination.kind == "orthanc":
            from node.peers.web.orthanc import OrthancCarrier

            return OrthancCarrier(destination)
        return FolderCarrier(destination.path)

    return carrier


def orthanc_of(settings: Settings) -> Callable[[str], OrthancDestination]:
    """The destination of that name, which is an Orthanc."""
    known = {one.name: one for one in settings.destinations if isinstance(one, OrthancDestination)}
    return known.__getitem__


def proofs_of(settings: Settings, records: Records) -> Callable[[Destination], Proof | None]:
    """What makes a destination vouch for what it took, where its settings ask for that."""
    address = address_of(settings)

    def proof(destination: Destination) -> Proof | None:
        if destination.kind != "dicom" or destination.commitment == "off":
            return None
        return Proof(records, destination, address(destination), clock=time.time)

    return proof


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


def decoder_of(settings: Settings, *, doing: str = "Decoding", nice: int = 0, urgent: Child | None = None) -> Child:
    limits = settings.decoder
    return Child(memory_mb=limits.memory_mb, seconds=limits.seconds, doing=doing, nice=nice, urgent=urgent)
