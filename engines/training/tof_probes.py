"""Probes of known size in the tissue of a head: wires, points, an edge across the slices; how wide they come out.

The through-plane width is measured, not derived: thin wires that lie in the plane of the slices and points, at random
heights, acquired with noise, made thin, and read along z.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engines.training import tof_acquire as acquire
from engines.training.sources import DATA
from engines.training.tof_acquire import Acquisition, Profile
from engines.training.tof_head import read_head
from engines.training.tof_measures import rise, width
from engines.training.tof_scene import FINE_MM, View, drawn, surroundings, tilt
from engines.training.tof_vessels import Tree, spline

Volume = NDArray[np.float32]
Method = Callable[[Volume, Acquisition, int], Volume]

SIDE, SLABS, PIXEL_MM = 96, 20, 0.6
WIRE_MM, POINT_MM = 0.8, 1.4  # diameters
GRID = 4  # probes in each direction of the plane


@dataclass(frozen=True, kw_only=True, eq=False)
class Board:
    """Probes in one piece of tissue.

    thick:  (z, y, x) as acquired; thin: (factor z, y, x) truth
    wires:  (n, 3) places on wires, in voxels of thin; points: the same of points; edges: columns (n, 2) of the edge
    top:    thin slice of the edge
    """

    thick: Volume
    thin: Volume
    wires: NDArray[np.float64]
    points: NDArray[np.float64]
    acquisition: Acquisition


def board(
    head: int, seed: int, profile: Profile, *, spacing_mm: float = 4.0, factor: int = 4, data: Path = DATA
) -> Board:
    """Wires and points on a grid in white and grey matter; every one at a height of its own."""
    rng = np.random.default_rng([head, seed, 99])
    acquisition = acquire.drawn(rng, spacing_mm, profile)
    total = SLABS + 4
    fine = int(np.ceil(total * spacing_mm / FINE_MM - 1e-6))
    step = total * spacing_mm / fine
    one = read_head(data, head)
    view = View(
        middle=one.middle + np.array([28.0, rng.uniform(-10, 25), rng.choice([-22.0, 22.0])]),
        turn=tilt(rng, 8.0, mirror=False),
        shape=(fine, SIDE, SIDE),
        size_mm=(step, PIXEL_MM, PIXEL_MM),
    )
    tree = Tree()
    wires: list[NDArray[np.float64]] = []
    points: list[NDArray[np.float64]] = []
    middle = (np.array(view.shape) - 1.0) / 2.0
    for number in range(GRID * GRID):
        row, column = divmod(number, GRID)
        z = fine * rng.uniform(0.3, 0.7)
        centre = np.array([z, (row + 0.5) * SIDE / GRID, (column + 0.5) * SIDE / GRID])
        turn = rng.uniform(0.0, np.pi)
        way = np.array([0.0, np.sin(turn), np.cos(turn)])
        wire = number % 2 == row % 2
        half = 9.0 / PIXEL_MM if wire else 0.1
        bend = np.array([0.0, np.cos(turn), -np.sin(turn)]) * rng.normal(0.0, 1.5)
        line = np.array([centre - half * way, centre + bend * wire, centre + half * way])
        curve = spline((line - middle) * view.size_mm, 0.8) if wire else (line[::2] - middle) * view.size_mm
        diameter = WIRE_MM if wire else POINT_MM
        tree.put(view.middle + curve @ view.turn.T, np.full(len(curve), diameter / 2.0), 1.0)
        places = (curve / view.size_mm + middle)[4:-4:2] if wire else centre[None]
        (wires if wire else points).extend(places)
    tissue, _, _ = surroundings(one, rng, view)
    share, _ = drawn(tree, 0, view, np.ones(len(tree.kind)))
    signal = tissue + share * (np.float32(rng.uniform(0.7, 1.0)) - tissue)
    thick = acquire.acquired(signal, acquisition, step, total, rng, rows=slice(2, 2 + SLABS))
    inner = range(2, 2 + SLABS)

    def placed(places: list[NDArray[np.float64]]) -> NDArray[np.float64]:
        made = np.array(places)
        made[:, 0] = ((made[:, 0] + 0.5) * step - 2 * spacing_mm) * factor / spacing_mm - 0.5
        return made

    return Board(
        thick=thick,
        thin=acquire.thin(signal, step, spacing_mm, factor, inner),
        wires=placed(wires),
        points=placed(points),
        acquisition=acquisition,
    )


def read(volume: Volume, places: NDArray[np.float64], thin_mm: float) -> list[float]:
    """Widths along z at places, mm; only those that show."""
    seen = []
    for z, y, x in np.round(places).astype(int):
        low, high = max(z - 9, 0), z + 10
        part = volume[low:high, max(y - 1, 0) : y + 2, max(x - 1, 0) : x + 2]
        if part.shape[0] < 19:
            continue
        flat = part.reshape(19, -1)
        profile = flat[:, int(np.argmax(flat[6:13].max(axis=0)))]
        peak = 6 + int(np.argmax(profile[6:13]))
        seen.append(width(profile, thin_mm, middle=peak))
    return [one for one in seen if np.isfinite(one)]


def edge(
    profile: Profile, phase: float, seed: int, method: Method, *, spacing_mm: float = 4.0, factor: int = 4
) -> float:
    """10 to 90 % of an edge across the slices, 0.3 to 0.7 ART, `phase` slabs above the middle of a slab; mm."""
    rng = np.random.default_rng([seed, 5])
    acquisition = acquire.drawn(rng, spacing_mm, profile)
    total, side = 24, 64
    fine = round(total * spacing_mm / FINE_MM)
    step = total * spacing_mm / fine
    at = (np.arange(fine) + 0.5) * step
    low, high = (8.0 + phase) * spacing_mm, (16.0 + phase) * spacing_mm
    up = np.clip((at - low) / step + 0.5, 0.0, 1.0) * np.clip((high - at) / step + 0.5, 0.0, 1.0)
    signal = np.broadcast_to((0.3 + 0.4 * up)[:, None, None], (fine, side, side)).astype(np.float32)
    thick = acquire.acquired(signal, acquisition, step, total, rng)
    made = method(thick, acquisition, factor)[:, 16:-16, 16:-16].mean(axis=(1, 2))
    middle = round((8.0 + phase) * factor)
    return rise(made[middle - 3 * factor : middle + 3 * factor], spacing_mm / factor)
