"""What a triage made: report, capture, key objects and what else a site asks for; below the spool's `out`, recorded."""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from engines.engine import EngineSpec
from node.child import Child
from node.dicom import codes, uids
from node.dicom.triage_codes import FORMS
from node.log import log
from node.prepared import Prepared
from node.processing.outputs import number_of, rows_of
from node.records import deliveries, jobs, sets, triages
from node.records.database import Records
from node.spool import Spool
from node.stages import derive as deriving
from pipelines.pipeline import Pipeline
from pipelines.triage import Assessment, Flag

REJECTION: Final = "rejection"
SERIES_CODES: Final = {
    **{form: one.series_code for form, one in FORMS.items()},
    "classic": codes.OUTPUTS["PH"].series_code,
}
"""Form of an object -> what Series Number ends with (DICOM_SPEC 1.5)."""

_FLAGGED: Final = ("capture", "keys")
_OF_MAPS: Final = ("capture", "map", "segment", "classic")


@dataclass(frozen=True, kw_only=True)
class TriageOutputs:
    """Writes the objects of triage jobs and records them.

    node:  node_version, station_name, device_serial
    extra: forms that the site asks for beside report, capture and key objects
    clock: seconds since the epoch
    """

    pipelines: Mapping[str, Pipeline]
    specs: Mapping[str, EngineSpec]
    records: Records
    spool: Spool
    child: Child
    node: Mapping[str, str]
    extra: tuple[str, ...]
    clock: Callable[[], float]

    def make(
        self,
        job: Mapping[str, Any],
        prepared: Prepared,
        *,
        maps: Callable[[], Path],
        pipeline: Pipeline,
        spec: EngineSpec,
    ) -> None:
        """Write the objects of a job and record them with what is to go where.

        maps:   of the assessment, made again if a restart of the machine took them away
        raises: Refuse if an object would not be valid
        """
        assessment = Assessment.from_json(job["report"]["assessment"])
        forms = self._forms(assessment)
        with self.records.read() as connection:
            known = jobs.results(connection, job["id"])

        def write(generation: int) -> dict[str, Any]:
            request = {
                "sources": list(prepared.sources),
                "frames": list(prepared.frames),
                "assessment": job["report"]["assessment"],
                "maps": str(maps()) if set(forms).intersection(_OF_MAPS) else None,
                # Arrays between stages are not synced: after a power cut there may be none.
                "padding": prepared.padding if prepared.padding and Path(prepared.padding).exists() else None,
                "out": str(self._folder(job["id"], generation)),
                "objects": list(forms),
                "job": self._described(job, forms, pipeline, spec, generation),
            }
            return self.child.call("node.worklist.objects.write:write_objects", request)

        generation = job["generation"]
        reply = write(generation)
        if any(
            known.get(one["sop_instance_uid"], ("", one["sha256"]))[1] != one["sha256"] for one in reply["instances"]
        ):
            # Other bytes than those that left under these UIDs (DICOM_SPEC §2, rule b).
            generation += 1
            reply = write(generation)
        for form, reason in reply["left_out"].items():
            log.warning("object of a triage left out", job=job["id"][:12], form=form, reason=reason)
        self._keep(job, reply, generation)

    def retract(self, job_id: str) -> None:
        """Write and queue the note that rejects everything that a job made. Raises Refuse if that cannot be done."""
        with self.records.read() as connection:
            job, made = jobs.get(connection, job_id), jobs.made(connection, job_id)
            row = triages.get(connection, job_id)
        assert row is not None  # it was withdrawn
        pipeline = self.pipelines[job["pipeline"]]
        forms = tuple(dict.fromkeys(one["form"] for one in made if one["form"] != REJECTION))
        said = self.child.call(
            "node.worklist.objects.rejection:write_rejection",
            {
                "object": str(self.spool.root / made[0]["file"]),
                "code": row["withdrawal"]["code"],
                "reason": row["withdrawal"]["why"].encode("ascii", "replace").decode("ascii"),
                "instances": [
                    {
                        "sop_class_uid": one["sop_class_uid"],
                        "sop_instance_uid": one["sop_instance_uid"],
                        "series_instance_uid": uids.form_series_uid(job["series_uid"], one["form"]),
                    }
                    for one in made
                    if one["form"] != REJECTION
                ],
                "at": datetime.fromtimestamp(row["withdrawn_at"], UTC).astimezone().isoformat(),
                "series_number": self._numbers(job, (REJECTION,))[REJECTION],
                "job": self._described(job, forms, pipeline, self.specs[pipeline.engine], job["generation"]),
                "out": str(self._folder(job_id, job["generation"])),
            },
        )
        result = {
            "sop_instance_uid": said["sop_instance_uid"],
            "form": REJECTION,
            "sop_class_uid": said["sop_class_uid"],
            "source_sop_instance_uid": made[0]["source_sop_instance_uid"],
            "file": str(Path(said["path"]).relative_to(self.spool.root)),
            "bytes": said["bytes"],
            "sha256": said["sha256"],
        }
        with self.records.write() as connection:
            deliveries.add(connection, job_id, result, at=self.clock())

    def _folder(self, job_id: str, generation: int) -> Path:
        return self.spool.out / job_id[:2] / job_id / str(generation)

    def _forms(self, assessment: Assessment) -> tuple[str, ...]:
        if assessment.flag is Flag.NOT_ANALYSABLE:
            return ("report",)
        flagged = _FLAGGED if assessment.flag is Flag.RAISED else ()
        return ("report", *flagged, *self.extra)

    def _described(
        self, job: Mapping[str, Any], forms: tuple[str, ...], pipeline: Pipeline, spec: EngineSpec, generation: int
    ) -> dict[str, Any]:
        row = codes.OUTPUTS[pipeline.gives.kind]
        chosen = deriving.parameters(pipeline, spec, job["parameters"])
        findings = job["report"]["findings"]
        return {
            "kind": pipeline.gives.kind,
            "image_type": list(row.image_type),
            "marker": pipeline.gives.marker,
            "synthetic": row.synthetic,
            "derivation": asdict(row.derivation),
            "purpose": asdict(row.purpose),
            "operation": pipeline.gives.operation,
            "elements": dict(pipeline.gives.elements),
            "note": pipeline.gives.note,
            "z_support": spec.z_support,
            "model": spec.name,
            "model_version": spec.version,
            "weights_sha256": spec.sha256,
            "parameters": chosen,
            "parameters_sha256": hashlib.sha256(json.dumps(chosen, sort_keys=True).encode()).hexdigest(),
            "input_digest": job["input_digest"],
            "generation": generation,
            # DICOM times without an offset are local ones (PS3.3 C.12.1.1.8).
            "started": datetime.fromtimestamp(job["started_at"], UTC).astimezone().isoformat(),
            "series_number": self._numbers(job, ("report",))["report"],
            "numbers": self._numbers(job, forms),
            "checks": len(findings),
            "cautions": sorted({one["name"] for one in findings if one["verdict"] != "pass"}),
            "others": [],
            **self.node,
        }

    def _numbers(self, job: Mapping[str, Any], forms: tuple[str, ...]) -> dict[str, int]:
        """A Series Number for each form, the same whenever it is asked for."""
        with self.records.write() as connection:
            given = dict(jobs.get(connection, job["id"])["numbers"])
            if missing := [form for form in forms if form not in given]:
                source = sets.members(connection, job["set_id"])[0]
                number = number_of(source.header)
                taken = jobs.series_numbers(connection, source.study_uid)
                for form in missing:
                    given[form] = deriving.series_number(number, SERIES_CODES[form], taken)
                    taken.add(given[form])
                jobs.note(connection, job["id"], at=self.clock(), numbers=given)
        return {form: given[form] for form in forms}

    def _keep(self, job: Mapping[str, Any], reply: Mapping[str, Any], generation: int) -> None:
        made = rows_of(reply, self.spool)
        with self.records.write() as connection:
            jobs.note(connection, job["id"], at=self.clock(), generation=generation)
            jobs.finish_derive(
                connection,
                job["id"],
                at=self.clock(),
                series_uid=reply["series_instance_uid"],
                description=reply["series_description"],
                results=made,
                every_form=True,
            )
