"""Simulated slabs that the contrast network trains on: three slices of T1, T2 and FLAIR, and what gadolinium would add.

    python -m engines.training.contrast_pairs CACHE --minutes 30

Draws a head, a view of it, a protocol and lesions, again and again; without noise and bias, which training draws anew
every time. May run beside the training and be stopped at any moment: a slab is written whole.
"""

import argparse
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engines.training.contrast_cases import View, imaged, skull_cut
from engines.training.head_labels import BRAIN, CHOOSE, DATA, TRAIN, Tissue, load
from engines.training.shelf import put, ready
from engines.training.sources import Role

SIDE = 144  # pixels of a slab; patches of training are cut from it
CHOSEN = 60  # slabs of the head that chooses

# What the loss asks of a pixel.
QUIET, LESION, CONTROL = 1, 2, 4


@dataclass(frozen=True, kw_only=True, eq=False)
class Slab:
    """One slab; (3, y, x) t1, t2, flair float16, white matter near 1; enhancement (y, x) float16 of the middle slice.

    asked: (y, x) uint8: QUIET where healthy brain or a lesion with its barrier whole must not enhance, LESION in a
           lesion that leaks, CONTROL where there is no barrier
    kept:  (3, y, x) bool, what is left when the skull is removed
    """

    group: str
    t1: NDArray[np.float16]
    t2: NDArray[np.float16]
    flair: NDArray[np.float16]
    enhancement: NDArray[np.float16]
    asked: NDArray[np.uint8]
    kept: NDArray[np.bool_]


def make(rng: np.random.Generator, number: int, data: Path = DATA) -> Slab:
    """One slab of head `number`: pixels of 0.6 to 1.2 mm, slices 0.8 to 6 mm apart, lesions in four of five."""
    head = load(number, data)
    gap = float(np.exp(rng.uniform(np.log(0.8), np.log(6.0))))
    pixel = float(rng.uniform(0.6, 1.2))
    # Every third slab shows what always enhances: the pituitary is in one slice of a hundred.
    sought = ((Tissue.PITUITARY,), (Tissue.VEIN,), BRAIN)[int(rng.choice(3, p=(0.15, 0.2, 0.65)))]
    step = 4 if sought is BRAIN else 1
    there = np.argwhere(np.isin(head.tissue[::step, ::step, ::step], sought))
    centre = [float(step * v) for v in there[int(rng.integers(len(there)))]]
    middle = [n / 2.0 for n in head.tissue.shape]
    pull = rng.uniform(0.0, 0.7)  # towards the middle of the head: less air
    tilt = rng.normal(0.0, 0.12, 3)
    view = View(
        shape=(3, SIDE, SIDE),
        spacing=(gap, pixel, pixel),
        centre=(
            centre[0] + float(rng.normal(0.0, 6.0 if sought is BRAIN else 2.0)),
            (1 - pull) * centre[1] + pull * middle[1],
            (1 - pull) * centre[2] + pull * middle[2],
        ),
        tilt=(float(tilt[0]), float(tilt[1]), float(tilt[2])),
        scale=float(rng.uniform(0.9, 1.1)),
        flipped=bool(rng.integers(2)),
    )
    shown = imaged(rng, head, view, lesions=int(rng.integers(1, 5)) if rng.random() < 0.8 else 0)
    tissue, numbers = shown.tissue[1], shown.numbers[1]
    leaking = np.isin(numbers, [lesion.number for lesion in shown.lesions if lesion.leaks])
    healthy = np.isin(tissue, (*BRAIN, Tissue.CSF)) & ~leaking
    controls = np.isin(tissue, (Tissue.VEIN, Tissue.CHOROID, Tissue.PITUITARY, Tissue.MUCOSA))
    return Slab(
        group=f"head-{number}",
        **{name: volume.astype(np.float16) for name, volume in shown.signal.items()},
        enhancement=np.minimum(shown.enhancement[1], 8.0).astype(np.float16),
        asked=(QUIET * healthy + LESION * leaking + CONTROL * (controls & ~leaking)).astype(np.uint8),
        kept=skull_cut(rng, shown.inside, view.spacing),
    )


def load_slabs(folder: Path, role: Role, known: int = 0) -> list[Slab]:
    """Every slab of a role that is ready, in the order in which they were made, from number `known` on."""
    made = []
    for path in ready(folder, role)[known:]:
        with np.load(path) as arrays:
            made.append(Slab(group=str(arrays["group"]), **{k: arrays[k] for k in arrays.files if k != "group"}))
    return made


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("to", type=Path)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--most", type=int, default=9999, help="slabs that train")
    parser.add_argument("--data", type=Path, default=DATA)
    arguments = parser.parse_args()
    arguments.to.mkdir(parents=True, exist_ok=True)
    until = time.monotonic() + arguments.minutes * 60.0
    for role, heads, most in ((Role.CHOOSE, CHOOSE, CHOSEN), (Role.TRAIN, TRAIN, arguments.most)):
        for number in range(len(ready(arguments.to, role)), most):
            if time.monotonic() > until:
                return
            rng = np.random.default_rng([number, heads[0], 5])
            slab = make(rng, heads[number % len(heads)], arguments.data)
            put(arguments.to / f"{role}_slab_{number:05d}.npz", **vars(slab))


if __name__ == "__main__":
    main()
