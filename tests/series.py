"""CT series for the tests: the volumes of ../shared/data/ct as a scanner would have sent them, and ways to spoil them.

Every identity is made up. UIDs are computed from the volume's name and the slice range: a repeat writes the same files.
"""

import gzip
import random
import shutil
import struct
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pydicom
from numpy.typing import NDArray

from node.demo.ct_series import LOWEST_HU, Scan, uid, write_ct_series

SMALLEST_SIDE = 64  # smaller images are padded with air in the plane
NIFTI_TYPES = {2: "u1", 4: "i2", 8: "i4", 16: "f4", 64: "f8", 256: "i1", 512: "u2", 768: "u4"}


@dataclass(frozen=True, kw_only=True)
class Scene:
    """A volume in the axes of DICOM: voxels (z, y, x) in HU, spacing (z, y, x) and first voxel (x, y, z, LPS) in mm."""

    voxels: NDArray[np.float32]
    spacing_mm: tuple[float, float, float]
    first_mm: tuple[float, float, float]


def volumes(shared_data: Path) -> list[Path]:
    """The CT volumes, by name."""
    found = sorted((shared_data / "ct").glob("*.nii.gz"))
    assert found, "no CT volume in the shared data"
    return found


def read_nifti(path: Path) -> Scene:
    """A NIfTI-1 volume whose axes are parallel to the patient's, turned to x left, y back, z head.

    raises: ValueError if the file is no NIfTI-1 or stands oblique
    """
    raw = gzip.decompress(path.read_bytes())
    order = "<" if struct.unpack_from("<i", raw)[0] == 348 else ">"
    if struct.unpack_from(f"{order}i", raw)[0] != 348:
        raise ValueError(f"{path.name} is not NIfTI-1.")
    nx, ny, nz = struct.unpack_from(f"{order}8h", raw, 40)[1:4]
    kind = np.dtype(order + NIFTI_TYPES[struct.unpack_from(f"{order}h", raw, 70)[0]])
    start, slope, intercept = struct.unpack_from(f"{order}3f", raw, 108)
    stored = np.frombuffer(raw, kind, nx * ny * nz, int(start)).reshape(nz, ny, nx)
    voxels = stored.astype(np.float32) * (slope or 1) + (intercept if slope else 0)

    affine = np.diag([-1, -1, 1, 1]) @ _affine(raw, order)  # NIfTI is RAS, DICOM is LPS
    matrix = affine[:3, :3]
    spacing = np.linalg.norm(matrix, axis=0)
    turn = matrix / spacing
    if not np.allclose(np.abs(turn), np.eye(3), atol=1e-3):
        raise ValueError(f"{path.name} is oblique or not axial.")
    first = affine[:3, 3].copy()
    for axis, size in enumerate((nx, ny, nz)):
        if turn[axis, axis] < 0:
            first += matrix[:, axis] * (size - 1)
            voxels = np.flip(voxels, axis=2 - axis)
    x, y, z = (float(value) for value in spacing)
    return Scene(voxels=np.ascontiguousarray(voxels), spacing_mm=(z, y, x), first_mm=tuple(map(float, first)))


def write_volume(
    path: Path,
    folder: Path,
    *,
    slices: int | None = 60,
    start: int | None = None,
    scan: Scan | None = None,
) -> list[Path]:
    """Write a range of a volume's slices as an original CT series; the files from the feet to the head.

    slices: how many; all there are, at most 150, if None or too many
    start:  the first one; the range lies in the middle if not given
    scan:   another examination than the usual one; its key is kept
    """
    scene = read_nifti(path)
    there = scene.voxels.shape[0]
    count = min(slices or 150, 150, there)
    first = (there - count) // 2 if start is None else min(start, there - count)
    part = replace(
        scene,
        voxels=scene.voxels[first : first + count],
        first_mm=(*scene.first_mm[:2], scene.first_mm[2] + first * scene.spacing_mm[0]),
    )
    return write_scene(_padded(part), folder, scan=scan or usual_scan(path, key=f"{path.name}/{first}/{count}"))


def write_scene(scene: Scene, folder: Path, *, scan: Scan) -> list[Path]:
    """Write a volume as a CT series, one file per slice."""
    return write_ct_series(folder, scene.voxels, scan=scan, spacing_mm=scene.spacing_mm, first_mm=scene.first_mm)


def usual_scan(path: Path, *, key: str) -> Scan:
    """A low-dose examination of nobody, with the volume's part of the body."""
    name = path.name.lower()
    parts = {"abdomen": "ABDOMEN", "thorax": "CHEST", "chest": "CHEST", "head": "HEAD", "petct": "WHOLEBODY"}
    body_part = next((value for word, value in parts.items() if word in name), "CHEST")
    number = int(uid("patient", path.name)[-6:])
    return Scan(
        key=key,
        patient_name=f"TEST^VOLUME {number:06d}",
        patient_id=f"TEST{number:06d}",
        manufacturer="TEST SCANNERS",
        model="VOLUME",
        study_description=f"TEST {body_part}",
        series_description=f"{body_part} LOW DOSE 120KV",
        protocol=f"{body_part} LOW DOSE",
        body_part=body_part,
        comment="Written from a published research volume; the identity is made up.",
        phantom=False,
    )


def shuffled(files: Sequence[Path], seed: int = 0) -> list[Path]:
    """The same files in a random order that the seed decides."""
    return random.Random(seed).sample(list(files), len(files))


def split(files: Sequence[Path], folder: Path, parts: int) -> list[Path]:
    """Copy the files into so many folders in turn, as neighbouring associations would carry them."""
    folders = [folder / f"part{number}" for number in range(parts)]
    for number, one in enumerate(folders):
        one.mkdir(parents=True)
        for path in files[number::parts]:
            shutil.copyfile(path, one / path.name)
    return folders


def without_slice(files: Sequence[Path], index: int) -> list[Path]:
    """A series with a gap."""
    return [path for number, path in enumerate(files) if number != index]


def at_same_position(path: Path, out: Path) -> Path:
    """Another instance at the place of an existing one, as the second phase of a dynamic scan has."""
    ds = pydicom.dcmread(path)
    ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = uid(ds.SOPInstanceUID, "same position")
    ds.InstanceNumber = int(ds.InstanceNumber) + 10_000
    return _saved(ds, out)


def with_other_pixels(path: Path, out: Path) -> Path:
    """The same SOP Instance UID with other pixels: what no honest sender ever does."""
    ds = pydicom.dcmread(path)
    ds.PixelData = np.ascontiguousarray(ds.pixel_array[::-1]).tobytes()
    return _saved(ds, out)


def with_header(path: Path, out: Path, **values: object) -> Path:
    """The same instance with other attributes, by DICOM keyword; None takes an attribute away."""
    ds = pydicom.dcmread(path)
    for keyword, value in values.items():
        if value is None:
            delattr(ds, keyword)
        else:
            setattr(ds, keyword, value)
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
    return _saved(ds, out)


def with_uids(path: Path, out: Path) -> Path:
    """An instance whose UIDs were emptied gets them back: SOP UIDs from the meta information, the others computed."""
    ds = pydicom.dcmread(path)
    ds.SOPClassUID = ds.file_meta.MediaStorageSOPClassUID
    ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID
    ds.StudyInstanceUID = ds.StudyInstanceUID or uid("study of", path.parent.name)
    ds.SeriesInstanceUID = ds.SeriesInstanceUID or uid("series of", path.parent.name)
    return _saved(ds, out)


def _saved(ds: pydicom.Dataset, out: Path) -> Path:
    out.parent.mkdir(parents=True, exist_ok=True)
    ds.save_as(out, enforce_file_format=True)
    return out


def _padded(scene: Scene) -> Scene:
    """Air around an image that is too small, so that both sides have at least SMALLEST_SIDE pixels."""
    _, rows, columns = scene.voxels.shape
    more_y, more_x = max(0, SMALLEST_SIDE - rows), max(0, SMALLEST_SIDE - columns)
    around = ((0, 0), (more_y // 2, more_y - more_y // 2), (more_x // 2, more_x - more_x // 2))
    x, y, z = scene.first_mm
    return Scene(
        voxels=np.pad(scene.voxels, around, constant_values=LOWEST_HU),
        spacing_mm=scene.spacing_mm,
        first_mm=(x - around[2][0] * scene.spacing_mm[2], y - around[1][0] * scene.spacing_mm[1], z),
    )


def _affine(raw: bytes, order: str) -> NDArray[np.float64]:
    """Index (x, y, z) to RAS mm: the sform, else the qform (NIfTI-1, methods 3 and 2)."""
    qform, sform = struct.unpack_from(f"{order}2h", raw, 252)
    affine = np.eye(4)
    if sform > 0:
        affine[:3] = np.array(struct.unpack_from(f"{order}12f", raw, 280)).reshape(3, 4)
        return affine
    if qform <= 0:
        raise ValueError("The volume has no orientation.")
    zooms = struct.unpack_from(f"{order}4f", raw, 76)
    b, c, d, *offset = struct.unpack_from(f"{order}6f", raw, 256)
    a = max(0.0, 1 - b * b - c * c - d * d) ** 0.5
    rotation = np.array(
        [
            [a * a + b * b - c * c - d * d, 2 * (b * c - a * d), 2 * (b * d + a * c)],
            [2 * (b * c + a * d), a * a + c * c - b * b - d * d, 2 * (c * d - a * b)],
            [2 * (b * d - a * c), 2 * (c * d + a * b), a * a + d * d - b * b - c * c],
        ]
    )
    affine[:3, :3] = rotation * np.array([zooms[1], zooms[2], zooms[3] * (-1 if zooms[0] < 0 else 1)])
    affine[:3, 3] = offset
    return affine
