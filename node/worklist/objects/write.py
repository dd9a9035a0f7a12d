"""Write the result objects of one triage (DICOM_SPEC section 3). Runs in the child; every file is durable at the end.

Two runs of one request write the same bytes: times come from the job, UIDs are computed, and what highdicom takes from
a clock or draws at random is replaced.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final

from node.dicom import triage_codes
from node.dicom.files import Batch
from node.dicom.source_slices import Source
from node.errors import Refuse
from node.worklist.objects import capture, keys, report, segment
from node.worklist.objects import map as maps_and_images
from node.worklist.objects.maps_file import MapsFile
from node.worklist.objects.work import Work
from pipelines.triage import Flag

_OPTIONAL: Final = ("map", "segment", "classic")
FORMS: Final = ("report", "capture", "keys", *_OPTIONAL)


def write_objects(request: dict[str, Any]) -> dict[str, Any]:
    """Write the objects of a triage.

    request: sources (Part 10 files in geometric order), frames (parallel; 0 for a single-frame object; all 0 if
             absent), assessment (`pipelines.triage.Assessment` as JSON), maps (.npz of `pipelines.triage.Maps`, or
             null), padding (.npy, bool (z, y, x), of the decoder; optional), out (folder), job (of the pseudo-healthy
             images as for `node.dicom.derive.write_series`, and numbers: form -> Series Number), objects (forms to
             write; "report" is always one of them)
    returns: report_uid; series_instance_uid, that of the pseudo-healthy images, whether they are written or not;
             series_instance_uids of each form written; series_description, that of the report; and instances: form,
             sop_instance_uid, sop_class_uid, path, bytes, sha256 and source_sop_instance_uid of each; left_out: form ->
             why a map, segmentation or pseudo-healthy series that was asked for can't be written. A flag is not lost
             because of what only the switch adds to it
    raises:  Refuse if a form is not one that can be written of this assessment, or report, capture or key objects
             break an assertion (before they are written)
    """
    work, wanted = Work.of(request), list(dict.fromkeys(request["objects"]))
    if "report" not in wanted or not set(wanted) <= set(FORMS):
        raise Refuse(f"{', '.join(wanted) or 'nothing'} are no objects of a triage; a report is always one of them.")
    if "keys" in wanted and "capture" not in wanted:
        raise Refuse("Key objects point at a capture, which is not asked for.")
    images = {"capture", "map", "segment", "classic"}.intersection(wanted)
    if images and work.assessment.flag is Flag.NOT_ANALYSABLE:
        raise Refuse(f"A study that was not analysed has no {', '.join(sorted(images))}.")
    with Batch(work.out) as batch:
        writing = _Writing(work=work, batch=batch)
        writing.put("report", 1, report.FILE_NAME, [report.report(work)], work.headers[0])
        if images:
            with maps_of(work) as maps:
                writing.images(wanted, maps, request)
        if "keys" in wanted:
            captured = [one["sop_instance_uid"] for one in writing.instances if one["form"] == "capture"]
            top = work.headers[work.assessment.slices[0]]
            writing.put("keys", 1, keys.FILE_NAME, [keys.keys(work, captured)], top)
    return {
        "report_uid": work.job.object_uid(work.study_uid, report.FORM),
        "series_instance_uid": work.job.series_uid(work.study_uid),
        "series_instance_uids": {
            form: work.job.series_uid(work.study_uid, form) for form in wanted if form not in writing.left_out
        },
        "series_description": triage_codes.REPORT.marker,
        "instances": writing.instances,
        "left_out": writing.left_out,
    }


def maps_of(work: Work) -> MapsFile:
    """The maps of a request. Raises Refuse if it has none."""
    if work.maps is None:
        raise Refuse("There are no maps to make images of.")
    return MapsFile(work.maps, work.out / ".maps", work.shape)


@dataclass(kw_only=True)
class _Writing:
    """The objects of one request on their way to the disk; `instances` and `left_out` as in the reply."""

    work: Work
    batch: Batch
    instances: list[dict[str, Any]] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)

    def put(self, form: str, index: int, name: str, pieces: Iterable[bytes | memoryview], source: Source) -> None:
        digest, size = self.batch.write(name, pieces)
        self.instances.append(
            {
                "form": form,
                "sop_instance_uid": self.work.job.object_uid(self.work.study_uid, form, index),
                "sop_class_uid": triage_codes.FORMS[form].sop_class_uid,
                "path": str(self.work.out / name),
                "bytes": size,
                "sha256": digest,
                "source_sop_instance_uid": source.sop_instance_uid,
            }
        )

    def images(self, wanted: list[str], maps: MapsFile, request: dict[str, Any]) -> None:
        if "capture" in wanted:
            for shot, written in capture.capture(self.work, maps.array("region")):
                self.put("capture", shot.index, shot.file_name, [written], shot.sources[0])
        for form in _OPTIONAL:
            if form in wanted:
                try:
                    self._optional(form, maps, request)
                except Refuse as refused:
                    self.left_out[form] = refused.message

    def _optional(self, form: str, maps: MapsFile, request: dict[str, Any]) -> None:
        """Write one of the forms that a site has to ask for."""
        if form == "map":
            self.instances += maps_and_images.write_map(self.work, request, maps.file("z"))
        elif form == "classic":
            self.instances += maps_and_images.write_images(self.work, request, maps.file("healthy"))
        else:
            pieces = segment.segment(self.work, maps.array("region"))
            self.put("segment", 1, segment.FILE_NAME, pieces, self.work.headers[0])


def ready(request: dict[str, Any]) -> dict[str, Any]:
    """Load what writing needs, which takes longer than writing; so that no flag waits for it."""
    import highdicom

    return {"highdicom": str(highdicom.__version__)}
