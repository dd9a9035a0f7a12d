"""Kernel conversion: the batches, the loss, and the figures that choose a checkpoint."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from engines.kernel import Kernel, Mixture, convert_linear, descriptor
from engines.networks.kernel_unet import KernelUnet
from engines.training.detail import ellipses, texture
from engines.training.kernel_pairs import MARGIN, Exposure, load, mixed, shown, with_white
from engines.training.shelf import Supply, cut
from engines.training.sources import Role

SIDE, EDGE = 96, MARGIN  # the filters see EDGE pixels more on each side than the loss
BATCH = 8
ITERATIVE = (0.6, 0.25)  # share of soft and of sharp images that came through iterative reconstruction
Image = NDArray[np.float32]


def sample(rng: np.random.Generator, item: Exposure) -> tuple[Image, Image, Image, NDArray[np.float32], float]:
    """Source, linear and target (SIDE, SIDE) HU, the descriptor (14,), and the noise SD of the target, HU."""
    wide = SIDE + 2 * EDGE
    place = cut(rng, item.clean, wide, empty=0.05)
    clean = item.clean[place].astype(np.float32)
    part = Exposure(
        group=item.group,
        pixel_mm=item.pixel_mm,
        clean=clean,
        noise=item.noise[(slice(None), *place)].astype(np.float32),
        kernels=item.kernels,
    )
    if rng.random() < 0.8:
        clean = clean + ellipses(rng, wide, int(rng.integers(2, 20)))
    if rng.random() < 0.3:  # bone and air: edges of hundreds of HU
        clean = clean + ellipses(rng, wide, int(rng.integers(1, 6))) * np.float32(rng.uniform(2.0, 8.0))
    if rng.random() < 0.3:
        clean = clean + texture(rng, wide, float(rng.uniform(0.0, 8.0)))
    soft_sd = np.float32(2.0 * 15.0 ** rng.random())
    body = np.ones(clean.shape, dtype=bool)
    images, curves, levels = [], [], []
    for sharp in (False, True):
        kept = float(rng.uniform(0.3, 0.8)) if rng.random() < ITERATIVE[sharp] else 1.0
        noise, curve = mixed(part, float(rng.random()), sharp=sharp, noise_kept=kept)
        noise = with_white(noise * soft_sd, body, rng, float(rng.uniform(0.02, 0.08)))
        images.append(shown(clean, noise, curve, item.pixel_mm))
        curves.append(curve)
        levels.append(float(np.std(noise)) * kept)
    source, target = (0, 1) if rng.random() < 0.5 else (1, 0)
    if rng.random() < 0.6:
        curves = [mismeasured(rng, curve) for curve in curves]
    linear = convert_linear(images[source], curves[source], curves[target], item.pixel_mm)
    inner = slice(EDGE, EDGE + SIDE)
    turns, flip = int(rng.integers(4)), bool(rng.integers(2))
    three = [
        np.ascontiguousarray(np.rot90(image[inner, inner][:, ::-1] if flip else image[inner, inner], turns))
        for image in (images[source], linear, images[target])
    ]
    told = descriptor(curves[source], curves[target], item.pixel_mm)
    return three[0], three[1], three[2], told, levels[target]


def mismeasured(rng: np.random.Generator, curve: Mixture) -> Mixture:
    """The curve as a site may have measured it: a real one is known to 10 %, and sure of itself no network may be."""

    def off(kernel: Kernel) -> Kernel:
        boost = kernel.boost * rng.uniform(0.75, 1.25) + (rng.uniform(-0.1, 0.1) if kernel.boost else 0.0)
        return replace(kernel, cutoff=kernel.cutoff * rng.uniform(0.9, 1.1), boost=max(float(boost), 0.0))

    kept = min(curve.noise_kept * float(rng.uniform(0.8, 1.2)), 1.0)
    return Mixture(first=off(curve.first), second=off(curve.second), share=curve.share, noise_kept=kept)


def stack(made: list[tuple[Image, Image, Image, NDArray[np.float32], float]]) -> tuple[Tensor, ...]:
    """Source, linear, target (n, 1, y, x), descriptors (n, 14), noise SD (n, 1, 1, 1)."""
    images = [torch.from_numpy(np.stack([one[k] for one in made]))[:, None] for k in range(3)]
    told = torch.from_numpy(np.stack([one[3] for one in made]))
    return (*images, told, torch.tensor([one[4] for one in made]).reshape(-1, 1, 1, 1))


def loss_of(made: Tensor, target: Tensor, level: Tensor) -> Tensor:
    """Error relative to the target's noise: squared where small, linear at edges; gradients with it."""
    scale = 1.0 / (0.5 * level + 4.0)
    error = (made - target) * scale
    main = (torch.sqrt(error**2 + 0.25) - 0.5).mean() + 0.5 * (error**2).clamp(max=25.0).mean()
    across = (error.diff(dim=3)).abs().mean() + (error.diff(dim=2)).abs().mean()
    return main + 0.05 * across


class Convert:
    """The task of `engines.training.loop`."""

    def __init__(self, cache: Path, seed: int) -> None:
        self.pairs = Supply(cache, load, seed)
        self.choose = load(cache, Role.CHOOSE)

    def network(self) -> nn.Module:
        """Untrained: output equals the linear filter's."""
        return KernelUnet()

    def loss(self, network: nn.Module) -> Tensor:
        """Of one batch."""
        drawn = [sample(self.pairs.rng, item) for item in self.pairs.draw(BATCH)]
        source, linear, target, told, level = stack(drawn)
        return loss_of(network(source, linear, told), target, level)

    def score(self, network: nn.Module) -> Mapping[str, float]:
        """RMSE over the linear filter's, both directions, on patches of the slices kept for choosing."""
        rng = np.random.default_rng(1)
        ratios: dict[str, list[float]] = {"to_soft": [], "to_sharp": [], "to_soft_plain": [], "to_sharp_plain": []}
        for item in self.choose:
            source, linear, target, told, _ = stack([sample(rng, item) for _ in range(24)])
            made = network(source, linear, told)
            for k in range(len(made)):
                way = "to_soft" if told[k, :6].sum() > told[k, 6:12].sum() else "to_sharp"
                error = ((made[k] - target[k]) ** 2).mean() / ((linear[k] - target[k]) ** 2).mean()
                plain = bool((told[k, 12:] == 1.0).all())
                ratios[f"{way}_plain" if plain else way].append(float(error.sqrt()))
        found = {way: float(np.mean(values)) for way, values in ratios.items()}
        return {**found, "total": sum(found.values())}

    def refresh(self, step: int) -> None:
        """Read what the cache holds by now."""
        self.pairs.refresh(step)
