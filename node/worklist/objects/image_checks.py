"""Our own assertions on the images of a triage, made on the bytes that are to be written (DICOM_SPEC section 5)."""

from collections.abc import Iterator, Sequence

from pydicom.dataset import Dataset

from node.dicom import codes, part10
from node.dicom.job import Job
from node.dicom.part10 import Part10
from node.dicom.source_slices import Source
from node.dicom.validate import labels
from node.worklist.objects.checks import identity


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
