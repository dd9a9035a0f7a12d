"""Lesions that are not blood: infarcts, masses with oedema, ventricles under pressure (NETWORKS C4). numpy only."""

from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from engines.training.head_labels import blur, smooth_field
from engines.training.headct_anatomy import BRAIN, Mask, Matter, Volume
from engines.training.headct_lesions import Lesion, Point, box_around, clot, radius_mm
from engines.training.headct_shape import Subject, doubled, halved, soft


class Age(StrEnum):
    """Of an infarct."""

    HYPERACUTE = "under 6 h"
    ACUTE = "6 to 24 h"
    SUBACUTE = "over a day"


DROP_HU = {Age.HYPERACUTE: (2.0, 5.0), Age.ACUTE: (5.0, 12.0), Age.SUBACUTE: (12.0, 20.0)}
TERRITORIES = {  # places in the half of the cerebrum: from below, from the front, from the midline, each 0 to 1
    "middle cerebral, upper": (0.62, 0.42, 0.85),
    "middle cerebral, lower": (0.38, 0.62, 0.85),
    "middle cerebral, deep": (0.45, 0.45, 0.45),
    "anterior cerebral": (0.72, 0.25, 0.10),
    "posterior cerebral": (0.35, 0.92, 0.25),
}
HIND = "cerebellar"


def territory(rng: np.random.Generator, subject: Subject, name: str, side: int) -> Mask:
    """Grey and white matter that one artery feeds; (z, y, x)."""
    own = subject.side == side
    if name == HIND:
        tissue = np.isin(subject.matter, (Matter.HIND_GREY, Matter.HIND_WHITE)) & own
        rows = np.nonzero(tissue.any(axis=(1, 2)))[0]
        if len(rows):  # upper or lower half: superior, or posterior inferior artery
            half = (int(rows[0]) + int(rows[-1])) // 2
            tissue[(slice(half, None) if rng.random() < 0.5 else slice(None, half),)] = False
        return tissue
    tissue = np.isin(subject.matter, (Matter.GREY, Matter.WHITE, Matter.GANGLIA, Matter.SPOTS)) & own
    spans = [np.nonzero(tissue.any(axis=axes))[0] for axes in ((1, 2), (0, 2), (0, 1))]
    if any(len(found) == 0 for found in spans):
        return tissue
    lows, highs = [int(s[0]) for s in spans], [int(s[-1]) + 1 for s in spans]
    box = tuple(slice(low, high) for low, high in zip(lows, highs, strict=True))
    parts = [
        (np.arange(low, high) - low).astype(np.float32) / (high - low) for low, high in zip(lows, highs, strict=True)
    ]
    if side < 0:
        parts[2] = 1.0 - parts[2]
    shape = tuple(len(part) for part in parts)
    nearest, chosen = np.full(shape, np.inf, dtype=np.float32), np.zeros(shape, dtype=bool)
    for other, place in TERRITORIES.items():
        away = sum(
            (part.reshape([-1 if a == axis else 1 for a in range(3)]) - at) ** 2
            for axis, (part, at) in enumerate(zip(parts, place, strict=True))
        )
        away = np.sqrt(np.asarray(away, dtype=np.float32)) + 0.035 * smooth_field(rng, shape, (20.0, 20.0, 20.0))
        closer = away < nearest
        nearest[closer] = away[closer]
        chosen[closer] = other == name
    made = np.zeros(tissue.shape, dtype=bool)
    made[box] = chosen
    return made & tissue


def infarct(
    rng: np.random.Generator, subject: Subject, hu: Volume, name: str, side: int, age: Age, part: float
) -> Lesion:
    """Water in a territory: less density, less difference of grey and white, and swelling that closes the sulci.

    part: of the territory that is struck, 0 to 1
    """
    whole = territory(rng, subject, name, side)
    if part < 1.0 and whole.any():
        field = smooth_field(rng, hu.shape, (28.0, 28.0, 28.0))
        whole &= field > np.quantile(field[whole], 1.0 - part)
    low, high = DROP_HU[age]
    drop = float(rng.uniform(low, high))
    share = soft(whole) * np.isin(subject.matter, BRAIN)
    grey = np.isin(subject.matter, (Matter.GREY, Matter.GANGLIA, Matter.HIND_GREY))
    weight = np.where(grey, 1.2, 0.8).astype(np.float32)
    patchy = np.clip(1.0 + 0.15 * smooth_field(rng, hu.shape, (10.0, 10.0, 10.0)), 0.5, 1.5)
    made = hu - (drop * weight * share * patchy).astype(np.float32)
    if age is not Age.HYPERACUTE:
        close = doubled(halved(whole, 5.0), hu.shape) > 0.4
        sulci = close & (subject.matter == Matter.CSF) & (subject.side == side)
        effaced = float(rng.uniform(0.3, 0.8)) * soft(sulci) * sulci
        made += (effaced * np.maximum(34.0 - 0.8 * drop - made, 0.0)).astype(np.float32)
    facts = {"drop_hu": round(drop, 1), "territory": name, "age_of_infarct": age.value}
    return Lesion(hu=made, share=share.astype(np.float32), facts=facts)


def mass(rng: np.random.Generator, subject: Subject, hu: Volume, centre: Point, volume_ml: float) -> Lesion:
    """A tumour near the density of brain, with oedema that follows the white matter.

    volume_ml: of the tumour; the share holds the oedema too, since both are what a reader looks for
    """
    reach = 2.2 * radius_mm(volume_ml) + 30.0
    box = box_around(centre, reach, hu.shape)
    matter = subject.matter[box]
    brain = np.isin(matter, BRAIN)
    allowed = np.clip(2.0 * soft(brain) - 0.4, 0.0, 1.0) * subject.content[box]
    share, height, level = clot(rng, centre, volume_ml, allowed, box)
    value = float(rng.choice((rng.uniform(14.0, 26.0), rng.uniform(30.0, 40.0), rng.uniform(42.0, 54.0))))
    wide = float(rng.uniform(6.0, 22.0))
    oedema = np.clip((height - level + wide) / 4.0, 0.0, 1.0) * np.isin(matter, (Matter.WHITE, Matter.HIND_WHITE))
    oedema = soft(oedema > 0.5) * brain
    fall = float(rng.uniform(8.0, 14.0))
    made = hu.copy()
    made[box] -= (fall * oedema * (1.0 - share)).astype(np.float32)
    inside = value + 3.0 * smooth_field(rng, share.shape, (5.0, 5.0, 5.0))
    if volume_ml > 10.0 and rng.random() < 0.4:  # a dead middle
        inside -= np.clip((height - level - 4.0) / 3.0, 0.0, 1.0) * 16.0
    made[box] += (share * (inside - made[box])).astype(np.float32)
    full = np.zeros_like(hu)
    full[box] = np.maximum(share, oedema)
    return Lesion(hu=made, share=full, facts={"hu": round(value, 1), "oedema_mm": round(wide, 1)})


def transudate(rng: np.random.Generator, subject: Subject, hu: Volume) -> Lesion:
    """Of ventricles under pressure, which the shape already shows: fluid in the white matter at their caps."""
    ventricles = np.isin(subject.matter, (Matter.VENTRICLE, Matter.CHOROID)) & subject.content
    small: NDArray[np.float32] = blur(ventricles[::2, ::2, ::2], 2.0)
    near = doubled(small, hu.shape)
    fall = float(rng.uniform(0.0, 10.0))
    white = subject.matter == Matter.WHITE
    made = hu - (fall * np.clip(near * 3.0, 0.0, 1.0) * white).astype(np.float32)
    return Lesion(hu=made, share=ventricles.astype(np.float32), facts={"transudate_hu": round(fall, 1)})
