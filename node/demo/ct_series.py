"""A volume written as an original CT series, for the demo and for tests: what a scanner would have sent.

CT Image Storage (PS3.3 A.3), one frame per file, Explicit VR Little Endian. Nothing in it belongs to a person.
"""

import datetime as dt
import uuid
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import UID, CTImageStorage, ExplicitVRLittleEndian

LOWEST_HU, HIGHEST_HU = -1024, 3071  # 12 bits with Rescale Intercept -1024
IMPLEMENTATION_UID = UID("2.25.247396710238407112909478093251370219377")
UID_NAMESPACE = uuid.UUID("5c0c7a1e-6a0f-4b60-9d7d-3f1d2b8f6f4e")


@dataclass(frozen=True, kw_only=True)
class Scan:
    """Who, what and how of a made-up examination. `key` decides every UID: equal keys, equal UIDs."""

    key: str
    patient_name: str
    patient_id: str
    manufacturer: str = "PHANTOM"
    model: str = "PHANTOM"
    study_description: str = "PHANTOM"
    series_description: str = "PHANTOM LOW DOSE"
    protocol: str = "PHANTOM LOW DOSE"
    kernel: str = "SOFT"
    body_part: str = "ABDOMEN"
    comment: str = ""
    phantom: bool = True  # Quality Control Image (0028,0300): a phantom, not a patient
    study_key: str = ""  # series with the same study key belong to one study; empty: a study of its own
    series_number: int = 2
    kvp: float = 120.0
    tube_current_ma: int = 40
    exposure_mas: int = 20
    window: tuple[int, int] = (40, 400)  # centre, width, HU
    started: dt.datetime = dt.datetime(2026, 1, 5, 9, 30)  # noqa: DTZ001 - DICOM times are local to the scanner


def uid(*parts: object) -> UID:
    """A UID computed from its parts: 2.25 and a name-based UUID (PS3.5 B.2), at most 44 characters."""
    return UID(f"2.25.{uuid.uuid5(UID_NAMESPACE, '/'.join(map(str, parts))).int}")


def write_ct_series(
    folder: Path,
    voxels: NDArray[np.floating] | NDArray[np.integer],
    *,
    scan: Scan,
    spacing_mm: tuple[float, float, float],
    first_mm: tuple[float, float, float],
    thickness_mm: float | None = None,
) -> list[Path]:
    """Write one file per slice, `IM00001.dcm` and so on, and return the paths in geometric order.

    voxels:       (z, y, x), HU; z grows to the head, y to the back, x to the patient's left (axial, LPS)
    spacing_mm:   (z, y, x), the distance between voxel centres
    first_mm:     (x, y, z), LPS position of the centre of voxel (0, 0, 0)
    thickness_mm: Slice Thickness (0018,0050); the slice spacing if not given
    """
    folder.mkdir(parents=True, exist_ok=True)
    stored = (np.clip(np.rint(voxels), LOWEST_HU, HIGHEST_HU) - LOWEST_HU).astype("<u2")
    common = _common(scan, stored.shape, spacing_mm, thickness_mm or spacing_mm[0])
    x_mm, y_mm, z_mm = first_mm
    paths = []
    for index, pixels in enumerate(stored):
        position_mm = [round(x_mm, 4), round(y_mm, 4), round(z_mm + index * spacing_mm[0], 4)]
        paths.append(folder / f"IM{index + 1:05d}.dcm")
        _write(paths[-1], common, scan, index=index, position_mm=position_mm, pixels=pixels)
    return paths


def _write(
    path: Path, common: Dataset, scan: Scan, *, index: int, position_mm: list[float], pixels: NDArray[np.uint16]
) -> None:
    """One instance: the series' attributes and what is different from slice to slice."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = CTImageStorage
    meta.MediaStorageSOPInstanceUID = uid(scan.key, "instance", index)
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.ImplementationClassUID = IMPLEMENTATION_UID
    ds = FileDataset(path, common, preamble=b"\0" * 128, file_meta=meta)
    ds.SOPInstanceUID = meta.MediaStorageSOPInstanceUID
    ds.InstanceNumber = index + 1
    ds.ImagePositionPatient = position_mm
    ds.SliceLocation = position_mm[2]
    ds.PixelData = pixels.tobytes()
    ds["PixelData"].VR = "OW"
    ds.save_as(path, enforce_file_format=True)


def _common(scan: Scan, shape: tuple[int, ...], spacing_mm: tuple[float, float, float], thickness_mm: float) -> Dataset:
    """Every attribute that all slices share."""
    study = scan.study_key or scan.key
    date, time = scan.started.strftime("%Y%m%d"), scan.started.strftime("%H%M%S")
    ds = Dataset()
    ds.SpecificCharacterSet = "ISO_IR 100"
    ds.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    ds.SOPClassUID = CTImageStorage
    ds.StudyDate = ds.SeriesDate = ds.AcquisitionDate = ds.ContentDate = date
    ds.StudyTime = ds.SeriesTime = ds.AcquisitionTime = ds.ContentTime = time
    ds.AccessionNumber = ""
    ds.Modality = "CT"
    ds.Manufacturer = scan.manufacturer
    ds.InstitutionName = "NONE"
    ds.ReferringPhysicianName = ""
    ds.StudyDescription = scan.study_description
    ds.SeriesDescription = scan.series_description
    ds.ManufacturerModelName = scan.model
    ds.PatientName = scan.patient_name
    ds.PatientID = scan.patient_id
    ds.PatientBirthDate = ""
    ds.PatientSex = "O"
    ds.PatientAge = "050Y"
    ds.BodyPartExamined = scan.body_part
    ds.SliceThickness = round(thickness_mm, 4)
    ds.KVP = scan.kvp
    ds.DataCollectionDiameter = 500.0
    ds.DeviceSerialNumber = "0"
    ds.SoftwareVersions = "1"
    ds.ProtocolName = scan.protocol
    ds.ReconstructionDiameter = round(spacing_mm[2] * shape[2], 2)
    ds.GantryDetectorTilt = 0.0
    ds.RotationDirection = "CW"
    ds.ExposureTime = 500
    ds.XRayTubeCurrent = scan.tube_current_ma
    ds.Exposure = scan.exposure_mas
    ds.ConvolutionKernel = scan.kernel
    ds.PatientPosition = "HFS"
    ds.StudyInstanceUID = uid(study, "study")
    ds.SeriesInstanceUID = uid(scan.key, "series")
    ds.StudyID = "1"
    ds.SeriesNumber = scan.series_number
    ds.AcquisitionNumber = 1
    ds.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    ds.FrameOfReferenceUID = uid(study, "frame of reference")
    ds.PositionReferenceIndicator = ""
    if scan.comment:
        ds.ImageComments = scan.comment
    ds.SamplesPerPixel = 1
    ds.PhotometricInterpretation = "MONOCHROME2"
    ds.Rows, ds.Columns = shape[1], shape[2]
    ds.PixelSpacing = [round(spacing_mm[1], 6), round(spacing_mm[2], 6)]
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 12, 11, 0
    if scan.phantom:
        ds.QualityControlImage = "YES"  # PS3.3 C.7.6.1
    ds.WindowCenter, ds.WindowWidth = scan.window
    ds.RescaleIntercept, ds.RescaleSlope, ds.RescaleType = LOWEST_HU, 1, "HU"
    return ds
