"""What tissue is made of for MR, before and after gadolinium: NETWORKS C2 (3 T). numpy only."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engines.training.contrast_physics import Protocol, Weighting, relaxed
from engines.training.head_labels import Tissue, smooth_field

Volume = NDArray[np.float32]

# T1 ms, T2 ms, PD, blood volume fraction; the four soft tissues of the face as muscle, fat and what is known of them.
TABLE: dict[Tissue, tuple[float, float, float, float]] = {
    Tissue.AIR: (1000.0, 50.0, 0.0, 0.0),
    Tissue.WHITE: (850.0, 70.0, 0.70, 0.02),
    Tissue.GREY: (1400.0, 95.0, 0.82, 0.045),
    Tissue.DEEP: (1120.0, 78.0, 0.76, 0.03),
    Tissue.CSF: (4200.0, 1800.0, 1.0, 0.0),
    Tissue.SPOTS: (1250.0, 125.0, 0.80, 0.015),
    Tissue.ARTERY: (1650.0, 200.0, 0.9, 1.0),
    Tissue.VEIN: (1650.0, 150.0, 0.9, 1.0),
    Tissue.SMALL_VEIN: (1800.0, 300.0, 0.92, 0.8),
    Tissue.CHOROID: (1800.0, 150.0, 0.90, 0.0),
    Tissue.PITUITARY: (1250.0, 95.0, 0.85, 0.0),
    Tissue.MUCOSA: (1400.0, 140.0, 0.88, 0.0),
    Tissue.DURA: (1200.0, 60.0, 0.55, 0.0),
    Tissue.MUSCLE: (1250.0, 45.0, 0.80, 0.0),
    Tissue.FAT: (380.0, 100.0, 0.9, 0.0),
    Tissue.BONE: (600.0, 15.0, 0.12, 0.0),
    Tissue.EYE: (3500.0, 1000.0, 1.0, 0.0),
}
# Tissue without a barrier: what it holds some minutes after 0.1 mmol/kg, mM, smallest and largest.
LEAKY: dict[Tissue, tuple[float, float]] = {
    Tissue.CHOROID: (0.15, 0.4),
    Tissue.PITUITARY: (0.2, 0.45),
    Tissue.MUCOSA: (0.12, 0.4),
    Tissue.DURA: (0.08, 0.3),
    Tissue.MUSCLE: (0.02, 0.06),
    Tissue.FAT: (0.0, 0.01),
}
HAEMATOCRIT = 0.42
FLOWING = (Tissue.ARTERY, Tissue.VEIN, Tissue.SMALL_VEIN)


@dataclass(frozen=True, kw_only=True, eq=False)
class Maps:
    """Per voxel (z, y, x): relaxation times in ms, proton density, gadolinium in mM. Lesions change them in place."""

    t1: Volume
    t2: Volume
    pd: Volume
    gd: Volume


def maps_of(
    rng: np.random.Generator, tissue: NDArray[np.uint8], spacing_mm: tuple[float, float, float], plan: Protocol
) -> Maps:
    """The parameters of a head: each tissue off its table by about 5 %, a smooth variation, a texture.

    tissue: (z, y, x) `Tissue`
    """
    count = len(Tissue)
    columns = np.array([TABLE[tissue] for tissue in Tissue], dtype=np.float64)
    if rng.random() < 0.35:  # 1.5 T: T1 shorter, fluids as they are
        columns[:, 0] *= np.where(columns[:, 0] < 3000.0, rng.uniform(0.7, 0.85), 1.0)
    columns[:, 0] *= rng.normal(1.0, 0.05, count).clip(0.88, 1.12)
    columns[:, 1] *= rng.normal(1.0, 0.07, count).clip(0.85, 1.15)
    columns[:, 2] *= rng.normal(1.0, 0.03, count).clip(0.92, 1.08)
    gd = columns[:, 3] * plan.plasma_mm * (1.0 - HAEMATOCRIT) * rng.uniform(0.8, 1.2)
    for kind, (low, high) in LEAKY.items():
        gd[kind] = rng.uniform(low, high)
    if rng.random() < 0.5:  # fat saturation, or a sequence that shows little fat
        columns[Tissue.FAT, 2] *= rng.uniform(0.15, 0.7)
    broad = tuple(25.0 / mm for mm in spacing_mm)
    fine = tuple(max(rng.uniform(1.8, 4.0) / mm, 1.01) for mm in spacing_mm)
    wide = [smooth_field(rng, tissue.shape, (broad[0], broad[1], broad[2])) for _ in range(2)]
    texture = smooth_field(rng, tissue.shape, (fine[0], fine[1], fine[2]))
    strength = rng.uniform(0.005, 0.03)

    def spread(values: NDArray[np.float64], own: Volume, share: float, grain: float) -> Volume:
        flat: Volume = values.astype(np.float32)[tissue]
        made: Volume = flat * np.clip(1.0 + np.float32(share) * own + np.float32(grain) * texture, 0.6, 1.5)
        return made

    share = rng.uniform(0.02, 0.04)  # SD; the extremes are at 5 to 8 %
    return Maps(
        t1=spread(columns[:, 0], wide[0], share, strength),
        t2=spread(columns[:, 1], wide[1], share, strength),
        pd=spread(columns[:, 2], wide[0] + wide[1], 0.3 * share, -0.5 * strength),
        gd=spread(gd, wide[1] - wide[0], 0.1, 3.0 * strength),
    )


def signals(rng: np.random.Generator, maps: Maps, tissue: NDArray[np.uint8], plan: Protocol) -> dict[str, Volume]:
    """t1, post, t2, flair (z, y, x), each over the signal of white matter as the table has it.

    Flowing blood is dark in what is made of spin echoes and bright or dark in gradient echoes, before and after.
    """
    t1_after, t2_after = relaxed(maps.t1, plan.r1, maps.gd), relaxed(maps.t2, plan.r2, maps.gd)
    made: dict[str, Any] = {
        "t1": plan.t1(maps.t1, maps.t2, maps.pd),
        "post": plan.t1(t1_after, t2_after, maps.pd),
        "t2": plan.t2(maps.t1, maps.t2, maps.pd),
        "flair": plan.flair(maps.t1, maps.t2, maps.pd),
    }
    voids = rng.random() < 0.7
    for kind in FLOWING:
        spin = float(rng.uniform(0.05, 0.5) if voids else rng.uniform(0.5, 1.0))
        if plan.weighting is Weighting.SPIN_ECHO:
            before, then = spin, spin**0.5
        else:
            before = float(rng.uniform(0.7, 1.2) if kind is not Tissue.ARTERY else rng.uniform(0.8, 2.2))
            then = max(before, 1.0) ** 0.3
        where = tissue == kind
        for name, factor in (("t1", before), ("post", then), ("t2", spin), ("flair", spin)):
            made[name][where] *= np.float32(factor)
    white = [np.array([value], dtype=np.float32) for value in TABLE[Tissue.WHITE][:3]]
    units = {"t1": plan.t1, "post": plan.t1, "t2": plan.t2, "flair": plan.flair}
    return {name: (made[name] / units[name](*white)).astype(np.float32) for name in made}
