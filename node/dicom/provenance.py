"""What a derived image says of its origin: labels, references, equipment, codes, private block (DICOM_SPEC 1.1 to 1.5).

Our own strings are ASCII, so that they are right in every character set that a source may declare.
"""

import json
import re
from collections.abc import Sequence

from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.tag import Tag

from node.dicom import codes, keep, part10, template
from node.dicom.codes import Code
from node.dicom.job import Job, Other
from node.dicom.places import OF_THE_GRID, Places, Reference
from node.dicom.source_slices import Source
from node.dicom.wording import derivation_description, image_comments, local_start, series_description

_DATE_TIME = re.compile(r"[0-9]{8}([0-9]{2}){0,3}(\.[0-9]{1,6})?([+-][0-9]{4})?")  # PS3.5 6.2, DT
_EQUIPMENT = keep.tags(
    "Manufacturer InstitutionName InstitutionAddress StationName InstitutionalDepartmentName ManufacturerModelName "
    "DeviceSerialNumber SoftwareVersions DeviceUID DateOfLastCalibration TimeOfLastCalibration"
)
# All of a source that its equipment items are made of, but the time of the acquisition.
_SEEN = tuple(sorted(_EQUIPMENT | keep.tags("ContributingEquipmentSequence TimezoneOffsetFromUTC")))
_WHEN = "19000101000000"  # stands in an item that is kept, in the place of that time


def common(
    job: Job, sources: Sequence[Source], study_uid: str, *, sop_class_uid: str, form: str = "classic"
) -> Dataset:
    """What every image of the series says alike.

    sources: in geometric order
    """
    first = sources[0].dataset
    date, time = local_start(job.started, first)
    said = Dataset()
    said.ImageType = list(job.image_type)
    said.InstanceCreationDate = said.SeriesDate = said.ContentDate = date
    said.InstanceCreationTime = said.SeriesTime = said.ContentTime = time
    said.SOPClassUID = sop_class_uid
    said.SyntheticData = "YES" if job.synthetic else "NO"
    said.Manufacturer = codes.VENDOR
    said.ManufacturerModelName = codes.PRODUCT
    said.StationName = job.station_name
    said.DeviceSerialNumber = job.device_serial
    said.SoftwareVersions = [job.node_version, f"{job.model} {job.model_version}"]
    said.DeviceUID = codes.DEVICE_UID
    said.ContentQualification = "RESEARCH"
    said.DerivationDescription = derivation_description(job, part10.text(first, "SeriesNumber"))
    said.DerivationCodeSequence = [code_item(job.derivation)]
    own = part10.text(first, "SeriesInstanceUID"), [(one.sop_class_uid, one.sop_instance_uid) for one in sources]
    said.ReferencedSeriesSequence = [_series(*own), *map(_other_role, job.others), *_other_series(sources)]
    said.SeriesInstanceUID = job.series_uid(study_uid, form)
    said.SeriesNumber = job.series_number
    said.CodingSchemeIdentificationSequence = [*_declared(first), _our_scheme()]
    if part10.text(first, "BitsAllocated") == "8":  # a CT or MR image has 16 (PS3.3 C.8.2.1.1.4, C.8.3.1.1.2)
        said.BitsAllocated = 16
    _add_private_block(said, job)
    described = series_description(job.marker, first, echoes=codes.OUTPUTS[job.kind].echoes)
    return part10.dataset_of(part10.elements(said) | {Tag("SeriesDescription"): described})


class Images:
    """What an image says that its neighbours don't: identity, place, sources, equipment, comments, lossy history.

    sources: in geometric order
    """

    def __init__(self, job: Job, sources: Sequence[Source], study_uid: str, places: Places) -> None:
        self._job, self._sources, self._study_uid, self._places = job, sources, study_uid, places
        self._own = [(one.sop_class_uid, one.sop_instance_uid, one.frame) for one in sources]
        self.comment = bool(job.cautions or codes.OUTPUTS[job.kind].comment)
        self._code = template.sequence(0x0040A170, [_joined(code_item(codes.SOURCE_IMAGE))])
        self._items: dict[tuple[bytes, ...], list[bytes]] = {}
        self._comments: dict[bytes, bytes] = {}
        self._references: dict[Reference, bytes] = {}

    def of(self, index: int) -> dict[int, bytes]:
        """Tag -> element of image `index`, 1..N in geometric order."""
        source, element = self._sources[self._places.source(index)], template.element
        said = {
            0x00080018: element(0x00080018, "UI", self._job.instance_uid(self._study_uid, index)),
            0x00200013: element(0x00200013, "IS", str(index)),
            0x00082112: self.source_images(index),
            0x0018A001: template.sequence(0x0018A001, self.equipment(source)),
        }
        if self.comment:
            said[0x00204000] = self.comments(source)
        if self._places.finer is not None:
            said |= self._places.finer.elements(index)
        return said | lossy(source)

    def source_images(self, index: int) -> bytes:
        """Source Image Sequence (0008,2112) of image `index`."""
        return template.sequence(0x00082112, map(self._reference, self._places.references(index)))

    def _reference(self, reference: Reference) -> bytes:
        if reference not in self._references:
            self._references[reference] = self._packed(*reference)
        return self._references[reference]

    def _packed(self, series: int, at: int, same_place: bool) -> bytes:
        slices = self._own if series == OF_THE_GRID else self._job.others[series].slices
        class_uid, instance_uid, frame = slices[at]
        element = template.element
        return (
            element(0x00081150, "UI", class_uid)
            + element(0x00081155, "UI", instance_uid)
            + (element(0x00081160, "IS", str(frame)) if frame else b"")
            + element(0x0028135A, "CS", "YES" if same_place else "NO")
            + self._code
        )

    def comments(self, source: Source) -> bytes:
        """Image Comments (0020,4000): ours, then the source's own."""
        own = part10.raw(source.dataset, 0x00204000) or b""
        if own not in self._comments:
            made = image_comments(self._job, source.dataset)
            self._comments[own] = template.element(0x00204000, "LT", made.value or b"")
        return self._comments[own]

    def equipment(self, source: Source) -> list[bytes]:
        """Items of Contributing Equipment (0018,A001): the scanner, who worked on the source before, our network."""
        header = source.dataset
        when = part10.text(header, "AcquisitionDateTime")
        if not when and (date := part10.text(header, "AcquisitionDate")):
            when = date + part10.text(header, "AcquisitionTime")
        if not _DATE_TIME.fullmatch(when):  # Type 3: a time that is none is left out
            when = ""
        named = [source.elements.get(tag) for tag in _SEEN]
        if any(element is not None and not isinstance(element, RawDataElement) for element in named):
            return self._equipment(header, when)  # a sequence that was taken apart can't be compared
        key = tuple((getattr(element, "value", None) or b"") for element in named)
        if key not in self._items:
            self._items[key] = self._equipment(header, _WHEN)
        ready = template.element(0x0018A002, "DT", when) if when else b""
        scanner, *others = self._items[key]
        return [scanner.replace(template.element(0x0018A002, "DT", _WHEN), ready), *others]

    def _equipment(self, header: Dataset, when: str) -> list[bytes]:
        before = part10.items(header, "ContributingEquipmentSequence")
        items = [_scanner(header, when), *(keep.copied(item) for item in before), _network(self._job, header)]
        return [_joined(item) for item in items]


def lossy(source: Source) -> dict[int, bytes]:
    """Lossy Image Compression (0028,2110) is sticky, with ratio and method (PS3.3 C.7.6.1.1.5)."""
    was = part10.text(source.dataset, "LossyImageCompression") == "01"
    said = {0x00282110: template.element(0x00282110, "CS", "01" if was else "00")}
    for tag, vr in ((0x00282112, "DS"), (0x00282114, "CS")) if was else ():
        if value := part10.raw(source.dataset, tag):
            said[tag] = template.element(tag, vr, value.rstrip(b" \0"))
    return said


def _joined(item: Dataset) -> bytes:
    return template.data_set(template.encode(item))


def code_item(code: Code) -> Dataset:
    """An item of a code sequence (PS3.3 8.1)."""
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = code.value, code.scheme, code.meaning
    return item


def _series(series_uid: str, slices: Sequence[tuple[str, str]]) -> Dataset:
    item = Dataset()
    item.SeriesInstanceUID = series_uid
    item.ReferencedInstanceSequence = []
    for class_uid, instance_uid in dict.fromkeys(slices):
        instance = Dataset()
        instance.ReferencedSOPClassUID = class_uid
        instance.ReferencedSOPInstanceUID = instance_uid
        item.ReferencedInstanceSequence.append(instance)
    return item


def _other_role(other: Other) -> Dataset:
    return _series(other.series_uid, [(class_uid, instance_uid) for class_uid, instance_uid, _ in other.slices])


def _other_series(sources: Sequence[Source]) -> list[Dataset]:
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


def _scanner(source: Dataset, when: str) -> Dataset:
    known = {
        tag: element
        for tag, element in part10.elements(source).items()
        if tag in _EQUIPMENT and (part10.raw(source, int(tag)) or b"").strip(b" \0")
    }
    item = keep.copied(part10.dataset_of(known))
    if "Manufacturer" not in item:
        item.Manufacturer = "UNKNOWN"  # Type 1
    if when:
        item.ContributionDateTime = when
    item.PurposeOfReferenceCodeSequence = [code_item(codes.ACQUISITION_EQUIPMENT)]
    return item


def _network(job: Job, source: Dataset) -> Dataset:
    item = Dataset()
    item.Manufacturer = codes.VENDOR
    item.ManufacturerModelName = job.model
    item.SoftwareVersions = [job.model_version, f"sha256:{job.weights_sha256[:20]}"]
    item.DeviceUID = codes.model_device_uid(job.model, job.model_version, job.weights_sha256)
    item.ContributionDateTime = "".join(local_start(job.started, source))
    item.ContributionDescription = job.operation
    item.PurposeOfReferenceCodeSequence = [code_item(job.purpose)]
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
