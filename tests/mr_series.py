"""A volume written as an original MR series, and the real T1, T2 and FLAIR of ../shared as such series of other grids.

MR Image Storage (PS3.3 A.4), one frame per file, Explicit VR Little Endian. Who it belongs to is made up.
"""

import datetime as dt
import gzip
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage

from node.demo.ct_series import IMPLEMENTATION_UID, uid
from pipelines.steps import placing, resample
from pipelines.volume import Volume

DATA: Final = Path(__file__).parents[2] / "shared" / "data" / "mr"
TUMOUR, STROKE = "tumour_tcga-du-7294", "stroke_cstar"

SEQUENCES: Final[Mapping[str, Mapping[str, Any]]] = {
    "t1": {
        "ScanningSequence": "GR", "SequenceVariant": ["SP", "SS", "SK"], "MRAcquisitionType": "3D",
        "RepetitionTime": 8.0, "EchoTime": 3.0, "InversionTime": None, "FlipAngle": 12.0, "EchoTrainLength": 1,
    },
    "t2": {
        "ScanningSequence": "SE", "SequenceVariant": "SK", "MRAcquisitionType": "2D",
        "RepetitionTime": 5000.0, "EchoTime": 100.0, "InversionTime": None, "FlipAngle": 90.0, "EchoTrainLength": 15,
    },
    "flair": {
        "ScanningSequence": ["SE", "IR"], "SequenceVariant": "SK", "MRAcquisitionType": "2D",
        "RepetitionTime": 9000.0, "EchoTime": 120.0, "InversionTime": 2500.0, "FlipAngle": 90.0, "EchoTrainLength": 15,
    },
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Scanned:
    """Who, what and how of a made-up examination. `key` decides every UID: equal keys, equal UIDs.

    elements: DICOM keyword -> value, beside or instead of those of the sequence; None leaves it out
    """

    key: str
    study: str
    role: str
    patient: str = "NOBODY"
    frame: str = "frame of reference"
    description: str = ""
    series_number: int = 2
    started: dt.datetime = dt.datetime(2026, 1, 5, 9, 30)  # noqa: DTZ001 - DICOM times are local to the scanner
    elements: Mapping[str, Any] = field(default_factory=dict)


def write_mr_series(folder: Path, volume: Volume, scanned: Scanned) -> list[Path]:
    """One file per slice, `IM00001.dcm` and so on; returns the paths in geometric order.

    volume: any orientation; values are rounded and cut to 12 bits
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for index, pixels in enumerate(np.clip(np.rint(volume.voxels), 0, 4095).astype("<u2")):
        path = folder / f"IM{index + 1:05d}.dcm"
        meta = FileMetaDataset()
        meta.MediaStorageSOPClassUID = MRImageStorage
        meta.MediaStorageSOPInstanceUID = uid(scanned.key, "instance", index)
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        meta.ImplementationClassUID = IMPLEMENTATION_UID
        ds = FileDataset(path, _common(volume, scanned), preamble=b"\0" * 128, file_meta=meta)
        ds.SOPInstanceUID = meta.MediaStorageSOPInstanceUID
        ds.InstanceNumber = index + 1
        position = volume.affine[:3, 3] + index * volume.affine[:3, 0]
        ds.ImagePositionPatient = [round(float(mm), 4) for mm in position]
        ds.PixelData = pixels.tobytes()
        ds["PixelData"].VR = "OW"
        ds.save_as(path, enforce_file_format=True)
        paths.append(path)
    return paths


def _common(volume: Volume, scanned: Scanned) -> dict[Any, Any]:
    spacing = np.linalg.norm(volume.affine[:3, :3], axis=0)
    row, column = volume.affine[:3, 2] / spacing[2], volume.affine[:3, 1] / spacing[1]
    date, time = scanned.started.strftime("%Y%m%d"), scanned.started.strftime("%H%M%S")
    values: dict[str, Any] = {
        "SpecificCharacterSet": "ISO_IR 100",
        "ImageType": ["ORIGINAL", "PRIMARY", "M", "ND"],
        "SOPClassUID": MRImageStorage,
        **{f"{what}Date": date for what in ("Study", "Series", "Acquisition", "Content")},
        **{f"{what}Time": time for what in ("Series", "Acquisition", "Content")},
        "StudyTime": "090000",
        "AccessionNumber": "",
        "Modality": "MR",
        "Manufacturer": "PHANTOM",
        "ManufacturerModelName": "PHANTOM",
        "ReferringPhysicianName": "",
        "SeriesDescription": scanned.description or scanned.role.upper(),
        "ProtocolName": scanned.description or scanned.role.upper(),
        "PatientName": f"TEST^{scanned.patient}",
        "PatientID": scanned.patient,
        "PatientBirthDate": "",
        "PatientSex": "O",
        "PatientAge": "050Y",
        "BodyPartExamined": "HEAD",
        "MagneticFieldStrength": 3.0,
        "SliceThickness": round(float(spacing[0]), 4),
        "SpacingBetweenSlices": round(float(spacing[0]), 4),
        "PatientPosition": "HFS",
        "StudyInstanceUID": uid(scanned.study, "study"),
        "SeriesInstanceUID": uid(scanned.key, "series"),
        "StudyID": "1",
        "SeriesNumber": scanned.series_number,
        "AcquisitionNumber": 1,
        "ImageOrientationPatient": [round(float(one), 10) for one in (*row, *column)],
        "FrameOfReferenceUID": uid(scanned.study, scanned.frame),
        "PositionReferenceIndicator": "",
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2",
        "Rows": volume.voxels.shape[1],
        "Columns": volume.voxels.shape[2],
        "PixelSpacing": [round(float(spacing[1]), 8), round(float(spacing[2]), 8)],
        "BitsAllocated": 16,
        "BitsStored": 12,
        "HighBit": 11,
        "PixelRepresentation": 0,
        "WindowCenter": 500,
        "WindowWidth": 1000,
        "ContrastBolusAgent": "",
        **SEQUENCES[scanned.role],
        **scanned.elements,
    }
    ds = FileDataset("", {})
    for keyword, value in values.items():
        if value is not None:
            setattr(ds, keyword, value)
    return dict(ds)


def real(case: str, role: str) -> Volume:
    """A series of ../shared as it is, values from 0 on; the test is skipped where that is absent."""
    path = DATA / f"{case}_{role}.nii.gz"
    if not path.exists():
        pytest.skip(f"../shared/data/mr/{path.name} is not here")
    data = gzip.decompress(path.read_bytes())
    size = struct.unpack_from("<3h", data, 42)
    kind = {2: "<u1", 4: "<i2", 16: "<f4"}[struct.unpack_from("<h", data, 70)[0]]
    (offset,) = struct.unpack_from("<f", data, 108)
    slope, intercept = struct.unpack_from("<2f", data, 112)
    voxels = np.frombuffer(data, kind, int(np.prod(size)), int(offset)).reshape(size[::-1]).astype(np.float32)
    if slope not in (0.0, 1.0) or intercept:
        voxels = voxels * np.float32(slope or 1.0) + np.float32(intercept)
    to_ras = np.eye(4)
    to_ras[:3] = np.array(struct.unpack_from("<12f", data, 280)).reshape(3, 4)
    to_lps = np.diag([-1.0, -1.0, 1.0, 1.0]) @ to_ras
    affine = to_lps[:, [2, 1, 0, 3]]
    voxels = np.maximum(voxels, 0)
    if np.linalg.det(affine[:3, :3]) > 0:  # (z, y, x) of a right-handed (x, y, z) is left-handed
        affine, voxels = _flipped(affine, voxels)
    return Volume(voxels=np.ascontiguousarray(voxels), affine=affine, unit="MR")


def _flipped(
    affine: NDArray[np.float64], voxels: NDArray[np.float32]
) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
    """Columns the other way round: DICOM slices are seen from one side (PS3.3 C.7.6.2.1.1)."""
    flipped = affine.copy()
    flipped[:3, 3] += affine[:3, 2] * (voxels.shape[2] - 1)
    flipped[:3, 2] *= -1
    return flipped, voxels[:, :, ::-1]


def motion(
    shift_mm: tuple[float, float, float], turn_deg: tuple[float, float, float], about: NDArray[np.float64]
) -> Any:
    """(4, 4), LPS mm: turned about a point by angles about x, y and z, then shifted."""
    turned = np.eye(3)
    for axis, degrees in enumerate(turn_deg):
        cosine, sine = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
        one = np.eye(3)
        others = [other for other in range(3) if other != axis]
        one[np.ix_(others, others)] = [[cosine, -sine], [sine, cosine]]
        turned = one @ turned
    made = np.eye(4)
    made[:3, :3] = turned
    made[:3, 3] = about + np.array(shift_mm) - turned @ about
    return made


AXES: Final = {"axial": (0, 1, 2), "sagittal": (2, 0, 1), "coronal": (1, 0, 2)}


def seen(head: Volume, moved: NDArray[np.float64], spacing_mm: tuple[float, float, float], plane: str) -> Volume:
    """What a scanner would have measured of a head that moved: slices of a plane of the head's own axes, averaged over
    their thickness.

    moved:      a place in the head -> where it is now (`motion`)
    spacing_mm: (z, y, x) of the slices made
    plane:      axial, sagittal or coronal, where the head's own slices are axial
    """
    order = AXES[plane]
    old = np.linalg.norm(head.affine[:3, :3], axis=0)
    directions = head.affine[:3, list(order)] / old[list(order)]
    if np.linalg.det(directions[:, ::-1]) < 0:  # x, y and the normal of the slices make a right-handed set
        directions[:, 0] *= -1
    extent = [head.voxels.shape[axis] * old[axis] for axis in order]
    shape = [int(np.ceil(length / step)) for length, step in zip(extent, spacing_mm, strict=True)]
    middle = head.affine @ np.append((np.array(head.voxels.shape) - 1) / 2, 1.0)
    affine = np.eye(4)
    affine[:3, :3] = directions * np.array(spacing_mm)
    affine[:3, 3] = middle[:3] - affine[:3, :3] @ ((np.array(shape) - 1) / 2)
    grid = Volume(voxels=np.zeros(shape, np.float32), affine=affine, unit="MR")
    voxels, _ = resample.place(grid, head, np.asarray(np.linalg.inv(moved), np.float64))
    return Volume(voxels=voxels, affine=affine, unit="MR")


def middle_of(head: Volume) -> NDArray[np.float64]:
    """The middle of a head, LPS mm."""
    return placing.centre_of(head.voxels, head.affine)
