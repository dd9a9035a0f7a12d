"""Write the result objects of one triage (DICOM_SPEC section 3). Runs in the child; every file is durable at the end.

Two runs of one request write the same bytes: times come from the job, UIDs are computed, and what highdicom takes from
a clock or draws at random is replaced.
"""

from typing import Any, Final

from node.dicom.files import Batch
from node.errors import Refuse
from node.worklist.objects import report
from node.worklist.objects.work import Work, named

FORMS: Final = ("report", "capture", "keys", "map", "segment", "classic")


def write_objects(request: dict[str, Any]) -> dict[str, Any]:
    """Write the objects of a triage.

    request: sources (Part 10 files in geometric order), frames (parallel; 0 for a single-frame object; all 0 if
             absent), assessment (`pipelines.triage.Assessment` as JSON), maps (.npz of `pipelines.triage.Maps`, or
             null), out (folder), job (of the pseudo-healthy images as for `node.dicom.derive.write_series`, and
             numbers: form -> Series Number), objects (forms to write; "report" is always one of them)
    returns: report_uid; series_instance_uid, that of the pseudo-healthy images, whether they are written or not;
             series_instance_uids of each form written; series_description, that of the report; and instances: form,
             sop_instance_uid, sop_class_uid, path, bytes, sha256 and source_sop_instance_uid of each
    raises:  Refuse if a form is not one that can be written of this assessment, or an object breaks an assertion
             (before it is written)
    """
    work, wanted = Work.of(request), list(dict.fromkeys(request["objects"]))
    if "report" not in wanted or not set(wanted) <= set(FORMS):
        raise Refuse(f"{', '.join(wanted) or 'nothing'} are no objects of a triage; a report is always one of them.")
    instances: list[dict[str, Any]] = []
    with Batch(work.out) as batch:
        job = work.form(report.FORM)
        digest, size = batch.write(report.FILE_NAME, [report.report(work)])
        written = work.out / report.FILE_NAME, digest, size
        instances.append(named(job, work.study_uid, report.FORM, 1, work.headers[0], written))
    return {
        "report_uid": work.job.object_uid(work.study_uid, report.FORM),
        "series_instance_uid": work.job.series_uid(work.study_uid),
        "series_instance_uids": {form: work.job.series_uid(work.study_uid, form) for form in wanted},
        "series_description": job.marker,
        "instances": instances,
    }
