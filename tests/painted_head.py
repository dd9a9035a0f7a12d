"""A head made from the template that ships: brain, ventricles, skull, scalp, and the scan of it. No shared data."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from engines import head_template
from engines.head_frame import Pose
from engines.head_template import CSF_HU, GREY_HU
from engines.head_volumes import grown, places_of, sampled

Matrix = NDArray[np.float64]
Image = NDArray[np.float32]

STEP_MM: Final = 2.0
SHAPE: Final = (108, 130, 110)
BONE_HU, SCALP_HU = 1100.0, 20.0
ZYX_TO_LPS: Final = np.array([[0, 0, 1, 0], [0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 1]], dtype=np.float64)


def to_mm() -> Matrix:
    """(4, 4): voxel of the painted head -> mm (z, y, x) of the template."""
    return head_template.to_mm(SHAPE, STEP_MM)


@lru_cache(maxsize=1)
def painted() -> Image:
    """(z, y, x) HU at 2 mm: what is inside of the template's skull, a skull of 7 mm with a foramen, a scalp of 6 mm."""
    template = head_template.load()
    index = np.linalg.inv(head_template.to_mm()) @ to_mm()
    places = places_of(SHAPE, index)
    share, density = (sampled(one, places).reshape(SHAPE) for one in (template.inside, template.density))
    inside = share > 0.5
    spacing = (STEP_MM,) * 3
    skull = grown(inside, 7.0, spacing)
    scalp = grown(skull, 6.0, spacing)
    made = np.where(scalp, np.float32(SCALP_HU), np.float32(-1000.0))
    made[skull] = BONE_HU
    made[inside] = (CSF_HU + (GREY_HU - CSF_HU) * density / np.maximum(share, 0.05))[inside]
    foramen = np.linalg.norm(np.argwhere(skull & ~inside) * STEP_MM - _foramen(inside), axis=1) < 9.0
    made[tuple(np.argwhere(skull & ~inside)[foramen].T)] = SCALP_HU
    return made.astype(np.float32)


def _foramen(inside: NDArray[np.bool_]) -> NDArray[np.float64]:
    lowest = np.argwhere(inside[: int(np.flatnonzero(inside.any(axis=(1, 2)))[0]) + 2])
    return np.asarray(lowest.mean(axis=0) * STEP_MM)


@dataclass(frozen=True, kw_only=True, eq=False)
class Scanned:
    """A scan. voxels: (z, y, x) HU; affine: (4, 4), index -> LPS mm"""

    voxels: Image
    affine: Matrix

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Of slices, rows and columns."""
        z, y, x = np.linalg.norm(self.affine[:3, :3], axis=0).tolist()
        return z, y, x


def turned(pitch_deg: float, yaw_deg: float, roll_deg: float) -> Matrix:
    """(4, 4) of (z, y, x): turns about x, z and y."""
    made = np.eye(4)
    for degrees, (first, second) in ((pitch_deg, (0, 1)), (yaw_deg, (1, 2)), (roll_deg, (0, 2))):
        angle, one = np.radians(degrees), np.eye(4)
        one[first, first] = one[second, second] = np.cos(angle)
        one[first, second], one[second, first] = -np.sin(angle), np.sin(angle)
        made = one @ made
    return made


def scan(
    *,
    head: Image | None = None,
    move: Matrix | None = None,
    slice_mm: float = 5.0,
    pixel_mm: float = 1.2,
    side: int = 200,
    slices: int = 40,
    flips: tuple[int, int, int] = (1, 1, 1),
    noise_hu: float = 3.0,
    table: bool = False,
) -> Scanned:
    """Slices through a head.

    move:  (4, 4), mm of the template -> mm (z, y, x) of the patient
    flips: direction of the stored axes against those of LPS: -1 as in feet-first, prone or mirrored series
    """
    head = painted() if head is None else head
    move = np.eye(4) if move is None else move
    affine = ZYX_TO_LPS @ np.diag([slice_mm, pixel_mm, pixel_mm, 1.0]) @ np.diag([*(float(f) for f in flips), 1.0])
    middle = affine @ np.array([(slices - 1) / 2, (side - 1) / 2, (side - 1) / 2, 1.0])
    affine[:3, 3] -= middle[:3]
    to_patient = ZYX_TO_LPS @ affine  # the permutation is its own inverse: mm (z, y, x)
    index = np.linalg.inv(to_mm()) @ np.linalg.inv(move) @ to_patient
    around = np.pad(head, 1, constant_values=-1000.0)
    total = np.zeros((slices, side, side), np.float32)
    for part in (-0.25, 0.25):  # of a slice
        matrix = index.copy()
        matrix[:3, 3] += index[:3, 0] * part + 1.0
        total += sampled(around, places_of(total.shape, matrix)).reshape(total.shape) / 2.0
    if table:
        total[:, -12:-8] = 150.0
    total += np.random.default_rng(3).normal(0.0, noise_hu, total.shape).astype(np.float32)
    return Scanned(voxels=np.rint(total).astype(np.float32), affine=affine)


def apart(first: tuple[Pose, Scanned], second: tuple[Pose, Scanned], move: Matrix) -> tuple[float, float]:
    """How far the second pose is from the first one moved: mm on the average over the brain, degrees.

    move: (4, 4) of mm (z, y, x), by which the head of the second scan lies otherwise
    """
    wanted = ZYX_TO_LPS @ move @ ZYX_TO_LPS @ first[1].affine @ first[0].matrix
    found = second[1].affine @ second[0].matrix
    points = np.array([[z, y, x, 1.0] for z in (8, 16, 26) for y in (50, 110, 170) for x in (45, 95, 145)]).T
    left, _, right = np.linalg.svd(np.linalg.inv(wanted[:3, :3]) @ found[:3, :3])
    angle = np.degrees(np.arccos(np.clip((np.trace(left @ right) - 1.0) / 2.0, -1.0, 1.0)))
    return float(np.linalg.norm(((found - wanted) @ points)[:3], axis=0).mean()), float(angle)


def header(**more: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
    """Of a slice of a head of an adult, inside of all envelopes; `more` in the place of its values."""
    return {
        "Modality": ("CT",),
        "ImageType": ("ORIGINAL", "PRIMARY", "AXIAL"),
        "BodyPartExamined": ("HEAD",),
        "KVP": ("120",),
        "ConvolutionKernel": ("H30s",),
        "SliceThickness": ("5",),
        "PixelSpacing": ("0.9", "0.9"),
        "Rows": ("270",),
        "Columns": ("270",),
        "PatientAgeGroup": ("ADULT",),
        "ImageOrientationPatient": ("1", "0", "0", "0", "1", "0"),
        **more,
    }
