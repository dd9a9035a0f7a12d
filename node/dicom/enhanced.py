"""The enhanced form: one Enhanced CT or MR object that holds all slices as frames (DICOM_SPEC 1.7; PS3.3 A.38, A.36).

It is written where the sources were of that class themselves: most of its functional groups are those of its sources,
frame by frame. What all frames say alike stands in the shared ones. The pixels go to disk as they are made.
"""

import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataset import Dataset
from pydicom.tag import BaseTag, Tag

from node.dicom import codes, enhanced_checks, keep, part10, provenance, template
from node.dicom.files import Batch
from node.dicom.job import Job
from node.dicom.multiframe import PER_FRAME, SHARED, MultiFrame
from node.dicom.places import Places, decimal
from node.dicom.scale import Scales
from node.dicom.source_slices import Source
from node.dicom.whole import Whole
from node.errors import Refuse

FILE_NAME = "enhanced.dcm"
_LONGEST_PIXELS = 0xFFFFFFFE  # of an element with a defined length (PS3.5 7.1)


def _tag(keyword: str) -> int:
    found = tag_for_keyword(keyword)
    assert found is not None, keyword
    return found


_CONTENT, _DERIVATION = _tag("FrameContentSequence"), _tag("DerivationImageSequence")
_FRAME_TYPES = {"CT": _tag("CTImageFrameTypeSequence"), "MR": _tag("MRImageFrameTypeSequence")}
_EVENT = _tag("IrradiationEventIdentificationSequence")
_POSITION, _MEASURES = _tag("PlanePositionSequence"), _tag("PixelMeasuresSequence")
_VOI, _RECONSTRUCTION = _tag("FrameVOILUTSequence"), _tag("CTReconstructionSequence")
# Written anew for each frame, or no longer true.
_GROUPS_LEFT = keep.tags(
    "FrameContentSequence DerivationImageSequence CTImageFrameTypeSequence MRImageFrameTypeSequence "
    "RealWorldValueMappingSequence UnassignedSharedConvertedAttributesSequence ConversionSourceAttributesSequence "
    "UnassignedPerFrameConvertedAttributesSequence PixelIntensityRelationshipLUTSequence"
)
_CONTENT_LEFT = keep.tags(
    "StackID InStackPositionNumber DimensionIndexValues TemporalPositionIndex FrameComments FrameLabel"
)
# Where an element that a job says differently has its place in an Enhanced object.
_PLACES = {
    "ConvolutionKernel": _RECONSTRUCTION,
    "WindowCenter": _VOI,
    "WindowWidth": _VOI,
    "WindowCenterWidthExplanation": _VOI,
}
_VOI_LUT = keep.tags("VOILUTSequence")

Pixels = Callable[[int], NDArray[Any]]
"""Stored values of frame 1..N, (y, x)."""


def lacking(job: Job, sources: Sequence[Source]) -> str:
    """Why a job on these sources can't have an enhanced form; empty if it can."""
    modality = sources[0].modality
    if codes.OUTPUTS[job.kind].overlay:
        return "an Enhanced object has no overlay plane to say in that its images are synthetic"
    if sources[0].sop_class_uid != codes.ENHANCED[modality]:
        return "the sources are no Enhanced objects with attributes of their own for it"
    if modality == "CT" and not all(_EVENT in _whole(source).groups(source.frame) for source in sources):
        return "a source does not identify its irradiation event, which every Enhanced CT has to"
    if "ConvolutionKernel" in job.elements and not all(
        _RECONSTRUCTION in _whole(source).groups(source.frame) for source in sources
    ):
        return "a source does not describe the reconstruction whose kernel was converted"
    return ""


def write(
    job: Job, sources: Sequence[Source], study_uid: str, pixels: Pixels, batch: Batch, *, whole: Whole | None = None
) -> dict[str, Any]:
    """Write the object as `FILE_NAME`; its pixels are asked for frame by frame, in order.

    sources: in geometric order, all Enhanced and of one study and series
    whole:   figures of the result, where the kind of image needs them
    returns: sop_instance_uid, sop_class_uid, bytes and sha256
    raises:  Refuse if it would break an assertion, or is too long for one object
    """
    head, body = header(job, sources, study_uid, whole)
    total = len(sources) * job.factor
    first = sources[0].dataset
    rows, columns = (int(part10.text(first, keyword) or 0) for keyword in ("Rows", "Columns"))
    length = rows * columns * 2 * total
    if length > _LONGEST_PIXELS:
        raise Refuse(f"{length} bytes of pixels are too many for one object.", fix="Take the classic form.")

    def pieces() -> Iterator[bytes | memoryview]:
        yield head
        yield body + struct.pack("<HH2sHI", 0x7FE0, 0x0010, b"OW", 0, length)
        for index in range(1, total + 1):
            yield pixels(index).data

    digest, size = batch.write(FILE_NAME, pieces())
    return {
        "sop_instance_uid": job.enhanced_uid(study_uid),
        "sop_class_uid": codes.ENHANCED[sources[0].modality],
        "bytes": size,
        "sha256": digest,
    }


def header(job: Job, sources: Sequence[Source], study_uid: str, whole: Whole | None = None) -> tuple[bytes, bytes]:
    """File Meta Information with what precedes it, and the data set up to Pixel Data; checked.

    raises: Refuse if it would break an assertion
    """
    if reason := lacking(job, sources):
        raise Refuse(f"There is no enhanced form: {reason}.")
    modality, uid = sources[0].modality, job.enhanced_uid(study_uid)
    sop_class_uid, places = codes.ENHANCED[modality], Places(job, sources)
    scales = Scales(sources, stated=True, whole=whole)
    signed = scales[0].signed
    root = template.encode(keep.kept(_whole(sources[0]).root, signed=signed, form=keep.ENHANCED))
    own = _own(job, sources, study_uid, uid)
    joined = root | template.encode(own) | provenance.lossy(sources[0])
    if scales.bits is not None:
        joined[0x00280101] = template.element(0x00280101, "US", struct.pack("<H", scales.bits))
        joined[0x00280102] = template.element(0x00280102, "US", struct.pack("<H", scales.bits - 1))
    images = provenance.Images(job, sources, study_uid, places)
    joined[0x0018A001] = template.sequence(0x0018A001, images.equipment(sources[0]))
    if images.comment:
        joined[0x00204000] = images.comments(sources[0])
    joined.setdefault(0x20500020, template.element(0x20500020, "CS", "IDENTITY"))  # Presentation LUT Shape, Type 1C
    joined.setdefault(0x00400555, template.sequence(0x00400555, ()))  # Acquisition Context, Type 2
    said = _Said(job=job, sources=sources, images=images, places=places, own=own, whole=whole, signed=signed)
    frames = [_groups(said, index) for index in range(1, places.count + 1)]
    shared = {
        tag: group
        for tag, group in frames[0].items()
        if tag != _CONTENT and all(frame.get(tag) == group for frame in frames)
    }
    joined[SHARED] = template.sequence(SHARED, [template.data_set(shared)])
    joined[PER_FRAME] = template.sequence(
        PER_FRAME,
        [template.data_set({tag: group for tag, group in frame.items() if tag not in shared}) for frame in frames],
    )
    for tag in (0x00082111, 0x00089215):  # said in the functional group of the derivation
        del joined[tag]
    head, body = template.head(uid, sop_class_uid), template.data_set(joined)
    if wrong := enhanced_checks.violations(job, part10.parse(head + body), sources):
        raise Refuse(f"The enhanced object breaks what a derived one must hold: {'; '.join(wrong[:5])}.")
    return head, body


def _own(job: Job, sources: Sequence[Source], study_uid: str, uid: str) -> Dataset:
    modality = sources[0].modality
    said = provenance.common(job, sources, study_uid, sop_class_uid=codes.ENHANCED[modality], form="enhanced")
    # Exactly four values, of which the second is PRIMARY (PS3.3 C.8.16.1, C.8.15.2, C.8.13.1).
    said.ImageType = ["DERIVED", "PRIMARY", *codes.OUTPUTS[job.kind].frame_type]
    said.SOPInstanceUID = uid
    said.InstanceNumber = 1
    said.NumberOfFrames = len(sources) * job.factor
    said.update(_frame_type(job, sources, None))
    evidence = Dataset()
    evidence.StudyInstanceUID = study_uid
    evidence.ReferencedSeriesSequence = [
        _evidence(one) for one in list(said.ReferencedSeriesSequence)[: 1 + len(job.others)]
    ]
    said.SourceImageEvidenceSequence = [evidence]
    organization = job.dimension_uid(study_uid)
    said.DimensionOrganizationSequence = [Dataset()]
    said.DimensionOrganizationSequence[0].DimensionOrganizationUID = organization
    said.DimensionIndexSequence = [
        _dimension("StackID", organization),
        _dimension("InStackPositionNumber", organization),
    ]
    return said


def _evidence(listed: Dataset) -> Dataset:
    series = Dataset()
    series.SeriesInstanceUID = listed.SeriesInstanceUID
    series.ReferencedSOPSequence = list(listed.ReferencedInstanceSequence)
    return series


def _dimension(keyword: str, organization: str) -> Dataset:
    item = Dataset()
    item.DimensionOrganizationUID = organization
    item.DimensionIndexPointer = Tag(keyword)
    item.FunctionalGroupPointer = BaseTag(_CONTENT)
    item.DimensionDescriptionLabel = keyword
    return item


def _frame_type(job: Job, sources: Sequence[Source], source: Source | None) -> Dataset:
    """What the object, or the frame in the place of `source`, says of its kind of pixels.

    In the words of the Common CT/MR Image Description (PS3.3 C.8.16.2).
    """
    said = Dataset()
    said.PixelPresentation = "MONOCHROME"
    said.VolumetricProperties = "VOLUME"
    said.VolumeBasedCalculationTechnique = "NONE"
    if sources[0].modality == "MR":
        for keyword in ("ComplexImageComponent", "AcquisitionContrast"):
            found = {_stated(one, keyword) for one in (sources if source is None else [source])}
            setattr(said, keyword, found.pop() if len(found) == 1 else "MIXED")
    if source is not None:
        said.FrameType = ["DERIVED", "PRIMARY", *codes.OUTPUTS[job.kind].frame_type]
    return said


def _stated(source: Source, keyword: str) -> str:
    whole = _whole(source)
    group = whole.groups(source.frame).get(_FRAME_TYPES["MR"], Dataset())
    return part10.text(group, keyword) or part10.text(whole.root, keyword)


@dataclass(frozen=True, kw_only=True)
class _Said:
    """What the frames of one object are made of. `own`: what the object itself says."""

    job: Job
    sources: Sequence[Source]
    images: provenance.Images
    places: Places
    own: Dataset
    whole: Whole | None
    signed: bool


def _groups(said: _Said, index: int) -> dict[int, bytes]:
    """The functional groups of frame `index`, encoded: sequence tag -> element."""
    job, own, images, signed = said.job, said.own, said.images, said.signed
    source = said.sources[said.places.source(index)]
    sequences = _whole(source).sequences(source.frame)
    made: dict[int, list[Dataset]] = {
        tag: [keep.copied(item, signed=signed, dropped=_VOI_LUT) for item in part10.items(_alone(element), tag)]
        for tag, element in sequences.items()
        if tag not in _GROUPS_LEFT and dictionary_VR(tag) == "SQ"
    }
    for keyword, text in job.elements.items():
        if (place := _PLACES.get(keyword)) is None:
            raise Refuse(f"{keyword} has no place in an Enhanced object.")
        made[place] = made.get(place) or [Dataset()]
        for item in made[place]:
            setattr(item, keyword, text)
    if codes.OUTPUTS[job.kind].rescaled:
        made[_VOI] = [_window(job, said.whole)]
    if (finer := said.places.finer) is not None:
        made[_POSITION] = [Dataset()]
        made[_POSITION][0].ImagePositionPatient = list(finer.position(index))
        for item in made.get(_MEASURES) or []:
            item.SliceThickness = item.SpacingBetweenSlices = decimal(finer.spacing_mm)
    before = part10.items(_alone(sequences[_CONTENT]), _CONTENT) if _CONTENT in sequences else []
    content = keep.copied(before[0], signed=signed, dropped=_CONTENT_LEFT) if before else Dataset()
    content.StackID, content.InStackPositionNumber, content.DimensionIndexValues = "1", index, [1, index]
    made[_CONTENT] = [content]
    made[_FRAME_TYPES[source.modality]] = [_frame_type(job, said.sources, source)]
    encoded = {tag: template.sequence(tag, map(_joined, items)) for tag, items in made.items() if items}
    derivation = {
        0x00082111: _element(own, 0x00082111),
        0x00089215: _element(own, 0x00089215),
        0x00082112: images.source_images(index),
    }
    encoded[_DERIVATION] = template.sequence(_DERIVATION, [template.data_set(derivation)])
    return encoded


def _window(job: Job, whole: Whole | None) -> Dataset:
    if whole is None:
        raise Refuse(f"The window of {job.kind} is that of its own voxels, and they are not known.")
    said, (centre, width) = Dataset(), whole.window
    said.WindowCenter, said.WindowWidth = f"{centre:.10g}", f"{width:.10g}"
    if width < 1:  # PS3.3 C.11.2.1.2.1: of the linear function at least 1
        said.VOILUTFunction = "LINEAR_EXACT"
    return said


def _element(own: Dataset, tag: int) -> bytes:
    return template.encode(part10.dataset_of({BaseTag(tag): part10.elements(own)[BaseTag(tag)]}))[tag]


def _alone(element: Any) -> Dataset:
    return part10.dataset_of({element.tag: element})


def _joined(item: Dataset) -> bytes:
    return template.data_set(template.encode(item))


def _whole(source: Source) -> MultiFrame:
    if source.whole is None:
        raise Refuse("A source of the enhanced form is no multi-frame object.")
    return source.whole
