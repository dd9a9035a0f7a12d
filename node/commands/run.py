"""`imaging-node run`: the node, or one of its parts."""

import errno
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path

from engines.backends import Backend
from node import app
from node.child import die_with_parent
from node.errors import BadSetting
from node.log import configure, log
from node.metrics import METRICS
from node.records.database import Records
from node.settings import Settings, load
from node.supervisor import Supervisor

_BEAT_S = 1.0
_SILENT_S = 10.0
_DYING_S = 3.0


def node(settings_file: Path) -> int:
    """Check everything, then supervise. Returns the exit status."""
    settings = load(settings_file)
    configure(settings.node.log_level, part="node")
    os.umask(0o077)  # received images and records are nobody else's business
    specs = app.specs_of(settings, app.pipelines_of(settings))
    _backend_runs(settings, settings_file, specs)
    app.prepare_state(settings)
    for host, port, name in (
        (settings.receiver.host, settings.receiver.port, "receiver"),
        (settings.page.host, settings.page.port, "page"),
    ):
        _port_is_free(host, port, name)
    with app.alone(settings, "node"):
        folder = app.metrics_folder(settings)
        folder.mkdir(parents=True, exist_ok=True)
        for old in folder.glob("*.db"):  # counters begin at 0 with the node; Prometheus knows what that means
            old.unlink()
        return Supervisor(settings_file, app.child_environment(settings)).run()


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


def part(name: str, settings_file: Path, *, parent: int | None) -> None:
    """One process of the node, until SIGTERM."""
    if parent is not None:
        die_with_parent(parent)
    settings = load(settings_file)
    configure(settings.node.log_level, part=name)
    os.umask(0o077)
    if parent is None:
        app.prepare_state(settings)
    METRICS.starts.labels(part=name).inc()
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    with app.alone(settings, name):
        {"receiver": _receiver, "worker": _worker, "page": _page}[name](settings, stop)


def _receiver(settings: Settings, stop: threading.Event) -> None:
    with app.receiver(settings) as listener:
        log.info("listening", port=listener.port, ae_title=settings.receiver.ae_title)
        while not stop.is_set():
            _beat(settings, "receiver", port=listener.port)
            stop.wait(_BEAT_S)


def _worker(settings: Settings, stop: threading.Event) -> None:
    from node.worker import Worker  # only here: the other parts start in half the time without it

    beaten = 0.0

    def stopping(seconds: float) -> bool:
        nonlocal beaten
        if time.monotonic() - beaten >= _BEAT_S:
            beaten = time.monotonic()
            _beat(settings, "worker", engines_off=len(worker.inference.off))
        return stop.wait(seconds)

    with Worker(settings) as worker:
        worker.run(stopping)


def _page(settings: Settings, stop: threading.Event) -> None:
    import uvicorn

    from node.page.app import make

    with closing(Records(settings.node.state.absolute())) as records:
        application = make(
            records=records,
            spool=app.spool_of(settings),
            metrics_folder=app.metrics_folder(settings),
            ready=lambda: faults(settings),
        )
        server = uvicorn.Server(uvicorn.Config(application, log_config=None, lifespan="off"))
        with socket.socket() as listening:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                listening.bind((settings.page.host, settings.page.port))
            except OSError as error:
                raise BadSetting(
                    f"Port {settings.page.port} on {settings.page.host} cannot be opened: {error.strerror}.",
                    fix="Set page.host and page.port to a free one.",
                ) from error
            thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
            thread.start()
            port = listening.getsockname()[1]
            while not stop.is_set() and thread.is_alive():
                _beat(settings, "page", port=port)
                stop.wait(_BEAT_S)
            server.should_exit = True
            thread.join(5.0)


def _beat(settings: Settings, name: str, **facts: int) -> None:
    """Say that this part serves: a small file that readiness, `check` and scripts read."""
    path = settings.node.state.absolute() / f"{name}.alive"
    aside = path.with_suffix(f".{os.getpid()}")
    aside.write_text(json.dumps({"at": time.time(), "pid": os.getpid(), **facts}), encoding="utf-8")
    aside.replace(path)


def alive(settings: Settings, name: str) -> dict[str, int]:
    """What a part last said of itself; empty if it is silent."""
    path = settings.node.state.absolute() / f"{name}.alive"
    try:
        said: dict[str, int] = json.loads(path.read_text(encoding="utf-8"))
        os.kill(said["pid"], 0)
    except (OSError, ValueError, KeyError):
        return {}
    return said if abs(time.time() - said["at"]) < _SILENT_S else {}


def faults(settings: Settings) -> dict[str, str]:
    """What keeps the node from serving, by part."""
    found = {name: "is not running" for name in ("receiver", "worker") if not alive(settings, name)}
    if count := alive(settings, "worker").get("engines_off"):
        found["engines"] = f"{count} off: they missed their recorded cases"
    if not app.spool_of(settings).has_room(0):
        found["disk"] = "less is free than node.disk_reserve_mb"
    return found


def _port_is_free(host: str, port: int, name: str) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    until = time.monotonic() + _DYING_S
    while True:
        with socket.socket(family) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
                return
            except OSError as error:
                # The processes of a node that was killed a moment ago may still be on their way out.
                if error.errno != errno.EADDRINUSE or time.monotonic() > until:
                    raise BadSetting(
                        f"Port {port} on {host} cannot be opened: {error.strerror}.",
                        fix=f"Set {name}.host and {name}.port to a free one, or stop what holds it.",
                    ) from error
        time.sleep(0.1)
