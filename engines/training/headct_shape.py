"""Many heads from a few: size, smooth deformation, age, and forces from within. numpy only.

Every change is a pull: for a voxel of the new head, where in the map its matter lies. The deformations compose, and the
map is read once, at its nearest voxel.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from engines.training.head_labels import blur, smooth_field
from engines.training.headct_anatomy import BRAIN, Anatomy, Mask, Matter, Volume, at, distance

T = TypeVar("T", bound=np.generic)
Pull = Callable[[NDArray[np.float32]], NDArray[np.float32]]
"""(3, n) voxels (z, y, x) of the pushed head -> (3, n), how far from there their matter was before."""
PAD = 6  # voxels around the map, for heads that become larger
_MATTER, _LEFT, _CONTENT = 31, 64, 128  # bits of a packed voxel
_FADES_MM = 14.0  # over which the wall of a ventricle moves less with distance


@dataclass(frozen=True, kw_only=True)
class Looks:
    """How a head differs from its map.

    scale:         of each axis (z, y, x)
    shear:         (3, 3), what the axes lean to each other
    warp_mm:       SD of the coarse (55 mm) and of the fine (22 mm) deformation
    ventricles_mm: how far the walls of the ventricles move outwards
    sulci:         -0.3 to 0.3: how far fluid gains on the cortex
    flipped:       left for right
    """

    age: float
    scale: tuple[float, float, float] = (1.0, 1.0, 1.0)
    shear: tuple[float, float, float] = (0.0, 0.0, 0.0)
    warp_mm: tuple[float, float] = (0.0, 0.0)
    ventricles_mm: float = 0.0
    sulci: float = 0.0
    flipped: bool = False


@dataclass(frozen=True, kw_only=True, eq=False)
class Subject:
    """One head at 1 mm after all that formed it; axes as `Anatomy`.

    content: (z, y, x) bool, inside the skull
    """

    matter: NDArray[np.uint8]
    side: NDArray[np.int8]
    content: Mask
    looks: Looks


def drawn_looks(rng: np.random.Generator) -> Looks:
    """An adult. The older, the more fluid; the maps already differ in age, so this only spreads them."""
    age = float(rng.uniform(19.0, 92.0))
    older = (age - 55.0) / 37.0
    size = 1.0 + 0.03 * rng.standard_normal()
    scale = size * (1.0 + 0.025 * rng.standard_normal(3))
    return Looks(
        age=age,
        scale=tuple(np.clip(scale, 0.9, 1.09).tolist()),
        shear=tuple((0.02 * rng.standard_normal(3)).tolist()),
        warp_mm=(float(rng.uniform(1.5, 3.5)), float(rng.uniform(0.3, 1.0))),
        ventricles_mm=float(np.clip(0.8 * older + 0.9 * rng.standard_normal(), -1.8, 3.0)),
        sulci=float(np.clip(0.08 * older + 0.07 * rng.standard_normal(), -0.22, 0.22)),
        flipped=bool(rng.random() < 0.5),
    )


def worn_looks(rng: np.random.Generator) -> Looks:
    """An adult whose brain has shrunk, as at the end of the range that `drawn_looks` only touches: wide ventricles and
    sulci. Normal for the age, and read as a defect of tissue by a network that never saw it."""
    usual = drawn_looks(rng)
    wider, deeper = float(rng.uniform(0.5, 5.5)), float(rng.uniform(0.05, 0.42))
    return replace(usual, age=float(rng.uniform(65.0, 95.0)), ventricles_mm=wider, sulci=deeper)


def shaped(rng: np.random.Generator, anatomy: Anatomy, looks: Looks, push: Pull | None = None) -> Subject:
    """The map, formed. push: a force from within (mass effect), in voxels of the new head"""
    shape = tuple(n + 2 * PAD for n in anatomy.matter.shape)
    centre = np.array([(n - 1) / 2.0 for n in anatomy.matter.shape], dtype=np.float32)
    turn = _turn(looks)
    packed = _packed(anatomy)
    made = np.zeros(shape, dtype=np.uint8)
    warps = _warps(rng, shape, looks.warp_mm)
    walls = _walls(anatomy.number, anatomy) if looks.ventricles_mm else None
    flat_grid = np.indices((1, *shape[1:]), dtype=np.float32).reshape(3, -1)
    for z in range(shape[0]):  # plane by plane, so that the arrays stay in the cache
        grid = flat_grid.copy()
        grid[0] = z
        if push is not None:
            flat, valid = _nearest(_from(grid, turn, centre), anatomy.matter.shape)
            grid += push(grid) * (anatomy.depth.reshape(-1)[flat] * valid)  # the skull stays
        source = _from(grid, turn, centre)
        for axis, warp in enumerate(warps):
            source[axis] += warp(z)
        if walls is not None:
            flat, valid = _nearest(source * np.float32(0.5), walls.shape[:3])
            source -= np.float32(looks.ventricles_mm) * (walls.reshape(-1, 3)[flat] * valid[:, None]).T
        flat, valid = _nearest(source, anatomy.matter.shape)
        made[z] = (packed[flat] * valid).reshape(shape[1:])
    side = np.where(made & _LEFT, 1, -1).astype(np.int8)
    if looks.flipped:
        side = -side
    subject = Subject(matter=made & np.uint8(_MATTER), side=side, content=(made & _CONTENT) > 0, looks=looks)
    _sulci(subject)
    _sheets(subject)
    return subject


def _turn(looks: Looks) -> NDArray[np.float32]:
    """(3, 3): from the head to its map, about their middles."""
    leaning = np.eye(3)
    leaning[0, 1], leaning[1, 2], leaning[0, 2] = looks.shear
    turn = (leaning / np.array(looks.scale)[:, None]).astype(np.float32)
    if looks.flipped:
        turn[2] *= -1.0
    return turn


def _from(grid: NDArray[np.float32], turn: NDArray[np.float32], centre: NDArray[np.float32]) -> NDArray[np.float32]:
    """Voxels of the map for those of the head, without warps."""
    made = turn @ (grid - (centre + np.float32(PAD))[:, None])
    made += centre[:, None]
    return made.astype(np.float32, copy=False)


def placed(anatomy: Anatomy, looks: Looks, voxel: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """About where a voxel of the map comes to lie in the head: without the warps."""
    centre = np.array([(n - 1) / 2.0 for n in anatomy.matter.shape])
    made: NDArray[np.float64] = np.linalg.solve(_turn(looks).astype(np.float64), voxel - centre) + centre + PAD
    return made


def _packed(anatomy: Anatomy) -> NDArray[np.uint8]:
    """Matter, side and content in one number for each voxel: one look-up instead of three."""
    made: NDArray[np.uint8] = anatomy.matter + np.where(anatomy.side > 0, _LEFT, 0).astype(np.uint8)
    made += np.where(anatomy.content, _CONTENT, 0).astype(np.uint8)
    return made.reshape(-1)


def _warps(
    rng: np.random.Generator, shape: tuple[int, ...], warp_mm: tuple[float, float]
) -> list[Callable[[int], NDArray[np.float32]]]:
    """Displacement along each axis, as a function of the plane; made on every fourth voxel."""
    coarse, fine = warp_mm
    small = tuple(n // 4 + 2 for n in shape)
    rows, columns = (_linear(n, m) for n, m in zip(shape[1:], small[1:], strict=True))

    def planes(field: Volume) -> Callable[[int], NDArray[np.float32]]:
        def plane(z: int) -> NDArray[np.float32]:
            low, part = divmod(z, 4)
            between = field[low] + np.float32(part / 4.0) * (field[low + 1] - field[low])
            made: NDArray[np.float32] = (rows @ between @ columns.T).reshape(-1)
            return made

        return plane

    fields = (
        np.float32(coarse) * smooth_field(rng, small, (13.75, 13.75, 13.75))
        + np.float32(fine) * smooth_field(rng, small, (5.5, 5.5, 5.5))
        for _ in range(3)
    )
    return [planes(field) for field in fields]


def _linear(length: int, count: int) -> NDArray[np.float32]:
    """(length, count): linear interpolation from every fourth voxel."""
    off = np.abs(np.arange(length)[:, None] / 4.0 - np.arange(count)[None])
    return np.maximum(1.0 - off, 0.0).astype(np.float32)


def _nearest(source: NDArray[np.float32], shape: tuple[int, ...]) -> tuple[NDArray[np.int32], Mask]:
    """Flat index of the nearest voxel, and whether it is inside."""
    index = (source + np.float32(0.5)).astype(np.int32)  # towards 0, so that -0.9 counts as inside: no matter there
    valid = np.ones(source.shape[1], dtype=bool)
    for axis, length in enumerate(shape):
        valid &= (index[axis] >= 0) & (index[axis] < length)
    flat = (index[0] * shape[1] + index[1]) * shape[2] + index[2]
    flat *= valid
    return flat, valid


@lru_cache(maxsize=2)
def _walls(number: int, anatomy: Anatomy) -> NDArray[np.float32]:
    """(z, y, x, 3) at 2 mm: away from the ventricles, 1 at their walls, fading with distance and at the skull."""
    inside = np.isin(anatomy.matter, (Matter.VENTRICLE, Matter.CHOROID))[::2, ::2, ::2]
    signed = blur(2.0 * (distance(inside, 15) - distance(~inside, 6)), 0.75)
    slope = np.array(np.gradient(signed, 2.0), dtype=np.float32)
    length = np.maximum(np.sqrt((slope**2).sum(0)), 0.3)
    weight = np.exp(-np.abs(signed) / _FADES_MM) * anatomy.depth[::2, ::2, ::2] * (signed < 29.0)
    made: NDArray[np.float32] = np.ascontiguousarray(np.moveaxis(slope / length * weight, 0, -1), dtype=np.float32)
    return made


def _sulci(subject: Subject) -> None:
    """Fluid gains on the cortex or the cortex on it, in place."""
    matter, gain = subject.matter, subject.looks.sulci
    if abs(gain) < 0.01:
        return
    fluid = soft(matter == Matter.CSF)
    if gain > 0:
        matter[np.isin(matter, (Matter.GREY, Matter.HIND_GREY)) & (fluid > 0.5 - gain)] = Matter.CSF
        return
    lost = (matter == Matter.CSF) & (fluid < 0.5 - gain) & (soft(np.isin(matter, BRAIN)) > 0.25)
    hind = halved(np.isin(matter, (Matter.HIND_GREY, Matter.HIND_WHITE)), 2.0)
    matter[lost] = np.where(
        doubled(hind > halved(matter == Matter.GREY, 2.0), matter.shape)[lost], Matter.HIND_GREY, Matter.GREY
    )


def soft(mask: Mask) -> Volume:
    """Mean over a binomial window 1 4 6 4 1 along each axis, an SD of 1 voxel; (z, y, x), the border 0."""
    made = mask.astype(np.float32)
    for axis in range(3):
        for _ in range(2):
            wide = made * np.float32(0.5)
            wide[at(axis, slice(1, None))] += np.float32(0.25) * made[at(axis, slice(None, -1))]
            wide[at(axis, slice(None, -1))] += np.float32(0.25) * made[at(axis, slice(1, None))]
            made = wide
    return made


def halved(mask: Mask, sigma: float) -> Volume:
    """Gaussian of so many voxels of a mask, on every second voxel; (z / 2, y / 2, x / 2)."""
    return blur(mask[::2, ::2, ::2], sigma / 2.0)


def doubled(values: NDArray[T], shape: tuple[int, ...]) -> NDArray[T]:
    """Every second voxel for its neighbours too."""
    for axis in range(3):
        values = np.repeat(values, 2, axis=axis)
    z, y, x = shape
    return values[:z, :y, :x]


def _sheets(subject: Subject) -> None:
    """Falx and tentorium where fluid lies between the halves, and between cerebrum and cerebellum, in place."""
    matter = subject.matter
    deep = np.nonzero(np.isin(matter, (Matter.GANGLIA, Matter.THALAMUS)).any(axis=(1, 2)))[0]
    if len(deep) == 0:
        return
    fluid = (matter == Matter.CSF) & subject.content
    between = np.zeros_like(fluid)
    changes = subject.side[:, :, 1:] != subject.side[:, :, :-1]
    between[:, :, 1:] |= changes
    between[:, :, :-1] |= changes
    falx = fluid & between
    falx[: int(deep[-1]) + 4] = False
    hind = doubled(halved(np.isin(matter, (Matter.HIND_GREY, Matter.HIND_WHITE)), 3.0), matter.shape)
    above = doubled(halved(np.isin(matter, (Matter.GREY, Matter.WHITE)), 3.0), matter.shape)
    tentorium = fluid & (np.minimum(hind, above) > 0.12) & (np.abs(hind - above) < 0.07)
    matter[falx | tentorium] = Matter.FALX
