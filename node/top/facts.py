"""What a picture is drawn from: everything that the records, the signs of life and the disk say at one moment.

Nobody's name, and no identifier but those of jobs. Reads only.
"""

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Final

from prometheus_client import CollectorRegistry
from prometheus_client.multiprocess import MultiProcessCollector
from sqlalchemy import Connection

from node import app, signs
from node.errors import BadSetting
from node.page.engine_files import EngineFiles
from node.receiver.ports import part_name
from node.records import notices, pauses, throughput
from node.records.pauses import Pause
from node.records.reading import reading
from node.records.throughput import Hours, Made, Stopped, Triage, Waiting
from node.settings import Settings
from node.spool import Spool
from pipelines.pipeline import Pipeline

_UP: Final = "imaging_node_destination_up"


@dataclass(frozen=True, kw_only=True)
class Part:
    """A process of the node. `seen_s`: since its last sign of life; None if it never gave one."""

    name: str
    alive: bool
    seen_s: float | None


@dataclass(frozen=True, kw_only=True)
class Destination:
    """One that the settings name. `up` is None where nobody has tried it yet; `down_s`: what waits since it is down."""

    name: str
    up: bool | None
    down_s: float
    jobs: int
    instances: int
    oldest_s: float
    trouble: str


@dataclass(frozen=True, kw_only=True)
class Work:
    """What the records say."""

    received: tuple[Hours, ...]
    made: Made
    waiting: tuple[Waiting, ...]
    stopped: tuple[Stopped, ...]
    paused: tuple[Pause, ...]
    triage: Triage | None


@dataclass(frozen=True, kw_only=True)
class Facts:
    """One moment of a node.

    at:            seconds since the epoch
    window:        hours that are looked back
    engines_off:   their files are not what was sealed, or they missed their known answers
    engines_away:  the server that runs them does not answer
    alarms:        notices that nobody acknowledged in time, by channel
    disk_free:     bytes; None where the folder is not there
    work:          None where the records cannot be read; `trouble` says why
    read_s:        what reading all this took
    """

    at: float
    version: str
    ae_title: str
    window: int
    parts: tuple[Part, ...]
    engines_off: tuple[str, ...]
    engines_away: tuple[str, ...]
    destinations: tuple[Destination, ...]
    alarms: dict[str, int]
    disk_free: int | None
    disk_reserve: int
    disk_failed: bool
    work: Work | None
    trouble: str
    read_s: float

    @property
    def runs(self) -> bool:
        """Whether any part of the node is alive."""
        return any(part.alive for part in self.parts)

    @property
    def serves(self) -> bool:
        """Whether nothing keeps the node from taking and making what it should."""
        room = self.disk_free is not None and self.disk_free >= self.disk_reserve and not self.disk_failed
        return room and not self.engines_off and not self.engines_away and all(part.alive for part in self.parts)


class Watch:
    """Looks at one node, again and again.

    pipelines: those that its rules name
    """

    def __init__(self, settings: Settings, pipelines: Mapping[str, Pipeline]) -> None:
        self._settings, self._state = settings, settings.node.state.absolute()
        self._triages = [name for name, one in pipelines.items() if one.triage is not None]
        self._engine_files = EngineFiles({one.engine for one in pipelines.values()}, settings.engines.folder)

    def look(self, *, window: int, now: float | None = None) -> Facts:
        """One look, whether the node runs or not. `now`: seconds since the epoch; the clock's if it is not given."""
        began, at = time.perf_counter(), time.time() if now is None else now
        settings, spool = self._settings, app.spool_of(self._settings)
        parts, worker = _parts(settings, self._state, at), signs.last(self._state, "worker", now=at)
        up = _up(app.metrics_folder(settings)) if any(part.alive for part in parts) else {}
        whole = self._engine_files.whole()
        work, lines, late, trouble = None, {}, {}, ""
        try:
            with reading(self._state) as connection:
                work = self._work(connection, at, window)
                lines = throughput.lines(connection, now=at)
                late = {channel: count for channel, count in notices.alarms(connection).items() if count}
        except BadSetting as error:
            trouble = str(error)
        return Facts(
            at=at,
            version=version("imaging-node"),
            ae_title=settings.receiver.ae_title,
            window=window,
            parts=parts,
            engines_off=tuple(name for name, fine in whole.items() if not fine or worker.get(signs.engine_off(name))),
            engines_away=tuple(name for name in whole if worker.get(signs.engine_away(name))),
            destinations=tuple(
                _destination(one.name, lines.get(one.name), up.get(one.name)) for one in settings.destinations
            ),
            alarms=late,
            disk_free=_free(spool),
            disk_reserve=spool.reserve_bytes,
            disk_failed=spool.has_failed(),
            work=work,
            trouble=trouble,
            read_s=time.perf_counter() - began,
        )

    def _work(self, connection: Connection, at: float, window: int) -> Work:
        triages = self._triages
        return Work(
            received=throughput.received(connection, now=at, window=window),
            made=throughput.made(connection, now=at, window=window),
            waiting=throughput.waiting(connection, now=at),
            stopped=throughput.stopped(connection, now=at, window=window),
            paused=tuple(pauses.every(connection)),
            triage=throughput.triage(connection, now=at, window=window, pipelines=triages) if triages else None,
        )


def _parts(settings: Settings, state: Path, at: float) -> tuple[Part, ...]:
    names = [part_name(slot) for slot in range(1, settings.receiver.processes + 1)]
    names += ["worker", "page", *(("web",) if settings.takes_by_http else ())]
    return tuple(
        Part(name=name, alive=bool(signs.last(state, name, now=at)), seen_s=_seen(state, name, at)) for name in names
    )


def _seen(state: Path, name: str, at: float) -> float | None:
    try:
        return max(0.0, at - (state / f"{name}.alive").stat().st_mtime)
    except OSError:
        return None


def _destination(name: str, line: throughput.Line | None, answered: float | None) -> Destination:
    up = None if answered is None else answered > 0
    if line is None:
        return Destination(name=name, up=up, down_s=0.0, jobs=0, instances=0, oldest_s=0.0, trouble="")
    return Destination(
        name=name,
        up=up,
        down_s=line.troubled_s if line.trouble else 0.0,
        jobs=line.jobs,
        instances=line.instances,
        oldest_s=line.oldest_s,
        trouble=line.trouble,
    )


def _free(spool: Spool) -> int | None:
    try:
        return spool.free_bytes()
    except OSError:
        return None


def _up(folder: Path) -> dict[str, float]:
    """Which destinations answered last, from the files in which the running processes count."""
    if not os.access(folder, os.R_OK):
        return {}
    collector = MultiProcessCollector(CollectorRegistry(), path=str(folder))  # type: ignore[no-untyped-call]
    collected = collector.collect()  # type: ignore[no-untyped-call]
    return {
        one.labels["destination"]: one.value for metric in collected if metric.name == _UP for one in metric.samples
    }
