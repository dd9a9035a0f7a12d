"""A job of a triage: it makes no images, it says something of a study, and says so whatever comes to pass.

What cannot be analysed is a result, too: it gets its report and stands on top of the list. Only when the node itself
fails is there a verdict without a report (NETWORKS E-15).
"""

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from sqlalchemy import Connection

from engines.engine import EngineSpec
from node.dicom.scan import Header
from node.dicom.uids import input_digest
from node.errors import Refuse
from node.log import log
from node.prepared import Prepared
from node.processing.arrays import Arrays
from node.processing.parts import SetPart
from node.processing.routing import Router
from node.processing.triage_outputs import TriageOutputs
from node.records import jobs, sets, triages
from node.records.database import Records
from node.records.instances import Instance
from node.stages.infer import Inference
from node.worklist.desk import Desk
from pipelines.pipeline import Pipeline
from pipelines.queue_rule import credit_s
from pipelines.report import Finding, Report, Verdict
from pipelines.triage import Assessment, Flag, Maps
from pipelines.volume import Volume

NO_REPORT: Final = ""
_ANALYSABLE: Final = "analysable"  # name of a finding
_VERSION: Final = "1.0.0"


@dataclass(frozen=True, kw_only=True)
class Triaging:
    """The stages of a triage's job.

    desk:    passes a new verdict on, within the transaction that records it
    scanner: label of the scanner of these headers
    clock:   seconds since the epoch
    """

    records: Records
    router: Router
    arrays: Arrays
    inference: Inference
    outputs: TriageOutputs
    pipelines: Mapping[str, Pipeline]
    specs: Mapping[str, EngineSpec]
    credit_minutes: float
    desk: Desk
    scanner: Callable[[Sequence[Header]], str]
    progress: Callable[[str, int, int], None]
    clock: Callable[[], float]

    def takes(self, job: Mapping[str, Any]) -> bool:
        """Whether a job is one of a triage; not if its pipeline is none of this node's any more."""
        pipeline = self.pipelines.get(job["pipeline"])
        return pipeline is not None and pipeline.triage is not None

    def routed(self, job_id: str) -> None:
        """A job is to be made; of a triage, its study is in the list before anybody knows what it will say."""
        with self.records.read() as connection:
            job = jobs.get(connection, job_id)
        if self.takes(job):
            self.desk.routed(job_id)

    def prepare(self, job: Mapping[str, Any], decode: Callable[[], Prepared]) -> Prepared:
        """The decoded volume; only the names of the files where nothing can be looked at."""
        self.desk.routed(job["id"])  # the worker may have died between making the job and saying so
        if not job["unfit"]:
            try:
                return decode()
            except Refuse as error:
                with self.records.write() as connection:
                    jobs.note(connection, job["id"], at=self.clock(), unfit=[str(error)])
        return self._undecoded(job)

    def infer(
        self, job: Mapping[str, Any], volume: Callable[[], Volume], headers: Callable[[], Sequence[Header]]
    ) -> Path:
        """Look at the volume, or say why not; the file of the assessment. Raises as the inference does."""
        path = self.arrays.folder(job["id"]) / "assessment.json"
        if path.exists():
            return path
        pipeline = self.pipelines[job["pipeline"]]
        assert pipeline.triage is not None  # `takes` said so
        threshold = pipeline.triage.threshold
        maps: Maps | None = None
        if job["unfit"]:
            assessment = Assessment.not_analysable(job["unfit"], threshold=threshold)
        else:
            try:
                assessment, maps = self.inference.assess(
                    pipeline,
                    volume(),
                    headers(),
                    parameters=job["parameters"],
                    progress=lambda done, total: self.progress(job["id"], done, total),
                )
            except Refuse as error:
                assessment = Assessment.not_analysable([str(error)], threshold=threshold)
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        if maps is not None:
            np.savez(maps_of(path), z=maps.z, region=maps.region, healthy=maps.healthy)
        aside = path.with_suffix(".part")
        aside.write_text(json.dumps(assessment.to_json()), encoding="utf-8")
        aside.replace(path)  # whole, or not there
        return path

    def check(self, job: Mapping[str, Any], path: Path) -> Report:
        """What the guards found; it never holds the job, since a study must not wait for a person to look at a job."""
        assessment = read(path)
        pipeline = self.pipelines[job["pipeline"]]
        findings = (*assessment.findings, _analysable(assessment))
        report = Report(pipeline=pipeline.name, version=pipeline.version, findings=findings)
        report = replace(report, released=tuple(sorted({one.name for one in report.failed})))
        with self.records.write() as connection:
            said = {**report.to_json(), "assessment": assessment.to_json()}
            jobs.note(connection, job["id"], at=self.clock(), report=said)
        return report

    def derive(self, job: Mapping[str, Any], prepared: Prepared, path: Callable[[], Path]) -> None:
        """Write the objects of the result and record them. Raises Refuse if one would not be valid.

        path: of the assessment's file; asked for when maps are needed
        """
        pipeline = self.pipelines[job["pipeline"]]
        self.outputs.make(
            job, prepared, maps=lambda: maps_of(path()), pipeline=pipeline, spec=self.specs[pipeline.engine]
        )

    def decide(self, job: Mapping[str, Any], *, trouble: str = "") -> None:
        """Record the verdict of a job that has come to an end, and pass it on; a second call changes nothing.

        trouble: why there is no result, where the node failed
        """
        headers, facts = self._headers(job), self._facts(job)
        with self.records.write() as connection:
            row = self._row(connection, job, headers, trouble)
            known = triages.get(connection, job["id"])
            if known is None:
                triages.put(connection, row)
            elif known["report_uid"] == NO_REPORT and row["report_uid"] != NO_REPORT:
                triages.replace(connection, row)  # the job had failed, and was replayed
            else:
                return
            self.desk.decided(connection, row, facts)
        log.info("triage", job=job["id"][:12], flag=row["flag"])

    def _row(
        self, connection: Connection, job: Mapping[str, Any], headers: Sequence[Header], trouble: str
    ) -> dict[str, Any]:
        source = sets.get(connection, job["set_id"])
        pipeline = self.pipelines[job["pipeline"]]
        assert pipeline.triage is not None  # `takes` said so
        if trouble:
            reasons = [f"The triage failed: {trouble}"]
            assessment = Assessment.not_analysable(reasons, threshold=pipeline.triage.threshold)
        else:
            assessment = Assessment.from_json(job["report"]["assessment"])
        ahead = 0.0 if assessment.percentile is None else credit_s(assessment.percentile, self.credit_minutes)
        return {
            "job_id": job["id"],
            "study_uid": _only(headers, "StudyInstanceUID"),
            "series_uid": source["series_uid"],
            "scanner": self.scanner(headers),
            "flag": assessment.flag.value,
            "score": assessment.score,
            "percentile": assessment.percentile,
            "threshold": assessment.threshold,
            "reasons": list(assessment.reasons),
            "credit_s": ahead,
            "arrived_at": source["last_received_at"],
            "decided_at": self.clock(),
            "report_uid": NO_REPORT if trouble else jobs.result_of_form(connection, job["id"], "report"),
            "assessment": assessment.to_json(),
        }

    def _headers(self, job: Mapping[str, Any]) -> list[Header]:
        return self._part(job).headers

    def _facts(self, job: Mapping[str, Any]) -> dict[str, Any]:
        file = self._part(job).slices[0].path
        try:
            return self.arrays.child.call("node.dicom.subject:subject", {"path": str(file)})
        except Refuse as error:  # the study is known all the same
            log.warning("nobody can tell whose series it is", job=job["id"][:12], reason=error.message)
            return {}

    def _part(self, job: Mapping[str, Any]) -> SetPart:
        """The slices of a job; its objects as they stand where their frames cannot be read."""
        with suppress(Refuse):
            return self.router.parts.one(job["set_id"], job["part"])
        return self.router.parts.unread(self._members(job))

    def _members(self, job: Mapping[str, Any]) -> list[Instance]:
        with self.records.read() as connection:
            return sets.members(connection, job["set_id"])

    def _undecoded(self, job: Mapping[str, Any]) -> Prepared:
        """The files of a job in the order in which a scanner numbers them; no voxels."""
        pixels = {one.sop_instance_uid: one.pixel_sha256 for one in self._members(job)}
        slices = sorted(self._part(job).slices, key=lambda one: (_number(one.header), one.uid, one.frame))
        digest = input_digest([(one.name, pixels[one.uid]) for one in slices])
        with self.records.write() as connection:
            jobs.note(connection, job["id"], at=self.clock(), input_digest=digest)
        return Prepared(
            voxels="",
            padding="",
            sources=tuple(str(one.path) for one in slices),
            frames=tuple(one.frame for one in slices),
            affine=(),
            pixel_sha256=tuple(pixels[one.uid] for one in slices),
            unit="",
        )


def read(path: Path) -> Assessment:
    """The assessment in a file of `infer`."""
    return Assessment.from_json(json.loads(path.read_text(encoding="utf-8")))


def maps_of(path: Path) -> Path:
    """Where the maps of an assessment lie, if it has any."""
    return path.with_name("maps.npz")


def _analysable(assessment: Assessment) -> Finding:
    fine = assessment.flag is not Flag.NOT_ANALYSABLE
    return Finding(
        name=_ANALYSABLE,
        value=float(fine),
        limit=1.0,
        verdict=Verdict.PASS if fine else Verdict.CAUTION,
        version=_VERSION,
        text="The series was analysed." if fine else " ".join(assessment.reasons),
    )


def _number(header: Header) -> int:
    text = next(iter(header.get("InstanceNumber", ())), "")
    return int(text) if text.lstrip("+-").isdigit() else 0


def _only(headers: Sequence[Header], keyword: str) -> str:
    return next(iter(headers[0].get(keyword, ())), "")
