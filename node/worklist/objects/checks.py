"""Our own assertions on the documents of a triage, made on the bytes that are to be written (DICOM_SPEC section 5)."""

from collections.abc import Iterator, Sequence
from io import BytesIO
from typing import TYPE_CHECKING

import pydicom
from pydicom.dataset import Dataset

from node.dicom import codes, part10, triage_codes, uids
from node.dicom.job import Job
from node.dicom.part10 import Part10
from node.dicom.source_slices import Source
from node.dicom.validate import leftovers
from pipelines.triage import Flag

if TYPE_CHECKING:
    from node.worklist.objects.work import Work

# The same patient and the same study: verbatim, or it is somebody else's result.
VERBATIM = (
    "SpecificCharacterSet PatientName PatientID IssuerOfPatientID PatientBirthDate PatientSex PatientAge PatientWeight "
    "StudyInstanceUID StudyID StudyDate StudyTime StudyDescription AccessionNumber ReferringPhysicianName"
)
_REFERRING = ("IMAGE", "COMPOSITE")
_STEP = 0x00081111


def identity(job: Job, form: str, written: Part10, sources: Sequence[Source], index: int = 1) -> Iterator[str]:
    """What is wrong with what every object of a triage says of itself.

    sources: those whose patient and study it has
    """
    derived, source = written.dataset, sources[0].dataset
    row, study_uid = triage_codes.FORMS[form], part10.text(source, "StudyInstanceUID")
    for keyword in VERBATIM.split():
        if (part10.values(derived, keyword) or ()) != (part10.values(source, keyword) or ()):
            yield f"{keyword} is not that of the source"
    uid, series = written.sop_instance_uid, part10.text(derived, "SeriesInstanceUID")
    if not (uids.is_well_formed(uid) and uids.is_well_formed(series)):
        yield "the SOP or Series Instance UID is no UID"
    if uid in {one.sop_instance_uid for one in sources} or uid != part10.text(derived, "SOPInstanceUID"):
        yield "the SOP Instance UID is that of another instance"
    if series in (part10.text(source, "SeriesInstanceUID"), job.series_uid(study_uid)):
        yield "the Series Instance UID is that of another series"
    if {written.sop_class_uid, part10.text(derived, "SOPClassUID")} != {row.sop_class_uid}:
        yield "the SOP Class is not that of its form"
    if part10.text(derived, "Modality") != row.modality:
        yield "the Modality is not that of its form"
    if part10.text(derived, "InstanceNumber") != str(index):
        yield f"Instance Number is not {index}"
    if part10.text(derived, "SyntheticData") != ("YES" if job.synthetic else "NO"):
        yield "Synthetic Data is not what the job says"
    if part10.text(derived, "ContentQualification") != "RESEARCH":
        yield "Content Qualification is not RESEARCH"
    if part10.text(derived, "Manufacturer") != codes.VENDOR or part10.text(derived, "DeviceUID") != codes.DEVICE_UID:
        yield "General Equipment does not name the node"
    network = codes.model_device_uid(job.model, job.model_version, job.weights_sha256)
    if network not in {part10.text(one, "DeviceUID") for one in part10.items(derived, "ContributingEquipmentSequence")}:
        yield "Contributing Equipment does not name the network"
    if part10.text(derived, "SeriesDescription") != job.marker:
        yield "Series Description is not the marker"
    yield from leftovers(_without_empty_step(derived))


def report(work: "Work", job: Job, written: bytes) -> list[str]:
    """What is wrong with a report, as facts without patient data; empty when it may leave."""
    part = part10.parse(written)
    return [*identity(job, "report", part, work.headers), *_report(work, _whole(written))]


def keys(job: Job, written: bytes, wanted: Sequence[tuple[str, str, int]], sources: Sequence[Source]) -> list[str]:
    """What is wrong with a key object selection.

    wanted: SOP Class, SOP Instance UID and frame (0: none) of what it has to point at
    """
    document = _whole(written)
    return [
        *identity(job, "keys", part10.parse(written), sources),
        *_selection(document, triage_codes.OF_INTEREST.value, wanted),
        *([] if _described(document) == [triage_codes.KEYS_DESCRIPTION] else ["its description is another"]),
    ]


def rejection(
    job: Job, written: bytes, title: str, wanted: Sequence[tuple[str, str, int]], sources: Sequence[Source]
) -> list[str]:
    """What is wrong with a rejection note; `title`: its code."""
    return [
        *identity(job, "rejection", part10.parse(written), sources),
        *_selection(_whole(written), title, wanted),
    ]


def _report(work: "Work", document: Dataset) -> Iterator[str]:
    assessed = work.assessment
    if (document.CompletionFlag, document.get("PreliminaryFlag"), document.VerificationFlag) != (
        "COMPLETE",
        "PRELIMINARY",
        "UNVERIFIED",
    ):
        yield "its completion, preliminary or verification flag is another"
    if _code(document.ConceptNameCodeSequence) != triage_codes.REPORT_TITLE.value:
        yield "its title is another"
    items = list(_tree(document))
    flags = [
        _code(one.ConceptCodeSequence)
        for one in items
        if one.ValueType == "CODE" and _code(one.ConceptNameCodeSequence) == triage_codes.TRIAGE_FLAG.value
    ]
    if flags != [assessed.flag.value] or flags[0] not in triage_codes.FLAGS:
        yield "its flag is not that of the assessment"
    scores = {
        _code(one.ConceptNameCodeSequence): float(one.MeasuredValueSequence[0].NumericValue)
        for one in items
        if one.ValueType == "NUM"
    }
    if (assessed.score is None) is not (not scores) or any(
        assessed.score is None or abs(score - assessed.score) > 1e-6 for score in scores.values()
    ):
        yield "its score is not that of the assessment"
    if assessed.score is not None and triage_codes.ANOM_SCORE.value not in scores:
        yield "its score has another name"
    said = [one.TextValue for one in items if _named(one) == triage_codes.COMMENT.value]
    if len(said) != len(assessed.reasons) or (assessed.flag is Flag.NOT_ANALYSABLE and not said):
        yield "it does not say why nothing could be analysed"
    meanings = [code.CodeMeaning for one in items for code in one.get("ConceptCodeSequence", [])]
    if any(meaning.casefold() == "normal" for meaning in meanings):
        yield "it says that something is normal"
    wanted = {(source.sop_class_uid, source.sop_instance_uid, source.frame) for source in work.headers}
    if set(_references(items)) != wanted:
        yield "it does not refer to every source image, or to others"
    if {one[1] for one in wanted} != set(_evidence(document)):
        yield "its evidence is not the source images"


def _selection(document: Dataset, title: str, wanted: Sequence[tuple[str, str, int]]) -> Iterator[str]:
    if _code(document.ConceptNameCodeSequence) != title:
        yield "its title is another"
    if sorted(_references(list(_tree(document)))) != sorted(wanted):
        yield "it does not refer to what it has to"
    if set(_evidence(document)) != {one[1] for one in wanted}:
        yield "its evidence is not what it refers to"


def _without_empty_step(derived: Dataset) -> Dataset:
    """Referenced Performed Procedure Step Sequence is Type 2 of a document: there, and empty (PS3.3 C.17.1)."""
    found = part10.elements(derived)
    if _STEP in found and not part10.items(derived, _STEP):
        return part10.dataset_of({tag: one for tag, one in found.items() if int(tag) != _STEP})
    return derived


def _whole(written: bytes) -> Dataset:
    return pydicom.dcmread(BytesIO(written))


def _tree(item: Dataset) -> Iterator[Dataset]:
    for child in item.get("ContentSequence", []):
        yield child
        yield from _tree(child)


def _references(items: Sequence[Dataset]) -> Iterator[tuple[str, str, int]]:
    for item in items:
        for one in item.ReferencedSOPSequence if item.ValueType in _REFERRING else []:
            frames = one.get("ReferencedFrameNumber") or 0
            for frame in [frames] if isinstance(frames, int) else frames:
                yield str(one.ReferencedSOPClassUID), str(one.ReferencedSOPInstanceUID), int(frame)


def _evidence(document: Dataset) -> Iterator[str]:
    for study in document.get("CurrentRequestedProcedureEvidenceSequence", []):
        for series in study.ReferencedSeriesSequence:
            for one in series.ReferencedSOPSequence:
                yield str(one.ReferencedSOPInstanceUID)


def _described(document: Dataset) -> list[str]:
    return [one.TextValue for one in _tree(document) if _named(one) == "113012"]


def _named(item: Dataset) -> str:
    return _code(item.ConceptNameCodeSequence) if "ConceptNameCodeSequence" in item else ""


def _code(sequence: Sequence[Dataset]) -> str:
    return str(sequence[0].CodeValue)
