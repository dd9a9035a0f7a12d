"""What is read from records, disk and processes at every scrape."""

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Final

from node import backup, signs
from node.dicom.classes import MODALITIES, OTHER_MODALITY
from node.metrics import Level, Spread
from node.page import processes, worklist
from node.page.engine_files import EngineFiles
from node.records import gatherings, overview, pauses, turnarounds
from node.records.database import Records
from node.settings.scanners import Scanner
from node.spool import Spool

_MODALITIES: Final = (*MODALITIES, OTHER_MODALITY)


@dataclass(frozen=True, kw_only=True)
class Site:
    """What the settings name, so that all of it is shown from the start.

    pipelines:    of the rules
    triages:      those of them that triage
    destinations: by name
    engines:      that the rules need, by name
    engines_folder: the site's own
    parts:        processes of the node, as their signs of life are called
    scanners:     whose triage is measured apart
    """

    pipelines: Sequence[str] = ()
    triages: Sequence[str] = ()
    destinations: Sequence[str] = ()
    engines: Collection[str] = ()
    engines_folder: Path | None = None
    parts: Sequence[str] = ()
    scanners: Sequence[Scanner] = ()


class Levels:
    """Reads them. `clock`: seconds since the epoch"""

    def __init__(
        self, records: Records, spool: Spool, state: Path, site: Site, *, clock: Callable[[], float] = time.time
    ) -> None:
        self._records, self._spool, self._state, self._site, self._clock = records, spool, state, site, clock
        self._cpu_s: dict[str, tuple[int, float]] = {}
        self._engine_files = EngineFiles(site.engines, site.engines_folder)

    def read(self) -> list[Level | Spread]:
        """All of them, as they are at this moment."""
        return [*self._of_records(), *self._of_disk(), *self._of_parts(), *self._of_engines()]

    def _of_records(self) -> list[Level | Spread]:
        site, now = self._site, self._clock()
        with self._records.read() as connection:
            by_state, stopped = overview.jobs_by_pipeline(connection, site.pipelines)
            paused = {one.pipeline for one in pauses.every(connection)}
            return [
                _gauge("sets", "Complete sets by state", "state", overview.sets(connection)),
                _gauge("jobs", "Jobs by state", "state pipeline", by_state),
                _gauge(
                    "jobs_stopped",
                    "Jobs that are held, paused, refused, failed or dead now, by why",
                    "state reason pipeline",
                    stopped,
                ),
                _gauge(
                    "studies",
                    "Studies and rules that take several series, by state",
                    "state",
                    gatherings.counts(connection),
                ),
                _gauge("series_open", "Series that are not complete yet", "", overview.open_series(connection)),
                _gauge("series_received_total", "Series that came complete", "modality", overview.received(connection)),
                *self._delivered(turnarounds.every(connection)),
                _gauge(
                    "queue_depth",
                    "Jobs that wait or run, by stage they are in",
                    "stage pipeline",
                    overview.queue(connection, site.pipelines),
                ),
                _gauge(
                    "oldest_waiting_seconds",
                    "For how long nothing has happened to what has rested longest in a stage",
                    "stage",
                    overview.waiting_s(connection, now=now),
                ),
                _gauge(
                    "triage_oldest_waiting_seconds",
                    "Since the last slice of what has waited longest for a verdict of triage",
                    "",
                    overview.untriaged_s(connection, [one for one in site.triages if one not in paused], now=now),
                ),
                _gauge(
                    "deliveries_waiting",
                    "Derived instances on their way and not yet confirmed",
                    "destination",
                    overview.undelivered(connection, site.destinations),
                ),
                _gauge(
                    "delivery_oldest_seconds",
                    "Age of the oldest result that a destination has not confirmed",
                    "destination",
                    overview.undelivered_s(connection, site.destinations, now=now, paused=paused),
                ),
                _gauge(
                    "pipeline_paused",
                    "1 while a person has paused the pipeline, else 0",
                    "pipeline",
                    {name: float(name in paused) for name in (*site.pipelines, *paused)},
                ),
                _gauge(
                    "quarantined_instances",
                    "Objects put aside because their UID was taken by another",
                    "",
                    overview.quarantined(connection),
                ),
                *worklist.levels(connection, site.scanners),
            ]

    def _delivered(self, found: Mapping[tuple[str, str], tuple[list[int], float]]) -> list[Level | Spread]:
        none = [0] * (len(turnarounds.BOUNDS_S) + 1)
        by_pipeline: dict[str, tuple[list[int], float]] = dict.fromkeys(self._site.pipelines, (none, 0.0))
        for (_, pipeline), (counts, seconds) in found.items():
            before = by_pipeline.get(pipeline, (none, 0.0))
            by_pipeline[pipeline] = [a + b for a, b in zip(before[0], counts, strict=True)], before[1] + seconds
        delivered: dict[tuple[str, ...], float] = {(m, name): 0.0 for name in self._site.pipelines for m in _MODALITIES}
        delivered |= {label: float(sum(counts)) for label, (counts, _) in found.items()}
        return [
            _gauge(
                "series_delivered_total",
                "Jobs whose every result was confirmed at every destination, by modality of their source",
                "modality pipeline",
                delivered,
            ),
            Spread(
                name="turnaround_seconds",
                text="Last slice in to last result confirmed everywhere",
                label="pipeline",
                bounds=turnarounds.BOUNDS_S,
                values=by_pipeline,
            ),
        ]

    def _of_disk(self) -> list[Level]:
        spool = self._spool
        return [
            _gauge("disk_free_bytes", "Free bytes on the spool's disk", "", spool.free_bytes()),
            _gauge("disk_total_bytes", "Size of the spool's disk", "", spool.total_bytes()),
            _gauge(
                "disk_reserve_bytes", "With fewer free bytes senders are answered A700", "", float(spool.reserve_bytes)
            ),
            _gauge(
                "spool_failed",
                "1 if the spool's disk failed to write or to sync since the node was started, else 0",
                "",
                float(spool.has_failed()),
            ),
        ]

    def _of_parts(self) -> list[Level]:
        said = {part: signs.last(self._state, part) for part in self._site.parts}
        used = {part: self._usage(part, one["pid"]) for part, one in said.items() if one}
        return [
            _gauge(
                "part_up",
                "1 if the part gives signs of life, else 0",
                "part",
                {p: float(bool(s)) for p, s in said.items()},
            ),
            _gauge(
                "process_cpu_seconds_total",
                "Processor time of the part and its children",
                "part",
                {part: one.cpu_seconds for part, one in used.items()},
            ),
            _gauge(
                "process_resident_bytes",
                "Memory of the part and its children; what they share counts for each",
                "part",
                {part: float(one.resident_bytes) for part, one in used.items()},
            ),
            _gauge(
                "backup_last_success_timestamp_seconds",
                "When the newest whole backup was made, seconds since the epoch; 0: never",
                "",
                backup.last_success(self._state),
            ),
            _gauge("build_info", "The version that runs", "version", {version("imaging-node"): 1.0}),
        ]

    def _usage(self, part: str, pid: int) -> processes.Usage:
        """Its time never falls: a child that ends while it is looked at may count neither for itself nor its parent."""
        now, (last_pid, last_s) = processes.usage(pid), self._cpu_s.get(part, (pid, 0.0))
        seconds = max(now.cpu_seconds, last_s) if pid == last_pid else now.cpu_seconds
        self._cpu_s[part] = pid, seconds
        return replace(now, cpu_seconds=seconds)

    def _of_engines(self) -> list[Level]:
        worker = signs.last(self._state, "worker")
        whole = self._engine_files.whole()
        away = {name: float(bool(worker.get(signs.engine_away(name)))) for name in whole}
        ready = {
            name: float(fine and not away[name] and not worker.get(signs.engine_off(name)))
            for name, fine in whole.items()
        }
        return [
            _gauge(
                "engine_ready",
                "1 if the files of the engine are what was sealed and it gives its recorded answers, else 0",
                "engine",
                ready,
            ),
            _gauge("engine_away", "1 while the server that runs the engine does not answer, else 0", "engine", away),
        ]


def _gauge(
    name: str, text: str, label: str, values: Mapping[str, float] | Mapping[tuple[str, ...], float] | float
) -> Level:
    return Level(name=name, text=text, label=label, values={"": values} if isinstance(values, float | int) else values)
