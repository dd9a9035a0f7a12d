"""`imaging-node process IN --to OUT`: files through the same flow, no network."""

import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from node import app
from node.dicom import part10
from node.dicom.codes import SYNTHESIS
from node.errors import BadSetting, Refuse
from node.records import gatherings, instances, jobs, overview, sets
from node.records.database import Records
from node.records.states import Ending, JobState
from node.settings import Settings, load, parse
from node.spool import output_folder
from node.stages.receive import Arrival, Intake, Rejected
from node.worker import Worker
from pipelines import SHIPPED

_OUT: Final = "out"
_ENDED: Final = frozenset(JobState) - {JobState.QUEUED, JobState.RELEASED, JobState.RUNNING, JobState.DELIVERING}
_CALLING_AE: Final = "FILES"


@dataclass(kw_only=True)
class Outcome:
    """What became of the files. `refused`: file name -> why it was not taken."""

    received: int = 0
    refused: dict[str, str] = field(default_factory=dict)
    series: list[dict[str, Any]] = field(default_factory=list)

    @property
    def delivered(self) -> int:
        return sum(int(series["instances"]) for series in self.series if series["state"] == JobState.DELIVERED)


def process(
    source: Path,
    out: Path,
    *,
    pipeline: str | None,
    parameters: Mapping[str, str | float],
    engines: Path | None = None,
    threads: int | None = None,
    progress: Callable[[str, int, int], None],
) -> Outcome:
    """Everything in `source` (a file or a folder, searched through) into `out`, a folder for each derived series.

    pipeline:   only this one; default: every one that matches, needs no parameters and invents no images
    parameters: of that pipeline
    engines:    settings file that says what runs the networks; default: this CPU
    threads:    instead of what `engines` says
    progress:   (what, done, in all)
    raises:     BadSetting
    """
    files = sorted(path for path in source.rglob("*") if path.is_file()) if source.is_dir() else [source]
    if not source.exists() or not files:
        raise BadSetting(f"{source} holds no file.", fix="Name a DICOM file or a folder of them.")
    with tempfile.TemporaryDirectory(prefix="imaging-node-", dir=output_folder(out)) as state:
        settings = _settings(Path(state), out, pipeline, parameters, _tables(engines, threads))
        app.prepare_state(settings)
        outcome = Outcome()
        with closing(Records(Path(state))) as records, closing(app.decoder_of(settings)) as child:
            with closing(app.intake_of(settings, records, app.spool_of(settings), child)) as intake:
                names = {path: str(path.relative_to(source if source.is_dir() else source.parent)) for path in files}
                _take(names, records, intake, outcome, progress)
            with Worker(settings, progress=lambda _, done, total: progress("infer", done, total)) as worker:
                worker.tick(everything_is_here=True)
                _wait(worker, records)
            outcome.series = list(_series(records))
    return outcome


def _settings(
    state: Path,
    out: Path,
    pipeline: str | None,
    parameters: Mapping[str, str | float],
    tables: Mapping[str, object],
) -> Settings:
    if pipeline is not None and pipeline not in SHIPPED:
        raise BadSetting(f"There is no pipeline {pipeline!r}.", fix=f"Known are {', '.join(sorted(SHIPPED))}.")
    if parameters and pipeline is None:
        raise BadSetting("Parameters belong to a pipeline.", fix="Name it with --pipeline.")
    # What invents images runs for those who ask for it by name.
    usual = sorted(
        name for name, one in SHIPPED.items() if not one.parameters.faults({}) and one.gives.kind not in SYNTHESIS
    )
    names = [pipeline] if pipeline else usual
    rules = [{"name": name, "pipeline": name, "destinations": [_OUT], "parameters": dict(parameters)} for name in names]
    raw: dict[str, object] = {
        "node": {"state": str(state), "disk_reserve_mb": 0, "log_level": "error"},
        "receiver": {"ae_title": "NONE"},
        "destinations": [
            {
                "kind": "folder",
                "name": _OUT,
                "path": str(out.absolute()),
                "retry_hours": 0.01,
                "synthetic": pipeline is not None,
            }
        ],
        "rules": rules,
        **tables,
    }
    return parse(raw, source="the command line")


def _tables(file: Path | None, threads: int | None) -> dict[str, object]:
    """The tables `engines` and `kernels` of a settings file. Raises BadSetting."""
    found: dict[str, object] = {}
    kernels: list[dict[str, object]] = []
    if file is not None:
        settings = load(file)
        found = settings.engines.model_dump(exclude_none=True)
        kernels = [kernel.model_dump() for kernel in settings.kernels]
        found["plans"] = app.backend_of(settings).plans
        # Here somebody sits and waits: a server that is away is said soon.
        found["triton_wait_s"] = min(settings.engines.triton_wait_s, app.RESTART_S)
    return {"engines": found | ({} if threads is None else {"threads": threads}), "kernels": kernels}


def _take(
    files: dict[Path, str],
    records: Records,
    intake: Intake,
    outcome: Outcome,
    progress: Callable[[str, int, int], None],
) -> None:
    key = uuid.uuid4().hex
    with records.write() as connection:
        instances.open_association(connection, key=key, calling_ae=_CALLING_AE, receiver="files", at=time.time())
    for done, (path, name) in enumerate(files.items(), start=1):
        try:
            meta, data_set = part10.split(path)
            arrival = Arrival(
                sop_class_uid=meta.sop_class_uid,
                sop_instance_uid=meta.sop_instance_uid,
                transfer_syntax=meta.transfer_syntax,
                data_set=data_set,
                association=key,
                calling_ae=_CALLING_AE,
            )
            intake.store(arrival)
            outcome.received += 1
        except Rejected as error:
            outcome.refused[name] = error.comment
        except Refuse as error:
            outcome.refused[name] = error.message
        progress("read", done, len(files))
    with records.write() as connection:
        instances.close_association(connection, key=key, at=time.time(), ending=Ending.RELEASED)


def _wait(worker: Worker, records: Records) -> None:
    pause = threading.Event()
    while True:
        with records.read() as connection:
            states = overview.jobs(connection)
            unrouted = overview.sets(connection)["frozen"]
            studies = gatherings.counts(connection)
        if studies["waiting"] or studies["ready"]:
            unrouted += 1  # their job is made at a later tick
        if not unrouted and all(not count or state in _ENDED for state, count in states.items()):
            return
        pause.wait(0.05)
        worker.tick()


def _series(records: Records) -> Iterator[dict[str, Any]]:
    with records.read() as connection:
        for series_uid in sets.series_uids(connection):
            newest = sets.of_series(connection, series_uid)[-1]
            for job in jobs.of_set(connection, newest["id"]):
                yield {
                    "source_series_uid": series_uid,
                    "series_uid": job["series_uid"],
                    "description": job["series_description"],
                    "pipeline": job["pipeline"],
                    "state": str(job["state"]),
                    "reason": job["reason"],
                    "instances": len(jobs.results(connection, job["id"])),
                    "report": job["report"],
                }
            if not jobs.of_set(connection, newest["id"]):
                yield {
                    "source_series_uid": series_uid,
                    "series_uid": None,
                    "description": None,
                    "pipeline": None,
                    "state": str(newest["state"]),
                    "reason": newest["reasons"],
                    "instances": 0,
                    "report": None,
                }
