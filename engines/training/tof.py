"""Through-plane super-resolution: the batches, the loss, and the figures that choose a checkpoint."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from engines.networks.superres_unet import SLICES, SuperresUnet
from engines.slabs import FINE, SUPPORT, to_factor
from engines.training import tof_acquire as acquire
from engines.training.shelf import Supply
from engines.training.sources import Role
from engines.training.tof_baselines import back_projected
from engines.training.tof_blocks import Block, load
from engines.training.tof_head import softened
from engines.training.tof_scene import FINE_MM

Volume = NDArray[np.float32]

SIDE, SLABS, STACKS = 96, 4, 2  # pixels of a patch, neighbouring slabs of a stack, stacks of a batch
RETONED = 0.5  # share of stacks with another contrast
VESSELS = 2.0  # weight of vessels above that of the rest: three times
STEEPEST_MM = (2.0, 6.0)


@dataclass(frozen=True, kw_only=True, eq=False)
class Stack:
    """Some neighbouring slabs.

    thick:    (SLABS + 4, y, x) ART, two more slabs on each side
    thin:     (8 SLABS, y, x) ART, truth
    arteries: the same shape, share of each voxel
    """

    thick: Volume
    thin: Volume
    arteries: Volume
    acquisition: acquire.Acquisition
    pixel_mm: float


def stack(rng: np.random.Generator, block: Block, side: int = SIDE, *, plain: bool = False) -> Stack:
    """Cut and acquire; `plain` leaves out what only makes training harder."""
    low, high = STEEPEST_MM
    spacing = float(rng.uniform(low, high) if rng.random() < 0.5 else rng.uniform(3.3, 4.7))
    acquisition = acquire.drawn(rng, spacing)
    total = int(len(block.signal) * FINE_MM / spacing)
    fine = round(total * spacing / FINE_MM)
    while fine > len(block.signal):
        total -= 1
        fine = round(total * spacing / FINE_MM)
    step = total * spacing / fine  # within a few per cent of FINE_MM: the field of view holds whole slabs
    start = int(rng.integers(0, len(block.signal) - fine + 1))
    first = int(rng.integers(0, total - SLABS - 2 * SUPPORT + 1))
    y, x = _place(rng, block, side, start + round(first * spacing / step), round((SLABS + 4) * spacing / step))
    cut = (slice(start, start + fine), slice(y, y + side), slice(x, x + side))
    signal = block.signal[cut].astype(np.float32)
    arteries = block.arteries[cut].astype(np.float32) / np.float32(255.0)
    if not plain:
        if rng.random() < RETONED:
            signal = retoned(rng, signal)
        signal = signal * np.float32(rng.uniform(0.8, 1.25))
        signal = signal * acquire.slab_steps(rng, fine, step, spacing)[:, None, None]
    thick = acquire.acquired(signal, acquisition, step, total, rng, rows=slice(first, first + SLABS + 2 * SUPPORT))
    inner = range(first + SUPPORT, first + SUPPORT + SLABS)
    three = [
        thick,
        acquire.thin(signal, step, spacing, FINE, inner),
        acquire.thin(arteries, step, spacing, FINE, inner),
    ]
    if not plain:
        turns, flip, upside = int(rng.integers(4)), bool(rng.integers(2)), bool(rng.integers(2))
        three = [np.rot90(v[::-1] if upside else v, turns, axes=(1, 2)) for v in three]
        three = [np.ascontiguousarray(v[:, :, ::-1] if flip else v) for v in three]
    return Stack(thick=three[0], thin=three[1], arteries=three[2], acquisition=acquisition, pixel_mm=block.pixel_mm)


def retoned(rng: np.random.Generator, signal: Volume) -> Volume:
    """Another contrast: brightness through a random rising curve that keeps 0 and 1, and a grain of up to 10 %.

    Real scans have tissue as bright as no simulation here; what is bright must not count as a vessel for that alone.
    """
    knots = np.array([0.0, 0.1, 0.2, 0.3, 0.4, 0.55, 0.75, 1.0])
    rises = rng.exponential(1.0, len(knots) - 1) * np.diff(knots) ** 0.5
    levels = np.concatenate([[0.0], np.cumsum(rises) / rises.sum()])
    beyond = np.append(levels, 1.5)
    toned = np.interp(signal, np.append(knots, 1.5), beyond).astype(np.float32)
    shape = tuple((length + 1) // 2 for length in signal.shape)
    grain = rng.standard_normal(shape, dtype=np.float32) * np.float32(rng.uniform(0.0, 0.1))
    for axis in range(3):
        grain = np.repeat(grain, 2, axis=axis)
    return toned * (1.0 + softened(grain[tuple(slice(0, length) for length in signal.shape)]))


def _place(rng: np.random.Generator, block: Block, side: int, low: int, count: int) -> tuple[int, int]:
    """A corner: in four of five patches near a vessel, else anywhere."""
    y_most, x_most = block.signal.shape[1] - side, block.signal.shape[2] - side
    y, x = int(rng.integers(0, y_most + 1)), int(rng.integers(0, x_most + 1))
    if rng.random() < 0.8:
        seen = np.argwhere(block.arteries[low : low + count : 3].max(axis=0) > 128)
        if len(seen):
            place = seen[rng.integers(len(seen))] - rng.integers(0, side, 2)
            y, x = int(np.clip(place[0], 0, y_most)), int(np.clip(place[1], 0, x_most))
    return y, x


def feeds(thick: Volume) -> Volume:
    """What the network sees of each slab but the two outermost on each side; (n, 5, y, x)."""
    return np.stack([thick[k : k + SLICES] for k in range(len(thick) - 2 * SUPPORT)])


def loss_of(
    made: Tensor, truth: Tensor, arteries: Tensor, spacing_mm: float, pixel_mm: float, rng: np.random.Generator
) -> Tensor:
    """L1 and squares with vessels three times, of projections of 10 to 20 mm in three planes, and of steps along z.

    made, truth, arteries: (z, y, x) of one stack
    """
    error = (made - truth).abs()
    weight = 1.0 + VESSELS * F.max_pool3d(arteries[None, None], 3, 1, 1)[0, 0]
    total = (weight * (error + 6.0 * error**2)).mean()
    steps = (made.diff(dim=0) - truth.diff(dim=0)).abs()
    total = total + 0.5 * (weight[1:] * steps).mean()
    depth_mm = float(rng.uniform(10.0, 20.0))
    for axis, size in enumerate((spacing_mm / FINE, pixel_mm, pixel_mm)):
        length = min(max(round(depth_mm / size), 1), made.shape[axis])
        start = int(rng.integers(0, made.shape[axis] - length + 1))
        both = [volume.narrow(axis, start, length).amax(dim=axis) for volume in (made, truth)]
        total = total + 0.2 / 3.0 * (both[0] - both[1]).abs().mean()
    return total


class Superres:
    """The task of `engines.training.loop`."""

    def __init__(self, cache: Path, seed: int) -> None:
        self.blocks = Supply(cache, load, seed)
        self._cache = cache
        self.kept: list[Stack] = []

    def network(self) -> nn.Module:
        """Untrained: cubic interpolation."""
        return SuperresUnet()

    def loss(self, network: nn.Module) -> Tensor:
        """Of one batch."""
        rng = self.blocks.rng
        drawn = [stack(rng, block) for block in self.blocks.draw(STACKS)]
        fed = torch.from_numpy(np.concatenate([feeds(one.thick) for one in drawn]))
        made = network(fed.to(memory_format=torch.channels_last)).contiguous()
        total = torch.zeros(())
        for one, part in zip(drawn, made.split(SLABS), strict=True):
            truth, arteries = torch.from_numpy(one.thin), torch.from_numpy(one.arteries)
            total = total + loss_of(
                part.reshape(truth.shape), truth, arteries, one.acquisition.spacing_mm, one.pixel_mm, rng
            )
        return total / len(drawn)

    def score(self, network: nn.Module) -> Mapping[str, float]:
        """Gain over back-projection, dB, and Dice of what is bright, at factor 4, on the head that chooses."""
        if not self.kept:
            rng = np.random.default_rng(1)
            blocks = load(self._cache, Role.CHOOSE)
            self.kept = [stack(rng, blocks[k % len(blocks)], 128, plain=True) for k in range(12)] if blocks else []
            self.plain = [_folded(_back_projected(one)) for one in self.kept]
        gains: list[float] = []
        dices: list[float] = []
        ours: list[float] = []
        for one, plain in zip(self.kept, self.plain, strict=True):
            made = network(torch.from_numpy(feeds(one.thick))).numpy()
            made = _folded(made.reshape(one.thin.shape))
            truth = _folded(one.thin)
            gains.append(10.0 * float(np.log10(np.mean((plain - truth) ** 2) / np.mean((made - truth) ** 2))))
            dices.append(_dice(made, truth))
            ours.append(_dice(plain, truth))
        found = {"gain_db": float(np.mean(gains)), "dice": float(np.mean(dices)), "dice_ibp": float(np.mean(ours))}
        return {**found, "total": -found["gain_db"] - 10.0 * found["dice"]}

    def refresh(self, step: int) -> None:
        """Read what the cache holds by now."""
        self.blocks.refresh(step)


def _back_projected(one: Stack) -> Volume:
    return back_projected(one.thick, one.acquisition, FINE)[FINE * SUPPORT : -FINE * SUPPORT]


def _folded(thin: Volume) -> Volume:
    """Eight thin slices of each slab as four."""
    return np.concatenate([to_factor(part, 4) for part in np.split(thin, len(thin) // FINE)])


def _dice(made: Volume, truth: Volume, level: float = 0.6) -> float:
    first, second = made > level, truth > level
    both = int(np.count_nonzero(first)) + int(np.count_nonzero(second))
    return 2.0 * int(np.count_nonzero(first & second)) / max(both, 1)
