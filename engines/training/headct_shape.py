"""Many heads from a few: size, smooth deformation, age, and forces from within. numpy only.

Every change is a pull: for a voxel of the new head, where in the map its matter lies. The deformations compose, and the
map is read once, at its nearest voxel.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from engines.training.head_labels import blur, smooth_field
from engines.training.headct_anatomy import BRAIN, Anatomy, Mask, Matter, Volume, distance

Pull = Callable[[NDArray[np.float32]], NDArray[np.float32]]
"""(3, n) voxels (z, y, x) of the pushed head -> (3, n) voxels where their matter was before."""
PAD = 6  # voxels around the map, for heads that become larger
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

    content: (z, y, x) bool, inside the skull; depth: as of `Anatomy`
    """

    matter: NDArray[np.uint8]
    side: NDArray[np.int8]
    content: Mask
    depth: Volume
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


def shaped(rng: np.random.Generator, anatomy: Anatomy, looks: Looks, push: Pull | None = None) -> Subject:
    """The map, formed. push: a force from within (mass effect), in voxels of the new head"""
    shape = tuple(n + 2 * PAD for n in anatomy.matter.shape)
    centre = np.array([(n - 1) / 2.0 for n in anatomy.matter.shape], dtype=np.float32)
    leaning = np.eye(3)
    leaning[0, 1], leaning[1, 2], leaning[0, 2] = looks.shear
    turn = (leaning / np.array(looks.scale)[:, None]).astype(np.float32)
    if looks.flipped:
        turn[2] *= -1.0
    coarse, fine = looks.warp_mm
    made = tuple(np.zeros(shape, dtype=kind) for kind in (np.uint8, np.int8, bool, np.float32))
    warps = [np.zeros(shape, np.float32) for _ in range(3)]
    if coarse or fine:
        for warp in warps:
            warp += np.float32(coarse) * smooth_field(rng, shape, (55.0, 55.0, 55.0))
            warp += np.float32(fine) * smooth_field(rng, shape, (22.0, 22.0, 22.0))
    for z0 in range(0, shape[0], 16):  # in parts, so that the arrays stay in the cache
        part = slice(z0, min(z0 + 16, shape[0]))
        grid = np.indices((part.stop - part.start, *shape[1:]), dtype=np.float32).reshape(3, -1)
        grid[0] += z0
        if push is not None:
            grid = push(grid)
        off = np.array([warp[part].reshape(-1) for warp in warps], dtype=np.float32)
        source = turn @ (grid - (centre + PAD)[:, None]) + centre[:, None] + off
        if looks.ventricles_mm:
            source = source - np.float32(looks.ventricles_mm) * _ventricle_pull(anatomy.number, anatomy, source)
        flat, valid = _nearest(source, anatomy.matter.shape)
        for new, old in zip(made, (anatomy.matter, anatomy.side, anatomy.content, anatomy.depth), strict=True):
            new[part] = (old.reshape(-1)[flat] * valid).reshape(new[part].shape)
    matter, side, content, depth = made
    if looks.flipped:
        side = -side
    subject = Subject(matter=matter, side=side, content=content, depth=depth, looks=looks)
    _sulci(subject)
    _sheets(subject)
    return subject


def _nearest(source: NDArray[np.float32], shape: tuple[int, ...]) -> tuple[NDArray[np.intp], Mask]:
    """Flat index of the nearest voxel, and whether it is inside."""
    flat = np.zeros(source.shape[1], dtype=np.intp)
    valid = np.ones(source.shape[1], dtype=bool)
    for axis, length in enumerate(shape):
        index = np.rint(source[axis]).astype(np.int32)
        valid &= (index >= 0) & (index < length)
        flat = flat * length + np.clip(index, 0, length - 1)
    return flat, valid


@lru_cache(maxsize=2)
def _walls(number: int, anatomy: Anatomy) -> NDArray[np.float16]:
    """(3, z, y, x): away from the ventricles, length 1 at their walls, fading inwards and outwards and at the skull."""
    inside = np.isin(anatomy.matter, (Matter.VENTRICLE, Matter.CHOROID))
    signed = blur(distance(inside, 30) - distance(~inside, 12), 1.5)
    slope = np.stack(np.gradient(signed))
    length = np.maximum(np.sqrt((slope**2).sum(0)), 0.3)
    weight = np.exp(-np.abs(signed) / _FADES_MM) * anatomy.depth * (signed < 29.0)
    made: NDArray[np.float16] = (slope / length * weight).astype(np.float16)
    return made


def _ventricle_pull(number: int, anatomy: Anatomy, source: NDArray[np.float32]) -> NDArray[np.float32]:
    walls = _walls(number, anatomy)
    flat, valid = _nearest(source, anatomy.matter.shape)
    return walls.reshape(3, -1)[:, flat].astype(np.float32) * valid


def _sulci(subject: Subject) -> None:
    """Fluid gains on the cortex or the cortex on it, in place."""
    matter, gain = subject.matter, subject.looks.sulci
    if abs(gain) < 0.01:
        return
    fluid = blur(matter == Matter.CSF, 1.2)
    if gain > 0:
        matter[np.isin(matter, (Matter.GREY, Matter.HIND_GREY)) & (fluid > 0.5 - gain)] = Matter.CSF
        return
    lost = (matter == Matter.CSF) & (fluid < 0.5 - gain) & (blur(np.isin(matter, BRAIN), 1.2) > 0.25)
    hind = blur(np.isin(matter, (Matter.HIND_GREY, Matter.HIND_WHITE)), 2.0) > blur(matter == Matter.GREY, 2.0)
    matter[lost] = np.where(hind[lost], Matter.HIND_GREY, Matter.GREY)


def _sheets(subject: Subject) -> None:
    """Falx and tentorium where fluid lies between the halves, and between cerebrum and cerebellum, in place."""
    matter = subject.matter
    deep = np.nonzero(np.isin(matter, (Matter.GANGLIA, Matter.THALAMUS)).any(axis=(1, 2)))[0]
    if len(deep) == 0:
        return
    fluid = (matter == Matter.CSF) & subject.content
    falx = fluid & (np.abs(blur(subject.side, 1.5)) < 0.4)
    falx[: int(deep[-1]) + 4] = False
    hind = blur(np.isin(matter, (Matter.HIND_GREY, Matter.HIND_WHITE)), 3.0)
    above = blur(np.isin(matter, (Matter.GREY, Matter.WHITE)), 3.0)
    tentorium = fluid & (np.minimum(hind, above) > 0.12) & (np.abs(hind - above) < 0.07)
    matter[falx | tentorium] = Matter.FALX
