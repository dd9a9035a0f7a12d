"""What of a source goes into its derived image: the table of DICOM_SPEC 1.5 as code.

Kept elements are copied as the bytes that came, so that a name in any character set passes unchanged. What is not named
here is kept: exposure, protocol, timing, contrast and position describe the acquisition that the derived image shows.
"""

from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache

from pydicom.datadict import dictionary_has_tag, dictionary_VR, tag_for_keyword
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.tag import BaseTag, Tag

from node.dicom import codes, part10, template
from node.dicom.part10 import Element

# Written anew for every derived image, or said of the node where it was said of the scanner.
REGENERATED = (
    "ImageType InstanceCreationDate InstanceCreationTime InstanceCreatorUID SOPClassUID SOPInstanceUID SeriesDate "
    "ContentDate SeriesTime ContentTime SeriesDescription DerivationDescription SourceImageSequence SeriesInstanceUID "
    "DerivationCodeSequence ReferencedSeriesSequence SeriesNumber InstanceNumber ContributingEquipmentSequence "
    "Manufacturer ManufacturerModelName DeviceSerialNumber SoftwareVersions StationName DeviceUID SyntheticData "
    "ContentQualification CodingSchemeIdentificationSequence PrivateDataElementCharacteristicsSequence "
    "LossyImageCompression LossyImageCompressionRatio LossyImageCompressionMethod"
)
# Equipment of the scanner: it stands in the first item of Contributing Equipment, never at the root (PS3.3 C.7.5.1).
EQUIPMENT = (
    "InstitutionName InstitutionAddress InstitutionCodeSequence InstitutionalDepartmentName "
    "InstitutionalDepartmentTypeCodeSequence UDISequence ManufacturerDeviceClassUID GantryID SpatialResolution "
    "DateOfLastCalibration TimeOfLastCalibration CalibrationDateTime"
)
# No longer true, or true of the source object only.
DROPPED = (
    "LengthToEnd OverlayDate CurveDate OverlayTime CurveTime QueryRetrieveView RetrieveAETitle InstanceAvailability "
    "SeriesDescriptionCodeSequence PerformingPhysicianName PerformingPhysicianIdentificationSequence OperatorsName "
    "OperatorIdentificationSequence ReferencedPerformedProcedureStepSequence SourceInstanceSequence "
    "ImagesInAcquisition SmallestImagePixelValue LargestImagePixelValue SmallestPixelValueInSeries "
    "LargestPixelValueInSeries SmallestImagePixelValueInPlane LargestImagePixelValueInPlane VOILUTSequence "
    "IconImageSequence StorageMediaFileSetID StorageMediaFileSetUID PixelDataProviderURL SOPInstanceStatus "
    "SOPAuthorizationDateTime SOPAuthorizationComment AuthorizationEquipmentCertificationNumber "
    "DataSetTrailingPadding DigitalSignaturesSequence MACParametersSequence AlternateRepresentationSequence"
)
PERFORMED_STEP = range(0x00400241, 0x00400282)
REQUEST_ATTRIBUTES = 0x00400275  # lies in that range and is kept
BODY_PART = 0x00180015
SECURITY_GROUP = 0x0400  # encrypted attributes, original attributes, MAC


def tags(*keywords: str) -> frozenset[int]:
    """The tags of keywords, which stand in texts parted by blanks."""
    return frozenset(tag for text in keywords for name in text.split() if (tag := tag_for_keyword(name)) is not None)


LEFT_OUT = tags(REGENERATED, EQUIPMENT, DROPPED)
MUST_BE_GONE = tags(EQUIPMENT, DROPPED)

# Type 2 of the modules that the IOD names: present in every image, empty where the source doesn't know.
_TYPE_2 = (
    "StudyDate StudyTime AccessionNumber ReferringPhysicianName PatientName PatientID PatientBirthDate PatientSex "
    "StudyID PositionReferenceIndicator SliceThickness PatientPosition"
)
TYPE_2 = f"{_TYPE_2} KVP AcquisitionNumber"  # of a CT image, PS3.3 A.3
TYPE_2_MR = f"{_TYPE_2} ScanOptions MRAcquisitionType EchoTime EchoTrainLength"  # PS3.3 A.4


@dataclass(frozen=True, kw_only=True)
class Form:
    """What a kind of object makes different in taking over.

    dropped:   tags that its sources may have and it does not take over
    type_2:    keywords that it has, empty if need be
    body_part: Body Part Examined where the source has none; "" to leave it so
    """

    dropped: frozenset[int] = frozenset()
    type_2: tuple[str, ...]
    body_part: str = ""
    has_frames: bool = False  # which say themselves on which side of the body they lie


# An MR image has no Modality LUT: its stored values are what is meant (DICOM_SPEC 1.5).
_NO_MR = tags("RescaleIntercept RescaleSlope RescaleType RealWorldValueMappingSequence")
CLASSIC = {
    "CT": Form(type_2=tuple(TYPE_2.split())),
    "MR": Form(type_2=tuple(TYPE_2_MR.split()), dropped=_NO_MR),
}

# Of the sources' own voxels, and of their own places (DICOM_SPEC 1.5).
WINDOW = tags("WindowCenter WindowWidth WindowCenterWidthExplanation VOILUTFunction")
PLACE = tags("ImagePositionPatient SliceLocation SliceThickness SpacingBetweenSlices")


@cache
def form(row: codes.Output) -> Form:
    """The form of the single-frame images of a kind of output."""
    dropped = tags(*row.lost) | (WINDOW if row.rescaled else frozenset()) | (PLACE if row.finer else frozenset())
    base = CLASSIC[row.modality]
    return replace(base, dropped=base.dropped | dropped, body_part=row.body_part)


# Said anew of the object that holds all frames, or true of the source object only.
_OF_THE_FRAMES = tags(
    "SharedFunctionalGroupsSequence PerFrameFunctionalGroupsSequence NumberOfFrames DimensionOrganizationSequence "
    "DimensionIndexSequence DimensionOrganizationType PixelPresentation VolumetricProperties "
    "VolumeBasedCalculationTechnique SourceImageEvidenceSequence ConcatenationUID InConcatenationNumber "
    "InConcatenationTotalNumber ConcatenationFrameOffsetNumber SOPInstanceUIDOfConcatenationSource "
    "ReferencedRawDataSequence RedPaletteColorLookupTableDescriptor GreenPaletteColorLookupTableDescriptor "
    "BluePaletteColorLookupTableDescriptor RedPaletteColorLookupTableData GreenPaletteColorLookupTableData "
    "BluePaletteColorLookupTableData PaletteColorLookupTableUID RealWorldValueMappingSequence"
)
ENHANCED = Form(
    type_2=tuple(_TYPE_2.replace(" SliceThickness PatientPosition", "").split()),  # PS3.3 A.36.2, A.38.1
    dropped=_OF_THE_FRAMES,
    has_frames=True,
)

# Single structures of PS3.16 annex L, table L-1, where Laterality (0020,0060) has to be absent.
_UNPAIRED = (
    "ABDOMEN ABDOMENPELVIS AORTA BLADDER BRAIN CHEST CHESTABDOMEN CHESTABDPELVIS COCCYX COLON CORONARYARTERY CSPINE "
    "CTSPINE DUODENUM ESOPHAGUS FACE GALLBLADDER HEAD HEADNECK HEART ILEUM JAW JEJUNUM LARYNX LIVER LSPINE LSSPINE "
    "MAXILLA MEDIASTINUM NECK NECKCHEST NECKCHESTABDOMEN NECKCHESTABDPELV NOSE PANCREAS PELVIS PHARYNX PROSTATE "
    "RECTUM SKULL SPINE SPLEEN SSPINE STERNUM STOMACH THYMUS THYROID TLSPINE TONGUE TRACHEA TSPINE UTERUS WHOLEBODY"
)
UNPAIRED = frozenset(_UNPAIRED.split())


def is_kept(tag: int) -> bool:
    """Whether an element of a source stands in the derived image as it came."""
    group, number = tag >> 16, tag & 0xFFFF
    return not (
        group % 2
        or number == 0
        or group < 0x0008
        or group == SECURITY_GROUP
        or 0x5000 <= group <= 0x50FF  # curves
        or 0x6000 <= group <= 0x60FF  # overlays
        or group >= 0x7FE0
        or (tag in PERFORMED_STEP and tag != REQUEST_ATTRIBUTES)
        or tag in LEFT_OUT
    )


def kept(source: Dataset, *, signed: bool, form: Form) -> Dataset:
    """The elements that a derived image takes over, as raw Explicit VR Little Endian elements.

    signed:  Pixel Representation (0028,0103) of the source, for values that are "US or SS"
    raises:  Refuse if a sequence can't be read
    """
    taken: dict[BaseTag, Element] = {}
    for tag, element in sorted(part10.elements(source).items()):
        if is_kept(int(tag)) and int(tag) not in form.dropped:
            taken[tag] = written(tag, element, signed)
    for number in _unwanted(taken, source, form):
        del taken[BaseTag(number)]
    for keyword in _missing(taken, source, form):
        taken[Tag(keyword)] = _empty(keyword)
    if lacks_body_part(source, form):
        taken[Tag("BodyPartExamined")] = _body_part(form)
    return part10.dataset_of(taken)


_CONDITIONAL = ("Laterality", "InversionTime")


class Keeper:
    """What `kept` takes, encoded, from source after source of one series: the same bytes are looked at once."""

    def __init__(self, form: Form) -> None:
        self._form = form
        self._known: dict[tuple[int, str | None, bytes | None, bool], bytes | None] = {}
        self._empty = {keyword: _encoded(_empty(keyword)) for keyword in (*form.type_2, *_CONDITIONAL)}

    def encoded(self, elements: Mapping[int, Element], source: Dataset, *, signed: bool) -> dict[int, bytes]:
        """Tag -> the whole element, Explicit VR Little Endian.

        elements, source: the same header, as a plain mapping and as a data set
        raises:           Refuse if a sequence can't be read
        """
        found: dict[int, bytes] = {}
        for tag, element in elements.items():
            if isinstance(element, RawDataElement):
                key = (tag, element.VR, element.value, signed)
                if key not in self._known:
                    self._known[key] = self._encode(tag, element, signed)
                encoded = self._known[key]
            else:
                encoded = self._encode(tag, element, signed)
            if encoded is not None:
                found[tag] = encoded
        for tag in _unwanted(found, source, self._form):
            del found[tag]
        for keyword in _missing(found, source, self._form):
            found[_number(keyword)] = self._empty[keyword]
        if lacks_body_part(source, self._form):
            found[BODY_PART] = _encoded(_body_part(self._form))
        return found

    def _encode(self, tag: int, element: Element, signed: bool) -> bytes | None:
        if not is_kept(tag) or tag in self._form.dropped:
            return None
        return _encoded(written(BaseTag(tag), element, signed))


def _encoded(element: Element) -> bytes:
    return template.encode(part10.dataset_of({BaseTag(element.tag): element}))[int(element.tag)]


@cache
def _number(keyword: str) -> int:
    return int(Tag(keyword))


def _unwanted(taken: Container[int], source: Dataset, form: Form) -> Iterator[int]:
    # An empty Specific Character Set is not allowed (Type 1C, PS3.3 C.12.1); it means what an absent one means.
    if 0x00080005 in taken and not part10.raw(source, 0x00080005):
        yield 0x00080005
    # A head has no side; where the node says that it is one, an empty side is no longer unknown (PS3.3 C.7.3.1).
    if _number("Laterality") in taken and lacks_body_part(source, form):
        yield _number("Laterality")


def lacks_body_part(source: Dataset, form: Form) -> bool:
    """Whether the node says for a source which part of the body it shows: where neither that nor a side is stated."""
    stated = part10.text(source, "BodyPartExamined") or part10.text(source, "Laterality")
    return bool(form.body_part) and not stated and not part10.text(source, "ImageLaterality")


def _body_part(form: Form) -> RawDataElement:
    value = form.body_part.encode("ascii")
    value += b" " * (len(value) % 2)
    return RawDataElement(Tag(BODY_PART), "CS", len(value), value, 0, False, True)


def _missing(taken: Container[int], source: Dataset, form: Form) -> Iterator[str]:
    yield from (keyword for keyword in form.type_2 if _number(keyword) not in taken)
    # Type 2C: where nobody says that the body part is single, the side is stated as unknown instead of left open.
    if (
        not form.has_frames
        and _number("Laterality") not in taken
        and _number("ImageLaterality") not in taken
        and not lacks_body_part(source, form)
        and part10.text(source, "BodyPartExamined") not in UNPAIRED
    ):
        yield "Laterality"
    # Type 2C of an MR image: where the sequence inverts, the time is stated, as unknown if need be (PS3.3 C.8.3.1).
    if _number("InversionTime") not in taken and "IR" in (part10.values(source, "ScanningSequence") or ()):
        yield "InversionTime"


def copied(item: Dataset, *, signed: bool = False, dropped: frozenset[int] = frozenset()) -> Dataset:
    """A sequence item with its standard elements as raw Explicit VR Little Endian elements; private ones are left."""
    return part10.dataset_of(
        {
            tag: written(tag, element, signed)
            for tag, element in sorted(part10.elements(item).items())
            if tag.group % 2 == 0 and tag.element and int(tag) not in dropped
        }
    )


def _empty(keyword: str) -> RawDataElement:
    tag = Tag(keyword)
    return RawDataElement(tag, dictionary_VR(tag), 0, b"", 0, False, True)


def written(tag: BaseTag, element: Element, signed: bool) -> Element:
    """One element as it goes out: Explicit VR Little Endian, with the value bytes that came.

    raises: Refuse if a sequence can't be read
    """
    vr = _vr(tag, element.VR, signed)
    alone = part10.dataset_of({tag: element})
    if vr == "SQ":
        return DataElement(tag, "SQ", Sequence([copied(item, signed=signed) for item in part10.items(alone, int(tag))]))
    value = part10.raw(alone, int(tag)) or b""
    if len(value) % 2:
        value += b"\0" if vr in ("UI", "OB", "UN") else b" "
    if len(value) > 0xFFFE and vr not in ("OB", "OD", "OF", "OL", "OV", "OW", "UC", "UN", "UR", "UT"):
        vr = "UN"  # PS3.5 6.2.2: the only way to write it with an explicit VR
    return RawDataElement(tag, vr, len(value), value, 0, False, True)


def _vr(tag: BaseTag, stated: str | None, signed: bool) -> str:
    vr = stated if stated and stated != "UN" else dictionary_VR(tag) if dictionary_has_tag(tag) else "UN"
    if tag in (0x00280120, 0x00280121):  # padding, whatever the writer called it
        vr = "US or SS"
    if vr.startswith("US or SS"):
        return "SS" if signed else "US"
    return "OW" if " or " in vr else vr


def is_ours(tag: int) -> bool:
    """Whether a private element is one of our block."""
    return tag >> 16 == codes.PRIVATE_GROUP
