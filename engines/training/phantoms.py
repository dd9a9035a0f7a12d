"""Objects whose truth is known by formula: water, disks in it, and a lung with emphysema. Arrays are (y, x) HU."""

import numpy as np
from numpy.typing import NDArray

from engines.kernel import Kernel
from engines.training.detail import disk, ellipses, texture
from engines.training.physics import Scanner, noise_images

Image = NDArray[np.float32]

SIDE, PIXEL_MM = 384, 0.8
WATER_MM = 290.0
TISSUE_HU = 50.0  # liver without contrast medium
RINGS = ((6, 46.0), (12, 96.0))  # disks per ring, radius of the ring in pixels
REACH = 20  # half side of the square around a disk that an observer sees


def cylinder(pixel_mm: float = PIXEL_MM, diameter_mm: float = WATER_MM) -> Image:
    """A cylinder of `TISSUE_HU` in air; (SIDE, SIDE) HU."""
    axis = np.arange(SIDE) - (SIDE - 1) / 2.0
    depth = diameter_mm / 2.0 / pixel_mm - np.hypot(axis[:, None], axis[None, :])
    return (-1000.0 + (1000.0 + TISSUE_HU) * np.clip(depth + 0.5, 0.0, 1.0)).astype(np.float32)


def places() -> list[tuple[int, int]]:
    """Centres of the disks, pixels."""
    middle = SIDE / 2
    return [
        (round(middle + radius * np.sin(turn)), round(middle + radius * np.cos(turn)))
        for count, radius in RINGS
        for turn in 2.0 * np.pi * np.arange(count) / count
    ]


def cylinder_noise(kernel: Kernel, count: int, *, sd_hu: float, white: float = 0.07, seed: int = 0) -> Image:
    """Noise of the cylinder, SD `sd_hu` where the disks stand; (count, SIDE, SIDE) HU.

    white: SD of the white share before scaling, over that of the rest
    """
    scanner, object_hu = Scanner(size=SIDE, pixel_mm=PIXEL_MM), cylinder()
    rng = np.random.default_rng([seed, 1])
    made = np.stack([noise_images(scanner, object_hu, [kernel], photons=4e5, rng=rng)[0] for _ in range(count)])
    made /= np.std(middle(made))
    made += np.float32(white) * rng.standard_normal(made.shape).astype(np.float32)
    scaled: Image = (made * np.float32(sd_hu / np.std(middle(made)))).astype(np.float32)
    return scaled


def middle(images: Image) -> Image:
    """The square of 256 pixels in the middle, (..., 256, 256)."""
    cut = slice(SIDE // 2 - 128, SIDE // 2 + 128)
    return images[..., cut, cut]


def disks(diameter_mm: float, contrast_hu: float, *, odd: bool) -> Image:
    """Disks at every second place, blurred as by a scanner; (SIDE, SIDE) HU to add."""
    result = np.zeros((SIDE, SIDE), dtype=np.float32)
    for y, x in places()[int(odd) :: 2]:
        result += disk(SIDE, y, x, diameter_mm / 2.0 / PIXEL_MM, contrast_hu)
    return result


def squares(image: Image, *, odd: bool) -> Image:
    """What an observer sees of every second place; (n, 2 REACH + 1, 2 REACH + 1) HU."""
    return np.stack([image[y - REACH : y + REACH + 1, x - REACH : x + REACH + 1] for y, x in places()[int(odd) :: 2]])


def blocks(images: Image, side: int = 64) -> Image:
    """The middle of every image in blocks; (n, side, side) HU."""
    inner = middle(images)
    count = inner.shape[-1] // side
    return inner.reshape(-1, count, side, count, side).swapaxes(2, 3).reshape(-1, side, side)


def emphysema(rng: np.random.Generator, share: float) -> tuple[Image, NDArray[np.bool_]]:
    """A lung in a chest wall: -860 HU with texture and vessels, round holes of -990 HU over about `share` of it.

    returns: (SIDE, SIDE) HU, and the lung without the 6 pixels next to the wall
    """
    axis = np.arange(SIDE) - (SIDE - 1) / 2.0
    radius = np.hypot(axis[:, None] * 1.15, axis[None, :])
    lung = radius < 125.0
    image = np.where(radius < 165.0, np.float32(TISSUE_HU), np.float32(-1000.0)).astype(np.float32)
    image[lung] = -860.0
    inner = radius < 119.0
    holes = np.zeros((SIDE, SIDE), dtype=np.float32)
    while float(np.mean(holes[inner] > 0.5)) < share:
        turn, out = rng.uniform(0, 2 * np.pi), 115.0 * np.sqrt(rng.random())
        y, x = SIDE / 2 + out / 1.15 * np.sin(turn), SIDE / 2 + out * np.cos(turn)
        holes = np.maximum(holes, disk(SIDE, y, x, 1.5 * (8.0 / 1.5) ** rng.random(), 1.0))
    vessels = np.clip(ellipses(rng, SIDE, 160) * 6.0, 0.0, 900.0)
    inside = image + texture(rng, SIDE, 25.0) + vessels
    inside = inside * (1.0 - holes) - 990.0 * holes
    image[lung] = inside[lung]
    return image, inner
