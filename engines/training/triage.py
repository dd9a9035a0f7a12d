"""Head-CT anomaly: the batches, the loss, and the figures that choose a checkpoint."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from engines.head import HeadStack
from engines.networks.anomaly_dae import CELL, COLUMNS, PLACES, ROWS, AnomalyDae
from engines.training.sources import Role
from engines.training.triage_corrupt import corrupt, pushed, soft_ellipses
from engines.training.triage_stacks import Stack, load_stacks

BATCH = 4
CROP = (192, 160)  # most of a brain: a lesion is seen by what the other side looks like
CHOSEN = 24  # slices of head 04 that choose
TOUCHED = 2.0  # weight of what a blob changed


def normal_mean(stacks: list[Stack]) -> Tensor:
    """Mean HU of normal brains over cells of 4 mm, both sides alike; (32, 56, 48)."""
    total = np.zeros((PLACES, ROWS // CELL, COLUMNS // CELL))
    count = np.full(total.shape, 1e-3)
    for stack in stacks:
        for values, into in ((stack.hu * stack.mask, total), (stack.mask, count)):
            into += (
                values.astype(np.float32).reshape(PLACES, ROWS // CELL, CELL, COLUMNS // CELL, CELL).mean(axis=(2, 4))
            )
    mean = (total + total[:, :, ::-1]) / (count + count[:, :, ::-1])
    return torch.from_numpy(mean.astype(np.float32))


def near(stack: Stack | HeadStack, place: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The slice with the one below and above it, edges repeated: HU and mask, (3, y, x)."""
    at = np.clip([place - 1, place, place + 1], 0, PLACES - 1)
    mask = stack.mask[at].astype(np.float32)
    return stack.hu[at].astype(np.float32) * mask, mask


def _field(count: int, shape: tuple[int, int], sd_px: float) -> Tensor:
    """A smooth displacement, (n, y, x, 2) pixels."""
    coarse = torch.randn(count, 2, 7, 6) * sd_px
    return F.interpolate(coarse, size=shape, mode="bicubic", align_corners=True).permute(0, 2, 3, 1)


def sampled(image: Tensor, grid: Tensor) -> Tensor:
    """The image (n, c, y, x) at pixels (n, y', x', 2) as (x, y); outside 0."""
    rows, columns = image.shape[2:]
    scale = torch.tensor([2.0 / (columns - 1), 2.0 / (rows - 1)])
    return F.grid_sample(image, grid * scale - 1.0, mode="bilinear", padding_mode="zeros", align_corners=True)


class Anomaly:
    """The task of `engines.training.loop`."""

    def __init__(self, cache: Path, seed: int) -> None:
        self.cache, self.seed = cache, seed
        self.stacks = load_stacks(cache, Role.TRAIN)
        self.choose = load_stacks(cache, Role.CHOOSE)

    def network(self) -> nn.Module:
        """Untrained: the healthy slice is the slice."""
        network = AnomalyDae()
        network.atlas.copy_(normal_mean(self.stacks))
        return network

    def batch(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Slices and masks (n, 3, 224, 192), places (n,); the fourth: which samples are turned over."""
        drawn: list[tuple[NDArray[np.float32], NDArray[np.float32]]] = []
        places: list[int] = []
        while len(drawn) < BATCH:
            stack = self.stacks[int(self.rng.integers(len(self.stacks)))]
            place = int(self.rng.integers(PLACES))
            # The more brain a slice shows, the more often it is drawn.
            if np.count_nonzero(stack.mask[place]) < 400 + 12000.0 * self.rng.random() ** 2:
                continue
            drawn.append(near(stack, place))
            places.append(place)
        hu, mask = (torch.from_numpy(np.stack(part)) for part in zip(*drawn, strict=True))
        turned = torch.from_numpy(self.rng.random(BATCH) < 0.5)[:, None, None, None]
        return (
            torch.where(turned, hu.flip(3), hu),
            torch.where(turned, mask.flip(3), mask),
            torch.tensor(places),
            turned,
        )

    def loss(self, network: nn.Module) -> Tensor:
        """Of one batch: L1 to the slice as it was, twice as heavy where a blob was."""
        assert isinstance(network, AnomalyDae)
        torch.manual_seed(int(self.rng.integers(1 << 31)))
        hu, mask, places, _ = self.batch()
        rows, columns = CROP
        top, left = (
            int(self.rng.integers(0, (full - part) // 2 + 1)) * 2 for full, part in ((ROWS, rows), (COLUMNS, columns))
        )
        at = torch.stack(
            torch.meshgrid(torch.arange(float(columns)) + left, torch.arange(float(rows)) + top, indexing="xy"), dim=-1
        )
        # Bent and moved against the tables: other heads are, and alignment is never exact.
        bent = at + _field(BATCH, CROP, float(self.rng.uniform(0.0, 3.0))) + 2.0 * torch.randn(BATCH, 1, 1, 2)
        share, centre = soft_ellipses(BATCH, CROP)
        push = pushed(share, centre) * (torch.rand(BATCH) < 0.3).float()[:, None, None, None]
        both = torch.cat([hu, mask], dim=1)
        true = sampled(both, bent)
        # The brain's outline stays where it is: only what is inside is pushed.
        inside = (true[:, 3:] > 0.5).float()
        wrong = sampled(hu, bent - push)
        wrong = torch.where(sampled(mask, bent - push) > 0.95, wrong, true[:, :3])
        shift = 1.5 * torch.randn(BATCH, 1, 1, 1)
        contrast = 1.0 + 0.05 * torch.randn(BATCH, 1, 1, 1)
        noise = torch.randn(BATCH, 3, *CROP) * (3.0 * torch.rand(BATCH, 1, 1, 1))
        blur = torch.rand(BATCH, 1, 1, 1) * (torch.rand(BATCH, 1, 1, 1) < 0.5)

        def seen(image: Tensor) -> Tensor:
            soft = F.avg_pool2d(F.pad(image, (1, 1, 1, 1), mode="replicate"), 3, stride=1)
            return (30.0 + (torch.lerp(image, soft, blur) - 30.0) * contrast + shift) * inside

        target = seen(true[:, :3])
        bad = corrupt(seen(wrong) + noise * inside, inside)
        told = network.told(places)
        told = told[:, :, top // 2 : (top + rows) // 2, left // 2 : (left + columns) // 2]
        change, _ = network.change(bad.slices, inside[:, 1:2], told)
        error = (bad.slices[:, 1:2] + change - target[:, 1:2]).abs() * inside[:, 1:2]
        weight = (1.0 + (TOUCHED - 1.0) * bad.touched) * inside[:, 1:2]
        return (weight * error).sum() / weight.sum() / 10.0

    def score(self, network: nn.Module) -> Mapping[str, float]:
        """Of head 04: what stays of a blob, and what is changed where nothing is wrong, HU."""
        assert isinstance(network, AnomalyDae)
        rng = np.random.default_rng(1)
        state = torch.get_rng_state()
        torch.manual_seed(1)
        kept, changed = [], []
        for _ in range(CHOSEN):
            stack = self.choose[int(rng.integers(len(self.choose)))]
            place = int(rng.integers(8, 29))
            hu, mask = (torch.from_numpy(part)[None] for part in near(stack, place))
            if mask[:, 1].sum() < 2000:
                continue
            at = torch.tensor([place])
            bad = corrupt(hu, mask)
            healthy = network(bad.slices, mask[:, 1:2], at)[0]
            same = network(hu, mask[:, 1:2], at)[0]
            clean = hu[:, 1:2]
            kept.append(float((bad.touched * _median(healthy - clean).abs()).sum() / bad.touched.sum().clamp(min=50.0)))
            changed.append(float((mask[:, 1:2] * _median(same - clean).abs()).sum() / mask[:, 1:2].sum()))
        torch.set_rng_state(state)
        left, off = float(np.mean(kept)), float(np.mean(changed))
        return {"left": left, "changed": off, "total": left + 2.0 * off}

    def refresh(self, step: int) -> None:
        """Read what the cache holds by now."""
        self.rng = np.random.default_rng([self.seed, step])
        self.stacks += load_stacks(self.cache, Role.TRAIN, {stack.name for stack in self.stacks})


def _median(image: Tensor) -> Tensor:
    """A low-pass for judging: mean over 5 x 5 (a median takes long in torch)."""
    return F.avg_pool2d(image, 5, stride=1, padding=2)
