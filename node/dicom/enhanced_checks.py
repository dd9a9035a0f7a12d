"""Our own assertions on an Enhanced object, made on the bytes that are to be written (DICOM_SPEC section 5)."""

from collections.abc import Iterator, Sequence
from itertools import pairwise

from pydicom.dataset import Dataset

from node.dicom import codes, geometry, keep, part10, uids
from node.dicom.claims import Claims
from node.dicom.job import Job
from node.dicom.multiframe import PER_FRAME, SHARED, MultiFrame
from node.dicom.part10 import Part10
from node.dicom.places import Finer, decimal
from node.dicom.source_slices import Source
from node.dicom.validate import WIDENED, comments, labels, leftovers

# Of the patient, the study and the pixels; the rest of the verbatim attributes stands in functional groups.
_ROOT = (
    "PatientName PatientID IssuerOfPatientID PatientBirthDate PatientSex StudyInstanceUID StudyID StudyDate StudyTime "
    "AccessionNumber FrameOfReferenceUID Rows Columns BitsStored PixelRepresentation PatientPosition"
)
_PLANE = ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing")
_OF_SLICES = frozenset(("ImagePositionPatient", "SliceThickness"))  # others where a frame stands between slices
_FRAME = (*_PLANE, "SliceThickness", "RescaleSlope", "RescaleIntercept", "IrradiationEventUID", "KVP")


def violations(job: Job, written: Part10, sources: Sequence[Source]) -> list[str]:
    """What is wrong with the object, as facts without patient data; empty when it may leave.

    sources: in geometric order
    """
    derived = written.dataset
    try:
        made = MultiFrame.of(written.sop_class_uid, written.sop_instance_uid, derived)
        derivation = _derivation(made, 1)
    except (geometry.Unreadable, LookupError) as error:
        return [f"the functional groups can't be read: {error}"]
    return [
        *labels(job, derived, derivation),
        *_identity(job, written, sources),
        *leftovers(derived),
        *_nothing_private(derived),
        *_frames(job, made, sources),
    ]


def _identity(job: Job, written: Part10, sources: Sequence[Source]) -> Iterator[str]:
    derived, source = written.dataset, sources[0].dataset
    kind = ("DERIVED", "PRIMARY", *codes.OUTPUTS[job.kind].frame_type)
    if part10.values(derived, "ImageType") != kind:
        yield "Image Type is not that of an Enhanced object of this kind"
    for keyword in _ROOT.split():
        if keyword == WIDENED and codes.OUTPUTS[job.kind].rescaled:
            continue
        if (part10.values(derived, keyword) or ()) != (part10.values(source, keyword) or ()):
            yield f"{keyword} is not that of the source"
    uid, series = written.sop_instance_uid, part10.text(derived, "SeriesInstanceUID")
    if not (uids.is_well_formed(uid) and uids.is_well_formed(series)):
        yield "the SOP or Series Instance UID is no UID"
    if uid in {one.sop_instance_uid for one in sources} or uid != part10.text(derived, "SOPInstanceUID"):
        yield "the SOP Instance UID is that of another instance"
    study_uid = part10.text(source, "StudyInstanceUID")
    if series in (part10.text(source, "SeriesInstanceUID"), job.series_uid(study_uid)):
        yield "the Series Instance UID is that of another series"
    if written.sop_class_uid != codes.ENHANCED[sources[0].modality]:
        yield "the SOP Class is not that of the sources"
    if part10.text(derived, "PixelPresentation") != "MONOCHROME":
        yield "Pixel Presentation is not MONOCHROME"
    yield from comments(job, part10.raw(derived, 0x00204000) or b"")
    if any(0x6000 <= tag.group <= 0x60FF for tag in part10.elements(derived)):
        yield "an Enhanced object has an overlay"
    listed = {
        part10.text(instance, "ReferencedSOPInstanceUID")
        for study in part10.items(derived, "SourceImageEvidenceSequence")
        for one in part10.items(study, "ReferencedSeriesSequence")
        for instance in part10.items(one, "ReferencedSOPSequence")
    }
    if listed != {one.sop_instance_uid for one in sources}.union(
        uid for other in job.others for _, uid, _ in other.slices
    ):
        yield "Source Image Evidence Sequence does not list the sources"


def _frames(job: Job, made: MultiFrame, sources: Sequence[Source]) -> Iterator[str]:
    row, claims = codes.OUTPUTS[job.kind], Claims(job=job, sources=sources)
    if len(made.per_frame) != len(sources) * job.factor:
        yield f"{len(made.per_frame)} frames are made of {len(sources)} slices"
        return
    depths_mm = []
    for index in range(1, len(made.per_frame) + 1):
        source = sources[claims.at(index)]
        single = part10.dataset_of({one.tag: one for one in made.as_single(index).values()})
        for keyword in _FRAME:
            if row.finer and keyword in _OF_SLICES:
                continue
            if (part10.values(single, keyword) or ()) != (part10.values(source.dataset, keyword) or ()):
                yield f"{keyword} of frame {index} is not that of its source"
        for keyword, text in job.elements.items():
            if part10.values(single, keyword) != (text,):
                yield f"{keyword} of frame {index} is not what the job says"
        groups = made.groups(index)
        content = groups.get(_tag("FrameContentSequence"), Dataset())
        if part10.values(content, "DimensionIndexValues") != ("1", str(index)):
            yield f"Dimension Index Values of frame {index} are not 1 and {index}"
        frame_type = groups.get(_tag(f"{source.modality}ImageFrameTypeSequence"), Dataset())
        if part10.values(frame_type, "FrameType") != part10.values(made.root, "ImageType"):
            yield f"Frame Type of frame {index} is not the Image Type"
        derivation = _derivation(made, index)
        for wrong in claims.source_images(part10.items(derivation, "SourceImageSequence"), index):
            yield f"frame {index}: {wrong}"
        if row.finer:
            yield from (f"frame {index}: {wrong}" for wrong in _between(claims, single, index))
        if row.rescaled and len(part10.values(single, "WindowCenter") or ()) != 1:
            yield f"the window of frame {index} is not the one of the series"
        done = [part10.text(code, "CodeValue") for code in part10.items(derivation, "DerivationCodeSequence")]
        if done != [job.derivation.value]:
            yield f"the derivation of frame {index} is not that of the job"
        try:
            grid = geometry.Grid.of({keyword: part10.values(single, keyword) or () for keyword in _PLANE})
            depths_mm.append(float(grid.position @ grid.normal))
        except geometry.Unreadable as unreadable:
            yield f"frame {index}: {unreadable}"
    if any(one >= other for one, other in pairwise(depths_mm)):
        yield "the frames do not rise along their normal"


def _between(claims: Claims, single: Dataset, index: int) -> Iterator[str]:
    yield from claims.place(part10.values(single, "ImagePositionPatient") or (), index)
    spacing = decimal(Finer.of(claims.sources, claims.job.factor).spacing_mm)
    if {part10.text(single, keyword) for keyword in ("SliceThickness", "SpacingBetweenSlices")} != {spacing}:
        yield "thickness and spacing are not those of the frames"


def _derivation(made: MultiFrame, index: int) -> Dataset:
    return made.groups(index).get(_tag("DerivationImageSequence"), Dataset())


def _nothing_private(derived: Dataset) -> Iterator[str]:
    for item in (*part10.items(derived, SHARED), *part10.items(derived, PER_FRAME)):
        for tag in part10.elements(item):
            if tag.group % 2:
                yield f"the private functional group {tag} is not ours"


def _tag(keyword: str) -> int:
    (found,) = keep.tags(keyword)
    return found
