"""What a worker does to a job at each stage: the stage's function, with the records before and after it."""

import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from engines.engine import EngineSpec
from node.child import Child
from node.dicom import codes
from node.dicom.uids import input_digest
from node.errors import Hold, Refuse
from node.log import log
from node.metrics import METRICS, count_verdicts
from node.prepared import Prepared
from node.records import deliveries, jobs, sets
from node.records.database import Records
from node.records.states import DispatchState, JobState, SetState
from node.settings import Rule
from node.spool import Spool
from node.stages import check as checking
from node.stages import derive as deriving
from node.stages import infer as inferring
from node.stages import prepare as preparing
from node.stages.deliver import Attempt, Deliverer
from node.stages.infer import Inference
from node.stages.route import route as find_matches
from pipelines.pipeline import Pipeline, Report
from pipelines.volume import Volume

_MOST_STARTS: Final = 20  # a job that took its worker down this often is held, or it would do so for ever


@dataclass(frozen=True, kw_only=True)
class Work:
    """Everything that the stages need, built by `app.py`.

    specs:    engine name -> what is loaded
    node:     node_version, station_name, device_serial: written into derived objects
    clock:    seconds since the epoch
    progress: (job, slices done, slices in all)
    """

    records: Records
    spool: Spool
    child: Child
    inference: Inference
    deliverer: Deliverer
    rules: tuple[Rule, ...]
    pipelines: Mapping[str, Pipeline]
    specs: Mapping[str, EngineSpec]
    node: Mapping[str, str]
    clock: Callable[[], float]
    progress: Callable[[str, int, int], None]

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
            prepared = self._decode(job_id, members)
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
        volume = self._volume(job_id, prepared)
        with METRICS.inference_seconds.labels(pipeline=pipeline.name).time():
            result = self.inference.infer(
                pipeline,
                volume,
                parameters=job["parameters"],
                progress=lambda done, total: self.progress(job_id, done, total),
            )
        path = self._folder(job_id) / "result.npy"
        inferring.save(result.voxels, path)
        return path

    def _result(self, job: Mapping[str, Any], prepared: Prepared, result: str) -> Path:
        """The result's file; made again if the machine was restarted since, as `_volume` does."""
        return path if (path := Path(result)).exists() else self._infer(job, prepared)

    def check(self, job_id: str, prepared: Prepared, result: str) -> Report:
        """Judge the result; the report is kept with the job."""
        with self._stage(job_id, "check") as job:
            source = self._volume(job_id, prepared)
            made = Volume(
                voxels=inferring.load(self._result(job, prepared, result)),
                affine=source.affine,
                unit=source.unit,
                padding=source.padding,
            )
            pipeline = self.pipelines[job["pipeline"]]
            headers, parameters = self._headers(job, prepared), job["parameters"]
            report = self.inference.patiently(
                pipeline.engine,
                lambda engine: checking.check(pipeline, engine, source, made, headers=headers, parameters=parameters),
            )
            with self.records.write() as connection:
                jobs.note(connection, job_id, at=self.clock(), report=report.to_json())
        count_verdicts(report)
        return report

    def _headers(self, job: Mapping[str, Any], prepared: Prepared) -> list[Mapping[str, tuple[str, ...]]]:
        """The headers of the source slices, in geometric order."""
        with self.records.read() as connection:
            members = sets.members(connection, job["set_id"])
        headers = {str(self.spool.path(member.file)): member.header for member in members}
        return [headers[source] for source in prepared.sources]

    def derive(self, job_id: str, prepared: Prepared, result: str) -> list[tuple[str, int, int]]:
        """Write the derived objects and record them. Returns the deliveries to start: (destination, run, attempt)."""
        with self._stage(job_id, "derive") as job:
            known = self._recorded(job_id)
            if not known or not all(self._whole(file, sha256) for file, sha256 in known.values()):
                reply = self._write(job, prepared, result)
                if any(
                    known.get(i["sop_instance_uid"], ("", i["sha256"]))[1] != i["sha256"] for i in reply["instances"]
                ):
                    # Recomputed pixels differ from those that left under these UIDs (DICOM_SPEC §2, rule b).
                    reply = self._write({**job, "generation": job["generation"] + 1}, prepared, result)
                self._keep(job_id, reply)
        shutil.rmtree(self._folder(job_id), ignore_errors=True)
        with self.records.read() as connection:
            return [
                (row["destination"], row["run"], row["attempts"] + 1)
                for row in deliveries.of_job(connection, job_id)
                if row["state"] == DispatchState.WAITING
            ]

    def _write(self, job: Mapping[str, Any], prepared: Prepared, result: str) -> dict[str, Any]:
        pipeline = self.pipelines[job["pipeline"]]
        facts = {
            "input_digest": job["input_digest"],
            "generation": job["generation"],
            "started_at": job["started_at"],
            "series_number": self._series_number(job, pipeline),
            "parameters": job["parameters"],
        }
        reply = deriving.derive(
            self.child,
            prepared,
            result=self._result(job, prepared, result),
            out=self.spool.out / job["id"][:2] / job["id"] / str(job["generation"]),
            pipeline=pipeline,
            spec=self.specs[pipeline.engine],
            job=facts,
            report=job["report"],
            node=self.node,
        )
        with self.records.write() as connection:
            jobs.note(connection, job["id"], at=self.clock(), generation=job["generation"])
        return reply

    def _keep(self, job_id: str, reply: Mapping[str, Any]) -> None:
        made = [
            {**{k: v for k, v in instance.items() if k != "path"}, "file": self._relative(instance["path"])}
            for instance in reply["instances"]
        ]
        with self.records.write() as connection:
            jobs.finish_derive(
                connection,
                job_id,
                at=self.clock(),
                series_uid=reply["series_instance_uid"],
                description=reply["series_description"],
                results=made,
            )

    def _recorded(self, job_id: str) -> dict[str, tuple[str, str]]:
        with self.records.read() as connection:
            return jobs.results(connection, job_id)

    def _whole(self, file: str, sha256: str) -> bool:
        return self.spool.holds(file, sha256)

    def _relative(self, path: str) -> str:
        return str(Path(path).relative_to(self.spool.root))

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
        shutil.rmtree(self._folder(job_id), ignore_errors=True)
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

    def _folder(self, job_id: str) -> Path:
        return self.spool.work / job_id

    def _decode(self, job_id: str, members: list[Any]) -> Prepared:
        files = [self.spool.path(member.file) for member in members]
        return preparing.prepare(self.child, files, self._folder(job_id))

    def _volume(self, job_id: str, prepared: Prepared) -> Volume:
        volume = preparing.load(prepared)
        if volume is None:  # arrays between stages are not synced: decode again after a restart of the machine
            with self.records.read() as connection:
                members = sets.members(connection, jobs.get(connection, job_id)["set_id"])
            again = self._decode(job_id, members)
            if again.pixel_sha256 != prepared.pixel_sha256 or (volume := preparing.load(again)) is None:
                raise Refuse("The received files no longer decode to what they did.", fix="Check the disk.")
        return volume

    def _series_number(self, job: Mapping[str, Any], pipeline: Pipeline) -> int:
        if job["series_number"] is not None:
            return int(job["series_number"])
        with self.records.write() as connection:
            source = sets.members(connection, job["set_id"])[0]
            text = source.header.get("SeriesNumber", ("",))
            number = int(text[0]) if text and text[0].lstrip("+-").isdigit() else None
            taken = jobs.series_numbers(connection, source.study_uid)
            given = deriving.series_number(number, codes.OUTPUTS[pipeline.gives.kind].series_code, taken)
            jobs.note(connection, job["id"], at=self.clock(), series_number=given)
        return given
