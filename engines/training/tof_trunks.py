"""Where the large vessels of a head run: carotid and vertebral arteries, the circle of Willis, and some veins.

Way points are mm from the middle of the ventral diencephalon (z up, y to the back, x to the side); each is moved at
random, so that no two trees are alike. Branches leave the trunks at random places.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from engines.training.tof_head import Head
from engines.training.tof_vessels import (
    LARGEST_MM,
    STEP_MM,
    VEIN,
    Growth,
    Tree,
    grow,
    narrow,
    spline,
    swell,
    turned,
    unit,
    wander,
)

Point = NDArray[np.float64]
Way = Sequence[tuple[float, float, float]]

CAROTID: Way = (
    (-85, 8, 27), (-60, 6, 26), (-42, 2, 25), (-31, -1, 22), (-28, -9, 17), (-21, -16, 13), (-17, -21, 12),
    (-12, -15, 11), (-8, -11, 11),
)  # fmt: skip
MIDDLE: Way = ((-8, -11, 11), (-7, -12, 20), (-5, -11, 30), (-2, -8, 37))
ANTERIOR: Way = ((-8, -11, 11), (-7, -15, 6), (-6, -18, 2.5))
PERICALLOSAL: Way = ((-6, -18, 2.5), (2, -26, 2), (16, -33, 2), (33, -26, 2), (42, -8, 2), (45, 14, 2))
POSTERIOR: Way = ((-6, 5, 0.5), (-5, 6, 9), (-3, 14, 17), (1, 27, 20), (5, 42, 15), (9, 56, 12))
LINK: Way = ((-8, -11, 11), (-8, -2, 10), (-5, 6, 9))
TEMPORAL: Way = ((-70, 4, 52), (-45, 2, 66), (-20, 0, 72), (0, -6, 74))  # under the scalp
SINUS: Way = ((20, -78, 0), (55, -45, 0), (72, 0, 0), (62, 45, 0), (30, 78, 0), (0, 84, 0))
LATERAL: Way = ((0, 84, 0), (-10, 74, 28), (-22, 50, 50), (-38, 32, 46), (-60, 22, 34), (-85, 18, 32))


def grown(head: Head, rng: np.random.Generator, diameters_mm: list[float], stenoses: int) -> Tree:
    """All vessels of one head: trunks, branches in the brain and under the scalp, aneurysms, stenoses, veins."""
    tree = Tree()
    plant(tree, head, rng)
    narrow(tree, rng, stenoses)
    swell(tree, rng, diameters_mm)
    return tree


def plant(tree: Tree, head: Head, rng: np.random.Generator) -> None:
    """Put trunks, their branches and veins into an empty tree."""
    size = rng.uniform(0.94, 1.06)
    calibre = rng.uniform(0.8, 1.15)
    growth = Growth(within=head.brain, away=head.middle + np.array([-10.0, -5.0, 0.0]))
    tips: list[tuple[Point, Point, float]] = []
    roots: list[tuple[Point, Point, float]] = []

    def trunk(way: Way, side: float, first_mm: float, last_mm: float, *, path: float, every: float, tip: bool) -> None:
        points = np.array(way, dtype=np.float64) * [size, size, side * size]
        points[1:-1] += rng.normal(0.0, 1.8, (len(points) - 2, 3))
        line = _wound(rng, head.middle + points)
        radii = np.minimum(np.linspace(first_mm, last_mm, len(line)) * calibre, LARGEST_MM)
        tree.put(line, radii, path)
        _sprout(rng, line, radii, every, roots)
        if tip:
            tips.append((line[-1], unit(line[-1] - line[-4]), float(radii[-1])))
        tree.forks.append((line[-1], float(radii[-1]), unit(line[-1] - line[-4])))

    for side in (-1.0, 1.0):
        trunk(CAROTID, side, 2.4, 1.9, path=0.0, every=45.0, tip=False)
        trunk(MIDDLE, side, 1.5, 1.3, path=110.0, every=9.0, tip=True)
        if rng.random() < 0.92:
            trunk(ANTERIOR, side, 1.15, 1.05, path=110.0, every=12.0, tip=False)
        trunk(PERICALLOSAL, side, 1.05, 0.75, path=125.0, every=11.0, tip=True)
        trunk(POSTERIOR, side, 1.15, 0.75, path=100.0, every=10.0, tip=True)
        if rng.random() < 0.5:
            trunk(LINK, side, 0.7, 0.6, path=115.0, every=60.0, tip=False)
    if rng.random() < 0.7:
        joined = np.array([(-6, -18, -2.5), (-6, -18.5, 2.5)]) * size + head.middle
        tree.put(spline(joined), np.full(len(spline(joined)), 0.7 * calibre), 120.0)
    _basilar(tree, head, rng, size, calibre, roots)
    for place, way, radius in [*tips, *roots]:
        grow(tree, rng, growth, place, way, radius)
    _outside(tree, head, rng, size)
    _veins(tree, head, rng, size)


def _wound(rng: np.random.Generator, points: Point) -> Point:
    """A curve through points, tortuous, ends kept."""
    line = spline(points)
    side = wander(rng, len(line), STEP_MM, amplitude_mm=rng.uniform(0.3, 1.4), length_mm=rng.uniform(4.0, 12.0))
    at = np.linspace(0.0, 1.0, len(line))
    return np.asarray(line + side * np.minimum(1.0, 6.0 * np.minimum(at, 1.0 - at))[:, None], dtype=np.float64)


def _sprout(
    rng: np.random.Generator, line: Point, radii: Point, every_mm: float, roots: list[tuple[Point, Point, float]]
) -> None:
    at = rng.exponential(every_mm)
    while (k := int(at / STEP_MM)) < len(line) - 2:
        way, _ = turned(rng, unit(line[k + 1] - line[k]), rng.uniform(0.7, 1.4))
        roots.append((line[k], way, float(np.clip(radii[k] * rng.uniform(0.35, 0.75), 0.4, 1.1))))
        at += rng.exponential(every_mm)


def _basilar(
    tree: Tree,
    head: Head,
    rng: np.random.Generator,
    size: float,
    calibre: float,
    roots: list[tuple[Point, Point, float]],
) -> None:
    """Two vertebral arteries that join in front of the brainstem, and the basilar artery up to its tip."""
    tip = head.middle + np.array([-6.0, 5.0, 0.0]) * size
    low = tip[0] - rng.uniform(24.0, 32.0)
    pons = head.pons[(head.pons[:, 0] > low) & (head.pons[:, 0] < tip[0] - 4.0)][::5] - [0.0, 2.5, 0.0]
    points = np.concatenate([pons, tip[None]]) if len(pons) else np.array([tip - [28.0, -6.0, 0.0], tip])
    line = _wound(rng, points)
    radii = np.linspace(1.75, 1.5, len(line)) * calibre
    tree.put(line, radii, 70.0)
    _sprout(rng, line, radii, 8.0, roots)
    tree.forks.append((line[-1], float(radii[-1]), unit(line[-1] - line[-3])))
    for side in (-1.0, 1.0):
        rise = np.array([(-55.0, 16.0, 17.0 * side), (-32.0, 14.0, 16.0 * side), (-14.0, 8.0, 8.0 * side)])
        path = _wound(rng, np.concatenate([line[0] + rise, line[:1]]))
        radius = rng.uniform(0.9, 1.6) * calibre
        tree.put(path, np.full(len(path), radius), 0.0)
        _sprout(rng, path, np.full(len(path), radius), 40.0, roots)


def _outside(tree: Tree, head: Head, rng: np.random.Generator, size: float) -> None:
    """Temporal arteries under the scalp, and what comes of them."""
    growth = Growth(within=head.scalp, away=head.middle, gain=0.9)
    for side in (-1.0, 1.0):
        points = head.middle + np.array(TEMPORAL) * [size, size, side * size]
        line = _wound(rng, points + rng.normal(0.0, 2.0, points.shape))
        radii = np.linspace(1.2, 0.8, len(line))
        tree.put(line, radii, 0.0)
        for _ in range(2):
            grow(tree, rng, growth, line[-1], line[-1] - line[-4] + rng.normal(0.0, 1.0, 3), 0.75)


def _veins(tree: Tree, head: Head, rng: np.random.Generator, size: float) -> None:
    """Sinuses and a few cortical veins: as faint as saturated blood is, sometimes next to nothing."""
    faint = float(rng.uniform(0.2, 0.55))
    forks = len(tree.forks)
    for way, side, radius in ((SINUS, 1.0, 2.2), (LATERAL, 1.0, 2.2), (LATERAL, -1.0, 1.8)):
        points = head.middle + np.array(way) * [size, size, side * size]
        line = _wound(rng, points + rng.normal(0.0, 1.5, points.shape))
        tree.put(line, np.full(len(line), radius), 0.0, kind=VEIN, gain=faint)
    growth = Growth(within=head.brain, away=head.middle, kind=VEIN, gain=faint, smallest_mm=0.6)
    for _ in range(int(rng.integers(3, 9))):
        place = head.middle + rng.normal(0.0, [20.0, 35.0, 30.0]) + [25.0, 0.0, 0.0]
        grow(tree, rng, growth, place, rng.standard_normal(3), float(rng.uniform(0.6, 1.1)))
    del tree.forks[forks:]  # no aneurysm sits on a vein
