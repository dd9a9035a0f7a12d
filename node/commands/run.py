"""`imaging-node run`: the node, or one of its parts."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from engines.backends import Backend
from node import app, signs
from node.child import die_with_parent
from node.errors import BadSetting
from node.log import configure, log
from node.metrics import METRICS
from node.peers.dimse.ports import require_free
from node.receiver import ports as receiver_ports
from node.records.database import Records
from node.settings import Settings, load
from node.supervisor import Supervisor

if TYPE_CHECKING:
    from node.page.levels import Site


def node(settings_file: Path) -> int:
    """Check everything, then supervise. Returns the exit status."""
    from node.peers.web.http import require_usable  # here: the parts start sooner without it
    from node.worklist import tellers

    settings = load(settings_file)
    configure(settings.node.log_level, part="node")
    os.umask(0o077)  # received images and records are nobody else's business
    specs = app.specs_of(settings, app.pipelines_of(settings))
    _backend_runs(settings, settings_file, specs)
    app.prepare_state(settings)
    receiver_ports.require_safe(settings)
    require_usable(settings.sites)
    tellers.require_usable(settings.worklist.channels, app.orthanc_of(settings))
    receiver_ports.prepare_ports(settings)
    require_free(settings.page.host, settings.page.port, setting="page")
    if settings.stow is not None:
        require_free(settings.stow.host, settings.stow.port, setting="stow")
    with app.alone(settings, "node"), receiver_ports.shared_ports(settings) as found:
        folder = app.metrics_folder(settings)
        folder.mkdir(parents=True, exist_ok=True)
        for old in folder.glob("*.db"):  # counters begin at 0 with the node; Prometheus knows what that means
            old.unlink()
        parts: dict[str, list[str]] = {
            receiver_ports.part_name(slot): ["receiver", "--slot", str(slot), "--ports", *map(str, found.numbers)]
            for slot in _slots(settings)
        }
        parts |= {name: [name] for name in _beside_receivers(settings)}
        environment = app.child_environment(settings)
        return Supervisor(settings_file, environment, parts, serves=lambda: _serves(settings)).run()


def _serves(settings: Settings) -> bool:
    return not silent(settings) and bool(alive(settings, "page"))


def _backend_runs(settings: Settings, settings_file: Path, names: Iterable[str]) -> None:
    """A library or device that has to be installed first is missed before the port opens, not after.

    In a process of its own, because this one stays small. ONNX Runtime on the CPU is part of the node; a server
    elsewhere may be back later. An engine that runs and misses its known answers is the worker's affair: it is off.
    """
    if settings.engines.backend in (Backend.ORT, Backend.TRITON):
        return
    command = [sys.executable, "-m", "node", "engines", "verify", *names, "-c", str(settings_file), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603  our own interpreter
    try:
        found = json.loads(done.stdout)["engines"]
    except (ValueError, KeyError) as error:
        raise BadSetting(
            f"Backend {settings.engines.backend} ended its process with status {done.returncode}.",
            fix="See what `imaging-node engines verify` says.",
        ) from error
    for entry in found:
        if entry["reason"]:
            raise BadSetting(entry["reason"])


def part(name: str, settings_file: Path, *, parent: int | None, slot: int, ports: tuple[int, int] | None) -> None:
    """One process of the node, until SIGTERM.

    slot:  of a receiver
    ports: of a receiver, plain and TLS, that the supervisor keeps for all of them
    """
    if parent is not None:
        die_with_parent(parent)
    settings = load(settings_file)
    configure(settings.node.log_level, part=name)
    os.umask(0o077)
    if parent is None:
        receiver_ports.require_safe(settings)
        app.prepare_state(settings)
    METRICS.starts.labels(part=name).inc()
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    if name == "receiver":
        found = None if ports is None else receiver_ports.Ports(plain=ports[0], tls=ports[1], shared=True)
        with app.alone(settings, receiver_ports.part_name(slot)):
            _receiver(settings, stop, slot, found)
        return
    with app.alone(settings, name):
        {"worker": _worker, "page": _page, "web": _web}[name](settings, stop)


def _receiver(settings: Settings, stop: threading.Event, slot: int, found: receiver_ports.Ports | None) -> None:
    from node.receiver import receiver  # only here: the other parts start sooner without it

    with receiver(settings, slot=slot, ports_found=found) as listener:
        log.info("listening", port=listener.port, tls_port=listener.tls_port, ae_title=settings.receiver.ae_title)
        while not stop.is_set():
            signs.beat(
                settings.node.state, receiver_ports.part_name(slot), port=listener.port, tls_port=listener.tls_port
            )
            stop.wait(signs.EVERY_S)


def _worker(settings: Settings, stop: threading.Event) -> None:
    from node.worker import Worker  # only here: the other parts start in half the time without it

    with Worker(settings) as worker:
        worker.run(stop.wait)


def _web(settings: Settings, stop: threading.Event) -> None:
    from node import web  # only here: the other parts start sooner without it

    if not settings.takes_by_http:
        raise BadSetting("The settings have neither [stow] nor [[sources]].", fix="Leave this part out.")
    with web.serving(settings) as part:
        port = {} if part.stow is None else {"port": part.stow.port}
        log.info("taking by HTTP", sources=len(settings.sources), **port)
        while not stop.is_set():
            part.require_alive()
            signs.beat(settings.node.state, "web", **port)
            stop.wait(signs.EVERY_S)


def _page(settings: Settings, stop: threading.Event) -> None:
    import uvicorn

    from node.page.app import make
    from node.page.levels import Levels

    state = settings.node.state.absolute()
    with closing(Records(state)) as records:
        application = make(
            records=records,
            levels=Levels(records, app.spool_of(settings), state, _shown(settings)),
            metrics_folder=app.metrics_folder(settings),
            ready=lambda: faults(settings),
        )
        server = uvicorn.Server(uvicorn.Config(application, log_config=None, lifespan="off"))
        with page_port(settings) as listening:
            thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
            thread.start()
            port = listening.getsockname()[1]
            while not stop.is_set() and thread.is_alive():
                signs.beat(settings.node.state, "page", port=port)
                stop.wait(signs.EVERY_S)
            server.should_exit = True
            thread.join(5.0)


def _shown(settings: Settings) -> "Site":
    """What the page shows from the start."""
    from node.page.levels import Site

    pipelines = app.pipelines_of(settings)
    return Site(
        pipelines=sorted(pipelines),
        triages=[name for name, one in pipelines.items() if one.triage is not None],
        destinations=[one.name for one in settings.destinations],
        engines={one.engine for one in pipelines.values()},
        engines_folder=settings.engines.folder,
        parts=[
            *(receiver_ports.part_name(slot) for slot in _slots(settings)),
            *_beside_receivers(settings),
        ],
        scanners=settings.worklist.scanners,
    )


def page_port(settings: Settings) -> socket.socket:
    """The page's port, which takes connections already: whoever hears of it may call before uvicorn is ready.

    raises: BadSetting if it cannot be opened
    """
    listening = socket.socket()
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((settings.page.host, settings.page.port))
        listening.listen()
    except OSError as error:
        listening.close()
        raise BadSetting(
            f"Port {settings.page.port} on {settings.page.host} cannot be opened: {error.strerror}.",
            fix="Set page.host and page.port to a free one.",
        ) from error
    return listening


def _beside_receivers(settings: Settings) -> tuple[str, ...]:
    return ("worker", "page", *(("web",) if settings.takes_by_http else ()))


def _slots(settings: Settings) -> range:
    return range(1, settings.receiver.processes + 1)


def alive(settings: Settings, name: str) -> dict[str, int]:
    """What a part last said of itself; empty if it is silent. "receiver" is the first one that is not."""
    if name == "receiver":
        all_of_them = (alive(settings, receiver_ports.part_name(slot)) for slot in _slots(settings))
        return next(filter(None, all_of_them), {})
    return signs.last(settings.node.state, name)


def silent(settings: Settings) -> list[str]:
    """The parts that do not run, or not yet. The page is none of them: it is what tells of the others."""
    parts = ("receiver", *_beside_receivers(settings))
    return [name for name in parts if name != "page" and not alive(settings, name)]


def faults(settings: Settings) -> dict[str, str]:
    """What keeps the node from serving, by part."""
    found = dict.fromkeys(silent(settings), "is not running")
    if count := alive(settings, "worker").get("engines_off"):
        found["engines"] = f"{count} off: they missed their recorded cases"
    if not app.spool_of(settings).has_room(0):
        found["disk"] = "less is free than node.disk_reserve_mb"
    if app.spool_of(settings).has_failed():
        found["spool"] = "its disk failed to write or to sync; check it, then start the node again"
    return found
