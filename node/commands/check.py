"""`imaging-node check`: is everything there that the node needs? All green, or why not."""

import importlib.metadata
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Final

from engines.backends import describe, open_engine
from engines.engine import EngineError
from engines.parity import require
from node import app
from node.commands.run import alive, faults
from node.errors import NodeError
from node.peers.dimse import query as dimse_query
from node.peers.dimse.connect import Address
from node.peers.tls import web_server_context
from node.peers.web.orthanc import OrthancClient
from node.peers.web.stow_senders import Senders
from node.records import notices, pauses, revisions
from node.records.database import FILE_NAME, Records
from node.records.reading import reading
from node.settings import OrthancSource, Settings, load
from node.worklist.tellers import teller
from pipelines.pipeline import Pipeline

_EARLIEST: Final = 1_767_225_600  # 2026-01-01: a clock before the software itself is wrong
_PAGE_S: Final = 5.0
_TENSORRT: Final = ("tensorrt", "tensorrt-cu13", "tensorrt-cu12", "tensorrt-rtx-cu13")


@dataclass(frozen=True, kw_only=True)
class Line:
    """One thing looked at. `good` is None for something to know that is no fault."""

    what: str
    good: bool | None
    text: str


def check(settings_file: Path, *, local: bool = False) -> Iterator[Line]:
    """Look at settings, disk, engines, receiver, destinations, licences and clock, one after the other.

    local: what a supervisor of services asks every half minute: does the node on this machine serve? Nobody else is
           called, since a PACS that is down is no reason to restart the node, and no engine is loaded a second time
    """
    try:
        settings = load(settings_file)
        pipelines = app.pipelines_of(settings)
    except NodeError as error:
        yield Line(what="settings", good=False, text=str(error))
        return
    yield Line(
        what="settings", good=True, text=f"{len(settings.rules)} rule(s), {len(settings.destinations)} destination(s)"
    )
    for text in settings.unsafe():
        yield Line(what="safety", good=False, text=text)
    if not settings.peers:
        yield Line(
            what="peers", good=False, text="No peer may send: add a [[peers]] table for each scanner or archive."
        )
    yield from _disk(settings)
    yield from _records(settings)
    if local:
        yield from _serving(settings)
        yield _clock()
        return
    yield from _engines(settings, pipelines)
    yield from _receiver(settings)
    address, carriers = app.address_of(settings), app.carriers_of(settings)
    for destination in settings.destinations:
        if destination.kind == "dicom":
            yield _echo(f"destination {destination.name}", address(destination))
            if destination.commitment == "ask" and destination.ae_title not in {p.ae_title for p in settings.peers}:
                text = "no [[peers]] table: reports on storage commitment can come on the node's own association only"
                yield Line(what=f"destination {destination.name}", good=None, text=text)
        elif destination.kind != "folder":
            yield _asked(f"destination {destination.name}", destination.url, carriers(destination).probe)
    yield from _by_http(settings)
    yield from _told(settings)
    yield from _licences()
    yield _clock()


def _clock() -> Line:
    now = time.time()
    shown = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(now))
    return Line(
        what="clock", good=now > _EARLIEST, text=shown if now > _EARLIEST else f"{shown} is too early; set the clock."
    )


def _records(settings: Settings) -> Iterator[Line]:
    """Whether this program can work with the records that are there."""
    try:
        found = revisions.standing(settings.node.state.absolute())
    except NodeError as error:
        yield Line(what="records", good=False, text=str(error))
        return
    if found.fit is revisions.Fit.OLDER:
        text = f"tables {found.records}; this program upgrades them to {found.program} when it starts"
        yield Line(what="records", good=None, text=text)
    elif found.fit is revisions.Fit.NEWER:
        text = (
            f"tables {found.records}, this program knows {found.program}: run the newer program, or have it roll them "
            f"back with `imaging-node records downgrade --to {found.program}`"
        )
        yield Line(what="records", good=False, text=text)
    elif found.fit is revisions.Fit.FITS:
        with reading(settings.node.state.absolute()) as connection:
            standing = pauses.every(connection)
        for one in standing:
            text = f"paused by {one.by}: {one.why}; it goes on after `imaging-node resume`"
            yield Line(what=f"pipeline {one.pipeline}", good=None, text=text)


def _serving(settings: Settings) -> Iterator[Line]:
    """What the running parts say of themselves, as readiness does, and whether the page answers."""
    if not settings.node.state.exists():
        yield Line(what="parts", good=False, text="the node has never run here; start it with `imaging-node run`")
        return
    found = faults(settings)
    for what, text in found.items():
        yield Line(what=what, good=False, text=text)
    if not found:
        yield Line(what="parts", good=True, text="all of them serve")
    said = alive(settings, "page")
    host = settings.page.host if settings.page.host not in ("0.0.0.0", "::") else "localhost"  # noqa: S104  not bound
    try:
        if not said:
            raise ConnectionError("is not running")
        with closing(HTTPConnection(host, said["port"], timeout=_PAGE_S)) as connection:
            connection.request("GET", "/health/live")
            status = connection.getresponse().status
    except (OSError, HTTPException) as error:
        yield Line(what="page", good=False, text=str(error))
        return
    yield Line(what="page", good=status == 200, text=f"answered {status} on port {said['port']}")


def _engines(settings: Settings, pipelines: Mapping[str, Pipeline]) -> Iterator[Line]:
    """Load each on the backend of the settings and ask for its known answers: what is printed is what really ran."""
    try:
        specs = app.specs_of(settings, pipelines)
    except NodeError as error:
        yield Line(what="engines", good=False, text=str(error))
        return
    choice = app.backend_of(settings)
    for name, spec in specs.items():
        try:
            with open_engine(spec, choice) as engine:
                differences = require(engine)
        except EngineError as error:
            yield Line(what=f"engine {name}", good=False, text=str(error))
            continue
        worst = max(difference.worst / difference.limit for difference in differences)
        text = (
            f"{spec.version}, {describe(choice)}, {len(differences)} known answers at {worst:.1%} of what may differ, "
            f"validation level {spec.validation_level}"
        )
        yield Line(what=f"engine {name}", good=True, text=text)


def _disk(settings: Settings) -> Iterator[Line]:
    """Looks only: a folder made here would belong to whoever ran this command."""
    state = settings.node.state.absolute()
    nearest = next(folder for folder in (state, *state.parents) if folder.exists())
    if not os.access(nearest, os.W_OK | os.X_OK) or not nearest.is_dir():
        fix = "give it to the node's user, or set node.state to another folder"
        yield Line(what="disk", good=False, text=f"{nearest} cannot be written by this user: {fix}.")
        return
    free = shutil.disk_usage(nearest).free
    made = "" if nearest == state else f"; {state} is made at the first start"
    text = f"{free >> 20} MB free, reserve {settings.node.disk_reserve_mb} MB{made}"
    yield Line(what="disk", good=free > settings.node.disk_reserve_mb << 20, text=text)


def _receiver(settings: Settings) -> Iterator[Line]:
    said = alive(settings, "receiver")
    if not said:
        yield Line(what="receiver", good=None, text="not running; start it with `imaging-node run`")
        return
    listening = [f"port {said['port']}"] if said["port"] else []
    listening += [f"port {said['tls_port']} with TLS"] if said.get("tls_port") else []
    text = f"listening on {' and '.join(listening)} as {settings.receiver.ae_title}"
    yield Line(what="receiver", good=True, text=text)


def _licences() -> Iterator[Line]:
    installed = {d.metadata["Name"].lower() for d in importlib.metadata.distributions() if d.metadata["Name"]}
    found = [name for name in _TENSORRT if name in installed]
    text = "no TensorRT installed; ONNX Runtime (MIT) runs the networks"
    if found:
        text = f"{found[0]} is installed: its licence excludes medical use without a separate agreement"
    yield Line(what="licences", good=None if found else True, text=text)


def _echo(what: str, address: Address) -> Line:
    try:
        dimse_query.echo(address)
    except NodeError as error:
        return Line(what=what, good=False, text=str(error))
    return Line(what=what, good=True, text=f"C-ECHO answered by {address.called_ae} at {address.host}:{address.port}")


def _by_http(settings: Settings) -> Iterator[Line]:
    """The STOW-RS listener's secrets and certificates, and whether the Orthanc sources answer."""
    if settings.stow is not None:
        try:
            Senders(settings.stow.senders)
            if settings.stow.tls is not None:
                web_server_context(settings.stow.tls)
        except NodeError as error:
            yield Line(what="stow", good=False, text=str(error))
        else:
            said = alive(settings, "web")
            text = f"listening on port {said['port']}" if said else "not running; start it with `imaging-node run`"
            yield Line(what="stow", good=True if said else None, text=text)
    for source in settings.sources:

        def probe(source: OrthancSource = source) -> None:
            with closing(OrthancClient(source)) as client:
                client.version()

        yield _asked(f"source {source.name}", source.url, probe)


def _told(settings: Settings) -> Iterator[Line]:
    """Whether those who are told of verdicts are there, and whether they acknowledged what they were told."""
    for channel in settings.worklist.channels:
        what, orthanc = f"channel {channel.name}", app.orthanc_of(settings)
        try:
            teller(channel, orthanc, None).probe()
        except NodeError as error:
            yield Line(what=what, good=False, text=str(error))
        else:
            yield Line(what=what, good=True, text="somebody is there")
    state = settings.node.state.absolute()
    if not (state / FILE_NAME).exists():
        return
    with closing(Records(state)) as records, records.read() as connection:
        alarms = notices.alarms(connection)
    for name, count in alarms.items():
        if count:
            text = f"{count} verdict(s) not acknowledged; see `imaging-node flags`"
            yield Line(what=f"channel {name}", good=False, text=text)


def _asked(what: str, url: str, probe: Callable[[], None]) -> Line:
    try:
        probe()
    except NodeError as error:
        return Line(what=what, good=False, text=str(error))
    return Line(what=what, good=True, text=f"answered at {url}")
