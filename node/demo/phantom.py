"""The demo's scan: a computed upper abdomen with the noise of a low dose. No person was ever in it.

The anatomy is painted from ellipsoids, bent by a smooth displacement so that nothing is a perfect ellipse. The noise is
what filtered back-projection makes of photon noise: its power grows with frequency until the kernel ends it, and it is
strongest along the rays that cross most tissue, so the spine and the long axis of the body draw streaks.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from math import cos, radians, sin, sqrt
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from node.demo.ct_series import Scan, write_ct_series

SIZE = 512
SPACING_MM = 0.7
SLICE_MM = 2.5
WATER_PER_MM = 0.0193  # attenuation of water at the mean energy of 120 kVp
DOSE_HU = 1.75  # scales the noise: about 35 HU in the liver, a quarter of a usual dose
DIRECTIONS = 6  # sectors of ray directions whose noise strength is told apart
EDGE_MM = 0.9  # width of a tissue edge: the resolution of a soft kernel

Image = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class Ellipsoid:
    """A body of one tissue: centre and radii (x, y, z) in mm, turned about z; later ones cover earlier ones."""

    at: tuple[float, float, float]
    radii: tuple[float, float, float]
    hu: float
    turn_deg: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Tree:
    """Vessels that branch inside an organ: where they enter, where they lead, how wide, what they may not leave."""

    inside: Ellipsoid
    root: tuple[float, float, float]
    branches: int
    radius_mm: float
    hu: float


LONG = 1e4  # a radius that never ends within the scan


def _body(x: float, y: float, z: float, rx: float, ry: float, rz: float, hu: float, turn_deg: float = 0) -> Ellipsoid:
    return Ellipsoid(at=(x, y, z), radii=(rx, ry, rz), hu=hu, turn_deg=turn_deg)


LIVER = _body(-56, -10, -18, 80, 74, 88, 108, -12)
RIGHT_LUNG = _body(-76, 8, 62, 58, 74, 72, -870)
LEFT_LUNG = _body(78, 12, 62, 54, 72, 76, -870)

TRUNK = (
    _body(0, 92, 0, 200, 55, LONG, -450),  # the couch: shell and foam
    _body(0, 89, 0, 197, 53, LONG, -975),
    _body(0, 0, 0, 164, 114, LONG, 10),  # skin
    _body(0, 0, 0, 162, 112, LONG, -102),  # fat
    _body(0, 3, 0, 149, 99, LONG, 58),  # wall
    _body(0, -3, 0, 139, 88, LONG, -95),  # fat of the cavity
    _body(-40, 76, 0, 32, 19, LONG, 60, 14),  # muscles of the back
    _body(40, 76, 0, 32, 19, LONG, 60, -14),
    RIGHT_LUNG,
    LEFT_LUNG,
)

ORGANS = (
    _body(22, -40, 82, 66, 44, 46, 120, 25),  # heart
    LIVER,
    _body(8, -46, -8, 58, 30, 46, 108, 8),  # its left lobe
    _body(64, -28, -12, 46, 38, 52, 48, -20),  # stomach: wall, content, gas
    _body(64, -28, -12, 42, 34, 48, 18, -20),
    _body(60, -50, -10, 27, 9, 34, -960, -6),
    _body(104, 30, -8, 24, 44, 46, 118, 18),  # spleen
    _body(22, 8, -46, 44, 11, 15, 98, -18),  # pancreas
    _body(-62, 50, -62, 25, 29, 44, 175, -25),  # kidneys: cortex, medulla, pelvis
    _body(-62, 50, -62, 15, 19, 33, 120, -25),
    _body(-54, 46, -62, 8, 7, 14, -60),
    _body(64, 50, -52, 25, 29, 46, 175, 25),
    _body(64, 50, -52, 15, 19, 35, 120, 25),
    _body(56, 46, -52, 8, 7, 14, -60),
    _body(12, 36, 0, 12, 11.5, LONG, 172),  # aorta
    _body(-24, 30, 0, 15, 11, LONG, 128),  # vena cava
    _body(4, 24, 48, 9, 6, 40, 45),  # oesophagus
    _body(0, 62, 0, 24, 19, LONG, 480),  # vertebra: cortex, marrow
    _body(0, 62, 0, 22, 17, LONG, 205),
    _body(-33, 84, 0, 17, 5, LONG, 330, 16),  # processes and arch
    _body(33, 84, 0, 17, 5, LONG, 330, -16),
    _body(0, 104, 0, 5, 12, LONG, 350),
    _body(0, 86, 0, 20, 15, LONG, 420),
    _body(0, 85, 0, 12, 10, LONG, 22),  # canal and cord
    _body(0, 85, 0, 6, 5, LONG, 38),
    _body(0, 62, -31, 23, 18, 4.5, 85),  # discs
    _body(0, 62, 4, 23, 18, 4.5, 85),
    _body(0, 62, 39, 23, 18, 4.5, 85),
)

# What a filter must not wipe out: lesions 25 to 45 HU beside the liver, 6 to 24 mm across.
LESIONS = (
    _body(-88, -22, -2, 12, 11, 12, 74),
    _body(-42, 16, 4, 7, 7, 8, 78),
    _body(-104, 18, -8, 5, 5, 6, 72),
    _body(-70, -48, 6, 4, 4, 5, 70),
    _body(-30, -34, -4, 3, 3, 4, 66),
    _body(-66, -8, 22, 5, 5, 6, 150),
    _body(-80, 20, -30, 9, 8, 10, 76),
    _body(106, 40, -2, 4, 4, 6, 84),
)

LUNG_VESSELS = (
    Tree(inside=RIGHT_LUNG, root=(-32, 8, 48), branches=110, radius_mm=5.0, hu=40),
    Tree(inside=LEFT_LUNG, root=(36, 10, 48), branches=110, radius_mm=5.0, hu=40),
)
LIVER_VESSELS = (
    Tree(inside=LIVER, root=(-30, 8, -6), branches=60, radius_mm=6.0, hu=152),
    Tree(inside=LIVER, root=(-30, 14, 34), branches=40, radius_mm=6.0, hu=146),
)


def make_series(folder: Path, *, slices: int = 40, seed: int = 0) -> list[Path]:
    """Write the phantom as a CT series and return its files from the feet to the head.

    slices: at most 40 show the whole phantom, more repeat nothing but run out of its organs
    seed:   another seed is another noise, another set of vessels and other UIDs; the same seed the same series
    """
    scan = Scan(
        key=f"phantom/{slices}/{seed}",
        patient_name="PHANTOM^DEMO",
        patient_id="PHANTOM-DEMO",
        model="COMPUTED ABDOMEN",
        study_description="PHANTOM ABDOMEN",
        series_description="PHANTOM ABDOMEN LOW DOSE",
        protocol="PHANTOM ABDOMEN LOW DOSE",
        kernel="SOFT",
        comment="Computed phantom, not a patient.",
        window=(60, 400),
    )
    edge_mm = -SPACING_MM * (SIZE - 1) / 2
    return write_ct_series(
        folder,
        make_volume(slices=slices, seed=seed),
        scan=scan,
        spacing_mm=(SLICE_MM, SPACING_MM, SPACING_MM),
        first_mm=(edge_mm, edge_mm, -SLICE_MM * (slices - 1) / 2),
    )


def make_volume(*, slices: int = 40, seed: int = 0, noise: bool = True) -> Image:
    """The phantom as (z, y, x) in HU; without noise it is the truth that a filter should come near to."""
    painter = _Painter(seed)
    grain = _Grain()

    def one(index: int) -> Image:
        image = painter.paint(SLICE_MM * (index - (slices - 1) / 2))
        return image + grain.noise(image, np.random.default_rng((seed, index))) if noise else image

    # The transforms and the large array operations release the interpreter lock.
    with ThreadPoolExecutor(max_workers=4) as pool:
        return np.stack(list(pool.map(one, range(slices))))


class _Painter:
    """Paints slices of the anatomy; holds what all slices share: bent coordinates, textures and vessels."""

    def __init__(self, seed: int) -> None:
        rng = np.random.default_rng(seed)
        line = (np.arange(SIZE, dtype=np.float32) - (SIZE - 1) / 2) * np.float32(SPACING_MM)
        self.x = line[None, :] + _waves(line, rng, amplitude=3.0, shortest_mm=80)
        self.y = line[:, None] + _waves(line, rng, amplitude=3.0, shortest_mm=80)
        self.textures = [_waves(line, rng, amplitude=1.0, shortest_mm=9, count=40) for _ in range(2)]
        in_lungs = [ball for tree in LUNG_VESSELS for ball in _grow(tree, rng)]
        in_liver = [ball for tree in LIVER_VESSELS for ball in _grow(tree, rng)]
        self.bodies = (*TRUNK, *in_lungs, *ORGANS, *in_liver, *LESIONS)

    def paint(self, z_mm: float) -> Image:
        """One slice, (y, x), HU."""
        image = np.full((SIZE, SIZE), -1000, dtype=np.float32)
        for body in (*self.bodies, *_ribs(z_mm)):
            self._cover(image, body, z_mm)
        turn = z_mm / 12
        texture = self.textures[0] * np.float32(cos(turn)) + self.textures[1] * np.float32(sin(turn))
        # Parenchyma is nearly even, fat is stranded, lung is mottled, air outside is air.
        strength = np.interp(image, [-990, -900, -800, -140, -100, -60, 0, 150, 600], [0, 25, 25, 10, 10, 10, 3, 3, 25])
        image += texture * strength.astype(np.float32)
        return image

    def _cover(self, image: Image, body: Ellipsoid, z_mm: float) -> None:
        """Lay the slice of one body over the image, with a soft edge."""
        x, y, z = body.at
        left = 1 - ((z_mm - z) / body.radii[2]) ** 2
        if left <= 0:
            return
        rx, ry = body.radii[0] * sqrt(left), body.radii[1] * sqrt(left)
        reach = max(rx, ry) + 9  # the bent coordinates are at most that far from the straight ones
        middle = (SIZE - 1) / 2
        x0, x1 = (int(np.clip(middle + (x + side * reach) / SPACING_MM, 0, SIZE)) for side in (-1, 1))
        y0, y1 = (int(np.clip(middle + (y + side * reach) / SPACING_MM, 0, SIZE)) for side in (-1, 1))
        part = np.s_[y0:y1, x0:x1]
        c, s = np.float32(cos(radians(body.turn_deg))), np.float32(sin(radians(body.turn_deg)))
        dx, dy = self.x[part] - np.float32(x), self.y[part] - np.float32(y)
        along, across = (c * dx + s * dy) / np.float32(rx), (c * dy - s * dx) / np.float32(ry)
        distance = np.sqrt(along * along + across * across)
        share = np.clip((1 - distance) * np.float32(min(rx, ry) / EDGE_MM) + np.float32(0.5), 0, 1)
        image[part] += share * (np.float32(body.hu) - image[part])


class _Grain:
    """Noise as filtered back-projection makes it, ray direction by ray direction."""

    def __init__(self) -> None:
        v = np.fft.fftfreq(SIZE, SPACING_MM)[:, None]
        u = np.fft.rfftfreq(SIZE, SPACING_MM)[None, :]
        f = np.hypot(u, v)
        # Ramp times kernel; the power of a 2-D image with ramp-filtered projections grows with f, its amplitude with
        # the root of it. The soft kernel ends at 0.62 per mm.
        shape = np.sqrt(f) * (0.5 + 0.5 * np.cos(np.pi * np.clip(f / 0.62, 0, 1)))
        angle = np.arctan2(v, u)
        self.directions = [np.pi * n / DIRECTIONS for n in range(DIRECTIONS)]
        # cos**2 windows of twice the step add up to one: no direction is counted twice.
        offsets = [np.abs((angle - d + np.pi / 2) % np.pi - np.pi / 2) for d in self.directions]
        self.filters = [
            (shape * np.cos(np.clip(o * DIRECTIONS / 2, 0, np.pi / 2)) / np.sqrt(np.mean(shape**2))).astype(np.float32)
            for o in offsets
        ]
        line = np.arange(SIZE) - (SIZE - 1) / 2
        self.bins = [
            np.rint(line[None, :] * cos(d) + line[:, None] * sin(d) + SIZE * 0.75).astype(np.intp)
            for d in self.directions
        ]

    def noise(self, image: Image, rng: np.random.Generator) -> Image:
        """Noise for one slice, (y, x), HU: strong where the rays that meet have crossed much tissue."""
        attenuation = (np.maximum(image, -1000) / 1000 + 1) * WATER_PER_MM * SPACING_MM
        white = np.fft.rfft2(rng.standard_normal((SIZE, SIZE), dtype=np.float32))
        total = np.zeros((SIZE, SIZE), dtype=np.float32)
        smooth = np.hanning(15) / np.hanning(15).sum()
        for keep, bins in zip(self.filters, self.bins, strict=True):
            path = np.bincount(bins[::2, ::2].ravel(), attenuation[::2, ::2].ravel(), minlength=int(SIZE * 1.5)) * 4
            spread = np.exp(np.convolve(path, smooth, mode="same") / 2).astype(np.float32)
            total += np.fft.irfft2(white * keep, s=(SIZE, SIZE)) * spread[bins]
        return total * np.float32(DOSE_HU)


def _ribs(z_mm: float) -> Iterator[Ellipsoid]:
    """Ribs run downwards around the chest: from slice to slice their sections wander along the wall."""
    for side in (-1, 1):
        for number in range(8):
            angle = radians(-62 + 19 * number + 0.45 * z_mm)
            if not radians(-75) < angle < radians(72):
                continue
            x, y = side * 144 * cos(angle), 1 + 94 * sin(angle)
            turn = side * (90 + np.degrees(np.arctan2(94 * sin(angle), 144 * cos(angle))))
            yield _body(x, y, z_mm, 8, 4.2, 1, 520, turn)
            yield _body(x, y, z_mm, 6, 2.4, 1, 210, turn)


def _grow(tree: Tree, rng: np.random.Generator) -> Iterator[Ellipsoid]:
    """A branching vessel as a chain of balls; each branch starts somewhere on the earlier ones and gets thinner."""
    centre, radii = np.array(tree.inside.at), np.array(tree.inside.radii) * 0.95
    starts = [(np.array(tree.root), tree.radius_mm)]
    for _ in range(tree.branches):
        # Of some starts the one nearest to a random place of the organ, and then towards that place: branches spread.
        goal = centre + radii * rng.uniform(-0.75, 0.75, size=3)
        tries = [starts[int(rng.integers(len(starts)))] for _ in range(8)]
        at, radius = min(tries, key=lambda start: float(np.sum((start[0] - goal) ** 2)))
        way = (goal - at) / np.linalg.norm(goal - at)
        for _ in range(80):
            way = way + rng.normal(size=3) * 0.16
            way /= np.linalg.norm(way)
            at = at + way * max(1.0, radius * 0.6)
            radius *= 0.985
            if radius < 0.9 or np.sum(((at - centre) / radii) ** 2) > 1:
                break
            x, y, z = map(float, at)
            yield _body(x, y, z, radius, radius, max(radius, SLICE_MM / 2), tree.hu)
            starts.append((at, radius * 0.85))


def _waves(line: Image, rng: np.random.Generator, *, amplitude: float, shortest_mm: float, count: int = 12) -> Image:
    """A smooth random field (y, x) with about the given standard deviation, from plane waves."""
    total = np.zeros((line.size, line.size), dtype=np.float32)
    for _ in range(count):
        length = shortest_mm * rng.uniform(1, 2.5)
        angle, phase = rng.uniform(0, 2 * np.pi, size=2)
        kx, ky = 2 * np.pi * cos(angle) / length, 2 * np.pi * sin(angle) / length
        # exp(i(kx x + ky y)) is a product of two lines: far cheaper than a cosine for every pixel.
        total += np.outer(np.exp(1j * (ky * line + phase)), np.exp(1j * kx * line)).real.astype(np.float32)
    return total * np.float32(amplitude * sqrt(2 / count))
