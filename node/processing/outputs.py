"""What a job made: DICOM objects below the spool's `out`, their records, and the numbers that they carry."""

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engines.engine import EngineSpec
from node.child import Child
from node.dicom import codes, maps
from node.log import log
from node.prepared import Prepared
from node.processing.early import Early
from node.processing.partial import map_path
from node.records import jobs, sets
from node.records.database import Records
from node.spool import Spool
from node.stages import derive as deriving
from pipelines.pipeline import Pipeline
from pipelines.report import Report


@dataclass(frozen=True, kw_only=True)
class Outputs:
    """Writes the derived objects of jobs and records them.

    node:     node_version, station_name, device_serial: written into derived objects
    clock:    seconds since the epoch
    enhanced: destinations that take the enhanced form where the source was Enhanced
    """

    records: Records
    spool: Spool
    child: Child
    node: Mapping[str, str]
    clock: Callable[[], float]
    enhanced: frozenset[str] = frozenset()

    def whole(self, job_id: str) -> bool:
        """Whether a job has recorded objects and all of them are on disk as they were made."""
        known = self._recorded(job_id)
        return bool(known) and all(self.spool.holds(file, sha256) for file, sha256 in known.values())

    def may_be_early(self, job: Mapping[str, Any], prepared: Prepared, pipeline: Pipeline) -> bool:
        """Whether slices may be written before the verdict.

        Not where objects of the job are recorded: what comes now may have to be another generation. Nor where nobody
        takes the classic form: the enhanced one needs every slice. Nor where an image says what only the whole result
        tells, its window, or stands between the slices of its source.
        """
        row = codes.OUTPUTS[pipeline.gives.kind]
        if row.rescaled or row.finer or pipeline.factor(job["parameters"]) != 1 or pipeline.finishes is not None:
            return False
        return not self._recorded(job["id"]) and "classic" in self._forms(job, prepared).values()

    def make(
        self,
        job: Mapping[str, Any],
        prepared: Prepared,
        *,
        result: Path,
        pipeline: Pipeline,
        spec: EngineSpec,
        early: Early | None,
    ) -> None:
        """Write the objects of a job and record them with what is to go where. Raises Refuse as `deriving.derive`.

        early: what was written of it before the verdict
        """
        known = self._recorded(job["id"])

        def write(job: Mapping[str, Any]) -> dict[str, Any]:
            reply = self.write(job, prepared, result=result, pipeline=pipeline, spec=spec)
            return self._with_map(reply, job, prepared, result=result, pipeline=pipeline, spec=spec)

        if early is None or known:
            reply = write(job)
            if any(known.get(i["sop_instance_uid"], ("", i["sha256"]))[1] != i["sha256"] for i in reply["instances"]):
                # Recomputed pixels differ from those that left under these UIDs (DICOM_SPEC §2, rule b).
                job = {**job, "generation": job["generation"] + 1}
                reply = write(job)
        else:
            replies = early.complete(Report.from_json(job["report"]), result)
            reply = {**replies[0], "instances": [one for part in replies for one in part["instances"]]}
            if "enhanced" in (wanted := set(self._forms(job, prepared).values())):  # needs every slice
                whole = self.write(job, prepared, result=result, pipeline=pipeline, spec=spec, forms=("enhanced",))
                made = [one for one in whole["instances"] if one["form"] == "enhanced"]
                classic = reply["instances"] if "classic" in wanted or not made else []
                reply = {**reply, "instances": [*classic, *made], "instead": whole["instead"]}
            reply = self._with_map(reply, job, prepared, result=result, pipeline=pipeline, spec=spec)
        if reply["instead"]:
            log.warning("classic form instead of the enhanced one", job=job["id"][:12], reason=reply["instead"])
        self._keep(job, reply, self._forms(job, prepared))

    def _forms(self, job: Mapping[str, Any], prepared: Prepared) -> dict[str, str]:
        """Destination -> the form that it takes."""
        taking = self.enhanced if any(prepared.frames) else frozenset[str]()
        return {name: "enhanced" if name in taking else "classic" for name in job["destinations"]}

    def write(
        self,
        job: Mapping[str, Any],
        prepared: Prepared,
        *,
        result: Path,
        pipeline: Pipeline,
        spec: EngineSpec,
        slices: tuple[int, int] | None = None,
        forms: Sequence[str] = (),
    ) -> dict[str, Any]:
        """Write objects and record nothing. Raises Refuse as `deriving.derive`.

        slices: [first, last) of those to write, in the classic form; all if None
        forms:  those to write; those that the destinations take if there is none
        """
        wanted = sorted(set(self._forms(job, prepared).values())) if slices is None else ["classic"]
        return deriving.derive(
            self.child,
            prepared,
            result=result,
            out=self._folder(job["id"]) / str(job["generation"]),
            pipeline=pipeline,
            spec=spec,
            forms=forms or wanted or ["classic"],
            slices=slices,
            job={**self._facts(job, prepared), "series_number": self._series_number(job, pipeline)},
            report=job["report"],
            node=self.node,
        )

    def _with_map(
        self,
        reply: Mapping[str, Any],
        job: Mapping[str, Any],
        prepared: Prepared,
        *,
        result: Path,
        pipeline: Pipeline,
        spec: EngineSpec,
    ) -> dict[str, Any]:
        """A reply of the writer with the map of the job among its instances, where a destination gets one."""
        if not job["maps"]:
            return dict(reply)
        made = deriving.derive_map(
            self.child,
            prepared,
            values=map_path(result),
            out=self._folder(job["id"]) / str(job["generation"]),
            pipeline=pipeline,
            spec=spec,
            job={**self._facts(job, prepared), "map_series_number": self._map_series_number(job, pipeline)},
            report=job["report"],
            node=self.node,
        )
        return {**reply, "instances": [*reply["instances"], *made["instances"]]}

    def _facts(self, job: Mapping[str, Any], prepared: Prepared) -> dict[str, Any]:
        """What both writers are told of a job."""
        return {
            "input_digest": job["input_digest"],
            "generation": job["generation"],
            "started_at": job["started_at"],
            "parameters": job["parameters"],
            "part": job["part"],
            "others": self._others(job, prepared),
        }

    def discard(self, job_id: str) -> None:
        """Remove objects that were written and not recorded."""
        if not self._recorded(job_id):
            shutil.rmtree(self._folder(job_id), ignore_errors=True)

    def _folder(self, job_id: str) -> Path:
        return self.spool.out / job_id[:2] / job_id

    def _keep(self, job: Mapping[str, Any], reply: Mapping[str, Any], forms: Mapping[str, str]) -> None:
        made = rows_of(reply, self.spool)
        with self.records.write() as connection:
            jobs.note(connection, job["id"], at=self.clock(), generation=job["generation"])
            jobs.finish_derive(
                connection,
                job["id"],
                at=self.clock(),
                series_uid=reply["series_instance_uid"],
                description=reply["series_description"],
                results=made,
                forms=forms,
            )

    def _recorded(self, job_id: str) -> dict[str, tuple[str, str]]:
        with self.records.read() as connection:
            return jobs.results(connection, job_id)

    def _others(self, job: Mapping[str, Any], prepared: Prepared) -> list[Any]:
        """The series of other roles, which the objects name as sources."""
        if not prepared.roles:
            return []
        with self.records.read() as connection:
            taken = jobs.roles(connection, job["id"])
            members = {role: sets.members(connection, taken[role][0]) for role in prepared.roles}
        found = []
        for role, one in sorted(prepared.roles.items()):
            named = {str(self.spool.path(member.file)): member for member in members[role]}
            mine = [(named[source], frame) for source, frame in zip(one.sources, one.frames, strict=True)]
            placed = one.placed or {}
            found.append(
                {
                    "role": role,
                    "series_uid": mine[0][0].series_uid,
                    "slices": [[member.sop_class_uid, member.sop_instance_uid, frame] for member, frame in mine],
                    "reach": placed.get("reach"),
                    "resampled": not placed.get("identity", True),
                }
            )
        return found

    def _series_number(self, job: Mapping[str, Any], pipeline: Pipeline) -> int:
        return self._number(job, "series_number", codes.OUTPUTS[pipeline.gives.kind].series_code)

    def _map_series_number(self, job: Mapping[str, Any], pipeline: Pipeline) -> int:
        return self._number(job, "map_series_number", maps.MAPS[pipeline.gives.kind].series_code)

    def _number(self, job: Mapping[str, Any], column: str, code: int) -> int:
        with self.records.write() as connection:
            # Of the records: chunks are written with the job as it was before the first of them got the number.
            if (known := jobs.get(connection, job["id"])[column]) is not None:
                return int(known)
            source = sets.members(connection, job["set_id"])[0]
            number = number_of(source.header)
            taken = jobs.series_numbers(connection, source.study_uid)
            given = deriving.series_number(number, code, taken)
            jobs.note(connection, job["id"], at=self.clock(), **{column: given})
        return given


def rows_of(reply: Mapping[str, Any], spool: Spool) -> list[dict[str, Any]]:
    """What a writer in the child replied of its objects, as rows of results: with files below the spool."""
    return [
        {**{k: v for k, v in one.items() if k != "path"}, "file": str(Path(one["path"]).relative_to(spool.root))}
        for one in reply["instances"]
    ]


def number_of(header: Mapping[str, Sequence[str]]) -> int | None:
    """Series Number (0020,0011) of a source; None where it has none that is a number."""
    text = next(iter(header.get("SeriesNumber", ())), "")
    return int(text) if text.lstrip("+-").isdigit() else None
