"""What a worker does to a job at each stage: the stage's function, with the records before and after it."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from engines.engine import EngineSpec
from node.arrays import Arrays
from node.dicom.uids import input_digest
from node.errors import Hold
from node.following import Followings
from node.log import log
from node.mapped import forget, mapped
from node.metrics import METRICS, count_verdicts
from node.outputs import Outputs
from node.partial import Partial
from node.prepared import Prepared
from node.records import deliveries, jobs, sets
from node.records.database import Records
from node.records.instances import Instance
from node.records.states import DispatchState, JobState, SetState
from node.settings import Rule
from node.spool import Spool
from node.stages import check as checking
from node.stages.deliver import Attempt, Deliverer
from node.stages.infer import Inference
from node.stages.route import route as find_matches
from pipelines.pipeline import Pipeline, Report
from pipelines.run import Judging
from pipelines.volume import Volume

_MOST_STARTS: Final = 20  # a job that took its worker down this often is held, or it would do so for ever

_FORGET_EVERY: Final = 16  # slices


@dataclass(frozen=True, kw_only=True)
class Work:
    """Everything that the stages need, built by `app.py`.

    specs:    engine name -> what is loaded
    clock:    seconds since the epoch
    progress: (job, slices done, slices in all)
    maker:    what computes results beside the weights: node, backend and libraries with their versions
    """

    records: Records
    spool: Spool
    arrays: Arrays
    outputs: Outputs
    inference: Inference
    deliverer: Deliverer
    rules: tuple[Rule, ...]
    pipelines: Mapping[str, Pipeline]
    specs: Mapping[str, EngineSpec]
    clock: Callable[[], float]
    progress: Callable[[str, int, int], None]
    maker: str
    followings: Followings = field(default_factory=Followings)

    def route(self, set_id: str) -> list[str]:
        """Make the jobs of a set; returns those that have work to do."""
        with self.records.read() as connection:
            members = sets.members(connection, set_id)
        with METRICS.stage_seconds.labels(stage="route").time():
            routing = find_matches(
                [member.header for member in members],
                self.rules,
                self.pipelines,
                patients=len({member.patient_key for member in members}),
                today=datetime.fromtimestamp(self.clock(), UTC).astimezone().date(),
            )
        todo = []
        with self.records.write() as connection:
            state = SetState.ROUTED if routing.matches else SetState.UNMATCHED
            sets.route(connection, set_id, state=state, reasons=routing.reasons)
            for match in routing.matches:
                spec = self.specs[self.pipelines[match.pipeline].engine]
                version = self.pipelines[match.pipeline].version
                key = jobs.job_id(
                    set_id=set_id,
                    pipeline=match.pipeline,
                    version=version,
                    engine_sha256=spec.sha256,
                    parameters=match.parameters,
                )
                job = {
                    "id": key,
                    "set_id": set_id,
                    "rule": match.rule,
                    "pipeline": match.pipeline,
                    "pipeline_version": version,
                    "engine_sha256": spec.sha256,
                    "parameters": dict(match.parameters),
                    "destinations": list(match.destinations),
                }
                if jobs.add(connection, at=self.clock(), job=job):
                    todo.append(key)
        log.info("routed", set=set_id[:12], slices=len(members), jobs=len(routing.matches))
        return todo

    def prepare(self, job_id: str) -> dict[str, Any]:
        """Decode the set of a job; returns a `Prepared` as JSON."""
        with self._stage(job_id, "prepare") as job:
            with self.records.read() as connection:
                members = sets.members(connection, job["set_id"])
            prepared = self.arrays.decode(job_id, members)
            pairs = {str(self.spool.path(member.file)): member.sop_instance_uid for member in members}
            digest = input_digest(
                (pairs[source], pixels) for source, pixels in zip(prepared.sources, prepared.pixel_sha256, strict=True)
            )
            with self.records.write() as connection:
                jobs.note(connection, job_id, at=self.clock(), input_digest=digest)
        return prepared.to_json()

    def infer(self, job_id: str, prepared: Prepared) -> str:
        """Run the network; returns the name of the result's file."""
        with self._stage(job_id, "infer") as job:
            with self.records.write() as connection:
                starts = jobs.count_start(connection, job_id)
            if starts > _MOST_STARTS:
                raise Hold(f"The worker ended {starts - 1} times during this job.", fix="See its log, then replay.")
            return str(self._infer(job, prepared))

    def _infer(self, job: Mapping[str, Any], prepared: Prepared) -> Path:
        pipeline, job_id = self.pipelines[job["pipeline"]], job["id"]
        path = self.arrays.folder(job_id) / "result.npy"
        if path.exists():  # whole: the step ended before it could say so
            return path
        volume = self._volume(job, prepared)
        partial = Partial.open(path, volume.voxels.shape, maker=self.maker)
        following = self.followings.begin(job_id, self._judging(job, prepared, volume, partial.voxels))

        def made(done: int, total: int) -> None:
            partial.wrote(done - 1)
            following.made(done - 1)
            if done % _FORGET_EVERY == 0:
                forget(volume.voxels, volume.padding)
            self.progress(job_id, done, total)

        with METRICS.inference_seconds.labels(pipeline=pipeline.name).time():
            self.inference.infer(
                pipeline,
                volume,
                parameters=job["parameters"],
                into=partial.voxels,
                known=partial.known,
                progress=made,
            )
        partial.finish(path)
        return path

    def _result(self, job: Mapping[str, Any], prepared: Prepared, result: str) -> Path:
        """The result's file; made again if the machine was restarted since, as `_volume` does."""
        return path if (path := Path(result)).exists() else self._infer(job, prepared)

    def check(self, job_id: str, prepared: Prepared, result: str) -> Report:
        """Judge the result; the report is kept with the job."""
        with self._stage(job_id, "check") as job:
            made = self._result(job, prepared, result)
            report = self.followings.report(
                job_id, lambda: self._judging(job, prepared, self._volume(job, prepared), mapped(made))
            )
            with self.records.write() as connection:
                jobs.note(connection, job_id, at=self.clock(), report=report.to_json())
        count_verdicts(report)
        return report

    def _judging(
        self, job: Mapping[str, Any], prepared: Prepared, source: Volume, voxels: NDArray[np.float32]
    ) -> Judging:
        pipeline = self.pipelines[job["pipeline"]]
        return checking.begin(
            pipeline,
            source,
            Volume(voxels=voxels, affine=source.affine, unit=source.unit, padding=source.padding),
            headers=self._headers(job, prepared),
            parameters=job["parameters"],
            engine=lambda work: self.inference.patiently(pipeline.engine, work),
        )

    def _headers(self, job: Mapping[str, Any], prepared: Prepared) -> list[Mapping[str, tuple[str, ...]]]:
        """The headers of the source slices, in geometric order."""
        headers = {str(self.spool.path(member.file)): member.header for member in self._members(job)}
        return [headers[source] for source in prepared.sources]

    def derive(self, job_id: str, prepared: Prepared, result: str) -> list[tuple[str, int, int]]:
        """Write the derived objects and record them. Returns the deliveries to start: (destination, run, attempt)."""
        with self._stage(job_id, "derive") as job:
            if not self.outputs.whole(job_id):
                pipeline = self.pipelines[job["pipeline"]]
                self.outputs.make(
                    job,
                    prepared,
                    result=self._result(job, prepared, result),
                    pipeline=pipeline,
                    spec=self.specs[pipeline.engine],
                )
        self.arrays.clear(job_id)
        with self.records.read() as connection:
            return [
                (row["destination"], row["run"], row["attempts"] + 1)
                for row in deliveries.of_job(connection, job_id)
                if row["state"] == DispatchState.WAITING
            ]

    def attempt(self, job_id: str, destination: str, number: int) -> Attempt:
        """One attempt, the `number`-th, to deliver a job to one destination."""
        began = time.monotonic()
        attempt = self.deliverer.attempt(job_id, destination, number)
        METRICS.stage_seconds.labels(stage="deliver").observe(time.monotonic() - began)
        log.info("delivery", job=job_id[:12], destination=destination, state=attempt.state, pause_s=attempt.pause_s)
        return attempt

    def give_up(self, set_id: str, reason: str) -> None:
        """Routing broke: the set is kept, with the reason, until somebody replays it."""
        log.warning("set not routed", set=set_id[:12])
        with self.records.write() as connection:
            sets.route(connection, set_id, state=SetState.FAILED, reasons={"routing": [reason]})

    def stop(self, job_id: str, state: JobState, *, cause: str, reason: str) -> None:
        """End a job: held, refused or failed. `cause`: the name of a check, or of a closed set in `flow.py`."""
        METRICS.holds.labels(state=state.value, reason=cause).inc()
        log.warning("job stopped", job=job_id[:12], state=state, cause=cause)
        self.followings.end(job_id)
        self.arrays.clear(job_id)
        with self.records.write() as connection:
            jobs.stop(connection, job_id, state=state, reason=reason, at=self.clock())

    @contextmanager
    def _stage(self, job_id: str, stage: str) -> Iterator[dict[str, Any]]:
        with self.records.write() as connection:
            jobs.enter(connection, job_id, stage, at=self.clock())
            job = jobs.get(connection, job_id)
        began = time.monotonic()
        yield job
        seconds = time.monotonic() - began
        METRICS.stage_seconds.labels(stage=stage).observe(seconds)
        log.info(
            stage,
            job=job_id[:12],
            pipeline=job["pipeline"],
            engine=job["engine_sha256"][:12],
            seconds=round(seconds, 3),
        )
        with self.records.write() as connection:
            jobs.took(connection, job_id, stage, seconds)

    def _members(self, job: Mapping[str, Any]) -> Sequence[Instance]:
        with self.records.read() as connection:
            return sets.members(connection, job["set_id"])

    def _volume(self, job: Mapping[str, Any], prepared: Prepared) -> Volume:
        return self.arrays.volume(job["id"], prepared, lambda: self._members(job))
