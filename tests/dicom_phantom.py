"""A synthetic CT series with everything in its header that a derived image has to keep, to change or to lose."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from node.dicom import decode, derive

CT = "1.2.840.10008.5.1.4.1.1.2"
ROOT = "1.2.826.0.1.3680043.2.1143.77"  # of test objects only
STUDY, SERIES, FRAME = f"{ROOT}.1", f"{ROOT}.2", f"{ROOT}.3"

Change = Callable[[Dataset, int], None]


def item(**values: Any) -> Dataset:
    """A sequence item."""
    made = Dataset()
    for keyword, value in values.items():
        setattr(made, keyword, value)
    return made


def code(value: str, scheme: str, meaning: str) -> Dataset:
    """A code sequence item."""
    return item(CodeValue=value, CodingSchemeDesignator=scheme, CodeMeaning=meaning)


def slice_of_ct(index: int, *, rows: int = 48, columns: int = 40, gap_mm: float = 2.0) -> Dataset:
    """Slice `index` (from 0, rising along the normal) of a body in air, with noise; plain but complete."""
    ds = Dataset()
    ds.SpecificCharacterSet = "ISO_IR 192"
    ds.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL", "HELIX"]
    ds.SOPClassUID, ds.SOPInstanceUID = CT, f"{SERIES}.{index + 1}"
    ds.StudyDate = ds.SeriesDate = ds.AcquisitionDate = ds.ContentDate = "20250102"
    ds.StudyTime, ds.SeriesTime, ds.AcquisitionTime, ds.ContentTime = "100000", "100100", "100130.5", "100200"
    ds.AccessionNumber = "ACC-7"
    ds.Modality = "CT"
    ds.Manufacturer, ds.ManufacturerModelName = "SCANNER WORKS", "Spiral 9"
    ds.InstitutionName, ds.StationName = "Test Institution", "CT9"
    ds.DeviceSerialNumber, ds.SoftwareVersions = "S-99", ["v1", "v2"]
    ds.ReferringPhysicianName = ""
    ds.StudyDescription, ds.SeriesDescription = "Head", "Head 2.0 頭部"
    ds.PatientName, ds.PatientID = "Yamada^Tarou=山田^太郎=やまだ^たろう", "PHANTOM-1"
    ds.PatientBirthDate, ds.PatientSex = "19700101", "O"
    ds.BodyPartExamined = "HEAD"
    ds.SliceThickness, ds.KVP, ds.XRayTubeCurrent, ds.Exposure = "2", "120", str(100 + index), "80"
    ds.ConvolutionKernel = ["Hr40", "3"]
    ds.ProtocolName, ds.PatientPosition = "HEAD ROUTINE", "HFS"
    ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.FrameOfReferenceUID = STUDY, SERIES, FRAME
    ds.StudyID, ds.SeriesNumber, ds.AcquisitionNumber, ds.InstanceNumber = "1", "4", "1", str(100 - index)
    ds.PositionReferenceIndicator = ""
    ds.ImagePositionPatient = [-10.0, -12.0, 50.0 + gap_mm * index]
    ds.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.Rows, ds.Columns, ds.PixelSpacing = rows, columns, [0.5, 0.5]
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 12, 11, 0
    ds.RescaleIntercept, ds.RescaleSlope, ds.RescaleType = "-1024", "1", "HU"
    ds.WindowCenter, ds.WindowWidth = "40", "400"
    hu = np.full((rows, columns), -1000.0)
    hu[rows // 4 : -rows // 4, columns // 4 : -columns // 4] = 40
    hu += np.random.default_rng(index).normal(0, 15, hu.shape)
    ds.PixelData = np.clip(np.rint(hu + 1024), 0, 4095).astype("<u2").tobytes()
    return ds


def everything(ds: Dataset, index: int) -> None:
    """Add what the table of DICOM_SPEC 1.5 names."""
    reference = {"ReferencedSOPClassUID": CT, "ReferencedSOPInstanceUID": f"{ROOT}.9"}
    ds.AcquisitionDateTime, ds.IrradiationEventUID = "20250102100130.5", f"{ROOT}.8"
    ds.RequestAttributesSequence = [item(ScheduledProcedureStepID="SPS1", RequestedProcedureID="RP1")]
    ds.ReferencedImageSequence = [item(**reference)]
    ds.ReferencedPerformedProcedureStepSequence = [item(**reference)]
    ds.PerformedProcedureStepID, ds.PerformedProcedureStepStartDate = "PPS1", "20250102"
    ds.PerformedProtocolCodeSequence = [code("P", "99TEST", "Protocol")]
    ds.OperatorsName, ds.PerformingPhysicianName = "Operator^A", "Physician^B"
    ds.InstanceCreatorUID, ds.GantryID, ds.ImagesInAcquisition = f"{ROOT}.7", "G1", "12"
    ds.DateOfLastCalibration, ds.TimeOfLastCalibration, ds.DeviceUID = "20250101", "070000", f"{ROOT}.6"
    ds.ContrastBolusAgent, ds.ContrastBolusRoute, ds.ContrastBolusVolume = "AGENT", "IV", "80"
    ds.CTDIvol = 21.5
    ds.QualityControlImage, ds.RecognizableVisualFeatures, ds.BurnedInAnnotation = "NO", "NO", "NO"
    ds.SmallestImagePixelValue, ds.LargestImagePixelValue = 0, 4095
    ds.IconImageSequence = [item(Rows=1, Columns=1)]
    ds.VOILUTSequence = [item(LUTExplanation="a look-up table")]
    ds.SOPInstanceStatus, ds.QueryRetrieveView = "NS", "CLASSIC"
    ds.OriginalAttributesSequence = [
        item(SourceOfPreviousValues="X", ModifyingSystem="Y", ReasonForTheAttributeModification="COERCE")
    ]
    ds.SourceInstanceSequence = [item(**reference)]
    ds.SourceImageSequence = [item(**reference)]
    ds.DerivationDescription = "by the scanner"
    ds.add_new(0x60000010, "US", 1)
    ds.add_new(0x60003000, "OW", b"\0\0")
    ds.add_new(0xFFFCFFFC, "OB", b"\0\0")
    for group in (0x0029, 0x0099):
        block = ds.private_block(group, "SCANNER WORKS PRIVATE", create=True)
        block.add_new(1, "LO", "private")


def save(ds: Dataset, path: Path, syntax: UID = ExplicitVRLittleEndian) -> str:
    """Write one instance as a Part 10 file; returns its path as text."""
    ds.file_meta = FileMetaDataset()
    ds.file_meta.MediaStorageSOPClassUID = UID(CT)
    ds.file_meta.MediaStorageSOPInstanceUID = UID(f"{SERIES}.{round((float(ds.ImagePositionPatient[2]) - 50) / 2) + 1}")
    ds.file_meta.TransferSyntaxUID = syntax
    path.parent.mkdir(parents=True, exist_ok=True)
    ds.save_as(path, enforce_file_format=True, implicit_vr=syntax == ImplicitVRLittleEndian, little_endian=True)
    return str(path)


def series(
    folder: Path, *changes: Change, slices: int = 4, syntax: UID = ExplicitVRLittleEndian, **shape: Any
) -> list[str]:
    """Write a series whose file order is not its geometric order; returns the paths in geometric order."""
    paths = []
    for index in range(slices):
        ds = slice_of_ct(index, **shape)
        for change in changes:
            change(ds, index)
        paths.append(save(ds, folder / f"{(index * 7 + 3) % 97:02d}.dcm", syntax))
    return paths


def job(**changes: Any) -> dict[str, Any]:
    """The job of a denoised series, as the flow hands it over."""
    return {
        "kind": "DN",
        "image_type": ["DERIVED", "SECONDARY", "AXIAL", "AI_DENOISE"],
        "marker": "AI DENOISED",
        "synthetic": False,
        "derivation": {"value": "DL_NR", "scheme": "99GENAI", "meaning": "Noise reduction by neural network"},
        "purpose": {"value": "109102", "scheme": "DCM", "meaning": "Processing Equipment"},
        "operation": "Noise reduction by neural network",
        "elements": {},
        "z_support": 0,
        "model": "ct_denoise",
        "model_version": "1.0.0",
        "weights_sha256": "ab" * 32,
        "parameters": {"strength": 1.0, "clip_hu": [-1024, 3071]},
        "parameters_sha256": "cd" * 32,
        "input_digest": "ef" * 32,
        "generation": 0,
        "started": "2026-03-04T05:06:07+01:00",
        "series_number": 4011,
        "node_version": "0.1.0",
        "station_name": "NODE1",
        "device_serial": "SN-1",
        "checks": 12,
        "cautions": [],
    } | changes


def derived(
    folder: Path, *changes: Change, slices: int = 4, work: dict[str, Any] | None = None, **more: Any
) -> list[Dataset]:
    """Make a series with `changes`, derive from it (the voxels unchanged), and read the objects back."""
    sources = series(folder / "in", *changes, slices=slices, **more)
    reply = write(folder, sources, work)
    return [pydicom.dcmread(instance["path"]) for instance in reply["instances"]]


def write(folder: Path, sources: list[str], work: dict[str, Any] | None = None) -> dict[str, Any]:
    """Derive a series from sources in geometric order into `folder`/out, the voxels unchanged; the reply."""
    slices = [[path, 0] for path in sources]
    decode.prepare_series({"slices": slices, "voxels": f"{folder}/v.npy", "padding": f"{folder}/p.npy"})
    request = {"sources": sources, "result": f"{folder}/v.npy", "out": f"{folder}/out", "job": work or job()}
    return derive.write_series(request)
