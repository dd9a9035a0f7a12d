"""Whole simulated cases: T1, T2, FLAIR and the T1 that gadolinium would have given. numpy only, no torch.

    case(head, seed, *, spacing_mm=None, pixel_mm=None, kinds=..., independent=..., lesions=3, stripped=None) -> Case

`case(4, 0)` is the same case on every call; `load` of head_labels keeps the last three heads in memory.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engines.training.contrast_lesions import INDEPENDENT, Kind, Lesion, Space, paint
from engines.training.contrast_physics import Weighting, protocol
from engines.training.contrast_scan import acquired, looked_up, slices, through
from engines.training.contrast_tissue import FLOWING, LEAKY, TABLE, maps_of, signals
from engines.training.head_labels import BRAIN, DATA, Head, Tissue, load, smooth_field

Volume = NDArray[np.float32]
Mask = NDArray[np.bool_]
SERIES = ("t1", "t2", "flair")
FINE_MM = 1.2  # a slice is averaged over planes that are no further apart
ENHANCES = 1.15  # truth: at least so many times the signal without gadolinium


@dataclass(frozen=True, kw_only=True)
class View:
    """Where and how finely a head is imaged: see `contrast_scan.looked_up`."""

    shape: tuple[int, int, int]
    spacing: tuple[float, float, float]
    centre: tuple[float, float, float]
    tilt: tuple[float, float, float] = (0.0, 0.0, 0.0)
    scale: float = 1.0
    flipped: bool = False


@dataclass(frozen=True, kw_only=True, eq=False)
class Clean:
    """What an ideal scanner would have shown, on the slices of T1; all (z, y, x).

    signal:  t1, t2, flair, white matter near 1: without noise and bias, but with resolution and misregistration
    enhancement: post over t1, minus 1; never below 0
    tissue:  `Tissue` at the centre of every voxel; inside: 0 to 255, see `Head`; numbers: of the lesions
    """

    signal: dict[str, Volume]
    enhancement: Volume
    tissue: NDArray[np.uint8]
    inside: NDArray[np.uint8]
    numbers: NDArray[np.uint8]
    lesions: tuple[Lesion, ...]
    weighting: Weighting


@dataclass(frozen=True, kw_only=True, eq=False)
class Case:
    """A simulated case on the grid of T1; volumes (z, y, x) float32 in arbitrary units, slices from feet to head.

    post:    t1 (its noise included) times what gadolinium does to the signal without noise
    factor:  post over t1: the truth, at least 1
    lesions: what was put in; numbers: (z, y, x) uint8, 0 where there is none
    sinus, choroid, pituitary: what always enhances; nawm: white matter at least 3 mm from any lesion and from
             everything else; brain: inside the skull
    search:  where enhancement is a finding: brain tissue and lesions, 2 mm away from vessels, dura and the controls
    affine:  4x4, voxel (x, y, z) to mm, RAS
    """

    head: int
    seed: int
    weighting: Weighting
    t1: Volume
    t2: Volume
    flair: Volume
    post: Volume
    factor: Volume
    numbers: NDArray[np.uint8]
    lesions: tuple[Lesion, ...]
    sinus: Mask
    choroid: Mask
    pituitary: Mask
    nawm: Mask
    brain: Mask
    search: Mask
    stripped: bool
    affine: NDArray[np.float64]

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Along z, y, x."""
        x, y, z = (float(np.linalg.norm(self.affine[:3, k])) for k in range(3))
        return z, y, x

    @property
    def voxel_ml(self) -> float:
        """Volume of a voxel."""
        return float(np.prod(self.spacing_mm)) / 1000.0

    @property
    def enhancing(self) -> Mask:
        """Voxels of leaking lesions that truly enhance."""
        leaking = [lesion.number for lesion in self.lesions if lesion.leaks]
        made: Mask = np.isin(self.numbers, leaking) & (self.factor > ENHANCES)
        return made


def case(
    head: int,
    seed: int,
    *,
    spacing_mm: float | None = None,
    pixel_mm: float | None = None,
    kinds: Sequence[Kind] = tuple(Kind),
    independent: float = INDEPENDENT,
    lesions: int = 3,
    stripped: bool | None = None,
    data: Path = DATA,
) -> Case:
    """A whole head, 1 (train) to 6 (held back), the same for the same arguments.

    spacing_mm:  of the slices, default drawn from 1 to 5; pixel_mm: default drawn from 0.8 to 1.1
    kinds:       of lesions; independent: share whose leak is drawn whatever the kind, 0 for none
    lesions:     most groups of lesions, 0 for a head without
    stripped:    whether the skull is removed; default: in four cases of ten
    """
    rng = np.random.default_rng([head, seed, 2026])
    whole = load(head, data)
    gap = float(rng.choice([1.0, 1.5, 2.0, 3.0, 4.0, 5.0])) if spacing_mm is None else spacing_mm
    pixel = float(rng.uniform(0.8, 1.1)) if pixel_mm is None else pixel_mm
    size = tuple(int(np.ceil(n / mm)) for n, mm in zip(whole.tissue.shape, (gap, pixel, pixel), strict=True))
    middle = tuple((n - 1) / 2.0 for n in whole.tissue.shape)
    shape = (size[0], -(-size[1] // 8) * 8, -(-size[2] // 8) * 8)
    tilt = tuple(float(v) for v in rng.normal(0.0, 0.04, 3))
    view = View(
        shape=shape,
        spacing=(gap, pixel, pixel),
        centre=(middle[0], middle[1], middle[2]),
        tilt=(tilt[0], tilt[1], tilt[2]),
    )
    shown = imaged(rng, whole, view, kinds=kinds, independent=independent, lesions=lesions)
    bare = bool(rng.random() < 0.4) if stripped is None else stripped
    cut = skull_cut(rng, shown.inside, view.spacing) if bare else None
    made = acquired(rng, shown.signal, cut)
    factor = 1.0 + shown.enhancement * (cut if cut is not None else np.float32(1.0))
    units = {name: np.float32(rng.uniform(100.0, 1500.0)) for name in SERIES}
    far = within((shown.tissue == Tissue.WHITE) & (shown.numbers == 0), view.spacing, 3.0)
    affine = np.diag([-pixel, -pixel, gap, 1.0])
    affine[:3, 3] = (pixel * (shape[2] - 1) / 2, pixel * (shape[1] - 1) / 2, -gap * (shape[0] - 1) / 2)
    return Case(
        head=head,
        seed=seed,
        weighting=shown.weighting,
        **{name: made[name] * units[name] for name in SERIES},
        post=made["t1"] * units["t1"] * factor,
        factor=factor,
        numbers=shown.numbers,
        lesions=shown.lesions,
        sinus=shown.tissue == Tissue.VEIN,
        choroid=shown.tissue == Tissue.CHOROID,
        pituitary=shown.tissue == Tissue.PITUITARY,
        nawm=far,
        brain=np.isin(shown.tissue, BRAIN) | (shown.inside > 127),
        search=searched(shown, view.spacing),
        stripped=bare,
        affine=affine,
    )


def imaged(
    rng: np.random.Generator,
    head: Head,
    view: View,
    *,
    kinds: Sequence[Kind] = tuple(Kind),
    independent: float = INDEPENDENT,
    lesions: int = 3,
) -> Clean:
    """Draw a protocol, parameters and lesions for a view of a head; the signals at the resolution of the series."""
    plan = protocol(rng, TABLE[Tissue.CSF][0])
    gap = view.spacing[0]
    planes = int(np.ceil(gap / FINE_MM))
    margin = int(np.ceil(4.0 / gap)) if view.shape[0] < 8 else 0  # thick slices of T2 and FLAIR reach beyond a slab
    fine = (view.shape[0] + 2 * margin) * planes
    spacing = (gap / planes, view.spacing[1], view.spacing[2])
    tissue, inside = looked_up(
        head,
        (fine, view.shape[1], view.shape[2]),
        spacing,
        view.centre,
        view.tilt,
        view.scale,
        flipped=view.flipped,
    )
    maps = maps_of(rng, tissue, spacing, plan)
    put: list[Lesion] = []
    numbers = np.zeros(tissue.shape, dtype=np.uint8)
    if lesions:
        put, numbers = paint(
            rng,
            maps,
            Space(tissue=tissue, spacing_mm=spacing),
            plan,
            kinds=kinds,
            independent=independent,
            most=lesions,
        )
    ideal = signals(rng, maps, tissue, plan)
    centres = (np.arange(view.shape[0]) + margin + 0.5) * planes - 0.5  # of the slices, in fine planes
    own = slices(rng, "t1", centres, fine, spacing[0], gap)
    width = float(rng.uniform(0.35, 0.65))
    before, after = (through(ideal[name], own, width) for name in ("t1", "post"))
    signal = {"t1": before}
    for name in ("t2", "flair"):
        moved = rng.normal(0.0, 0.45, 3).clip(-1.5, 1.5)  # mm
        across = slices(rng, name, centres + moved[0] / spacing[0], fine, spacing[0], gap)
        width = float(rng.uniform(0.35, 0.55)) * max(float(rng.uniform(0.8, 1.5)) / spacing[1], 1.0)
        signal[name] = through(ideal[name], across, width, (moved[1] / spacing[1], moved[2] / spacing[2]))
    enhancement = np.maximum(after / np.maximum(before, 0.02) - 1.0, 0.0) * (before > 0.02)
    nearest = np.rint(centres).astype(int)
    return Clean(
        signal=signal,
        enhancement=enhancement.astype(np.float32),
        tissue=tissue[nearest],
        inside=inside[nearest],
        numbers=numbers[nearest],
        lesions=tuple(put),
        weighting=plan.weighting,
    )


def skull_cut(rng: np.random.Generator, inside: NDArray[np.uint8], spacing: tuple[float, float, float]) -> Mask:
    """What is left when the skull is removed: a cut that wavers, more generous in some cases than in others."""
    knots = (12.0 / spacing[0], 12.0 / spacing[1], 12.0 / spacing[2])
    waver = smooth_field(rng, inside.shape, (max(knots[0], 1.01), knots[1], knots[2]))
    made: Mask = inside > 255.0 * np.clip(rng.uniform(0.25, 0.7) + 0.06 * waver, 0.08, 0.92)
    return made


def searched(shown: Clean, spacing: tuple[float, float, float]) -> Mask:
    """Where enhancement is a finding, see `Case`."""
    away = ~np.isin(shown.tissue, FLOWING) & ~np.isin(
        shown.tissue, tuple(kind for kind in LEAKY if kind < Tissue.MUSCLE)
    )
    made: Mask = (np.isin(shown.tissue, BRAIN) | (shown.numbers > 0)) & within(away, spacing, 2.0)
    return made


def within(mask: Mask, spacing: tuple[float, float, float], away_mm: float) -> Mask:
    """The voxels of a mask from which every voxel up to `away_mm` along the axes is in it too."""
    made = mask.copy()
    for axis, mm in enumerate(spacing):
        for step in range(1, int(away_mm / mm) + 1):
            for way in (step, -step):
                made &= np.roll(mask, way, axis)
    return made
