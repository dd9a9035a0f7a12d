"""Lesions of NETWORKS C4, as shares of voxels at 1 mm: inserted before the scanner, so that all else fits. numpy only.

Of these lesions none trains the network: they fit the score (heads 01 to 04) and judge it (heads 05 and 06). Nothing of
a lesion is tuned to what finds it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engines.training.head_labels import smooth_field
from engines.training.headct_anatomy import BRAIN, Matter, Volume, distance
from engines.training.headct_shape import Pull, Subject, soft

Point = NDArray[np.float64]
Box = tuple[slice, slice, slice]
MOST_PUSH_MM = 8.0


@dataclass(frozen=True, kw_only=True, eq=False)
class Lesion:
    """What was inserted.

    hu:    (z, y, x) of the head with the lesion
    share: (z, y, x), 0 to 1: how much of a voxel is lesion
    facts: its HU, site and size
    """

    hu: Volume
    share: Volume
    facts: Mapping[str, Any] = field(default_factory=dict)


def log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    """Between both, as often in every octave."""
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def radius_mm(volume_ml: float) -> float:
    """Of a ball."""
    return float((3000.0 * volume_ml / (4.0 * np.pi)) ** (1.0 / 3.0))


def swelling(centre: Point, volume_ml: float, part: float) -> Pull:
    """Matter around a ball makes room for `part` of its volume; radial, at most MOST_PUSH_MM."""
    middle = centre.astype(np.float32)[:, None]
    cube = np.float32(part * radius_mm(volume_ml) ** 3)

    def push(grid: NDArray[np.float32]) -> NDArray[np.float32]:
        away = grid - middle
        radius = np.sqrt((away**2).sum(0)) + np.float32(1e-3)
        before = np.cbrt(np.maximum(radius**3 - cube, 0.0))
        moved: NDArray[np.float32] = np.minimum(radius - before, MOST_PUSH_MM) * np.exp(-((radius / 55.0) ** 2))
        return -away * (moved / radius)

    return push


def pressing(centre: Point, outwards: Point, thick_mm: float, half_angle: float) -> Pull:
    """Matter below a shell of blood gives way, towards the middle of the head."""
    middle = centre.astype(np.float32)[:, None]
    axis = (outwards / np.linalg.norm(outwards)).astype(np.float32)
    most = np.float32(min(thick_mm, MOST_PUSH_MM + 2.0))

    def push(grid: NDArray[np.float32]) -> NDArray[np.float32]:
        away = grid - middle
        radius = np.sqrt((away**2).sum(0)) + np.float32(1e-3)
        angle = np.arccos(np.clip(axis @ away / radius, -1.0, 1.0))
        strength = most * np.exp(-((angle / half_angle) ** 2)) * np.clip(radius / 60.0, 0.0, 1.0)
        made: NDArray[np.float32] = away / radius * strength
        return made

    return push


def box_around(centre: Point, reach: float, shape: tuple[int, ...]) -> Box:
    """The part of the head within `reach` of a voxel."""
    low = [int(np.clip(c - reach, 0, n - 1)) for c, n in zip(centre, shape, strict=True)]
    high = [int(np.clip(c + reach + 1, 1, n)) for c, n in zip(centre, shape, strict=True)]
    return slice(low[0], high[0]), slice(low[1], high[1]), slice(low[2], high[2])


def clot(
    rng: np.random.Generator, centre: Point, volume_ml: float, allowed: Volume, box: Box
) -> tuple[Volume, Volume, float]:
    """A lump with a ragged outline: smooth noise on an ellipsoid, cut where its volume is as asked.

    allowed: (z, y, x) of the box, 0 to 1: where it may be
    returns: shares in the box; the field in mm (growing inwards) and the level of the outline in it
    """
    radius = radius_mm(volume_ml)
    axes = radius * np.exp(rng.normal(0.0, 0.18, 3))
    turn, _ = np.linalg.qr(rng.standard_normal((3, 3)))
    grid = np.stack(np.meshgrid(*(np.arange(s.start, s.stop) for s in box), indexing="ij"), -1) - centre
    off = np.sqrt((((grid @ turn) / axes) ** 2).sum(-1))
    knots = max(0.7 * radius, 3.0)
    ragged = smooth_field(rng, off.shape, (knots, knots, knots))
    height = (radius * (1.0 - off + 0.16 * ragged)).astype(np.float32)  # mm inside the outline, about
    low, high = -3.0 * radius, 1.5 * radius
    for _ in range(40):
        level = 0.5 * (low + high)
        total = float((np.clip(height - level + 0.5, 0.0, 1.0) * allowed).sum(dtype=np.float64)) / 1000.0
        low, high = (level, high) if total > volume_ml else (low, level)
    return np.clip(height - level + 0.5, 0.0, 1.0) * allowed, height, level


def haemorrhage(rng: np.random.Generator, subject: Subject, hu: Volume, centre: Point, volume_ml: float) -> Lesion:
    """Intraparenchymal: a clot, its oedema, sometimes a level of fluid.

    centre: (z, y, x) voxel of the head; volume_ml: of the clot, without the rim
    """
    box = box_around(centre, 2.6 * radius_mm(volume_ml) + 14.0, hu.shape)
    matter = subject.matter[box]
    brain = np.isin(matter, BRAIN)
    allowed = soft(brain | subject.content[box] & (matter != Matter.VEIN) & (distance(brain, 3) <= 2.0))
    allowed = np.clip(2.0 * allowed - 0.4, 0.0, 1.0) * subject.content[box]
    share, height, level = clot(rng, centre, volume_ml, allowed, box)
    value = float(rng.uniform(55.0, 85.0))
    hyperacute = rng.random() < 0.05
    if hyperacute:
        value = float(rng.uniform(38.0, 48.0))
    grain = float(rng.uniform(4.0, 6.0)) * smooth_field(rng, share.shape, (4.0, 4.0, 4.0))
    inside = value + grain
    fluid_level = bool(volume_ml > 8.0 and rng.random() < 0.12)
    if fluid_level:
        rows = np.arange(box[1].start, box[1].stop)
        above = 1.0 / (1.0 + np.exp((rows - centre[1] - rng.normal(0.0, 3.0)) / 0.7))
        inside = inside - above[None, :, None] * (value - rng.uniform(38.0, 46.0))
    made = hu.copy()
    rim = float(rng.uniform(0.0, 10.0)) * min(1.0, radius_mm(volume_ml) / 10.0)
    if rim > 1.0:
        halo = np.clip((height - level + rim) / 2.0, 0.0, 1.0) * np.isin(matter, BRAIN)
        halo *= np.where(matter == Matter.GREY, 0.4, 1.0).astype(np.float32)
        made[box] -= (rng.uniform(8.0, 15.0) * halo).astype(np.float32)
    made[box] += share * (inside - made[box]).astype(np.float32)
    full = np.zeros_like(hu)
    full[box] = share
    facts = {"hu": round(value, 1), "rim_mm": round(rim, 1), "fluid_level": fluid_level, "hyperacute": hyperacute}
    return Lesion(hu=made, share=full, facts=facts)


def shell(rng: np.random.Generator, subject: Subject, hu: Volume, *, outwards: Point, side: int, lens: bool) -> Lesion:
    """Blood between skull and brain: subdural, a crescent over an arc; epidural, a lens.

    outwards: from the middle of the head to the middle of the blood; side: 1 left, -1 right
    """
    reach = 27
    thick, half = _shell_size(rng, lens=lens)
    depth = distance(~subject.content, reach)
    middle = np.argwhere(subject.content[::4, ::4, ::4]).mean(0) * 4.0
    grid = [(np.arange(n) - c).astype(np.float32) for n, c in zip(hu.shape, middle, strict=True)]
    axis = outwards / np.linalg.norm(outwards)
    radius = np.sqrt(grid[0][:, None, None] ** 2 + grid[1][:, None] ** 2 + grid[2] ** 2) + np.float32(1e-3)
    along = axis[0] * grid[0][:, None, None] + axis[1] * grid[1][:, None] + axis[2] * grid[2]
    angle = np.arccos(np.clip(along / radius, -1.0, 1.0)) / half
    angle *= 1.0 + 0.12 * smooth_field(rng, hu.shape, (25.0, 25.0, 25.0))
    profile = 1.0 - angle**2 if lens else np.sqrt(np.clip(1.0 - angle**2, 0.0, 1.0))
    profile = thick * np.clip(profile, 0.0, 1.0) * (1.0 + 0.1 * smooth_field(rng, hu.shape, (18.0, 18.0, 18.0)))
    own = subject.content & (subject.side == side) & ~np.isin(subject.matter, (Matter.STEM, Matter.VENTRICLE))
    share = np.where(own & (depth <= reach), np.clip(profile - depth + 0.5, 0.0, 1.0), 0.0).astype(np.float32)
    value = float(rng.uniform(58.0, 80.0) if lens else rng.uniform(35.0, 80.0))
    mixed = bool(not lens and rng.random() < 0.3)
    swing = rng.uniform(7.0, 12.0) if mixed else rng.uniform(2.0, 4.0)
    inside = value + (swing * smooth_field(rng, hu.shape, (8.0, 8.0, 8.0))).astype(np.float32)
    made = hu + share * (inside - hu)
    facts = {"hu": round(value, 1), "thick_mm": round(thick, 1), "arc_deg": round(np.degrees(2 * half)), "mixed": mixed}
    return Lesion(hu=made, share=share, facts=facts)


def _shell_size(rng: np.random.Generator, *, lens: bool) -> tuple[float, float]:
    """Thickness in mm and half of the arc in rad."""
    if lens:
        return float(rng.uniform(7.0, 22.0)), float(np.deg2rad(rng.uniform(22.0, 38.0)))
    return float(rng.uniform(3.0, 15.0)), float(np.deg2rad(rng.uniform(30.0, 75.0)))


def in_cisterns(rng: np.random.Generator, subject: Subject, hu: Volume, centre: Point, reach_mm: float) -> Lesion:
    """Subarachnoid: fluid in cisterns and sulci near a place takes blood."""
    grid = [(np.arange(n) - c).astype(np.float32) for n, c in zip(hu.shape, centre, strict=True)]
    radius = np.sqrt(grid[0][:, None, None] ** 2 + grid[1][:, None] ** 2 + grid[2] ** 2)
    likely = 1.6 * (1.0 - radius / np.float32(reach_mm)) + 0.55 * smooth_field(rng, hu.shape, (12.0, 12.0, 12.0))
    fluid = np.isin(subject.matter, (Matter.CSF, Matter.FALX)) & subject.content
    share = np.where(fluid, 1.0 / (1.0 + np.exp(-4.0 * likely)), 0.0).astype(np.float32)
    share[share < 0.1] = 0.0
    value = float(rng.uniform(45.0, 70.0))
    made = hu + share * np.maximum(value - hu, 0.0)
    return Lesion(hu=made, share=share, facts={"hu": round(value, 1), "reach_mm": round(reach_mm)})


def in_ventricles(rng: np.random.Generator, subject: Subject, hu: Volume, volume_ml: float) -> Lesion:
    """Intraventricular: the lowest part of the ventricles of a patient who lies on the back."""
    fluid = (subject.matter == Matter.VENTRICLE) & subject.content
    places = np.argwhere(fluid)
    value = float(rng.uniform(50.0, 78.0))
    share = np.zeros_like(hu)
    if len(places):
        # Blood clots where it came from, too: both sides are rarely alike.
        height = places[:, 1] + rng.normal(0.0, 2.0) * subject.side[fluid] + 0.08 * (places[:, 0] - places[:, 0].mean())
        wanted = min(int(volume_ml * 1000.0), int(0.7 * len(places)))
        lowest = np.argsort(height)[len(places) - wanted :]
        share[tuple(places[lowest].T)] = 1.0
    made = hu + share * (value + 3.0 * smooth_field(rng, hu.shape, (5.0, 5.0, 5.0)) - hu)
    return Lesion(hu=made.astype(np.float32), share=share, facts={"hu": round(value, 1)})
