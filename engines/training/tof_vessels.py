"""Vessel trees: trunks like the circle of Willis, branches by Murray's law, aneurysms, stenoses and faint veins.

A tree is a list of straight pieces (truncated cones) of at most a millimetre in the coordinates of a head, mm,
(z, y, x). Sources: C. D. Murray 1926 (radii and angles of bifurcations); the wandering of a branch is an
Ornstein-Uhlenbeck process; fresh blood saturates on its way through the imaged volume.
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Point = NDArray[np.float64]

STEP_MM = 0.8
SMALLEST_MM, LARGEST_MM = 0.4, 2.5
ARTERY, VEIN = 0, 1


@dataclass(frozen=True, kw_only=True, eq=False)
class Aneurysm:
    """A sac: its centre, mm, and its diameter, mm."""

    centre: Point
    diameter_mm: float


@dataclass(kw_only=True, eq=False)
class Tree:
    """Pieces of vessels; lists that grow together.

    start, end:       mm; radius: at start and end, mm
    path:             mm that the blood has gone from the root to the piece
    gain:             of the signal: below 1 where flow is slow
    kind:             ARTERY or VEIN
    forks:            place, radius and direction of every bifurcation
    """

    start: list[Point] = field(default_factory=list)
    end: list[Point] = field(default_factory=list)
    radius: list[tuple[float, float]] = field(default_factory=list)
    path: list[float] = field(default_factory=list)
    gain: list[float] = field(default_factory=list)
    kind: list[int] = field(default_factory=list)
    forks: list[tuple[Point, float, Point]] = field(default_factory=list)
    aneurysms: list[Aneurysm] = field(default_factory=list)

    def put(self, line: Point, radii: Point, path: float, *, kind: int = ARTERY, gain: float = 1.0) -> float:
        """Add a line (n, 3) with its radii (n,); returns the path at its end."""
        for one, other, first, second in zip(line[:-1], line[1:], radii[:-1], radii[1:], strict=True):
            self.start.append(one)
            self.end.append(other)
            self.radius.append((float(first), float(second)))
            self.path.append(path)
            self.gain.append(gain)
            self.kind.append(kind)
            path += float(np.linalg.norm(other - one))
        return path


def murray(parent_mm: float, share: float) -> tuple[float, float]:
    """Radii of both children: r0^3 = r1^3 + r2^3; `share` of the flow goes to the first."""
    return parent_mm * share ** (1.0 / 3.0), parent_mm * (1.0 - share) ** (1.0 / 3.0)


def fork_angles(parent_mm: float, first_mm: float, second_mm: float) -> tuple[float, float]:
    """Angles of both children against the parent, radians, for the least work (Murray 1926)."""

    def angle(own: float, other: float) -> float:
        cosine = (parent_mm**4 + own**4 - other**4) / (2.0 * parent_mm**2 * own**2)
        return float(np.arccos(np.clip(cosine, -1.0, 1.0)))

    return angle(first_mm, second_mm), angle(second_mm, first_mm)


def saturation(path_mm: NDArray[np.float64], fresh: float, steady: float, length_mm: float) -> NDArray[np.float64]:
    """Signal of blood after a way through the imaged volume: S_inf + (S_0 - S_inf) exp(-z / lambda)."""
    signal: NDArray[np.float64] = steady + (fresh - steady) * np.exp(-np.maximum(path_mm, 0.0) / length_mm)
    return signal


def wander(rng: np.random.Generator, count: int, step_mm: float, *, amplitude_mm: float, length_mm: float) -> Point:
    """Ornstein-Uhlenbeck process: SD `amplitude_mm`, correlation length `length_mm`; (count, 3) mm."""
    keep = np.exp(-step_mm / length_mm)
    noise = rng.standard_normal((count, 3)) * amplitude_mm * np.sqrt(1.0 - keep**2)
    made = np.zeros((count, 3))
    for k in range(1, count):
        made[k] = keep * made[k - 1] + noise[k]
    return made


def spline(points: Point, step_mm: float = STEP_MM) -> Point:
    """A Catmull-Rom curve through points (n, 3), at about every `step_mm`."""
    wide = np.concatenate([2 * points[:1] - points[1:2], points, 2 * points[-1:] - points[-2:-1]])
    made = []
    for a, b, c, d in zip(wide[:-3], wide[1:-2], wide[2:-1], wide[3:], strict=True):
        count = max(int(np.ceil(np.linalg.norm(c - b) / step_mm)), 1)
        t = (np.arange(count) / count)[:, None]
        made.append(0.5 * (2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2 + (3 * b - 3 * c + d - a) * t**3))
    return np.concatenate([*made, points[-1:]])


def unit(vector: Point) -> Point:
    """Length 1."""
    return np.asarray(vector / max(float(np.linalg.norm(vector)), 1e-9), dtype=np.float64)


def turned(rng: np.random.Generator, direction: Point, angle: float, side: Point | None = None) -> tuple[Point, Point]:
    """The direction turned by an angle towards `side` (drawn if None); returns it and the side."""
    if side is None:
        side = rng.standard_normal(3)
    side = unit(side - direction * float(side @ direction))
    return unit(np.cos(angle) * direction + np.sin(angle) * side), side


@dataclass(frozen=True, kw_only=True)
class Growth:
    """How branches grow.

    within:  share of allowed tissue near every place, as Head.brain
    away:    place that branches lead away from, mm
    """

    within: NDArray[np.float32]
    away: Point
    kind: int = ARTERY
    gain: float = 1.0
    smallest_mm: float = SMALLEST_MM
    pieces: int = 16_000


def grow(tree: Tree, rng: np.random.Generator, growth: Growth, root: Point, direction: Point, radius: float) -> None:
    """A branch and all that comes of it; ends below the smallest radius, and outside the tissue."""
    waiting = [(root, unit(direction), radius, 0.0)]
    while waiting and len(tree.start) < growth.pieces:
        place, heading, now_mm, path = waiting.pop()
        length = np.clip(now_mm * rng.uniform(8.0, 26.0), 4.0, 30.0)
        line, heading, alive = _walk(rng, growth, place, heading, float(length))
        if len(line) < 2:
            continue
        taper = now_mm * np.linspace(1.0, rng.uniform(0.94, 1.0), len(line))
        path = tree.put(line, taper, path, kind=growth.kind, gain=growth.gain)
        now_mm = float(taper[-1])
        if not alive:
            continue
        first, second = murray(now_mm, rng.uniform(0.5, 0.88))
        angles = fork_angles(now_mm, first, second)
        tree.forks.append((line[-1], now_mm, heading))
        one, side = turned(rng, heading, angles[0])
        other, _ = turned(rng, heading, angles[1], -side)
        for child, way in ((first, one), (second, other)):
            if child >= growth.smallest_mm:
                waiting.append((line[-1], way, child, path))


def _walk(
    rng: np.random.Generator, growth: Growth, place: Point, heading: Point, length_mm: float
) -> tuple[Point, Point, bool]:
    line, drift, alive = [place], np.zeros(3), True
    for _ in range(int(length_mm / STEP_MM)):
        drift = 0.9 * drift + 0.16 * rng.standard_normal(3)
        heading = unit(heading + 0.02 * unit(place - growth.away) + 0.4 * STEP_MM * drift)
        share, slope = _around(growth.within, place)
        if share < 0.75:
            heading = unit(heading + 0.5 * unit(slope))
        place = place + STEP_MM * heading
        if share < 0.2:
            alive = False
            break
        line.append(place)
    return np.array(line), heading, alive


def _around(within: NDArray[np.float32], place: Point) -> tuple[float, Point]:
    z, y, x = (int(np.clip(round(float(v)), 2, size - 3)) for v, size in zip(place, within.shape, strict=True))
    slope = [
        within[z + 2, y, x] - within[z - 2, y, x],
        within[z, y + 2, x] - within[z, y - 2, x],
        within[z, y, x + 2] - within[z, y, x - 2],
    ]
    return float(within[z, y, x]), np.array(slope, dtype=np.float64)


def swell(tree: Tree, rng: np.random.Generator, diameters_mm: list[float]) -> None:
    """Saccular aneurysms at bifurcations of arteries of at least 0.7 mm, in the direction of the flow."""
    places = [fork for fork in tree.forks if fork[1] >= 0.7]
    order = rng.permutation(len(places))
    for number, diameter in zip(order, diameters_mm, strict=False):
        place, radius, heading = places[number]
        way, _ = turned(rng, heading, rng.uniform(0.0, 0.9))
        sac = diameter / 2.0
        centre = place + way * (0.75 * sac + 0.6 * radius)
        reach = 0.12 * sac * way
        line = np.array([centre - reach, centre + reach])
        tree.put(line, np.array([0.97 * sac, sac]), 0.0, gain=float(rng.uniform(0.75, 1.0)))
        tree.aneurysms.append(Aneurysm(centre=centre, diameter_mm=diameter))


def narrow(tree: Tree, rng: np.random.Generator, count: int) -> None:
    """Stenoses of 30 to 90 % of the diameter, 3 to 8 mm long, anywhere on arteries of 0.8 mm or more."""
    wide = [k for k, radii in enumerate(tree.radius) if radii[0] >= 0.8 and tree.kind[k] == ARTERY]
    starts = np.array(tree.start)
    for _ in range(count if wide else 0):
        place = tree.start[int(rng.choice(wide))]
        share, length = rng.uniform(0.3, 0.9), rng.uniform(3.0, 8.0)
        away = np.linalg.norm(starts - place, axis=1)
        kept = 1.0 - share * np.exp(-0.5 * (away / (length / 2.355)) ** 2)
        for k in np.flatnonzero(kept < 0.995):
            first, second = tree.radius[k]
            tree.radius[k] = (first * float(kept[k]), second * float(kept[k]))
