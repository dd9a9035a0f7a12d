"""The slices that judge: held-back anatomy with two kinds of truth, and the noise that is added to it.

`cleaned` truth is what training learns from too: non-local means over a slice and its neighbours. A filter of that
kind, and a network taught by it, may agree with such a truth for the wrong reason. `linear` truth is made by
averaging alone: over neighbouring slices, then over blocks of pixels, and the smaller image is taken as one of
unchanged pixel size, through the kernel that colours its noise. It keeps every edge that the average has and prefers
no filter, but leaves 2 to 8 HU of noise in the truth, and is possible only where several thin slices or a quiet image
exist.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engines.kernel import Kernel, apply_gain, radial
from engines.training.physics import Scanner, noise_images
from engines.training.sources import LINEAR, SOURCES, Role, Source, clean_slices, linear_slices

Image = NDArray[np.float32]

SHARP = Kernel(cutoff=1.5, boost=0.5)
BODY_HU = -500.0
EDGE_PX = 16


class Truth(StrEnum):
    """How a clean slice was made."""

    CLEANED = "cleaned"
    LINEAR = "linear"


@dataclass(frozen=True, kw_only=True)
class Condition:
    """How strong the noise is: SD in the body, HU; None: drawn for each slice as real quarter-dose slices have it."""

    name: str
    sharp: bool = False
    sd_hu: float | None = None


QUARTER = Condition(name="quarter dose")
OTHERS = (
    Condition(name="soft kernel, 10 HU", sd_hu=10.0),
    Condition(name="soft kernel, 20 HU", sd_hu=20.0),
    Condition(name="soft kernel, 40 HU", sd_hu=40.0),
    Condition(name="sharp kernel, 40 HU", sharp=True, sd_hu=40.0),
)


@dataclass(frozen=True, kw_only=True, eq=False)
class Item:
    """A slice of the split with noise ready to be added.

    clean:      (s, s) HU
    soft:       noise of SD 1 in the body, soft kernel with its white share
    sharp:      the same photons through `SHARP`, SD 1 in the body
    quarter_hu: SD of this slice's quarter dose
    """

    source: Source
    index: int
    truth: Truth
    clean: Image
    soft: Image
    sharp: Image
    quarter_hu: float
    kernel: Kernel

    @property
    def inside(self) -> NDArray[np.bool_]:
        """The body."""
        return np.asarray(self.clean > BODY_HU)

    def sd_hu(self, condition: Condition) -> float:
        """SD of the noise in the body, HU."""
        return self.quarter_hu if condition.sd_hu is None else condition.sd_hu

    def noisy(self, condition: Condition) -> Image:
        """The input, (s, s) HU."""
        unit = self.sharp if condition.sharp else self.soft
        return np.clip(self.clean + unit * np.float32(self.sd_hu(condition)), -1024.0, 3071.0).astype(np.float32)


def seed_of(source: Source, index: int) -> list[int]:
    """A seed of its own for every slice, so that a repeat gives the same figures."""
    return [int.from_bytes(hashlib.sha256(source.path.encode()).digest()[:4], "big"), index]


def make_item(source: Source, index: int, truth: Truth, clean: Image) -> Item:
    """Add what NETWORKS C1 measured on real quarter-dose slices: B30-like kernel, 26 to 42 HU, white share."""
    rng = np.random.default_rng(seed_of(source, index))
    kernel = Kernel(cutoff=float(rng.uniform(0.80, 0.95)))
    white = np.float32(rng.uniform(0.05, 0.10))
    quarter_hu = float(26.0 + 16.0 * rng.beta(1.0, 3.0))
    scanner = Scanner(size=clean.shape[0], pixel_mm=source.pixel_mm)
    images = noise_images(scanner, clean, (kernel, SHARP), photons=10 ** rng.uniform(5.3, 6.0), rng=rng)
    if truth is Truth.LINEAR and LINEAR[source.path][1] > 1:
        # Averaged blocks have edges one pixel wide, which no scanner shows; the quiet phantom went through a kernel.
        clean = apply_gain(clean, kernel(radial(clean.shape, source.pixel_mm, EDGE_PX)), EDGE_PX)
    inside = clean > BODY_HU
    soft, sharp = (image / np.float32(image[inside].std()) for image in images)
    soft = soft + white * rng.standard_normal(soft.shape).astype(np.float32)
    return Item(
        source=source,
        index=index,
        truth=truth,
        clean=clean,
        soft=soft / np.float32(soft[inside].std()),
        sharp=sharp,
        quarter_hu=quarter_hu,
        kernel=kernel,
    )


def slices_of(
    role: Role,
    truth: Truth,
    data: Path,
    *,
    few: int | None = None,
    every: int = 1,
    among: Sequence[Source] = SOURCES,
) -> Iterator[tuple[Source, int, Image]]:
    """Every n-th slice of each source of a role, or `few` of them; the coarse copies of training volumes are left out.

    Nothing as coarse is held back; a filter tuned on it would come out too weak.
    """
    for source in among:
        if source.role is not role or source.pixel_mm > 1.1:
            continue
        chosen = source.slices[::every] if few is None else source.slices[:: -(-len(source.slices) // few)]
        some = replace(source, slices=tuple(chosen))
        made = clean_slices(some, data) if truth is Truth.CLEANED else linear_slices(some, data)
        for index, clean in made:
            yield source, index, clean


def listed(data: Path, role: Role = Role.HELD_BACK) -> list[dict[str, object]]:
    """The files of a role by the SHA-256 of what is in them, and the slices that are used."""
    found: list[dict[str, object]] = []
    for source in SOURCES:
        if source.role is role:
            path = data / source.path
            files = sorted(path.iterdir()) if path.is_dir() else [path]
            digests = [hashlib.sha256(file.read_bytes()).hexdigest() for file in files]
            found.append({"path": source.path, "slices": list(source.slices), "sha256": digests})
    return found
