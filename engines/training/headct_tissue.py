"""Hounsfield units of a head (NETWORKS C4), with what differs between healthy heads. numpy only."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engines.training.head_labels import smooth_field
from engines.training.headct_anatomy import BRAIN, Matter, Volume, at
from engines.training.headct_shape import Subject, doubled, halved

HU = {
    Matter.AIR: -1000.0,
    Matter.SKIN: 35.0,
    Matter.FAT: -95.0,
    Matter.MUSCLE: 55.0,
    Matter.BONE: 1050.0,
    Matter.DIPLOE: 480.0,
    Matter.MUCOSA: 35.0,
    Matter.EYE: 12.0,
    Matter.NERVE: 32.0,
    Matter.WHITE: 28.5,
    Matter.GREY: 38.0,
    Matter.GANGLIA: 38.0,
    Matter.THALAMUS: 36.0,
    Matter.STEM: 32.0,
    Matter.HIND_WHITE: 30.0,
    Matter.HIND_GREY: 38.0,
    Matter.CSF: 6.0,
    Matter.VENTRICLE: 5.0,
    Matter.CHOROID: 38.0,
    Matter.SPOTS: 21.0,
    Matter.VEIN: 50.0,
    Matter.ARTERY: 45.0,
    Matter.FALX: 48.0,
}
"""HU of each matter, mean over subjects."""
COMMON_HU, OWN_HU, BONE_PART = 2.2, 0.9, 0.04
"""SD between subjects: of all soft tissue together (0.2 %), of each alone, and of bone as a part of it."""
EDGE_MM = 0.45  # how soft an edge is before the scanner sees it


@dataclass(frozen=True, kw_only=True)
class Blood:
    """What the blood of a subject shows: HU rises with the haematocrit, 20 + 0.8 Hct in percent and less in life."""

    haematocrit: float

    @property
    def hu(self) -> float:
        """In veins and arteries."""
        return 14.0 + 0.8 * self.haematocrit


def table(rng: np.random.Generator, blood: Blood) -> NDArray[np.float32]:
    """HU by `Matter` of one subject."""
    common = COMMON_HU * float(np.clip(rng.standard_normal(), -2.2, 2.2))
    made = np.zeros(len(Matter), dtype=np.float32)
    bone = 1.0 + BONE_PART * rng.standard_normal()
    for matter, hu in HU.items():
        if matter is Matter.AIR:
            made[matter] = hu
        elif matter in (Matter.BONE, Matter.DIPLOE):
            made[matter] = hu * bone
        else:
            made[matter] = hu + common + OWN_HU * float(np.clip(rng.standard_normal(), -2.2, 2.2))
    made[Matter.CSF] = np.clip(made[Matter.CSF], 1.0, 12.0)
    made[Matter.VENTRICLE] = np.clip(made[Matter.VENTRICLE], 0.0, 11.0)
    made[Matter.VEIN] = blood.hu + common
    made[Matter.ARTERY] = blood.hu - 2.0 + common
    made[Matter.FALX] += 4.0 * rng.standard_normal()
    return made


def painted(rng: np.random.Generator, subject: Subject) -> Volume:
    """HU of a head, sharp but for EDGE_MM, without noise; (z, y, x)."""
    matter, looks = subject.matter, subject.looks
    blood = Blood(haematocrit=float(np.clip(rng.normal(42.0, 4.5), 30.0, 58.0)))
    hu = table(rng, blood)[matter]
    brain = np.isin(matter, BRAIN)
    fine, coarse = rng.uniform(0.6, 1.6), rng.uniform(0.3, 1.0)
    grain = np.float32(fine) * _grain(rng, hu.shape)
    grain += np.float32(coarse) * smooth_field(rng, hu.shape, (18.0, 18.0, 18.0))
    bony = np.isin(matter, (Matter.BONE, Matter.DIPLOE))
    hu += grain * (brain + np.float32(90.0) * bony)
    np.maximum(hu, 250.0, out=hu, where=bony)
    _pale_white(rng, subject, hu)
    if rng.random() < 0.02 + 0.012 * max(looks.age - 25.0, 0.0):
        _pineal(rng, subject, hu)
    if rng.random() < 0.015 * max(looks.age - 30.0, 0.0):
        _choroid(rng, subject, hu)
    if rng.random() < 0.12 * (looks.age > 45.0):
        _pallidum(rng, subject, hu)
    if rng.random() < 0.15 * (looks.age > 35.0):
        _falx(rng, subject, hu)
    return edged(hu)


def _grain(rng: np.random.Generator, shape: tuple[int, ...]) -> Volume:
    """White noise smoothed over about 3 mm, mean 0, SD 1; repeats itself only where nothing looks alike."""
    small = soft_noise(rng, tuple(n // 2 + 1 for n in shape))
    return doubled_smooth(small, shape)


def soft_noise(rng: np.random.Generator, shape: tuple[int, ...]) -> Volume:
    """White noise of SD 1."""
    made: Volume = rng.standard_normal(shape, dtype=np.float32)
    return made


def doubled_smooth(values: Volume, shape: tuple[int, ...]) -> Volume:
    """Voxels of half the size, linear between the given ones, SD about kept; (z, y, x)."""
    for axis in range(3):
        length = shape[axis]
        made = np.empty([length if a == axis else n for a, n in enumerate(values.shape)], dtype=np.float32)
        even, odd = made[at(axis, slice(0, None, 2))], made[at(axis, slice(1, None, 2))]
        even[...] = values[at(axis, slice(0, even.shape[axis]))]
        first, second = (values[at(axis, slice(k, k + odd.shape[axis]))] for k in (0, 1))
        odd[...] = (first + second) * np.float32(0.7071)
        values = made
    return values


def edged(hu: Volume) -> Volume:
    """A window of three voxels with an SD of EDGE_MM along each axis; (z, y, x), the border kept."""
    outer = np.float32(EDGE_MM**2 / 2.0)
    for axis in range(3):
        made = hu.copy()
        inner = at(axis, slice(1, -1))
        made[inner] = hu[inner] * (1 - 2 * outer)
        made[inner] += outer * hu[at(axis, slice(None, -2))]
        made[inner] += outer * hu[at(axis, slice(2, None))]
        hu = made
    return hu


def _pale_white(rng: np.random.Generator, subject: Subject, hu: Volume) -> None:
    """White matter around the ventricles loses density with age, in place."""
    strength = float(rng.uniform(0.0, 1.0)) * np.clip((subject.looks.age - 50.0) / 35.0, 0.0, 1.0)
    if strength < 0.05:
        return
    near = doubled(halved(subject.matter == Matter.VENTRICLE, float(rng.uniform(4.0, 7.0))), hu.shape)
    patchy = np.clip(1.0 + 0.5 * smooth_field(rng, hu.shape, (12.0, 12.0, 12.0)), 0.2, 1.8)
    white = subject.matter == Matter.WHITE
    hu[white] -= (9.0 * strength * np.clip(near * 4.0, 0.0, 1.0) * patchy)[white].astype(np.float32)


def _speck(hu: Volume, centre: NDArray[np.float64], radii: NDArray[np.float64], value: float) -> None:
    """A soft ellipsoid takes at least a value, in place."""
    box = tuple(
        slice(max(int(c - r) - 2, 0), min(int(c + r) + 3, n)) for c, r, n in zip(centre, radii, hu.shape, strict=True)
    )
    grid = np.ogrid[box]
    off = np.sqrt(sum(((g - c) / r) ** 2 for g, c, r in zip(grid, centre, radii, strict=True)))
    share = np.clip((1.0 - off) * float(radii.min()) + 0.5, 0.0, 1.0)
    hu[box] = np.maximum(hu[box], hu[box] * (1.0 - share) + value * share)


def _pineal(rng: np.random.Generator, subject: Subject, hu: Volume) -> None:
    """Calcified, behind the third ventricle and between the thalami, in place."""
    thalami = np.argwhere(subject.matter == Matter.THALAMUS)
    if len(thalami) == 0:
        return
    middle, back = thalami.mean(0), float(np.quantile(thalami[:, 1], 0.97))
    centre = np.array([middle[0] + 1.0, back + 3.0, middle[2]]) + rng.normal(0.0, 0.8, 3)
    _speck(hu, centre, rng.uniform(1.3, 3.5, 3), float(rng.uniform(70.0, 350.0)))


def _choroid(rng: np.random.Generator, subject: Subject, hu: Volume) -> None:
    """Calcified glomera of the plexus, both sides more often than one, in place."""
    plexus = np.argwhere(subject.matter == Matter.CHOROID)
    both = rng.random() < 0.75
    for side in (-1, 1) if both else (int(rng.choice((-1, 1))),):
        own = plexus[subject.side[tuple(plexus.T)] == side]
        if len(own) == 0:
            continue
        behind = own[own[:, 1] >= np.quantile(own[:, 1], 0.6)]
        for centre in behind[rng.integers(0, len(behind), int(rng.integers(1, 4)))]:
            _speck(hu, centre.astype(np.float64), rng.uniform(1.0, 3.0, 3), float(rng.uniform(80.0, 350.0)))


def _pallidum(rng: np.random.Generator, subject: Subject, hu: Volume) -> None:
    """Calcified basal ganglia, both sides alike, in place."""
    deep = np.argwhere(subject.matter == Matter.GANGLIA)
    for side in (-1, 1):
        own = deep[subject.side[tuple(deep.T)] == side]
        if len(own) == 0:
            continue
        middle = np.median(own, axis=0)
        for _ in range(int(rng.integers(1, 5))):
            centre = middle + rng.normal(0.0, (2.0, 3.0, 1.5))
            _speck(hu, centre, rng.uniform(1.0, 2.6, 3), float(rng.uniform(60.0, 160.0)))


def _falx(rng: np.random.Generator, subject: Subject, hu: Volume) -> None:
    """A piece of the falx that is calcified or very dense, in place."""
    sheet = np.argwhere(subject.matter == Matter.FALX)
    if len(sheet) == 0:
        return
    centre = sheet[int(rng.integers(len(sheet)))]
    near = sheet[np.linalg.norm(sheet - centre, axis=1) < rng.uniform(4.0, 12.0)]
    hu[tuple(near.T)] = float(rng.uniform(65.0, 250.0))
