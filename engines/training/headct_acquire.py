"""From a head at 1 mm to what a scanner stores: pose, slices, sharpness, hardening, noise, whole HU. numpy only.

Thin planes at 1 mm are averaged to slices and brought to the pixels afterwards; both are linear, so partial volume and
sharpness are those of the whole. The noise is shaped in the image (the shortcut of NETWORKS C1): its spectrum is that
of the kernel, its level follows the lines through the head.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engines.kernel import Kernel
from engines.training.headct_anatomy import Volume
from engines.training.headct_artefacts import bones_of, hardening, rest
from engines.training.headct_noise import level_of, shaped_noise

Affine = NDArray[np.float64]
CLIP_HU = (-1024.0, 3071.0)
_SOFT_MM = 0.30  # Gaussian in the plane that, with both interpolations, shows what a B30-like kernel shows


class Lying(StrEnum):
    """How the patient lies; the voxels turn, the affine says so."""

    HEAD_FIRST = "HFS"
    PRONE = "HFP"
    FEET_FIRST = "FFS"
    FEET_FIRST_PRONE = "FFP"


_TURNS: Mapping[Lying, tuple[int, int, int]] = {  # of (z, y, x)
    Lying.HEAD_FIRST: (1, 1, 1),
    Lying.PRONE: (1, -1, -1),
    Lying.FEET_FIRST: (-1, 1, -1),
    Lying.FEET_FIRST_PRONE: (-1, -1, 1),
}


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """How a head is scanned.

    thickness_mm: of a slice, and from one to the next
    pixel_mm:     side of a pixel; size: pixels along one side
    pose_deg:     of the head about x (tilt), y and z; shift_mm: of the head (z, y, x)
    gantry_deg:   tilt of the gantry about x; the affine tells it, the stack is sheared as the table moves
    below_mm:     how far below the lowest brain the first slice lies; above_mm: over the vertex of the skin
    noise_hu:     SD in the middle of the brain at 5 mm
    hardening:    0 none to 1 strong: dark band between the petrous bones, bright rim at the inner table
    rest:         whether the head lies in a rest that is in view
    motion_mm:    of the head during some slices
    """

    thickness_mm: float = 5.0
    pixel_mm: float = 0.45
    size: int = 512
    pose_deg: tuple[float, float, float] = (0.0, 0.0, 0.0)
    shift_mm: tuple[float, float, float] = (0.0, 0.0, 0.0)
    gantry_deg: float = 0.0
    below_mm: float = 12.0
    above_mm: float = 8.0
    noise_hu: float = 4.0
    kernel: Kernel = field(default_factory=lambda: Kernel(cutoff=0.85))
    hardening: float = 0.5
    rest: bool = False
    motion_mm: float = 0.0
    lying: Lying = Lying.HEAD_FIRST


def drawn_protocol(rng: np.random.Generator, *, thickness_mm: float | None = None, size: int = 512) -> Protocol:
    """As different sites scan. thickness_mm: None: 5 mm mostly, 2.5 mm now and then; size: fewer pixels of more mm"""
    thick = thickness_mm if thickness_mm is not None else float(rng.choice((5.0, 5.0, 5.0, 4.8, 2.5)))
    gantry = float(rng.uniform(-20.0, 20.0)) if rng.random() < 0.2 else 0.0
    lying = Lying(str(rng.choice(list(Lying), p=(0.9, 0.03, 0.05, 0.02))))
    return Protocol(
        thickness_mm=thick,
        pixel_mm=float(rng.uniform(0.43, 0.58)) * 512.0 / size,
        size=size,
        pose_deg=(
            float(np.clip(rng.normal(0.0, 5.0), -10.0, 10.0)),
            float(np.clip(rng.normal(0.0, 3.0), -8.0, 8.0)),
            float(np.clip(rng.normal(0.0, 4.0), -10.0, 10.0)),
        ),
        shift_mm=(float(rng.uniform(-thick / 2, thick / 2)), float(rng.normal(0.0, 6.0)), float(rng.normal(0.0, 5.0))),
        gantry_deg=gantry,
        below_mm=float(rng.uniform(0.0, 24.0)),
        above_mm=float(rng.uniform(2.0, 14.0)),
        noise_hu=float(np.exp(rng.normal(np.log(3.8), 0.22))),
        kernel=Kernel(cutoff=float(rng.uniform(0.80, 0.95))),
        hardening=float(rng.uniform(0.1, 1.0)),
        rest=bool(rng.random() < 0.6),
        motion_mm=float(rng.uniform(0.8, 3.0)) if rng.random() < 0.06 else 0.0,
        lying=lying,
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class Scan:
    """What was stored.

    voxels: (z, y, x) float32, whole HU from -1024; affine: (4, 4), index (z, y, x, 1) -> LPS mm
    shares: (n, z, y, x) float32, 0 to 1: how much of each voxel belongs to each given mask
    clean:  (z, y, x) float32 HU before noise and rounding
    """

    voxels: Volume
    affine: Affine
    shares: Volume
    clean: Volume


def turned(degrees: tuple[float, float, float]) -> Affine:
    """Rotation (3, 3) about x, y and z, acting on (z, y, x)."""
    a, b, c = np.deg2rad(degrees)
    about_x = np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]])
    about_y = np.array([[np.cos(b), 0, np.sin(b)], [0, 1, 0], [-np.sin(b), 0, np.cos(b)]])
    about_z = np.array([[1, 0, 0], [0, np.cos(c), -np.sin(c)], [0, np.sin(c), np.cos(c)]])
    made: Affine = about_x @ about_y @ about_z
    return made


def acquire(
    rng: np.random.Generator,
    hu: Volume,
    protocol: Protocol,
    *,
    span: tuple[int, int],
    masks: Volume | None = None,
    spacing_mm: float = 1.0,
) -> Scan:
    """Scan a head.

    hu:         (z, y, x) at `spacing_mm`, from feet to head, front to back, right to left
    span:       first and last z of what must be in view: lowest brain, vertex of the skin
    masks:      (n, z, y, x) shares to carry along
    """
    head = turned(protocol.pose_deg)
    gantry = turned((protocol.gantry_deg, 0.0, 0.0))
    middle = np.array([sum(span) / 2.0, *((n - 1) / 2.0 for n in hu.shape[1:])]) * spacing_mm
    shift = np.array(protocol.shift_mm)
    length = (span[1] - span[0]) * spacing_mm
    thick = protocol.thickness_mm
    lean = np.cos(np.deg2rad(protocol.gantry_deg))
    # The table moves along z; the slices lean with the gantry, and are as thick as their distance along their normal.
    step = thick / lean
    count = int(np.ceil((length * 1.03 + protocol.below_mm + protocol.above_mm) / step))
    first = -length / 2.0 - protocol.below_mm + thick / 2.0
    side = protocol.pixel_mm * protocol.size
    coarse = min(max(round(side / spacing_mm), 8), protocol.size)
    mm = side / coarse
    grid = (np.arange(coarse) - (coarse - 1) / 2.0) * mm
    thin = max(round(thick / spacing_mm), 1)
    offsets = (np.arange(thin) - (thin - 1) / 2.0) * (thick / thin)
    normal, down = gantry[:, 0], gantry[:, 1]
    channels = [hu, *(masks if masks is not None else ())]
    slabs = np.empty((len(channels), count, coarse, coarse), dtype=np.float32)
    moving = _moving(rng, protocol, count)
    for index in range(count):
        origin = np.array([first + index * step, 0.0, 0.0])
        total = np.zeros((len(channels), coarse, coarse), dtype=np.float32)
        poses = moving[index]
        for turn_deg, off_mm in poses:
            own = turned((0.0, 0.0, turn_deg)).T @ head.T
            place = origin[:, None] + offsets[None] * normal[:, None]  # (3, thin) in LPS order (z, y, x), mm
            start = own @ (place - (shift + np.array([0.0, off_mm, off_mm / 2]))[:, None]) + middle[:, None]
            for k, channel in enumerate(channels):
                total[k] += _sampled(channel, start / spacing_mm, own @ down / spacing_mm, own[:, 2] / spacing_mm, grid)
        slabs[:, index] = total / len(poses)
    clean = slabs[0]
    clean += hardening(clean, bones_of(clean), protocol.hardening, mm)
    if protocol.rest:
        clean = np.maximum(clean, rest(rng, clean, mm))
    weights = _enlarging(coarse, protocol.size, mm)
    fine = np.matmul(np.matmul(weights, slabs), weights.T)
    fine[0] = np.matmul(np.matmul(weights, clean), weights.T)
    level = np.matmul(np.matmul(weights, level_of(slabs[0], mm)), weights.T)
    sd = protocol.noise_hu * np.sqrt(5.0 / thick)
    noise = shaped_noise(rng, fine.shape[1:], protocol.pixel_mm, protocol.kernel) * level * np.float32(sd)
    voxels = np.clip(np.rint(fine[0] + noise), *CLIP_HU).astype(np.float32)
    affine = np.eye(4)
    # (z, y, x) in mm to LPS (x, y, z): x to the left, y backwards, z upwards.
    order = [2, 1, 0]
    affine[:3, 0] = np.array([step, 0.0, 0.0])[order]
    affine[:3, 1] = (down * protocol.pixel_mm)[order]
    affine[:3, 2] = np.array([0.0, 0.0, protocol.pixel_mm])[order]
    half = (protocol.size - 1) / 2.0 * protocol.pixel_mm
    affine[:3, 3] = np.array([first, 0.0, 0.0])[order] - (down * half)[order] - np.array([half, 0.0, 0.0])
    return _laid(Scan(voxels=voxels, affine=affine, shares=np.clip(fine[1:], 0.0, 1.0), clean=fine[0]), protocol.lying)


def _moving(rng: np.random.Generator, protocol: Protocol, count: int) -> list[list[tuple[float, float]]]:
    """For each slice the poses it is averaged over: (degrees about z, mm)."""
    still = [[(0.0, 0.0)] for _ in range(count)]
    if not protocol.motion_mm:
        return still
    for _ in range(int(rng.integers(1, 3))):
        start, length = int(rng.integers(0, count)), int(rng.integers(2, 7))
        for index in range(start, min(start + length, count)):
            far = protocol.motion_mm * float(rng.uniform(0.5, 1.0))
            still[index] = [(0.0, 0.0), (far, far), (far * 0.5, far * 0.3)]
    return still


def _sampled(
    volume: Volume, start: Affine, down: Affine, across: Affine, grid: NDArray[np.floating[Any]]
) -> NDArray[np.float32]:
    """Mean over thin planes of the volume between its voxels; air (the volume's corner) outside. (y, x)

    start: (3, thin) voxel of each plane's middle; down, across: (3,) voxels per mm along y and x of the plane
    """
    _, height, width = volume.shape
    values = volume.reshape(-1)
    total = np.full((len(grid), len(grid)), volume[0, 0, 0] * start.shape[1], dtype=np.float32)
    for plane in start.T:
        rows, columns = (_crossed(plane, down, across, grid, volume.shape, which) for which in (0, 1))
        if rows.start >= rows.stop or columns.start >= columns.stop:
            continue
        flat = np.zeros((rows.stop - rows.start, columns.stop - columns.start), dtype=np.int32)
        parts = []
        valid = np.ones(flat.shape, dtype=bool)
        for axis, length in enumerate(volume.shape):
            along_y = (plane[axis] + down[axis] * grid[rows]).astype(np.float32)
            at = along_y[:, None] + (across[axis] * grid[columns]).astype(np.float32)[None]
            valid &= (at >= 0) & (at < length - 1)
            low = at.astype(np.int32)
            parts.append(at - low)
            flat = flat * length + low
        flat *= valid
        dz, dy, dx = parts
        below = _bilinear(values, flat, width, dy, dx)
        above = _bilinear(values, flat + height * width, width, dy, dx)
        below += dz * (above - below)
        total[rows, columns] += np.where(valid, below - volume[0, 0, 0], 0.0)
    total /= np.float32(start.shape[1])
    return total


def _crossed(
    plane: Affine, down: Affine, across: Affine, grid: NDArray[np.floating[Any]], shape: tuple[int, ...], which: int
) -> slice:
    """The rows (0) or columns (1) of the plane that can meet the volume."""
    own, other = (down, across) if which == 0 else (across, down)
    inside = np.ones(len(grid), dtype=bool)
    for axis, length in enumerate(shape):
        at = plane[axis] + own[axis] * grid
        wide = np.abs(other[axis]) * float(np.abs(grid).max())
        inside &= (at > -wide - 1) & (at < length + wide)
    found = np.nonzero(inside)[0]
    return slice(int(found[0]), int(found[-1]) + 1) if len(found) else slice(0, 0)


def _bilinear(
    values: NDArray[np.float32],
    flat: NDArray[np.int32],
    width: int,
    dy: NDArray[np.float32],
    dx: NDArray[np.float32],
) -> NDArray[np.float32]:
    upper, lower = values[flat], values[flat + width]
    upper += dx * (values[flat + 1] - upper)
    lower += dx * (values[flat + (width + 1)] - lower)
    upper += dy * (lower - upper)
    made: NDArray[np.float32] = upper
    return made


@lru_cache(maxsize=4)
def _enlarging(coarse: int, size: int, mm: float) -> NDArray[np.float32]:
    """(size, coarse): Catmull-Rom from one grid to the other of the same field, after a Gaussian of _SOFT_MM."""
    at = (np.arange(size) + 0.5) * coarse / size - 0.5
    off = np.abs(at[:, None] - np.arange(coarse)[None])
    near = 1.5 * off**3 - 2.5 * off**2 + 1.0
    far = -0.5 * off**3 + 2.5 * off**2 - 4.0 * off + 2.0
    weights = np.where(off < 1, near, np.where(off < 2, far, 0.0))
    index = np.arange(coarse)
    soft = np.exp(-0.5 * ((index[:, None] - index[None]) * mm / _SOFT_MM) ** 2)
    soft /= soft.sum(1, keepdims=True)
    weights /= weights.sum(1, keepdims=True)
    return (weights @ soft).astype(np.float32)


def _laid(scan: Scan, lying: Lying) -> Scan:
    """Turn the stack as the patient lies; the affine keeps every voxel where it is in the patient."""
    affine = scan.affine.copy()
    flips = _TURNS[lying]
    for axis, (way, length) in enumerate(zip(flips, scan.voxels.shape, strict=True)):
        if way < 0:
            affine[:3, 3] += affine[:3, axis] * (length - 1)
            affine[:3, axis] *= -1.0
    turn = tuple(slice(None, None, way) for way in flips)
    shares = scan.shares[(slice(None), *turn)]
    voxels, clean, shares = (np.ascontiguousarray(part) for part in (scan.voxels[turn], scan.clean[turn], shares))
    return replace(scan, voxels=voxels, affine=affine, shares=shares, clean=clean)
