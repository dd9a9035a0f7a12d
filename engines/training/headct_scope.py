"""Heads that a triage of unoperated adults without contrast agent must not judge (NETWORKS D5). numpy only."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np

from engines.training.head_labels import DATA, smooth_field
from engines.training.headct import span
from engines.training.headct_acquire import CLIP_HU, Affine, Scan, acquire, drawn_protocol
from engines.training.headct_anatomy import HARD, Anatomy, Mask, Matter, Volume, distance, load
from engines.training.headct_artefacts import ringed
from engines.training.headct_shape import Looks, Subject, drawn_looks, shaped
from engines.training.headct_tissue import painted


class Odd(StrEnum):
    """Why a head is out of scope."""

    CHILD = "child"
    BONE_FLAP = "bone flap or craniectomy"
    CONTRAST = "contrast agent"
    OPERATED = "operated: burr holes, clips, drains, air"
    ARTEFACT = "artefact: metal, rings, motion"


@dataclass(frozen=True, kw_only=True, eq=False)
class OddCase:
    """One examination that is out of scope.

    voxels, affine: as of `headct.Case`
    headers:        what a scanner would write about it: DICOM keyword -> values
    """

    voxels: Volume
    affine: Affine
    odd: Odd
    head: int
    headers: Mapping[str, tuple[str, ...]]
    facts: Mapping[str, Any]


def odd_head(
    rng: np.random.Generator, number: int | Anatomy, odd: Odd, *, size: int = 512, data: Path = DATA
) -> OddCase:
    """One head that is out of scope."""
    anatomy = number if isinstance(number, Anatomy) else load(number, data)
    looks, facts = drawn_looks(rng), dict[str, Any]()
    years = looks.age
    if odd is Odd.CHILD:
        years = float(rng.uniform(0.1, 9.0))
        looks = _childs(rng, looks, years)
    subject = shaped(rng, anatomy, looks)
    if odd is Odd.CHILD:
        _thinned(rng, subject, years)
    hu = painted(rng, subject)
    hu = _PAINTS[odd](rng, subject, hu, facts)
    how = drawn_protocol(rng, size=size)
    if odd is Odd.ARTEFACT and facts.get("sort") == "motion":
        how = replace(how, motion_mm=float(rng.uniform(7.0, 14.0)))
    scan = acquire(rng, hu, how, span=span(subject))
    voxels = scan.voxels
    if facts.get("metal"):
        voxels = streaked(rng, scan, how.pixel_mm)
    if facts.get("sort") == "rings":
        voxels = voxels + ringed(rng, voxels.shape, float(rng.uniform(12.0, 40.0)), how.pixel_mm)
    headers: dict[str, tuple[str, ...]] = {"PatientAge": (f"{int(years):03d}Y" if years >= 1.0 else "008M",)}
    if odd is Odd.CONTRAST and rng.random() < 0.7:
        headers["ContrastBolusAgent"] = ("CONTRAST",)
    facts["years"] = round(years, 1)
    return OddCase(
        voxels=np.clip(np.rint(voxels), *CLIP_HU).astype(np.float32),
        affine=scan.affine,
        odd=odd,
        head=anatomy.number,
        headers=headers,
        facts=facts,
    )


def _childs(rng: np.random.Generator, looks: Looks, years: float) -> Looks:
    """A child's head: 0.65 of an adult's length at birth, 0.93 at nine years; narrow ventricles and sulci."""
    size = 0.65 + 0.28 * (1.0 - np.exp(-years / 1.8))
    scale = size * (1.0 + 0.02 * rng.standard_normal(3))
    return replace(looks, scale=tuple(scale.tolist()), ventricles_mm=-1.0, sulci=-0.2)


def _thinned(rng: np.random.Generator, subject: Subject, years: float) -> None:
    """A child's skull, 1.2 to 3 mm, no sinuses yet, an open fontanelle in the first year and a half; in place."""
    thick = float(np.clip(1.2 + 0.2 * years, 1.2, 3.0))
    matter = subject.matter
    hard = np.isin(matter, HARD)
    away = distance(subject.content, 12)
    matter[hard & (away > thick) & (away < 12.0)] = Matter.MUSCLE
    inner_air = (matter == Matter.AIR) & (away < 10.0)
    matter[inner_air & (np.cumsum(hard, axis=1) > 0) & (np.cumsum(hard[:, ::-1], axis=1)[:, ::-1] > 0)] = Matter.MUSCLE
    if years < 1.5:
        outwards = np.array([1.0, -0.35, 0.0])
        matter[_cone(subject, outwards, float(rng.uniform(0.15, 0.3))) & hard] = Matter.MUSCLE


def _cone(subject: Subject, outwards: Affine, half_angle: float) -> Mask:
    """Voxels that are seen from the middle of the head within an angle of a direction."""
    middle = np.argwhere(subject.content[::4, ::4, ::4]).mean(0) * 4.0
    grid = [(np.arange(n) - c).astype(np.float32) for n, c in zip(subject.matter.shape, middle, strict=True)]
    axis = outwards / np.linalg.norm(outwards)
    radius = np.sqrt(grid[0][:, None, None] ** 2 + grid[1][:, None] ** 2 + grid[2] ** 2) + np.float32(1e-3)
    along = axis[0] * grid[0][:, None, None] + axis[1] * grid[1][:, None] + axis[2] * grid[2]
    made: Mask = along / radius > np.cos(half_angle)
    return made


def _sideways(rng: np.random.Generator) -> Affine:
    """A direction to one side, a little upwards."""
    return np.array([rng.uniform(0.2, 0.9), rng.uniform(-0.8, 0.6), rng.choice((-1.0, 1.0))])


def _same(rng: np.random.Generator, subject: Subject, hu: Volume, facts: dict[str, Any]) -> Volume:
    # Young brain holds more water, young bone less mineral.
    bone = hu > 200.0
    return np.where(bone, 0.65 * hu, np.where(subject.content, hu - np.float32(rng.uniform(1.0, 5.0)), hu))


def _bone_flap(rng: np.random.Generator, subject: Subject, hu: Volume, facts: dict[str, Any]) -> Volume:
    """Bone taken away, or put back with a gap around it and plates over the gap."""
    outwards, half = _sideways(rng), float(rng.uniform(0.4, 0.8))
    hard = np.isin(subject.matter, HARD)
    inner, outer = _cone(subject, outwards, half - 0.035), _cone(subject, outwards, half)
    facts["sort"] = str(rng.choice(("craniectomy", "flap")))
    made = hu.copy()
    if facts["sort"] == "craniectomy":
        made[outer & hard] = 30.0
        return made
    gap = outer & ~inner & hard
    made[gap] = 25.0
    made[inner & hard] *= 0.85
    rim = np.argwhere(gap & (distance(subject.matter == Matter.FAT, 3) < 3.0))
    for place in rim[rng.integers(0, len(rim), 5)] if len(rim) else ():
        made[tuple(slice(max(int(c) - 2, 0), int(c) + 3) for c in place)] = 2800.0
    facts["metal"] = bool(len(rim))
    return made


def _contrast(rng: np.random.Generator, subject: Subject, hu: Volume, facts: dict[str, Any]) -> Volume:
    """Iodine in vessels, plexus, dura, mucosa, and in the blood of the brain."""
    level = float(rng.uniform(70.0, 200.0))
    gain = np.zeros(len(Matter), dtype=np.float32)
    for matter, part in (
        (Matter.VEIN, 1.0), (Matter.ARTERY, 1.0), (Matter.CHOROID, 0.5), (Matter.FALX, 0.25), (Matter.MUCOSA, 0.3),
        (Matter.GREY, 0.045), (Matter.GANGLIA, 0.045), (Matter.HIND_GREY, 0.045), (Matter.WHITE, 0.02),
        (Matter.MUSCLE, 0.08),
    ):  # fmt: skip
        gain[matter] = part * level
    first, second = (smooth_field(rng, hu.shape, (9.0, 9.0, 9.0)) for _ in range(2))
    small = (np.abs(first) < 0.16) & (np.abs(second) < 0.16) & (subject.matter == Matter.CSF) & subject.content
    facts["iodine_hu"] = round(level)
    made: Volume = hu + gain[subject.matter] + np.float32(0.7 * level) * small
    return made


def _operated(rng: np.random.Generator, subject: Subject, hu: Volume, facts: dict[str, Any]) -> Volume:
    """Two or three of: burr holes, a clip or coil, a drain into a ventricle, air below the skull."""
    made = hu.copy()
    hard = np.isin(subject.matter, HARD)
    chosen = rng.choice(("holes", "clip", "drain", "air"), size=int(rng.integers(2, 4)), replace=False)
    outwards = _sideways(rng)
    if "holes" in chosen or "drain" in chosen:
        for _ in range(int(rng.integers(1, 4))):
            made[_cone(subject, outwards + rng.normal(0.0, 0.25, 3), float(rng.uniform(0.08, 0.12))) & hard] = 20.0
    if "clip" in chosen:
        fluid = np.argwhere((subject.matter == Matter.CSF) & subject.content & (distance(~subject.content, 12) > 9.0))
        place = fluid[int(rng.integers(len(fluid)))]
        grid = np.ogrid[tuple(slice(0, n) for n in hu.shape)]
        radii = rng.uniform(2.0, 5.0, 3)
        ball = sum(((g - c) / r) ** 2 for g, c, r in zip(grid, place, radii, strict=True)) < 1.0
        made[ball] = 8000.0
        facts["metal"] = True
    if "drain" in chosen:
        ventricles = np.argwhere(subject.matter == Matter.VENTRICLE)
        end = ventricles[int(rng.integers(len(ventricles)))].astype(np.float64)
        way = outwards / np.linalg.norm(outwards)
        for step in np.arange(0.0, 90.0, 0.5):
            at = np.rint(end + way * step).astype(int)
            if ((at < 1) | (at >= np.array(hu.shape) - 1)).any():
                break
            made[at[0] : at[0] + 2, at[1] : at[1] + 2, at[2] : at[2] + 2] = 300.0
    if "air" in chosen:
        front = subject.content & (distance(~subject.content, 9) < float(rng.uniform(4.0, 8.0)))
        rows = np.nonzero(subject.content.any(axis=(0, 2)))[0]
        front[:, int(rows[0]) + int(rng.uniform(12.0, 30.0)) :] = False
        made[front & (smooth_field(rng, hu.shape, (12.0, 12.0, 12.0)) > 0.2)] = -1000.0
    facts["sort"] = ", ".join(sorted(chosen))
    return made


def _artefact(rng: np.random.Generator, subject: Subject, hu: Volume, facts: dict[str, Any]) -> Volume:
    """Metal beside or inside the head, bad detector elements, or a head that does not lie still."""
    facts["sort"] = str(rng.choice(("metal", "rings", "motion")))
    made = hu.copy()
    if facts["sort"] == "metal":
        inside = np.argwhere(np.isin(subject.matter, HARD) & (distance(subject.content, 6) < 5.0))
        for place in inside[rng.integers(0, len(inside), 3)]:
            made[tuple(slice(max(int(c) - 3, 0), int(c) + 4) for c in place)] = 9000.0
        facts["metal"] = True
    return made


_PAINTS: Mapping[Odd, Callable[[np.random.Generator, Subject, Volume, dict[str, Any]], Volume]] = {
    Odd.CHILD: _same,
    Odd.BONE_FLAP: _bone_flap,
    Odd.CONTRAST: _contrast,
    Odd.OPERATED: _operated,
    Odd.ARTEFACT: _artefact,
}


def streaked(rng: np.random.Generator, scan: Scan, pixel_mm: float) -> Volume:
    """The scan with streaks from all metal in it (over 2500 HU before clipping); HU, (z, y, x)."""
    voxels = scan.voxels.copy()
    height, width = voxels.shape[1:]
    for image, clean in zip(voxels, scan.clean, strict=True):
        rows, columns = np.nonzero(clean > 2500.0)
        if len(rows) < 3:
            continue
        y, x = np.ogrid[:height, :width]
        dy, dx = y - rows.mean(), x - columns.mean()
        angle, radius = np.arctan2(dy, dx), np.hypot(dy, dx) * pixel_mm
        waves = sum(
            np.cos(order * angle + rng.uniform(0.0, 2.0 * np.pi)) * rng.normal() for order in rng.integers(2, 40, 14)
        )
        image += (waves * float(np.sqrt(len(rows)) * pixel_mm) * 220.0 / (radius + 8.0) / 3.7).astype(np.float32)
    return voxels
