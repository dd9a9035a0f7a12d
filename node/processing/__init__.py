"""What a worker does to a job at each stage: the stage's function, with the records before and after it."""

import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from engines.engine import EngineSpec
from node.dicom.uids import input_digest
from node.errors import Hold, NotRegistered, Refuse
from node.log import log
from node.metrics import METRICS, count_verdicts
from node.prepared import Prepared
from node.processing.arrays import Arrays
from node.processing.lanes import Lanes
from node.processing.making import Making
from node.processing.mapped import mapped
from node.processing.outputs import Outputs
from node.processing.parts import SetPart
from node.processing.registrations import frames_of_reference, tell_registration
from node.processing.routing import Router
from node.processing.triaging import Triaging
from node.records import deliveries, jobs, pauses, sets
from node.records.database import Records
from node.records.states import DispatchState, JobState, SetState
from node.stages import check as checking
from node.stages.deliver import Attempt, Deliverer
from node.stages.infer import Inference
from pipelines.judging import Judging
from pipelines.pipeline import Pipeline
from pipelines.report import Report
from pipelines.volume import Volume, finer

_MOST_STARTS: Final = 20  # a job that took its worker down this often is held, or it would do so for ever


@dataclass(frozen=True, kw_only=True)
class Work:
    """Everything that the stages need, built by `app.py`.

    specs:    engine name -> what is loaded
    clock:    seconds since the epoch
    """

    records: Records
    router: Router
    arrays: Arrays
    outputs: Outputs
    inference: Inference
    making: Making
    triaging: Triaging
    lanes: Lanes
    deliverer: Deliverer
    pipelines: Mapping[str, Pipeline]
    specs: Mapping[str, EngineSpec]
    clock: Callable[[], float]

    def route(self, set_id: str) -> list[str]:
        """Make the jobs of a set; returns those that have work to do."""
        with METRICS.stage_seconds.labels(stage="route", pipeline="").time():
            todo = self.router.route(set_id)
        for job_id in todo:
            self.triaging.routed(job_id)
        return todo

    def prepare(self, job_id: str) -> dict[str, Any]:
        """Decode the part of a set that a job takes, or one of each role; returns a `Prepared` as JSON."""
        with self._stage(job_id, "prepare") as job:
            if self.triaging.takes(job):
                return self.triaging.prepare(job, lambda: self._prepare(job)).to_json()
            return self._prepare(job).to_json()

    def _prepare(self, job: Mapping[str, Any]) -> Prepared:
        part, others = self._taken(job), self._others(job)
        prepared = self.arrays.decode(job["id"], part, ready=self.making.ready(job))
        decoded = {role: self.arrays.decode(job["id"], other, role) for role, other in others.items()}
        prepared = replace(prepared, roles=decoded | self._registered(job, prepared, decoded, part, others))
        names = [*_names(prepared, part), *(n for r, one in others.items() for n in _names(prepared.roles[r], one))]
        self._volume(job, prepared)  # refuses series that do not lie on one grid
        with self.records.write() as connection:
            jobs.note(connection, job["id"], at=self.clock(), input_digest=input_digest(names))
        return prepared

    def infer(self, job_id: str, prepared: Prepared) -> str:
        """Run the network; returns the name of the result's file."""
        with self._stage(job_id, "infer") as job:
            with self.records.write() as connection:
                starts = jobs.count_start(connection, job_id)
            if starts > _MOST_STARTS:
                raise Hold(f"The worker ended {starts - 1} times during this job.", fix="See its log, then replay.")
            return str(self._infer(job, prepared))

    def _infer(self, job: Mapping[str, Any], prepared: Prepared) -> Path:
        if self.triaging.takes(job):
            return self.triaging.infer(job, lambda: self._volume(job, prepared), lambda: self._headers(job, prepared))
        pipeline, volume = self.pipelines[job["pipeline"]], self._volume(job, prepared)
        return self.making.make(
            job,
            prepared,
            volume,
            path=self.arrays.folder(job["id"]) / "result.npy",
            pipeline=pipeline,
            spec=self.specs[pipeline.engine],
            judging=lambda voxels: self._judging(job, prepared, volume, voxels),
        )

    def _result(self, job: Mapping[str, Any], prepared: Prepared, result: str) -> Path:
        """The result's file; made again if the machine was restarted since, as `_volume` does."""
        return path if (path := Path(result)).exists() else self._infer(job, prepared)

    def check(self, job_id: str, prepared: Prepared, result: str) -> Report:
        """Judge the result; the report is kept with the job."""
        with self._stage(job_id, "check") as job:
            made = self._result(job, prepared, result)
            if self.triaging.takes(job):
                report = self.triaging.check(job, made)
                count_verdicts(report)
                return report
            report = self.making.followings.report(
                job_id, lambda: self._judging(job, prepared, self._volume(job, prepared), mapped(made))
            )
            with self.records.write() as connection:
                report = replace(report, released=jobs.released_findings(connection, job_id))
                jobs.note(connection, job_id, at=self.clock(), report=report.to_json())
        count_verdicts(report)
        return report

    def _judging(
        self, job: Mapping[str, Any], prepared: Prepared, source: Volume, voxels: NDArray[np.float32]
    ) -> Judging:
        pipeline = self.pipelines[job["pipeline"]]
        factor = pipeline.factor(job["parameters"])
        return checking.begin(
            pipeline,
            source,
            Volume(
                voxels=voxels,
                affine=finer(source.affine, factor),
                unit=source.unit,
                padding=source.padding if factor == 1 else None,
            ),
            headers=self._headers(job, prepared),
            parameters=job["parameters"],
            engine=lambda work: self.inference.patiently(pipeline.engine, work),
        )

    def _headers(self, job: Mapping[str, Any], prepared: Prepared) -> list[Mapping[str, tuple[str, ...]]]:
        """The headers of the source slices, in geometric order."""
        headers = {(str(one.path), one.frame): one.header for one in self._taken(job).slices}
        return [headers[source] for source in zip(prepared.sources, prepared.frames, strict=True)]

    def derive(self, job_id: str, prepared: Prepared, result: str) -> list[tuple[str, int, int]]:
        """Write the derived objects and record them. Returns the deliveries to start: (destination, run, attempt)."""
        with self._stage(job_id, "derive") as job:
            if self.triaging.takes(job):
                if not self.outputs.whole(job_id):
                    self.triaging.derive(job, prepared, lambda: self._result(job, prepared, result))
                self.triaging.decide(job)
            elif not self.outputs.whole(job_id):
                pipeline = self.pipelines[job["pipeline"]]
                self.outputs.make(
                    job,
                    prepared,
                    result=self._result(job, prepared, result),
                    pipeline=pipeline,
                    spec=self.specs[pipeline.engine],
                    early=self.making.followings.early(job_id),
                )
        self.making.followings.end(job_id)
        self.arrays.clear(job_id)
        with self.records.write() as connection:
            deliveries.close(connection, job_id, at=self.clock())
            return [
                (row["destination"], row["run"], row["attempts"] + 1)
                for row in deliveries.of_job(connection, job_id)
                if row["state"] == DispatchState.WAITING
            ]

    def attempt(self, job_id: str, destination: str, number: int) -> Attempt:
        """One attempt, the `number`-th, to deliver a job to one destination."""
        began = time.monotonic()
        attempt = self.deliverer.attempt(job_id, destination, number)
        with self.records.read() as connection:
            pipeline = jobs.get(connection, job_id)["pipeline"]
        METRICS.stage_seconds.labels(stage="deliver", pipeline=pipeline).observe(time.monotonic() - began)
        log.info("delivery", job=job_id[:12], destination=destination, state=attempt.state, pause_s=attempt.pause_s)
        return attempt

    def give_up(self, set_id: str, reason: str) -> None:
        """Routing broke: the set is kept, with the reason, until somebody replays it."""
        log.warning("set not routed", set=set_id[:12])
        with self.records.write() as connection:
            sets.route(connection, set_id, state=SetState.FAILED, reasons={"routing": [reason]})

    def stop(self, job_id: str, state: JobState, *, cause: str, reason: str) -> None:
        """End a job, for now or for good. `cause`: the name of a check, or of a closed set in `flow.py`."""
        log.warning("job stopped", job=job_id[:12], state=state, cause=cause)
        self.making.followings.end(job_id)
        self.arrays.clear(job_id)
        self.outputs.discard(job_id)
        with self.records.write() as connection:
            jobs.stop(connection, job_id, state=state, cause=cause, reason=reason, at=self.clock())
            job = jobs.get(connection, job_id)
        METRICS.holds.labels(state=state.value, reason=cause, pipeline=job["pipeline"]).inc()
        if self.triaging.takes(job) and state is not JobState.PAUSED:
            self.triaging.decide(job, trouble=reason)

    @contextmanager
    def _stage(self, job_id: str, stage: str) -> Iterator[dict[str, Any]]:
        with self.records.write() as connection:
            job = jobs.get(connection, job_id)
            if job["state"] != JobState.DELIVERING:  # a step that runs twice: what is recorded is there
                pauses.require_going(connection, job["pipeline"])
            jobs.enter(connection, job_id, stage, at=self.clock())
            job = jobs.get(connection, job_id)
        began = time.monotonic()
        yield job
        seconds = time.monotonic() - began
        METRICS.stage_seconds.labels(stage=stage, pipeline=job["pipeline"]).observe(seconds)
        log.info(
            stage,
            job=job_id[:12],
            pipeline=job["pipeline"],
            engine=job["engine_sha256"][:12],
            seconds=round(seconds, 3),
        )
        with self.records.write() as connection:
            jobs.took(connection, job_id, stage, seconds)

    def _taken(self, job: Mapping[str, Any]) -> SetPart:
        """The slices that a job takes; of several series, those that define the grid."""
        return self.router.parts.one(job["set_id"], job["part"])

    def _others(self, job: Mapping[str, Any]) -> dict[str, SetPart]:
        """The slices of the other roles; empty for a pipeline that takes one series."""
        with self.records.read() as connection:
            roles = jobs.roles(connection, job["id"])
        grid = self.pipelines[job["pipeline"]].grid
        return {role: self.router.parts.one(*taken) for role, taken in roles.items() if role != grid}

    def _registered(
        self,
        job: Mapping[str, Any],
        grid: Prepared,
        decoded: Mapping[str, Prepared],
        part: SetPart,
        others: Mapping[str, SetPart],
    ) -> dict[str, Prepared]:
        """The roles that the pipeline brings to the grid, each in a child of its own; its figures stay with the job."""
        pipeline = self.pipelines[job["pipeline"]]
        asked = {role: believed for role in decoded if (believed := pipeline.roles[role].register) is not None}
        if not asked:
            return {}
        began = time.monotonic()

        def one(role: str) -> Prepared:
            same = frames_of_reference(part) == frames_of_reference(others[role])
            return self.arrays.register(job["id"], grid, decoded[role], role, same_frame=same, believed=asked[role])

        with ThreadPoolExecutor(max_workers=len(asked), thread_name_prefix="register") as pool:
            running = {role: pool.submit(one, role) for role in asked}
        for role, task in running.items():
            if isinstance(task.exception(), NotRegistered):
                METRICS.registrations.labels(pipeline=pipeline.name, role=role, outcome="held").inc()
        placed = {role: task.result() for role, task in running.items()}
        METRICS.stage_seconds.labels(stage="register", pipeline=pipeline.name).observe(time.monotonic() - began)
        with self.records.write() as connection:
            for role, found in placed.items():
                tell_registration(connection, job, role, found.placed or {}, at=self.clock())
        return placed

    def _volume(self, job: Mapping[str, Any], prepared: Prepared) -> Volume:
        volume = self.arrays.volume(job["id"], prepared, lambda: self._taken(job))
        if not prepared.roles:
            return volume
        others = {
            role: self.arrays.volume(job["id"], one, lambda role=role: self._others(job)[role], role, grid=prepared)  # type: ignore[misc]
            for role, one in prepared.roles.items()
        }
        if off := [role for role, other in others.items() if not volume.on_the_grid_of(other)]:
            raise Refuse(
                f"The series for {', '.join(off)} does not lie on the grid of the others.",
                fix="This pipeline takes series of one grid.",
            )
        return replace(volume, others=others)


def _names(prepared: Prepared, part: SetPart) -> list[tuple[str, str]]:
    """What the input digest is made of: each slice's name and the digest of its pixels."""
    names = {(str(one.path), one.frame): one.name for one in part.slices}
    slices = zip(prepared.sources, prepared.frames, prepared.pixel_sha256, strict=True)
    return [(names[source, frame], pixels) for source, frame, pixels in slices]
