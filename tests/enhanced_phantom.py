"""Enhanced and Legacy Converted Enhanced CT and MR objects for the tests: a body in air as frames, plain but complete.

The objects are valid as far as dciodvfy tells, so that a line about what is derived from them is said of our work.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.tag import Tag
from pydicom.uid import UID, ExplicitVRLittleEndian

from tests.dicom_phantom import FRAME, ROOT, STUDY, code, item, slice_of_ct

ENHANCED = {"CT": "1.2.840.10008.5.1.4.1.1.2.1", "MR": "1.2.840.10008.5.1.4.1.1.4.1"}
LEGACY = {"CT": "1.2.840.10008.5.1.4.1.1.2.2", "MR": "1.2.840.10008.5.1.4.1.1.4.4"}
SERIES = f"{ROOT}.20"
DIMENSIONS = f"{ROOT}.21"

_OF_AN_IMAGE = (
    "SpecificCharacterSet StudyDate StudyTime SeriesDate SeriesTime ContentDate ContentTime AccessionNumber "
    "Modality Manufacturer ReferringPhysicianName StudyDescription SeriesDescription ManufacturerModelName "
    "PatientName PatientID PatientBirthDate PatientSex BodyPartExamined PatientPosition StudyInstanceUID StudyID "
    "SeriesNumber FrameOfReferenceUID PositionReferenceIndicator SamplesPerPixel PhotometricInterpretation Rows "
    "Columns BitsAllocated BitsStored HighBit PixelRepresentation DeviceSerialNumber SoftwareVersions"
)
_OF_AN_EXAMINATION = (
    "SpecificCharacterSet StudyDate StudyTime SeriesDate SeriesTime ContentDate ContentTime AccessionNumber "
    "ReferringPhysicianName StudyDescription SeriesDescription PatientName PatientID PatientBirthDate PatientSex "
    "BodyPartExamined PatientPosition ProtocolName StudyID SeriesNumber PositionReferenceIndicator SamplesPerPixel "
    "PhotometricInterpretation Rows Columns BitsAllocated BitsStored HighBit PixelRepresentation"
)

Change = Callable[[Dataset], None]


def enhanced(
    path: Path, *changes: Change, modality: str = "CT", frames: int = 6, first: int = 0, number: int = 1, **shape: Any
) -> str:
    """Write one Enhanced object whose frames rise along the normal; returns its path as text.

    first:  where its first frame lies in the stack, so that several objects may continue each other
    number: of the object in its series
    """
    slices = [slice_of_ct(first + index, **shape) for index in range(frames)]
    ds = _root(slices[0], modality, number)
    ds.NumberOfFrames = frames
    ds.SharedFunctionalGroupsSequence = [_shared(slices[0], modality)]
    ds.PerFrameFunctionalGroupsSequence = [
        _of_frame(one, modality, index, first) for index, one in enumerate(slices, start=1)
    ]
    pixels = np.stack([np.frombuffer(one.PixelData, "<u2") for one in slices])
    ds.PixelData = pixels.tobytes()
    for change in changes:
        change(ds)
    return save(ds, path, ENHANCED[modality])


def save(ds: Dataset, path: Path, sop_class_uid: str) -> str:
    """Write an object as a Part 10 file of a class."""
    ds.SOPClassUID = sop_class_uid
    ds.file_meta = FileMetaDataset()
    ds.file_meta.MediaStorageSOPClassUID = UID(sop_class_uid)
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    path.parent.mkdir(parents=True, exist_ok=True)
    ds.save_as(path, enforce_file_format=True, implicit_vr=False, little_endian=True)
    return str(path)


def legacy(path: Path, slices: Sequence[Dataset], modality: str = "CT") -> str:
    """Write what a converter makes of single-frame images (PS3.3 A.70): what has no group is unassigned, as it came."""
    first = slices[0]
    ds = Dataset()
    for keyword in _OF_AN_IMAGE.split():
        if keyword in first:
            setattr(ds, keyword, first[keyword].value)
    ds.SOPInstanceUID, ds.SeriesInstanceUID, ds.InstanceNumber = f"{SERIES}.90", f"{ROOT}.29", 1
    ds.ImageType = ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"]
    ds.PixelPresentation, ds.VolumetricProperties = "MONOCHROME", "VOLUME"
    ds.VolumeBasedCalculationTechnique = "NONE"
    ds.BurnedInAnnotation, ds.LossyImageCompression, ds.PresentationLUTShape = "NO", "00", "IDENTITY"
    ds.NumberOfFrames, ds.AcquisitionContextSequence = len(slices), []
    unassigned = item()
    for keyword in ("ConvolutionKernel", "KVP", "ProtocolName", "ScanningSequence", "SequenceVariant", "EchoTime"):
        if keyword in first:
            setattr(unassigned, keyword, first[keyword].value)
    shared = item(UnassignedSharedConvertedAttributesSequence=[unassigned])
    shared.PixelValueTransformationSequence = [item(RescaleIntercept="-1024", RescaleSlope="1", RescaleType="HU")]
    shared.FrameVOILUTSequence = [item(WindowCenter="40", WindowWidth="400")]
    ds.SharedFunctionalGroupsSequence = [shared]
    groups = []
    for number, one in enumerate(slices, start=1):
        own = item(XRayTubeCurrent=one.XRayTubeCurrent) if "XRayTubeCurrent" in one else item()
        group = _of_frame(one, modality, number, 0)
        group.pop("CTExposureSequence", None)
        del group.FrameContentSequence[0].DimensionIndexValues
        group.PixelMeasuresSequence = [item(PixelSpacing=one.PixelSpacing, SliceThickness=one.SliceThickness)]
        group.PlaneOrientationSequence = [item(ImageOrientationPatient=one.ImageOrientationPatient)]
        group.UnassignedPerFrameConvertedAttributesSequence = [own]
        groups.append(group)
    ds.PerFrameFunctionalGroupsSequence = groups
    ds.PixelData = b"".join(one.PixelData for one in slices)
    return save(ds, path, LEGACY[modality])


def _root(first: Dataset, modality: str, number: int) -> Dataset:
    ds = Dataset()
    for keyword in _OF_AN_EXAMINATION.split():
        setattr(ds, keyword, first[keyword].value)
    ds.ImageType = ["ORIGINAL", "PRIMARY", "VOLUME" if modality == "CT" else "T1", "NONE"]
    ds.SOPInstanceUID, ds.StudyInstanceUID, ds.SeriesInstanceUID = f"{SERIES}.{number}", STUDY, SERIES
    ds.FrameOfReferenceUID, ds.Modality, ds.InstanceNumber = FRAME, modality, number
    ds.Manufacturer, ds.ManufacturerModelName = "SCANNER WORKS", "Multi 9"
    ds.DeviceSerialNumber, ds.SoftwareVersions, ds.InstitutionName = "S-99", ["v1", "v2"], "Test Institution"
    ds.AcquisitionNumber, ds.AcquisitionDateTime, ds.AcquisitionDuration = 1, "20250102100130.5", 4.5
    ds.PixelPresentation, ds.VolumetricProperties = "MONOCHROME", "VOLUME"
    ds.VolumeBasedCalculationTechnique, ds.ContentQualification = "NONE", "PRODUCT"
    ds.BurnedInAnnotation, ds.LossyImageCompression, ds.PresentationLUTShape = "NO", "00", "IDENTITY"
    ds.AcquisitionContextSequence = []
    organization = item(DimensionOrganizationUID=DIMENSIONS)
    ds.DimensionOrganizationSequence = [organization]
    ds.DimensionIndexSequence = [
        item(
            DimensionOrganizationUID=DIMENSIONS,
            DimensionIndexPointer=Tag(keyword),
            FunctionalGroupPointer=Tag("FrameContentSequence"),
        )
        for keyword in ("StackID", "InStackPositionNumber")
    ]
    ds.private_block(0x0029, "SCANNER WORKS PRIVATE", create=True).add_new(1, "LO", "private")
    if modality == "CT":
        ds.MultienergyCTAcquisition = "NO"
        return ds
    ds.ComplexImageComponent, ds.AcquisitionContrast = "MAGNITUDE", "T1"
    ds.MagneticFieldStrength, ds.ResonantNucleus, ds.ApplicableSafetyStandardAgency = "3", "1H", "IEC"
    ds.KSpaceFiltering, ds.PulseSequenceName, ds.MRAcquisitionType = "NONE", "FLASH", "3D"
    ds.EchoPulseSequence, ds.MultiPlanarExcitation = "GRADIENT", "NO"
    ds.PhaseContrast, ds.TimeOfFlightContrast = "NO", "NO"
    ds.SteadyStatePulseSequence, ds.EchoPlanarPulseSequence = "LONGITUDINAL", "NO"
    ds.SaturationRecovery, ds.SpectrallySelectedSuppression, ds.OversamplingPhase = "NO", "FAT", "NONE"
    ds.GeometryOfKSpaceTraversal, ds.SegmentedKSpaceTraversal = "RECTILINEAR", "SINGLE"
    ds.RectilinearPhaseEncodeReordering, ds.CoverageOfKSpace = "LINEAR", "FULL"
    ds.NumberOfKSpaceTrajectories = 1
    return ds


def _shared(first: Dataset, modality: str) -> Dataset:
    shared = item(
        PixelMeasuresSequence=[
            item(PixelSpacing=first.PixelSpacing, SliceThickness="2", SpacingBetweenSlices="2"),
        ],
        PlaneOrientationSequence=[item(ImageOrientationPatient=first.ImageOrientationPatient)],
        FrameAnatomySequence=[item(FrameLaterality="U", AnatomicRegionSequence=[code("69536005", "SCT", "Head")])],
        FrameVOILUTSequence=[item(WindowCenter="40", WindowWidth="400")],
    )
    shared.private_block(0x0029, "SCANNER WORKS PRIVATE", create=True).add_new(2, "LO", "private")
    if modality == "CT":
        shared.PixelValueTransformationSequence = [item(RescaleIntercept="-1024", RescaleSlope="1", RescaleType="HU")]
        shared.CTAcquisitionTypeSequence = [
            item(AcquisitionType="SPIRAL", ConstantVolumeFlag="NO", FluoroscopyFlag="NO")
        ]
        shared.CTAcquisitionDetailsSequence = [
            item(
                RotationDirection="CW", RevolutionTime=0.5, SingleCollimationWidth=0.6, TotalCollimationWidth=38.4,
                TableHeight="120", GantryDetectorTilt="0", DataCollectionDiameter="500",
            )
        ]  # fmt: skip
        shared.CTTableDynamicsSequence = [item(TableSpeed=40.0, TableFeedPerRotation=20.0, SpiralPitchFactor=0.8)]
        shared.CTGeometrySequence = [item(DistanceSourceToDetector="1085", DistanceSourceToDataCollectionCenter=595.0)]
        shared.CTReconstructionSequence = [
            item(
                ReconstructionAlgorithm="FILTER_BACK_PROJ", ConvolutionKernel=["Hr40", "3"],
                ConvolutionKernelGroup="SOFT_TISSUE", ReconstructionDiameter="250", ReconstructionAngle=360.0,
                ReconstructionPixelSpacing=[0.5, 0.5], ImageFilter="NONE",
            )
        ]  # fmt: skip
        shared.CTXRayDetailsSequence = [item(KVP="120", FocalSpots="0.6", FilterType="WEDGE", FilterMaterial="TEFLON")]
        shared.CTPositionSequence = [
            item(
                TablePosition=100.0, DataCollectionCenterPatient=[0.0, 0.0, 60.0],
                ReconstructionTargetCenterPatient=[0.0, 0.0, 60.0],
            )
        ]  # fmt: skip
        return shared
    shared.PixelValueTransformationSequence = [item(RescaleIntercept="-10", RescaleSlope="0.5", RescaleType="US")]
    shared.MRTimingAndRelatedParametersSequence = [
        item(
            RepetitionTime="9.5", FlipAngle="8", EchoTrainLength="1", RFEchoTrainLength=1, GradientEchoTrainLength=1,
            SpecificAbsorptionRateSequence=[
                item(SpecificAbsorptionRateDefinition="IEC_HEAD", SpecificAbsorptionRateValue=0.1)
            ],
            GradientOutputType="DB_DT", GradientOutput=40.0,
            OperatingModeSequence=[
                item(OperatingModeType="GRADIENT", OperatingMode="IEC_NORMAL")
            ],
        )
    ]  # fmt: skip
    shared.MREchoSequence = [item(EffectiveEchoTime=4.6)]
    shared.MRModifierSequence = [
        item(
            InversionRecovery="NO", FlowCompensation="NONE", Spoiling="RF", T2Preparation="NO",
            SpectrallySelectedExcitation="NONE", SpatialPresaturation="NONE", PartialFourier="NO",
            ParallelAcquisition="NO",
        )
    ]  # fmt: skip
    shared.MRImagingModifierSequence = [
        item(
            MagnetizationTransfer="NONE", BloodSignalNulling="NO", Tagging="NONE", TransmitterFrequency=123.25,
            PixelBandwidth=241.0,
        )
    ]  # fmt: skip
    shared.MRFOVGeometrySequence = [
        item(
            InPlanePhaseEncodingDirection="COLUMN", MRAcquisitionFrequencyEncodingSteps=40,
            MRAcquisitionPhaseEncodingStepsInPlane=48, MRAcquisitionPhaseEncodingStepsOutOfPlane=6,
            PercentSampling="100", PercentPhaseFieldOfView="100",
        )
    ]  # fmt: skip
    shared.MRAveragesSequence = [item(NumberOfAverages=1.5)]
    shared.MRReceiveCoilSequence = [
        item(
            ReceiveCoilName="HEAD32", ReceiveCoilManufacturerName="SCANNER WORKS", ReceiveCoilType="MULTICOIL",
            QuadratureReceiveCoil="NO", MultiCoilDefinitionSequence=[
                item(MultiCoilElementName="E1", MultiCoilElementUsed="YES")
            ],
        )
    ]  # fmt: skip
    shared.MRTransmitCoilSequence = [
        item(TransmitCoilName="BODY", TransmitCoilManufacturerName="SCANNER WORKS", TransmitCoilType="BODY")
    ]
    return shared


def _of_frame(one: Dataset, modality: str, index: int, first: int) -> Dataset:
    at = first + index
    group = item(
        FrameContentSequence=[
            item(
                FrameAcquisitionNumber=1, FrameReferenceDateTime=f"2025010210{1 + at // 60:02d}{at % 60:02d}",
                FrameAcquisitionDateTime=f"2025010210{1 + at // 60:02d}{at % 60:02d}.5", FrameAcquisitionDuration=500.0,
                StackID="1", InStackPositionNumber=at, DimensionIndexValues=[1, at],
            )
        ],
        PlanePositionSequence=[item(ImagePositionPatient=one.ImagePositionPatient)],
    )  # fmt: skip
    kind = item(
        FrameType=["ORIGINAL", "PRIMARY", "VOLUME" if modality == "CT" else "T1", "NONE"],
        PixelPresentation="MONOCHROME",
        VolumetricProperties="VOLUME",
        VolumeBasedCalculationTechnique="NONE",
    )
    if modality == "CT":
        group.CTImageFrameTypeSequence = [kind]
        group.IrradiationEventIdentificationSequence = [item(IrradiationEventUID=f"{ROOT}.8")]
        group.CTExposureSequence = [
            item(
                ExposureTimeInms=500.0, XRayTubeCurrentInmA=100.25 + at, ExposureInmAs=50.5,
                ExposureModulationType="NONE", CTDIvol=21.5,
                CTDIPhantomTypeCodeSequence=[code("113691", "DCM", "IEC Body Dosimetry Phantom")],
            )
        ]  # fmt: skip
    else:
        kind.ComplexImageComponent, kind.AcquisitionContrast = "MAGNITUDE", "T1"
        group.MRImageFrameTypeSequence = [kind]
    return group
