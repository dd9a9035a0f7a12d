"""Clean slices and noise, computed once, so that a training step only adds and cuts.

    python -m engines.training.cache FOLDER

The noise of one exposure is Gaussian given the slice: two realisations mixed as cos(t) a + sin(t) b make any number of
others, and two kernels mixed make any kernel between them.
"""

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engines.kernel import Kernel
from engines.training import shelf
from engines.training.physics import Scanner, noise_images
from engines.training.sources import DATA, SOURCES, Role, Source, clean_slices, linear_slices

REALISATIONS = 2
LINEAR = "linear"
COARSE, COARSE_MM = "coarse", 1.1


@dataclass(frozen=True, kw_only=True, eq=False)
class Item:
    """One slice with its noise.

    clean:      (s, s) int16 HU
    noise:      (realisation, kernel, s, s) float16; SD 1 in the body with the first, soft kernel
    unfiltered: edges one pixel wide, as no reconstruction kernel shows them; training gives it a kernel first
    """

    group: str
    clean: NDArray[np.int16]
    noise: NDArray[np.float16]
    unfiltered: bool = False


def random_kernels(rng: np.random.Generator) -> tuple[Kernel, Kernel]:
    """A soft and a sharp kernel; any mixture of the two is a kernel too."""
    soft = Kernel(cutoff=float(rng.uniform(0.7, 1.0)))
    sharp = Kernel(
        cutoff=float(rng.uniform(1.15, 1.8)), boost=float(rng.uniform(0.0, 0.9)), boost_at=float(rng.uniform(0.5, 0.7))
    )
    return soft, sharp


def unit_noise(
    clean: NDArray[np.float32], pixel_mm: float, kernels: tuple[Kernel, Kernel], rng: np.random.Generator
) -> NDArray[np.float32]:
    """Noise of one exposure, SD 1 in the body with the first kernel; (kernel, s, s)."""
    scanner = Scanner(size=clean.shape[0], pixel_mm=pixel_mm)
    images = noise_images(scanner, clean, kernels, photons=10 ** rng.uniform(5.3, 6.0), rng=rng)
    return images / max(float(np.std(images[0][clean > -500.0])), 1e-6)


def build(folder: Path) -> None:
    """Write one .npz per slice; those that exist are kept."""
    folder.mkdir(parents=True, exist_ok=True)
    wanted = [source for source in SOURCES if source.role is not Role.HELD_BACK]
    # Real resolution first, so that training can start before the last is ready.
    for number, source in sorted(enumerate(wanted), key=lambda pair: len(pair[1].slices)):
        _build_source(folder, number, source)
    for number, source in enumerate(SOURCES):
        if source.role is Role.TRAIN:
            _build_linear(folder, number, source)


def _build_linear(folder: Path, number: int, source: Source) -> None:
    """Truth by averages alone, beside the cleaned one: no filter has chosen what is texture and what is noise."""
    for index, clean in linear_slices(source, DATA):
        name = folder / f"{source.role}_{LINEAR}{number:02d}_{source.name}_{index:03d}.npz"
        if not name.exists():
            _write(name, clean, 0.8, np.random.default_rng([1, number, index]))


def _build_source(folder: Path, number: int, source: Source) -> None:
    mark = COARSE if source.pixel_mm > COARSE_MM else ""
    names = [folder / f"{source.role}_{mark}{number:02d}_{source.name}_{index:03d}.npz" for index in source.slices]
    if all(name.exists() for name in names):
        return
    for name, (index, clean) in zip(names, clean_slices(source), strict=True):
        _write(name, clean, source.pixel_mm, np.random.default_rng([number, index]))


def _write(name: Path, clean: NDArray[np.float32], pixel_mm: float, rng: np.random.Generator) -> None:
    kernels = random_kernels(rng)
    noise = np.stack([unit_noise(clean, pixel_mm, kernels, rng) for _ in range(REALISATIONS)])
    shelf.put(name, clean=np.round(clean).astype(np.int16), noise=noise.astype(np.float16))


def load(folder: Path, role: Role) -> list[Item]:
    """Every slice of a role that is ready."""
    items = []
    for path in shelf.ready(folder, role):
        group = shelf.group_of(path)
        with np.load(path) as data:
            unfiltered = f"_{LINEAR}" in group or f"_{COARSE}" in group
            items.append(Item(group=group, clean=data["clean"], noise=data["noise"], unfiltered=unfiltered))
    return items


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    build(parser.parse_args().folder)


if __name__ == "__main__":
    main()
