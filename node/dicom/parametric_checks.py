"""Our own assertions on a map, made on the bytes that are to be written (DICOM_SPEC section 5)."""

from collections.abc import Iterator, Sequence

from pydicom.dataset import Dataset

from node.dicom import codes, geometry, maps, part10, uids
from node.dicom.claims import Claims
from node.dicom.job import Job
from node.dicom.multiframe import MultiFrame
from node.dicom.part10 import Part10
from node.dicom.places import Finer, decimal
from node.dicom.source_slices import Source
from node.dicom.validate import labels, leftovers

_ROOT = (
    "PatientName PatientID IssuerOfPatientID PatientBirthDate PatientSex StudyInstanceUID StudyID StudyDate StudyTime "
    "StudyDescription AccessionNumber FrameOfReferenceUID Rows Columns PatientPosition"
)
_DERIVATION, _VALUE_MAPPING, _RESCALE, _WINDOW = 0x00089124, 0x00409096, 0x00289145, 0x00289132


def violations(job: Job, written: Part10, sources: Sequence[Source]) -> list[str]:
    """What is wrong with the object, as facts without patient data; empty when it may leave.

    sources: in geometric order
    """
    derived = written.dataset
    try:
        made = MultiFrame.of(written.sop_class_uid, written.sop_instance_uid, derived)
        return [
            *labels(job, derived, made.groups(1)[_DERIVATION]),
            *leftovers(derived),
            *_identity(job, written, sources),
            *_values(job, made),
            *_frames(job, made, sources),
        ]
    except (geometry.Unreadable, LookupError) as error:
        return [f"the functional groups can't be read: {error}"]


def _identity(job: Job, written: Part10, sources: Sequence[Source]) -> Iterator[str]:
    derived, source = written.dataset, sources[0].dataset
    if part10.values(derived, "ImageType") != maps.IMAGE_TYPE:
        yield "Image Type is not that of a map"
    if part10.values(derived, "SyntheticData") != ("YES",):
        yield "Synthetic Data is not YES"
    for keyword in _ROOT.split():
        if (part10.values(derived, keyword) or ()) != (part10.values(source, keyword) or ()):
            yield f"{keyword} is not that of the source"
    study_uid = part10.text(source, "StudyInstanceUID")
    uid, series = written.sop_instance_uid, part10.text(derived, "SeriesInstanceUID")
    if not (uids.is_well_formed(uid) and uids.is_well_formed(series)):
        yield "the SOP or Series Instance UID is no UID"
    if uid in {one.sop_instance_uid for one in sources} or uid != part10.text(derived, "SOPInstanceUID"):
        yield "the SOP Instance UID is that of another instance"
    if series in (part10.text(source, "SeriesInstanceUID"), job.series_uid(study_uid)):
        yield "the Series Instance UID is that of the images or their source"
    if written.sop_class_uid != maps.SOP_CLASS_UID:
        yield "the SOP Class is not that of a map"
    if codes.CONTRAST.intersection(element.keyword for element in derived):
        yield "a map says something of a contrast agent"
    listed = {
        part10.text(instance, "ReferencedSOPInstanceUID")
        for item in part10.items(derived, "ReferencedSeriesSequence")
        for instance in part10.items(item, "ReferencedInstanceSequence")
    }
    others = {uid for other in job.others for _, uid, _ in other.slices}
    if not listed >= {one.sop_instance_uid for one in sources} | others:
        yield "Referenced Series Sequence does not list every source"


def _values(job: Job, made: MultiFrame) -> Iterator[str]:
    """What the stored values mean, which is said once for all frames."""
    row, shared = maps.MAPS[job.kind], made.shared
    rescale, mapping = shared.get(_RESCALE, Dataset()), shared.get(_VALUE_MAPPING, Dataset())
    if [float(part10.text(rescale, one) or "nan") for one in ("RescaleSlope", "RescaleIntercept")] != [1.0, 0.0]:
        yield "the rescale of a map is not the identity"
    if "RealWorldValueSlope" not in mapping or not mapping.RealWorldValueSlope > 0.0:
        yield "the values of the map have no slope"
    elif (mapping.RealWorldValueIntercept < 0.0) is not row.signed:
        yield "the values of the map begin at the wrong end"
    units = part10.items(mapping, "MeasurementUnitsCodeSequence")
    if [part10.text(one, "CodeValue") for one in units] != [row.unit.value]:
        yield "the values of the map have another unit"
    concepts = [
        part10.text(code, "CodeValue")
        for quantity in part10.items(mapping, "QuantityDefinitionSequence")
        for code in part10.items(quantity, "ConceptCodeSequence")
    ]
    if concepts != [row.quantity.value]:
        yield "the values of the map are of another quantity"
    if _WINDOW not in shared:
        yield "the map has no window"


def _frames(job: Job, made: MultiFrame, sources: Sequence[Source]) -> Iterator[str]:
    claims, finer = Claims(job=job, sources=sources), codes.OUTPUTS[job.kind].finer
    measures = made.shared.get(0x00289110, Dataset())
    stated, wanted = (part10.text(one, "SliceThickness") or "nan" for one in (measures, sources[0].dataset))
    if finer:
        wanted = decimal(Finer.of(sources, job.factor).spacing_mm)
    if decimal(float(stated)) != decimal(float(wanted)):
        yield "Slice Thickness is not that of the images"
    if len(made.per_frame) != len(sources) * job.factor:
        yield f"{len(made.per_frame)} frames are made of {len(sources)} slices"
        return
    for index in range(1, len(made.per_frame) + 1):
        groups = made.groups(index)
        items = part10.items(groups[_DERIVATION], "SourceImageSequence")
        yield from (f"frame {index}: {fault}" for fault in claims.source_images(items, index))
        position = part10.values(groups[0x00209113], "ImagePositionPatient") or ()
        if finer:
            yield from (f"frame {index}: {fault}" for fault in claims.place(position, index))
        elif position != part10.values(sources[claims.at(index)].dataset, "ImagePositionPatient"):
            yield f"frame {index} does not lie where its source does"
        if part10.values(groups[0x00209111], "DimensionIndexValues") != (str(index),):
            yield f"frame {index} is not the one at its place"
