"""Key object documents: the selection that stars what was flagged (DICOM_SPEC 3.2), and what rejection notes share."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from pydicom.dataset import Dataset

from node.dicom import template, triage_codes
from node.dicom.codes import Code
from node.dicom.job import Job
from node.errors import Refuse
from node.worklist.objects import checks
from node.worklist.objects.report import observer
from node.worklist.objects.work import DOCUMENT, Work, concept, labelled

FORM: Final = "keys"
FILE_NAME: Final = "keys.dcm"


@dataclass(frozen=True, kw_only=True)
class Reference:
    """An instance that a document points at; frame: 0 for all of it."""

    sop_class_uid: str
    sop_instance_uid: str
    series_uid: str
    frame: int = 0
    is_image: bool = True

    @property
    def named(self) -> tuple[str, str, int]:
        return self.sop_class_uid, self.sop_instance_uid, self.frame


def keys(work: Work, captured: Sequence[str]) -> bytes:
    """The whole file: it points at the images of the capture and at the original slice of the strongest finding.

    captured: SOP Instance UIDs of the capture
    raises:   Refuse if there is no capture to point at, or the document would break an assertion
    """
    if not captured or not work.assessment.slices:
        raise Refuse("Key objects need a capture and a slice to point at.")
    job, top = work.form(FORM), work.headers[work.assessment.slices[0]]
    series = work.job.series_uid(work.study_uid, "capture")
    wanted = [
        *(Reference(sop_class_uid=triage_codes.CAPTURE.sop_class_uid, sop_instance_uid=uid, series_uid=series)
          for uid in captured),
        Reference(
            sop_class_uid=top.sop_class_uid,
            sop_instance_uid=top.sop_instance_uid,
            series_uid=work.series_uid,
            frame=top.frame,
        ),
    ]  # fmt: skip
    made = constructed(job, work.study_uid, wanted, triage_codes.OF_INTEREST, triage_codes.KEYS_DESCRIPTION)
    joined = labelled(job, work.headers, FORM, made, DOCUMENT)
    uid = job.object_uid(work.study_uid, FORM)
    written = template.head(uid, triage_codes.KEYS.sop_class_uid) + template.data_set(joined)
    if wrong := checks.keys(job, written, [one.named for one in wanted], work.headers):
        raise Refuse(f"The key objects break what they must hold: {'; '.join(wrong[:5])}.")
    return written


def constructed(
    job: Job,
    study_uid: str,
    wanted: Sequence[Reference],
    title: Code,
    description: str,
    *,
    modifier: Code | None = None,
) -> Dataset:
    """A key object document as highdicom makes it.

    modifier: Document Title Modifier (113011, DCM), which TID 2010 wants with some titles
    """
    import highdicom
    from highdicom import sr

    content = highdicom.ko.KeyObjectSelection(
        document_title=concept(title),
        referenced_objects=[_stand_in(study_uid, one) for one in wanted],
        observer_device_context=observer(job),
        description=description,
    )
    if modifier is not None:
        said = sr.CodeContentItem(
            concept(triage_codes.TITLE_MODIFIER), concept(modifier), sr.RelationshipTypeValues.HAS_CONCEPT_MOD
        )
        content[0].ContentSequence.insert(0, said)
    _name_frames(content[0], wanted)
    made: Dataset = highdicom.ko.KeyObjectSelectionDocument(
        evidence=[_stand_in(study_uid, one) for one in wanted],
        content=content,
        series_instance_uid="1.2.3",
        series_number=1,
        sop_instance_uid="1.2.3.4",
        instance_number=1,
        manufacturer="-",
    )
    return made


def _name_frames(root: Any, wanted: Sequence[Reference]) -> None:
    """Frames of a multi-frame object, which highdicom refers to as a whole."""
    frames = {one.sop_instance_uid: one.frame for one in wanted if one.frame}
    for item in root.ContentSequence:
        for one in item.get("ReferencedSOPSequence", []):
            if one.ReferencedSOPInstanceUID in frames:
                one.ReferencedFrameNumber = frames[one.ReferencedSOPInstanceUID]


def _stand_in(study_uid: str, wanted: Reference) -> Dataset:
    made = Dataset()
    for keyword in ("PatientID", "PatientName", "PatientBirthDate", "PatientSex", "AccessionNumber", "StudyID"):
        setattr(made, keyword, "")
    made.StudyDate = made.StudyTime = None
    made.StudyInstanceUID, made.SeriesInstanceUID = study_uid, wanted.series_uid
    made.SOPClassUID, made.SOPInstanceUID = wanted.sop_class_uid, wanted.sop_instance_uid
    if wanted.is_image:
        made.Rows = made.Columns = 1
    return made
