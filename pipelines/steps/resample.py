"""Volumes on other grids, by SimpleITK, which comes with the extra `mr` and is imported only when it is needed."""

import functools
import importlib
import importlib.util
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pipelines.steps import placing
from pipelines.steps.placing import Matrix
from pipelines.volume import Volume

_AT_ONCE: Final = 1 << 25  # voxels of the fine grid that are resampled in one go


class Unavailable(Exception):
    """SimpleITK is not installed: the fact, then the fix."""

    def __init__(self) -> None:
        self.message = "Registration needs SimpleITK, which is not installed."
        self.fix = "Install the extra `mr`: pip install '.[mr]'"
        super().__init__(f"{self.message} {self.fix}")


def available() -> bool:
    """Whether SimpleITK is installed; nothing is imported."""
    return importlib.util.find_spec("SimpleITK") is not None


@functools.cache
def library() -> Any:
    """SimpleITK. Raises Unavailable."""
    if not available():
        raise Unavailable
    sitk = importlib.import_module("SimpleITK")
    sitk.ProcessObject.SetGlobalWarningDisplay(False)
    # The metric inside a search takes the number of the process, whatever the search itself is told. With two threads
    # it adds up in the order in which they come, and a repeat differs in the ninth digit.
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    return sitk


def place(
    fixed: Volume, moving: Volume, motion: Matrix, *, threads: int = 1
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Resample a series on a grid: linear, and averaged over each voxel where the series is the finer one.

    motion:  `Placed.motion`
    returns: voxels and padding as `Placed` has them
    raises:  Unavailable
    """
    if np.array_equal(motion, np.eye(4)) and fixed.on_the_grid_of(moving):
        padding = np.zeros(moving.voxels.shape, np.bool_) if moving.padding is None else np.array(moving.padding)
        return np.where(padding, np.float32(0), moving.voxels), padding
    sitk = library()
    source = image(
        moving.voxels if moving.padding is None else np.where(moving.padding, 0, moving.voxels), moving.affine
    )
    steps = placing.finer_by(fixed.affine, moving.affine, motion)
    shape = fixed.voxels.shape
    voxels = np.empty(shape, np.float32)
    many = max(1, _AT_ONCE // (shape[1] * shape[2] * int(np.prod(steps))))
    for first in range(0, shape[0], many):
        last = min(shape[0], first + many)
        voxels[first:last] = _slab(sitk, source, fixed, motion, steps, first, last, threads)
    indices = placing.index_map(fixed.affine, moving.affine, motion)
    padding = ~placing.covered(shape, moving.voxels.shape, indices)
    voxels[padding] = 0
    return voxels, padding


def _slab(
    sitk: Any,
    source: Any,
    fixed: Volume,
    motion: Matrix,
    steps: tuple[int, int, int],
    first: int,
    last: int,
    threads: int,
) -> NDArray[np.float32]:
    """Slices [first, last) of the grid, averaged over `steps` sub-samples of each voxel."""
    fine = fixed.affine.copy()
    fine[:3, 3] += fixed.affine[:3, 0] * first
    for axis, step in enumerate(steps):
        fine[:3, axis] /= step
        fine[:3, 3] -= fixed.affine[:3, axis] * (0.5 - 0.5 / step)
    size = [(last - first) * steps[0], fixed.voxels.shape[1] * steps[1], fixed.voxels.shape[2] * steps[2]]
    resample = sitk.ResampleImageFilter()
    resample.SetNumberOfThreads(threads)
    resample.SetInterpolator(sitk.sitkLinear)
    resample.SetTransform(transform(sitk, motion))
    resample.SetSize([int(one) for one in size[::-1]])
    origin, spacing, direction = _geometry(fine)
    resample.SetOutputOrigin(origin)
    resample.SetOutputSpacing(spacing)
    resample.SetOutputDirection(direction)
    made = resample.Execute(source)
    if max(steps) > 1:
        made = sitk.BinShrink(made, [int(step) for step in steps[::-1]])
    found: NDArray[np.float32] = sitk.GetArrayFromImage(made)
    return found


def binned(volume: Volume, steps: Sequence[int]) -> Volume:
    """A volume of means of blocks, (z, y, x) steps; what is left over at the end of an axis is dropped."""
    size = [length // step for length, step in zip(volume.voxels.shape, steps, strict=True)]
    kept = volume.voxels[: size[0] * steps[0], : size[1] * steps[1], : size[2] * steps[2]]
    voxels = kept.reshape(size[0], steps[0], size[1], steps[1], size[2], steps[2]).mean(
        axis=(1, 3, 5), dtype=np.float32
    )
    affine = volume.affine.copy()
    for axis, step in enumerate(steps):
        affine[:3, 3] += volume.affine[:3, axis] * (step - 1) / 2
        affine[:3, axis] *= step
    return Volume(voxels=np.asarray(voxels, np.float32), affine=affine, unit=volume.unit)


def image(voxels: NDArray[np.float32], affine: Matrix) -> Any:
    """A SimpleITK image of a volume; axes in its order, places in LPS as here."""
    made = library().GetImageFromArray(np.ascontiguousarray(voxels, dtype=np.float32))
    origin, spacing, direction = _geometry(affine)
    made.SetOrigin(origin)
    made.SetSpacing(spacing)
    made.SetDirection(direction)
    return made


def transform(sitk: Any, motion: Matrix) -> Any:
    """A motion as SimpleITK has it."""
    made = sitk.AffineTransform(3)
    made.SetMatrix(motion[:3, :3].ravel().tolist())
    made.SetTranslation(motion[:3, 3].tolist())
    return made


def matrix(transform: Any) -> Matrix:
    """A motion from a transform of SimpleITK that has a centre."""
    turned = np.array(transform.GetMatrix()).reshape(3, 3)
    centre = np.array(transform.GetCenter())
    motion = np.eye(4)
    motion[:3, :3] = turned
    motion[:3, 3] = centre + np.array(transform.GetTranslation()) - turned @ centre
    return motion


def _geometry(affine: Matrix) -> tuple[list[float], list[float], list[float]]:
    """Origin, spacing and direction, x first, of an affine that is for (z, y, x)."""
    columns = affine[:3, [2, 1, 0]]
    spacing = np.linalg.norm(columns, axis=0)
    return affine[:3, 3].tolist(), spacing.tolist(), (columns / spacing).ravel().tolist()
