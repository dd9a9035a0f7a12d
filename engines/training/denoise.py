"""Denoise: the batches, the loss, and the figures that choose a checkpoint.

Score: RMSE, as long as the probe lesions keep their contrast (longer training for RMSE trades small lesions away).
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from engines.kernel import Kernel, apply_gain, radial
from engines.networks.pu_unet import PuUnet
from engines.training.cache import Item, load
from engines.training.detail import disk, ellipses, probe_field, texture
from engines.training.shelf import Supply, cut
from engines.training.sources import Role

SIDE, EDGE = 96, 12
BATCH = 8
PROBES = 3  # patches of a batch that carry a probe lesion
PROBE_WEIGHT = 1.2  # 0.3 kept 0.63 of a 3 px disk at quarter dose; NETWORKS D1 wants 0.70


def mixed_noise(rng: np.random.Generator, noise: NDArray[np.float32]) -> NDArray[np.float32]:
    """A new realisation with a new kernel from those stored; (kernel pairs of) patches -> (y, x), SD about 1.

    noise: (realisation, kernel, y, x)
    """
    turn = rng.uniform(0, 2 * np.pi)
    pair = np.cos(turn) * noise[0] + np.sin(turn) * noise[1]
    share = rng.uniform(0.0, 1.0) ** 1.5  # soft kernels are the commoner
    mixed: NDArray[np.float32] = (1.0 - share) * pair[0] + share * pair[1]
    white = rng.standard_normal(mixed.shape).astype(np.float32) * np.float32(rng.uniform(0.0, 0.1))
    # Keep the physical level for soft kernels, half way to SD 1 for sharp ones: those are read at a lower dose.
    level = float(np.std(pair[0])) / max(float(np.std(mixed)), 1e-6)
    return mixed * np.float32(level**0.5) + white


def patch(rng: np.random.Generator, item: Item) -> tuple[NDArray[np.float32], NDArray[np.float32], float]:
    """Clean and noise, (SIDE, SIDE) HU, and the noise SD in HU."""
    wide = SIDE + 2 * EDGE
    place = cut(rng, item.clean, wide, empty=0.03)
    clean = item.clean[place].astype(np.float32)
    noise = mixed_noise(rng, item.noise[(..., *place)].astype(np.float32))
    if rng.random() < 0.7:
        clean = clean + ellipses(rng, wide, int(rng.integers(1, 12)))
    if rng.random() < 0.5:
        clean = clean + texture(rng, wide, float(rng.uniform(0.0, 6.0)))
    if item.unfiltered and rng.random() < 0.85:
        # Anatomy is seen through the same kind of kernel as noise is: half the gain at 0.25 to 0.45 cycles per pixel.
        clean = apply_gain(clean, Kernel(cutoff=float(rng.uniform(0.5, 0.9)))(radial(clean.shape, 1.0, EDGE)), EDGE)
    # Half of all patches at the noise of quarter-dose body CT, the rest over everything the network may meet.
    lowest, highest = (15.0, 45.0) if rng.random() < 0.5 else (3.0, 80.0)
    dose_sd = lowest * (highest / lowest) ** rng.random()
    turns, flip = int(rng.integers(4)), bool(rng.integers(2))
    inner = slice(EDGE, EDGE + SIDE)
    both = [np.rot90(part[:, ::-1] if flip else part, turns) for part in (clean[inner, inner], noise[inner, inner])]
    made = np.clip(both[0], -1024.0, 3071.0).astype(np.float32)
    return made, (both[1] * np.float32(dose_sd)).astype(np.float32), dose_sd


class Patches(Supply[Item]):
    """An endless supply of batches."""

    def batch(self) -> tuple[Tensor, Tensor, Tensor]:
        """Noisy, clean (n, 1, y, x) HU, and noise SD (n, 1, 1, 1)."""
        made = [patch(self.rng, item) for item in self.draw(BATCH)]
        clean = torch.from_numpy(np.stack([one[0] for one in made])[:, None])
        noise = torch.from_numpy(np.stack([one[1] for one in made])[:, None])
        level = torch.tensor([one[2] for one in made], dtype=torch.float32).reshape(-1, 1, 1, 1)
        return (clean + noise).clamp(-1024.0, 3071.0), clean, level

    def probes(self, level: Tensor) -> Tensor:
        """One disk per patch, radius 2 to 5 px, contrast half to twice the noise; (PROBES, 1, y, x) HU."""
        made = []
        for index in range(PROBES):
            contrast = float(np.clip(level[index].item() * self.rng.uniform(0.5, 2.0), 8.0, 60.0))
            y, x = self.rng.uniform(16, SIDE - 16, 2)
            sign = float(self.rng.choice((-1.0, 1.0)))
            made.append(disk(SIDE, float(y), float(x), float(2.0 * 2.5 ** self.rng.random()), sign * contrast))
        return torch.from_numpy(np.stack(made)[:, None])


def loss_of(network: nn.Module, noisy: Tensor, clean: Tensor, level: Tensor, probe: Tensor) -> Tensor:
    """L1-like error + regional HU + gradients + contrast of probe lesions; all relative to the noise."""
    scale = 1.0 / (0.7 * level + 4.0)
    with_probe = noisy[:PROBES] + probe
    out = network(torch.cat([noisy, with_probe]))
    made, probed = out[: len(noisy)], out[len(noisy) :]
    error = (made - clean) * scale
    # Quadratic, edges of bone and of lung vessels included: clamped at 5 times the noise, the network left noise there.
    main = (torch.sqrt(error**2 + 0.25) - 0.5).mean() + 0.5 * (error**2).clamp(max=400.0).mean()
    regional = (F.avg_pool2d(made - clean, 8) * scale).abs().mean()
    across = ((made - clean).diff(dim=3).abs().mean(dim=(1, 2, 3)) * scale.flatten()).mean()
    down = ((made - clean).diff(dim=2).abs().mean(dim=(1, 2, 3)) * scale.flatten()).mean()
    place = probe.abs() > 0.25 * probe.abs().amax(dim=(1, 2, 3), keepdim=True)
    missing = (probed - made[:PROBES] - probe).abs() / probe.abs().amax(dim=(1, 2, 3), keepdim=True)
    kept = (missing * place).sum() / place.sum()
    return main + 0.2 * regional + 0.05 * (across + down) + PROBE_WEIGHT * kept


def score(network: nn.Module, items: list[Item]) -> dict[str, float]:
    """RMSE over input RMSE, and probe recovery, on the slices kept for choosing."""
    rng = np.random.default_rng(1)
    ratios: list[float] = []
    kept3: list[float] = []
    kept6: list[float] = []
    for item in items:
        clean = torch.from_numpy(item.clean.astype(np.float32))[None, None]
        side = clean.shape[-1]
        for sd, kernel in ((10.0, 0), (25.0, 0), (25.0, 1)):
            unit = item.noise[0, kernel].astype(np.float32)
            noise = torch.from_numpy(unit * np.float32(sd / unit[item.clean > -500].std()))
            noisy = (clean + noise).clamp(-1024.0, 3071.0)
            made = network(noisy)
            body = clean > -500.0
            ratios.append(float(((made - clean)[body] ** 2).mean().sqrt() / ((noisy - clean)[body] ** 2).mean().sqrt()))
            for radius, kept in ((3.0, kept3), (6.0, kept6)):
                delta = probe_field(rng, item.clean.astype(np.float32), side, radius, 30.0)
                mask = torch.from_numpy(np.abs(delta) > 15.0)[None, None]
                change = network(noisy + torch.from_numpy(delta)[None, None]) - made
                field = torch.from_numpy(delta)[None, None]
                kept.append(float((change * field.sign())[mask].mean() / field.abs()[mask].mean()))
    return {"ratio": float(np.mean(ratios)), "kept_r3": float(np.mean(kept3)), "kept_r6": float(np.mean(kept6))}


def total_score(found: dict[str, float]) -> float:
    """Lower is better: RMSE ratio plus what the probes miss of 0.80 (r 3 px) and 0.92 (r 6 px)."""
    return found["ratio"] + max(0.80 - found["kept_r3"], 0.0) + max(0.92 - found["kept_r6"], 0.0)


class Denoise:
    """The task of `engines.training.loop`."""

    def __init__(self, cache: Path, seed: int) -> None:
        self.patches = Patches(cache, load, seed)
        self.choose = load(cache, Role.CHOOSE)

    def network(self) -> nn.Module:
        """Untrained: output equals input."""
        return PuUnet()

    def loss(self, network: nn.Module) -> Tensor:
        """Of one batch."""
        noisy, clean, level = self.patches.batch()
        return loss_of(network, noisy, clean, level, self.patches.probes(level))

    def score(self, network: nn.Module) -> Mapping[str, float]:
        """On the slices kept for choosing."""
        found = score(network, self.choose)
        return {**found, "total": total_score(found)}

    def refresh(self, step: int) -> None:
        """Read what the cache holds by now."""
        self.patches.refresh(step)
