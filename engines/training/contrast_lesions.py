"""Lesions whose leak is only partly told by how they look: NETWORKS C2. numpy only.

A leak is drawn after the looks: how strong it is never depends on T1, T2, size or place; whether there is one follows
the kind of lesion, but for a share of lesions in which it is drawn as if the kind were not known.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from engines.training.contrast_physics import Protocol, plasma, tofts
from engines.training.contrast_tissue import HAEMATOCRIT, Maps
from engines.training.head_labels import Tissue, smooth_field

STEP_MIN = 0.05
INDEPENDENT = 0.4  # share of lesions in which whether they leak is drawn without looking at the kind
LEAK_THEN = 0.35  # how many of those leak


class Kind(StrEnum):
    """What a lesion looks like; the first three leak as a rule."""

    RING = "ring"
    SOLID = "solid"
    NODE = "node"
    LOW_GRADE = "low-grade"
    OEDEMA = "oedema"
    PLAQUES = "plaques"
    INFARCT = "infarct"


LEAKING = (Kind.RING, Kind.SOLID, Kind.NODE)
QUIET = (Kind.LOW_GRADE, Kind.OEDEMA, Kind.PLAQUES, Kind.INFARCT)
_SHARES = (0.2, 0.2, 0.15, 0.25, 0.07, 0.07, 0.06)


@dataclass(frozen=True, kw_only=True)
class Lesion:
    """What was put in.

    number: of its voxels in the map of lesions
    leaks:  whether its barrier lets gadolinium through; surprise: against what its kind does as a rule
    gd_mm:  concentration where it leaks
    """

    number: int
    kind: Kind
    leaks: bool
    gd_mm: float

    @property
    def surprise(self) -> bool:
        """Whether looks and leak disagree."""
        return self.leaks != (self.kind in LEAKING)


@dataclass(frozen=True, kw_only=True, eq=False)
class Space:
    """The grid that a case is painted on: (z, y, x) of `tissue`, at `spacing_mm`."""

    tissue: NDArray[np.uint8]
    spacing_mm: tuple[float, float, float]


def gadolinium(rng: np.random.Generator, plan: Protocol) -> float:
    """In a leaking lesion at the time of the image, mM: Ktrans from all of C2's range, evenly in its logarithm."""
    ktrans = float(np.exp(rng.uniform(np.log(0.01), np.log(0.2))))
    curve = plasma(plan.plasma_mm, plan.minutes, STEP_MIN)
    vp, ve = float(rng.uniform(0.03, 0.10)) * (1.0 - HAEMATOCRIT), float(rng.uniform(0.1, 0.4))
    return float(tofts(vp, ktrans, ve, curve, STEP_MIN)[-1])


def paint(
    rng: np.random.Generator,
    maps: Maps,
    space: Space,
    plan: Protocol,
    *,
    kinds: Sequence[Kind] = tuple(Kind),
    independent: float = INDEPENDENT,
    most: int = 3,
) -> tuple[list[Lesion], NDArray[np.uint8]]:
    """Put 1 to `most` groups of lesions into the maps, in place; returns them and the map of their numbers (z, y, x).

    independent: see INDEPENDENT; 0 where the kind alone decides
    """
    shares = np.array([_SHARES[list(Kind).index(kind)] for kind in kinds])
    where = np.zeros(space.tissue.shape, dtype=np.uint8)
    made: list[Lesion] = []
    brain = np.flatnonzero(np.isin(space.tissue, (Tissue.WHITE, Tissue.GREY, Tissue.DEEP)))
    if brain.size == 0:
        return made, where
    for _ in range(int(rng.integers(1, most + 1))):
        kind = kinds[int(rng.choice(len(kinds), p=shares / shares.sum()))]
        leaks = kind in LEAKING
        if rng.random() < independent:
            leaks = bool(rng.random() < LEAK_THEN)
        several = {Kind.NODE: 4, Kind.PLAQUES: 8}.get(kind, 1)
        for _ in range(int(rng.integers(1, several + 1))):
            centre = np.unravel_index(int(rng.choice(brain)), space.tissue.shape)
            gd = gadolinium(rng, plan) if leaks else 0.0
            number = len(made) + 1
            _one(rng, maps, space, kind, (int(centre[0]), int(centre[1]), int(centre[2])), gd, where, number)
            made.append(Lesion(number=number, kind=kind, leaks=leaks, gd_mm=gd))
    return made, where


_RADIUS = {
    Kind.RING: (7.0, 22.0),
    Kind.SOLID: (5.0, 18.0),
    Kind.NODE: (2.0, 8.0),
    Kind.LOW_GRADE: (8.0, 28.0),
    Kind.OEDEMA: (8.0, 22.0),
    Kind.PLAQUES: (2.0, 7.0),
    Kind.INFARCT: (6.0, 25.0),
}
# T1, T2 in ms and PD: smallest and largest.
_LOOKS = {
    Kind.RING: ((1400.0, 1800.0), (120.0, 160.0), (0.86, 0.9)),
    Kind.SOLID: ((1400.0, 1800.0), (110.0, 160.0), (0.86, 0.9)),
    Kind.NODE: ((1350.0, 1800.0), (100.0, 160.0), (0.84, 0.9)),
    Kind.LOW_GRADE: ((1400.0, 2000.0), (130.0, 210.0), (0.86, 0.92)),
    Kind.OEDEMA: ((1300.0, 1600.0), (110.0, 160.0), (0.87, 0.92)),
    Kind.PLAQUES: ((1200.0, 1700.0), (110.0, 180.0), (0.82, 0.9)),
    Kind.INFARCT: ((1500.0, 2200.0), (140.0, 260.0), (0.88, 0.95)),
}
_NECROSIS = ((2000.0, 3000.0), (200.0, 500.0), (0.93, 0.97))
_CAVITY = ((3000.0, 4200.0), (600.0, 1800.0), (0.97, 1.0))


def _one(
    rng: np.random.Generator,
    maps: Maps,
    space: Space,
    kind: Kind,
    centre: tuple[int, int, int],
    gd: float,
    where: NDArray[np.uint8],
    number: int,
) -> None:
    radius = float(rng.uniform(*_RADIUS[kind]))
    around = radius * float(rng.uniform(1.3, 2.2)) if kind in LEAKING and rng.random() < 0.75 else radius
    box = tuple(
        slice(max(at - int((1.6 * around + 4.0) / mm), 0), at + int((1.6 * around + 4.0) / mm) + 1)
        for at, mm in zip(centre, space.spacing_mm, strict=True)
    )
    tissue = space.tissue[box]
    depth = _depth(rng, tissue.shape, box, centre, space.spacing_mm, radius)
    # What holds water and what a tumour grows into; ventricles, sinuses and bone stay as they are.
    soft = np.isin(tissue, (Tissue.WHITE, Tissue.GREY, Tissue.DEEP, Tissue.SPOTS)).astype(np.float32)
    white = np.isin(tissue, (Tissue.WHITE, Tissue.SPOTS)).astype(np.float32)
    grows = np.maximum(soft, 0.85 * (tissue == Tissue.CSF)) if kind in LEAKING else soft
    if around > radius:
        share = _edge(depth + (around - radius), 2.0) * (0.15 * soft + 0.85 * white)
        _blend(rng, maps, box, share, _LOOKS[Kind.OEDEMA], None)
    width = float(rng.uniform(0.4, 1.0)) if kind in LEAKING else float(rng.uniform(0.5, 2.5))
    share = _edge(depth, width) * (white + 0.2 * (soft - white) if kind is Kind.OEDEMA else grows)
    _blend(rng, maps, box, share, _LOOKS[kind], gd)
    core = float(rng.uniform(2.0, 0.45 * radius + 1.0)) if kind is Kind.RING else 0.0
    if kind is Kind.SOLID and radius > 9.0 and rng.random() < 0.3:
        core = 0.6 * radius
    if kind is Kind.LOW_GRADE and rng.random() < 0.25:  # a cyst: looks like necrosis, means nothing
        core = 0.5 * radius
    if core:
        _blend(rng, maps, box, _edge(depth - core, 1.0) * grows, _NECROSIS, 0.0)
    if kind is Kind.INFARCT and rng.random() < 0.7:
        _blend(rng, maps, box, _edge(depth - float(rng.uniform(1.0, 4.0)), 1.0) * soft, _CAVITY, 0.0)
    where[box][share > 0.5] = number


def _depth(
    rng: np.random.Generator,
    shape: tuple[int, ...],
    box: tuple[slice, ...],
    centre: tuple[int, int, int],
    spacing_mm: tuple[float, float, float],
    radius: float,
) -> NDArray[np.float32]:
    """How deep inside an irregular ellipsoid, mm; below 0 outside."""
    turned, _ = np.linalg.qr(rng.standard_normal((3, 3)))
    axes = rng.uniform(0.75, 1.3, 3)
    away = [
        (np.arange(length) + part.start - at) * mm
        for length, part, at, mm in zip(shape, box, centre, spacing_mm, strict=True)
    ]
    squared = np.zeros(shape, dtype=np.float32)
    for row, axis in zip(turned, axes, strict=True):
        along = (
            row[0] * away[0][:, None, None] + row[1] * away[1][None, :, None] + row[2] * away[2][None, None, :]
        ) / axis
        squared += (along**2).astype(np.float32)
    knot = max(0.6 * radius, 2.5)
    rough = smooth_field(rng, shape, tuple(max(knot / mm, 1.01) for mm in spacing_mm))  # type: ignore[arg-type]  # three
    made: NDArray[np.float32] = np.float32(radius) * (1.0 + np.float32(0.15) * rough) - np.sqrt(squared)
    return made


def _edge(depth: NDArray[np.float32], width_mm: float) -> NDArray[np.float32]:
    made: NDArray[np.float32] = 1.0 / (1.0 + np.exp(np.clip(-depth / np.float32(width_mm), -30.0, 30.0)))
    return made


def _blend(
    rng: np.random.Generator,
    maps: Maps,
    box: tuple[slice, ...],
    share: NDArray[np.float32],
    looks: tuple[tuple[float, float], tuple[float, float], tuple[float, float]],
    gd: float | None,
) -> None:
    """Mix a compartment into the maps: rates and densities by their share; `gd` None leaves the concentration."""
    grain = smooth_field(rng, share.shape, (3.5, 3.5, 3.5)) * np.float32(rng.uniform(0.02, 0.08))
    for volume, (low, high) in zip((maps.t1, maps.t2), looks[:2], strict=True):
        value = np.float32(rng.uniform(low, high)) * (1.0 + grain)
        volume[box] = 1.0 / ((1.0 - share) / volume[box] + share / value)
    maps.pd[box] = (1.0 - share) * maps.pd[box] + share * np.float32(rng.uniform(*looks[2]))
    if gd is not None:
        patchy = np.clip(1.0 + 4.0 * grain, 0.4, 1.6) if gd else 1.0
        quiet = 0.012 * maps.pd[box]  # blood in a lesion with its barrier whole
        maps.gd[box] = (1.0 - share) * maps.gd[box] + share * np.maximum(np.float32(gd) * patchy, quiet * (gd == 0.0))
