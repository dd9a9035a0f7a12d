"""A head with vessels on a fine grid: what a time-of-flight acquisition would show with no noise and no thickness.

Vessels are drawn by the distance to their centre-lines on a grid of at most 0.4 mm, with edges as soft as one voxel,
and averaged to pixels; nothing of them is a staircase. Arrays are (z, y, x), z upwards. numpy only.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engines.training.tof_head import Head, sampled, tissue
from engines.training.tof_trunks import grown
from engines.training.tof_vessels import ARTERY, VEIN, Aneurysm, Tree, saturation

Volume = NDArray[np.float32]
Point = NDArray[np.float64]

FINE_MM = 0.4
_FAR = np.float32(-9.0)
_CHUNK = 32


@dataclass(frozen=True, kw_only=True, eq=False)
class View:
    """How the grid of an image lies in a head.

    middle:  mm in the head, what the middle of the image shows
    turn:    (3, 3) rotation, image to head; a mirrored image has determinant -1
    shape:   voxels; size_mm: of a voxel
    """

    middle: Point
    turn: NDArray[np.float64]
    shape: tuple[int, int, int]
    size_mm: tuple[float, float, float]

    def to_image(self, points: Point) -> Point:
        """(n, 3) mm in the head to voxels of the image."""
        away = (points - self.middle) @ self.turn
        return away / np.array(self.size_mm) + (np.array(self.shape) - 1.0) / 2.0

    def to_head(self, at: tuple[Point, Point, Point]) -> tuple[Point, Point, Point]:
        """Voxel axes, each 1-D, to mm in the head that broadcast to (z, y, x)."""
        axes = [
            (axis - (length - 1.0) / 2.0) * size
            for axis, length, size in zip(at, self.shape, self.size_mm, strict=True)
        ]
        wide = (axes[0][:, None, None], axes[1][None, :, None], axes[2][None, None, :])
        found = [self.middle[k] + sum(self.turn[k, j] * wide[j] for j in range(3)) for k in range(3)]
        return found[0], found[1], found[2]


@dataclass(frozen=True, kw_only=True, eq=False)
class Scene:
    """Image and truth on the view's grid.

    signal:   float32, 1 = fresh arterial blood
    arteries: float32, share of each voxel that is artery or aneurysm; veins: the same of veins
    brain:    bool, where the brain and what lies around it is
    """

    view: View
    signal: Volume
    arteries: Volume
    veins: Volume
    brain: NDArray[np.bool_]
    aneurysms: tuple[Aneurysm, ...]
    tree: Tree


def tilt(rng: np.random.Generator, degrees: float, *, mirror: bool) -> NDArray[np.float64]:
    """A small rotation about every axis, perhaps with left and right changed."""
    z, y, x = np.deg2rad(rng.uniform(-degrees, degrees, 3))
    about_z = np.array([[1, 0, 0], [0, np.cos(z), -np.sin(z)], [0, np.sin(z), np.cos(z)]])
    about_y = np.array([[np.cos(y), 0, np.sin(y)], [0, 1, 0], [-np.sin(y), 0, np.cos(y)]])
    about_x = np.array([[np.cos(x), -np.sin(x), 0], [np.sin(x), np.cos(x), 0], [0, 0, 1]])
    return np.asarray(about_z @ about_y @ about_x @ np.diag([1.0, 1.0, -1.0 if mirror else 1.0]), dtype=np.float64)


def drawn(tree: Tree, kind: int, view: View, values: NDArray[np.float64]) -> tuple[Volume, Volume]:
    """Vessels of one kind as shares of voxels, and the value of the piece that each voxel belongs to.

    The signed distance to a truncated cone decides: 1 half a voxel inside the wall, 0 half a voxel outside.

    values:  of every piece of the tree
    returns: share and value, both of the view's shape
    """
    fine, split = _refined(view)
    own = np.array(tree.kind) == kind
    starts, ends = (fine.to_image(np.array(line)[own]) * fine.size_mm for line in (tree.start, tree.end))
    radii, signal = np.array(tree.radius)[own], values[own]
    sizes = np.array(fine.size_mm)
    reach = radii.max(axis=1, keepdims=True) + sizes.max()
    first = np.maximum(np.ceil((np.minimum(starts, ends) - reach) / sizes).astype(int), 0)
    after = np.minimum(np.floor((np.maximum(starts, ends) + reach) / sizes).astype(int) + 1, fine.shape)
    shares, means = np.zeros(view.shape, dtype=np.float32), np.zeros(view.shape, dtype=np.float32)
    high = _CHUNK * split[0]
    for chunk in range(0, fine.shape[0], high):  # a part at a time: the fine grid is large
        shape = (min(high, fine.shape[0] - chunk), *fine.shape[1:])
        inside, value = np.full(shape, _FAR, dtype=np.float32), np.zeros(shape, dtype=np.float32)
        low, top = first - [chunk, 0, 0], after - [chunk, 0, 0]
        low, top = np.maximum(low, 0), np.minimum(top, shape)
        for k in np.flatnonzero((top > low).all(axis=1)):
            box = tuple(slice(int(a), int(b)) for a, b in zip(low[k], top[k], strict=True))
            axes = [np.arange(part.start, part.stop) * size for part, size in zip(box, sizes, strict=True)]
            axes[0] = axes[0] + chunk * sizes[0]
            away = _depth(axes, starts[k], ends[k], radii[k]).astype(np.float32)
            nearer = away > inside[box]
            np.copyto(inside[box], away, where=nearer)
            value[box][nearer] = signal[k]
        share = np.clip(inside / np.float32(sizes.max()) + np.float32(0.5), 0.0, 1.0)
        out = slice(chunk // split[0], chunk // split[0] + shape[0] // split[0])
        shares[out], means[out] = _pooled(share, split), _pooled(share * value, split)
    return shares, np.where(shares > 0, means / np.maximum(shares, 1e-6), 0.0).astype(np.float32)


def _depth(axes: list[Point], start: Point, end: Point, radii: Point) -> Point:
    """How far inside the wall of a cone with round ends, mm; negative outside."""
    z, y, x = axes[0][:, None, None] - start[0], axes[1][None, :, None] - start[1], axes[2][None, None, :] - start[2]
    along = end - start
    part = np.clip((z * along[0] + y * along[1] + x * along[2]) / max(float(along @ along), 1e-9), 0.0, 1.0)
    squared = (z - part * along[0]) ** 2 + (y - part * along[1]) ** 2 + (x - part * along[2]) ** 2
    depth: Point = radii[0] + part * (radii[1] - radii[0]) - np.sqrt(squared)
    return depth


def _refined(view: View) -> tuple[View, tuple[int, int, int]]:
    split = tuple(int(np.ceil(size / FINE_MM - 1e-6)) for size in view.size_mm)
    shape = tuple(length * part for length, part in zip(view.shape, split, strict=True))
    sizes = tuple(size / part for size, part in zip(view.size_mm, split, strict=True))
    fine = View(middle=view.middle, turn=view.turn, shape=shape, size_mm=sizes)  # type: ignore[arg-type]  # of three
    return fine, split  # type: ignore[return-value]  # of three


def _pooled(volume: Volume, split: tuple[int, int, int]) -> Volume:
    for axis, part in enumerate(split):
        if part > 1:
            before = (slice(None),) * axis
            made = volume[(*before, slice(0, None, part))].copy()
            for shift in range(1, part):
                made += volume[(*before, slice(shift, None, part))]
            volume = made / np.float32(part)
    return volume


def shown(head: Head, rng: np.random.Generator, view: View, diameters_mm: list[float], stenoses: int) -> Scene:
    """A head with a tree of its own, seen so.

    diameters_mm: of the aneurysms
    """
    tree = grown(head, rng, diameters_mm, stenoses)
    path = np.array(tree.path)
    steady = float(rng.uniform(0.45, 0.7))
    # Slow blood in narrow vessels saturates on a shorter way.
    calibre = np.array(tree.radius).mean(axis=1)
    arterial = np.array(tree.gain)
    for group in np.unique(np.round(calibre, 1)):
        own = np.round(calibre, 1) == group
        length = float(rng.uniform(90.0, 220.0)) * np.sqrt(max(group, 0.3) / 1.5)
        arterial[own] *= saturation(path[own], 1.0, steady, float(length))
    arterial[np.array(tree.kind) != ARTERY] = np.array(tree.gain)[np.array(tree.kind) != ARTERY]
    signal, inside, brain = surroundings(head, rng, view)
    there = inside > 0.5
    shares = {}
    for kind in (VEIN, ARTERY):  # an artery that crosses a vein is what is seen
        share, value = drawn(tree, kind, view, arterial)
        shares[kind] = share * there
        signal += shares[kind] * (value - signal)
    return Scene(
        view=view,
        signal=signal,
        arteries=shares[ARTERY],
        veins=shares[VEIN],
        brain=brain > 0.35,
        aneurysms=tuple(tree.aneurysms),
        tree=tree,
    )


def surroundings(head: Head, rng: np.random.Generator, view: View) -> tuple[Volume, Volume, Volume]:
    """Tissue, head and brain on the view's grid; read at every second plane, since they are known to a millimetre."""
    corners = view.to_head(tuple(np.array([-2.0, length + 1.0]) for length in view.shape))  # type: ignore[arg-type]  # of three
    low = [int(max(np.floor(axis.min()) - 2, 0)) for axis in corners]
    box = tuple(
        slice(start, max(int(min(np.ceil(axis.max()) + 3, size)), start + 2))
        for start, axis, size in zip(low, corners, head.labels.shape, strict=True)
    )
    labels = head.labels[box]
    known = (tissue(labels, rng), (labels > 0).astype(np.float32), np.ascontiguousarray(head.brain[box]))
    count = view.shape[0] // 2 + 1
    planes = [np.arange(2.0 * k, min(2.0 * (k + 4), 2.0 * count), 2.0) for k in range(0, count, 4)]
    rows, columns = np.arange(float(view.shape[1])), np.arange(float(view.shape[2]))
    parts = []
    for part in planes:
        at = view.to_head((part, rows, columns))
        parts.append(sampled(known, (at[0] - low[0], at[1] - low[1], at[2] - low[2])))
    found = []
    for k in range(3):
        half = np.concatenate([part[k] for part in parts])
        full = np.empty(view.shape, dtype=np.float32)
        full[::2] = half[: (view.shape[0] + 1) // 2]
        full[1::2] = 0.5 * (half[:-1] + half[1:])[: view.shape[0] // 2]
        found.append(full)
    return found[0], found[1], found[2]
