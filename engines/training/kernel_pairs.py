"""The same photons through two reconstruction kernels: exact pairs, because filtered back-projection is linear.

    python -m engines.training.kernel_pairs FOLDER

The cache holds, for every clean slice, the noise of one exposure through two soft and two sharp kernels. Any mixture of
two kernels is a kernel, so that a pair is drawn with curves that no other pair has. The object itself is shown through
the curves in the plane of the image; the noise comes through the projections, with what a coarse grid of pixels folds
into it. Both are rounded and clipped as they are stored. Iterative reconstruction, which most soft-kernel series of
today have come through, is modelled as its plainest effect: less noise of the same texture, the same anatomy.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engines.kernel import Curve, Kernel, Mixture, apply_gain, radial
from engines.training import shelf
from engines.training.physics import Scanner, noise_images
from engines.training.sources import SOURCES, Role, Source, clean_slices

Image = NDArray[np.float32]
LOWEST_HU, HIGHEST_HU = -1024.0, 3071.0
# Two reconstructions of the same photons never agree to the last: interpolation, rounding. A real low-frequency noise
# does not vanish as the ramp's does either (NETWORKS C1 asks for 5 to 10 % of white noise).
WHITE = 0.05
MARGIN = 16


@dataclass(frozen=True, kw_only=True, eq=False)
class Exposure:
    """One slice and the noise of one exposure of it.

    clean:   (s, s) HU
    noise:   (kernel, s, s), SD 1 in the body through the first kernel
    kernels: two soft ones, then two sharp ones
    """

    group: str
    pixel_mm: float
    clean: Image
    noise: NDArray[np.float32]
    kernels: tuple[Kernel, ...]


def random_kernels(rng: np.random.Generator) -> tuple[Kernel, ...]:
    """Two soft kernels and two sharp ones."""
    soft = [Kernel(cutoff=float(rng.uniform(0.62, 1.1))) for _ in range(2)]
    sharp = [
        Kernel(
            cutoff=float(rng.uniform(1.15, 1.9)),
            boost=float(rng.uniform(0.0, 1.0)),
            boost_at=float(rng.uniform(0.45, 0.75)),
            boost_width=float(rng.uniform(0.2, 0.35)),
        )
        for _ in range(2)
    ]
    return (*soft, *sharp)


def expose(clean: Image, pixel_mm: float, kernels: Sequence[Kernel], rng: np.random.Generator) -> NDArray[np.float32]:
    """Noise of one exposure through every kernel, SD 1 in the body through the first; (kernel, s, s)."""
    scanner = Scanner(size=clean.shape[0], pixel_mm=pixel_mm)
    images = noise_images(scanner, clean, kernels, photons=10 ** rng.uniform(5.3, 6.0), rng=rng)
    return images / max(float(np.std(images[0][clean > -500.0])), 1e-6)


def shown(clean: Image, noise: Image, kernel: Curve, pixel_mm: float) -> Image:
    """The object through the kernel, with what is kept of its noise, as stored: whole HU within 12 bits. (y, x)."""
    image = apply_gain(clean, kernel(radial(clean.shape, pixel_mm, MARGIN)), MARGIN)
    image += noise * np.float32(kernel.noise_kept)
    return np.clip(np.round(image), LOWEST_HU, HIGHEST_HU).astype(np.float32)


def with_white(noise: Image, body: NDArray[np.bool_], rng: np.random.Generator, share: float = WHITE) -> Image:
    """Noise with `share` of its SD in the body as white noise added. (y, x), kept."""
    sd = float(np.std(noise[body])) if np.any(body) else float(np.std(noise))
    return noise + rng.standard_normal(noise.shape).astype(np.float32) * np.float32(share * sd)


def make_pair(
    clean: Image, pixel_mm: float, source: Kernel, target: Kernel, *, soft_sd_hu: float, rng: np.random.Generator
) -> tuple[Image, Image]:
    """One slice through two kernels, from the same photons; each (s, s) HU.

    soft_sd_hu: noise SD in the body through the softer (lower MTF50) of the two kernels, before any of it is taken away
    """
    both = expose(clean, pixel_mm, (source, target), rng)
    softer = int(source.frequency_at(0.5) > target.frequency_at(0.5))
    body = clean > -500.0
    scale = np.float32(soft_sd_hu / float(np.std(both[softer][body])))
    first, second = (
        shown(clean, with_white(noise * scale, body, rng), kernel, pixel_mm)
        for noise, kernel in zip(both, (source, target), strict=True)
    )
    return first, second


def mixed(exposure: Exposure, share: float, *, sharp: bool, noise_kept: float = 1.0) -> tuple[Image, Mixture]:
    """Noise (all of it) and curve of a kernel between the two soft (or the two sharp) ones."""
    first = 2 if sharp else 0
    noise = (1.0 - share) * exposure.noise[first] + share * exposure.noise[first + 1]
    one, other = exposure.kernels[first], exposure.kernels[first + 1]
    return noise.astype(np.float32), Mixture(first=one, second=other, share=share, noise_kept=noise_kept)


def build(folder: Path) -> None:
    """Write one .npz per slice; those that exist are kept."""
    folder.mkdir(parents=True, exist_ok=True)
    wanted = [(n, s) for n, s in enumerate(SOURCES) if s.role is not Role.HELD_BACK]
    # The first slices of every source first, so that training can start before the last is ready.
    for start in (0, 1, 2):
        for number, source in wanted:
            _build_source(folder, number, source, start)


def _build_source(folder: Path, number: int, source: Source, start: int) -> None:
    slices = source.slices[start::3]
    names = [folder / f"{source.role}_{number:02d}_{source.name}_{index:03d}.npz" for index in slices]
    if not slices or all(name.exists() for name in names):
        return
    for name, (index, clean) in zip(names, clean_slices(Source(**{**vars(source), "slices": slices})), strict=True):
        if name.exists():
            continue
        rng = np.random.default_rng([7, number, index])
        kernels = random_kernels(rng)
        # Coarse volumes as they are stand for fine ones: their edges are one pixel wide, whatever a pixel is.
        pixel_mm = source.pixel_mm if source.pixel_mm < 1.1 else float(rng.uniform(0.45, 0.95))
        noise = expose(clean, pixel_mm, kernels, rng)
        curves = np.array([[k.cutoff, k.boost, k.boost_at, k.boost_width] for k in kernels])
        shelf.put(
            name,
            clean=np.round(clean).astype(np.int16),
            noise=noise.astype(np.float16),
            kernels=curves,
            pixel_mm=pixel_mm,
        )


def load(folder: Path, role: Role) -> list[Exposure]:
    """Every slice of a role that is ready."""
    found = []
    for path in shelf.ready(folder, role):
        with np.load(path) as data:
            found.append(
                Exposure(
                    group=shelf.group_of(path),
                    pixel_mm=float(data["pixel_mm"]),
                    clean=data["clean"],
                    noise=data["noise"],
                    kernels=tuple(
                        Kernel(cutoff=c, boost=b, boost_at=a, boost_width=w) for c, b, a, w in data["kernels"]
                    ),
                )
            )
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    build(parser.parse_args().folder)


if __name__ == "__main__":
    main()
