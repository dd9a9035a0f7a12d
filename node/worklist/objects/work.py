"""What the writers of a triage's objects share: the request, patient and study as they came, labels, equipment."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Final, Self

from pydicom.dataset import Dataset

from node.dicom import codes, keep, part10, provenance, source_slices, template, triage_codes, uids
from node.dicom.codes import Code
from node.dicom.job import Job
from node.dicom.places import Places
from node.dicom.source_slices import Source
from node.errors import Refuse
from pipelines.triage import Assessment, Flag

_GROUPS: Final = frozenset((0x0010, 0x0012, 0x0038))  # patient, clinical trial, visit
_STUDY: Final = (
    "SpecificCharacterSet StudyDate StudyTime AccessionNumber IssuerOfAccessionNumberSequence ReferringPhysicianName "
    "ReferringPhysicianIdentificationSequence ConsultingPhysicianName ConsultingPhysicianIdentificationSequence "
    "TimezoneOffsetFromUTC StudyDescription ProcedureCodeSequence PhysiciansOfRecord "
    "PhysiciansOfRecordIdentificationSequence NameOfPhysiciansReadingStudy "
    "PhysiciansReadingStudyIdentificationSequence AdmittingDiagnosesDescription AdmittingDiagnosesCodeSequence "
    "ReferencedStudySequence StudyInstanceUID StudyID"
)
_SERIES: Final = "BodyPartExamined Laterality RequestAttributesSequence QualityControlImage"  # of an image
_PLACE: Final = "FrameOfReferenceUID PositionReferenceIndicator PatientPosition"  # of one that lies in the patient
DOCUMENT: Final = keep.tags(_STUDY)
PICTURE: Final = DOCUMENT | keep.tags(_SERIES)
VOLUME: Final = PICTURE | keep.tags(_PLACE)
_TYPE_2: Final = (
    "StudyDate StudyTime AccessionNumber ReferringPhysicianName PatientName PatientID PatientBirthDate PatientSex "
    "StudyID"
)
# What only an image says of itself; a document names its sources as evidence (PS3.3 C.17.2.3).
_OF_IMAGES: Final = keep.tags(
    "ImageType DerivationDescription DerivationCodeSequence ReferencedSeriesSequence SourceImageSequence"
)
_BITS_ALLOCATED: Final = 0x00280100


@dataclass(frozen=True, kw_only=True)
class Work:
    """One request, read.

    job:     of the pseudo-healthy images; that of a form is made of it by `form`
    numbers: form -> Series Number
    headers: one for each source slice, in geometric order, as their files begin: functional groups are not looked at
    maps:    .npz of `pipelines.triage.Maps`
    """

    job: Job
    numbers: Mapping[str, int]
    paths: tuple[Path, ...]
    frames: tuple[int, ...]
    headers: tuple[Source, ...]
    assessment: Assessment
    maps: Path | None
    out: Path

    @classmethod
    def of(cls, request: Mapping[str, Any]) -> Self:
        """Read a request.

        raises: Refuse if something is missing, or the sources are not of one study and series
        """
        try:
            paths = tuple(Path(path) for path in request["sources"])
            frames = tuple(int(frame) for frame in request.get("frames") or [0] * len(paths))
            assessment = Assessment.from_json(request["assessment"])
            numbers = {str(form): int(number) for form, number in request["job"]["numbers"].items()}
            maps = Path(request["maps"]) if request.get("maps") else None
            out = Path(request["out"])
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise Refuse(f"The triage to write is incomplete ({type(error).__name__}: {error}).") from error
        return cls(
            job=Job.of(plain(request["job"])),
            numbers=numbers,
            paths=paths,
            frames=frames,
            headers=_headers(paths, frames),
            assessment=assessment,
            maps=maps,
            out=out,
        )

    @property
    def study_uid(self) -> str:
        return part10.text(self.headers[0].dataset, "StudyInstanceUID")

    @property
    def series_uid(self) -> str:
        """Of the sources."""
        return part10.text(self.headers[0].dataset, "SeriesInstanceUID")

    @cached_property
    def slices(self) -> tuple[Source, ...]:
        """The sources with what their functional groups say. Raises Refuse where these can't be read."""
        return source_slices.read(self.paths, self.frames)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(z, y, x) of the sources."""
        rows, columns = (part10.text(self.headers[0].dataset, keyword) for keyword in ("Rows", "Columns"))
        return len(self.headers), int(rows or 0), int(columns or 0)

    def form(self, name: str) -> Job:
        """The job as an object of a form tells it.

        raises: Refuse if the request has no Series Number for it
        """
        if name not in self.numbers:
            raise Refuse(f"There is no Series Number for the form {name} of a triage.")
        return of_form(self.job, name, self.numbers[name], computed=self.assessment.flag is not Flag.NOT_ANALYSABLE)


def plain(request: Mapping[str, Any]) -> dict[str, Any]:
    """The job of a request as the writers of images take it; what its kind alone decides may be left out of it."""
    row = codes.OUTPUTS[triage_codes.KIND]
    known = {
        "kind": triage_codes.KIND,
        "image_type": list(row.image_type),
        "marker": row.opening,
        "synthetic": row.synthetic,
        "derivation": asdict(row.derivation),
        "purpose": asdict(row.purpose),
        "operation": row.derivation.meaning,
        "elements": {},
        "cautions": [],
    }
    return {**known, **request}


def of_form(job: Job, name: str, number: int, *, computed: bool) -> Job:
    """The job as objects of a form tell it.

    computed: whether anything in them comes from the pseudo-healthy image, which is what makes them synthetic
    """
    return replace(
        job,
        marker=triage_codes.FORMS[name].marker,
        purpose=triage_codes.PURPOSE,
        operation=triage_codes.OPERATION,
        synthetic=computed,
        series_number=number,
    )


def _headers(paths: Sequence[Path], frames: Sequence[int]) -> tuple[Source, ...]:
    """Headers of files, without a look into their functional groups: a set that nobody can decode has them, too."""
    if not paths or len(paths) != len(frames):
        raise Refuse(f"{len(frames)} frames are named for {len(paths)} sources.")
    known: dict[Path, Source] = {}
    for path in paths:
        if path not in known:
            known[path] = source_slices.read_header(path)
    found = tuple(replace(known[path], frame=frame) for path, frame in zip(paths, frames, strict=True))
    for keyword in ("StudyInstanceUID", "SeriesInstanceUID"):
        stated = {part10.text(source.dataset, keyword) for source in known.values()}
        if len(stated) != 1 or not all(map(uids.is_well_formed, stated)):
            raise Refuse(f"The sources have {len(stated)} values of {keyword}, not one UID.")
    if not all(uids.is_well_formed(source.sop_instance_uid) for source in known.values()):
        raise Refuse("A source has a SOP Instance UID that is no UID.")
    if len({(source.sop_instance_uid, source.frame) for source in found}) != len(found):
        raise Refuse("A source is named twice.")
    return found


def stand_in(source: Source) -> Dataset:
    """What highdicom asks of an instance that it refers to. Names are put in from the source's own bytes."""
    made = Dataset()
    for keyword in ("PatientID", "PatientName", "PatientBirthDate", "PatientSex", "AccessionNumber", "StudyID"):
        setattr(made, keyword, "")
    made.StudyDate = made.StudyTime = None
    made.StudyInstanceUID = part10.text(source.dataset, "StudyInstanceUID")
    made.SeriesInstanceUID = part10.text(source.dataset, "SeriesInstanceUID")
    made.SOPClassUID, made.SOPInstanceUID = source.sop_class_uid, source.sop_instance_uid
    made.Rows = made.Columns = 1
    return made


def concept(code: Code) -> Any:
    """A code as highdicom has it."""
    import highdicom  # here: half a second, and only those who write need to have it

    return highdicom.sr.CodedConcept(value=code.value, scheme_designator=code.scheme, meaning=code.meaning)


def kept(source: Source, tags: frozenset[int]) -> dict[int, bytes]:
    """Patient and study of a source as the bytes that came, and what has to be there, empty if need be.

    tags: DOCUMENT, PICTURE or VOLUME
    """
    named = {
        tag: element
        for tag, element in part10.elements(source.dataset).items()
        if tag.group in _GROUPS or int(tag) in tags
    }
    image = tags is not DOCUMENT
    more = ("PositionReferenceIndicator",) if tags is VOLUME else ()
    form = keep.Form(
        type_2=(*_TYPE_2.split(), *more),
        body_part=codes.OUTPUTS[triage_codes.KIND].body_part if image else "",
        has_frames=not image,  # a document has no side of the body
    )
    return template.encode(keep.kept(part10.dataset_of(named), signed=False, form=form))


def document_of(made: Dataset, said: Dataset, source: Source) -> dict[int, bytes]:
    """A document of highdicom with patient and study of a source and with what we say; tag -> element."""
    own = template.encode(said)
    for tag in _OF_IMAGES:
        own.pop(tag, None)
    return _joined(made, own, kept(source, DOCUMENT))


def _joined(made: Dataset, own: dict[int, bytes], theirs: dict[int, bytes]) -> dict[int, bytes]:
    joined = template.encode(made)
    joined.pop(0x00080005, None)  # of the source, or none: what it calls its texts is what they are
    own.pop(_BITS_ALLOCATED, None)  # those of the object, not of an image like its source
    return joined | theirs | own


def labelled(
    job: Job, sources: Sequence[Source], form: str, made: Dataset, tags: frozenset[int], *, index: int = 1
) -> dict[int, bytes]:
    """An object of highdicom with what it does not know in its place (DICOM_SPEC section 4); tag -> element.

    sources: headers of the slices that it was made of
    made:    without pixels; volatile values of it are replaced here
    index:   Instance Number
    """
    study_uid = part10.text(sources[0].dataset, "StudyInstanceUID")
    said = provenance.common(job, sources, study_uid, sop_class_uid=triage_codes.FORMS[form].sop_class_uid, form=form)
    said.SOPInstanceUID, said.InstanceNumber = job.object_uid(study_uid, form, index), index
    if tags is DOCUMENT:
        joined = document_of(made, said, sources[0])
    else:
        joined = _joined(made, template.encode(said), kept(sources[0], tags))
    images = provenance.Images(job, sources, study_uid, Places(job, sources))
    joined[0x0018A001] = template.sequence(0x0018A001, images.equipment(sources[0]))
    return joined
