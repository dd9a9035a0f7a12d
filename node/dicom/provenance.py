"""What a derived image says of its origin: labels, references, equipment, codes, private block (DICOM_SPEC 1.1 to 1.5).

Our own strings are ASCII, so that they are right in every character set that a source may declare.
"""

import json
import re
from collections.abc import Sequence

from pydicom.dataset import Dataset
from pydicom.tag import Tag

from node.dicom import codes, keep, part10
from node.dicom.codes import Code
from node.dicom.job import Job
from node.dicom.part10 import Part10
from node.dicom.wording import derivation_description, image_comments, local_start, series_description

_DATE_TIME = re.compile(r"[0-9]{8}([0-9]{2}){0,3}(\.[0-9]{1,6})?([+-][0-9]{4})?")  # PS3.5 6.2, DT
_EQUIPMENT = keep.tags(
    "Manufacturer InstitutionName InstitutionAddress StationName InstitutionalDepartmentName ManufacturerModelName "
    "DeviceSerialNumber SoftwareVersions DeviceUID DateOfLastCalibration TimeOfLastCalibration"
)


def common(job: Job, sources: Sequence[Part10], study_uid: str) -> Dataset:
    """What every image of the series says alike.

    sources: in geometric order
    """
    first = sources[0].dataset
    date, time = local_start(job.started, first)
    said = Dataset()
    said.ImageType = list(job.image_type)
    said.InstanceCreationDate = said.SeriesDate = said.ContentDate = date
    said.InstanceCreationTime = said.SeriesTime = said.ContentTime = time
    said.SOPClassUID = codes.CT_IMAGE_STORAGE
    said.SyntheticData = "YES" if job.synthetic else "NO"
    said.Manufacturer = codes.VENDOR
    said.ManufacturerModelName = codes.PRODUCT
    said.StationName = job.station_name
    said.DeviceSerialNumber = job.device_serial
    said.SoftwareVersions = [job.node_version, f"{job.model} {job.model_version}"]
    said.DeviceUID = codes.DEVICE_UID
    said.ContentQualification = "RESEARCH"
    said.DerivationDescription = derivation_description(job, part10.text(first, "SeriesNumber"))
    said.DerivationCodeSequence = [_code(job.derivation)]
    said.ReferencedSeriesSequence = [_series(sources), *_other_series(sources)]
    said.SeriesInstanceUID = job.series_uid(study_uid)
    said.SeriesNumber = job.series_number
    for keyword, text in job.elements.items():
        setattr(said, keyword, text)
    said.CodingSchemeIdentificationSequence = [*_declared(first), _our_scheme()]
    _add_private_block(said, job)
    return part10.dataset_of(part10.elements(said) | {Tag("SeriesDescription"): series_description(job.marker, first)})


def of_image(job: Job, sources: Sequence[Part10], index: int, study_uid: str) -> Dataset:
    """What image `index` (1..N in geometric order) says that its neighbours don't."""
    source = sources[index - 1].dataset
    said = Dataset()
    said.SOPInstanceUID = job.instance_uid(study_uid, index)
    said.InstanceNumber = index
    said.SourceImageSequence = [
        _reference(sources[at], same_place=at == index - 1) for at in _support(index - 1, job.z_support, len(sources))
    ]
    said.ContributingEquipmentSequence = _equipment(job, source)
    if job.cautions:
        said = part10.dataset_of(part10.elements(said) | {Tag("ImageComments"): image_comments(job, source)})
    if part10.text(source, "LossyImageCompression") == "01":  # sticky, PS3.3 C.7.6.1.1.5
        said.LossyImageCompression = "01"
        for keyword in ("LossyImageCompressionRatio", "LossyImageCompressionMethod"):
            setattr(said, keyword, list(part10.values(source, keyword) or ()))
    else:
        said.LossyImageCompression = "00"
    return said


def _support(at: int, reach: int, total: int) -> list[int]:
    """The co-located slice, then every further one within the declared z-support, nearest first."""
    return sorted(range(max(0, at - reach), min(total, at + reach + 1)), key=lambda other: (abs(other - at), other))


def _code(code: Code) -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = code.value, code.scheme, code.meaning
    return item


def _reference(source: Part10, *, same_place: bool) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID = source.sop_class_uid
    item.ReferencedSOPInstanceUID = source.sop_instance_uid
    item.SpatialLocationsPreserved = "YES" if same_place else "NO"
    item.PurposeOfReferenceCodeSequence = [_code(codes.SOURCE_IMAGE)]
    return item


def _series(sources: Sequence[Part10]) -> Dataset:
    item = Dataset()
    item.SeriesInstanceUID = part10.text(sources[0].dataset, "SeriesInstanceUID")
    item.ReferencedInstanceSequence = []
    for source in sources:
        instance = Dataset()
        instance.ReferencedSOPClassUID = source.sop_class_uid
        instance.ReferencedSOPInstanceUID = source.sop_instance_uid
        item.ReferencedInstanceSequence.append(instance)
    return item


def _other_series(sources: Sequence[Part10]) -> list[Dataset]:
    """Series that the source itself refers to, the kept Referenced Image Sequence for one."""
    first = sources[0].dataset
    own = part10.text(first, "SeriesInstanceUID")
    return [item for item in _items(first, "ReferencedSeriesSequence") if part10.text(item, "SeriesInstanceUID") != own]


def _declared(source: Dataset) -> list[Dataset]:
    return [
        item
        for item in _items(source, "CodingSchemeIdentificationSequence")
        if part10.text(item, "CodingSchemeDesignator") != codes.CODING_SCHEME
    ]


def _items(source: Dataset, keyword: str) -> list[Dataset]:
    return [keep.copied(item) for item in part10.items(source, keyword)]


def _our_scheme() -> Dataset:
    item = Dataset()
    item.CodingSchemeDesignator = codes.CODING_SCHEME
    item.CodingSchemeUID = codes.CODING_SCHEME_UID
    item.CodingSchemeName = codes.CODING_SCHEME_NAME
    item.CodingSchemeResponsibleOrganization = codes.VENDOR
    return item


def _equipment(job: Job, source: Dataset) -> list[Dataset]:
    """The scanner, then whoever worked on the source before, then our network (DICOM_SPEC 1.4)."""
    return [_scanner(source), *_items(source, "ContributingEquipmentSequence"), _network(job, source)]


def _scanner(source: Dataset) -> Dataset:
    known = {
        tag: element
        for tag, element in part10.elements(source).items()
        if tag in _EQUIPMENT and (part10.raw(source, int(tag)) or b"").strip(b" \0")
    }
    item = keep.copied(part10.dataset_of(known))
    if "Manufacturer" not in item:
        item.Manufacturer = "UNKNOWN"  # Type 1
    when = part10.text(source, "AcquisitionDateTime")
    if not when and (date := part10.text(source, "AcquisitionDate")):
        when = date + part10.text(source, "AcquisitionTime")
    if _DATE_TIME.fullmatch(when):  # Type 3: a time that is none is left out
        item.ContributionDateTime = when
    item.PurposeOfReferenceCodeSequence = [_code(codes.ACQUISITION_EQUIPMENT)]
    return item


def _network(job: Job, source: Dataset) -> Dataset:
    item = Dataset()
    item.Manufacturer = codes.VENDOR
    item.ManufacturerModelName = job.model
    item.SoftwareVersions = [job.model_version, f"sha256:{job.weights_sha256[:20]}"]
    item.DeviceUID = codes.model_device_uid(job.model, job.model_version, job.weights_sha256)
    item.ContributionDateTime = "".join(local_start(job.started, source))
    item.ContributionDescription = job.operation
    item.PurposeOfReferenceCodeSequence = [_code(job.purpose)]
    return item


def _add_private_block(said: Dataset, job: Job) -> None:
    block = said.private_block(codes.PRIVATE_GROUP, codes.PRIVATE_CREATOR, create=True)
    block.add_new(codes.PRIVATE_WEIGHTS, "LO", job.weights_sha256)
    block.add_new(codes.PRIVATE_PARAMETERS, "UT", json.dumps(job.parameters, sort_keys=True, separators=(",", ":")))
    block.add_new(codes.PRIVATE_INPUT, "LO", job.input_digest)
    block.add_new(codes.PRIVATE_GENERATION, "LO", str(job.generation))
    declared = Dataset()
    declared.PrivateGroupReference = codes.PRIVATE_GROUP
    declared.PrivateCreatorReference = codes.PRIVATE_CREATOR
    declared.BlockIdentifyingInformationStatus = "SAFE"
    said.PrivateDataElementCharacteristicsSequence = [declared]
