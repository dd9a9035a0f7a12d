"""Synthetic contrast: the batches, the loss, and the figures that choose a checkpoint.

No adversarial part: it would draw lesions that enhance convincingly where nothing tells that they do.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from engines.networks.contrast_unet import ContrastUnet
from engines.training.contrast_measures import concordance
from engines.training.contrast_pairs import CONTROL, LESION, QUIET, Slab, load_slabs
from engines.training.contrast_scan import acquired
from engines.training.sources import Role

SIDE, BATCH = 96, 8
LIMIT = 0.15  # true enhancement that counts: C2 and D3 speak of a ratio of 1.15
SEEN = 0.2  # made: above what blood alone gives to grey matter
STRONGER, CERTAIN = 5.0, 15.0  # weights of lesions that truly enhance and of controls
LOST = 0.2  # of batches without T2, and as many without FLAIR


def cut(rng: np.random.Generator, slab: Slab, side: int = SIDE) -> tuple[NDArray[np.float32], ...]:
    """A patch as a scanner would have stored it: (9, y, x) images, (3,) present, enhancement and asked (y, x).

    Turned over or left as it is, neighbours swapped or not; gain off by up to a tenth; T2 or FLAIR missing now and then
    """
    y, x = (int(v) for v in rng.integers(0, slab.enhancement.shape[0] - side + 1, 2))
    wanted = LESION if rng.random() < 0.6 else CONTROL
    if rng.random() < 0.8 and (slab.asked & wanted).any():  # see to it that what is rare is in it
        rows, columns = np.nonzero(slab.asked & wanted)
        k = int(rng.integers(len(rows)))
        y, x = (
            int(np.clip(at - rng.integers(side // 4, 3 * side // 4), 0, slab.enhancement.shape[0] - side))
            for at in (rows[k], columns[k])
        )
    place = (slice(None), slice(y, y + side), slice(x, x + side))
    kept = slab.kept[place] if rng.random() < 0.5 else None
    signal = {name: getattr(slab, name)[place].astype(np.float32) for name in ("t1", "t2", "flair")}
    made = acquired(rng, signal, kept)
    present = np.ones(3, dtype=np.float32)
    for index, name in ((1, "t2"), (2, "flair")):
        if rng.random() < LOST:
            present[index] = 0.0
        made[name] = made[name] * np.float32(rng.uniform(0.9, 1.1)) * present[index]
    made["t1"] = made["t1"] * np.float32(rng.uniform(0.9, 1.1))
    images = np.concatenate([made[name] for name in ("t1", "t2", "flair")])
    inside = 1.0 if kept is None else kept[1]
    enhancement = slab.enhancement[place[1:]].astype(np.float32) * inside
    asked = slab.asked[place[1:]].astype(np.float32)
    if rng.random() < 0.5:
        images, enhancement, asked = images[..., ::-1], enhancement[..., ::-1], asked[..., ::-1]
    if rng.random() < 0.5:
        images = images.reshape(3, 3, side, side)[:, ::-1].reshape(9, side, side)
    return tuple(np.ascontiguousarray(array, dtype=np.float32) for array in (images, present, enhancement, asked))


def stack(made: list[tuple[NDArray[np.float32], ...]]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Images (n, 9, y, x), present (n, 3), enhancement and asked (n, 1, y, x)."""
    images, present, enhancement, asked = (torch.from_numpy(np.stack(part)) for part in zip(*made, strict=True))
    return images, present, enhancement[:, None], asked[:, None]


def shown(network: nn.Module, images: Tensor, present: Tensor) -> tuple[Tensor, Tensor]:
    """Post and spread of the network."""
    post, spread = network(images[:, :3], images[:, 3:6], images[:, 6:], present)
    return post, spread


def loss_of(post: Tensor, spread: Tensor, t1: Tensor, enhancement: Tensor, asked: Tensor) -> Tensor:
    """Weighted L1 in the image, focal Dice of enhancing lesions, a price on what enhances falsely, and NLL.

    Focal Dice: Abraham & Khan 2019. The NLL sees the error without its gradient.
    """
    truth = t1 * (1.0 + enhancement)
    error = post - truth
    strong = (enhancement > LIMIT).float()
    lesion = (asked.int() & LESION > 0).float()
    quiet = (asked.int() & QUIET > 0).float()
    # What has no barrier is few pixels and certain; the scalp takes up contrast too, and tells nobody.
    control = ((asked.int() & CONTROL) > 0).float()
    weight = 1.0 + strong * (1.0 + (STRONGER - 2.0) * lesion + (CERTAIN - 2.0) * control)
    main = (weight * error.abs()).sum() / weight.sum()
    ours = post / t1.clamp(min=0.05) - 1.0
    true_lesion = strong * lesion
    region = (t1 > 0.05) * ((lesion > 0) | ((quiet > 0) & (strong == 0)))
    soft = torch.sigmoid((ours - SEEN) / 0.04) * region
    both = (soft * true_lesion).sum(dim=(1, 2, 3))
    dice = 1.0 - (both + 20.0) / (0.5 * soft.sum(dim=(1, 2, 3)) + 0.5 * true_lesion.sum(dim=(1, 2, 3)) + 20.0)
    false = (F.relu(ours - enhancement - 0.05).clamp(max=1.0) * quiet * (1.0 - strong)).mean()
    scaled = error.detach() / spread
    nll = (0.5 * scaled**2).clamp(max=50.0).mean() + torch.log(spread).mean()
    return 4.0 * main + 0.5 * (dice.clamp(min=1e-3) ** 0.75).mean() + 5.0 * false + 0.05 * nll


class Contrast:
    """The task of `engines.training.loop`."""

    def __init__(self, cache: Path, seed: int) -> None:
        self.cache, self.seed = cache, seed
        self.slabs: list[Slab] = []
        rng = np.random.default_rng(1)
        self.choose = [cut(rng, slab, 128) for slab in load_slabs(cache, Role.CHOOSE)]

    def network(self) -> nn.Module:
        """Untrained: next to nothing enhances."""
        return ContrastUnet()

    def loss(self, network: nn.Module) -> Tensor:
        """Of one batch."""
        drawn = [self.slabs[int(k)] for k in self.rng.integers(0, len(self.slabs), BATCH)]
        images, present, enhancement, asked = stack([cut(self.rng, slab) for slab in drawn])
        post, spread = shown(network, images, present)
        return loss_of(post, spread, images[:, 1:2], enhancement, asked)

    def score(self, network: nn.Module) -> Mapping[str, float]:
        """What D3 accepts by, on the head kept for choosing: areas in place of volumes, one slice each."""
        ours, true, found, there, false, wrong, error, sure = [], [], 0, 0, [], 0.0, [], []
        for one in self.choose:
            images, present, enhancement, asked = stack([one])
            post, _ = shown(network, images, present)
            t1 = images[:, 1:2]
            strong = (enhancement > LIMIT) & (asked.int() & LESION > 0)
            vessels = F.max_pool2d(((enhancement > LIMIT) & ~strong).float(), 7, 1, 3) > 0
            made = ((post / t1.clamp(min=0.05) - 1.0) > SEEN) & ~(vessels & ~strong)
            tissue = (asked.int() & (QUIET | LESION)) > 0
            ours.append(float((made & tissue).sum()))
            true.append(float(strong.sum()))
            if true[-1] >= 60:
                there += 1
                found += int((made & strong).sum() >= 0.3 * true[-1])
                error.append(
                    float((post - t1 * (1 + enhancement))[strong].abs().mean() / (t1 * enhancement)[strong].mean())
                )
            quiet = (asked.int() & QUIET > 0) & (enhancement < LIMIT)
            false.append(float((made & quiet).sum()))
            control = (asked.int() & CONTROL > 0) & (enhancement > LIMIT) & (t1 > 0.05)
            if control.sum() >= 20:
                sure.append(float(((post / t1.clamp(min=0.05) - 1.0) > LIMIT)[control].float().mean()))
            wrong += float((post / t1.clamp(min=0.05) - 1.0)[quiet].mean())
        agreement = concordance(ours, true)
        missed, mistaken = 1.0 - found / max(there, 1), float(np.mean(false)) / 100.0
        controls = float(np.mean(sure))
        total = (1.0 - agreement) + 0.5 * missed + 0.1 * mistaken + float(np.mean(error)) + 0.5 * (1.0 - controls)
        return {
            "ccc": agreement,
            "missed": missed,
            "false_px": 100.0 * mistaken,
            "quiet": wrong / len(self.choose),
            "roi": float(np.mean(error)),
            "controls": controls,
            "total": total,
        }

    def refresh(self, step: int) -> None:
        """Read what the cache holds by now."""
        self.rng = np.random.default_rng([self.seed, step])
        self.slabs += load_slabs(self.cache, Role.TRAIN, len(self.slabs))
