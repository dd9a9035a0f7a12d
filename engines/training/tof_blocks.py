"""Pieces of simulated heads, computed once; a training step cuts a patch and acquires it anew.

python -m engines.training.tof_blocks FOLDER --count 48
"""

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engines.training import shelf
from engines.training.sources import DATA, Role
from engines.training.tof_head import CHOOSE, TRAIN, Head, read_head
from engines.training.tof_scene import FINE_MM, View, shown, tilt

SHAPE = (180, 208, 208)
ART = (
    0.83  # what `tof_unit` finds in whole heads where fresh arterial blood is 1: the brightest voxels share some tissue
)


@dataclass(frozen=True, kw_only=True, eq=False)
class Block:
    """A piece of a head on a fine grid.

    signal:   (z, y, x) float16, ART
    arteries: (z, y, x) uint8, 255ths of a voxel; pixel_mm: of rows and columns; z is in steps of FINE_MM
    """

    group: str
    signal: NDArray[np.float16]
    arteries: NDArray[np.uint8]
    pixel_mm: float


def random_view(rng: np.random.Generator, head: Head, pixel_mm: float) -> View:
    """Anywhere from the skull base to the convexity, mostly near the circle of Willis; tilted by up to 10 degrees."""
    side = SHAPE[1] * pixel_mm
    free = max(150.0 - side, 10.0) / 2.0
    away = [rng.uniform(-30.0, 35.0), rng.uniform(-free, free) + 8.0, rng.uniform(-free, free)]
    return View(
        middle=head.middle + np.array(away),
        turn=tilt(rng, 10.0, mirror=bool(rng.integers(2))),
        shape=SHAPE,
        size_mm=(FINE_MM, pixel_mm, pixel_mm),
    )


def build(folder: Path, count: int, data: Path = DATA) -> None:
    """Write `count` blocks of heads that train and four of the head that chooses; those that exist are kept."""
    folder.mkdir(parents=True, exist_ok=True)
    for index in range(count):
        if index % 6 == 1 and index < 24:
            _write(folder, Role.CHOOSE, CHOOSE[0], index, data)
        _write(folder, Role.TRAIN, TRAIN[index // 4 % len(TRAIN)], index, data)


def _write(folder: Path, role: Role, number: int, index: int, data: Path) -> None:
    path = folder / f"{role}_head{number:02d}_{index:03d}.npz"
    if path.exists():
        return
    rng = np.random.default_rng([number, index, 77])
    head = read_head(data, number)
    pixel_mm = float(rng.uniform(0.3, 0.8))
    diameters = list(rng.uniform(2.0, 7.0, int(rng.integers(2, 8))))
    scene = shown(head, rng, random_view(rng, head, pixel_mm), diameters, int(rng.integers(0, 5)))
    signal = scene.signal / np.float32(ART)
    arteries = np.rint(scene.arteries * 255.0).astype(np.uint8)
    shelf.put(path, signal=signal.astype(np.float16), arteries=arteries, pixel_mm=pixel_mm)


def load(folder: Path, role: Role) -> list[Block]:
    """Every block of a role that is ready."""
    blocks = []
    for path in shelf.ready(folder, role):
        with np.load(path) as data:
            blocks.append(
                Block(
                    group=shelf.group_of(path),
                    signal=data["signal"],
                    arteries=data["arteries"],
                    pixel_mm=float(data["pixel_mm"]),
                )
            )
    return blocks


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--count", type=int, default=48)
    arguments = parser.parse_args()
    build(arguments.folder, arguments.count)


if __name__ == "__main__":
    main()
