"""Our own assertions on the images of a triage, made on the bytes that are to be written (DICOM_SPEC section 5)."""

from collections.abc import Iterator, Sequence

from pydicom.dataset import Dataset

from node.dicom import codes, geometry, part10
from node.dicom.claims import Claims
from node.dicom.job import Job
from node.dicom.multiframe import MultiFrame
from node.dicom.part10 import Part10
from node.dicom.source_slices import Source
from node.dicom.validate import labels
from node.worklist.objects.checks import identity

_DERIVATION, _POSITION = 0x00089124, 0x00209113


def capture(job: Job, written: Part10, sources: Sequence[Source], shown: Sequence[Source], *, index: int) -> list[str]:
    """What is wrong with one image of a capture, as facts without patient data; empty when it may leave.

    sources: of the whole series; shown: those on this image
    """
    return [*identity(job, "capture", written, sources, index), *_capture(job, written.dataset, sources, shown)]


def _capture(job: Job, derived: Dataset, sources: Sequence[Source], shown: Sequence[Source]) -> Iterator[str]:
    yield from labels(job, derived)
    if part10.values(derived, "ImageType") != job.image_type or not job.image_type[3].startswith(codes.AI_PREFIX):
        yield "Image Type is not that of a capture"
    if part10.text(derived, "ConversionType") != "WSD":
        yield "Conversion Type is not WSD"
    if part10.text(derived, "BurnedInAnnotation") != "NO":
        yield "Burned In Annotation is not NO"
    pixels = [part10.text(derived, one) for one in ("PhotometricInterpretation", "BitsAllocated", "SamplesPerPixel")]
    if pixels != ["RGB", "8", "3"]:
        yield "the pixels are not RGB of 8 bits"
    yield from references(derived, sources, shown)


def segment(job: Job, written: Part10, sources: Sequence[Source]) -> list[str]:
    """What is wrong with the header of a segmentation; empty when it may leave."""
    derived = written.dataset
    try:
        made = MultiFrame.of(written.sop_class_uid, written.sop_instance_uid, derived)
        return [
            *identity(job, "segment", written, sources),
            *labels(job, derived, made.groups(1)[_DERIVATION]),
            *_segment(job, derived, made, sources),
        ]
    except (geometry.Unreadable, LookupError) as error:
        return [f"the functional groups can't be read: {error}"]


def _segment(job: Job, derived: Dataset, made: MultiFrame, sources: Sequence[Source]) -> Iterator[str]:
    if part10.values(derived, "ImageType") != job.image_type:
        yield "Image Type is not that of a segmentation"
    if part10.text(derived, "FrameOfReferenceUID") != part10.text(sources[0].dataset, "FrameOfReferenceUID"):
        yield "FrameOfReferenceUID is not that of the source"
    if (part10.text(derived, "SegmentationType"), part10.text(derived, "BitsAllocated")) != ("BINARY", "1"):
        yield "it is not of one bit for each voxel"
    if len(part10.items(derived, "SegmentSequence")) != 1:
        yield "it has not one segment"
    if {one.sop_instance_uid for one in sources} - set(listed(derived)):
        yield "Referenced Series Sequence does not list every source"
    if len(made.per_frame) != len(sources):
        yield f"{len(made.per_frame)} frames are made of {len(sources)} slices"
        return
    claims = Claims(job=job, sources=sources)
    for index in range(1, len(made.per_frame) + 1):
        groups = made.groups(index)
        items = part10.items(groups[_DERIVATION], "SourceImageSequence")
        yield from (f"frame {index}: {fault}" for fault in claims.source_images(items, index))
        position = part10.values(groups[_POSITION], "ImagePositionPatient") or ()
        if position != part10.values(sources[index - 1].dataset, "ImagePositionPatient"):
            yield f"frame {index} does not lie where its source does"


def references(derived: Dataset, sources: Sequence[Source], shown: Sequence[Source]) -> Iterator[str]:
    """What is wrong with what an image says of its sources."""
    found = [
        (part10.text(one, "ReferencedSOPInstanceUID"), int(part10.text(one, "ReferencedFrameNumber") or 0))
        for one in part10.items(derived, "SourceImageSequence")
    ]
    if found != [(one.sop_instance_uid, one.frame) for one in shown]:
        yield "Source Image Sequence does not name what is shown"
    if {one.sop_instance_uid for one in sources} - set(listed(derived)):
        yield "Referenced Series Sequence does not list every source"


def listed(derived: Dataset) -> Iterator[str]:
    """SOP Instance UIDs in Referenced Series Sequence (0008,1115)."""
    for item in part10.items(derived, "ReferencedSeriesSequence"):
        for instance in part10.items(item, "ReferencedInstanceSequence"):
            yield part10.text(instance, "ReferencedSOPInstanceUID")
