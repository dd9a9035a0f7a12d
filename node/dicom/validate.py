"""Our own assertions on a derived image, made on the bytes that were written (DICOM_SPEC section 5).

A validator of the standard does not notice that an image forgot to say DERIVED, names a wrong source or still carries
the minimum of the pixels it no longer has. These checks do, before anything leaves.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from pydicom.dataset import Dataset

from node.dicom import codes, keep, overlay, part10, raw, template, uids, wording
from node.dicom.claims import Claims
from node.dicom.job import Job
from node.dicom.part10 import Part10
from node.dicom.places import LOCATION, Finer, decimal
from node.dicom.source_slices import Source
from node.dicom.wording import LONGEST_DERIVATION, LONGEST_DESCRIPTION

# The same patient, the same study, the same place: verbatim, or it is another image's header.
VERBATIM = (
    "PatientName PatientID IssuerOfPatientID PatientBirthDate PatientSex StudyInstanceUID StudyID StudyDate StudyTime "
    "AccessionNumber FrameOfReferenceUID ImagePositionPatient ImageOrientationPatient PixelSpacing Rows Columns "
    "BitsStored PixelRepresentation AcquisitionDate AcquisitionTime ContrastBolusAgent PatientPosition"
)
RESCALE = "RescaleSlope RescaleIntercept"  # verbatim in CT; an MR image has none
MOVED = "ImagePositionPatient"  # of an image between the slices of its source
WIDENED = "BitsStored"  # where the result's values need more than those of its source
_PART_OR_SIDE = ("BodyPartExamined", "Laterality", "ImageLaterality")
_FINER = range(2, 9)  # images for one source slice
_OUR_KERNEL = re.compile(r"(?=.{6,16}$)AI [^\\>]+>[^\\>]+")  # SH: at most 16 characters, one value
_CODE_STRING = re.compile(r"[A-Z0-9_ ]{1,16}")  # PS3.5 6.2, CS


def job(job: Job) -> list[str]:
    """What a job says wrongly of its kind (DICOM_SPEC 1.1)."""
    row = codes.OUTPUTS.get(job.kind)
    if row is None:
        return [f"the kind {job.kind} is not one that is written in this version"]
    wrong = []
    allowed = [row.image_type]
    if job.kind in codes.PRIMARY_ALLOWED:
        allowed.append(("DERIVED", "PRIMARY", *row.image_type[2:]))
    if job.image_type not in allowed:
        wrong.append(f"Image Type {'/'.join(job.image_type)} is not that of {job.kind}")
    if job.synthetic is not row.synthetic:
        wrong.append(f"Synthetic Data {job.synthetic} is not that of {job.kind}")
    if job.derivation != row.derivation or job.purpose != row.purpose:
        wrong.append(
            f"the derivation {job.derivation.value} with purpose {job.purpose.value} is not that of {job.kind}"
        )
    if frozenset(job.elements) != row.elements:
        wrong.append(f"{', '.join(sorted(job.elements)) or 'nothing'} replaces what the source says")
    kernel = job.elements.get("ConvolutionKernel")
    if kernel is not None and not _OUR_KERNEL.fullmatch(kernel):
        wrong.append(f"Convolution Kernel {kernel!a} could pass for a scanner's")
    if not job.marker.startswith(row.opening):
        wrong.append(f"the marker {job.marker!a} does not open with {row.opening!a}")
    if row.measured not in job.note:
        wrong.append(f"its note does not say the measured {row.measured}")
    if (job.factor not in _FINER or not job.z_support) if row.finer else job.factor != 1:
        wrong.append(f"{job.factor} images for one slice, with {job.z_support} neighbours, are none of {job.kind}")
    if not -(2**31) <= job.series_number < 2**31:
        wrong.append(f"Series Number {job.series_number} is no IS")
    return wrong


@dataclass(kw_only=True)
class Series:
    """The assertions over the single-frame images of one derived series.

    sources: in geometric order
    """

    job: Job
    sources: Sequence[Source]
    modality: str = field(init=False)
    row: codes.Output = field(init=False)
    claims: Claims = field(init=False)
    named: frozenset[str] = field(init=False)  # SOP Instance UIDs of all sources
    verbatim: tuple[str, ...] = field(init=False)  # keywords
    seen: dict[str, int] = field(default_factory=dict)  # SOP Instance UID -> index; an image may be checked again

    def __post_init__(self) -> None:
        self.modality, self.row = self.sources[0].modality, codes.OUTPUTS[self.job.kind]
        self.claims = Claims(job=self.job, sources=self.sources)
        self.named = frozenset(one.sop_instance_uid for one in self.sources).union(
            uid for other in self.job.others for _, uid, _ in other.slices
        )
        other = self.row.lost.union([MOVED] * self.row.finer, [WIDENED] * self.row.rescaled)
        keywords = f"{VERBATIM} {RESCALE if self.modality == 'CT' else ''}".split()
        self.verbatim = tuple(keyword for keyword in keywords if keyword not in other)

    def image(self, written: Part10, index: int) -> list[str]:
        """Violations of image `index` (1..N), as facts without patient data; empty when it may leave."""
        source = self.sources[self.claims.at(index)]
        derived = written.dataset
        return [
            *labels(self.job, derived),
            *(self._elements(derived)),
            *self._identity(written, source.dataset, index),
            *self._references(derived, index),
            *leftovers(derived),
            *self._pixels(derived, source.dataset),
            *self._place(derived, index),
            *self.claims.rises(index),
        ]

    def identifies(self, uid: str, index: int) -> Iterator[str]:
        """What is wrong with the SOP Instance UID of image `index`."""
        if not uids.is_well_formed(uid):
            yield "the SOP Instance UID is no UID"
        if uid in self.named or self.seen.setdefault(uid, index) != index:
            yield "the SOP Instance UID is that of another instance"

    def _elements(self, derived: Dataset) -> Iterator[str]:
        for keyword, text in self.job.elements.items():
            if part10.values(derived, keyword) != (text,):
                yield f"{keyword} is not what the job says"
        yield from comments(self.job, part10.raw(derived, 0x00204000) or b"")
        if part10.values(derived, "ImageType") != self.job.image_type:
            yield "Image Type is not what the job says"
        if self.modality == "MR" and any(tag in keep.CLASSIC["MR"].dropped for tag in part10.elements(derived)):
            yield "an MR image states a rescale"
        for keyword in self.row.lost:
            if keyword in derived:
                yield f"{keyword} is not true of {self.job.kind}"

    def _pixels(self, derived: Dataset, source: Dataset) -> Iterator[str]:
        """Bits, window, and the words in the overlay."""
        stored, high = part10.text(derived, "BitsStored"), part10.text(derived, "HighBit")
        if self.row.rescaled:
            if stored not in (part10.text(source, "BitsStored"), "16") or high != str(int(stored) - 1):
                yield f"Bits Stored {stored} and High Bit {high} do not agree"
            if any(len(part10.values(derived, keyword) or ()) != 1 for keyword in ("WindowCenter", "WindowWidth")):
                yield "the window is not the one of the series"
            if "WindowCenterWidthExplanation" in derived or "VOILUTFunction" in derived:
                yield "the window is still explained as that of the source"
        planes = {int(tag) for tag in part10.elements(derived) if 0x6000 <= tag.group <= 0x60FF}
        wanted: dict[int, bytes] = {}
        if self.row.overlay:
            rows, columns = (int(part10.text(derived, keyword)) for keyword in ("Rows", "Columns"))
            wanted = raw.values(template.data_set(overlay.elements(self.row.overlay, rows, columns)))
        if planes != wanted.keys() or any(part10.raw(derived, tag) != value for tag, value in wanted.items()):
            yield "the overlay is not the one that marks this kind of image"

    def _place(self, derived: Dataset, index: int) -> Iterator[str]:
        if self.row.body_part and not any(part10.text(derived, keyword) for keyword in _PART_OR_SIDE):
            yield "Body Part Examined is not stated"
        if not self.row.finer:
            return
        yield from self.claims.place(part10.values(derived, MOVED) or (), index)
        finer = Finer.of(self.sources, self.job.factor)
        stated = {part10.text(derived, keyword) for keyword in ("SliceThickness", "SpacingBetweenSlices")}
        if stated != {decimal(finer.spacing_mm)} or f"{finer.spacing_mm:.3g}mm spacing" not in self.job.marker:
            yield "thickness, spacing and Series Description are not those of the images"
        if (part10.raw(derived, LOCATION) or b"") != finer.elements(index).get(LOCATION, b"")[8:]:
            yield "Slice Location is not that of the image"

    def _identity(self, written: Part10, source: Dataset, index: int) -> Iterator[str]:
        derived = written.dataset
        for keyword in self.verbatim:
            if (part10.values(derived, keyword) or ()) != (part10.values(source, keyword) or ()):
                yield f"{keyword} is not that of the source"
        uid, series = written.sop_instance_uid, part10.text(derived, "SeriesInstanceUID")
        yield from self.identifies(uid, index)
        if not uids.is_well_formed(series):
            yield "the Series Instance UID is no UID"
        if series == part10.text(source, "SeriesInstanceUID"):
            yield "the Series Instance UID is that of the source"
        if written.sop_class_uid != codes.CLASSIC[self.modality] or part10.text(derived, "SOPInstanceUID") != uid:
            yield "File Meta Information and data set do not agree"
        if part10.text(derived, "InstanceNumber") != str(index):
            yield f"Instance Number is not {index}"

    def _references(self, derived: Dataset, index: int) -> Iterator[str]:
        items = part10.items(derived, "SourceImageSequence")
        yield from self.claims.source_images(items, index)
        if index == 1:  # the sequence is encoded once and is the same in every image of the series
            listed = {
                part10.text(instance, "ReferencedSOPInstanceUID")
                for item in part10.items(derived, "ReferencedSeriesSequence")
                for instance in part10.items(item, "ReferencedInstanceSequence")
            }
            if not listed.issuperset(self.named):
                yield "Referenced Series Sequence does not list every source"


def labels(job: Job, derived: Dataset, derivation: Dataset | None = None) -> Iterator[str]:
    """What is wrong with what an object of either form says of itself (DICOM_SPEC 1.1).

    derivation: where it says what was done, if not at its root
    """
    types = part10.values(derived, "ImageType") or ()
    if types[:1] != ("DERIVED",):
        yield f"Image Type is {'/'.join(types)}"
    if not all(_CODE_STRING.fullmatch(value) for value in types):
        yield "a value of Image Type is no code string"
    if part10.values(derived, "SyntheticData") != (("YES",) if job.synthetic else ("NO",)):
        yield "Synthetic Data is not what the job says"
    if part10.text(derived, "ContentQualification") not in ("RESEARCH", "PRODUCT", "SERVICE"):
        yield "Content Qualification has no defined value"
    if part10.text(derived, "Manufacturer") != codes.VENDOR or part10.text(derived, "DeviceUID") != codes.DEVICE_UID:
        yield "General Equipment does not name the node"
    description = part10.raw(derived, 0x0008103E) or b""
    if not description.startswith(job.marker.encode("ascii")):
        yield "Series Description does not open with the marker"
    # 64 characters; a character has at most 4 bytes, and ISO 2022 adds escapes of at most 4 bytes around each.
    if len(description) > LONGEST_DESCRIPTION * 12:
        yield f"Series Description has {len(description)} bytes"
    described = part10.raw(derived if derivation is None else derivation, 0x00082111) or b""
    if not 0 < len(described) <= LONGEST_DERIVATION:
        yield "Derivation Description is empty or too long"
    if any(text.encode("ascii") not in described for text in (job.note, codes.OUTPUTS[job.kind].remark)):
        yield "Derivation Description does not say what its reader has to know"
    lossy = part10.values(derived, "LossyImageCompression")
    if lossy not in (("00",), ("01",)):
        yield "Lossy Image Compression is not stated"
    if lossy == ("01",) and not (
        part10.values(derived, "LossyImageCompressionRatio") and part10.values(derived, "LossyImageCompressionMethod")
    ):
        yield "Lossy Image Compression is 01 without ratio and method"


def comments(job: Job, comment: bytes) -> Iterator[str]:
    """What is wrong with Image Comments (0020,4000)."""
    if job.cautions and not comment.startswith(wording.CAUTION.encode("ascii")):
        yield "Image Comments do not open with the caution"
    if codes.OUTPUTS[job.kind].comment.encode("ascii") not in comment:
        yield "Image Comments do not say what the image is"


def leftovers(derived: Dataset) -> Iterator[str]:
    """Elements of the source that no derived object may have, and private ones that are not ours."""
    for tag in part10.elements(derived):
        number = int(tag)  # a range finds a plain int at once, and searches for anything else
        if number in keep.MUST_BE_GONE or (number in keep.PERFORMED_STEP and number != keep.REQUEST_ATTRIBUTES):
            yield f"{tag} is left over from the source"
        if tag.group % 2 and not keep.is_ours(number):
            yield f"the private element {tag} is not ours"
    creator = part10.raw(derived, codes.PRIVATE_GROUP << 16 | 0x0010) or b""
    if creator.strip() != codes.PRIVATE_CREATOR.encode("ascii"):
        yield "our private block has no creator"
