"""A time-of-flight angiography of a head that does not exist, as the MR images of one series."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian

from node.dicom.uids import duid

MR = "1.2.840.10008.5.1.4.1.1.4"
ARTERIES = 900.0
"""Signal of blood, in stored values."""

Change = Callable[[Dataset, int], None]
Shape = tuple[int, int, int]


@dataclass(frozen=True, kw_only=True)
class Grid:
    """Where slices lie, mm; the normal is the cross product of both directions."""

    spacing_mm: float = 4.0
    pixel_mm: tuple[float, float] = (0.7, 0.7)
    orientation: tuple[float, ...] = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
    first_mm: tuple[float, float, float] = (-24.0, -20.0, 50.0)

    def position(self, index: int) -> list[float]:
        """Image Position (Patient) of slice `index`, rising along the normal."""
        normal = np.cross(self.orientation[:3], self.orientation[3:])
        return [round(float(one), 6) for one in np.array(self.first_mm) + index * self.spacing_mm * normal]


def angiography(shape: Shape, *, seed: int = 1, arteries: float = ARTERIES) -> NDArray[np.float64]:
    """Thick slices, (z, y, x) stored values: dark tissue in air, vessels along z and across, noise.

    arteries: their brightness; tissue has a third of it
    """
    count, rows, columns = shape
    rng = np.random.default_rng([seed, *shape])
    y, x = np.mgrid[:rows, :columns]
    fine = 8  # vessels are drawn between the slices and averaged over them
    made = np.empty(shape)
    head = ((y - rows / 2) / (0.46 * rows)) ** 2 + ((x - columns / 2) / (0.46 * columns)) ** 2 < 1.0
    tissue = np.where(head, 0.32 + 0.03 * np.sin(y / 6.0) * np.cos(x / 5.0), 0.02)
    paths = [
        (rng.uniform(0.3, 0.7), rng.uniform(0.3, 0.7), *rng.uniform(-0.25, 0.25, 2), rng.uniform(1.2, 2.5))
        for _ in range(7)
    ]
    for index in range(count):
        slab = np.zeros((rows, columns))
        for step in range(fine):
            at = (index + (step + 0.5) / fine) / count
            thin = tissue.copy()
            for down, right, along, across, radius in paths:
                cy = rows * (down + along * np.sin(4.0 * at + 9.0 * right))
                cx = columns * (right + across * np.cos(5.0 * at + 9.0 * down))
                share = np.clip(radius + 0.5 - np.hypot(y - cy, x - cx), 0.0, 1.0)
                thin += share * (1.0 - thin)
            slab += thin / fine
        made[index] = arteries * slab
    noise = 0.01 * arteries
    return np.abs(np.hypot(made + rng.normal(0.0, noise, shape), rng.normal(0.0, noise, shape)))


def slice_of_tof(image: NDArray[np.float64], index: int, *, grid: Grid, key: str) -> Dataset:
    """One slice as a scanner writes it; plain but complete."""
    series = duid("tof phantom", key)
    ds = Dataset()
    ds.SpecificCharacterSet = "ISO_IR 100"
    ds.ImageType = ["ORIGINAL", "PRIMARY", "M", "NONE"]
    ds.SOPClassUID, ds.SOPInstanceUID = MR, f"{series}.{index + 1}"
    ds.StudyDate = ds.SeriesDate = ds.AcquisitionDate = ds.ContentDate = "20250102"
    ds.StudyTime, ds.SeriesTime, ds.AcquisitionTime, ds.ContentTime = "100000", "100100", "100130", "100200"
    ds.AccessionNumber, ds.Modality = "ACC-7", "MR"
    ds.Manufacturer, ds.ManufacturerModelName = "SCANNER WORKS", "Tesla 3"
    ds.InstitutionName, ds.StationName = "Test Institution", "MR1"
    ds.DeviceSerialNumber, ds.SoftwareVersions = "S-98", "v1"
    ds.ReferringPhysicianName, ds.StudyDescription, ds.SeriesDescription = "", "Head", "TOF head"
    ds.PatientName, ds.PatientID = "Vessel^Phantom", "PHANTOM-3"
    ds.PatientBirthDate, ds.PatientSex, ds.PatientAge = "19700101", "O", "055Y"
    ds.BodyPartExamined, ds.ProtocolName, ds.PatientPosition = "HEAD", "TOF 3D", "HFS"
    ds.ScanningSequence, ds.SequenceVariant = "GR", ["SP", "MTC"]
    ds.ScanOptions, ds.MRAcquisitionType, ds.SequenceName, ds.AngioFlag = ["FC", "SP"], "3D", "fi3d1r", "Y"
    ds.SliceThickness = ds.SpacingBetweenSlices = f"{grid.spacing_mm:g}"
    ds.RepetitionTime, ds.EchoTime, ds.EchoTrainLength, ds.FlipAngle = "22", "3.6", "1", "18"
    ds.MagneticFieldStrength, ds.ImagedNucleus, ds.NumberOfAverages = "3", "1H", "1"
    ds.StudyInstanceUID, ds.SeriesInstanceUID = duid("tof phantom study", key), series
    ds.FrameOfReferenceUID = duid("tof phantom frame", key)
    ds.StudyID, ds.SeriesNumber, ds.AcquisitionNumber, ds.InstanceNumber = "1", "4", "1", str(index + 1)
    ds.PositionReferenceIndicator = ""
    ds.ImagePositionPatient, ds.ImageOrientationPatient = grid.position(index), list(grid.orientation)
    ds.SliceLocation = f"{index * grid.spacing_mm:g}"
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.Rows, ds.Columns = image.shape
    ds.PixelSpacing = list(grid.pixel_mm)
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 12, 11, 0
    ds.WindowCenter, ds.WindowWidth = "400", "800"
    ds.PixelData = np.clip(np.rint(image), 0, 4095).astype("<u2").tobytes()
    return ds


def write_tof(
    folder: Path,
    voxels: NDArray[np.float64],
    *changes: Change,
    key: str,
    grid: Grid = Grid(),
    order: Sequence[int] | None = None,
) -> list[Path]:
    """Write a series; returns the files in the order in which they are to be sent.

    changes: each is given every data set and its index in geometric order
    order:   of sending; the geometric one if None
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for index, image in enumerate(voxels):
        ds = slice_of_tof(image, index, grid=grid, key=key)
        for change in changes:
            change(ds, index)
        ds.file_meta = FileMetaDataset()
        ds.file_meta.MediaStorageSOPClassUID = UID(MR)
        ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
        ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        path = folder / f"{index:04d}.dcm"
        ds.save_as(path, enforce_file_format=True)
        paths.append(path)
    return [paths[index] for index in order] if order is not None else paths


def values_of(path: Path) -> NDArray[np.float64]:
    """What an image shows: stored values, by its rescale where it has one."""
    ds = pydicom.dcmread(path)
    slope, intercept = float(ds.get("RescaleSlope") or 1.0), float(ds.get("RescaleIntercept") or 0.0)
    return np.asarray(ds.pixel_array, dtype=np.float64) * slope + intercept
