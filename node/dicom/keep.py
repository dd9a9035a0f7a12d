"""What of a source goes into its derived image: the table of DICOM_SPEC 1.5 as code.

Kept elements are copied as the bytes that came, so that a name in any character set passes unchanged. What is not named
here is kept: exposure, protocol, timing, contrast and position describe the acquisition that the derived image shows.
"""

from collections.abc import Iterator

from pydicom.datadict import dictionary_has_tag, dictionary_VR, tag_for_keyword
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.tag import BaseTag, Tag

from node.dicom import codes, part10
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
SECURITY_GROUP = 0x0400  # encrypted attributes, original attributes, MAC


def tags(*keywords: str) -> frozenset[int]:
    """The tags of keywords, which stand in texts parted by blanks."""
    return frozenset(tag for text in keywords for name in text.split() if (tag := tag_for_keyword(name)) is not None)


LEFT_OUT = tags(REGENERATED, EQUIPMENT, DROPPED)
MUST_BE_GONE = tags(EQUIPMENT, DROPPED)

# Type 2 (PS3.3 A.3 and the modules it names): present in every CT image, empty where the source doesn't know.
TYPE_2 = (
    "StudyDate StudyTime AccessionNumber ReferringPhysicianName PatientName PatientID PatientBirthDate PatientSex "
    "StudyID PositionReferenceIndicator KVP AcquisitionNumber SliceThickness PatientPosition"
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


def kept(source: Dataset, *, signed: bool) -> Dataset:
    """The elements that a derived image takes over, as raw Explicit VR Little Endian elements.

    signed:  Pixel Representation (0028,0103) of the source, for values that are "US or SS"
    raises:  Refuse if a sequence can't be read
    """
    taken = dict(_as_written(source, signed, at_root=True))
    # An empty Specific Character Set is not allowed (Type 1C, PS3.3 C.12.1); it means what an absent one means.
    if not part10.raw(source, 0x00080005):
        taken.pop(Tag("SpecificCharacterSet"), None)
    for keyword in TYPE_2.split():
        taken.setdefault(Tag(keyword), _empty(keyword))
    # Type 2C: where nobody says that the body part is single, the side is stated as unknown instead of left open.
    if part10.text(source, "BodyPartExamined") not in UNPAIRED and Tag("ImageLaterality") not in taken:
        taken.setdefault(Tag("Laterality"), _empty("Laterality"))
    return part10.dataset_of(taken)


def copied(item: Dataset, *, signed: bool = False) -> Dataset:
    """A sequence item with its standard elements as raw Explicit VR Little Endian elements; private ones are left."""
    return part10.dataset_of(dict(_as_written(item, signed)))


def _empty(keyword: str) -> RawDataElement:
    tag = Tag(keyword)
    return RawDataElement(tag, dictionary_VR(tag), 0, b"", 0, False, True)


def _as_written(source: Dataset, signed: bool, *, at_root: bool = False) -> Iterator[tuple[BaseTag, Element]]:
    for tag, element in sorted(part10.elements(source).items()):
        if tag.group % 2 or tag.element == 0 or (at_root and not is_kept(int(tag))):
            continue
        vr = _vr(tag, element.VR, signed)
        if vr == "SQ":
            items = Sequence([copied(item, signed=signed) for item in part10.items(source, int(tag))])
            yield tag, DataElement(tag, "SQ", items)
            continue
        value = part10.raw(source, int(tag)) or b""
        if len(value) % 2:
            value += b"\0" if vr in ("UI", "OB", "UN") else b" "
        if len(value) > 0xFFFE and vr not in ("OB", "OD", "OF", "OL", "OV", "OW", "UC", "UN", "UR", "UT"):
            vr = "UN"  # PS3.5 6.2.2: the only way to write it with an explicit VR
        yield tag, RawDataElement(tag, vr, len(value), value, 0, False, True)


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
