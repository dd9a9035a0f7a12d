"""Where things are in an axial slice of a head, told by the head's own outline; no labels, no atlas.

The frame is that of the patient (LPS): slices are turned so that rows go from front to back. The outline is that of
everything brighter than noise, so that it is the scalp's, or the brain's where the skull was removed.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pipelines.pipeline import Checked
from pipelines.steps import measure
from pipelines.steps.measure import Image
from pipelines.volume import Volume

Mask = NDArray[np.bool_]

TISSUE: Final = 0.2  # of white matter: above it is tissue, below air, bone and noise
_SHARE: Final = 0.03  # of a row or column: less is a vessel or noise, no head
_LEAST_MM: Final = 60.0  # of an outline, along both axes: smaller ones are the vertex
_RAYS, _STEPS = 48, 22


def white(case: Checked, role: str) -> float:
    """The signal of white matter in the series of a role, as the facts of the pipeline have it."""
    return float(case.facts[f"{role}_white_matter"])


def halved(case: Checked, role: str, index: int) -> Image | None:
    """A slice of a series in 2x2 means, white matter = 1; None where the series is missing or does not reach."""
    volume = case.source if role == "t1" else case.source.others.get(role)
    if volume is None:
        return None
    image = measure.halve(np.asarray(volume.voxels[index]))
    return image * np.float32(1.0 / white(case, role)) if image.any() else None


@dataclass(frozen=True, kw_only=True, eq=False)
class Outline:
    """The box around the head in one slice, of 2x2 means.

    mm:           side of a mean, (y, x)
    top, bottom, left, right: first and last row and column with tissue
    posterior:    1 where rows go from front to back, -1 where they go from back to front
    """

    mm: tuple[float, float]
    top: int
    bottom: int
    left: int
    right: int
    posterior: int

    @property
    def size_mm(self) -> tuple[float, float]:
        """Length from front to back, and width."""
        return (self.bottom - self.top + 1) * self.mm[0], (self.right - self.left + 1) * self.mm[1]

    def radius(self, shape: tuple[int, ...]) -> Image:
        """(y, x): distance from the middle, 1 on the ellipse through the box's sides."""
        y = (np.arange(shape[0], dtype=np.float32) - (self.top + self.bottom) / 2) * (2.0 / (self.bottom - self.top))
        x = (np.arange(shape[1], dtype=np.float32) - (self.left + self.right) / 2) * (2.0 / (self.right - self.left))
        made: Image = np.sqrt(np.square(y)[:, None] + np.square(x)[None])
        return made

    def box(self, front_back: tuple[float, float], half_width_mm: float) -> tuple[slice, slice]:
        """Rows and columns of a box about the midline.

        front_back: mm from the back of the outline forward, nearest first
        """
        near, far = (mm / self.mm[0] for mm in front_back)
        middle, half = (self.left + self.right) / 2.0, half_width_mm / self.mm[1]
        if self.posterior > 0:
            rows = slice(max(int(self.bottom - far), 0), max(int(self.bottom - near), 0))
        else:
            rows = slice(max(int(self.top + near), 0), max(int(self.top + far), 0))
        return rows, slice(max(int(middle - half), 0), int(middle + half) + 1)


def outline(image: Image, affine: NDArray[np.float64]) -> Outline | None:
    """The outline of a slice; None without a head in it.

    image:  (y, x) 2x2 means, white matter = 1
    affine: of the volume
    """
    tissue = image > TISSUE
    rows, columns = (np.flatnonzero(tissue.mean(axis=axis) > _SHARE) for axis in (1, 0))
    mm = tuple(2.0 * float(np.linalg.norm(affine[:3, axis])) for axis in (1, 2))
    if rows.size < 8 or columns.size < 8:
        return None
    found = Outline(
        mm=(mm[0], mm[1]),
        top=int(rows[0]),
        bottom=int(rows[-1]),
        left=int(columns[0]),
        right=int(columns[-1]),
        posterior=1 if affine[1, 1] >= 0.0 else -1,
    )
    return found if min(found.size_mm) >= _LEAST_MM else None


def has_skull(image: Image, around: Outline) -> float:
    """Share of rays from the middle that cross something dark, and then something bright, before they leave the head.

    A skull is dark and has a scalp around it; a brain without it ends where its grey matter ends.
    """
    angles = np.linspace(0.0, 2.0 * np.pi, _RAYS, endpoint=False)
    radii = np.linspace(0.72, 1.06, _STEPS)
    y = (around.top + around.bottom) / 2 + np.outer(np.sin(angles), radii) * (around.bottom - around.top) / 2
    x = (around.left + around.right) / 2 + np.outer(np.cos(angles), radii) * (around.right - around.left) / 2
    rows = np.clip(np.rint(y).astype(np.intp), 0, image.shape[0] - 1)
    columns = np.clip(np.rint(x).astype(np.intp), 0, image.shape[1] - 1)
    along = image[rows, columns]
    lowest = np.minimum.accumulate(along, axis=1)
    rises = np.max(along - lowest, axis=1)
    return float(np.mean((rises > 0.25) & (np.min(lowest, axis=1) < 0.45)))


def below_top_mm(areas_mm2: NDArray[np.float64], volume: Volume) -> NDArray[np.float64]:
    """How far each slice lies below the highest one with a head in it, mm; the vertex is above it.

    areas_mm2: of the tissue in each slice
    """
    up = float(volume.affine[2, 0])
    step = float(np.linalg.norm(volume.affine[:3, 0]))
    order = np.arange(len(areas_mm2), dtype=np.float64) * step * (1.0 if up >= 0.0 else -1.0)
    inside = order[areas_mm2 > 2000.0]
    made: NDArray[np.float64] = (float(inside.max()) if inside.size else float(order.max())) - order
    return made


def highest(values: Image, most: int) -> float:
    """Mean of the largest values, so many; of fewer, of all; 0 of none."""
    flat = values.ravel()
    if flat.size == 0:
        return 0.0
    count = min(most, flat.size)
    return float(np.mean(np.partition(flat, flat.size - count)[flat.size - count :]))


def is_axial(volume: Volume) -> bool:
    """Whether slices lie across the body's long axis, within 30 degrees, and rows along its width."""
    unit = volume.affine[:3, :3] / np.linalg.norm(volume.affine[:3, :3], axis=0)
    return bool(min(abs(unit[2, 0]), abs(unit[1, 1]), abs(unit[0, 2])) >= np.cos(np.radians(30.0)))


Figures = Mapping[str, float]
