"""One frame of an Enhanced or Legacy Converted Enhanced object as the header of the single-frame image it stands for.

The attributes of a single-frame CT or MR (PS3.3 C.8.2.1, C.8.3.1) are built from shared and per-frame functional
groups (C.7.6.16, C.8.13, C.8.15). Text and codes pass as the bytes that came; a number that changes its VR is written
again. An attribute that the object does not know stays away: none is guessed.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset
from pydicom.tag import BaseTag, Tag

from node.dicom import codes, keep, part10
from node.dicom.part10 import Element
from node.errors import Refuse

SHARED, PER_FRAME = 0x52009229, 0x52009230
_LEGACY_EXTRAS = ("UnassignedSharedConvertedAttributesSequence", "UnassignedPerFrameConvertedAttributesSequence")

# What an Enhanced object says at its root in the words of a single-frame image.
_ROOT_GROUPS = frozenset((0x0010, 0x0012, 0x0032, 0x0038))
_ROOT = keep.tags(
    "SpecificCharacterSet StudyDate StudyTime SeriesDate SeriesTime ContentDate ContentTime AccessionNumber "
    "IssuerOfAccessionNumberSequence Modality Manufacturer InstitutionName InstitutionAddress ReferringPhysicianName "
    "ReferringPhysicianIdentificationSequence ReferringPhysicianAddress ReferringPhysicianTelephoneNumbers "
    "ConsultingPhysicianName ConsultingPhysicianIdentificationSequence TimezoneOffsetFromUTC StationName "
    "StudyDescription ProcedureCodeSequence SeriesDescription InstitutionalDepartmentName PhysiciansOfRecord "
    "PhysiciansOfRecordIdentificationSequence NameOfPhysiciansReadingStudy "
    "PhysiciansReadingStudyIdentificationSequence AdmittingDiagnosesDescription AdmittingDiagnosesCodeSequence "
    "ReferencedStudySequence ReferencedSeriesSequence ManufacturerModelName CodingSchemeIdentificationSequence "
    "ContributingEquipmentSequence BodyPartExamined ProtocolName PatientPosition DeviceSerialNumber SoftwareVersions "
    "DeviceUID DateOfLastCalibration TimeOfLastCalibration StudyInstanceUID SeriesInstanceUID StudyID SeriesNumber "
    "FrameOfReferenceUID PositionReferenceIndicator Laterality SynchronizationFrameOfReferenceUID "
    "SynchronizationTrigger TriggerSourceOrType AcquisitionTimeSynchronized TimeSource TimeDistributionProtocol "
    "NTPSourceAddress SamplesPerPixel PhotometricInterpretation Rows Columns BitsAllocated BitsStored HighBit "
    "PixelRepresentation PixelPaddingValue PixelPaddingRangeLimit QualityControlImage BurnedInAnnotation "
    "RecognizableVisualFeatures LossyImageCompression LossyImageCompressionRatio LossyImageCompressionMethod "
    "RequestAttributesSequence PresentationLUTShape SyntheticData ImageType MagneticFieldStrength MRAcquisitionType "
    "DeidentificationMethodCodeSequence PatientIdentityRemoved LongitudinalTemporalInformationModified"
)
# What only a multi-frame object has; the rest of a Legacy Converted one is classic already (PS3.3 A.70.5).
_MULTI_FRAME_ONLY = keep.tags(
    "NumberOfFrames DimensionOrganizationSequence DimensionIndexSequence DimensionOrganizationType PixelPresentation "
    "VolumetricProperties VolumeBasedCalculationTechnique ContentQualification ComplexImageComponent "
    "AcquisitionContrast AcquisitionContextSequence ConcatenationUID InConcatenationNumber "
    "InConcatenationTotalNumber ConcatenationFrameOffsetNumber SOPInstanceUIDOfConcatenationSource "
    "ReferencedImageEvidenceSequence SourceImageEvidenceSequence UnassignedSharedConvertedAttributesSequence "
    "UnassignedPerFrameConvertedAttributesSequence ConversionSourceAttributesSequence "
    "SharedFunctionalGroupsSequence PerFrameFunctionalGroupsSequence"
)

# Functional group -> (attribute in it, attribute of a single-frame image). One name where both are called alike.
_GROUPS: Mapping[str, str] = {
    "PixelMeasuresSequence": "PixelSpacing SliceThickness SpacingBetweenSlices",
    "PlanePositionSequence": "ImagePositionPatient",
    "PlaneOrientationSequence": "ImageOrientationPatient",
    "FrameAnatomySequence": "FrameLaterality:ImageLaterality AnatomicRegionSequence",
    "FrameVOILUTSequence": "WindowCenter WindowWidth WindowCenterWidthExplanation VOILUTFunction",
    "PixelValueTransformationSequence": "RescaleIntercept RescaleSlope RescaleType",
    "IrradiationEventIdentificationSequence": "IrradiationEventUID",
    "CTAcquisitionDetailsSequence": "RotationDirection RevolutionTime SingleCollimationWidth TotalCollimationWidth "
    "TableHeight GantryDetectorTilt DataCollectionDiameter",
    "CTTableDynamicsSequence": "TableSpeed TableFeedPerRotation SpiralPitchFactor",
    "CTGeometrySequence": "DistanceSourceToDetector",
    "CTReconstructionSequence": "ConvolutionKernel ReconstructionDiameter",
    "CTExposureSequence": "ExposureTimeInms:ExposureTime XRayTubeCurrentInmA:XRayTubeCurrent ExposureInmAs:Exposure "
    "ExposureModulationType EstimatedDoseSaving CTDIvol CTDIPhantomTypeCodeSequence",
    "CTXRayDetailsSequence": "KVP FocalSpots FilterType",
    "MRTimingAndRelatedParametersSequence": "RepetitionTime FlipAngle EchoTrainLength",
    "MREchoSequence": "EffectiveEchoTime:EchoTime",
    "MRModifierSequence": "InversionTimes:InversionTime",
    "MRImagingModifierSequence": "PixelBandwidth TransmitterFrequency:ImagingFrequency",
    "MRAveragesSequence": "NumberOfAverages",
    "MRFOVGeometrySequence": "PercentSampling PercentPhaseFieldOfView",
    "MRReceiveCoilSequence": "ReceiveCoilName",
    "MRTransmitCoilSequence": "TransmitCoilName",
}
_NUMBERS = frozenset(("DS", "IS"))
_BINARY = frozenset(("FD", "FL", "US", "SS", "UL", "SL"))
_ENDINGS = {"UI": b"\0", "OB": b"\0", "UN": b"\0"}


@dataclass(frozen=True, kw_only=True)
class MultiFrame:
    """A multi-frame object without its pixels, parsed once for all its frames."""

    sop_class_uid: str
    sop_instance_uid: str
    root: Dataset
    shared: Mapping[int, Dataset]  # functional group sequence -> its item
    per_frame: tuple[Dataset, ...]
    _known: dict[int, dict[int, Element]] = field(default_factory=dict)

    @classmethod
    def of(cls, sop_class_uid: str, sop_instance_uid: str, root: Dataset) -> Self:
        """Take the functional groups of an object apart.

        raises: Refuse if they can't be read or are not one item for each frame
        """
        shared = part10.items(root, SHARED)
        per_frame = tuple(part10.items(root, PER_FRAME))
        stated = part10.text(root, "NumberOfFrames")
        if len(shared) > 1 or not per_frame or stated != str(len(per_frame)):
            shown = "".join(character for character in stated[:8] if character.isdigit())
            raise Refuse(
                f"{len(per_frame)} frames are described, {shown or 'none'} are declared.", fix="Send it again."
            )
        return cls(
            sop_class_uid=sop_class_uid,
            sop_instance_uid=sop_instance_uid,
            root=root,
            shared=_groups(shared[0]) if shared else {},
            per_frame=per_frame,
        )

    @property
    def is_legacy(self) -> bool:
        return codes.MULTI_FRAME[self.sop_class_uid].startswith("Legacy")

    def groups(self, frame: int) -> dict[int, Dataset]:
        """The functional groups that hold for frame 1..N: sequence tag -> its (first) item; shared ones first.

        raises: Refuse if there is no such frame
        """
        if not 1 <= frame <= len(self.per_frame):
            raise Refuse(f"There is no frame {frame} in an object of {len(self.per_frame)}.")
        return dict(self.shared) | _groups(self.per_frame[frame - 1])

    def sequences(self, frame: int) -> dict[int, Element]:
        """The functional groups that hold for frame 1..N as they are: sequence tag -> element; private ones are left.

        raises: Refuse if there is no such frame
        """
        self.groups(frame)
        found: dict[int, Element] = {}
        for item in (*part10.items(self.root, SHARED), self.per_frame[frame - 1]):
            found |= {int(tag): one for tag, one in part10.elements(item).items() if tag.group % 2 == 0}
        return found

    def as_single(self, frame: int) -> dict[int, Element]:
        """The elements of the single-frame image that frame 1..N stands for.

        raises: Refuse if there is no such frame
        """
        if 0 not in self._known:  # of the root: the same for every frame
            self._known[0] = {int(tag): element for tag, element in _root(self.root, legacy=self.is_legacy)}
        found = dict(self._known[0])
        groups = self.groups(frame)
        for keyword in _LEGACY_EXTRAS:
            extras = groups.get(_tag(keyword))
            found |= {} if extras is None else {int(t): e for t, e in part10.elements(extras).items()}
        for name, attributes in _GROUPS.items():
            if (group := groups.get(_tag(name))) is not None:
                for pair in attributes.split():
                    inner, _, outer = pair.partition(":")
                    if (element := _renamed(group, inner, outer or inner)) is not None:
                        found[int(element.tag)] = element
        found |= {int(element.tag): element for element in _frame_content(self.root, groups)}
        if codes.IMAGE_CLASSES[self.sop_class_uid] == "MR":
            found |= {int(e.tag): e for e in _mr(self.root, groups) if int(e.tag) not in found or not self.is_legacy}
        elif not self.is_legacy:
            found |= {int(element.tag): element for element in _agent(self.root)}
        if _tag("ImageLaterality") in found:
            found.pop(_tag("Laterality"), None)  # PS3.3 C.7.3.1: one of the two
        return dict(sorted(found.items()))


def _groups(item: Dataset) -> dict[int, Dataset]:
    found = {}
    for tag in part10.elements(item):
        if tag.group % 2 == 0 and (items := part10.items(item, int(tag))):
            found[int(tag)] = items[0]
    return found


def _root(root: Dataset, *, legacy: bool) -> Iterator[tuple[BaseTag, Element]]:
    for tag, element in part10.elements(root).items():
        number = int(tag)
        if (number not in _MULTI_FRAME_ONLY) if legacy else (tag.group in _ROOT_GROUPS or number in _ROOT):
            yield tag, element


def _renamed(group: Dataset, inner: str, outer: str) -> Element | None:
    """An attribute of a functional group under its name in a single-frame image; None if it has no value."""
    source, target = _tag(inner), _tag(outer)
    element = part10.elements(group).get(BaseTag(source))
    if element is None:
        return None
    if not isinstance(element, RawDataElement) or dictionary_VR(source) == "SQ":
        return element if dictionary_VR(source) == "SQ" else None
    before, after = dictionary_VR(source), dictionary_VR(target)
    if before in _BINARY and after in _NUMBERS:
        return plain(outer, *(_decimal(value, after) for value in part10.values(group, inner) or ()))
    if not element.value:
        return None
    return RawDataElement(BaseTag(target), after, len(element.value), element.value, 0, False, True)


def _decimal(value: str, vr: str) -> str:
    """A binary number as DS (at most 16 characters, PS3.5 6.2) or IS."""
    number = float(value)
    if vr == "IS":
        return str(round(number))
    return next(text for digits in range(17, 0, -1) if len(text := f"{number:.{digits}g}") <= 16 or digits == 1)


def plain(keyword: str, *values: str) -> RawDataElement | None:
    """An element of ASCII values; None without one."""
    if not any(values):
        return None
    tag = Tag(keyword)
    vr = dictionary_VR(tag)
    value = "\\".join(values).encode("ascii")
    value += _ENDINGS.get(vr, b" ") * (len(value) % 2)
    return RawDataElement(tag, vr, len(value), value, 0, False, True)


def _frame_content(root: Dataset, groups: Mapping[int, Dataset]) -> Iterator[Element]:
    content = groups.get(_tag("FrameContentSequence"), Dataset())
    number = part10.text(content, "FrameAcquisitionNumber") or part10.text(root, "AcquisitionNumber")
    when = part10.text(content, "FrameAcquisitionDateTime") or part10.text(root, "AcquisitionDateTime")
    local = when[:-5] if when[-5:-4] in ("+", "-") else when  # DA and TM have no offset (PS3.5 6.2)
    made: list[Element | None] = [
        plain("AcquisitionNumber", number),
        plain("AcquisitionDateTime", when),
        plain("AcquisitionDate", local[:8] if len(local) >= 8 else ""),
        plain("AcquisitionTime", local[8:] if len(local) >= 10 else ""),
    ]
    if references := groups.get(_tag("ReferencedImageSequence")):
        made.append(DataElement(_tag("ReferencedImageSequence"), "SQ", [references]))
    yield from (element for element in made if element is not None)


def _agent(root: Dataset) -> Iterator[Element]:
    """The contrast agent in the words of Contrast/Bolus (PS3.3 C.7.6.4); C.7.6.4b has it coded."""
    agents = part10.items(root, "ContrastBolusAgentSequence")
    if agents:
        yield DataElement(_tag("ContrastBolusAgentSequence"), "SQ", [_code_of(agent) for agent in agents[:1]])
        if (named := _renamed(agents[0], "CodeMeaning", "ContrastBolusAgent")) is not None:
            yield named
        if (volume := _renamed(agents[0], "ContrastBolusVolume", "ContrastBolusVolume")) is not None:
            yield volume


def _code_of(item: Dataset) -> Dataset:
    wanted = keep.tags("CodeValue CodingSchemeDesignator CodingSchemeVersion CodeMeaning LongCodeValue URNCodeValue")
    return part10.dataset_of({tag: element for tag, element in part10.elements(item).items() if int(tag) in wanted})


def _mr(root: Dataset, groups: Mapping[int, Dataset]) -> Iterator[Element]:
    """The pulse sequence in the words of the MR Image module (PS3.3 C.8.3.1), from those of C.8.13.4 to C.8.13.5."""

    def said(keyword: str, *names: str) -> str:
        return next((text for item in (root, *map(find, names)) if (text := part10.text(item, keyword))), "")

    def find(name: str) -> Dataset:
        return groups.get(_tag(name), Dataset())

    modifier = "MRModifierSequence"
    kinds = {"SPIN": ("SE",), "GRADIENT": ("GR",), "BOTH": ("SE", "GR")}.get(said("EchoPulseSequence"), ())
    if said("InversionRecovery", modifier) == "YES":
        kinds += ("IR",)
    if said("EchoPlanarPulseSequence") == "YES":
        kinds += ("EP",)
    steady, kspace = said("SteadyStatePulseSequence"), said("SegmentedKSpaceTraversal")
    variants = {
        "SK": kspace in ("PARTIAL", "FULL"),
        "MTC": said("MagnetizationTransfer", modifier) in ("ON_RESONANCE", "OFF_RESONANCE"),
        "SS": steady in ("FREE_PRECESSION", "TRANSVERSE", "LONGITUDINAL"),
        "TRSS": steady == "TIME_REVERSED",
        "SP": said("Spoiling", modifier) in ("RF", "GRADIENT", "RF_AND_GRADIENT"),
        "OSP": said("OversamplingPhase") in ("2D", "3D", "2D_3D"),
    }
    fourier = said("PartialFourier", modifier) == "YES"
    direction = said("PartialFourierDirection", modifier)
    options = {
        "FC": said("FlowCompensation", modifier) not in ("", "NONE"),
        "PFF": fourier and direction in ("FREQUENCY", "COMBINATION"),
        "PFP": fourier and direction in ("PHASE", "COMBINATION"),
        "SP": said("SpatialPresaturation", modifier) not in ("", "NONE"),
        "FS": "FAT" in said("SpectrallySelectedSuppression", modifier),
    }
    phase = said("InPlanePhaseEncodingDirection", "MRFOVGeometrySequence")
    made: list[Any] = [
        plain("ScanningSequence", *kinds),
        plain("SequenceVariant", *([name for name, true in variants.items() if true] or ["NONE"] * bool(kinds))),
        plain("ScanOptions", *(name for name, true in options.items() if true)),
        plain("InPlanePhaseEncodingDirection", {"ROW": "ROW", "COLUMN": "COL"}.get(phase, "")),
        _renamed(root, "PulseSequenceName", "SequenceName"),
        _renamed(root, "ResonantNucleus", "ImagedNucleus"),
    ]
    yield from (element for element in made if element is not None)


def _tag(keyword: str) -> int:
    tag = tag_for_keyword(keyword)
    assert tag is not None, keyword
    return tag
